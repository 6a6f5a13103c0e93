package auth

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// withKey returns a user with a key, and the key.
func withKey(name string) (u User, key string) {
	key, hash := NewKey()
	return User{Name: name, PasswordHashes: []string{hash}, Accounts: []string{"*"}}, key
}

func TestAKeyHasItsForm(t *testing.T) {
	form := regexp.MustCompile(`^zkkey_[a-z2-7]{40}$`)
	seen := map[string]bool{}
	for range 100 {
		key, hash := NewKey()
		if !form.MatchString(key) || !IsKey(key) || seen[key] || len(hash) != len("$zkkey-sha256$")+43 {
			t.Fatalf("NewKey() = %q, %q", key, hash)
		}
		seen[key] = true
	}
}

func TestWhatAPersonMakesUpIsNoKey(t *testing.T) {
	key, hash := NewKey()
	swapped := byte('a')
	if key[20] == swapped {
		swapped = 'b'
	}
	for _, text := range []string{
		"", "zkkey_", "hunter2", hash, key[1:], key[:len(key)-1], key + "a", strings.ToUpper(key), " " + key, key + "\n",
		key[:20] + string(swapped) + key[21:], key[:len(key)-1] + "\n", key[:30] + "\n" + key[31:],
		keyPrefix + strings.Repeat("a", 40), keyPrefix + strings.Repeat("1", 40),
	} {
		if IsKey(text) {
			t.Errorf("%q counts as a key", text)
		}
	}
}

func TestAKeyLetsItsUserInWithoutASlowHash(t *testing.T) {
	app, key := withKey("app")
	other, othersKey := withKey("other")
	g := newAuthenticator(t, app, other, alice(), User{Name: "plain", Password: "p", Accounts: []string{"*"}})
	costs := countHashes(g)
	for i, c := range []struct {
		name, key string
		want      error
	}{
		{"app", key, nil}, {"other", othersKey, nil}, {"app", key, nil},
		{"app", othersKey, ErrDenied}, {"alice", key, ErrDenied}, {"plain", key, ErrDenied}, {"nobody", key, ErrDenied}, {"", key, ErrDenied},
	} {
		caller, err := g.Authenticate(t.Context(), here, Credentials{c.name, c.key})
		if !errors.Is(err, c.want) || err == nil && (caller.Name() != c.name || len(caller.Verifier()) == 0) {
			t.Errorf("%d: Authenticate(%s) = %q, %v, want %v", i, c.name, caller.Name(), err, c.want)
		}
	}
	if got := costs(); len(got) != 0 {
		t.Errorf("keys cost %d slow hashes, want 0", len(got))
	}
}

func TestATextThatIsNoKeyCostsTheSameWhetherItsUserHasAKeyOrDoesNotExist(t *testing.T) {
	app, _ := withKey("app")
	for name, c := range map[string]struct {
		users []User
		want  []cost
	}{
		"with passwords": {[]User{app, alice()}, []cost{quick}},
		"keys only":      {[]User{app}, nil},
	} {
		g := newAuthenticator(t, c.users...)
		costs := countHashes(g)
		for i, user := range []string{"app", "nobody", "", "alice"} {
			before := len(costs())
			if _, err := g.Authenticate(t.Context(), addr(i), Credentials{user, "wrong"}); !errors.Is(err, ErrDenied) {
				t.Errorf("%s: %q: %v", name, user, err)
			}
			if got := costs()[before:]; !slices.Equal(got, c.want) {
				t.Errorf("%s: %q cost %v, want %v", name, user, got, c.want)
			}
		}
	}
}

func TestKeysAreNeitherThrottledNorCounted(t *testing.T) {
	app, key := withKey("app")
	g := newAuthenticator(t, app, alice())
	for range 10 * freeFailures {
		_, wrong := withKey("x")
		if _, err := g.Authenticate(t.Context(), here, Credentials{"app", wrong}); !errors.Is(err, ErrDenied) {
			t.Fatal(err)
		}
	}
	if g.throttle.throttled(Source(here)) {
		t.Error("wrong keys throttle their source")
	}
	for i := range freeFailures + 1 {
		guess(t, g, here, fmt.Sprint("bob", i))
	}
	if !g.throttle.throttled(Source(here)) {
		t.Fatal("wrong passwords do not throttle their source")
	}
	mustEnter(t, g, here, "app", key)
}

func TestAKeyIsReplacedWithoutAGap(t *testing.T) {
	u, old := withKey("app")
	key, hash := NewKey()
	first := u.PasswordHashes[0]
	g := newAuthenticator(t, u)
	before := mustEnter(t, g, here, "app", old)
	u.PasswordHashes = []string{hashAt("open sesame", quick), hash, first}
	if err := g.SetUsers([]User{u}); err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{"open sesame", old, key} {
		mustEnter(t, g, here, "app", password)
	}
	if isClosed(before.Revoked()) {
		t.Error("the caller with the old key is revoked too early")
	}
	u.PasswordHashes = []string{hash}
	if err := g.SetUsers([]User{u}); err != nil {
		t.Fatal(err)
	}
	mustEnter(t, g, here, "app", key)
	if _, err := g.Authenticate(t.Context(), here, Credentials{"app", old}); !errors.Is(err, ErrDenied) || !isClosed(before.Revoked()) {
		t.Errorf("the old key after it was removed = %v, revoked: %v", err, isClosed(before.Revoked()))
	}
}

func TestAKeyCanBeGivenItself(t *testing.T) {
	key, _ := NewKey()
	u, err := ParseUser("app:" + key)
	if err != nil {
		t.Fatal(err)
	}
	g := newAuthenticator(t, u)
	costs := countHashes(g)
	c := mustEnter(t, g, here, "app", key)
	if err := g.SetUsers([]User{u}); err != nil {
		t.Fatal(err)
	}
	mustEnter(t, g, here, "app", key)
	if _, err := g.Authenticate(t.Context(), here, Credentials{"app", "wrong"}); !errors.Is(err, ErrDenied) {
		t.Error(err)
	}
	if isClosed(c.Revoked()) || len(costs()) != 0 {
		t.Errorf("revoked: %v, %d slow hashes", isClosed(c.Revoked()), len(costs()))
	}
}

func TestAHashOfAKeyIsOneOfNewKeyOnly(t *testing.T) {
	key, hash := NewKey()
	if _, err := Hash(key); err == nil || strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "passwd --key") {
		t.Errorf("Hash of a key = %v", err)
	}
	for _, cut := range []string{hash[:len(hash)-1], hash + "A", "$zkkey-sha256$", hash[:20] + "!" + hash[21:], hash + "\n"} {
		u := User{Name: "app", PasswordHashes: []string{cut}, Accounts: []string{"*"}}
		if err := Check(u); err == nil || !strings.HasPrefix(err.Error(), "password: the hash of a key") || strings.Contains(err.Error(), cut[14:]) && len(cut) > 14 {
			t.Errorf("%q: %v", cut, err)
		}
	}
}

func BenchmarkKey(b *testing.B) {
	key, hash := NewKey()
	g, err := New([]User{{Name: "app", PasswordHashes: []string{hash}, Accounts: []string{"*"}}, alice()})
	if err != nil {
		b.Fatal(err)
	}
	_, wrong := withKey("x")
	for name, c := range map[string]struct{ name, key string }{"right": {"app", key}, "wrong": {"app", wrong}, "unknown name": {"nobody", key}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = g.Authenticate(b.Context(), here, Credentials{c.name, c.key})
			}
		})
	}
}
