package coordinator

import (
	"context"
	"time"
)

// Store is what all processes share. Each method is one atomic step on one
// account (Load: on each of them) and keeps its own clock: durations go in,
// instants of the store's clock come out. The errors of a store that cannot be
// asked wrap ErrUnreachable; the operation may have been carried out all the
// same, which is why Commit, Fail and Restore are safe to repeat.
//
// Methods honour ctx and are safe for concurrent use. coordinatortest.TestStore
// checks an implementation.
type Store interface {
	// Load reads accounts, one State each, in their order. An account that
	// the store has never seen is a State without record, not an error. What
	// is wrong with one account is told in its State.Err; an error of Load is a
	// store that could not be asked, or does not let itself be asked
	// (ErrDenied).
	Load(ctx context.Context, accounts ...string) ([]State, error)

	// Lock tries once to lock the account for life, without waiting. Taken:
	// *LockedError. A lock that would last for more than MaxAhead is taken
	// away from its holder. The lock makes refreshes cheap, not correct: nothing
	// below needs it to be held.
	Lock(ctx context.Context, account string, life time.Duration) (Lock, error)

	// Begin announces an attempt before the source is called. If the stored
	// generation is newer than Seen, nothing is recorded and the Attempt has
	// Fence 0 and the State's record. A limit: *ThrottledError, nothing is
	// recorded. Otherwise the fence is newer than every one before it, also
	// after the store lost its data. Numbers that are not Credible count as 0,
	// whoever names them, so that the fence is always Credible itself. A stored
	// record that cannot be used counts as none.
	Begin(ctx context.Context, account string, b BeginRequest) (Attempt, error)

	// Commit stores the token of an attempt, settles that attempt and those
	// that were overdue at its begin, and notifies. A newer fence was handed
	// out: ErrSuperseded, nothing is stored, and the attempt is open and
	// overdue, because nobody can know whose token was issued last. Repeating
	// a Commit that was carried out returns the record again.
	Commit(ctx context.Context, account string, c CommitRequest) (Record, error)

	// Fail records that an attempt brought no token and notifies. For
	// FailedUnknown the attempt is open and overdue at once; for the other
	// kinds it is settled.
	Fail(ctx context.Context, account string, f FailRequest) error

	// Restore puts back a record that the store lost, if it has no record as
	// new and has handed out no newer fence, and notifies. It returns the
	// record that is stored afterwards, which is r or a newer one; the zero
	// Record if r was not put back: because of a newer attempt, or because its
	// generation is not Credible or its TTL is above MaxLifetime.
	Restore(ctx context.Context, account string, r Record) (Record, error)

	// Want tells the refreshers of the account, wherever they run, that
	// somebody without a source needs them.
	Want(ctx context.Context, account string, w WantRequest) error

	// Subscribe returns a subscription to no accounts. It does not start
	// anything.
	Subscribe(w Watcher) Subscription
}

// Lock is a held lock. Its methods are called by one goroutine at a time.
type Lock interface {
	// Extend makes the lock last its whole life again, and with it the
	// deadline of the attempt with this fence (0: there is none yet).
	// ErrLockLost: it was not held any more, or the attempt is overdue already
	// and a successor may have listed it; nothing is moved then.
	Extend(ctx context.Context, fence Fence) error

	// Unlock gives the lock up. One that has passed to somebody else is left
	// alone; that is no error.
	Unlock(ctx context.Context) error
}

// BeginRequest announces an attempt.
type BeginRequest struct {
	Seen       Fence // the generation to be replaced; fences rise above it
	Reason     Reason
	AskedBy    string        // who demanded it, for the log; see WithCaller
	TTL        time.Duration // the attempt is overdue when it has passed; Lock.Extend renews it
	Credential string        // see Credentialed
	Limits     Limits

	// Pace is the brake on a loop of refreshes that nobody demands (see
	// Reason.Demanded), fleet-wide: PaceBurst of them may follow each other at
	// any speed, more only on average one for each Pace (LimitLoop). Zero: no
	// brake.
	Pace time.Duration
}

// PaceBurst is how many refreshes that nobody demanded may follow each other
// faster than BeginRequest.Pace.
const PaceBurst = 20

