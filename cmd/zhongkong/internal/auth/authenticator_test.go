package auth

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// quick is a cost for tests.
var quick = cost{KiB: 8, Passes: 1, Lanes: 1}

var (
	here  = netip.MustParseAddr("192.0.2.1")
	there = netip.MustParseAddr("192.0.2.2")
)

func TestAuthenticatorLetsInWhoHasTheRightPassword(t *testing.T) {
	g := newAuthenticator(t, alice(), User{Name: "plain", Password: "pass:word", Accounts: []string{"*"}})
	cases := map[string]struct {
		name, password string
		want           error
	}{
		"hashed":                     {"alice", "open sesame", nil},
		"again, remembered":          {"alice", "open sesame", nil},
		"plain":                      {"plain", "pass:word", nil},
		"wrong password":             {"alice", "open sesam", ErrDenied},
		"another's password":         {"alice", "pass:word", ErrDenied},
		"wrong password of plain":    {"plain", "nope", ErrDenied},
		"unknown name":               {"bob", "open sesame", ErrDenied},
		"name in other case":         {"Alice", "open sesame", ErrDenied},
		"no password":                {"alice", "", ErrDenied},
		"nothing":                    {"", "", ErrDenied},
		"name and password shifted":  {"alic", "eopen sesame", ErrDenied},
		"the hash as password":       {"alice", alice().PasswordHashes[0], ErrDenied},
		"a name longer than any":     {string(make([]byte, 1000)), "x", ErrDenied},
		"a password longer than any": {"alice", string(make([]byte, 1<<20)), ErrDenied},
	}
	next := here
	for _, name := range slices.Sorted(mapKeys(cases)) {
		t.Run(name, func(t *testing.T) {
			next = next.Next() // an address of its own: nothing is slowed
			c := cases[name]
			caller, err := g.Authenticate(t.Context(), next, Credentials{c.name, c.password})
			if !errors.Is(err, c.want) {
				t.Fatalf("Authenticate() = %v, want %v", err, c.want)
			}
			if err == nil && caller.Name() != c.name || err != nil && caller.May("wx1") {
				t.Errorf("Authenticate() = %q, %v", caller.Name(), err)
			}
		})
	}
}

func TestRightsAreThoseOfTheUser(t *testing.T) {
	g := newAuthenticator(t,
		User{Name: "one", Password: "p", Accounts: []string{"wx1"}},
		User{Name: "two", Password: "p", Accounts: []string{"wx1", "wx2"}, Refresh: true},
		User{Name: "all", Password: "p", Accounts: []string{"*"}, Refresh: true})
	want := map[string]string{"one": "wx1:true,false wx2:false,false *:false,false", "two": "wx1:true,true wx2:true,true *:false,false", "all": "wx1:true,true wx2:true,true *:true,true"}
	for name, want := range want {
		c := mustEnter(t, g, here, name, "p")
		got := ""
		for _, account := range []string{"wx1", "wx2", "*"} {
			got += fmt.Sprintf("%s:%v,%v ", account, c.May(account), c.MayRefresh(account))
		}
		if got != want+" " {
			t.Errorf("%s may %s, want %s", name, got, want)
		}
	}
	if (Caller{}).May("wx1") || (Caller{}).MayRefresh("wx1") || (Caller{}).Name() != "" {
		t.Error("the zero Caller may do something")
	}
}

func TestEveryTryThatIsNotRememberedCostsOneSlowHash(t *testing.T) {
	g := newAuthenticator(t, alice(), User{Name: "plain", Password: "p", Accounts: []string{"*"}})
	costs := countHashes(g)
	for _, c := range []struct{ name, password string }{
		{"alice", "wrong"}, {"bob", "wrong"}, {"plain", "wrong"}, {"", "wrong"}, {"alice", "open sesame"},
	} {
		before := len(costs())
		_, _ = g.Authenticate(t.Context(), here, Credentials{c.name, c.password})
		if got := costs()[before:]; !slices.Equal(got, []cost{quick}) {
			t.Errorf("%s: slow hashes of %v, want one of %v", c.name, got, quick)
		}
	}
	before := len(costs())
	for range 10 {
		mustEnter(t, g, there, "alice", "open sesame")
		mustEnter(t, g, there, "plain", "p")
	}
	if got := len(costs()) - before; got != 0 {
		t.Errorf("%d slow hashes for remembered passwords, want 0", got)
	}
}

func TestManyRequestsWithOneNewPasswordCostOneSlowHash(t *testing.T) {
	g := newAuthenticator(t, alice())
	costs := countHashes(g)
	var done sync.WaitGroup
	for range 400 {
		done.Go(func() { mustEnter(t, g, here, "alice", "open sesame") })
	}
	done.Wait()
	if got := len(costs()); got != 1 {
		t.Errorf("%d slow hashes, want 1", got)
	}
}

