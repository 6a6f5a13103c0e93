package coordinator

import "time"

// Status is what this process knows of an account, from memory. NextRefresh and
// RetryAt are instants of this machine's clock, those in Record and Failure of the
// store's.
type Status struct {
	Name         string
	Role         Role
	Record       Record    // Generation 0: none; TTL as it is now, 0 once it has ended
	Stale        bool      // as in Snapshot
	NextRefresh  time.Time // see State.NextRefresh; zero: not known
	RetryAt      time.Time // when the back-off after Failure ends; zero: there is none
	Failure      *Failure  // the last one; InARow 0: it is over; nil: there never was one
	CallsToday   int       // in the present window of Limits, as of the last reading
	Limits       Limits
	Conflicts    int    // as of the last reading
	OpenAttempts int    // attempts that nothing has settled
	Holder       string // of the lock, as of the last reading; "": it was free
	LastRead     bool   // the store has been read at all
	Err          error  // why the store's data cannot be used, see State.Err; nil: it can
	Parent       string // AccountConfig.Parent

	// Grant is what is known of the account's grant, its Condition as it is now; nil: it
	// needs none and has none.
	Grant *GrantSummary

	// Blocked says that the source cannot be asked because the parent has no token; nil
	// if it can, and while nothing Runs.
	Blocked *ParentError
}

// Snapshot is a record as this process can serve it.
type Snapshot struct {
	Record

	// Stale says that the record may have been replaced: the store cannot be
	// reached. It was current when it was last reached and has not expired.
	Stale bool
}
