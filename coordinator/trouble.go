package coordinator

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// trouble is what keeps this process from using the store.
type trouble struct {
	down   atomic.Pointer[outage] // it could not be asked the last time
	lost   atomic.Pointer[outage] // its notifications do not flow
	denied atomic.Pointer[outage] // it lets itself be read, and no refresh be made
}

// outage is one such cause.
type outage struct {
	since time.Time
	until time.Time // down: nothing is tried on schedule before it
	err   error
}

// outagePause is how long nothing is tried on schedule after the store could
// not be asked.
const outagePause = 500 * time.Millisecond

// remindEvery is how often a trouble that lasts is said again.
const remindEvery = time.Minute

// StoreError returns why the store cannot be used now, nil if it can: it cannot
// be asked (ErrUnreachable), denies what this process needs (ErrDenied), or its
// notifications do not arrive. While nothing Runs it tells of the last operation.
func (c *Coordinator) StoreError() error {
	if o := c.worst(); o != nil {
		return o.err
	}
	return nil
}

// worst returns the cause that is said first, nil if there is none.
func (c *Coordinator) worst() *outage {
	if o := c.denied.Load(); o != nil {
		return o
	}
	down := c.down.Load()
	switch lost := c.lost.Load(); {
	case !c.running.Load():
	case c.connected.Load():
		if down != nil && !errors.Is(down.err, ErrDenied) {
			return nil // an operation that failed is no outage yet
		}
	case lost != nil:
		return lost
	}
	return down
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
	before := c.down.Load()
	if before != nil {
		o.since = before.since
	}
	c.down.Store(o)
	if errors.Is(err, ErrDenied) && (before == nil || !errors.Is(before.err, ErrDenied)) {
		c.log.Error("the store denies this process what it needs", "error", err)
	}
	c.observe(Observation{Kind: Unreachable, Err: err})
}

// deniedTo notes how a refresh ended whose steps the store may not allow, though
// it can be read.
func (c *Coordinator) deniedTo(account string, err error) {
	if !errors.Is(err, ErrDenied) || errors.Is(err, ErrUnreachable) {
		if err == nil {
			c.denied.Store(nil)
		}
		return
	}
	if c.denied.CompareAndSwap(nil, &outage{since: time.Now(), err: err}) {
		c.log.Error("the store denies what a refresh needs: nothing is refreshed by this process", "account", account, "error", err)
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
		c.log.Warn("the store cannot be followed: there is no token to serve until it can", "error", err)
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
