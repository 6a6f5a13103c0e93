package coordinatortest

import (
	"crypto/rand"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

func changeChecks() []check {
	return []check{
		{"each operation that changes an account gives it a new number", numbersRise},
		{"a superseded commit gives it a new number", supersededIsAChange},
		{"what changes nothing is no change", nothingIsNoChange},
		{"the events of attempts and records carry the number", eventsCarryTheNumber},
		{"an account is there once, with its last number", oneChangeEach},
		{"every process sees the same changes", everyProcessSeesChanges},
		{"a place that the store has lost is an error", lostPlace},
		{"an ended context is an error", changesContext},
	}
}

// recordsChanges reports whether the store is a coordinator.ChangeStore as it is set up.
func recordsChanges(t *testing.T, store coordinator.Store) bool {
	t.Helper()
	changes, ok := store.(coordinator.ChangeStore)
	if !ok {
		return false
	}
	// It may find out only now.
	_, err := store.Begin(t.Context(), "conform-"+rand.Text(), coordinator.BeginRequest{
		Reason: coordinator.ReasonSchedule, TTL: long, Limits: generous,
	})
	if err != nil {
		t.Fatalf("Begin() = %v", err)
	}
	_, err = changes.Newest(t.Context())
	if err != nil && !errors.Is(err, coordinator.ErrNoChanges) {
		t.Fatalf("Newest() = %v", err)
	}
	return err == nil
}

func (w *fixture) changeStore() coordinator.ChangeStore {
	return w.store.(coordinator.ChangeStore) //nolint:errcheck,forcetypeassert // recordsChanges has looked
}

func (w *fixture) newest() coordinator.Cursor {
	w.Helper()
	newest, err := w.changeStore().Newest(w.Context())
	if err != nil {
		w.Fatalf("Newest() = %v", err)
	}
	return newest
}

// changed returns the changes since a place, those of other accounts included.
func (w *fixture) changed(since coordinator.Cursor) []coordinator.Change {
	w.Helper()
	var all []coordinator.Change
	for {
		changes, err := w.changeStore().Changes(w.Context(), since)
		if err != nil {
			w.Fatalf("Changes(%+v) = %v", since, err)
		}
		for _, c := range changes.Accounts {
			if c.Number <= since.Number {
				w.Errorf("Changes(%d) has the number %d", since.Number, c.Number)
			}
		}
		if n := len(changes.Accounts); n > 0 && changes.Next.Change != changes.Accounts[n-1] {
			w.Errorf("Next is %+v after %+v", changes.Next, changes.Accounts[n-1])
		}
		if all = append(all, changes.Accounts...); !changes.More {
			return all
		}
		since = changes.Next
	}
}

// number returns the account's number among the changes, 0 if it is not there.
func (w *fixture) number(since coordinator.Cursor) (number uint64) {
	w.Helper()
	for _, c := range w.changed(since) {
		if c.Account == w.account {
			number = c.Number
		}
	}
	return number
}

func numbersRise(w *fixture) {
	w.begin(w.start(0)) // there is a change from here on
	var attempt coordinator.Attempt
	for _, op := range []struct {
		name string
		do   func()
	}{
		{"Begin", func() { attempt = w.begin(w.start(0)) }},
		{"Fail", func() { w.fail(failed(attempt, coordinator.FailedBusy)) }},
		{"Begin again", func() { attempt = w.begin(w.start(0)) }},
		{"Commit", func() { w.commit(w.stored(attempt, "token")) }},
		{"Restore", func() {
			r := w.load().Record
			r.Generation++
			w.restore(r)
		}},
	} {
		since := w.newest()
		op.do()
		if w.number(since) == 0 {
			w.Errorf("%s is no change", op.name)
		}
	}
}

func supersededIsAChange(w *fixture) {
	old := w.begin(w.start(0))
	w.begin(w.start(0))
	since := w.newest()
	w.superseded(w.stored(old, "token"))
	if w.number(since) == 0 {
		w.Error("a commit that reopens its attempt is no change")
	}
}

func nothingIsNoChange(w *fixture) {
	w.refresh("token")
	b := w.because(coordinator.ReasonForced, coordinator.Limits{PerDay: 1000, MinInterval: long})
	b.Seen = w.load().Record.Generation
	w.begin(b)
	since := w.newest()
	_ = w.throttled(b)
	w.want()
	w.load()
	if n := w.number(since); n != 0 {
		w.Errorf("the account has a new number, %d", n)
	}
}

func eventsCarryTheNumber(w *fixture) {
	events := w.another().follow(coordinator.Refresher)
	since := w.newest()
	attempt := w.begin(w.start(0))
	if e, n := events.await(w, coordinator.EventBegun), w.number(since); e.Change != n || n == 0 {
		w.Errorf("the event has the number %d, the change %d", e.Change, n)
	}
	r := w.commit(w.stored(attempt, "token"))
	if e, n := events.await(w, coordinator.EventRefreshed), w.number(since); e.Change != n || n == 0 {
		w.Errorf("the event has the number %d, the change %d", e.Change, n)
	}
	r.Generation++
	w.restore(r)
	if e, n := events.await(w, coordinator.EventRestored), w.number(since); e.Change != n {
		w.Errorf("the event has the number %d, the change %d", e.Change, n)
	}
}

func oneChangeEach(w *fixture) {
	w.begin(w.start(0))
	since := w.newest()
	var attempt coordinator.Attempt
	for range 10 {
		attempt = w.begin(w.start(0))
	}
	w.commit(w.stored(attempt, "token"))
	n := 0
	for _, c := range w.changed(since) {
		if c.Account == w.account {
			n++
		}
	}
	if n != 1 {
		w.Errorf("the account is there %d times, want once", n)
	}
}

func everyProcessSeesChanges(w *fixture) {
	w.begin(w.start(0))
	other := w.another()
	since := other.newest()
	w.refresh("token")
	if own, others := w.number(since), other.number(since); own != others || own == 0 {
		w.Errorf("two processes see the numbers %d and %d", own, others)
	}
}

func lostPlace(w *fixture) {
	w.begin(w.start(0))
	newest := w.newest()
	for name, change := range map[string]func(*coordinator.Cursor){
		"an account that has a lower number": func(c *coordinator.Cursor) { c.Number += uint64(time.Hour.Microseconds()) },
		"an account that never changed":      func(c *coordinator.Cursor) { c.Account = w.account + "-unknown" },
		"a record that began anew":           func(c *coordinator.Cursor) { c.Began++; c.Number-- },
	} {
		lost := newest
		change(&lost)
		if changes, err := w.changeStore().Changes(w.Context(), lost); !errors.Is(err, coordinator.ErrChangesLost) {
			w.Errorf("%s: Changes() = %+v, %v, want ErrChangesLost", name, changes, err)
		}
	}
	if changed := w.changed(newest); slices.Contains(changed, newest.Change) {
		w.Error("a place is after itself")
	}
}

func changesContext(w *fixture) {
	if _, err := w.changeStore().Newest(canceled()); err == nil {
		w.Error("Newest() = nil")
	}
	if _, err := w.changeStore().Changes(canceled(), coordinator.Cursor{}); err == nil {
		w.Error("Changes() = nil")
	}
}
