package coordinator

import (
	"testing"
	"time"
)

// A reading and the notification of a commit take different ways: a reading that began
// before the commit may be taken in after its notification.
func TestOnlyWhatWasHeldWhenAReadingBeganCanBeLost(t *testing.T) {
	heard := func(generation Fence) func(*view, env) {
		return func(v *view, e env) {
			v.eventHeard(Event{Kind: EventRefreshed, Fence: generation, Record: recordOf(generation, time.Hour)}, e)
		}
	}
	committed := func(generation Fence) func(*view, env) {
		return func(v *view, e env) { v.committed(recordOf(generation, time.Hour), generation, e) }
	}
	nothing := func(*view, env) {}
	for name, c := range map[string]struct {
		held           Fence
		meanwhile      func(*view, env)
		read           Fence // the generation that the reading shows
		lost, readDue  bool
		wantGeneration Fence
	}{
		"the store has nothing":                              {7, nothing, 0, true, false, 7},
		"the store has an older record":                      {7, nothing, 6, true, false, 7},
		"the store has what is held":                         {7, nothing, 7, false, false, 7},
		"nothing was held, and a commit was heard of":        {0, heard(8), 0, false, false, 8},
		"nothing was held, and this process has committed":   {0, committed(8), 0, false, false, 8},
		"a newer commit was heard of":                        {7, heard(8), 7, false, false, 8},
		"this process has committed a newer one":             {7, committed(8), 7, false, false, 8},
		"what was held is missing, a newer one was heard of": {7, heard(8), 0, false, true, 8},
	} {
		t.Run(name, func(t *testing.T) {
			v, e := &view{reads: 1}, testEnv()
			if c.held != 0 {
				v.install(recordOf(c.held, time.Hour), e)
			}
			began := v.asked()
			c.meanwhile(v, e)
			if fx := v.stateRead(stateOf(c.read), began, e); fx.lost != c.lost || v.lost != c.lost {
				t.Errorf("lost = %v, news %v, want %v", v.lost, fx.lost, c.lost)
			}
			if v.readDue != c.readDue || v.generation() != c.wantGeneration {
				t.Errorf("read again = %v, generation %d; want %v, %d", v.readDue, v.generation(), c.readDue, c.wantGeneration)
			}
		})
	}
}

// A reading and a notification come on two connections: the answer of a reading that the
// store gave before a failure may come after the failure's notification.
func TestAReadingThatMayBeOlderThanAFailureHasTheStoreReadAgain(t *testing.T) {
	now := testEnv().storeNow
	quota := Failure{Kind: FailedLater, InARow: 1, At: now, RetryAt: now.Add(2 * time.Hour)}
	over := quota
	over.InARow = 0
	failed := Event{Kind: EventFailed, Fence: 8, RetryIn: 2 * time.Hour, Failure: &quota}
	committed := Event{Kind: EventRefreshed, Fence: 9, Record: recordOf(9, time.Hour)}
	open := State{Now: now, Fence: 8, Open: []time.Time{now.Add(20 * time.Second)}}
	shown := State{Now: now, Fence: 8, Failure: &quota}
	ended := State{Now: now, Fence: 9, Record: recordOf(9, time.Hour), Failure: &over}
	for name, c := range map[string]struct {
		first             bool // it is the first reading
		before, meanwhile []Event
		read              State
		again, stands     bool
	}{
		"a failure, which it does not show":            {false, nil, []Event{failed}, open, true, true},
		"a failure, which it shows":                    {false, nil, []Event{failed}, shown, false, true},
		"a failure's end, which it does not show":      {false, []Event{failed}, []Event{committed}, shown, true, false},
		"a failure's end, which it shows":              {false, []Event{failed}, []Event{committed}, ended, false, false},
		"a failure, which the first does not show":     {true, nil, []Event{failed}, open, true, true},
		"a failure, which the first shows":             {true, nil, []Event{failed}, shown, false, true},
		"a failure and its end, which the first shows": {true, nil, []Event{failed, committed}, ended, false, false},
		"nothing": {false, []Event{failed}, nil, shown, false, true},
		"nothing, and the store has lost the failure": {false, []Event{failed}, nil, State{Now: now}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			v, e := &view{reads: 1, nextRead: at + minute}, testEnv()
			if e.storeKnown = !c.first; c.first {
				v.reads = 0
			}
			for _, n := range c.before {
				v.eventHeard(n, e)
			}
			began := v.asked()
			for _, n := range c.meanwhile {
				v.eventHeard(n, e)
			}
			fx := v.stateRead(c.read, began, e)
			if again := v.readDue && fx.wake == e.now; again != c.again {
				t.Errorf("the store is read again at once: %v, want %v", again, c.again)
			}
			if stands := v.refused(e) != nil; stands != c.stands {
				t.Errorf("the failure stands: %v, want %v", stands, c.stands)
			}
		})
	}
}

