package coordinator

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestAGenerationNeverGoesBackwards(t *testing.T) {
	for name, c := range map[string]struct {
		take func(*view, env)
		want Fence
	}{
		"an older record is read": {func(v *view, e env) {
			v.stateRead(State{Now: e.storeNow, Record: recordOf(6, time.Hour), Fence: 7}, v.asked(), e)
		}, 7},
		"an older record is notified": {func(v *view, e env) {
			v.eventHeard(Event{Kind: EventRefreshed, Fence: 6, Record: recordOf(6, time.Hour)}, e)
		}, 7},
		"a newer record is read": {func(v *view, e env) {
			v.stateRead(State{Now: e.storeNow, Record: recordOf(8, time.Hour), Fence: 8}, v.asked(), e)
		}, 8},
		"a newer record is notified": {func(v *view, e env) {
			v.eventHeard(Event{Kind: EventRefreshed, Fence: 8, Record: recordOf(8, time.Hour)}, e)
		}, 8},
		"a record has ended": {func(v *view, e env) {
			v.stateRead(State{Now: e.storeNow, Record: recordOf(8, 0), Fence: 8}, v.asked(), e)
		}, 7},
		"a generation of next week": {func(v *view, e env) {
			next := Fence(e.storeNow.Add(7 * 24 * time.Hour).UnixMicro())
			v.eventHeard(Event{Kind: EventRefreshed, Fence: next, Record: recordOf(next, time.Hour)}, e)
		}, 7},
		"the store's clock goes back by days": {func(v *view, e env) {
			v.held.Generation = Fence(e.storeNow.UnixMicro())
			v.stateRead(State{Now: e.storeNow.Add(-48 * time.Hour), Record: recordOf(8, time.Hour)}, v.asked(), e)
		}, 8},
	} {
		t.Run(name, func(t *testing.T) {
			v := fresh()
			c.take(v, testEnv())
			if got := v.generation(); got != c.want {
				t.Errorf("generation() = %d, want %d", got, c.want)
			}
		})
	}
}

func TestADemandToReplaceWhatIsGivenUpEndsWithIt(t *testing.T) {
	v, e := fresh(), testEnv()
	v.held.Generation = Fence(e.storeNow.UnixMicro())
	v.edit().demand.merge(demand{reason: ReasonForced, seen: v.held.Generation}, e)
	v.stateRead(State{Now: e.storeNow.Add(-48 * time.Hour)}, v.asked(), e)
	if due, seen := v.due(e), v.seen(); due != ReasonMissing || seen != 0 {
		t.Errorf("due is %q, to replace %d; want %q, 0", due, seen, ReasonMissing)
	}
}

func TestAnIncredibleEventOnlyHasTheStoreRead(t *testing.T) {
	far := Fence(testEnv().storeNow.Add(48 * time.Hour).UnixMicro())
	failure := &Failure{Kind: FailedRefused, InARow: 1, At: testEnv().storeNow, RetryAt: testEnv().storeNow.Add(time.Hour)}
	for name, event := range map[string]Event{
		"refreshed":          {Kind: EventRefreshed, Fence: far, Record: recordOf(far, time.Hour)},
		"refreshed, ageless": {Kind: EventRefreshed, Fence: 9, Record: Record{Token: NewToken("t"), Generation: 9, TTL: time.Hour}},
		"begun":              {Kind: EventBegun, Fence: far, RetryIn: time.Second},
		"begun for an hour":  {Kind: EventBegun, Fence: 9, RetryIn: time.Hour},
		"failed":             {Kind: EventFailed, Fence: far, Failure: failure, RetryIn: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			v := fresh()
			v.eventHeard(event, testEnv())
			want := fresh()
			want.read()
			want.told = v.told
			if got := fmt.Sprintf("%+v", *v); got != fmt.Sprintf("%+v", func() view { w := *want; w.held = v.held; return w }()) {
				t.Errorf("the view is %s", got)
			}
		})
	}
}

