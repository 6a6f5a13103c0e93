package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const key = "0123456789abcdefghij" // strong

// keyed is a user with a strong password.
func keyed(name string) User {
	return User{Name: name, PasswordHashes: []string{hashAt(key, quick)}, Accounts: []string{"*"}}
}

func TestWrongTriesThatComeAgainAreSlowedMoreAndMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newAuthenticator(t, alice())
		for i := range freeFailures + 1 {
			if wait := guess(t, g, here, fmt.Sprint("bob", i)); wait != 0 {
				t.Fatalf("try %d has to wait %v", i, wait)
			}
		}
		for i, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
			want *= time.Second
			if wait := guess(t, g, here, "carol"); wait != want {
				t.Fatalf("wait %d = %v, want %v", i, wait, want)
			}
			mine := fmt.Sprint("mine", i)
			ends := time.Now().Add(want)
			for range 3 { // they do not make the delay longer
				if wait := tryPassword(t, g, here, "dora", mine); wait < time.Until(ends) || wait > max(time.Second, time.Until(ends)) {
					t.Fatalf("wait %d is %v, want %v or a second", i, wait, time.Until(ends))
				}
				time.Sleep(time.Second / 4)
			}
			time.Sleep(want)
			if wait := tryPassword(t, g, here, "dora", mine); wait != 0 {
				t.Fatalf("after wait %d: still %v", i, wait)
			}
		}
		time.Sleep(forgetAfter + time.Second)
		for i := range freeFailures {
			if wait := guess(t, g, here, "frank"); wait != 0 {
				t.Fatalf("try %d after a long time has to wait %v", i, wait)
			}
		}
	})
}

func TestGuessesMadeOnceEachAreNotLookedAtWhereThereWereManyWrongOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newAuthenticator(t, alice())
		costs := countHashes(g)
		looked := 0
		for range 10 * 60 * 10 { // for ten minutes
			if guess(t, g, here, "alice") == 0 {
				looked++
			}
			time.Sleep(100 * time.Millisecond)
		}
		if looked != freeFailures+1 || len(costs()) != looked {
			t.Errorf("%d guesses were looked at, %d hashed, want %d", looked, len(costs()), freeFailures+1)
		}
	})
}

func TestAProvedCallerIsServedForAnHourWhileStrangersAtItsAddressGuess(t *testing.T) {
	const short = "open sesame"
	for name, c := range map[string]struct {
		password string
		each     time.Duration // a guess
		again    bool          // each guess is made again until it is looked at
	}{
		"key, 50 guesses a second":             {key, 20 * time.Millisecond, false},
		"key, repeated":                        {key, 100 * time.Millisecond, true},
		"short password, 8 guesses a second":   {short, 125 * time.Millisecond, false},
		"short password, repeated, 1 a second": {short, time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newAuthenticator(t, keyed("app"), alice())
				user := map[string]string{key: "app", short: "alice"}[c.password]
				mustEnter(t, g, here, user, c.password)
				stop := besiege(t, g, here, user, c.each, c.again)
				asked, refused := 0, 0
				for began := time.Now(); time.Since(began) < time.Hour; time.Sleep(time.Second) {
					asked++
					if _, err := g.Authenticate(t.Context(), here, Credentials{user, c.password}); err != nil {
						refused++
					}
				}
				stop()
				if refused > 0 {
					t.Errorf("%d of %d requests were refused", refused, asked)
				}
				mustEnter(t, g, here, user, c.password)
			})
		})
	}
}