func TestALossEndsWithANewerRecord(t *testing.T) {
	v, e := fresh(), testEnv()
	v.stateRead(stateOf(0), v.asked(), e)
	v.eventHeard(Event{Kind: EventRefreshed, Fence: 8, Record: recordOf(8, time.Hour)}, e)
	if v.lost {
		t.Error("the record that replaced the lost one is to be restored")
	}
}

func TestANotificationIsMissedOnlyIfItDoesNotFollow(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(*view, env)
		missed    bool
	}{
		"none comes": {func(*view, env) {}, true},
		"it comes": {func(v *view, e env) {
			v.eventHeard(Event{Kind: EventRefreshed, Fence: 8, Record: recordOf(8, time.Hour)}, e)
		}, false},
		"that of the record before comes": {func(v *view, e env) {
			v.eventHeard(Event{Kind: EventRefreshed, Fence: 7, Record: recordOf(7, time.Hour)}, e)
		}, true},
		"the subscription begins anew": {func(v *view, e env) { v.readSoon(e) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			v, e := fresh(), testEnv()
			for range 2 { // two readings side by side tell no more than one
				if fx := v.stateRead(stateOf(8), v.asked(), e); fx.missed {
					t.Error("missed before the notification had time to come")
				}
			}
			c.meanwhile(v, e)
			e.now += instant(notifiedWithin)
			if fx := v.stateRead(stateOf(8), v.asked(), e); fx.missed != c.missed {
				t.Errorf("missed = %v, want %v", fx.missed, c.missed)
			}
			e.now += minute
			if fx := v.stateRead(stateOf(8), v.asked(), e); fx.missed {
				t.Error("missed once more")
			}
		})
	}
}

// A reading tells when attempts get overdue, not which they are. What is heard of their
// tokens must settle them all the same, or each process reads again when they would be
// overdue; and it must settle no other.
func TestATokenSettlesAnAttemptThatWasReadAsOpen(t *testing.T) {
	refreshed := func(generation Fence) func(*view, env) {
		return func(v *view, e env) {
			v.eventHeard(Event{Kind: EventRefreshed, Fence: generation, Record: recordOf(generation, time.Hour)}, e)
		}
	}
	begun := func(v *view, e env) { v.eventHeard(Event{Kind: EventBegun, Fence: 9, RetryIn: time.Second}, e) }
	nothing := func(*view, env) {}
	for name, c := range map[string]struct {
		held, stored  Fence
		open          int // attempts at the reading, the newest has the fence 8
		during, after func(*view, env)
		want          bool // an attempt is open in the end
	}{
		"no token comes": {7, 7, 1, nothing, nothing, true},
		"its token is heard of after the reading":  {7, 7, 1, nothing, refreshed(8), false},
		"its token is heard of before the reading": {7, 7, 1, refreshed(8), nothing, false},
		"nothing is stored yet":                    {0, 0, 1, refreshed(8), nothing, false},
		"another attempt is open as well":          {7, 7, 2, nothing, refreshed(8), true},
		"the same, heard of before":                {7, 7, 2, refreshed(8), nothing, true},
		"the token is of a later attempt":          {7, 7, 1, nothing, func(v *view, e env) { begun(v, e); refreshed(9)(v, e) }, true},
		"its token is stored: it is another one":   {7, 8, 1, nothing, refreshed(8), true},
		"its token was held, and is lost":          {8, 0, 1, nothing, nothing, true},
		"a token is restored": {0, 0, 1, nothing, func(v *view, e env) {
			v.eventHeard(Event{Kind: EventRestored, Fence: 8, Record: recordOf(8, time.Hour)}, e)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			v, e := &view{reads: 1}, testEnv()
			if c.held != 0 {
				v.install(recordOf(c.held, time.Hour), e)
			}
			began := v.asked()
			c.during(v, e)
			s := stateOf(c.stored)
			s.Fence = 8
			for i := range c.open {
				s.Open = append(s.Open, e.storeNow.Add(time.Duration(i+2)*time.Second))
			}
			v.stateRead(s, began, e)
			c.after(v, e)
			if _, open := v.attempts.next(); open != c.want {
				t.Errorf("an attempt is open = %v, want %v", open, c.want)
			}
		})
	}
}

