package coordinator

import (
	"slices"
	"sync/atomic"
	"time"
)

// Observation is one thing a coordinator did or saw, for metrics and for
// streams of events. It holds no token but inside Event.Record, where it
// redacts itself.
type Observation struct {
	Kind    ObservationKind
	Account string // "" where it concerns the store as a whole
	Reason  Reason
	Took    time.Duration // Fetched: the call
	Failure *Failure      // Fetched without success, and NotCalled
	Err     error
	Event   *Event // Notified
}

// ObservationKind is what was observed.
type ObservationKind string

// The kinds of observation. All are about this process; Notified has the
// fleet's events.
const (
	Fetched      ObservationKind = "fetched"     // a call to the issuer ended; Failure is nil on success
	NotCalled    ObservationKind = "not called"  // a refresh failed, and nothing was sent to the issuer; Failure and Err say why
	Committed    ObservationKind = "committed"   // its token was stored
	Superseded   ObservationKind = "superseded"  // its token was not stored: a newer attempt had begun
	Current      ObservationKind = "current"     // another process had refreshed, or settled what was overdue, already
	Throttled    ObservationKind = "throttled"   // a limit forbade the call; Err says which
	LockTaken    ObservationKind = "lock taken"  // another process is refreshing
	Restored     ObservationKind = "restored"    // a token the store had lost was put back
	Conflicted   ObservationKind = "conflicted"  // another program fetches tokens for this account
	Notified     ObservationKind = "notified"    // an event arrived
	Missed       ObservationKind = "missed"      // a newer token was found that no notification had told of
	Connected    ObservationKind = "connected"   // notifications flow
	Disconnected ObservationKind = "disconnect"  // notifications stopped; Err says why
	Unreachable  ObservationKind = "unreachable" // the store could not be asked

	PresentedGrant   ObservationKind = "grant presented"   // a token of the grant is sent
	ProbedGrant      ObservationKind = "grant probed"      // the same, as the last resort
	KeptGrant        ObservationKind = "grant kept"        // what a presentation brought is durable
	ConsentedGrant   ObservationKind = "grant consented"   // Consent or Receive has stored a new grant
	RestoredGrant    ObservationKind = "grant restored"    // a version that the store had lost was put back
	UnconfirmedGrant ObservationKind = "grant unconfirmed" // the store has not confirmed that a version is durable
	DoubtedGrant     ObservationKind = "grant doubt"       // the condition has become GrantDoubt
	LostGrant        ObservationKind = "grant lost"        // the condition has become GrantDead, or GrantNone
	EndingGrant      ObservationKind = "grant ending"      // the grant ends soon unless a person consents again
)

// Stats counts since the coordinator was made, all accounts together.
type Stats struct {
	Commits     uint64 // tokens stored
	Superseded  uint64 // tokens not stored, because a newer attempt had begun
	LocksTaken  uint64 // times another process held the lock
	Restores    uint64 // tokens put back that the store had lost
	Conflicts   uint64 // reports that show an outsider fetching
	Missed      uint64 // newer tokens found that no notification had told of
	Disconnects uint64 // times the notifications stopped
	Waiters     int64  // calls that wait for a token right now

	GrantsPresented   uint64 // tokens of grants that were sent, the last resort not counted
	GrantsProbed      uint64 // tokens of grants that were sent as the last resort
	GrantsKept        uint64 // answers to those that are durable
	GrantsConsented   uint64 // new grants stored
	GrantsRestored    uint64 // grants put back that the store had lost
	GrantsUnconfirmed uint64 // times the store has not confirmed a grant
	GrantsDoubted     uint64 // times a grant has become doubtful
	GrantsLost        uint64 // times a grant was found dead, or missing
}

// observer counts observations and hands them on. It is safe for concurrent use.
type observer struct {
	byKind  [len(countedKinds)]atomic.Uint64
	waiters atomic.Int64
	hook    func(Observation) // nil: nobody observes
}

// countedKinds gives each counted kind its place in observer.byKind.
var countedKinds = [...]ObservationKind{Committed, Superseded, LockTaken, Restored, Conflicted, Missed, Disconnected,
	PresentedGrant, ProbedGrant, KeptGrant, ConsentedGrant, RestoredGrant, UnconfirmedGrant, DoubtedGrant, LostGrant}

// observe counts seen and hands it to the hook.
func (o *observer) observe(seen Observation) {
	if i := slices.Index(countedKinds[:], seen.Kind); i >= 0 {
		o.byKind[i].Add(1)
	}
	if o.hook != nil {
		o.hook(seen)
	}
}

// stats returns the counters.
func (o *observer) stats() Stats {
	n := func(kind ObservationKind) uint64 { return o.byKind[slices.Index(countedKinds[:], kind)].Load() }
	return Stats{
		Commits: n(Committed), Superseded: n(Superseded), LocksTaken: n(LockTaken), Restores: n(Restored),
		Conflicts: n(Conflicted), Missed: n(Missed), Disconnects: n(Disconnected), Waiters: o.waiters.Load(),
		GrantsPresented: n(PresentedGrant), GrantsProbed: n(ProbedGrant), GrantsKept: n(KeptGrant), GrantsConsented: n(ConsentedGrant),
		GrantsRestored: n(RestoredGrant), GrantsUnconfirmed: n(UnconfirmedGrant), GrantsDoubted: n(DoubtedGrant), GrantsLost: n(LostGrant),
	}
}