func TestFewGuessesASecondAreComparedWithAShortPasswordWhereItIsProved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newAuthenticator(t, alice(), keyed("app"))
		mustEnter(t, g, here, "alice", "open sesame")
		mustEnter(t, g, here, "app", key)
		stop := besiege(t, g, here, "alice", time.Millisecond, false)
		time.Sleep(time.Minute)
		passes := func(name, password string) int {
			n := 0
			u, m := g.current.Load().find(name), g.signer.sign(name, password)
			for range 1000 {
				if g.passes(here, g.verified.key(here, m), u, u.match(m)) {
					n++
				}
				time.Sleep(7 * time.Millisecond)
			}
			return n
		}
		if n := passes("alice", "open sesame"); n == 0 || n > 100 {
			t.Errorf("at 1000 guesses a second %d of 1000 were compared, want %d a second", n, compareRate)
		}
		if n := passes("app", key); n != 1000 {
			t.Errorf("%d of 1000 with a key passed", n)
		}
		if took, tries := comeUntilIn(t, g, here, "alice", "open sesame"); took > 15*time.Second {
			t.Errorf("let in after %v and %d tries", took, tries)
		}
		stop()
		time.Sleep(time.Minute)
		if n := passes("alice", "open sesame"); n != 1000 {
			t.Errorf("%d of 1000 passed afterwards", n)
		}
	})
}

func TestAnUnprovedCallerIsLetInWithinHalfAMinuteWhileStrangersAtItsAddressGuess(t *testing.T) {
	for name, c := range map[string]struct {
		each  time.Duration
		again bool
	}{
		"1000 guesses a second":             {time.Millisecond, false},
		"10 guesses a second":               {100 * time.Millisecond, false},
		"a guess in two seconds":            {2 * time.Second, false},
		"50 a second, each until looked at": {20 * time.Millisecond, true},
		"1 a second, each until looked at":  {time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				users := []User{alice(), keyed("app")}
				for i := range 30 { // behind one proxy
					users = append(users, keyed(fmt.Sprint("app", i)))
				}
				g := newAuthenticator(t, users...)
				stop := besiege(t, g, here, "alice", c.each, c.again)
				time.Sleep(time.Minute)
				if c.again {
					// Whoever repeats since before somebody came goes first:
					// these begin again now.
					stop()
					stop = besiege(t, g, here, "alice", c.each, c.again)
				}
				var all sync.WaitGroup
				for i, u := range users {
					password := key
					if i == 0 {
						password = "open sesame"
					}
					all.Go(func() {
						if took, tries := comeUntilIn(t, g, here, u.Name, password); took > 30*time.Second {
							t.Errorf("%s was let in after %v and %d tries", u.Name, took, tries)
						}
					})
				}
				all.Wait()
				stop()
			})
		})
	}
}

func TestANewPasswordIsLetInWithinHalfAMinuteWhileStrangersGuess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newAuthenticator(t, alice())
		mustEnter(t, g, here, "alice", "open sesame")
		defer besiege(t, g, here, "alice", 10*time.Millisecond, false)()
		time.Sleep(time.Minute)
		if err := g.SetUsers([]User{keyed("alice")}); err != nil {
			t.Fatal(err)
		}
		if _, err := g.Authenticate(t.Context(), here, Credentials{"alice", "open sesame"}); err == nil {
			t.Error("the old password was taken")
		}
		if took, tries := comeUntilIn(t, g, here, "alice", key); took > 30*time.Second {
			t.Errorf("let in after %v and %d tries", took, tries)
		}
		mustEnter(t, g, here, "alice", key)
	})
}

func TestOtherAddressesNeverNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newAuthenticator(t, alice(), User{Name: "plain", Password: "p", Accounts: []string{"*"}})
		for range 50 {
			guess(t, g, here, "alice")
		}
		mustEnter(t, g, there, "alice", "open sesame")
		mustEnter(t, g, there, "plain", "p")
		if wait := guess(t, g, there, "alice"); wait != 0 {
			t.Errorf("the other address has to wait %v", wait)
		}
	})
}

func TestGuessesOfAPasswordProvedElsewhereCannotBeToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newAuthenticator(t, alice())
		mustEnter(t, g, there, "alice", "open sesame")
		for range 100 {
			guess(t, g, here, "alice")
		}
		wrong := guess(t, g, here, "alice")
		if right := tryPassword(t, g, here, "alice", "open sesame"); right != wrong || wrong == 0 {
			t.Fatalf("right password: wait %v, wrong one: wait %v", right, wrong)
		}
	})
}

