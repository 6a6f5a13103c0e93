package auth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestSlowHashesAreFewAtATimeAndTheWaitEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newAuthenticator(t, alice())
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
				_, err := g.Authenticate(ctx, addr(i), Credentials{"alice", fmt.Sprint("wrong", i)})
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
		if most.Load() != MaxHashes || denied != 2*MaxHashes || ended != 10-2*MaxHashes {
			t.Errorf("%d at a time, %d denied, %d ended with the context", most.Load(), denied, ended)
		}
	})
}

func TestATryGoesOnWhenTheOneItWaitedForIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newAuthenticator(t, alice())
		letGo := occupy(t, g)
		ctx, cancel := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		enter := func(ctx context.Context, result chan<- error) {
			_, err := g.Authenticate(ctx, here, Credentials{"alice", "open sesame"})
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
		letGo()
		if err := <-second; err != nil {
			t.Errorf("second = %v", err)
		}
	})
}

func TestTriesBeyondTheLineAreTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newAuthenticator(t, alice())
		letGo := occupy(t, g)
		var done sync.WaitGroup
		var away, denied atomic.Int32
		for i := range 2 * maxWaiting {
			done.Go(func() {
				_, err := g.Authenticate(t.Context(), here, Credentials{"alice", fmt.Sprint("wrong", i)})
				switch slow := new(ThrottledError); {
				case errors.As(err, &slow) && slow.RetryIn == time.Second:
					away.Add(1)
				case errors.Is(err, ErrDenied):
					denied.Add(1)
				}
			})
		}
		synctest.Wait()
		if away.Load() != maxWaiting {
			t.Errorf("%d turned away at once, want %d", away.Load(), maxWaiting)
		}
		letGo()
		done.Wait()
		// All came at once, and still only the free ones were looked at: the
		// rest met the wait that the sixth had earned.
		if denied.Load() != freeFailures+1 {
			t.Errorf("%d passwords were tried, want %d", denied.Load(), freeFailures+1)
		}
	})
}

func TestWhoComesAgainGoesBeforeStrangersOfAThousandAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newAuthenticator(t, alice())
		g.derive = func(password, salt []byte, c cost) []byte {
			time.Sleep(200 * time.Millisecond) // two at a time: ten a second
			return argon2id(password, salt, c)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var strangers sync.WaitGroup
		strangers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ { // 200 a second, each guess once
				strangers.Go(func() { _, _ = g.Authenticate(ctx, addr(i%1000), Credentials{"alice", fmt.Sprint("wrong", i)}) })
				time.Sleep(5 * time.Millisecond)
			}
		})
		time.Sleep(20 * time.Second)
		took, tries := comeUntilIn(t, g, there, "alice", "open sesame")
		if took > 5*time.Second {
			t.Errorf("let in after %v and %d tries, want within 5 s", took, tries)
		}
		cancel()
		strangers.Wait()
		if len(g.queue.waiting) != 0 || len(g.queue.running) != 0 {
			t.Errorf("%d stand in the line, %d run, after all have gone", len(g.queue.waiting), len(g.queue.running))
		}
	})
}

// occupy keeps g from looking at tries until letGo is called.
func occupy(t *testing.T, g *Authenticator) (letGo func()) {
	t.Helper()
	var leaves []func()
	for i := range MaxHashes {
		leave, err := g.queue.acquire(t.Context(), waiter{source: addr(1<<20 + i)})
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leave)
	}
	return func() {
		for _, leave := range leaves {
			leave()
		}
	}
}
