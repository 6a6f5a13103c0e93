package page

import (
	"errors"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// state is the state of an account, the most urgent first.
type state int

const (
	expired    state = iota // no usable token, but there was one or a call failed
	unreadable              // its data in the store cannot be opened or is malformed
	down                    // no token yet, and the store cannot be used
	conflict                // an outside program fetches tokens for it
	failing                 // usable, but refreshes fail
	late                    // usable, but a refresh should have been made
	stale                   // usable, but the store is unreachable
	waiting                 // no token yet, nothing has failed
	fresh
	stateCount
)

// key is the state's word in the languages and its class in the style.
func (s state) key() string {
	return [...]string{"expired", "unreadable", "down", "conflict", "failing", "late", "stale", "waiting", "fresh"}[s]
}

const (
	// LateAfter is how long a refresh may be due before it counts as one that no
	// process makes. Doctor judges by it as well.
	LateAfter = 2 * time.Minute

	// ConflictFor is how long a conflict counts as one that goes on, here and in
	// doctor.
	ConflictFor = 24 * time.Hour
)

// stateOf returns the state of an account. storeErr is why the store cannot be used,
// nil if it can.
func stateOf(s coordinator.Status, c card, storeErr error) state {
	trouble := c.Failure != nil && !c.Failure.Over || c.Lacks != "" || c.Grant != nil && c.Grant.Trouble != "" && !c.Grant.Pushed
	denied := errors.Is(storeErr, coordinator.ErrDenied) && !c.Reader
	switch {
	case s.Err != nil:
		return unreadable
	case !c.Usable && (trouble || c.Generation != 0):
		return expired
	case !c.Usable && storeErr != nil:
		return down
	case !c.Usable:
		return waiting
	case c.Conflicting:
		return conflict
	case trouble, denied && !s.Stale:
		return failing
	case s.Stale:
		return stale
	case c.NextKnown && c.Next < -LateAfter:
		return late
	}
	return fresh
}

// Unattended reports whether this process is a reader of an account that no process
// with the secret refreshes. storeErr is as in stateOf.
func Unattended(s coordinator.Status, storeErr error, now time.Time) bool {
	failing := s.Failure != nil && s.Failure.InARow > 0 // a process tries
	if s.Role != coordinator.Reader || storeErr != nil || s.Stale || s.Err != nil || failing || !s.LastRead {
		return false
	}
	if s.Limits.PerDay > 0 && s.CallsToday >= s.Limits.PerDay { // no process may call
		return false
	}
	if !s.Record.Usable() {
		return !waits(s.Grant)
	}
	return !s.NextRefresh.IsZero() && now.Sub(s.NextRefresh) > LateAfter
}

// waits reports whether the issuer comes next: with an answer, or with what it pushes.
func waits(g *coordinator.GrantSummary) bool {
	if g == nil {
		return false
	}
	switch g.Condition {
	case coordinator.GrantPresented:
		return true
	case coordinator.GrantNone, coordinator.GrantDead:
		return g.Received
	}
	return false
}
