package memstore

import (
	"errors"
	"slices"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/ledger"
)

// maxLog is how many entries of an account's log are kept.
const maxLog = 1000

// LogEntry is a line of an account's log. It never holds a token.
type LogEntry struct {
	Event   string // refreshed, failed, superseded, restored, reported, conflict
	At      time.Time
	By      string // the instance
	Reason  coordinator.Reason
	AskedBy string // see coordinator.WithCaller
	Fence   coordinator.Fence
	Took    time.Duration
	Kind    coordinator.FailureKind // failed
	Code    coordinator.Code        // failed
	Message string                  // failed

	Repeated bool // refreshed: see coordinator.Record
}

// add appends an entry of a step.
func (a *account) add(s ledger.Step, e LogEntry) {
	e.At, e.By = s.Now, s.Instance
	if len(a.log) >= maxLog {
		a.log = slices.Delete(a.log, 0, len(a.log)-maxLog+1)
	}
	a.log = append(a.log, e)
}

// logBegin notes what was reported, and a report that no attempt explains.
func (a *account) logBegin(s ledger.Step, b coordinator.BeginRequest, attempt coordinator.Attempt) {
	if b.Reason != coordinator.ReasonRejected || attempt.Fence == 0 {
		return
	}
	e := LogEntry{Event: "reported", Reason: b.Reason, AskedBy: b.AskedBy, Fence: attempt.Fence}
	a.add(s, e)
	if attempt.Conflict {
		e.Event = "conflict"
		a.add(s, e)
	}
}

// logCommit notes a commit that was carried out now, or superseded.
func (a *account) logCommit(s ledger.Step, c coordinator.CommitRequest, event *coordinator.Event, err error) {
	e := LogEntry{Event: "refreshed", Reason: c.Reason, AskedBy: c.AskedBy, Fence: c.Attempt.Fence, Took: c.Took, Repeated: c.Repeated}
	switch {
	case errors.Is(err, coordinator.ErrSuperseded):
		e.Event = "superseded"
	case event == nil: // repeated
		return
	}
	a.add(s, e)
}

func (a *account) logFail(s ledger.Step, f coordinator.FailRequest) {
	a.add(s, LogEntry{
		Event: "failed", Reason: f.Reason, AskedBy: f.AskedBy, Fence: f.Attempt.Fence, Took: f.Took,
		Kind: f.Failure.Kind, Code: f.Failure.Code, Message: f.Failure.Message,
	})
}
