package coordinator

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

// trouble is what keeps this process from using the store.
type trouble struct {
	down      atomic.Pointer[outage] // it could not be asked the last time
	lost      atomic.Pointer[outage] // its notifications do not flow
	unwilling atomic.Pointer[outage] // it can be read, and takes no refresh
}

// outage is one such cause.
type outage struct {
	since time.Time
	until time.Time // down: nothing is tried on schedule before it
	told  bool      // down: the log has said so
	err   error
}

// lasts reports whether an outage is more than a moment, or nothing that passes.
func (o *outage) lasts() bool {
	return o != nil && (errors.Is(o.err, ErrDenied) || time.Since(o.since) >= outageLasts)
}

// outageLasts is how long an operation may fail before it is called an outage
// though notifications flow: failovers pass.
const outageLasts = 2 * time.Second

// outagePause is how long nothing is tried on schedule after the store could
// not be asked.
const outagePause = 500 * time.Millisecond

// remindEvery is how often a trouble that lasts is said again.
const remindEvery = time.Minute

// StoreError returns why the store cannot be used now, nil if it can: it cannot
// be asked (ErrUnreachable), denies what this process needs (ErrDenied), takes no
// refresh though it can be read, or its notifications do not arrive. While
// nothing Runs it tells of the last operation.
func (c *Coordinator) StoreError() error {
	if o := c.worst(); o != nil {
		return o.err
	}
	return nil
}

// worst returns the cause that is said first, nil if there is none.
func (c *Coordinator) worst() *outage {
	down, lost, unwilling := c.down.Load(), c.lost.Load(), c.unwilling.Load()
	switch running := c.running.Load(); {
	case unwilling != nil && errors.Is(unwilling.err, ErrDenied):
		return unwilling
	case !running:
		return down
	case !c.connected.Load() && lost != nil:
		return lost
	case !c.connected.Load():
		return down
	case down.lasts():
		return down
	case unwilling.lasts():
		return unwilling
	}
	return nil
}

// reached notes how an operation on the store ended, so that the schedule
// leaves a store that is away alone for a moment.
func (c *Coordinator) reached(err error) {
	if !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrDenied) {
		if err == nil && c.down.Load() != nil {
			c.down.Store(nil)
		}
		return
	}
	now := time.Now()
	o := &outage{since: now, until: now.Add(outagePause), err: err}
	if before := c.down.Load(); before != nil {
		o.since, o.told = before.since, before.told
	}
	// An outage that has ended the notifications, too, is said by notFollowing.
	tell := !o.told && o.lasts() && (c.connected.Load() || errors.Is(err, ErrDenied))
	o.told = o.told || tell
	c.down.Store(o)
	if tell {
		c.log.Warn("the store answers, and what this process needs fails: tokens in memory are served as stale", "error", err)
	}
	c.observe(Observation{Kind: Unreachable, Err: err})
}

// tookRefresh notes how a refresh ended that a store may not take, though it can
// be read: it lacks memory or replicas, is a replica itself, or denies it.
func (c *Coordinator) tookRefresh(account string, err error) {
	denied := errors.Is(err, ErrDenied)
	if !denied && !errors.Is(err, ErrUnreachable) {
		if err == nil {
			c.unwilling.Store(nil)
		}
		return
	}
	before := c.unwilling.Load()
	if before != nil && errors.Is(before.err, ErrDenied) == denied {
		return
	}
	o := &outage{since: time.Now(), err: err}
	if before != nil {
		o.since = before.since
	}
	if !c.unwilling.CompareAndSwap(before, o) || !c.connected.Load() {
		return // what all others say, too
	}
	level := slog.LevelWarn
	if denied {
		level = slog.LevelError
	}
	c.log.Log(context.Background(), level, "the store takes no refresh: nothing is refreshed by this process until it does",
		"account", account, "error", err)
}

// refreshedElsewhere notes that the store has taken a refresh of another process.
func (c *Coordinator) refreshedElsewhere() {
	if o := c.unwilling.Load(); o != nil && !errors.Is(o.err, ErrDenied) {
		c.unwilling.CompareAndSwap(o, nil)
	}
}

// notFollowing notes that notifications do not flow.
func (c *Coordinator) notFollowing(err error) {
	o, before := &outage{since: time.Now(), err: err}, c.lost.Load()
	if before != nil {
		o.since = before.since
	}
	c.lost.Store(o) // the subscription's goroutine alone writes it
	if c.connected.Swap(false) {
		c.log.Warn("notifications lost: tokens in memory are served as stale until they are back", "error", err)
		c.observe(Observation{Kind: Disconnected, Err: err})
		return
	}
	if before == nil || before.err.Error() != err.Error() {
		c.log.Warn("the store cannot be followed: no new token arrives until it can", "error", err)
	}
}

// following notes that notifications flow.
func (c *Coordinator) following(accounts int) {
	c.lost.Store(nil)
	if !c.connected.Swap(true) {
		c.down.Store(nil)
		c.log.Info("following the store", "accounts", accounts)
		c.observe(Observation{Kind: Connected})
	}
}

// remind says a trouble that lasts again and again, until ctx ends.
func (c *Coordinator) remind(ctx context.Context) {
	for sleep(ctx, remindEvery) {
		if o := c.worst(); o != nil && time.Since(o.since) >= remindEvery/2 {
			c.log.Warn("the store still cannot be used", "since", o.since.UTC().Round(time.Second), "error", o.err)
		}
	}
}