func TestALossIsNewOnce(t *testing.T) {
	v, e := fresh(), testEnv()
	empty := State{Now: e.storeNow}
	if fx := v.stateRead(empty, v.asked(), e); !fx.lost || !v.lost {
		t.Error("the first reading shows no loss")
	}
	if fx := v.stateRead(empty, v.asked(), e); fx.lost || !v.lost {
		t.Error("the second reading shows another loss")
	}
	v.restored(v.generation(), true, e)
	if fx := v.stateRead(empty, v.asked(), e); !fx.lost {
		t.Error("the next loss is not shown")
	}
	v.stateRead(State{Now: e.storeNow, Fence: 9}, v.asked(), e)
	if v.lost {
		t.Error("a store that has handed out a newer fence has lost a record")
	}
	e.source = nil
	if fx := v.stateRead(empty, v.asked(), e); fx.lost {
		t.Error("a reader has something to restore")
	}
}

func TestAReadingThatBeganTooEarlyAnswersNothing(t *testing.T) {
	v, e := fresh(), testEnv()
	before := v.asked()
	v.read()
	v.stateRead(State{Now: e.storeNow}, before, e)
	if !v.readDue {
		t.Error("the reading that was asked for later is not due any more")
	}
	v.stateRead(State{Now: e.storeNow}, v.asked(), e)
	if v.readDue {
		t.Error("the reading is still due")
	}
}

func TestPollsAreAlignedAndJittered(t *testing.T) {
	for _, roll := range []float64{0, 0.3, 0.999} {
		v, e := fresh(), testEnv()
		e.roll = roll
		v.stateRead(State{Now: e.storeNow}, v.asked(), e)
		if wait := time.Duration(v.nextRead - at); wait < 53*time.Second || wait > 66*time.Second || v.nextRead%instant(pollGrid) != 0 {
			t.Errorf("roll %v: the next poll is in %v", roll, wait)
		}
	}
}

func TestHowARoundEndsDecidesWhenTheNextMayBegin(t *testing.T) {
	odd := errors.New("odd")
	for name, c := range map[string]struct {
		err      error
		stopped  bool
		want     time.Duration // until the next; 0: at once
		told     bool          // waiters learn the error
		readDue  bool
		complain bool
	}{
		"well":              {},
		"recorded":          {err: errRecorded},
		"Run ends":          {err: odd, stopped: true},
		"the lock is taken": {err: fmt.Errorf("x: %w", &LockedError{RetryIn: time.Second}), want: 1100 * time.Millisecond},
		"superseded":        {err: ErrSuperseded, readDue: true},
		"unreachable":       {err: ErrUnreachable, told: true},
		"denied":            {err: ErrDenied, told: true, want: 6 * time.Second},
		"something odd":     {err: odd, told: true, want: 6 * time.Second, complain: true},
	} {
		t.Run(name, func(t *testing.T) {
			v, e := fresh(), testEnv()
			v.held = nil
			v.roundStarted()
			fx := v.roundEnded(c.err, c.stopped, e)
			if got := max(time.Duration(v.allowed(ReasonMissing, e)-at), 0); got != c.want {
				t.Errorf("the next round may begin in %v, want %v", got, c.want)
			}
			if (v.peek().outcome.err != nil) != c.told || fx.broadcast != c.told {
				t.Errorf("waiters are told %v (broadcast %v)", v.peek().outcome.err, fx.broadcast)
			}
			if v.readDue != c.readDue || (fx.complaint != nil) != c.complain || v.inRound {
				t.Errorf("readDue %v, complaint %v, inRound %v", v.readDue, fx.complaint, v.inRound)
			}
		})
	}
}

