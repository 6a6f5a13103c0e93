package coordinatortest

import (
	"errors"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

func beginChecks() []check {
	return []check{
		{"fences rise", fencesRise},
		{"fences rise above what was seen", fencesRiseAboveSeen},
		{"what was seen further ahead than any fence can be orders nothing", incredibleSeen},
		{"fences rise above what was stored", fencesRiseAboveStored},
		{"fences are not below the store's clock in microseconds", fencesFollowTheClock},
		{"a newer record is handed out instead", newerIsHandedOut},
		{"a begin for an overdue attempt that is settled hands out the record", settledIsNotBegun},
		{"a begin for an attempt that is not settled is made", unsettledIsBegun},
		{"an attempt is open until its deadline and overdue then", attemptBecomesOverdue},
		{"only attempts that are overdue are handed out as such", onlyOverdueAreHandedOut},
		{"an attempt with a deadline later than any can be is overdue", attemptOfAClockThatWentBack},
		{"each begin is a call of the day", beginCounts},
		{"failures in a row are handed out", failuresAreHandedOut},
		{"a report while no attempt is open is a conflict", reportIsAConflict},
		{"a report while an attempt is open is none", reportWithOpenAttempt},
		{"other reasons are no conflict", otherReasonsAreNoConflict},
		{"a report where a call kills nothing is no conflict", aRepeatThatKillsNothingIsNoConflict},
	}
}

func fencesRise(w *fixture) {
	other := w.another()
	var last coordinator.Fence
	for n := range 6 {
		process := w
		if n%2 == 1 {
			process = other
		}
		fence := process.begin(w.start(0)).Fence
		if fence <= last {
			w.Fatalf("fence %d follows %d", fence, last)
		}
		if got := w.load().Fence; got != fence {
			w.Errorf("State.Fence = %d, want %d", got, fence)
		}
		last = fence
	}
}

func fencesRiseAboveSeen(w *fixture) {
	seen := w.begin(w.start(0)).Fence + 3_600_000_000
	first := w.begin(w.start(seen)).Fence
	if first <= seen {
		w.Errorf("Begin(Seen: %d) = fence %d, want a newer one", seen, first)
	}
	if second := w.begin(w.start(0)).Fence; second <= first {
		w.Errorf("fence %d follows %d", second, first)
	}
}

func incredibleSeen(w *fixture) {
	for _, seen := range []coordinator.Fence{
		coordinator.Fence(w.load().Now.Add(2 * coordinator.MaxFenceAhead).UnixMicro()), 1<<53 - 2, 1<<53 - 1,
	} {
		first := w.begin(w.start(seen)).Fence
		if now := w.load().Now; first > coordinator.Fence(now.Add(time.Minute).UnixMicro()) {
			w.Errorf("Begin(Seen: %d) = fence %d, at %v", seen, first, now)
		}
		if second := w.begin(w.start(0)).Fence; second <= first {
			w.Errorf("fence %d follows %d", second, first)
		}
	}
	if r := w.refresh("token"); !r.Usable() {
		w.Errorf("the account cannot be refreshed any more: %+v", r)
	}
}

func fencesRiseAboveStored(w *fixture) {
	r := w.refresh("token")
	r.Generation += 3_600_000_000
	w.restore(r)
	if fence := w.begin(w.start(r.Generation)).Fence; fence <= r.Generation {
		w.Errorf("fence %d follows generation %d", fence, r.Generation)
	}
}

// What keeps fences rising after all data was lost.
func fencesFollowTheClock(w *fixture) {
	now := w.load().Now
	if fence := w.begin(w.start(0)).Fence; fence < coordinator.Fence(now.UnixMicro()) {
		w.Errorf("the first fence = %d, want at least %d", fence, now.UnixMicro())
	}
}

func newerIsHandedOut(w *fixture) {
	r := w.refresh("token")
	before := w.load()
	for _, reason := range []coordinator.Reason{
		coordinator.ReasonSchedule, coordinator.ReasonForced, coordinator.ReasonRejected,
	} {
		b := w.start(r.Generation - 1)
		b.Reason = reason
		b.Limits = coordinator.Limits{PerDay: 1} // reached, but no call follows
		attempt, err := w.another().store.Begin(w.Context(), w.account, b)
		if err != nil || attempt.Fence != 0 {
			w.Fatalf("Begin() = fence %d, %v, want the newer record", attempt.Fence, err)
		}
		w.wantRecord(attempt.Record, r)
	}
	after := w.load()
	if after.Fence != before.Fence || len(after.Open) != 0 || after.Conflicts != 0 {
		w.Errorf("the state has changed from %+v to %+v", before, after)
	}
	w.begin(w.start(r.Generation)) // as new is not newer
}

// late makes an attempt to replace the record and returns it once it is overdue.
func (w *fixture) late() coordinator.Attempt {
	w.Helper()
	b := w.start(w.load().Record.Generation)
	b.TTL = short
	attempt := w.begin(b)
	w.overdue(1)
	return attempt
}

// forOverdue is a Begin because an attempt is overdue by what a process knows.
func (w *fixture) forOverdue(fence coordinator.Fence) coordinator.BeginRequest {
	w.Helper()
	b := w.start(w.load().Record.Generation)
	b.Reason, b.Overdue = coordinator.ReasonOverdue, fence
	return b
}

// What a process has read of an overdue attempt may be over by the time it begins.
func settledIsNotBegun(w *fixture) {
	w.sameDay()
	for name, settle := range map[string]func(w *fixture, late coordinator.Attempt){
		"its failure":          func(w *fixture, late coordinator.Attempt) { w.fail(failed(late, coordinator.FailedBusy)) },
		"the token of another": func(w *fixture, _ coordinator.Attempt) { w.refresh("new") },
		"the token of another, and one is under way": func(w *fixture, _ coordinator.Attempt) {
			w.begin(w.start(w.refresh("new").Generation))
		},
	} {
		w := w.beside()
		w.refresh("token")
		late := w.late()
		settle(w, late)
		before := w.load()
		b := w.forOverdue(late.Fence)
		b.Limits = coordinator.Limits{PerDay: 1} // reached, but no call follows
		attempt, err := w.another().store.Begin(w.Context(), w.account, b)
		if err != nil || attempt.Fence != 0 {
			w.Errorf("settled by %s: Begin() = fence %d, %v, want the record", name, attempt.Fence, err)
			continue
		}
		w.wantRecord(attempt.Record, before.Record)
		after := w.load()
		if after.Fence != before.Fence || len(after.Open) != len(before.Open) || after.CallsToday != before.CallsToday {
			w.Errorf("settled by %s: the state has changed from %+v to %+v", name, before, after)
		}
		b.Reason, b.Limits = coordinator.ReasonSchedule, generous // which is due all the same
		w.begin(b)
	}
}

func unsettledIsBegun(w *fixture) {
	w.fail(failed(w.late(), coordinator.FailedBusy))
	first := w.begin(w.forOverdue(w.load().Fence)) // there is no record that could be handed out
	w.commit(w.stored(first, "token"))

	late := w.late()
	next := w.begin(w.forOverdue(late.Fence))
	w.wantOverdue(next, late.Fence)
	w.commit(w.stored(next, "new"))

	w.begin(w.forOverdue(0))                     // what the caller has read is unknown
	w.begin(w.forOverdue(w.load().Fence + 60e6)) // the store has lost the attempt
	ahead := w.load().Now.Add(2 * coordinator.MaxFenceAhead)
	w.begin(w.forOverdue(coordinator.Fence(ahead.UnixMicro()))) // it began before the store's clock went back
}

func attemptBecomesOverdue(w *fixture) {
	attempt := w.beginFor(short)
	s := w.load()
	if len(s.Open) != 1 || !about(s.Open[0].Sub(s.Now), short) {
		w.Fatalf("open attempts = %v at %v, want one within %v", s.Open, s.Now, short)
	}
	w.overdue(1)
	w.wantOverdue(w.begin(w.start(0)), attempt.Fence)
	s = w.load()
	if len(s.Open) != 2 || s.Open[0].After(s.Open[1]) {
		w.Errorf("Open = %v, want both, the earliest first", s.Open)
	}
}

// Its deadline was written before the store's clock went back: it is unknown when
// it ends, so the refresh after it has to settle it, and its holder has to let go.
func attemptOfAClockThatWentBack(w *fixture) {
	lock := w.lock(long)
	stale := w.beginFor(2 * time.Hour)
	w.wantOpen(1, 1)
	if err := lock.Extend(w.Context(), stale.Fence); !errors.Is(err, coordinator.ErrLockLost) {
		w.Errorf("Extend() of it = %v, want %v", err, coordinator.ErrLockLost)
	}
	next := w.begin(w.start(0))
	w.wantOverdue(next, stale.Fence)
	w.commit(w.stored(next, "token"))
	w.wantOpen(0, 0)
}

func onlyOverdueAreHandedOut(w *fixture) {
	var want []coordinator.Fence
	for range 3 {
		want = append(want, w.beginFor(short).Fence)
	}
	w.begin(w.start(0))
	w.overdue(3)
	w.wantOverdue(w.begin(w.start(0)), want...)
	w.wantOpen(5, 3)
}

func beginCounts(w *fixture) {
	w.sameDay()
	for n := 1; n <= 3; n++ {
		if attempt := w.begin(w.start(0)); attempt.CallsToday != n {
			w.Errorf("Attempt.CallsToday = %d, want %d", attempt.CallsToday, n)
		}
		w.wantCalls(n)
	}
}

func failuresAreHandedOut(w *fixture) {
	for n := range 3 {
		attempt := w.begin(w.start(0))
		if attempt.Failures != n {
			w.Errorf("Failures = %d, want %d", attempt.Failures, n)
		}
		w.fail(failed(attempt, coordinator.FailedBusy))
	}
	w.commit(w.stored(w.begin(w.start(0)), "token"))
	if attempt := w.begin(w.start(w.load().Record.Generation)); attempt.Failures != 0 {
		w.Errorf("Failures = %d after a success, want 0", attempt.Failures)
	}
}

func reportIsAConflict(w *fixture) {
	r := w.refresh("token")
	b := w.start(r.Generation)
	b.Reason = coordinator.ReasonRejected
	attempt := w.begin(b)
	if !attempt.Conflict {
		w.Error("Conflict = false for a report that no attempt explains")
	}
	if got := w.load().Conflicts; got != 1 {
		w.Errorf("Conflicts = %d, want 1", got)
	}
}

func reportWithOpenAttempt(w *fixture) {
	r := w.refresh("token")
	b := w.start(r.Generation)
	b.TTL = short
	w.begin(b) // may have issued
	b.Reason = coordinator.ReasonRejected
	if w.begin(b).Conflict {
		w.Error("Conflict = true though an attempt is open")
	}
	w.overdue(2)
	if w.begin(b).Conflict {
		w.Error("Conflict = true though an attempt is overdue")
	}
	if got := w.load().Conflicts; got != 0 {
		w.Errorf("Conflicts = %d, want 0", got)
	}
}

func aRepeatThatKillsNothingIsNoConflict(w *fixture) {
	r := w.refresh("token")
	for _, repeat := range []coordinator.Repeat{coordinator.RepeatSame, coordinator.RepeatKeeps} {
		b := w.start(r.Generation)
		b.Reason, b.Repeat = coordinator.ReasonRejected, repeat
		attempt := w.begin(b)
		if s := w.load(); attempt.Conflict || s.Conflicts != 0 {
			w.Errorf("Conflict = %t, Conflicts = %d for a source that repeats %q, want none", attempt.Conflict, s.Conflicts, repeat)
		}
		w.fail(failed(attempt, coordinator.FailedBusy)) // no attempt is open
	}
}

func otherReasonsAreNoConflict(w *fixture) {
	for _, reason := range []coordinator.Reason{
		coordinator.ReasonForced, coordinator.ReasonMissing, coordinator.ReasonOverdue, coordinator.ReasonSchedule,
	} {
		b := w.start(0)
		b.Reason = reason
		attempt := w.begin(b)
		if attempt.Conflict {
			w.Errorf("Conflict = true for the reason %q", reason)
		}
		w.fail(failed(attempt, coordinator.FailedBusy))
	}
	if got := w.load().Conflicts; got != 0 {
		w.Errorf("Conflicts = %d, want 0", got)
	}
}