// Which of the attempts that a reading has shown a restored token settles only another
// reading tells.
func TestARestoredTokenHasAttemptsReadAgainThatMayBeItsOwn(t *testing.T) {
	heard := func(v *view, e env) {
		v.eventHeard(Event{Kind: EventRestored, Fence: 7, Record: recordOf(7, time.Hour)}, e)
	}
	done := func(v *view, e env) { v.restored(7, true, e) }
	for name, c := range map[string]struct {
		restored func(*view, env)
		open     int
		fence    Fence // the newest at the reading
		begun    bool  // this process has heard of the attempt, not read of it
		want     bool
	}{
		"heard of, none is open":                    {restored: heard, fence: 7},
		"heard of, one is open":                     {restored: heard, open: 1, fence: 7, want: true},
		"done by this process, one is open":         {restored: done, open: 1, fence: 7, want: true},
		"heard of, with the begin of it":            {restored: heard, begun: true},
		"done by this process, after the begin":     {restored: done, begun: true},
		"heard of, the open ones are of before it":  {restored: heard, open: 1, fence: 6},
		"done by this process, others were read of": {restored: done, open: 1, fence: 6},
	} {
		t.Run(name, func(t *testing.T) {
			v, e := fresh(), testEnv()
			if c.begun {
				v.eventHeard(Event{Kind: EventBegun, Fence: 7, RetryIn: time.Second}, e)
			} else {
				s := State{Now: e.storeNow, Fence: c.fence}
				for range c.open {
					s.Open = append(s.Open, e.storeNow.Add(time.Second))
				}
				v.stateRead(s, v.asked(), e)
			}
			v.readDue = false
			c.restored(v, e)
			if v.readDue != c.want {
				t.Errorf("read again = %v, want %v", v.readDue, c.want)
			}
			if _, open := v.attempts.next(); open && c.begun {
				t.Error("the attempt is open whose token was restored")
			}
		})
	}
}

// A notification may be heard long after it was sent, because the process was stopped: then
// it tells of a life that is over in part.
func TestAReadingEndsARecordThatWasHeardOfTooLate(t *testing.T) {
	const life = 2 * time.Hour
	whole := life - Margin(life)
	for name, c := range map[string]struct {
		left, want time.Duration // by the reading, and then
	}{
		"an hour later":               {whole - time.Hour, whole - time.Hour},
		"after its end, nearly":       {time.Second, time.Second},
		"at once":                     {whole, whole},
		"a moment later":              {whole - 500*time.Millisecond, whole},
		"the reading was late itself": {whole + time.Hour, whole},
	} {
		t.Run(name, func(t *testing.T) {
			v, e := &view{reads: 1}, testEnv()
			e.roll = 0
			heard := recordOf(7, whole)
			v.eventHeard(Event{Kind: EventRefreshed, Fence: 7, Record: heard}, e)
			before := v.held
			read := stateOf(7)
			read.Record = heard
			read.Record.TTL = c.left
			fx := v.stateRead(read, v.asked(), e)
			if got := time.Duration(v.held.until - e.now); got != c.want {
				t.Errorf("it is withdrawn in %v, want in %v", got, c.want)
			}
			if got, want := time.Duration(v.held.refreshAt-before.refreshAt), c.want-whole; got != want {
				t.Errorf("its refresh is moved by %v, want by %v", got, want)
			}
			if fx.served != v.held {
				t.Error("it is not what is served")
			}
		})
	}
}

// Else this process would wait for itself, for as long as the lock that it has given back
// would have lived.
func TestItsOwnLockKeepsAProcessFromNothing(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(v *view, read func())
		busy      bool
	}{
		"before it asks for the lock": {func(v *view, read func()) { read(); v.locksBegun() }, true},
		"while it may have it":        {func(v *view, read func()) { v.locksBegun(); read() }, false},
		"after it had it":             {func(v *view, read func()) { v.locksBegun(); v.locksEnded(); read() }, true},
	} {
		v, e := &view{reads: 1}, testEnv()
		c.meanwhile(v, func() {
			v.stateRead(State{Now: e.storeNow, Holder: "a process", HolderTTL: time.Second}, v.asked(), e)
		})
		if got := v.busyUntil > e.now; got != c.busy {
			t.Errorf("read %s: busy = %v, want %v", name, got, c.busy)
		}
	}
	v, e := &view{reads: 1}, testEnv()
	began := v.asked()
	v.locksBegun()
	v.locksEnded()
	if v.stateRead(State{Now: e.storeNow, Holder: "a process", HolderTTL: time.Second}, began, e); v.busyUntil > e.now {
		t.Error("a reading that began before it had the lock, and ended after that: it is busy")
	}
}