// Limits bound the calls to a source, fleet-wide.
type Limits struct {
	// PerDay is how many calls a day (the issuer's: UTC+8) are made at most.
	PerDay int

	// Reserve is the part of PerDay that forced and reported refreshes must
	// leave to the schedule.
	Reserve int

	// MinInterval is the least time between two begins that somebody
	// demanded (Reason.Demanded).
	MinInterval time.Duration
}

// Attempt is a call to the source that may be made.
type Attempt struct {
	// Fence is the attempt's number; 0: do not call, Record is newer than
	// what was seen.
	Fence  Fence
	Record Record

	// Overdue are the attempts that were overdue at the begin, by their
	// deadline or because it lies more than MaxAhead ahead: Commit settles
	// exactly those besides its own.
	Overdue []Fence

	Failures   int  // in a row so far
	CallsToday int  // this attempt included
	Conflict   bool // the reported token died though no call of ours explains it
}

// CommitRequest is a token to be stored.
type CommitRequest struct {
	Attempt   Attempt
	Reason    Reason
	AskedBy   string // as in Begin
	Token     Token
	Lifetime  time.Duration // total, see FetchResult
	RefreshIn time.Duration // from the same moment as Life; 0: everybody's own schedule decides
	Age       time.Duration // how much of Lifetime had passed when Commit was called
	Took      time.Duration // how long the source needed; for the log
	Calls     int           // more than 1: the day's count is corrected
}

// FailRequest is the end of an attempt without a token.
type FailRequest struct {
	Attempt Attempt
	Reason  Reason
	AskedBy string        // as in Begin
	Failure Failure       // Kind, Code, Message, Credential; the store fills in the rest
	RetryIn time.Duration // nobody asks on schedule before this has passed
	Took    time.Duration
	Calls   int // 0: the call counted at the begin was not made after all
}

// WantRequest is a call for a refresher.
type WantRequest struct {
	Reason  Reason
	Seen    Fence  // the generation the caller has, or wants replaced
	AskedBy string // as in Begin, by the word of who sent it
}

// Watcher is told what happens in the store. The calls come from one
// goroutine, in order, and must return quickly.
type Watcher interface {
	// Subscribed says that from now on every event of these accounts is
	// notified, so that a Load made now misses nothing. It is called again,
	// with all accounts, after each reconnect.
	Subscribed(accounts []string)

	// Lost says that notifications stopped; Subscribed follows when they flow
	// again.
	Lost(err error)

	// Notified delivers one event.
	Notified(e Event)
}

// Subscription delivers the events of a changing set of accounts over one
// connection.
type Subscription interface {
	// Add and Remove change the set. They do not wait for the store, and may
	// be called before, during and after Run.
	Add(role Role, accounts ...string)
	Remove(accounts ...string)

	// Run keeps the subscription alive until ctx ends, through every fault of
	// the store; it notices one that hangs within about a second. It returns
	// when nothing of it runs any more.
	Run(ctx context.Context)
}

// Role is what a process is to an account.
type Role string

// The roles. A reader does not get the events that only concern refreshers.
const (
	Reader    Role = "reader"
	Refresher Role = "refresher"
)

// Event is a change in the store, as it was notified. It is a hint: messages
// get lost, the store is the truth.
type Event struct {
	Kind    EventKind
	Account string
	By      string // the instance that caused it
	Reason  Reason
	Fence   Fence
	Record  Record        // Refreshed, Restored
	Failure *Failure      // Failed
	RetryIn time.Duration // Failed, Throttled: until it may be tried again; Begun: until the attempt's deadline
	Limit   Limit         // Throttled
	Want    WantRequest   // Wanted
}

// EventKind is what happened.
type EventKind string

// The kinds of event. Wanted and Begun reach refreshers only.
const (
	EventRefreshed EventKind = "refreshed" // a new token
	EventRestored  EventKind = "restored"  // a token the store had lost is back
	EventFailed    EventKind = "failed"    // a call brought no token
	EventThrottled EventKind = "throttled" // a demanded refresh was not made
	EventWanted    EventKind = "wanted"    // somebody without a source needs a refresher
	EventBegun     EventKind = "begun"     // an attempt is under way
)
