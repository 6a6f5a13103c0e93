package coordinator

import "time"

// Status is what this process knows of an account, from memory. NextRefresh and
// RetryAt are instants of this machine's clock, those in Record and Failure of the
// store's.
type Status struct {
	Name         string
	Role         Role
	Record       Record // Generation 0: none; TTL as it is now, 0 once it has ended
	Stale        bool
	NextRefresh  time.Time // see State.NextRefresh; zero: not known
	RetryAt      time.Time // when the back-off after Failure ends; zero: there is none
	Failure      *Failure  // the last one; InARow 0: it is over
	CallsToday   int       // as of the last reading
	Limits       Limits
	Conflicts    int
	OpenAttempts int    // attempts nobody has settled
	Holder       string // of the lock, as of the last reading
	LastRead     bool   // the store has been read at all
	Err          error  // why the store's data cannot be used, see State.Err; nil: it can
}

// Status returns what is known without asking the store.
func (a *Account) Status() Status {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Status{
		Name: a.name, Role: a.roleLocked(), Limits: a.limitsLocked(),
		Failure: a.known.failure, CallsToday: int(a.known.callsToday), Conflicts: int(a.known.conflicts),
		OpenAttempts: len(a.known.open), Holder: a.known.holder, LastRead: a.looks > 0,
		Stale: a.c.stale(), Err: a.known.err,
	}
	if a.known.retryAt != 0 {
		s.RetryAt = a.c.time(a.known.retryAt).Round(0)
	}
	if a.held == nil {
		return s
	}
	s.Record = a.held.Record
	s.Record.TTL = max(a.c.time(a.held.until).Sub(now), 0)
	next := a.held.refreshAt
	if overdue, ok := a.known.open.next(); ok {
		next = min(next, overdue)
	}
	s.NextRefresh = a.c.time(max(next, a.known.retryAt)).Round(0)
	return s
}
