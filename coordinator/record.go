package coordinator

import "time"

// Fence is the number of an attempt. The store hands fences out, strictly
// rising for each account. The fence of the attempt whose token is in the
// store is that token's generation: it orders tokens. 0 is none.
type Fence uint64

// Credible reports whether a store whose clock shows now can have handed f out.
// What is not credible orders nothing: see MaxFenceAhead.
func (f Fence) Credible(now time.Time) bool {
	return f <= Fence(now.Add(MaxFenceAhead).UnixMicro())
}

// Record is a token with what is known of it. Records are values: nothing
// changes one after it was made.
type Record struct {
	Token      Token
	Generation Fence

	// IssuedAt and ExpiresAt are instants of the store's clock. ExpiresAt is
	// the end that the source stated; the record is withdrawn a little
	// earlier (see Margin), when its TTL ends.
	IssuedAt  time.Time
	ExpiresAt time.Time

	// IssuedBy is the instance that fetched the token.
	IssuedBy string

	// RefreshAt is the instant of the store's clock at which the token is to
	// be replaced: FetchResult.RefreshIn, else the schedule of the process that
	// fetched it. Zero, as records of older versions have it: each process's
	// schedule decides.
	RefreshAt time.Time

	// Attributes are FetchResult.Attributes. Records share the map: nothing changes it.
	Attributes map[string]string

	// Repeated says that the refresh was demanded, and brought the very token that was to
	// be replaced: the issuer repeats it (see RepeatSame). IssuedAt is when that token was
	// stored first.
	Repeated bool

	// TTL is how much longer the record may be served, as the store measured
	// it when it gave the record out. A duration is right on every machine, an
	// instant of one machine's wall clock is not.
	TTL time.Duration
}

// AttributesSize returns how many bytes attributes have, names and values together.
func AttributesSize(attributes map[string]string) int {
	n := 0
	for name, value := range attributes {
		n += len(name) + len(value)
	}
	return n
}

// Lifetime is how long the source said the token lives.
func (r Record) Lifetime() time.Duration { return r.ExpiresAt.Sub(r.IssuedAt) }

// Age is how long ago r was issued, at the moment its TTL was measured. It follows
// from durations of the store's clock alone: this machine's may be wrong.
func (r Record) Age() time.Duration { return r.Lifetime() - Margin(r.Lifetime()) - r.TTL }

// credible reports whether a store whose clock shows now can hold r.
func (r Record) credible(now time.Time) bool {
	return r.Generation.Credible(now) && r.Lifetime() > 0 && r.Lifetime() <= MaxLifetime
}

// rewound reports whether the store's clock has been set back since r was stored,
// by more than the clocks of its servers may differ: its remaining TTL exceeds its
// lifetime, so its age is unknown.
func (r Record) rewound() bool { return r.Age() < -time.Minute }

// Usable reports whether r holds a token that had not ended when it was read.
func (r Record) Usable() bool { return !r.Token.IsZero() && r.TTL > 0 }

// Margin is how long before its end a token with the given life is withdrawn:
// a twentieth of the life, at most 30 s, so that a token handed out at the last
// moment still survives the call it is used for.
func Margin(life time.Duration) time.Duration {
	return min(life/20, 30*time.Second)
}