func TestTriesTooLongForAnybodyMakeNobodyWait(t *testing.T) {
	g := newAuthenticator(t, alice())
	for range 50 {
		if _, err := g.Authenticate(t.Context(), here, Credentials{"alice", string(make([]byte, maxPassword+1))}); !errors.Is(err, ErrDenied) {
			t.Fatalf("Authenticate() = %v, want ErrDenied", err)
		}
	}
	mustEnter(t, g, here, "alice", "open sesame")
}

func TestARepeatedWrongPasswordCountsOnce(t *testing.T) {
	g := newAuthenticator(t, alice(), User{Name: "bob", PasswordHashes: []string{hashAt("p", quick)}, Accounts: []string{"*"}})
	costs := countHashes(g)
	for range 100 {
		if _, err := g.Authenticate(t.Context(), here, Credentials{"alice", "last year's"}); !errors.Is(err, ErrDenied) {
			t.Fatalf("Authenticate() = %v, want ErrDenied", err)
		}
	}
	if got := len(costs()); got != 1 {
		t.Errorf("%d slow hashes, want 1", got)
	}
	mustEnter(t, g, here, "alice", "open sesame")
	mustEnter(t, g, here, "bob", "p")
}

func TestPlaceIsOneSubscriber(t *testing.T) {
	cases := []struct{ a, b string }{
		{"192.0.2.1", "192.0.2.1"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9"},
		{"fe80::1%eth0", "fe80::2%eth1"},
	}
	for _, c := range cases {
		if a, b := Source(netip.MustParseAddr(c.a)), Source(netip.MustParseAddr(c.b)); a != b {
			t.Errorf("Place(%s) = %v, Place(%s) = %v, want the same", c.a, a, c.b, b)
		}
	}
	for _, c := range []struct{ a, b string }{{"192.0.2.1", "192.0.2.2"}, {"2001:db8:1:2::1", "2001:db8:1:3::1"}} {
		if Source(netip.MustParseAddr(c.a)) == Source(netip.MustParseAddr(c.b)) {
			t.Errorf("%s and %s are one place", c.a, c.b)
		}
	}
	if Source(netip.Addr{}) != (netip.Addr{}) {
		t.Error("no address is no place")
	}
}

var guesses int

// guess tries a password that was never tried and returns how long it has to
// wait, 0 if it was looked at.
func guess(t *testing.T, g *Authenticator, at netip.Addr, name string) time.Duration {
	t.Helper()
	guesses++
	return tryPassword(t, g, at, name, fmt.Sprint("guess", guesses))
}

func tryPassword(t *testing.T, g *Authenticator, at netip.Addr, name, password string) time.Duration {
	t.Helper()
	_, err := g.Authenticate(t.Context(), at, Credentials{name, password})
	slow := new(ThrottledError)
	switch {
	case errors.As(err, &slow):
		return slow.RetryIn
	case errors.Is(err, ErrDenied):
		return 0
	default:
		t.Fatalf("Authenticate(%s) = %v, want it to be wrong", name, err)
		return 0
	}
}

// besiege guesses from an address until stop is called: at the name, and now
// and then at others. Each guess is made once, or again until it was looked at.
func besiege(t *testing.T, g *Authenticator, at netip.Addr, name string, each time.Duration, again bool) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			guesses++
			target, password := name, fmt.Sprint("guess", guesses)
			if i%4 == 3 {
				target = fmt.Sprint("nobody", i)
			}
			for {
				_, err := g.Authenticate(ctx, at, Credentials{target, password})
				time.Sleep(each)
				if !again || errors.Is(err, ErrDenied) || ctx.Err() != nil {
					break
				}
			}
		}
	})
	return func() { cancel(); done.Wait() }
}
