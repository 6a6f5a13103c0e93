package coordinator

import (
	"context"
	"time"
)

// wait returns the record that w waits for. Each caller waits under its own ctx;
// one round an account at a time serves all of them.
func (a *Account) wait(ctx context.Context, w waiter) (*held, error) {
	if h := a.newer(w.after); h != nil {
		return h, nil
	}
	a.c.waiters.Add(1)
	defer a.c.waiters.Add(-1)
	release := func() {}
	defer func() { release() }()
	for following := false; ; {
		next, changed := a.next(&w, ctx.Err(), following)
		switch {
		case next.record != nil || next.err != nil:
			return next.record, next.err
		case next.follow:
			following, release = true, a.c.shared.follow(a)
			continue
		case next.round:
			a.startRound(a.c.newSlot())
		}
		waitFor(ctx, changed, next.wait)
		if h := a.newer(w.after); h != nil { // what most wait for, without a queue for the lock
			return h, nil
		}
	}
}

// newer returns what is served if it is newer than a generation.
func (a *Account) newer(after Fence) *held {
	if h := a.served.Load(); h != nil && h.Generation > after {
		return h
	}
	return nil
}

// next decides what w does next. changed is closed by the next change.
func (a *Account) next(w *waiter, ended error, following bool) (next step, changed <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.env()
	next = w.next(&a.view, ended, following, e)
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	changed = a.changed
	a.awaitParent(e)
	return next, changed
}

// waitFor waits for a change, for d if it is not 0, or for the end of ctx.
func waitFor(ctx context.Context, changed <-chan struct{}, d time.Duration) {
	var over <-chan time.Time
	if d != 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-changed:
	case <-over:
	case <-ctx.Done():
	}
}
