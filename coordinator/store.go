package coordinator

import (
	"context"
	"time"
)

// Store is what all processes share: the state of each account, and notifications
// of its changes. This comment and those of the types below say everything that a
// Store decides. Package ledger has the same rules as Go code without a database:
// a Store that is built on it only has to load, call and save. Package memstore is
// such a Store in memory, and coordinatortest.TestStore checks an implementation.
//
// # Operations
//
// Every method is one atomic step on one account (Load: one for each account).
// Attempts of the same account run against each other, with and without the lock,
// so a read in one transaction and a write in another is not enough.
//
// An operation whose ctx has ended returns an error that wraps ctx.Err() and changes
// nothing. A store that cannot be asked returns an error that wraps ErrUnreachable;
// whether the operation was carried out is unknown then. So Commit, Fail and Restore
// are safe to repeat, and a repeated Begin is one more attempt. A store that denies
// access returns an error that wraps ErrDenied. Methods are safe for concurrent use
// by many goroutines.
//
// A Store belongs to one process, its instance. The instance's name is in what the
// process writes: Record.IssuedBy, State.Holder, Event.By.
//
// # Time
//
// A store has a clock of its own, one for all processes. Durations go in, instants of
// the store's clock come out (ThrottledError.Until alone is by this machine's clock).
// Instants have milliseconds; the fence needs the clock's microseconds.
//
// The clock may be set back, and what was written before it then lies further ahead
// than it ever can, as does what another program has written. Such a value binds no
// process: a fence that is not Credible counts as 0; a lock that would last for more
// than MaxAhead may be taken; an attempt with a deadline more than MaxAhead ahead is
// overdue; a back-off does not bind if it would last for more than MaxRetry, or if its
// failure lies more than a second ahead; neither does a demanded begin that lies
// ahead, nor a pace that is used up for longer than PaceBurst times Pace, nor a count
// of calls whose window ends further ahead than a window is long.
//
// # Limits
//
// Begin returns a *ThrottledError if a limit forbids the attempt. Which limits apply
// depends on the reason:
//
//		                forced              rejected            missing, overdue, schedule
//		LimitBudget     PerDay - Reserve    PerDay - Reserve    PerDay
//		LimitInterval   MinInterval         MinInterval         -
//		LimitBackOff    -                   until RetryAt       until RetryAt
//		LimitLoop       -                   -                   Pace
//
//	  - LimitBudget, which is called LimitWindow where a window is not a day, forbids
//	    until the window ends if that many calls, or more, were counted in it. PerDay 0
//	    is no limit.
//	  - LimitInterval forbids until MinInterval after the last attempt that was begun
//	    for a reason that is Demanded. A Begin that was throttled does not count.
//	  - LimitBackOff forbids until State.Failure.RetryAt while Failure.InARow is above 0.
//	    A failure of the kind FailedRefused binds only a Begin with the same Credential;
//	    one of another kind binds every Begin.
//	  - LimitLoop lets PaceBurst attempts that are not Demanded follow each other at any
//	    speed, then one for each Pace: the generic cell rate algorithm. It keeps one
//	    instant, which each such attempt sets to max(instant, now) + Pace, and forbids
//	    until (PaceBurst - 1) * Pace before that instant. Pace 0 is no limit, and leaves
//	    the instant alone.
//
// If several limits forbid the attempt, the error names the one that lasts longest,
// and the time after which none forbids it. A Begin that is throttled records nothing.
//
// # Windows
//
// Calls are counted twice. The calls of WeChat's day, which begins at midnight in
// UTC+8, are always counted, for people and for processes of older versions; they are
// the count of limits whose windows are these days (Limits.WeChatDays). For other
// limits the account has one window more: its end, and the calls in it. A Begin counts
// in that window if it ends after now, by no more than the length of a window;
// otherwise in a new one, the one of Limits.Windows that contains now. A Begin whose
// windows are WeChat's days removes it. So a reading has the count that the limits are
// about without knowing the limits: that of the account's own window (0 once it has
// ended) if there is one, else that of the day.
type Store interface {
	// Load reads accounts and returns one State for each, in their order. An account
	// that the store has never seen has an empty State: Account and Now are set. No
	// accounts are no error.
	//
	// What is wrong with the data of one account is in its State.Err; the other
	// accounts are not affected. The error that Load returns is that of a store that
	// could not be asked.
	//
	// A record is gone when its TTL has ended. The rest stays: State.Fence, the last
	// Failure, the open attempts, the counts. A lock that binds no process, because it
	// would last for more than MaxAhead, may be in the State.
	Load(ctx context.Context, accounts ...string) ([]State, error)

	// Lock tries once, without waiting, to lock the account for the time life. If
	// another process has the lock, or another goroutine of this one, the error is a
	// *LockedError. A lock that would last for more than MaxAhead is taken away from
	// its holder; the first Lock may free it and return a *LockedError with a RetryIn
	// of some milliseconds.
	//
	// The lock makes refreshes cheap, not correct: no other operation needs it.
	Lock(ctx context.Context, account string, life time.Duration) (Lock, error)

	// Begin announces an attempt. In this order:
	//
	//  1. If the generation of the stored record is above b.Seen, it returns an
	//     Attempt with Fence 0 and that record. Nothing is recorded. So it does if the
	//     generation is b.Seen, b.Reason is ReasonOverdue, b.Overdue is above 0, the newest
	//     fence is not below b.Overdue, and no attempt is overdue: those that were have
	//     been settled since the caller read of them, or are not overdue yet. If b.Overdue
	//     is newer than every fence, the store has lost that attempt, and nobody knows how
	//     it ended.
	//  2. If a limit forbids the attempt (see Store), it returns a *ThrottledError. For
	//     a reason that is Demanded it also publishes EventThrottled: the demand may
	//     have come from another process, which learns of it in no other way.
	//  3. Otherwise it records the attempt, with the deadline now + b.TTL, counts it
	//     among the calls (see Windows), and publishes EventBegun.
	//
	// The fence is max(newest fence + 1, b.Seen + 1, clock in µs): above every one
	// before it, also after the store has lost its data. A fence, a Seen or a stored
	// generation that is not Credible counts as 0, so that the new fence is always
	// Credible.
	Begin(ctx context.Context, account string, b BeginRequest) (Attempt, error)

	// Commit stores the token of an attempt, settles attempts, and publishes
	// EventRefreshed.
	//
	// If the stored generation is the attempt's fence, the Commit was carried out
	// before: it returns the record, and changes and publishes nothing. If a newer
	// fence was handed out or stored, or the attempt's is not Credible, it stores and
	// publishes nothing and returns ErrSuperseded: no process can know which of the
	// two tokens was issued last. The attempt is open and overdue then, also if it had
	// been settled, so that one more refresh follows.
	//
	// Otherwise it settles the attempt and those in Attempt.Overdue, and no others: an
	// attempt that has become overdue since the Begin may still bring a newer token.
	// The failures in a row end: Failure.InARow is 0, RetryAt and Credential are
	// zero, the rest stays for people. A store that has lost the attempt takes the
	// token all the same, and State.Fence is the attempt's fence then.
	//
	// The record is of this instance, with c.Attributes and c.Repeated; those of the record
	// before are gone. Its IssuedAt is now - c.Age, ExpiresAt is IssuedAt + c.Lifetime,
	// RefreshAt is IssuedAt + c.RefreshIn (zero if RefreshIn is), and its TTL is
	// c.Lifetime - c.Age - Margin(c.Lifetime), at least 1 ms.
	//
	// If c.Calls is above 1, the calls of the day, and those of the account's own window
	// unless it has ended, rise by c.Calls - 1, also for a superseded attempt: Begin has
	// counted one.
	Commit(ctx context.Context, account string, c CommitRequest) (Record, error)

	// Fail records that an attempt brought no token, and publishes EventFailed. If the
	// failure that was recorded last has the same fence, or the stored record has it
	// as its generation, the Fail is a repeated one or a mistake: it returns nil, and
	// changes and publishes nothing. If the failure that was recorded last is a newer
	// attempt's, nobody knows whether the Fail is a repeated one: the attempt is settled, or
	// open, as below, and nothing else changes or is published.
	//
	// After FailedUnknown the attempt is open and overdue at once, also if it had been
	// settled. After the other kinds it is settled. The record stays. The calls of the
	// day, and those of the account's own window unless it has ended, change by
	// f.Calls - 1, never to less than 0.
	//
	// A failure adds 1 to the failures in a row and sets RetryAt to now + f.RetryIn.
	// State.Failure.Credential is f.Failure.Credential for FailedRefused, else "". But a
	// failure that is older than the stored token (the stored generation is above its
	// fence) does none of that: the source has answered since, so the failure is kept
	// and published for people, with RetryIn 0, and binds no process.
	Fail(ctx context.Context, account string, f FailRequest) error

	// Restore puts back a record that the store has lost, with the TTL that it has
	// left, and publishes EventRestored. State.Fence is the record's generation then, and
	// the attempt with that fence is settled: the store may have kept its begin and lost
	// its commit. Those that its commit had settled as well are not known any more, and stay.
	//
	// If the stored record is as new as r or newer, it returns the stored one and
	// changes nothing; so a Restore is safe to repeat. It returns the zero Record and
	// changes nothing if a fence above r.Generation was handed out, if r.Generation is
	// not Credible, or if r.TTL is below 1 ms or above MaxLifetime. r has a token and a
	// generation.
	//
	// The record keeps r's Attributes and Repeated. Its instants are of the clock of the
	// store that lost it. If ExpiresAt does not fit the TTL by this store's clock, by more
	// than 5 minutes, all of them are moved so that it is now + TTL + Margin.
	Restore(ctx context.Context, account string, r Record) (Record, error)

	// Want publishes EventWanted: a process without a source for the account needs its
	// refreshers, wherever they run. It changes nothing.
	Want(ctx context.Context, account string, w WantRequest) error

	// Subscribe returns a subscription to no accounts, which calls w. It starts
	// nothing.
	Subscribe(w Watcher) Subscription
}

