package auth

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// rotating is alice with her password and others, all valid.
func rotating(others ...string) User {
	u := alice()
	for _, password := range others {
		u.PasswordHashes = append(u.PasswordHashes, hashAt(password, quick))
	}
	return u
}

func TestEveryPasswordOfAListIsValidAndRemembered(t *testing.T) {
	all := []string{key, key + "-second", key + "-third"} // strong: they pass however many guesses arrive
	user := keyed("app")
	for _, password := range all[1:] {
		user.PasswordHashes = append(user.PasswordHashes, hashAt(password, quick))
	}
	g := newAuthenticator(t, user)
	costs := countHashes(g)
	for range 3 { // in turn, as processes ask that have the old password and such that have the new one
		for _, password := range all {
			mustEnter(t, g, here, "app", password)
		}
	}
	if got := len(costs()); got != len(all)*len(all) {
		t.Errorf("%d slow hashes, want %d for each of %d passwords", got, len(all), len(all))
	}
	for i := range freeFailures + 1 {
		_, _ = g.Authenticate(t.Context(), here, Credentials{"app", fmt.Sprint("wrong", i)})
	}
	if !g.throttle.throttled(here) {
		t.Fatal("the source is not throttled")
	}
	for _, password := range all {
		mustEnter(t, g, here, "app", password)
	}
}

func TestTheCostOfAnAttemptDoesNotTellWhichPasswordFitsOrWhoExists(t *testing.T) {
	for name, users := range map[string][]User{
		"one user":               {rotating("second", "third")},
		"users of the same cost": {rotating("second"), {Name: "bob", PasswordHashes: []string{hashAt("p", quick), hashAt("q", quick)}, Accounts: []string{"*"}}},
		"a user without a hash":  {rotating("second", "third"), {Name: "plain", Password: "p", Accounts: []string{"*"}}},
	} {
		t.Run(name, func(t *testing.T) {
			want := slices.Repeat([]cost{quick}, len(users[0].PasswordHashes))
			next := here
			for _, c := range []struct{ name, password string }{
				{"alice", "open sesame"}, {"alice", "second"}, {"alice", "wrong"}, {"plain", "wrong"}, {"unknown", "wrong"}, {"unknown", "open sesame"},
			} {
				g := newAuthenticator(t, users...)
				costs := countHashes(g)
				next = next.Next()
				_, _ = g.Authenticate(t.Context(), next, Credentials{c.name, c.password})
				if got := costs(); !slices.Equal(got, want) {
					t.Errorf("%s with %q: slow hashes of %v, want %v", c.name, c.password, got, want)
				}
			}
		})
	}
}

func TestUnknownNamesCostWhatUsersWithOneAndWithTwoPasswordsCost(t *testing.T) {
	users := []User{rotating("second"), {Name: "bob", PasswordHashes: []string{hashAt("p", quick)}, Accounts: []string{"*"}}}
	one, other := newAuthenticator(t, users...), newAuthenticator(t, users[1], users[0])
	seen := map[int]int{}
	for i := range 200 {
		name := fmt.Sprint("unknown", i)
		var spent [2]int
		for i, g := range []*Authenticator{one, other} {
			costs := countHashes(g)
			guess(t, g, addr(guesses), name)
			spent[i] = len(costs())
		}
		if spent[0] != spent[1] {
			t.Fatalf("%s costs %d slow hashes, in another process %d", name, spent[0], spent[1])
		}
		seen[spent[0]]++
	}
	if len(seen) != 2 || seen[1] < 60 || seen[2] < 60 {
		t.Errorf("slow hashes of unknown names: %v, want one and two about as often", seen)
	}
}

func TestACallerIsRevokedWithThePasswordThatItGaveAndNoOther(t *testing.T) {
	before := rotating("second")
	first, second := before.PasswordHashes[0], before.PasswordHashes[1]
	for name, c := range map[string]struct {
		after   []string
		refresh bool
		revoked string
	}{
		"a password more":          {after: []string{first, second, hashAt("third", quick)}},
		"one more in front":        {after: []string{hashAt("third", quick), first, second}},
		"another order":            {after: []string{second, first}},
		"the first removed":        {after: []string{second}, revoked: "first"},
		"the second removed":       {after: []string{first}, revoked: "second"},
		"the first replaced":       {after: []string{hashAt("third", quick), second}, revoked: "first"},
		"both replaced":            {after: []string{hashAt("third", quick)}, revoked: "firstsecond"},
		"a right more":             {after: []string{first, second}, refresh: true, revoked: "firstseconddatagrams"},
		"a right and one password": {after: []string{first, second, hashAt("third", quick)}, refresh: true, revoked: "firstseconddatagrams"},
	} {
		t.Run(name, func(t *testing.T) {
			before, after := before, before
			before.UDPKey, after.UDPKey = make([]byte, udpKeySize), make([]byte, udpKeySize)
			after.PasswordHashes, after.Refresh = c.after, c.refresh
			g := newAuthenticator(t, before)
			callers := []Caller{mustEnter(t, g, here, "alice", "open sesame"), mustEnter(t, g, here, "alice", "second")}
			datagrams, _, _ := g.DatagramKey("alice")
			callers = append(callers, datagrams)
			if err := g.SetUsers([]User{after}); err != nil {
				t.Fatal(err)
			}
			revoked := ""
			for i, caller := range callers {
				select {
				case <-caller.Revoked():
					revoked += []string{"first", "second", "datagrams"}[i]
				default:
				}
			}
			if revoked != c.revoked {
				t.Errorf("revoked: %q, want %q", revoked, c.revoked)
			}
			costs := countHashes(g)
			for hash, password := range map[string]string{first: "open sesame", second: "second"} {
				_, err := g.Authenticate(t.Context(), here, Credentials{"alice", password})
				if valid := slices.Contains(c.after, hash); valid && (err != nil || len(costs()) > 0) {
					t.Errorf("%s, which stayed: %v after %d slow hashes, want none", password, err, len(costs()))
				} else if !valid && !errors.Is(err, ErrDenied) {
					t.Errorf("%s, which was removed: %v, want ErrDenied", password, err)
				}
				costs = countHashes(g)
			}
			if err := g.SetUsers(nil); err != nil {
				t.Fatal(err)
			}
			for _, caller := range callers {
				<-caller.Revoked() // also of those who stayed the first time
			}
		})
	}
}

func TestAPasswordIsValidInTheWholeRotation(t *testing.T) {
	old, next := hashAt("old", quick), hashAt("new", quick)
	user := func(hashes ...string) []User {
		return []User{{Name: "app", PasswordHashes: hashes, Accounts: []string{"*"}}}
	}
	g := newAuthenticator(t, user(old)...)
	caller := mustEnter(t, g, here, "app", "old")
	for _, step := range []struct {
		hashes []string
		valid  []string
	}{
		{[]string{old, next}, []string{"old", "new"}},
		{[]string{next}, []string{"new"}},
		{[]string{next, old}, []string{"old", "new"}}, // taken back
		{[]string{old}, []string{"old"}},
	} {
		if err := g.SetUsers(user(step.hashes...)); err != nil {
			t.Fatal(err)
		}
		for _, password := range []string{"old", "new"} {
			_, err := g.Authenticate(t.Context(), here, Credentials{"app", password})
			if valid := slices.Contains(step.valid, password); valid != (err == nil) {
				t.Errorf("%v are valid: %q = %v", step.valid, password, err)
			}
		}
	}
	<-caller.Revoked() // and not revived by the way back
}
