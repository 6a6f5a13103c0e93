package memstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/ledger"
)

// Instance is a [Store] as one process sees it. Its switches are faults between
// this process and the store.
type Instance struct {
	switches
	store *Store
	name  string
}

var (
	_ coordinator.Store       = (*Instance)(nil)
	_ coordinator.GrantStore  = (*Instance)(nil)
	_ coordinator.ChangeStore = (*Instance)(nil)
)

var errDown = errors.New("the store is down")

// do carries out one operation as it would be over a network: half the latency,
// then f, which is atomic, then half the latency. f runs with the store's mu
// held.
func (i *Instance) do(ctx context.Context, op Op, f func(now time.Time) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	s := i.store
	s.mu.Lock()
	fate := max(s.draw(op), i.draw(op))
	latency := s.latency + i.latency
	s.mu.Unlock()

	if err := sleep(ctx, latency/2); err != nil {
		return unreachable(op, err)
	}
	s.mu.Lock()
	if i.cut() || fate == fails {
		s.mu.Unlock()
		return unreachable(op, errDown)
	}
	err := f(s.now())
	s.mu.Unlock()

	if err := sleep(ctx, latency-latency/2); err != nil {
		return unreachable(op, err)
	}
	s.mu.Lock()
	cut := i.cut()
	s.mu.Unlock()
	if cut || fate == answerLost {
		return unreachable(op, errDown)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// step carries out one operation on one account, and publishes the event that f
// returns.
func (i *Instance) step(
	ctx context.Context, op Op, name string, f func(a *account, s ledger.Step) (*coordinator.Event, error),
) error {
	return i.do(ctx, op, func(now time.Time) error {
		event, err := f(i.store.account(name), ledger.Step{Account: name, Instance: i.name, Now: now})
		if ledger.Changed(event, err) {
			number := i.changed(name, now)
			if event != nil && (event.Kind == coordinator.EventBegun || event.Record.Usable()) {
				event.Change = number
			}
		}
		if event != nil {
			i.store.publish(*event)
		}
		return err
	})
}

// changed gives an account the next number of a change, which it returns; 0 if the
// instance records none. Needs the store's mu.
func (i *Instance) changed(account string, now time.Time) uint64 {
	if i.older || i.store.older {
		return 0
	}
	return i.store.changes.Add(account, now)
}

// cut reports whether the instance cannot reach the store. Needs the store's
// mu.
func (i *Instance) cut() bool { return i.down || i.store.down }

func unreachable(op Op, cause error) error {
	return fmt.Errorf("%s: %w: %w", op, coordinator.ErrUnreachable, cause)
}

// sleep waits for d, or for ctx, whose error it returns then.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Load implements [coordinator.Store]. All accounts are read at the same moment.
func (i *Instance) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	states := make([]coordinator.State, len(accounts))
	err := i.do(ctx, OpLoad, func(now time.Time) error {
		for n, name := range accounts {
			states[n] = i.store.account(name).read(ledger.Step{Account: name, Instance: i.name, Now: now})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return states, nil
}

// Newest implements [coordinator.ChangeStore].
func (i *Instance) Newest(ctx context.Context) (newest coordinator.Cursor, err error) {
	err = i.do(ctx, OpChanges, func(time.Time) error {
		newest = i.store.changes.Newest()
		return nil
	})
	return newest, err
}

// Changes implements [coordinator.ChangeStore].
func (i *Instance) Changes(ctx context.Context, since coordinator.Cursor) (changes coordinator.Changes, err error) {
	err = i.do(ctx, OpChanges, func(time.Time) (err error) {
		changes, err = i.store.changes.Since(since)
		return err
	})
	return changes, err
}

// Begin implements [coordinator.Store].
func (i *Instance) Begin(ctx context.Context, name string, b coordinator.BeginRequest) (coordinator.Attempt, error) {
	var attempt coordinator.Attempt
	err := i.step(ctx, OpBegin, name, func(a *account, s ledger.Step) (event *coordinator.Event, err error) {
		attempt, event, err = a.Begin(s, b)
		a.logBegin(s, b, attempt)
		return event, err
	})
	if err != nil {
		if throttled, ok := errors.AsType[*coordinator.ThrottledError](err); ok {
			throttled.Until = time.Now().Add(throttled.RetryIn) // the store's clock may be skewed
		}
		return coordinator.Attempt{}, err
	}
	return attempt, nil
}

// Commit implements [coordinator.Store].
func (i *Instance) Commit(ctx context.Context, name string, c coordinator.CommitRequest) (coordinator.Record, error) {
	var r coordinator.Record
	err := i.step(ctx, OpCommit, name, func(a *account, s ledger.Step) (event *coordinator.Event, err error) {
		r, event, err = a.Commit(s, c)
		a.logCommit(s, c, event, err)
		return event, err
	})
	if err != nil {
		return coordinator.Record{}, err
	}
	return r, nil
}

// Fail implements [coordinator.Store].
func (i *Instance) Fail(ctx context.Context, name string, f coordinator.FailRequest) error {
	return i.step(ctx, OpFail, name, func(a *account, s ledger.Step) (*coordinator.Event, error) {
		event := a.Fail(s, f)
		if event != nil {
			a.logFail(s, f)
		}
		return event, nil
	})
}

// Restore implements [coordinator.Store].
func (i *Instance) Restore(ctx context.Context, name string, r coordinator.Record) (coordinator.Record, error) {
	var stored coordinator.Record
	err := i.step(ctx, OpRestore, name, func(a *account, s ledger.Step) (event *coordinator.Event, err error) {
		stored, event = a.Restore(s, r)
		if event != nil {
			a.add(s, LogEntry{Event: "restored", Fence: r.Generation})
		}
		return event, nil
	})
	if err != nil {
		return coordinator.Record{}, err
	}
	return stored, nil
}

// Want implements [coordinator.Store].
func (i *Instance) Want(ctx context.Context, name string, w coordinator.WantRequest) error {
	return i.step(ctx, OpWant, name, func(_ *account, s ledger.Step) (*coordinator.Event, error) {
		return s.Want(w), nil
	})
}

// Subscribe implements [coordinator.Store]. The watcher is called by the goroutine
// that calls Run.
func (i *Instance) Subscribe(w coordinator.Watcher) coordinator.Subscription {
	return newSubscription(i, w)
}
