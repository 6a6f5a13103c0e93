package coordinator_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// slowStore is a store that answers a process late.
type slowStore struct {
	*memstore.Instance
	hang    time.Duration // of a commit that is tried in vain
	commits atomic.Int64  // that are tried in vain
	late    time.Duration // until the answer to the first lock comes
	locks   atomic.Int64
	extend  time.Duration // until the answer to the first extension comes
	extends atomic.Int64
	queued  time.Duration // until the first Begin is sent: the process has too much to do
	begins  atomic.Int64
	full    time.Duration // until a lock is asked for: the store has too much to do
	spared  atomic.Int64  // locks that were given up before
}

func (s *slowStore) Commit(ctx context.Context, name string, c coordinator.CommitRequest) (coordinator.Record, error) {
	if s.commits.Add(-1) < 0 {
		return s.Instance.Commit(ctx, name, c)
	}
	time.Sleep(s.hang)
	return coordinator.Record{}, fmt.Errorf("%w: it hung", coordinator.ErrUnreachable)
}

func (s *slowStore) Lock(ctx context.Context, name string, life time.Duration) (coordinator.Lock, error) {
	select {
	case <-time.After(s.full):
	case <-ctx.Done():
		s.spared.Add(1)
		return nil, ctx.Err()
	}
	l, err := s.Instance.Lock(ctx, name, life)
	if err == nil && s.locks.Add(1) == 1 {
		time.Sleep(s.late)
	}
	if err != nil {
		return nil, err
	}
	return slowLock{l, s}, nil
}

func (s *slowStore) Begin(ctx context.Context, name string, b coordinator.BeginRequest) (coordinator.Attempt, error) {
	if s.begins.Add(1) == 1 {
		select {
		case <-time.After(s.queued):
		case <-ctx.Done():
			return coordinator.Attempt{}, fmt.Errorf("%w: not sent in time: %w", coordinator.ErrUnreachable, ctx.Err())
		}
	}
	return s.Instance.Begin(ctx, name, b)
}

// slowLock is a lock of a slowStore.
type slowLock struct {
	coordinator.Lock
	store *slowStore
}

func (l slowLock) Extend(ctx context.Context, fence coordinator.Fence) error {
	err := l.Lock.Extend(ctx, fence)
	if l.store.extends.Add(1) == 1 {
		time.Sleep(l.store.extend)
	}
	return err
}

// slow starts a process to which the store answers late.
func (f *fleet) slow(s *slowStore) *process {
	f.t.Helper()
	s.Instance = f.store.Instance("slow")
	cfg := f.config()
	cfg.Store = s
	p := f.own(cfg)
	p.link = s.Instance
	time.Sleep(100 * time.Millisecond) // it has the lock
	return p
}

// hangs is a store on which so many commits hang, each for as long.
func hangs(commits int, each time.Duration) *slowStore {
	s := &slowStore{hang: each}
	s.commits.Store(int64(commits))
	return s
}

func TestATokenThatIsStoredLateIsNotAskedForAgain(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		holder := f.slow(hangs(2, 2900*time.Millisecond)) // together twice the lock's life
		other := f.refresher()
		time.Sleep(10 * time.Second)
		f.wantCalls(1)
		f.wantCurrent(holder, other)
		if n := holder.c.Stats().Superseded; n != 0 {
			t.Errorf("%d commits were superseded, want none", n)
		}
	})
}

func TestAHolderThatCannotExtendIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		holder := f.slow(hangs(2, 2900*time.Millisecond))
		holder.link.FailNext(memstore.OpExtend, 100)
		other := f.refresher()
		time.Sleep(4 * time.Second)
		f.wantCalls(2)
		time.Sleep(time.Minute) // the first token was superseded: of the two calls nobody knows which was the last
		f.wantCalls(3)
		f.wantCurrent(holder, other)
		if n := holder.c.Stats().Superseded; n != 1 {
			t.Errorf("%d commits were superseded, want 1", n)
		}
		if state := f.store.Peek(account); len(state.Open) != 0 {
			t.Errorf("%d attempts are open, want a quiet store", len(state.Open))
		}
	})
}

func TestAHolderThatIsStuckLosesTheLock(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.slow(hangs(1, time.Hour))
		other := f.refresher()
		time.Sleep(10 * time.Second)
		f.wantCalls(1)
		time.Sleep(4 * time.Second)
		f.wantCalls(2)
		f.wantCurrent(other)
	})
}

func TestALockThatIsLostBeforeTheCallForbidsIt(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Latency = 2 * time.Second
		holder := f.slow(&slowStore{late: 3500 * time.Millisecond})
		other := f.refresher() // calls after 3 s, and is at it when the answer comes
		time.Sleep(20 * time.Second)
		f.wantCalls(1)
		f.wantCurrent(holder, other)
		if state := f.store.Peek(account); len(state.Open) != 0 {
			t.Errorf("%d attempts are open, want a quiet store", len(state.Open))
		}
	})
}

func TestALockWhoseExtensionIsAnsweredAfterItsEndIsNotUsed(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Latency = 2 * time.Second
		holder := f.slow(&slowStore{late: 1500 * time.Millisecond, extend: 3500 * time.Millisecond})
		other := f.refresher() // calls after 4.5 s, and is at it when the answer comes
		time.Sleep(20 * time.Second)
		f.wantCalls(1)
		f.wantCurrent(holder, other)
	})
}

func TestAnAttemptIsNotBegunAfterTheLocksEnd(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Latency = 2 * time.Second
		holder := f.slow(&slowStore{queued: 3500 * time.Millisecond})
		other := f.refresher() // calls after 3 s, and is at it when the attempt's turn comes
		time.Sleep(20 * time.Second)
		f.wantCalls(1)
		f.wantCurrent(holder, other)
	})
}

func TestAnAttemptWhoseAnswerIsLostCostsNoCall(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.store.LoseAnswers(memstore.OpBegin, 1)
		fleet := []*process{f.refresher(), f.refresher(), f.refresher()}
		time.Sleep(5 * time.Second)
		f.wantCurrent(fleet...)
		time.Sleep(time.Minute)
		f.wantCalls(1)
		if state := f.store.Peek(account); len(state.Open) != 0 {
			t.Errorf("%d attempts are open, want a quiet store", len(state.Open))
		}
	})
}

func TestALockIsNotAskedForWhenAnotherProcessHasDoneTheWork(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		s := &slowStore{full: 5 * time.Second}
		late := f.slow(s)
		other := f.refresher()
		time.Sleep(time.Second)
		if n := s.spared.Load(); n != 1 {
			t.Errorf("%d locks were given up, want the one that was waited for", n)
		}
		time.Sleep(time.Minute)
		f.wantCalls(1)
		f.wantCurrent(late, other)
		if n := s.locks.Load(); n != 0 {
			t.Errorf("%d locks were taken, want none", n)
		}
	})
}
