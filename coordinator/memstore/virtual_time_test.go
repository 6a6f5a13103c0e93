package memstore_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// service is one process of a fleet.
type service struct {
	*coordinator.Account
	instance *memstore.Instance
}

// join starts a process that runs until the test ends. Without a source it is a
// reader.
func join(t *testing.T, store *memstore.Store, name string, source coordinator.Source) service {
	t.Helper()
	instance := store.Instance(name)
	c, err := coordinator.New(coordinator.Config{Store: instance})
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.Add(coordinator.AccountConfig{Name: account, Source: source})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = c.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	return service{a, instance}
}

// How to test a program that is built on package coordinator: the whole fleet, its
// store and the issuer live in one bubble, where a day takes some milliseconds. The
// network is partitioned, the store dies and loses its data, and a stranger fetches a
// token with the same secret. Every service that can be served has a valid token all
// the while.
func TestAFleetLivesThroughADayOfFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		source := &coordinatortest.Source{Latency: 200 * time.Millisecond}
		first, second := join(t, store, "first", source), join(t, store, "second", source)
		reader := join(t, store, "reader", nil)

		// call is what a service does with a token: a call that the issuer may reject,
		// and then once more with the token that came instead.
		call := func(s service) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			token, err := s.Token(ctx)
			if err != nil {
				t.Fatalf("%v: Token() = %v", time.Now(), err)
			}
			if source.Valid(token) {
				return
			}
			r, err := s.Invalidate(ctx, token)
			if err != nil || !source.Valid(r.Token) {
				t.Errorf("%v: Invalidate() = %q, %v, want a valid token", time.Now(), r.Token.Reveal(), err)
			}
		}
		pass := func(d time.Duration, services ...service) {
			t.Helper()
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Minute) {
				for _, s := range services {
					call(s)
				}
			}
		}

		pass(5*time.Hour+30*time.Minute, first, second, reader)
		if calls := len(source.Calls()); calls != 6 {
			t.Errorf("%d calls to the issuer in 5 quiet hours and a half, want 6", calls)
		}

		first.instance.SetDown(true) // a partition: the second goes on for all that it can reach
		pass(90*time.Minute, second, reader)
		first.instance.SetDown(false)
		pass(time.Hour, first, second, reader)
		store.SetDown(true) // an outage: tokens are served from memory
		pass(40*time.Minute, first, second, reader)
		store.Flush() // it comes back without its data: a refresher puts the token back
		store.SetDown(false)
		pass(time.Hour, first, second, reader)
		first.instance.LoseAnswers(memstore.OpCommit, 1)
		second.instance.LoseAnswers(memstore.OpCommit, 1)
		source.Next(coordinatortest.AnswerLost()) // a token that only the issuer knows
		pass(3*time.Hour, first, second, reader)
		if _, err := second.Refresh(t.Context()); err != nil { // by hand, so that none is due soon
			t.Fatal(err)
		}
		source.IssueOutside() // kills ours when the overlap has passed
		pass(time.Hour, first, second, reader)
		if n := store.Peek(account).Conflicts; n == 0 {
			t.Error("no conflict was counted, want the one with the stranger")
		}
		if n := source.Busiest(); n != 1 {
			t.Errorf("the issuer was asked by %d processes at once", n)
		}
		if calls, hours := len(source.Calls()), 14; calls > hours+6 {
			t.Errorf("%d calls to the issuer in %d hours with 5 faults and a refresh by hand", calls, hours)
		}
	})
}
