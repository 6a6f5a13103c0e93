package callers

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestWrongTriesAreSlowedMoreAndMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, alice())
		for i := range freeStrikes + 1 {
			if wait := guess(t, g, here, fmt.Sprint("bob", i)); wait != 0 {
				t.Fatalf("try %d has to wait %v", i, wait)
			}
		}
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			want *= time.Second
			if wait := guess(t, g, here, fmt.Sprint("carol", i)); wait != want {
				t.Fatalf("wait %d = %v, want %v", i, wait, want)
			}
			time.Sleep(want - time.Millisecond)
			if wait := guess(t, g, here, fmt.Sprint("dora", i)); wait != time.Millisecond {
				t.Fatalf("just before the end: wait = %v", wait)
			}
			time.Sleep(time.Millisecond)
			if wait := guess(t, g, here, fmt.Sprint("eve", i)); wait != 0 {
				t.Fatalf("after wait %d: still %v", i, wait)
			}
		}
		time.Sleep(forgetAfter + time.Second)
		for i := range freeStrikes {
			if wait := guess(t, g, here, "frank"); wait != 0 {
				t.Fatalf("try %d after a long time has to wait %v", i, wait)
			}
		}
	})
}

func TestOtherAddressesAndProvedNeighboursNeverNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, alice(), User{Name: "plain", Password: "p", Accounts: []string{"*"}})
		mustEnter(t, g, there, "alice", "open sesame")
		for range 50 {
			guess(t, g, here, "alice")
		}
		mustEnter(t, g, there, "alice", "open sesame")
		if wait := guess(t, g, there, "alice"); wait != 0 {
			t.Errorf("the other address has to wait %v", wait)
		}
		// Behind the same address, and yet another name.
		mustEnter(t, g, here, "plain", "p")
	})
}

func TestGuessesOfARememberedPasswordCannotBeToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, alice())
		mustEnter(t, g, there, "alice", "open sesame")
		for range 100 {
			guess(t, g, here, "alice")
		}
		for range 3 {
			wrong := guess(t, g, here, "alice")
			_, err := g.Authenticate(t.Context(), here, "alice", "open sesame")
			slow := new(SlowedError)
			if !errors.As(err, &slow) || slow.RetryIn != wrong || wrong == 0 {
				t.Fatalf("right password: %v, wrong one: wait %v", err, wrong)
			}
			time.Sleep(wrong / 2)
		}
		time.Sleep(2 * longestWait)
		mustEnter(t, g, here, "alice", "open sesame")
	})
}

func TestGuessingFastWhileTheAddressWaitsEndsInAWaitForTheName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, alice())
		mustEnter(t, g, there, "alice", "open sesame")
		for i := range 8 { // the address has to wait, alice has no strike yet
			guess(t, g, here, fmt.Sprint("name", i))
		}
		mustEnter(t, g, here, "alice", "open sesame")
		for range freeStrikes + 1 {
			guess(t, g, here, "alice")
		}
		if _, err := g.Authenticate(t.Context(), here, "alice", "open sesame"); err == nil {
			t.Error("guesses that were not looked at were not counted: they are free tries at a remembered password")
		}
	})
}

func TestARepeatedWrongPasswordCountsOnce(t *testing.T) {
	g := newGate(t, alice(), User{Name: "bob", PasswordHash: hashAt("p", quick), Accounts: []string{"*"}})
	costs := countHashes(g)
	for range 100 {
		if _, err := g.Authenticate(t.Context(), here, "alice", "last year's"); !errors.Is(err, ErrDenied) {
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
		if a, b := place(netip.MustParseAddr(c.a)), place(netip.MustParseAddr(c.b)); a != b {
			t.Errorf("place(%s) = %v, place(%s) = %v, want the same", c.a, a, c.b, b)
		}
	}
	for _, c := range []struct{ a, b string }{{"192.0.2.1", "192.0.2.2"}, {"2001:db8:1:2::1", "2001:db8:1:3::1"}} {
		if place(netip.MustParseAddr(c.a)) == place(netip.MustParseAddr(c.b)) {
			t.Errorf("%s and %s are one place", c.a, c.b)
		}
	}
	if place(netip.Addr{}) != (netip.Addr{}) {
		t.Error("no address is no place")
	}
}

func TestStrikesStaySmall(t *testing.T) {
	s := newStrikes()
	for i := range 3 * maxPlaces {
		s.add(addr(i), "alice")
	}
	if len(s.places) > maxPlaces {
		t.Errorf("%d places are kept, want at most %d", len(s.places), maxPlaces)
	}
	for i := range 1000 {
		s.add(here, fmt.Sprint("name", i))
	}
	if got := len(s.places[place(here)].names); got > maxNames {
		t.Errorf("%d names of one place are kept, want at most %d", got, maxNames)
	}
	if own, _ := s.wait(here, "a name never tried"); own == 0 {
		t.Error("names that find no room are not counted")
	}
}

func TestForgottenPlacesMakeRoomFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrikes()
		for i := range maxPlaces - 1 {
			s.add(addr(i), "alice")
		}
		time.Sleep(forgetAfter + time.Second)
		for range freeStrikes + 1 {
			s.add(here, "alice")
		}
		s.add(there, "alice")
		if own, _ := s.wait(here, "alice"); own == 0 || len(s.places) != 2 {
			t.Errorf("%d places are kept, wait %v", len(s.places), own)
		}
	})
}

func TestRefusalsStayFew(t *testing.T) {
	var r refusals
	for i := range 3 * maxRefused {
		r.add(mac{byte(i), byte(i >> 8), byte(i >> 16)})
	}
	if len(r.macs) > maxRefused {
		t.Errorf("%d are kept, want at most %d", len(r.macs), maxRefused)
	}
}

var guesses int

// guess tries a password that was never tried and returns how long it has to
// wait, 0 if it was looked at.
func guess(t *testing.T, g *Gate, at netip.Addr, name string) time.Duration {
	t.Helper()
	guesses++
	_, err := g.Authenticate(t.Context(), at, name, fmt.Sprint("guess", guesses))
	slow := new(SlowedError)
	switch {
	case errors.As(err, &slow):
		return slow.RetryIn
	case errors.Is(err, ErrDenied):
		return 0
	default:
		t.Fatalf("Authenticate() = %v", err)
		return 0
	}
}
