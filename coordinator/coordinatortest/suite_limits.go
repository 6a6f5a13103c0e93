package coordinatortest

import (
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

func limitChecks() []check {
	return []check{
		{"no more calls a day than the budget", dailyBudget},
		{"a window of another length has a budget of its own", windowBudget},
		{"calls are corrected in the window, too", windowIsCorrected},
		{"demanded refreshes leave the reserve to the schedule", reserve},
		{"demanded refreshes keep their distance", minInterval},
		{"the distance is only between demanded refreshes", minIntervalIsBetweenDemands},
		{"refreshes that are not demanded are slowed down beyond a burst", loopBrake},
		{"a back-off binds every reason but forced", backOffBinds},
		{"a back-off ends", backOffEnds},
		{"a success ends the back-off", successEndsBackOff},
		{"a refusal binds only the credential that was refused", refusalBindsTheCredential},
		{"other failures bind every credential", failureBindsEveryCredential},
	}
}

func demanded() []coordinator.Reason {
	return []coordinator.Reason{coordinator.ReasonForced, coordinator.ReasonRejected}
}

func undemanded() []coordinator.Reason {
	return []coordinator.Reason{coordinator.ReasonSchedule, coordinator.ReasonMissing, coordinator.ReasonOverdue}
}

// because returns a Begin for a reason, under limits.
func (w *fixture) because(reason coordinator.Reason, limits coordinator.Limits) coordinator.BeginRequest {
	b := w.start(0)
	b.Reason, b.Limits = reason, limits
	return b
}

// wantThrottled makes a Begin that a limit forbids for at most the given time,
// and checks that nothing is recorded.
func (w *fixture) wantThrottled(b coordinator.BeginRequest, limit coordinator.Limit, atMost time.Duration) {
	w.Helper()
	before := w.load()
	got := w.throttled(b)
	if got.Limit != limit {
		w.Errorf("Limit = %q for the reason %q, want %q", got.Limit, b.Reason, limit)
	}
	if got.RetryIn <= 0 || got.RetryIn > atMost {
		w.Errorf("RetryIn = %v for the %s, want more than 0 and at most %v", got.RetryIn, limit, atMost)
	}
	if left := time.Until(got.Until); !about(left, got.RetryIn) {
		w.Errorf("Until is in %v, RetryIn = %v", left, got.RetryIn)
	}
	after := w.load()
	if after.Fence != before.Fence || len(after.Open) != len(before.Open) ||
		after.CallsToday != before.CallsToday || after.Conflicts != before.Conflicts {
		w.Errorf("a throttled begin has changed the state from %+v to %+v", before, after)
	}
}

func dailyBudget(w *fixture) {
	w.sameDay()
	limits := coordinator.Limits{PerDay: 2}
	for range 2 {
		w.begin(w.because(coordinator.ReasonSchedule, limits))
	}
	for _, reason := range append(undemanded(), demanded()...) {
		w.wantThrottled(w.because(reason, limits), coordinator.LimitBudget, 24*time.Hour)
	}
	limits.PerDay = 3 // an operator raises it
	w.begin(w.because(coordinator.ReasonSchedule, limits))
}

func windowBudget(w *fixture) {
	w.sameDay()
	const window = 2 * time.Second
	limits := coordinator.Limits{PerDay: 2, Window: window}
	calls := 0
	for end := time.Now().Add(patience); ; calls++ { // a window may end on the way
		_, err := w.store.Begin(w.Context(), w.account, w.because(coordinator.ReasonSchedule, limits))
		throttled := asThrottled(err)
		if throttled != nil {
			if throttled.Limit != coordinator.LimitWindow || throttled.RetryIn <= 0 || throttled.RetryIn > window {
				w.Errorf("Begin() = %v, want it to be throttled by the %s for at most %v", err, coordinator.LimitWindow, window)
			}
			break
		}
		if err != nil || time.Now().After(end) {
			w.Fatalf("Begin() number %d = %v, want it to be throttled", calls, err)
		}
	}
	w.eventually("the window has ended", func(s coordinator.State) bool { return s.CallsToday == 0 })
	if attempt := w.begin(w.because(coordinator.ReasonSchedule, limits)); attempt.CallsToday != 1 {
		w.Errorf("CallsToday = %d in a new window, want 1", attempt.CallsToday)
	}
	calls++
	// All were counted on the day as well.
	if attempt := w.begin(w.because(coordinator.ReasonSchedule, generous)); attempt.CallsToday != calls+1 {
		w.Errorf("CallsToday = %d of the day, want %d", attempt.CallsToday, calls+1)
	}
	w.wantCalls(calls + 1)
}

func windowIsCorrected(w *fixture) {
	limits := coordinator.Limits{PerDay: 1000, Window: 365 * 24 * time.Hour}
	begin := func() coordinator.Attempt {
		b := w.because(coordinator.ReasonSchedule, limits)
		b.Seen = w.load().Record.Generation
		return w.begin(b)
	}
	c := w.stored(begin(), "token")
	c.Calls = 3
	w.commit(c)
	w.wantCalls(3)
	f := failed(begin(), coordinator.FailedBusy)
	f.Calls = 0
	w.fail(f)
	w.wantCalls(3)
	f = failed(begin(), coordinator.FailedBusy)
	f.Calls = 2
	w.fail(f)
	w.wantCalls(5)
}

func reserve(w *fixture) {
	w.sameDay()
	limits := coordinator.Limits{PerDay: 4, Reserve: 3}
	w.begin(w.because(coordinator.ReasonForced, limits))
	for _, reason := range undemanded() {
		for _, demand := range demanded() {
			w.wantThrottled(w.because(demand, limits), coordinator.LimitBudget, 24*time.Hour)
		}
		w.begin(w.because(reason, limits))
	}
	w.wantThrottled(w.because(coordinator.ReasonSchedule, limits), coordinator.LimitBudget, 24*time.Hour)
}

func minInterval(w *fixture) {
	limits := coordinator.Limits{PerDay: 1000, MinInterval: long}
	w.begin(w.because(coordinator.ReasonForced, limits))
	for _, demand := range demanded() {
		w.wantThrottled(w.because(demand, limits), coordinator.LimitInterval, long)
	}
	// A throttled begin does not prolong it: a process that asks all the time gets one.
	limits.MinInterval = short
	w.untilBegun(w.because(coordinator.ReasonRejected, limits))
	limits.MinInterval = long
	w.wantThrottled(w.because(coordinator.ReasonForced, limits), coordinator.LimitInterval, long)
}

func loopBrake(w *fixture) {
	begin := func(reason coordinator.Reason) coordinator.BeginRequest {
		b := w.because(reason, generous)
		b.Pace = long
		return b
	}
	for i := range coordinator.PaceBurst {
		w.begin(begin(undemanded()[i%len(undemanded())]))
	}
	for _, reason := range undemanded() {
		w.wantThrottled(begin(reason), coordinator.LimitLoop, long)
		w.another().wantThrottled(begin(reason), coordinator.LimitLoop, long)
	}
	for _, reason := range demanded() {
		w.begin(begin(reason)) // these have limits of their own
	}
	w.beside().begin(begin(coordinator.ReasonMissing))
}

func minIntervalIsBetweenDemands(w *fixture) {
	limits := coordinator.Limits{PerDay: 1000, MinInterval: long}
	for _, reason := range undemanded() {
		w.begin(w.because(reason, limits))
	}
	w.begin(w.because(coordinator.ReasonForced, limits))
	for _, reason := range undemanded() {
		w.begin(w.because(reason, limits))
	}
}

// backOff makes a call fail, with a back-off.
func (w *fixture) backOff(kind coordinator.FailureKind, credential string, retryIn time.Duration) {
	w.Helper()
	b := w.because(coordinator.ReasonForced, generous) // passes over a back-off that is on
	b.Credential = credential
	f := failed(w.begin(b), kind)
	f.Failure.Credential = credential
	f.RetryIn = retryIn
	w.fail(f)
}

func backOffBinds(w *fixture) {
	w.backOff(coordinator.FailedBusy, "", long)
	for _, reason := range append(undemanded(), coordinator.ReasonRejected) {
		w.wantThrottled(w.because(reason, generous), coordinator.LimitBackOff, long)
		w.wantThrottled(w.another().because(reason, generous), coordinator.LimitBackOff, long)
	}
	w.begin(w.because(coordinator.ReasonForced, generous))
}

func backOffEnds(w *fixture) {
	w.backOff(coordinator.FailedLater, "", short)
	if attempt := w.untilBegun(w.start(0)); attempt.Failures != 1 {
		w.Errorf("Failures = %d, want 1", attempt.Failures)
	}
}

// untilBegun makes a Begin again and again until no limit forbids it.
func (w *fixture) untilBegun(b coordinator.BeginRequest) (attempt coordinator.Attempt) {
	w.Helper()
	w.until("a begin that no limit forbids", func() bool {
		var err error
		attempt, err = w.store.Begin(w.Context(), w.account, b)
		if err != nil && asThrottled(err) == nil || err == nil && attempt.Fence == 0 {
			w.Fatalf("Begin() = %+v, %v", attempt, err)
		}
		return err == nil
	})
	return attempt
}

func successEndsBackOff(w *fixture) {
	w.backOff(coordinator.FailedBusy, "", long)
	r := w.commit(w.stored(w.begin(w.because(coordinator.ReasonForced, generous)), "token"))
	w.begin(w.start(r.Generation))
}

func refusalBindsTheCredential(w *fixture) {
	w.backOff(coordinator.FailedRefused, "old", long)
	b := w.start(0)
	b.Credential = "old"
	w.wantThrottled(b, coordinator.LimitBackOff, long)
	b.Credential = "new"
	w.begin(b)
}

func failureBindsEveryCredential(w *fixture) {
	for _, kind := range []coordinator.FailureKind{
		coordinator.FailedUnknown, coordinator.FailedBusy, coordinator.FailedLater,
	} {
		w.backOff(kind, "one", long)
		for _, credential := range []string{"one", "other", ""} {
			b := w.start(0)
			b.Credential = credential
			w.wantThrottled(b, coordinator.LimitBackOff, long)
		}
	}
}
