package coordinatortest

import (
	"slices"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

func eventChecks() []check {
	return []check{
		{"begun says who, why, which and until when", begunEvent},
		{"refreshed carries the record", refreshedEvent},
		{"failed carries the failure", failedEvent},
		{"throttled says why a demanded refresh was not made", throttledEvent},
		{"a throttled schedule is not notified", noThrottledEvent},
		{"wanted says what the reader has", wantedEvent},
		{"restored carries the record", restoredEvent},
		{"events come in the order of what happened", eventsInOrder},
		{"a process gets its own events, and every other too", everyProcessGetsEvents},
		{"a reader does not get what concerns refreshers", readerEvents},
	}
}

// watched follows the account from a second process, and learns the name of
// the first, which causes the events.
func (w *fixture) watched(role coordinator.Role) (events *recorder, by string) {
	w.Helper()
	lock := w.lock(long)
	by = w.load().Holder
	if err := lock.Unlock(w.Context()); err != nil {
		w.Fatalf("Unlock() = %v", err)
	}
	return w.another().follow(role), by
}

// wantEvent checks what all events have.
func (w *fixture) wantEvent(e coordinator.Event, by string, reason coordinator.Reason, fence coordinator.Fence) {
	w.Helper()
	if e.Account != w.account || e.By != by || e.Reason != reason || e.Fence != fence {
		w.Errorf("the event %q is of %q by %q because %q with fence %d; want %q, %q, %q, %d",
			e.Kind, e.Account, e.By, e.Reason, e.Fence, w.account, by, reason, fence)
	}
}

func begunEvent(w *fixture) {
	events, by := w.watched(coordinator.Refresher)
	attempt := w.begin(w.because(coordinator.ReasonForced, generous))
	e := events.await(w, coordinator.EventBegun)
	w.wantEvent(e, by, coordinator.ReasonForced, attempt.Fence)
	if !about(e.RetryIn, long) {
		w.Errorf("RetryIn = %v, want about %v", e.RetryIn, long)
	}
}

func refreshedEvent(w *fixture) {
	for _, role := range []coordinator.Role{coordinator.Refresher, coordinator.Reader} {
		w := w.beside()
		events, by := w.watched(role)
		c := w.stored(w.begin(w.start(0)), "the token")
		c.Reason = coordinator.ReasonRejected
		c.RefreshIn = time.Hour
		c.Age = time.Second
		r := w.commit(c)
		e := events.await(w, coordinator.EventRefreshed)
		w.wantEvent(e, by, c.Reason, c.Attempt.Fence)
		w.wantRecord(e.Record, r)
		w.wantRecord(w.load().Record, e.Record)
	}
}

func failedEvent(w *fixture) {
	for _, role := range []coordinator.Role{coordinator.Refresher, coordinator.Reader} {
		w := w.beside()
		events, by := w.watched(role)
		w.fail(failed(w.begin(w.start(0)), coordinator.FailedBusy))
		f := coordinator.FailRequest{
			Attempt: w.begin(w.start(0)),
			Reason:  coordinator.ReasonMissing,
			Failure: coordinator.Failure{
				Kind: coordinator.FailedRefused, Code: "40013", Message: "invalid \"appid\" 不合法", Credential: "fingerprint",
			},
			RetryIn: time.Minute,
			Calls:   1,
		}
		w.fail(f)
		w.until("two failures", func() bool { return len(events.of(coordinator.EventFailed)) == 2 })
		e := events.of(coordinator.EventFailed)[1]
		w.wantEvent(e, by, f.Reason, f.Attempt.Fence)
		got := e.Failure
		if got == nil {
			w.Fatal("Failure = nil")
		}
		if !about(e.RetryIn, f.RetryIn) {
			w.Errorf("RetryIn = %v, want about %v", e.RetryIn, f.RetryIn)
		}
		stored := w.load().Failure
		if got.Kind != f.Failure.Kind || got.Code != f.Failure.Code || got.Message != f.Failure.Message ||
			got.Credential != f.Failure.Credential || got.InARow != 2 || !got.At.Equal(stored.At) {
			w.Errorf("Failure = %+v, want %+v", got, stored)
		}
	}
}

func throttledEvent(w *fixture) {
	for _, role := range []coordinator.Role{coordinator.Refresher, coordinator.Reader} {
		for _, demand := range demanded() {
			w := w.beside()
			limits := coordinator.Limits{PerDay: 1000, MinInterval: long}
			w.begin(w.because(demand, limits))
			events, by := w.watched(role)
			throttled := w.throttled(w.because(demand, limits))
			e := events.await(w, coordinator.EventThrottled)
			w.wantEvent(e, by, demand, 0)
			if e.Limit != throttled.Limit || !about(e.RetryIn, throttled.RetryIn+time.Millisecond) {
				w.Errorf("throttled by the %s for %v, want %s and %v", e.Limit, e.RetryIn, throttled.Limit, throttled.RetryIn)
			}
		}
	}
}

func noThrottledEvent(w *fixture) {
	w.backOff(coordinator.FailedBusy, "", long)
	events := w.another().follow(coordinator.Refresher)
	for _, reason := range undemanded() {
		_ = w.throttled(w.because(reason, generous))
	}
	events.wantCount(w, coordinator.EventThrottled, 0)
}

func wantedEvent(w *fixture) {
	events, by := w.watched(coordinator.Refresher)
	want := coordinator.WantRequest{Reason: coordinator.ReasonRejected, Seen: 1_700_000_000_000_001, AskedBy: `shop "1" (api)`}
	if err := w.store.Want(w.Context(), w.account, want); err != nil {
		w.Fatalf("Want() = %v", err)
	}
	e := events.await(w, coordinator.EventWanted)
	if e.Account != w.account || e.By != by || e.Want != want {
		w.Errorf("Wanted = %+v of %q by %q, want %+v of %q by %q", e.Want, e.Account, e.By, want, w.account, by)
	}
}

func restoredEvent(w *fixture) {
	for _, role := range []coordinator.Role{coordinator.Refresher, coordinator.Reader} {
		w := w.beside()
		events, by := w.watched(role)
		r := w.lost("token")
		w.restore(r)
		e := events.await(w, coordinator.EventRestored)
		if e.Account != w.account || e.By != by {
			w.Errorf("the event is of %q by %q, want %q by %q", e.Account, e.By, w.account, by)
		}
		w.wantRecord(e.Record, r)
	}
}

func eventsInOrder(w *fixture) {
	events := w.another().follow(coordinator.Refresher)
	var want []string
	happens := func(kind coordinator.EventKind) { want = append(want, string(kind)+" "+w.account) }
	seen := coordinator.Fence(0)
	for range 10 {
		w.want()
		happens(coordinator.EventWanted)
		attempt := w.begin(w.start(seen))
		happens(coordinator.EventBegun)
		w.fail(failed(attempt, coordinator.FailedBusy))
		happens(coordinator.EventFailed)
		attempt = w.begin(w.start(seen))
		happens(coordinator.EventBegun)
		seen = w.commit(w.stored(attempt, "token")).Generation
		happens(coordinator.EventRefreshed)
	}
	w.until("all events", func() bool { return len(events.kinds()) >= len(want) })
	if got := events.kinds(); !slices.Equal(got, want) {
		w.Errorf("the events came as %v, want %v", got, want)
	}
}

func everyProcessGetsEvents(w *fixture) {
	followers := []*recorder{
		w.follow(coordinator.Refresher), w.follow(coordinator.Reader),
		w.another().follow(coordinator.Refresher), w.another().follow(coordinator.Reader),
	}
	r := w.refresh("token")
	for _, f := range followers {
		if e := f.await(w, coordinator.EventRefreshed); e.Record.Generation != r.Generation {
			w.Errorf("notified of generation %d, want %d", e.Record.Generation, r.Generation)
		}
	}
}

func readerEvents(w *fixture) {
	events := w.another().follow(coordinator.Reader)
	w.want()
	w.refresh("token")
	events.await(w, coordinator.EventRefreshed)
	for _, kind := range []coordinator.EventKind{coordinator.EventWanted, coordinator.EventBegun} {
		if n := len(events.of(kind)); n != 0 {
			w.Errorf("a reader got %d events %q", n, kind)
		}
	}
}
