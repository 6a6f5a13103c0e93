package coordinatortest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// MemInstance is a MemStore as one process sees it. Its switches are faults
// between this process and the store.
type MemInstance struct {
	switches
	store *MemStore
	name  string
}

var _ coordinator.Store = (*MemInstance)(nil)

// Name returns the instance's name.
func (i *MemInstance) Name() string { return i.name }

var errDown = errors.New("the store is down")

// do carries out one operation as it would be over a network: half the latency,
// the step, which is atomic, half the latency. step runs with the store's mu
// held.
func (i *MemInstance) do(ctx context.Context, op Op, step func(now time.Time) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	s := i.store
	s.mu.Lock()
	f := max(s.draw(op), i.draw(op))
	latency := s.latency + i.latency
	s.mu.Unlock()

	if err := travel(ctx, latency/2); err != nil {
		return unreachable(op, err)
	}
	s.mu.Lock()
	if i.cut() || f == fails {
		s.mu.Unlock()
		return unreachable(op, errDown)
	}
	err := step(s.now())
	s.mu.Unlock()

	if err := travel(ctx, latency-latency/2); err != nil {
		return unreachable(op, err)
	}
	s.mu.Lock()
	cut := i.cut()
	s.mu.Unlock()
	if cut || f == answerLost {
		return unreachable(op, errDown)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// cut reports whether the instance cannot reach the store. Needs the store's
// mu.
func (i *MemInstance) cut() bool { return i.down || i.store.down }

func unreachable(op Op, cause error) error {
	return fmt.Errorf("%s: %w: %w", op, coordinator.ErrUnreachable, cause)
}

// travel waits for d, or for ctx.
func travel(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Load is coordinator.Store's.
func (i *MemInstance) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	states := make([]coordinator.State, len(accounts))
	err := i.do(ctx, OpLoad, func(now time.Time) error {
		for n, name := range accounts {
			states[n] = i.store.account(name).state(name, now)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return states, nil
}

// Begin is coordinator.Store's.
func (i *MemInstance) Begin(ctx context.Context, account string, b coordinator.BeginRequest) (coordinator.Attempt, error) {
	var attempt coordinator.Attempt
	err := i.do(ctx, OpBegin, func(now time.Time) error {
		var err error
		attempt, err = i.store.account(account).begin(i.teller(account, now), b)
		return err
	})
	if err != nil {
		return coordinator.Attempt{}, err
	}
	return attempt, nil
}

// Commit is coordinator.Store's.
func (i *MemInstance) Commit(ctx context.Context, account string, c coordinator.CommitRequest) (coordinator.Record, error) {
	var r coordinator.Record
	err := i.do(ctx, OpCommit, func(now time.Time) error {
		var err error
		r, err = i.store.account(account).commit(i.teller(account, now), c)
		return err
	})
	if err != nil {
		return coordinator.Record{}, err
	}
	return r, nil
}

// Fail is coordinator.Store's.
func (i *MemInstance) Fail(ctx context.Context, account string, f coordinator.FailRequest) error {
	return i.do(ctx, OpFail, func(now time.Time) error {
		i.store.account(account).fail(i.teller(account, now), f)
		return nil
	})
}

// Restore is coordinator.Store's.
func (i *MemInstance) Restore(ctx context.Context, account string, r coordinator.Record) (coordinator.Record, error) {
	var stored coordinator.Record
	err := i.do(ctx, OpRestore, func(now time.Time) error {
		stored = i.store.account(account).restore(i.teller(account, now), r)
		return nil
	})
	if err != nil {
		return coordinator.Record{}, err
	}
	return stored, nil
}

// Want is coordinator.Store's.
func (i *MemInstance) Want(ctx context.Context, account string, w coordinator.WantRequest) error {
	return i.do(ctx, OpWant, func(now time.Time) error {
		t := i.teller(account, now)
		t.publish(coordinator.Event{Kind: coordinator.EventWanted, Reason: w.Reason, Want: w})
		return nil
	})
}

// Subscribe is coordinator.Store's.
func (i *MemInstance) Subscribe(w coordinator.Watcher) coordinator.Subscription {
	return newSubscription(i, w)
}

// teller returns what a step of this instance on an account needs besides the
// account: who, when, and whom to tell.
func (i *MemInstance) teller(account string, now time.Time) teller {
	return teller{by: i.name, now: now, publish: func(e coordinator.Event) {
		e.Account, e.By = account, i.name
		i.store.publish(e)
	}}
}