// Lock is a held lock. Its methods are called by one goroutine at a time. It ends by
// itself when its life has passed since it was taken or extended.
type Lock interface {
	// Extend makes the lock last its whole life again, and sets the deadline of the
	// open attempt with this fence to the same instant. A fence that is not open (0,
	// a settled one) changes no attempt.
	//
	// It changes nothing and returns ErrLockLost if the lock has ended or was taken
	// away, or if the attempt is overdue, by its deadline or because that lies more
	// than MaxAhead ahead: a Begin may have listed the attempt, and the Commit that
	// follows would settle it though the call is still under way.
	Extend(ctx context.Context, fence Fence) error

	// Unlock gives the lock up. A lock that has ended, or that another process has by
	// now, is left alone; that is no error.
	Unlock(ctx context.Context) error
}

// BeginRequest announces an attempt.
type BeginRequest struct {
	Seen       Fence         // the generation to be replaced, 0 if there is none
	Reason     Reason        // decides which limits apply, see Store
	AskedBy    string        // who demanded it, for a store's log; see WithCaller
	TTL        time.Duration // the attempt is overdue when it has passed; Lock.Extend renews it
	Credential string        // the fingerprint of what the source will ask with; see Credentialed
	Limits     Limits
	Repeat     Repeat // what the call does to the token before; decides about Attempt.Conflict

	// Overdue is, for ReasonOverdue, the newest attempt that the caller takes for
	// overdue. Of one that it knows from a reading alone, it is the reading's State.Fence.
	// 0: the caller does not say, as processes of older versions do not.
	Overdue Fence

	// Pace is the limit of refreshes that are not Demanded, for all processes
	// together: see LimitLoop at Store. Zero: no limit.
	Pace time.Duration
}

