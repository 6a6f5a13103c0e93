package coordinator

import "time"

// Status is what this process knows of an account, from memory. NextRefresh is
// of this machine's clock; the instants in Record and Failure are the store's.
type Status struct {
	Name         string
	Role         Role
	Record       Record // Generation 0: none; TTL as it is now, 0 once it has ended
	Stale        bool
	NextRefresh  time.Time // when one is due; zero: not known
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
	if a.held == nil {
		return s
	}
	s.Record = a.held.Record
	s.Record.TTL = max(a.c.time(a.held.until).Sub(now), 0)
	s.NextRefresh = a.c.time(a.held.refreshAt).Round(0)
	return s
}