// State is what the store knows of one account, read in one atomic step.
// Every instant in it is of the store's clock; Now is that clock at the
// reading, so that t.Sub(state.Now) is a duration that holds anywhere.
type State struct {
	Account string
	Now     time.Time

	// Record is the current token; its Generation is 0 when there is none.
	Record Record

	// Err says why the store's data of this account cannot be used: a token
	// that cannot be opened (it wraps ErrSealed), a value that no process of
	// ours writes, a generation that is not Credible. If it is the record that
	// cannot be used, Record has its Generation at most; an older token must
	// not be served then, and the next refresh replaces it. If only its attributes
	// cannot be read, Record is the rest of it. The rest of the State is what could be
	// read.
	Err error

	// Fence is the newest that was handed out, settled or not; 0 if what the
	// store holds is not Credible.
	Fence Fence

	// Open has the deadlines of the unsettled attempts, the earliest first.
	// An attempt whose deadline has passed is overdue.
	Open []time.Time

	// Failure is the last failure, kept after a success for people to see.
	// Failure.InARow is 0 then. Nil: there never was one.
	Failure *Failure

	// CallsToday is how many calls to the source were made in the present window of its
	// limits, see Store: on WeChat's day if they say nothing else.
	CallsToday int

	Conflicts int           // times another program was seen to fetch with the same secret
	Grant     *GrantSummary // nil: the account has no grant
	Holder    string        // who holds the lock; "" when free
	HolderTTL time.Duration // for how much longer unless it extends it
}

// Overdue returns how many attempts are overdue.
func (s *State) Overdue() int {
	n := 0
	for _, deadline := range s.Open {
		if Overdue(deadline, s.Now) {
			n++
		}
	}
	return n
}

// Overdue reports whether an attempt with this deadline is, when the store's clock shows
// now. A deadline more than MaxAhead ahead was written before the clock was set back.
func Overdue(deadline, now time.Time) bool {
	left := deadline.Sub(now)
	return left <= 0 || left > MaxAhead
}

// Failure is a call to the source that brought no token, as all processes
// share it.
type Failure struct {
	Kind    FailureKind
	Code    Code   // the issuer's code; "" when it gave none
	Message string // the cause in words; holds no secret and no token
	At      time.Time
	InARow  int       // failures since the last success, this one included
	RetryAt time.Time // no process calls the source on schedule before it

	// Credential is the fingerprint (see Credentialed) of what was refused:
	// a refusal binds only those who would come with the same credential. If it was the
	// address that was refused (FetchError.Here), it has "@" and a mark of the host, too.
	Credential string
}

// copied returns a copy, nil of nil: what is held of a failure decides when the source is
// called, and who is told of it may change what they were given.
func (f *Failure) copied() *Failure {
	if f == nil {
		return nil
	}
	c := *f
	return &c
}

// FailureKind says what a failed call leaves behind and when to try again.
type FailureKind string

// The kinds of failure. Only FailedUnknown leaves the attempt open.
const (
	FailedUnknown FailureKind = "unknown" // a token may have been issued: timeout, reset after sending, garbage
	FailedBusy    FailureKind = "busy"    // no token was issued; try again soon: the connection was never made, system busy
	FailedLater   FailureKind = "later"   // no token was issued; the issuer answers again after a while: quotas
	FailedGrant   FailureKind = "grant"   // no token was issued: the issuer says that the presented grant is none. A Source's word only: no store sees it
	FailedParent  FailureKind = "parent"  // no token was issued: the issuer rejects the parent's token, see AccountConfig.Parent
	FailedRefused FailureKind = "refused" // no token was issued, and none will be until an operator acts: wrong secret, unknown account, address not allowed
)

// settles reports whether a Source that names k says that no token was issued.
func (k FailureKind) settles() bool {
	switch k {
	case FailedBusy, FailedLater, FailedGrant, FailedParent, FailedRefused:
		return true
	}
	return false
}

// Reason says why a refresh is made.
type Reason string

// The reasons for a refresh, from the most to the least urgent for a person.
const (
	ReasonForced   Reason = "forced"   // a person or service asked for a new token
	ReasonRejected Reason = "rejected" // the current token was reported as rejected by the issuer
	ReasonMissing  Reason = "missing"  // the store has no token
	ReasonOverdue  Reason = "overdue"  // an attempt ended, and it is unknown what it issued
	ReasonSchedule Reason = "schedule" // the time has come
)

// Demanded reports whether a caller asked for this refresh, as opposed to the
// coordinator's own rules. Demanded refreshes pay from the smaller part of the
// budget and pass over the back-off after a failure if forced.
func (r Reason) Demanded() bool { return r == ReasonForced || r == ReasonRejected }
