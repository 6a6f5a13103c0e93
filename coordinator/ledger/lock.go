package ledger

import (
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// lock is the account's lock; its ID is "" if it is free.
type lock struct {
	ID     string    `json:"id"`
	Holder string    `json:"holder"`
	End    time.Time `json:"end"`
}

// Lock is the step of [coordinator.Store].Lock. The id names this taking of the
// lock and no other: Extend and Unlock compare it.
func (a *Account) Lock(s Step, id string, life time.Duration) error {
	now := a.enter(s)
	// An end that lies further ahead than any was written before the clock went back.
	if l := a.state.Lock; l.ID != "" && l.End.Sub(now) <= coordinator.MaxAhead {
		return &coordinator.LockedError{Holder: l.Holder, RetryIn: l.End.Sub(now)}
	}
	a.state.Lock = lock{ID: id, Holder: s.Instance, End: now.Add(millis(life, 1))}
	return nil
}

// Extend is the step of [coordinator.Lock].Extend: life is the one that Lock was
// called with.
func (a *Account) Extend(s Step, id string, life time.Duration, fence coordinator.Fence) error {
	now := a.enter(s)
	deadline, open := a.state.Open[fence]
	if a.state.Lock.ID != id || open && coordinator.Overdue(deadline, now) {
		// If only the attempt is overdue, a successor that has begun since may settle it.
		return coordinator.ErrLockLost
	}
	a.state.Lock.End = now.Add(millis(life, 1))
	if open {
		a.open(fence, a.state.Lock.End)
	}
	return nil
}

// Unlock is the step of [coordinator.Lock].Unlock.
func (a *Account) Unlock(id string) {
	if a.state.Lock.ID == id {
		a.state.Lock = lock{}
	}
}
