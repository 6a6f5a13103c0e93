package coordinatortest

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

func lockChecks() []check {
	return []check{
		{"a lock that is held is not given again", lockExcludes},
		{"one of many who try gets it", oneOfManyLocks},
		{"a lock that was given up is free", unlockFrees},
		{"a lock is free when its life has ended", lockEnds},
		{"a lock that lasts longer than any may binds no process", lockOfAClockThatWentBack},
		{"unlocking what another process has by now leaves it alone", unlockComparesTheOwner},
		{"extending keeps the lock and the attempt's deadline", extendKeeps},
		{"extending without a fence moves no deadline", extendWithoutFence},
		{"extending does not reopen a settled attempt", extendOfSettled},
		{"extending does not revive an overdue attempt", extendOfOverdue},
		{"extending a lock that ended fails and moves no deadline", extendAfterTheEnd},
		{"extending a lock that another process has fails and moves no deadline", extendAfterLoss},
		{"accounts have locks of their own", locksAreSeparate},
	}
}

// locked tries to lock and fails the test unless the lock is taken.
func (w *fixture) locked() *coordinator.LockedError {
	w.Helper()
	_, err := w.store.Lock(w.Context(), w.account, long)
	locked, ok := errors.AsType[*coordinator.LockedError](err)
	if !ok {
		w.Fatalf("Lock() of a locked account = %v, want a *LockedError", err)
	}
	return locked
}

// free waits until the lock is free.
func (w *fixture) free() {
	w.Helper()
	w.eventually("the lock is free", func(s coordinator.State) bool { return s.Holder == "" })
}

func lockExcludes(w *fixture) {
	w.lock(long)
	for _, process := range []*fixture{w, w.another()} {
		locked := process.locked()
		if !about(locked.RetryIn, long) {
			w.Errorf("RetryIn = %v, want about %v", locked.RetryIn, long)
		}
		s := process.load()
		if s.Holder == "" || !about(s.HolderTTL, long) {
			w.Errorf("Load() says the holder is %q for %v, want one for about %v", s.Holder, s.HolderTTL, long)
		}
		if locked.Holder != "" && locked.Holder != s.Holder {
			w.Errorf("LockedError.Holder = %q, State.Holder = %q", locked.Holder, s.Holder)
		}
	}
}

func oneOfManyLocks(w *fixture) {
	processes := []*fixture{w, w.another(), w.another()}
	var got atomic.Int32
	var wg sync.WaitGroup
	for n := range 30 {
		wg.Go(func() {
			p := processes[n%len(processes)]
			_, err := p.store.Lock(w.Context(), w.account, long)
			if err == nil {
				got.Add(1)
			} else if _, ok := errors.AsType[*coordinator.LockedError](err); !ok {
				w.Errorf("Lock() = %v", err)
			}
		})
	}
	wg.Wait()
	if got.Load() != 1 {
		w.Errorf("%d got the lock, want 1", got.Load())
	}
}

func unlockFrees(w *fixture) {
	lock := w.lock(long)
	if err := lock.Unlock(w.Context()); err != nil {
		w.Fatalf("Unlock() = %v", err)
	}
	if s := w.load(); s.Holder != "" || s.HolderTTL != 0 {
		w.Errorf("after Unlock the holder is %q for %v", s.Holder, s.HolderTTL)
	}
	w.another().lock(long)
	if err := lock.Unlock(w.Context()); err != nil {
		w.Errorf("a second Unlock() = %v, want nil", err)
	}
	_ = w.locked() // and it has not freed the successor's
}

func lockEnds(w *fixture) {
	w.lock(short)
	w.free()
	w.another().lock(long)
}

// A lock whose end lies further ahead than any life reaches was taken before the
// store's clock went back. The first Lock may be refused for some milliseconds.
func lockOfAClockThatWentBack(w *fixture) {
	stale := w.lock(2 * time.Hour)
	other := w.another()
	_, err := other.store.Lock(w.Context(), w.account, long)
	for end := time.Now().Add(patience); err != nil; _, err = other.store.Lock(w.Context(), w.account, long) {
		locked, ok := errors.AsType[*coordinator.LockedError](err)
		if !ok || locked.RetryIn > slack || time.Now().After(end) {
			w.Fatalf("Lock() = %v, want the lock, at once or soon", err)
		}
		time.Sleep(locked.RetryIn)
	}
	if err := stale.Extend(w.Context(), 0); !errors.Is(err, coordinator.ErrLockLost) {
		w.Errorf("Extend() of the lock that was taken away = %v, want %v", err, coordinator.ErrLockLost)
	}
	if err := stale.Unlock(w.Context()); err != nil {
		w.Errorf("Unlock() of the lock that was taken away = %v, want nil", err)
	}
	_ = w.locked()
}