// PaceBurst is how many refreshes that are not Demanded may follow each other
// faster than BeginRequest.Pace.
const PaceBurst = 20

// Attempt is a call to the source that may be made.
type Attempt struct {
	// Fence is the attempt's number. 0: do not call, Record is newer than
	// BeginRequest.Seen, or as new and no attempt is overdue any more.
	Fence  Fence
	Record Record // zero unless Fence is 0

	// Overdue are the attempts that were overdue at the begin, by their deadline or
	// because that lies more than MaxAhead ahead, in any order. Commit settles exactly
	// those besides its own. A Begin may drop overdue attempts if there are more than
	// a hundred: one has the same effect as many.
	Overdue []Fence

	Failures   int // in a row so far, as in State.Failure.InARow
	CallsToday int // as in State.CallsToday, this attempt included

	// Conflict says that another program fetches with the same secret: Repeat was
	// RepeatKills, Reason was ReasonRejected, the stored generation was Seen, and no
	// attempt was open, so no call of ours has killed the token. State.Conflicts counts it.
	Conflict bool
}

// CommitRequest is a token to be stored.
type CommitRequest struct {
	Attempt   Attempt // as Begin returned it
	Reason    Reason
	AskedBy   string // as in BeginRequest
	Token     Token
	Lifetime  time.Duration // from when the request was sent; above 0 and at most MaxLifetime
	RefreshIn time.Duration // from the same moment, for Record.RefreshAt; 0: the schedule of each process decides
	Age       time.Duration // how much of Lifetime had passed when Commit was called; of a token that was known, since it was stored first
	Took      time.Duration // how long the source needed; for a store's log
	Calls     int           // requests to the issuer; 0 counts as 1

	Attributes map[string]string // for Record.Attributes
	Repeated   bool              // for Record.Repeated
}

