package coordinator

import (
	"testing"
	"time"
)

// What is notified before the first reading cannot be judged yet. It must be neither lost
// nor a reason to read again.
func TestWhatIsHeardEarlyIsJudgedByTheFirstReading(t *testing.T) {
	begun := func(fence Fence) Event { return Event{Kind: EventBegun, Fence: fence, RetryIn: 3 * time.Second} }
	refreshed := func(fence Fence) Event {
		return Event{Kind: EventRefreshed, Fence: fence, Record: recordOf(fence, time.Hour)}
	}
	failed := Event{Kind: EventFailed, Fence: 8, Failure: &Failure{Kind: FailedBusy, InARow: 1}}
	far := Fence(testEnv().storeNow.Add(48 * time.Hour).UnixMicro())
	for name, c := range map[string]struct {
		heard      []Event
		fence      Fence // what the reading shows
		generation Fence
		want       Fence // the generation that is held then
		readDue    bool
		busy       bool // an attempt is under way
	}{
		"an attempt after the reading":            {[]Event{begun(8)}, 7, 7, 7, false, true},
		"an attempt before it":                    {[]Event{begun(8)}, 8, 8, 8, false, false},
		"a record after the reading":              {[]Event{begun(8), refreshed(8)}, 7, 7, 8, false, false},
		"a record after it, of an attempt before": {[]Event{begun(8), refreshed(8)}, 8, 7, 8, false, false},
		"a record before it":                      {[]Event{begun(8), refreshed(8)}, 8, 8, 8, false, false},
		"a record on an empty store":              {[]Event{begun(8), refreshed(8)}, 0, 0, 8, false, false},
		"a record that a later one replaced":      {[]Event{refreshed(8)}, 9, 9, 9, false, false},
		"an attempt after the record":             {[]Event{begun(8), refreshed(8), begun(9)}, 7, 7, 8, false, true},
		"a failure after the reading":             {[]Event{begun(8), failed}, 7, 7, 7, true, false},
		"no store can have told it":               {[]Event{refreshed(far)}, 7, 7, 7, true, false},
		"more than are kept": {[]Event{
			begun(8), begun(9), begun(10), begun(11), begun(12), begun(13), begun(14), begun(15), refreshed(15),
		}, 7, 7, 7, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			v, e := &view{}, testEnv()
			early := e
			early.storeNow, early.storeKnown = time.Time{}, false
			v.readBy(time.Second, early)
			began := v.asked()
			for _, n := range c.heard {
				if fx := v.eventHeard(n, early); fx.served != nil {
					t.Error("what cannot be judged is served")
				}
			}
			e.now += instant(time.Second)
			s := stateOf(c.generation)
			s.Fence = c.fence
			v.stateRead(s, began, e)
			if v.generation() != c.want || v.readDue != c.readDue || (v.busyUntil > e.now) != c.busy {
				t.Errorf("generation %d, read again = %v, busy = %v; want %d, %v, %v",
					v.generation(), v.readDue, v.busyUntil > e.now, c.want, c.readDue, c.busy)
			}
			if _, open := v.attempts.next(); open != c.busy {
				t.Errorf("an attempt is open = %v, want %v", open, c.busy)
			}
			if c.want > c.generation && v.held.until != at+instant(time.Hour) {
				t.Errorf("the life of the record counts from %v later than it was heard", time.Duration(v.held.until-at)-time.Hour)
			}
		})
	}
}