func TestWhatIsThrottledWaitsOrEnds(t *testing.T) {
	for name, c := range map[string]struct {
		limit   Limit
		reason  Reason
		retryIn time.Duration
		ends    bool
		readDue bool
	}{
		"the schedule, by the budget":          {LimitBudget, ReasonSchedule, time.Hour, true, false},
		"the schedule, by an unknown back-off": {LimitBackOff, ReasonMissing, time.Hour, false, true},
		"a demand, by the minimum interval":    {LimitInterval, ReasonForced, time.Second, false, false},
		"a demand, by the budget":              {LimitBudget, ReasonForced, time.Hour, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			v, e := fresh(), testEnv()
			if c.reason.Demanded() {
				v.edit().demand.merge(demand{reason: c.reason, seen: 7}, e)
			}
			v.throttled(&ThrottledError{Limit: c.limit, RetryIn: c.retryIn}, c.reason, e)
			if (v.peek().outcome.err != nil) != c.ends || v.readDue != c.readDue {
				t.Errorf("outcome %v, readDue %v", v.peek().outcome.err, v.readDue)
			}
			if v.allowed(c.reason, e) <= at && !c.ends {
				t.Error("it may be tried again at once")
			}
		})
	}
}

func TestWaitersAreWokenWhenThereIsSomethingForThem(t *testing.T) {
	begun := func(e env) Event { return Event{Kind: EventBegun, Fence: 9, RetryIn: time.Second} }
	for name, c := range map[string]struct {
		change func(*view, *env)
		want   bool
	}{
		"a step of a cold start":            {func(v *view, _ *env) { v.held = nil }, false},
		"a step while there is a token":     {func(*view, *env) {}, true},
		"a reader sees to itself":           {func(v *view, e *env) { v.held, e.source = nil, nil }, true},
		"without Run each sees to itself":   {func(v *view, e *env) { v.held, e.running = nil, false }, true},
		"a failure may be a reason to end":  {func(v *view, _ *env) { v.held, v.failure = nil, &Failure{} }, true},
		"a round has ended with an outcome": {func(v *view, _ *env) { v.held = nil; v.end(errors.New("odd"), 0) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			v, e := fresh(), testEnv()
			c.change(v, &e)
			if fx := v.eventHeard(begun(e), e); fx.broadcast != c.want {
				t.Errorf("broadcast = %v, want %v", fx.broadcast, c.want)
			}
		})
	}
}

func TestWhatIsServedFollowsTheView(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*view, *env)
		want   bool
	}{
		"a fresh record":     {func(*view, *env) {}, true},
		"without Run":        {func(_ *view, e *env) { e.running = false }, false},
		"an ended record":    {func(v *view, e *env) { e.now = v.held.until }, false},
		"a removed account":  {func(v *view, _ *env) { v.removed = true }, false},
		"an unusable record": {func(v *view, _ *env) { v.edit().fault.barred = 8 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			v, e := fresh(), testEnv()
			c.change(v, &e)
			if fx := v.changed(effects{}, e); !fx.serve || (fx.served != nil) != c.want || fx.reschedule != (e.running && !v.removed) {
				t.Errorf("changed() = %+v", fx)
			}
		})
	}
}

func TestDemandsMerge(t *testing.T) {
	first := demand{reason: ReasonRejected, seen: 7, askedBy: "a"}
	for name, c := range map[string]struct {
		second demand
		after  time.Duration
		want   demand
	}{
		"the same again":   {demand{reason: ReasonRejected, seen: 7, askedBy: "b"}, 0, first},
		"an older one":     {demand{reason: ReasonForced, seen: 6, askedBy: "b"}, 0, first},
		"forced wins":      {demand{reason: ReasonForced, seen: 7, askedBy: "b"}, 0, demand{reason: ReasonForced, seen: 7, askedBy: "b"}},
		"a newer one wins": {demand{reason: ReasonRejected, seen: 8, askedBy: "b"}, 0, demand{reason: ReasonRejected, seen: 8, askedBy: "a"}},
		"after the end":    {demand{reason: ReasonRejected, seen: 6, askedBy: "b"}, time.Minute, demand{reason: ReasonRejected, seen: 6, askedBy: "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			var d demand
			e := testEnv()
			d.merge(first, e)
			e.now += instant(c.after)
			d.merge(c.second, e)
			d.expires = 0
			if d != c.want {
				t.Errorf("merged to %+v, want %+v", d, c.want)
			}
		})
	}
}