// FailRequest is the end of an attempt without a token.
type FailRequest struct {
	Attempt Attempt // as Begin returned it
	Reason  Reason
	AskedBy string        // as in BeginRequest
	Failure Failure       // Kind, Code, Message and Credential; the store sets the rest
	RetryIn time.Duration // the back-off, at most MaxRetry
	Took    time.Duration // how long the source needed; for a store's log
	Calls   int           // requests to the issuer; 0: the one that Begin has counted was not made
}

// WantRequest is a call for a refresher. A store publishes it as it is.
type WantRequest struct {
	Reason  Reason
	Seen    Fence  // the generation the caller has, or wants replaced
	AskedBy string // as in BeginRequest
}

// Watcher is told what happens in the store. The calls come from one goroutine, in
// order, and must return quickly. They may change the subscription.
type Watcher interface {
	// Subscribed says that every event of these accounts is notified from now on, so
	// that a Load made now misses nothing. It is called for accounts that were added,
	// and with all accounts after each reconnect.
	Subscribed(accounts []string)

	// Lost says that notifications have stopped, and why. Subscribed follows when
	// they arrive again. Events in between are lost.
	Lost(err error)

	// Notified delivers one event. Those of one account come in the order in which
	// they happened. The Watcher owns e, its Failure included.
	Notified(e Event)
}

// Subscription delivers the events of a changing set of accounts over one
// connection, those that this process causes included.
type Subscription interface {
	// Add and Remove change the set. An account that is added again with another
	// Role has that one. They do not wait for the store, and may be called before,
	// during and after Run, from many goroutines and from the Watcher. No event of an
	// account is notified once Remove has returned and until it is added again, but
	// for one that is being notified.
	Add(role Role, accounts ...string)
	Remove(accounts ...string)

	// Run keeps the subscription alive until ctx ends, through every fault of the
	// store. It notices a connection that hangs within 1.5 s. It returns when all that it
	// has started has ended; the Watcher is not called after that. Then it may be called
	// again.
	Run(ctx context.Context)
}

// Role is what a process is to an account.
type Role string

// The roles. A reader gets neither EventWanted nor EventBegun, a refresher gets every
// event.
const (
	Reader    Role = "reader"
	Refresher Role = "refresher"
)

// Event is a change in the store, as it was notified. It is a hint: notifications
// get lost, the store is the truth.
type Event struct {
	Kind    EventKind
	Account string
	By      string        // the instance that caused it
	Reason  Reason        // that of the request; "" for EventRestored
	Fence   Fence         // of the attempt, or the record's generation; 0 for EventThrottled and EventWanted
	Record  Record        // EventRefreshed, EventRestored: as it was stored, with its TTL
	Failure *Failure      // EventFailed: the request's, with At, InARow and RetryAt
	RetryIn time.Duration // EventFailed: the back-off; EventThrottled: as in the error; EventBegun: BeginRequest.TTL
	Limit   Limit         // EventThrottled
	Want    WantRequest   // EventWanted
	Grant   *GrantSummary // EventGrant
	Change  uint64        // EventBegun, EventRefreshed, EventRestored: the operation's number in a ChangeStore; 0: none
}

// EventKind is what happened.
type EventKind string

// The kinds of event. Every event follows from one operation that was carried out.
const (
	EventRefreshed EventKind = "refreshed" // Commit has stored a token
	EventRestored  EventKind = "restored"  // Restore has put a record back
	EventFailed    EventKind = "failed"    // Fail has recorded a failure
	EventThrottled EventKind = "throttled" // Begin was throttled, and its reason is Demanded
	EventWanted    EventKind = "wanted"    // Want was called
	EventBegun     EventKind = "begun"     // Begin has recorded an attempt
	EventGrant     EventKind = "grant"     // SaveGrant or RestoreGrant has stored a record
)
