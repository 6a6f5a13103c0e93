package auth

import (
	"fmt"
	"testing"
	"testing/synctest"
)

// read is Authenticate for alice's password as the second reading.
func read(t *testing.T, g *Authenticator, first Credentials) error {
	t.Helper()
	c, err := g.Authenticate(t.Context(), here, first, Credentials{"alice", "open sesame"})
	if err == nil && c.Name() != "alice" {
		t.Errorf("the caller is %q", c.Name())
	}
	return err
}

func TestAPasswordThatIsRightInItsSecondReadingCountsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newAuthenticator(t, alice(), keyed("app"))
		for i := range 3 * freeFailures {
			if err := read(t, g, Credentials{"alice", fmt.Sprint("open%20sesame", i)}); err != nil {
				t.Fatalf("request %d: %v", i, err)
			}
			if err := g.SetUsers([]User{keyed("app"), alice()}); err != nil { // a reload forgets what was wrong
				t.Fatal(err)
			}
		}
		mustEnter(t, g, here, "app", key) // at once: the source is not throttled
	})
}

func TestAWrongPasswordOfAnotherNameCountsThoughALaterReadingIsRight(t *testing.T) {
	g := newAuthenticator(t, alice(), keyed("app"))
	if err := read(t, g, Credentials{"app", "guess"}); err != nil {
		t.Fatal(err)
	}
	if n := g.throttle.sources[Source(here)].failures; n != 1 {
		t.Errorf("%d failures, want 1", n)
	}
}

func TestAProvedReadingPassesWhereThereWereManyWrongOnesAlsoAfterAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newAuthenticator(t, alice())
		first := Credentials{"alice", "open%20sesame"}
		if err := read(t, g, first); err != nil {
			t.Fatal(err)
		}
		for range freeFailures + 1 {
			guess(t, g, here, "nobody")
		}
		if err := g.SetUsers([]User{alice()}); err != nil {
			t.Fatal(err)
		}
		if err := read(t, g, first); err != nil {
			t.Errorf("after a reload: %v", err)
		}
	})
}
