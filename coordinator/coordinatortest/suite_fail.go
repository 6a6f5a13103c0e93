package coordinatortest

import (
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

func failChecks() []check {
	return []check{
		{"a sure failure settles the attempt", sureFailureSettles},
		{"an unknown outcome leaves the attempt open and overdue", unknownIsOverdue},
		{"an unknown outcome reopens an attempt that was settled", unknownReopens},
		{"every process reads the failure", failureIsShared},
		{"failures in a row are counted", failuresAreCounted},
		{"the day's count is corrected", failCorrectsCalls},
		{"a failure leaves the record alone", failureLeavesTheRecord},
		{"a repeated fail is recorded once", failIsRepeatable},
		{"a fail that comes after the failure of a newer attempt only settles or opens its own", failAfterANewerOne},
		{"a failure older than the stored token binds no process", lateFailureDoesNotBind},
	}
}

func sureFailureSettles(w *fixture) {
	for _, kind := range []coordinator.FailureKind{
		coordinator.FailedBusy, coordinator.FailedLater, coordinator.FailedRefused,
	} {
		attempt := w.begin(w.start(0))
		w.wantOpen(1, 0)
		w.fail(failed(attempt, kind))
		w.wantOpen(0, 0)
		if got := w.load().Failure; got == nil || got.Kind != kind {
			w.Errorf("Failure = %+v, want the kind %q", got, kind)
		}
	}
}

func unknownIsOverdue(w *fixture) {
	attempt := w.begin(w.start(0))
	w.wantOpen(1, 0)
	w.fail(failed(attempt, coordinator.FailedUnknown))
	w.wantOpen(1, 1)
	next := w.begin(w.start(0))
	w.wantOverdue(next, attempt.Fence)
	w.commit(w.stored(next, "token"))
	w.wantOpen(0, 0)
}

func unknownReopens(w *fixture) {
	paused := w.beginFor(short)
	w.overdue(1)
	w.commit(w.stored(w.begin(w.start(0)), "token"))
	w.wantOpen(0, 0)
	w.fail(failed(paused, coordinator.FailedUnknown))
	w.wantOpen(1, 1)
}

func failureIsShared(w *fixture) {
	other := w.another()
	f := coordinator.FailRequest{
		Attempt: w.begin(w.start(0)),
		Reason:  coordinator.ReasonMissing,
		Failure: coordinator.Failure{
			Kind: coordinator.FailedRefused, Code: "40164", Message: "ip not in \"whitelist\": 203.0.113.7 上海",
			Credential: "fingerprint",
		},
		RetryIn: 10 * time.Minute,
		Took:    50 * time.Millisecond,
		Calls:   1,
	}
	before := w.load().Now
	w.fail(f)
	s := other.load()
	got := s.Failure
	if got == nil {
		w.Fatal("Failure = nil")
	}
	if got.Kind != f.Failure.Kind || got.Code != f.Failure.Code || got.Message != f.Failure.Message ||
		got.Credential != f.Failure.Credential || got.InARow != 1 {
		w.Errorf("Failure = %+v, want %+v, the first in a row", got, f.Failure)
	}
	if got.At.Before(before.Add(-time.Millisecond)) || got.At.After(s.Now) {
		w.Errorf("Failure.At = %v, want it between %v and %v", got.At, before, s.Now)
	}
	if wait := got.RetryAt.Sub(s.Now); !about(wait, f.RetryIn) {
		w.Errorf("RetryAt is in %v, want about %v", wait, f.RetryIn)
	}
}

func failuresAreCounted(w *fixture) {
	for n := 1; n <= 3; n++ {
		w.fail(failed(w.begin(w.start(0)), coordinator.FailedBusy))
		if got := w.load().Failure; got == nil || got.InARow != n {
			w.Errorf("Failure = %+v, want InARow %d", got, n)
		}
	}
	w.refresh("token")
	w.fail(failed(w.begin(w.start(w.load().Record.Generation)), coordinator.FailedBusy))
	if got := w.load().Failure; got == nil || got.InARow != 1 {
		w.Errorf("Failure = %+v after a success, want InARow 1", got)
	}
}

func failCorrectsCalls(w *fixture) {
	w.sameDay()
	want := 0
	for calls := range 4 {
		f := failed(w.begin(w.start(0)), coordinator.FailedBusy)
		f.Calls = calls
		w.fail(f)
		want += calls
		w.wantCalls(want)
	}
}

func failureLeavesTheRecord(w *fixture) {
	r := w.refresh("token")
	for _, kind := range []coordinator.FailureKind{coordinator.FailedUnknown, coordinator.FailedRefused} {
		w.fail(failed(w.begin(w.start(r.Generation)), kind))
		w.wantRecord(w.load().Record, r)
	}
}

func failIsRepeatable(w *fixture) {
	w.sameDay()
	events := w.follow(coordinator.Refresher)
	for n, kind := range []coordinator.FailureKind{coordinator.FailedUnknown, coordinator.FailedBusy} {
		f := failed(w.begin(w.start(0)), kind)
		f.Calls = 0
		for range 3 {
			w.fail(f)
			w.wantOpen(1, 1)
			w.wantCalls(0)
			if got := w.load().Failure.InARow; got != n+1 {
				w.Errorf("InARow = %d, want %d", got, n+1)
			}
		}
	}
	events.wantCount(w, coordinator.EventFailed, 2)
}

// A process repeats its Fail, of which the answer got lost, or comes late with it, after
// another one has begun and failed.
func failAfterANewerOne(w *fixture) {
	w.sameDay()
	events := w.follow(coordinator.Refresher)
	repeated := failed(w.begin(w.start(0)), coordinator.FailedUnknown)
	w.fail(repeated)
	late := failed(w.begin(w.start(0)), coordinator.FailedBusy)
	newer := failed(w.begin(w.start(0)), coordinator.FailedRefused)
	newer.RetryIn, newer.Failure.Credential, newer.Failure.Message = long, "fingerprint", "the newer one"
	w.fail(newer)
	w.wantOpen(2, 1)
	before := w.load()
	for _, f := range []coordinator.FailRequest{repeated, late, repeated, late} {
		f.Calls = 0
		w.fail(f)
		s := w.load()
		if got := s.Failure; got == nil || *got != *before.Failure {
			w.Errorf("Failure = %+v, want still %+v", got, before.Failure)
		}
		w.wantCalls(before.CallsToday)
	}
	w.wantOpen(1, 1)
	events.wantCount(w, coordinator.EventFailed, 2)
}

// The call of a paused process fails after its successor's has succeeded.
func lateFailureDoesNotBind(w *fixture) {
	paused := w.begin(w.start(0))
	r := w.commit(w.stored(w.begin(w.start(0)), "token"))
	f := failed(paused, coordinator.FailedBusy)
	f.RetryIn = long
	w.fail(f)
	if got := w.load().Failure; got == nil || got.InARow != 0 || got.Message != f.Failure.Message {
		w.Errorf("Failure = %+v, want it with InARow 0", got)
	}
	w.begin(w.start(r.Generation))
}
