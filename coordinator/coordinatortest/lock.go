package coordinatortest

import (
	"context"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// lock is an account's lock in the store. It is held until it ends.
type lock struct {
	number uint64 // 0: never held
	holder string
	end    time.Time
}

// held reports whether the lock binds: its end lies further ahead than any life
// reaches when the clock went back.
func (l lock) held(now time.Time) bool {
	return l.number != 0 && now.Before(l.end) && l.end.Sub(now) <= coordinator.MaxAhead
}

// memLock is the holder's side of a lock.
type memLock struct {
	instance *MemInstance
	account  string
	number   uint64
	life     time.Duration
}

// Lock is coordinator.Store's.
func (i *MemInstance) Lock(ctx context.Context, account string, life time.Duration) (coordinator.Lock, error) {
	held := &memLock{instance: i, account: account, life: life}
	err := i.do(ctx, OpLock, func(now time.Time) error {
		a := i.store.account(account)
		if a.lock.held(now) {
			return &coordinator.LockedError{Holder: a.lock.holder, RetryIn: a.lock.end.Sub(now)}
		}
		i.store.locks++
		held.number = i.store.locks
		a.lock = lock{number: held.number, holder: i.name, end: now.Add(life)}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return held, nil
}

// Extend is coordinator.Lock's.
func (l *memLock) Extend(ctx context.Context, fence coordinator.Fence) error {
	return l.instance.do(ctx, OpExtend, func(now time.Time) error {
		a := l.instance.store.account(l.account)
		if a.lock.number != l.number || !now.Before(a.lock.end) {
			return coordinator.ErrLockLost
		}
		deadline, open := a.attempts[fence]
		if open && overdue(deadline, now) {
			// A successor may have begun that settles it as overdue.
			return coordinator.ErrLockLost
		}
		a.lock.end = now.Add(l.life)
		if open {
			a.attempts[fence] = a.lock.end
		}
		return nil
	})
}

// Unlock is coordinator.Lock's.
func (l *memLock) Unlock(ctx context.Context) error {
	return l.instance.do(ctx, OpUnlock, func(time.Time) error {
		a := l.instance.store.account(l.account)
		if a.lock.number == l.number {
			a.lock = lock{}
		}
		return nil
	})
}
