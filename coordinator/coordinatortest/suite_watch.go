package coordinatortest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// recorder is a Watcher that keeps everything.
type recorder struct {
	mu         sync.Mutex // guards the rest
	events     []coordinator.Event
	subscribed [][]string
	ended      bool // Run has returned: no calls any more
	late       int  // calls after that
}

var _ coordinator.Watcher = (*recorder)(nil)

func (r *recorder) Subscribed(accounts []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count()
	r.subscribed = append(r.subscribed, slices.Clone(accounts))
}

func (r *recorder) Lost(error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count()
}

func (r *recorder) Notified(e coordinator.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count()
	r.events = append(r.events, e)
}

// count needs mu.
func (r *recorder) count() {
	if r.ended {
		r.late++
	}
}

func (r *recorder) of(kind coordinator.EventKind) []coordinator.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var events []coordinator.Event
	for _, e := range r.events {
		if e.Kind == kind {
			events = append(events, e)
		}
	}
	return events
}

// kinds returns what kinds of events there were, in order, and of which
// account.
func (r *recorder) kinds() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var kinds []string
	for _, e := range r.events {
		kinds = append(kinds, fmt.Sprintf("%s %s", e.Kind, e.Account))
	}
	return kinds
}

// follows reports whether Subscribed was ever called for the account.
func (r *recorder) follows(account string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.subscribed, func(accounts []string) bool {
		return slices.Contains(accounts, account)
	})
}

// await waits for an event of this kind of the fixture's account and returns the
// first.
func (r *recorder) await(w *fixture, kind coordinator.EventKind) coordinator.Event {
	w.Helper()
	var found coordinator.Event
	w.until(fmt.Sprintf("an event %q", kind), func() bool {
		for _, e := range r.of(kind) {
			if e.Account == w.account {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// wantCount checks how many events of a kind there were, before another one that
// changes nothing.
func (r *recorder) wantCount(w *fixture, kind coordinator.EventKind, want int) {
	w.Helper()
	w.want()
	r.await(w, coordinator.EventWanted)
	if n := len(r.of(kind)); n != want {
		w.Errorf("%d events %q, want %d", n, kind, want)
	}
}

// until waits for a condition.
func (w *fixture) until(what string, ok func() bool) {
	w.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(pace) {
		if time.Now().After(end) {
			w.Fatalf("after %v still waiting for %s", patience, what)
		}
	}
}

// run runs a subscription until the check has ended.
func (w *fixture) run(sub coordinator.Subscription, r *recorder) (stop func()) {
	w.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	// Ended by stop, which waits for it.
	go func() {
		defer close(done)
		sub.Run(ctx)
	}()
	stop = func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			w.Errorf("Run() goes on %v after its context has ended", patience)
			return
		}
		r.mu.Lock()
		r.ended = true
		r.mu.Unlock()
	}
	w.Cleanup(stop)
	return stop
}

// follow subscribes to the account and waits until that holds.
func (w *fixture) follow(role coordinator.Role) *recorder {
	w.Helper()
	r := new(recorder)
	sub := w.store.Subscribe(r)
	sub.Add(role, w.account)
	w.run(sub, r)
	w.until("Subscribed", func() bool { return r.follows(w.account) })
	return r
}

// want makes an event that every refresher gets and that changes nothing.
func (w *fixture) want() {
	w.Helper()
	if err := w.store.Want(w.Context(), w.account, coordinator.WantRequest{Reason: coordinator.ReasonMissing}); err != nil {
		w.Fatalf("Want() = %v", err)
	}
}