func TestPasswordThatBecameRightIsNotRefusedFromMemory(t *testing.T) {
	g := newAuthenticator(t, alice())
	if _, err := g.Authenticate(t.Context(), here, Credentials{"alice", "new"}); !errors.Is(err, ErrDenied) {
		t.Fatal(err)
	}
	changed := alice()
	changed.PasswordHashes = []string{hashAt("new", quick)}
	if err := g.SetUsers([]User{changed}); err != nil {
		t.Fatal(err)
	}
	mustEnter(t, g, here, "alice", "new")
}

func TestAWrongTryThatReadsLikeARightOneDoesNotShutItOut(t *testing.T) {
	g := newAuthenticator(t, alice())
	if _, err := g.Authenticate(t.Context(), here, Credentials{"alic", "eopen sesame"}); !errors.Is(err, ErrDenied) {
		t.Fatal(err)
	}
	mustEnter(t, g, here, "alice", "open sesame")
}

func TestDatagramKeysAreFoundByName(t *testing.T) {
	key := make([]byte, 32)
	g := newAuthenticator(t, alice(), User{Name: "udp", UDPKey: key, Accounts: []string{"wx1"}})
	if c, k, ok := g.DatagramKey("udp"); !ok || len(k) != 32 || c.Name() != "udp" || !c.May("wx1") {
		t.Errorf("Datagrams(udp) = %q, %v", c.Name(), ok)
	}
	for _, name := range []string{"alice", "nobody", ""} {
		if _, _, ok := g.DatagramKey(name); ok {
			t.Errorf("Datagrams(%q) found a key", name)
		}
	}
	if _, err := g.Authenticate(t.Context(), here, Credentials{"udp", string(key)}); !errors.Is(err, ErrDenied) {
		t.Errorf("a user without a password = %v, want ErrDenied", err)
	}
}

func TestWhoCreatedTheContextIsToldOfAProof(t *testing.T) {
	g := newAuthenticator(t, alice())
	told := 0
	ctx := NotifyAuthenticated(t.Context(), func() { told++ })
	_, _ = g.Authenticate(ctx, here, Credentials{"alice", "wrong"})
	if told != 0 {
		t.Error("a wrong password was called a proof")
	}
	for want := 1; want <= 2; want++ { // hashed, remembered
		if _, err := g.Authenticate(ctx, here, Credentials{"alice", "open sesame"}); err != nil || told != want {
			t.Errorf("Authenticate() = %v, told %d times, want %d", err, told, want)
		}
	}
}

func BenchmarkAuthenticateRemembered(b *testing.B) {
	g, err := New([]User{{Name: "plain", Password: "0123456789abcdef0123456789abcdef", Accounts: []string{"*"}}})
	if err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c, err := g.Authenticate(ctx, here, Credentials{"plain", "0123456789abcdef0123456789abcdef"})
			if err != nil || !c.May("wx1") {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkHash(b *testing.B) {
	for b.Loop() {
		if _, err := Hash("open sesame"); err != nil {
			b.Fatal(err)
		}
	}
}

func alice() User {
	return User{Name: "alice", PasswordHashes: []string{"$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$hB+3w+XCqbeX/gTIqKvDd3rvONixo8T2Dgv6KiwCGcs"}, Accounts: []string{"wx1"}}
}

func newAuthenticator(t *testing.T, users ...User) *Authenticator {
	t.Helper()
	g, err := New(users)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func mustEnter(t *testing.T, g *Authenticator, at netip.Addr, name, password string) Caller {
	t.Helper()
	c, err := g.Authenticate(t.Context(), at, Credentials{name, password})
	if err != nil {
		t.Errorf("Authenticate(%s) = %v", name, err)
	}
	return c
}

// comeUntilIn comes again as a client does that heeds Retry-After, which is in
// whole seconds.
func comeUntilIn(t *testing.T, g *Authenticator, at netip.Addr, name, password string) (took time.Duration, tries int) {
	t.Helper()
	for began := time.Now(); ; {
		tries++
		_, err := g.Authenticate(t.Context(), at, Credentials{name, password})
		if err == nil {
			return time.Since(began), tries
		}
		slow := new(ThrottledError)
		if !errors.As(err, &slow) || slow.RetryIn <= 0 || time.Since(began) > time.Hour {
			t.Fatalf("after %v: %v", time.Since(began), err)
		}
		time.Sleep(time.Duration(math.Ceil(slow.RetryIn.Seconds())) * time.Second)
	}
}

// countHashes makes g note the cost of each slow hash.
func countHashes(g *Authenticator) func() []cost {
	var mu sync.Mutex
	var costs []cost
	g.derive = func(password, salt []byte, c cost) []byte {
		mu.Lock()
		costs = append(costs, c)
		mu.Unlock()
		return argon2id(password, salt, c)
	}
	return func() []cost {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(costs)
	}
}

func addr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}
