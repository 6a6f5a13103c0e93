package auth

import (
	"bytes"
	"slices"
	"testing"
)

func TestFindReturnsTheCallerWithoutAPassword(t *testing.T) {
	g := newAuthenticator(t, User{Name: "veil", Password: "first", Accounts: []string{"wx"}, Phantom: true})
	c, ok := g.Find("veil")
	if !ok || c.Name() != "veil" || !c.Phantom() || !c.May("wx") || c.Verifier() != nil {
		t.Errorf("found %v %q", ok, c.Name())
	}
	if c, ok := g.Find("bob"); ok || c.Name() != "" || c.Verifier() != nil || c.Phantom() {
		t.Error("found a user that is not configured")
	}
	if err := g.SetUsers(nil); err != nil {
		t.Fatal(err)
	}
	if !isClosed(c.Revoked()) {
		t.Error("the removed caller is not revoked")
	}
}

func TestAVerifierIsThatOfThePasswordInEveryProcess(t *testing.T) {
	users := []User{
		rotating("second"),
		{Name: "plain", Password: "open sesame", Accounts: []string{"*"}},
		{Name: "bob", Password: "open sesame", Accounts: []string{"*"}},
	}
	one := newAuthenticator(t, users...)
	users[0].PasswordHashes = []string{users[0].PasswordHashes[1], hashAt("third", quick), users[0].PasswordHashes[0]}
	other := newAuthenticator(t, users...)
	var seen [][]byte
	for _, c := range []struct{ name, password string }{
		{"alice", "open sesame"}, {"alice", "second"}, {"plain", "open sesame"}, {"bob", "open sesame"},
	} {
		v := mustEnter(t, one, here, c.name, c.password).Verifier()
		for _, g := range []*Authenticator{one, other} { // in one, the password is remembered now
			if again := mustEnter(t, g, here, c.name, c.password).Verifier(); len(v) == 0 || !bytes.Equal(v, again) {
				t.Errorf("%s with %q: the verifier differs from one time or process to the other", c.name, c.password)
			}
		}
		if slices.ContainsFunc(seen, func(o []byte) bool { return bytes.Equal(o, v) }) {
			t.Errorf("%s with %q has the verifier of another caller or password", c.name, c.password)
		}
		seen = append(seen, v)
	}
}

func TestACallerIsFoundByTheVerifierOfEachOfItsPasswordsUntilItIsRemoved(t *testing.T) {
	user := rotating("second")
	first, second, third := user.PasswordHashes[0], user.PasswordHashes[1], hashAt("third", quick)
	g := newAuthenticator(t, user)
	verifiers := map[string][]byte{
		first:  mustEnter(t, g, here, "alice", "open sesame").Verifier(),
		second: mustEnter(t, g, here, "alice", "second").Verifier(),
	}
	held := map[string]Caller{} // the last one found
	for step, hashes := range [][]string{{first, second}, {third, second, first}, {second, third}, {third}, {first}} {
		user.PasswordHashes = hashes
		if err := g.SetUsers([]User{user}); err != nil {
			t.Fatal(err)
		}
		for hash, verifier := range verifiers {
			is := func(v []byte) bool { return bytes.Equal(v, verifier) }
			valid := slices.Contains(hashes, hash)
			if c, was := held[hash]; was && isClosed(c.Revoked()) == valid {
				t.Errorf("step %d: valid is %v, and so is revoked", step, valid)
			}
			delete(held, hash)
			c, ok := g.FindByVerifier("alice", is)
			if ok != valid || ok && (c.Name() != "alice" || !is(c.Verifier()) || isClosed(c.Revoked())) {
				t.Errorf("step %d: valid is %v, found is %v", step, valid, ok)
			}
			if ok {
				held[hash] = c
			}
			if _, ok := g.FindByVerifier("bob", is); ok {
				t.Errorf("step %d: found a user that is not configured", step)
			}
		}
		asked := 0
		g.FindByVerifier("alice", func([]byte) bool { asked++; return false })
		if asked != len(hashes) {
			t.Errorf("step %d: %d verifiers were compared, of %d passwords", step, asked, len(hashes))
		}
	}
}

func TestAChangeOfPhantomRevokes(t *testing.T) {
	alice := User{Name: "alice", Password: "first", Accounts: []string{"wx"}}
	a, err := New([]User{alice})
	if err != nil {
		t.Fatal(err)
	}
	before, _ := a.Find("alice")
	alice.Phantom = true
	if err := a.SetUsers([]User{alice}); err != nil {
		t.Fatal(err)
	}
	if !isClosed(before.Revoked()) {
		t.Error("not revoked")
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
