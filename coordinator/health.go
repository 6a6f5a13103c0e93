package coordinator

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

// health is whether this process can use the store. It is safe for concurrent use.
type health struct {
	log    *slog.Logger
	report func(Observation)

	running   atomic.Bool // Run keeps the accounts right: memory may be trusted
	connected atomic.Bool // notifications flow

	down      atomic.Pointer[outage] // it could not be asked the last time
	lost      atomic.Pointer[outage] // its notifications do not flow
	unwilling atomic.Pointer[outage] // it can be read, and takes no refresh

	flows atomic.Uint32                 // how often notifications have begun to flow
	again atomic.Pointer[chan struct{}] // closed when they do; nil: nobody waits
}

// worst returns the cause that is said first, nil if there is none.
func (h *health) worst() *outage {
	down, lost, unwilling := h.down.Load(), h.lost.Load(), h.unwilling.Load()
	switch running := h.running.Load(); {
	case unwilling != nil && errors.Is(unwilling.err, ErrDenied):
		return unwilling
	case !running:
		return down
	case !h.connected.Load() && lost != nil:
		return lost
	case !h.connected.Load():
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
func (h *health) reached(err error) {
	if !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrDenied) {
		if err == nil && h.down.Load() != nil {
			h.down.Store(nil)
		}
		return
	}
	now := time.Now()
	o := h.down.Load().again(now, err)
	// An outage that has ended the notifications, too, is said by notFollowing.
	tell := !o.told && o.lasts() && (h.connected.Load() || errors.Is(err, ErrDenied))
	o.told = o.told || tell
	h.down.Store(o)
	if tell {
		h.log.Warn("the store answers, and what this process needs fails: tokens in memory are served as stale", "error", err)
	}
	h.report(Observation{Kind: Unreachable, Err: err})
}

// reachedSince is reached for an operation that began when flows was since: what failed
// because of a connection that is gone tells nothing of the one by which notifications flow
// by now. It reports whether it is so.
func (h *health) reachedSince(since uint32, err error) (outdated bool) {
	if err != nil && h.flows.Load() != since {
		return true
	}
	h.reached(err)
	return false
}

// reachedFor is reached for an operation on behalf of a caller: one that failed when ctx has
// ended tells of the caller, who gave up, and not of the store.
func (h *health) reachedFor(ctx context.Context, err error) {
	if err == nil || ctx.Err() == nil {
		h.reached(err)
	}
}

// reachedGrant is reachedFor for an operation on a grant. That this process has no right to the
// key of one grant is the error of those who need that grant, and of nobody else.
func (h *health) reachedGrant(ctx context.Context, err error) {
	if !isForbidden(err) {
		h.reachedFor(ctx, err)
	}
}

// isForbidden reports whether the store can be used, and denies the one operation.
func isForbidden(err error) bool {
	return errors.Is(err, ErrDenied) && !errors.Is(err, ErrUnreachable)
}

// untilFlows waits for d after an operation that began when flows was since has failed, or
// until notifications flow again, and reports whether they do: then it is worth a try.
func (h *health) untilFlows(since uint32, d time.Duration) bool {
	again := make(chan struct{})
	for !h.again.CompareAndSwap(nil, &again) {
		if others := h.again.Load(); others != nil {
			again = *others
			break
		}
	}
	if h.flows.Load() != since { // else again is closed when it changes
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-again:
		return true
	case <-timer.C:
		return false
	}
}

// tookRefresh notes how a refresh ended that a store may not take, though it can
// be read: it lacks memory or replicas, is a replica itself, or denies it.
func (h *health) tookRefresh(account string, err error) {
	denied := errors.Is(err, ErrDenied)
	if !denied && !errors.Is(err, ErrUnreachable) {
		if err == nil {
			h.unwilling.Store(nil)
		}
		return
	}
	before := h.unwilling.Load()
	if before != nil && errors.Is(before.err, ErrDenied) == denied {
		return
	}
	o := &outage{since: time.Now(), err: err}
	if before != nil {
		o.since = before.since
	}
	if !h.unwilling.CompareAndSwap(before, o) || !h.connected.Load() {
		return // what all others say, too
	}
	level := slog.LevelWarn
	if denied {
		level = slog.LevelError
	}
	h.log.Log(context.Background(), level, "the store takes no refresh: nothing is refreshed by this process until it does",
		"account", account, "error", err)
}

// refreshedElsewhere notes that the store has taken a refresh of another process.
func (h *health) refreshedElsewhere() {
	if o := h.unwilling.Load(); o != nil && !errors.Is(o.err, ErrDenied) {
		h.unwilling.CompareAndSwap(o, nil)
	}
}

// notFollowing notes that notifications do not flow.
func (h *health) notFollowing(err error) {
	o, before := &outage{since: time.Now(), err: err}, h.lost.Load()
	if before != nil {
		o.since = before.since
	}
	h.lost.Store(o) // the subscription's goroutine alone writes it
	if h.connected.Swap(false) {
		h.log.Warn("notifications lost: tokens in memory are served as stale until they are back", "error", err)
		h.report(Observation{Kind: Disconnected, Err: err})
		return
	}
	if before == nil || before.err.Error() != err.Error() {
		h.log.Warn("the store cannot be followed: no new token arrives until it can", "error", err)
	}
}

// following notes that notifications flow.
func (h *health) following(accounts int) {
	h.lost.Store(nil)
	if !h.connected.Swap(true) {
		h.down.Store(nil)
		h.flows.Add(1)
		if again := h.again.Swap(nil); again != nil {
			close(*again)
		}
		h.log.Info("following the store", "followed", accounts)
		h.report(Observation{Kind: Connected})
	}
}

// remind says an outage that lasts again and again, until ctx ends.
func (h *health) remind(ctx context.Context) {
	for sleep(ctx, remindEvery) {
		if o := h.worst(); o != nil && time.Since(o.since) >= remindEvery/2 {
			h.log.Warn("the store still cannot be used", "since", o.since.UTC().Round(time.Second), "error", o.err)
		}
	}
}

// stale reports whether what is held may have been replaced unseen.
func (h *health) stale() bool {
	if h.running.Load() {
		return !h.connected.Load() || h.down.Load().lasts()
	}
	return h.down.Load() != nil
}
