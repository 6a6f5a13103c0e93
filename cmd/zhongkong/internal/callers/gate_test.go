package callers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// quick is a cost for tests.
var quick = cost{kib: 8, passes: 1, lanes: 1}

var (
	here  = netip.MustParseAddr("192.0.2.1")
	there = netip.MustParseAddr("192.0.2.2")
)

func TestGateLetsInWhoHasTheRightPassword(t *testing.T) {
	g := newGate(t, alice(), User{Name: "plain", Password: "pass:word", Accounts: []string{"*"}})
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
		"the hash as password":       {"alice", alice().PasswordHash, ErrDenied},
		"a name longer than any":     {string(make([]byte, 1000)), "x", ErrDenied},
		"a password longer than any": {"alice", string(make([]byte, 1<<20)), ErrDenied},
	}
	next := here
	for _, name := range slices.Sorted(mapKeys(cases)) {
		t.Run(name, func(t *testing.T) {
			next = next.Next() // an address of its own: nothing is slowed
			c := cases[name]
			caller, err := g.Authenticate(t.Context(), next, c.name, c.password)
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
	g := newGate(t,
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
	g := newGate(t, alice(), User{Name: "plain", Password: "p", Accounts: []string{"*"}})
	costs := countHashes(g)
	for _, c := range []struct{ name, password string }{
		{"alice", "wrong"}, {"bob", "wrong"}, {"plain", "wrong"}, {"", "wrong"}, {"alice", "open sesame"},
	} {
		before := len(costs())
		_, _ = g.Authenticate(t.Context(), here, c.name, c.password)
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

func TestUnknownNameAlwaysCostsTheSame(t *testing.T) {
	dear := cost{kib: 16, passes: 2, lanes: 1}
	g := newGate(t, alice(), User{Name: "bob", PasswordHash: hashAt("p", dear), Accounts: []string{"*"}})
	costs := countHashes(g)
	seen := map[cost]bool{}
	for i := range 64 {
		name := fmt.Sprint("nobody", i)
		for j := range 3 {
			_, _ = g.Authenticate(t.Context(), addr(i), name, fmt.Sprint("guess", j))
		}
		last := costs()[len(costs())-3:]
		if last[0] != last[1] || last[1] != last[2] {
			t.Fatalf("%s cost %v", name, last)
		}
		seen[last[0]] = true
	}
	if !seen[quick] || !seen[dear] {
		t.Errorf("unknown names cost %v, want every cost that a user has", seen)
	}
}

func TestManyRequestsWithOneNewPasswordCostOneSlowHash(t *testing.T) {
	g := newGate(t, alice())
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

func TestSlowHashesAreFewAtATimeAndTheWaitEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, alice())
		var running, most atomic.Int32
		g.derive = func(password, salt []byte, c cost) []byte {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			time.Sleep(time.Minute)
			return argon2id(password, salt, c)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		results := make(chan error, 10)
		for i := range 10 {
			go func() { // ends with ctx; results is read to the end
				_, err := g.Authenticate(ctx, addr(i), "alice", fmt.Sprint("wrong", i))
				results <- err
			}()
		}
		denied, ended := 0, 0
		for range 10 {
			switch err := <-results; {
			case errors.Is(err, ErrDenied):
				denied++
			case errors.Is(err, context.DeadlineExceeded):
				ended++
			default:
				t.Errorf("Authenticate() = %v", err)
			}
		}
		if most.Load() != HashesAtOnce || denied != 2*HashesAtOnce || ended != 10-2*HashesAtOnce {
			t.Errorf("%d at a time, %d denied, %d ended with the context", most.Load(), denied, ended)
		}
	})
}

func TestATryGoesOnWhenTheOneItWaitedForIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, alice())
		for range HashesAtOnce {
			g.hashes <- struct{}{}
		}
		ctx, cancel := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		enter := func(ctx context.Context, result chan<- error) {
			_, err := g.Authenticate(ctx, here, "alice", "open sesame")
			result <- err
		}
		go enter(ctx, first) // ends when it is cancelled below
		synctest.Wait()
		go enter(t.Context(), second) // ends when a hash is free below
		synctest.Wait()
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("first = %v", err)
		}
		<-g.hashes
		if err := <-second; err != nil {
			t.Errorf("second = %v", err)
		}
	})
}

func TestTriesBeyondTheLineAreTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, alice())
		for range HashesAtOnce {
			g.hashes <- struct{}{}
		}
		var done sync.WaitGroup
		var away, denied atomic.Int32
		for i := range 2 * maxLine {
			done.Go(func() {
				_, err := g.Authenticate(t.Context(), here, "alice", fmt.Sprint("wrong", i))
				switch slow := new(SlowedError); {
				case errors.As(err, &slow) && slow.RetryIn == time.Second:
					away.Add(1)
				case errors.Is(err, ErrDenied):
					denied.Add(1)
				}
			})
		}
		synctest.Wait()
		if away.Load() != maxLine {
			t.Errorf("%d turned away at once, want %d", away.Load(), maxLine)
		}
		<-g.hashes
		done.Wait()
		// All came at once, and still only the free ones were looked at: the
		// rest met the wait that the sixth had earned.
		if denied.Load() != freeStrikes+1 {
			t.Errorf("%d passwords were tried, want %d", denied.Load(), freeStrikes+1)
		}
	})
}

func TestNewUsersReplaceTheOldInOneStep(t *testing.T) {
	g := newGate(t, alice(), User{Name: "bob", PasswordHash: hashAt("p", quick), Accounts: []string{"wx1"}})
	costs := countHashes(g)
	mustEnter(t, g, here, "alice", "open sesame")
	mustEnter(t, g, here, "bob", "p")
	remembered := len(costs())

	next := alice()
	next.Accounts = []string{"wx2"}
	if err := g.SetUsers([]User{next, {Name: "bob", PasswordHash: hashAt("q", quick), Accounts: []string{"wx1"}}}); err != nil {
		t.Fatal(err)
	}
	if c := mustEnter(t, g, here, "alice", "open sesame"); c.May("wx1") || !c.May("wx2") {
		t.Error("alice has her old rights")
	}
	if len(costs()) != remembered {
		t.Error("a password that has not changed was hashed again")
	}
	if _, err := g.Authenticate(t.Context(), here, "bob", "p"); !errors.Is(err, ErrDenied) {
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
	if _, err := g.Authenticate(t.Context(), here, "alice", "open sesame"); !errors.Is(err, ErrDenied) {
		t.Errorf("alice after she was removed = %v, want ErrDenied", err)
	}
}

func TestPasswordThatBecameRightIsNotRefusedFromMemory(t *testing.T) {
	g := newGate(t, alice())
	if _, err := g.Authenticate(t.Context(), here, "alice", "new"); !errors.Is(err, ErrDenied) {
		t.Fatal(err)
	}
	changed := alice()
	changed.PasswordHash = hashAt("new", quick)
	if err := g.SetUsers([]User{changed}); err != nil {
		t.Fatal(err)
	}
	mustEnter(t, g, here, "alice", "new")
}

func TestAWrongTryThatReadsLikeARightOneDoesNotShutItOut(t *testing.T) {
	g := newGate(t, alice())
	if _, err := g.Authenticate(t.Context(), here, "alic", "eopen sesame"); !errors.Is(err, ErrDenied) {
		t.Fatal(err)
	}
	mustEnter(t, g, here, "alice", "open sesame")
}

func TestDatagramKeysAreFoundByName(t *testing.T) {
	key := make([]byte, 32)
	g := newGate(t, alice(), User{Name: "udp", UDPKey: key, Accounts: []string{"wx1"}})
	if c, k, ok := g.Datagrams("udp"); !ok || len(k) != 32 || c.Name() != "udp" || !c.May("wx1") {
		t.Errorf("Datagrams(udp) = %q, %v", c.Name(), ok)
	}
	for _, name := range []string{"alice", "nobody", ""} {
		if _, _, ok := g.Datagrams(name); ok {
			t.Errorf("Datagrams(%q) found a key", name)
		}
	}
	if _, err := g.Authenticate(t.Context(), here, "udp", string(key)); !errors.Is(err, ErrDenied) {
		t.Errorf("a user without a password = %v, want ErrDenied", err)
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
			c, err := g.Authenticate(ctx, here, "plain", "0123456789abcdef0123456789abcdef")
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
	return User{Name: "alice", PasswordHash: "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$hB+3w+XCqbeX/gTIqKvDd3rvONixo8T2Dgv6KiwCGcs", Accounts: []string{"wx1"}}
}

func newGate(t *testing.T, users ...User) *Gate {
	t.Helper()
	g, err := New(users)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func mustEnter(t *testing.T, g *Gate, at netip.Addr, name, password string) Caller {
	t.Helper()
	c, err := g.Authenticate(t.Context(), at, name, password)
	if err != nil {
		t.Errorf("Authenticate(%s) = %v", name, err)
	}
	return c
}

// countHashes makes g note the cost of each slow hash.
func countHashes(g *Gate) func() []cost {
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