func unlockComparesTheOwner(w *fixture) {
	first := w.lock(short)
	w.free()
	other := w.another()
	other.lock(long)
	if err := first.Unlock(w.Context()); err != nil {
		w.Errorf("Unlock() of a lost lock = %v, want nil", err)
	}
	_ = w.locked()
	_ = other.locked()
}

func extendKeeps(w *fixture) {
	const life = 2 * short
	other := w.another()
	lock := w.lock(life)
	attempt := w.beginFor(life)
	for end := time.Now().Add(life + short); time.Now().Before(end); time.Sleep(life / 6) {
		if err := lock.Extend(w.Context(), attempt.Fence); err != nil {
			w.Fatalf("Extend() = %v", err)
		}
		_ = other.locked()
		s := w.load()
		if s.HolderTTL > life {
			w.Errorf("HolderTTL = %v after Extend, want at most %v", s.HolderTTL, life)
		}
		if len(s.Open) != 1 || s.Overdue() != 0 || s.Open[0].Sub(s.Now) > life {
			w.Fatalf("open attempts after Extend: %v at %v, want one within %v", s.Open, s.Now, life)
		}
	}
	w.overdue(1) // now that no Extend follows
	w.free()
}

func extendWithoutFence(w *fixture) {
	lock := w.lock(long)
	w.beginFor(short)
	if err := lock.Extend(w.Context(), 0); err != nil {
		w.Fatalf("Extend() = %v", err)
	}
	w.wantOpen(1, 0)
	w.overdue(1)
}

func extendOfSettled(w *fixture) {
	lock := w.lock(long)
	attempt := w.begin(w.start(0))
	w.commit(w.stored(attempt, "token"))
	if err := lock.Extend(w.Context(), attempt.Fence); err != nil {
		w.Fatalf("Extend() = %v", err)
	}
	w.wantOpen(0, 0)
}

// The deadline has passed while the lock is still held. A successor that locked
// before, and was paused, may have begun and found the attempt overdue: its
// commit will settle it. So the call must not go on.
func extendOfOverdue(w *fixture) {
	lock := w.lock(long)
	attempt := w.beginFor(short)
	w.overdue(1)
	if err := lock.Extend(w.Context(), attempt.Fence); !errors.Is(err, coordinator.ErrLockLost) {
		w.Errorf("Extend() of an overdue attempt = %v, want %v", err, coordinator.ErrLockLost)
	}
	w.wantOpen(1, 1)
}

func extendAfterTheEnd(w *fixture) {
	lock := w.lock(short)
	attempt := w.begin(w.start(0)) // lasts longer than the lock
	w.free()
	before := w.load()
	w.wantLost(lock, attempt.Fence, before)
}

func extendAfterLoss(w *fixture) {
	lock := w.lock(short)
	attempt := w.begin(w.start(0))
	w.free()
	w.another().lock(2 * long)
	before := w.load()
	w.wantLost(lock, attempt.Fence, before)
	if s := w.load(); s.Holder != before.Holder || s.HolderTTL > before.HolderTTL {
		w.Errorf("Extend has changed another process' lock: %q for %v", s.Holder, s.HolderTTL)
	}
}

// wantLost extends a lock that is lost and compares with the state before.
func (w *fixture) wantLost(lock coordinator.Lock, fence coordinator.Fence, before coordinator.State) {
	w.Helper()
	if err := lock.Extend(w.Context(), fence); !errors.Is(err, coordinator.ErrLockLost) {
		w.Errorf("Extend() of a lost lock = %v, want %v", err, coordinator.ErrLockLost)
	}
	after := w.load()
	if len(after.Open) != 1 || !after.Open[0].Equal(before.Open[0]) {
		w.Errorf("the deadline moved from %v to %v", before.Open, after.Open)
	}
}

func locksAreSeparate(w *fixture) {
	w.lock(long)
	w.beside().lock(long)
}
