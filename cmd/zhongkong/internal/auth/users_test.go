package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestUnknownNameCostsTheSameInEveryProcessAndAfterReloads(t *testing.T) {
	users := []User{alice(), {Name: "bob", PasswordHashes: []string{hashAt("p", cost{KiB: 16, Passes: 2, Lanes: 1})}, Accounts: []string{"*"}}}
	one, other := newAuthenticator(t, users...), newAuthenticator(t, users[1], users[0], User{Name: "plain", Password: "p", Accounts: []string{"*"}})
	seen := map[cost]int{}
	price := func(g *Authenticator, name string) cost {
		t.Helper()
		costs := countHashes(g)
		guess(t, g, addr(guesses), name)
		return costs()[0]
	}
	names := []string{"plain"} // has no hash
	for i := range 200 {
		names = append(names, fmt.Sprint("nobody", i))
	}
	before := map[string]cost{}
	for _, name := range names {
		before[name] = price(one, name)
		seen[before[name]]++
		if again, elsewhere := price(one, name), price(other, name); again != before[name] || elsewhere != before[name] {
			t.Fatalf("%s cost %v, then %v, in another process %v", name, before[name], again, elsewhere)
		}
	}
	if len(seen) != 2 || seen[quick] < 60 || seen[quick] > 140 {
		t.Errorf("unknown names cost %v, want every cost that a user has", seen)
	}
	users = append(users, User{Name: "carol", PasswordHashes: []string{hashAt("p", quick)}, Accounts: []string{"*"}})
	if err := one.SetUsers(users); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if now := price(one, name); now != before[name] && now != quick {
			t.Errorf("%s costs %v after a user of another cost was added, before %v", name, now, before[name])
		}
	}
}

func TestNewUsersReplaceTheOldInOneStep(t *testing.T) {
	g := newAuthenticator(t, alice(), User{Name: "bob", PasswordHashes: []string{hashAt("p", quick)}, Accounts: []string{"wx1"}})
	costs := countHashes(g)
	mustEnter(t, g, here, "alice", "open sesame")
	mustEnter(t, g, here, "bob", "p")
	remembered := len(costs())

	next := alice()
	next.Accounts = []string{"wx2"}
	if err := g.SetUsers([]User{next, {Name: "bob", PasswordHashes: []string{hashAt("q", quick)}, Accounts: []string{"wx1"}}}); err != nil {
		t.Fatal(err)
	}
	if c := mustEnter(t, g, here, "alice", "open sesame"); c.May("wx1") || !c.May("wx2") {
		t.Error("alice has her old rights")
	}
	if len(costs()) != remembered {
		t.Error("a password that has not changed was hashed again")
	}
	if _, err := g.Authenticate(t.Context(), here, Credentials{"bob", "p"}); !errors.Is(err, ErrDenied) {
		t.Errorf("bob's old password = %v, want ErrDenied", err)
	}
	mustEnter(t, g, here, "bob", "q")

	if err := g.SetUsers([]User{{Name: "carol"}}); err == nil {
		t.Error("SetUsers(bad) = nil")
	}
	mustEnter(t, g, here, "alice", "open sesame")
	if err := g.SetUsers(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Authenticate(t.Context(), here, Credentials{"alice", "open sesame"}); !errors.Is(err, ErrDenied) {
		t.Errorf("alice after she was removed = %v, want ErrDenied", err)
	}
}

func TestAPasswordIsVerifiedAgainIfItsUserChangedMeanwhile(t *testing.T) {
	more := alice()
	more.Refresh = true
	for name, c := range map[string]struct {
		users []User
		want  error
	}{"removed": {nil, ErrDenied}, "with more rights": {[]User{more}, nil}} {
		told := 0
		ctx := NotifyAuthenticated(t.Context(), func() { told++ })
		g := newAuthenticator(t, alice())
		var once sync.Once
		g.derive = func(password, salt []byte, of cost) []byte {
			once.Do(func() {
				if err := g.SetUsers(c.users); err != nil {
					t.Error(err)
				}
			})
			return argon2id(password, salt, of)
		}
		caller, err := g.Authenticate(ctx, here, Credentials{"alice", "open sesame"})
		if !errors.Is(err, c.want) || caller.MayRefresh("wx1") != (c.want == nil) || (told == 1) != (c.want == nil) {
			t.Errorf("%s: Authenticate() = %q, %v, told %d times", name, caller.Name(), err, told)
		}
	}
}

func TestACallerIsRevokedWhenAnythingOfItsUserChanges(t *testing.T) {
	users := func() []User {
		return []User{alice(), {Name: "plain", Password: "p", Accounts: []string{"*"}}, {Name: "udp", UDPKey: make([]byte, 32), Accounts: []string{"wx1"}}}
	}
	for name, c := range map[string]struct {
		change  func([]User) []User
		revoked string
	}{
		"nothing":          {func(u []User) []User { return u }, ""},
		"another user":     {func(u []User) []User { return append(u, User{Name: "new", Password: "p", Accounts: []string{"*"}}) }, ""},
		"order":            {func(u []User) []User { slices.Reverse(u); return u }, ""},
		"gone":             {func(u []User) []User { return u[1:] }, "alice"},
		"all gone":         {func([]User) []User { return nil }, "alice plain udp"},
		"another hash":     {func(u []User) []User { u[0].PasswordHashes = []string{hashAt("open sesame", quick)}; return u }, "alice"},
		"account more":     {func(u []User) []User { u[0].Accounts = append(u[0].Accounts, "wx2"); return u }, "alice"},
		"account swapped":  {func(u []User) []User { u[0].Accounts = []string{"wx2"}; return u }, "alice"},
		"refresh":          {func(u []User) []User { u[1].Refresh = true; return u }, "plain"},
		"another password": {func(u []User) []User { u[1].Password = "q"; return u }, "plain"},
		"hash for plain":   {func(u []User) []User { u[1].Password, u[1].PasswordHashes = "", []string{hashAt("p", quick)}; return u }, "plain"},
		"another key":      {func(u []User) []User { u[2].UDPKey[0] = 1; return u }, "udp"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newAuthenticator(t, users()...)
			udp, _, _ := g.DatagramKey("udp")
			held := []Caller{mustEnter(t, g, here, "alice", "open sesame"), mustEnter(t, g, here, "plain", "p"), udp}
			if err := g.SetUsers(c.change(users())); err != nil {
				t.Fatal(err)
			}
			var revoked []string
			for _, caller := range held {
				select {
				case <-caller.Revoked():
					revoked = append(revoked, caller.Name())
				default:
				}
			}
			if got := strings.Join(revoked, " "); got != c.revoked {
				t.Errorf("revoked: %q, want %q", got, c.revoked)
			}
			if err := g.SetUsers(nil); err != nil {
				t.Fatal(err)
			}
			for _, caller := range held {
				<-caller.Revoked() // also of those who stayed the first time
			}
		})
	}
	if (Caller{}).Revoked() != nil {
		t.Error("the zero Caller can be revoked")
	}
}

func TestStrongIsLong(t *testing.T) {
	for password, want := range map[string]bool{
		"s3cret": false, "correct horse": false, "passwordpasswordpassword": false, "11111111111111111111111": false,
		key: true, "correct horse battery staple": true, "5f0c1a9e7b3d2846a1c0": true, EphemeralUser().Password: true,
	} {
		if isStrong(password) != want {
			t.Errorf("isStrong(%q) = %v", password, !want)
		}
	}
}

func TestRefusalsStayFew(t *testing.T) {
	var r rejected
	for i := range 3 * maxRejected {
		r.add(mac{byte(i), byte(i >> 8), byte(i >> 16)})
	}
	if len(r.macs) > maxRejected {
		t.Errorf("%d are kept, want at most %d", len(r.macs), maxRejected)
	}
}
