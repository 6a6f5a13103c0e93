package coordinator

import (
	"context"
	"errors"
	"testing"
	"time"
)

// at is the moment of these tables, and minute from there.
const (
	at     = instant(100 * time.Hour)
	minute = instant(time.Minute)
)

type testSource struct{ Source }

func (testSource) Credential() string { return "ours" }

func (testSource) Fetch(context.Context, FetchRequest) (FetchResult, error) {
	return FetchResult{}, nil
}

// testEnv is a refresher that follows the store.
func testEnv() env {
	cfg := Config{}.withDefaults()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return env{
		cfg: &cfg, account: "a", rules: rules{every: defaultRefreshEvery, limits: DefaultLimits()}, source: testSource{},
		wall: now, now: at, roll: 0.5, storeNow: now, storeKnown: true, running: true, connected: true,
	}
}

// recordOf is a record that was issued at the moment of testEnv.
func recordOf(generation Fence, left time.Duration) Record {
	now := testEnv().wall
	issued := now.Add(left + Margin(2*time.Hour) - 2*time.Hour)
	return Record{Token: NewToken("t"), Generation: generation, IssuedAt: issued, ExpiresAt: issued.Add(2 * time.Hour), TTL: left}
}

// stateOf is what a store shows at the moment of testEnv whose record has this generation,
// that of the newest attempt. It shows no record if the generation is 0.
func stateOf(generation Fence) State {
	s := State{Now: testEnv().storeNow, Fence: generation}
	if generation != 0 {
		s.Record = recordOf(generation, time.Hour)
	}
	return s
}

// fresh is a view that was read and holds a record.
func fresh() *view {
	v := &view{reads: 1, readAt: at, nextRead: at + minute}
	v.install(recordOf(7, 2*time.Hour-Margin(2*time.Hour)), testEnv())
	return v
}

func TestDueIsWhatTheProtocolSays(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*view, *env)
		want   Reason
	}{
		"a fresh record":                {func(*view, *env) {}, ""},
		"no record":                     {func(v *view, _ *env) { v.held = nil }, ReasonMissing},
		"an ended record":               {func(v *view, e *env) { e.now = v.held.until }, ReasonMissing},
		"a barred record":               {func(v *view, _ *env) { v.edit().fault.barred = 8 }, ReasonMissing},
		"the schedule":                  {func(v *view, e *env) { e.now = v.held.refreshAt }, ReasonSchedule},
		"the schedule, a moment before": {func(v *view, e *env) { e.now = v.held.refreshAt - 1 }, ""},
		"the schedule without Run":      {func(v *view, e *env) { e.now, e.running = v.held.refreshAt, false }, ""},
		"the schedule, late and no Run": {func(v *view, e *env) { e.now, e.running = v.held.refreshAt+minute, false }, ReasonSchedule},
		"the schedule of a reader":      {func(v *view, e *env) { e.now, e.source = v.held.refreshAt, nil }, ""},
		"no record of a reader":         {func(v *view, e *env) { v.held, e.source = nil, nil }, ReasonMissing},
		"a record that the store has lost, and does not take back": {func(v *view, e *env) {
			v.stateRead(State{Now: e.storeNow, Fence: 9}, v.asked(), *e)
		}, ReasonMissing},
		"an older record in the store, and a newer attempt": {func(v *view, e *env) {
			s := stateOf(6)
			s.Fence = 9
			v.stateRead(s, v.asked(), *e)
		}, ReasonMissing},
		"a newer record after it": {func(v *view, e *env) {
			v.stateRead(State{Now: e.storeNow, Fence: 9}, v.asked(), *e)
			v.eventHeard(Event{Kind: EventRefreshed, Fence: 10, Record: recordOf(10, time.Hour)}, *e)
		}, ""},
		"the same record after it": {func(v *view, e *env) {
			v.stateRead(State{Now: e.storeNow, Fence: 9}, v.asked(), *e)
			v.stateRead(stateOf(7), v.asked(), *e)
		}, ""},
		"a record that a reader's store has lost": {func(v *view, e *env) {
			e.source = nil
			v.stateRead(State{Now: e.storeNow, Fence: 9}, v.asked(), *e)
		}, ""},
		"an overdue attempt":   {func(v *view, _ *env) { v.attempts.open(openAttempt{fence: 9, at: at}) }, ReasonOverdue},
		"an attempt under way": {func(v *view, _ *env) { v.attempts.open(openAttempt{fence: 9, at: at + 1}) }, ""},
		"a demand":             {func(v *view, e *env) { v.edit().demand.merge(demand{reason: ReasonForced, seen: 7}, *e) }, ReasonForced},
		"a demand whose callers have gone": {func(v *view, e *env) {
			v.edit().demand.merge(demand{reason: ReasonForced, seen: 7}, *e)
			e.now += minute
		}, ""},
		"a demand before the minimum interval": {func(v *view, e *env) {
			v.edit().demand.merge(demand{reason: ReasonForced, seen: 7}, *e)
			v.edit().demand.allowedAt = e.now + 1
		}, ReasonForced},
		"a demand before the minimum interval, and the schedule": {func(v *view, e *env) {
			e.now = v.held.refreshAt
			v.edit().demand.merge(demand{reason: ReasonForced, seen: 7}, *e)
			v.edit().demand.allowedAt = e.now + 1
		}, ReasonSchedule},
	} {
		t.Run(name, func(t *testing.T) {
			v, e := fresh(), testEnv()
			c.change(v, &e)
			if got := v.due(e); got != c.want {
				t.Errorf("due() = %q, want %q", got, c.want)
			}
		})
	}
}

func TestEachLimitHoldsTheReasonsItIsFor(t *testing.T) {
	all := []Reason{ReasonForced, ReasonRejected, ReasonMissing, ReasonOverdue, ReasonSchedule}
	for name, c := range map[string]struct {
		set  func(*view)
		pass []Reason
	}{
		"another process":                       {func(v *view) { v.busy(at + minute) }, nil},
		"a pause":                               {func(v *view) { v.pause(at + minute) }, nil},
		"the back-off":                          {func(v *view) { v.retryAt = at + minute }, []Reason{ReasonForced}},
		"a limit":                               {func(v *view) { v.edit().limitUntil = at + minute }, []Reason{ReasonForced, ReasonRejected}},
		"the minimum interval":                  {func(v *view) { v.edit().demand.allowedAt = at + minute }, []Reason{ReasonMissing, ReasonOverdue, ReasonSchedule}},
		"a replacement lately":                  {func(v *view) { v.edit().fault.err, v.edit().fault.replaceAt = ErrSealed, at+minute }, []Reason{ReasonForced, ReasonRejected, ReasonOverdue, ReasonSchedule}},
		"a replacement lately, and all is well": {func(v *view) { v.edit().fault.replaceAt = at + minute }, all},
	} {
		t.Run(name, func(t *testing.T) {
			v := fresh()
			c.set(v)
			for _, reason := range all {
				passes := false
				for _, r := range c.pass {
					passes = passes || r == reason
				}
				if got := v.allowed(reason, testEnv()); (got <= at) != passes {
					t.Errorf("%s is allowed in %v", reason, time.Duration(got-at))
				}
			}
		})
	}
}

func TestTheScheduleWakesForWhatComesFirst(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*view, *env)
		want   instant // after at; 0: at once
	}{
		"a poll":                         {func(v *view, _ *env) { v.nextRead = at + 1 }, 1},
		"the schedule":                   {func(v *view, _ *env) { v.nextRead, v.held.refreshAt = at+9*minute, at+2*minute }, 2 * minute},
		"the schedule behind a back-off": {func(v *view, _ *env) { v.nextRead, v.held.refreshAt, v.retryAt = at+9*minute, at+2*minute, at+3*minute }, 3 * minute},
		"the schedule is no reader's":    {func(v *view, e *env) { v.nextRead, v.held.refreshAt, e.source = at+9*minute, at+2*minute, nil }, 9 * minute},
		"a reading that is asked for":    {func(v *view, _ *env) { v.read() }, 0},
		"a reading, another process":     {func(v *view, _ *env) { v.read(); v.busy(at + 5) }, 0},
		"a reading after a pause":        {func(v *view, _ *env) { v.read(); v.pause(at + 5) }, 5},
		"a restore behind another":       {func(v *view, _ *env) { v.lost = true; v.busy(at + 5) }, 5},
		"an attempt under way":           {func(v *view, _ *env) { v.attempts.open(openAttempt{fence: 9, at: at + 5}) }, 5},
		"no record":                      {func(v *view, _ *env) { v.held = nil }, 0},
		"no record, another process":     {func(v *view, _ *env) { v.held = nil; v.busy(at + 5) }, 5},
		"a demand":                       {func(v *view, e *env) { v.edit().demand.merge(demand{reason: ReasonForced, seen: 7}, *e) }, 0},
		"a demand, and the last just was": {func(v *view, e *env) {
			v.edit().demand.merge(demand{reason: ReasonForced, seen: 7}, *e)
			v.edit().demand.allowedAt = at + 5
		}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			v, e := fresh(), testEnv()
			c.change(v, &e)
			if got := v.wake(e) - at; got != c.want {
				t.Errorf("wake() is in %v, want %v", time.Duration(got), time.Duration(c.want))
			}
		})
	}
}

func TestTheScheduleHasOneTaskForAnAccount(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*view, *env)
		want   task
	}{
		"nothing":                     {func(*view, *env) {}, taskNone},
		"a poll":                      {func(v *view, e *env) { e.now = v.nextRead }, taskRead},
		"a reading that is asked for": {func(v *view, _ *env) { v.read() }, taskRead},
		"a refresh":                   {func(v *view, _ *env) { v.held = nil }, taskRound},
		"a refresh that must wait":    {func(v *view, _ *env) { v.held, v.retryAt = nil, at+1 }, taskNone},
		"a reader has no refresh":     {func(v *view, e *env) { v.held, e.source = nil, nil }, taskNone},
		"a restore":                   {func(v *view, _ *env) { v.lost = true }, taskRound},
		"a round under way":           {func(v *view, _ *env) { v.held = nil; v.roundStarted() }, taskElsewhere},
		"a removed account":           {func(v *view, _ *env) { v.held = nil; v.dropped() }, taskElsewhere},
	} {
		t.Run(name, func(t *testing.T) {
			v, e := fresh(), testEnv()
			c.change(v, &e)
			if got := v.task(e); got != c.want {
				t.Errorf("task() = %v, want %v", got, c.want)
			}
		})
	}
}

// What is known has an account as often as it has changed, the changes have it once.
func TestAnOlderChangeOfTheSameAccountProvesNothing(t *testing.T) {
	known := []Change{{"a", 1}, {"b", 2}, {"b", 3}}
	for name, c := range map[string]struct {
		changes []Change
		want    bool
	}{
		"the newest is there":          {[]Change{{"b", 3}}, true},
		"only an older one is there":   {[]Change{{"b", 2}}, false},
		"the store has gone on there":  {[]Change{{"b", 2}, {"c", 4}}, false},
		"the account has changed anew": {[]Change{{"b", 4}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := proven(known, c.changes); got != c.want {
				t.Errorf("proven() = %v, want %v", got, c.want)
			}
		})
	}
}

func TestWaitingIsPointlessWhileTheIssuerRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		failure Failure
		left    time.Duration
		want    any
	}{
		"a refusal":              {Failure{Kind: FailedRefused, Code: "1", InARow: 1}, time.Second, new(*RefusedError)},
		"a refusal that is over": {Failure{Kind: FailedRefused, Code: "1", InARow: 1}, 0, nil},
		"a long quota":           {Failure{Kind: FailedLater, Code: "1", InARow: 1}, time.Hour, new(*QuotaError)},
		"a short quota":          {Failure{Kind: FailedLater, Code: "1", InARow: 1}, time.Minute, nil},
		"a busy issuer":          {Failure{Kind: FailedBusy, Code: "1", InARow: 1}, time.Hour, nil},
		"an unknown end":         {Failure{Kind: FailedUnknown, Code: "1", InARow: 1}, time.Hour, nil},
	} {
		t.Run(name, func(t *testing.T) {
			v := fresh()
			v.failure, v.retryAt = &c.failure, at+instant(c.left)
			err := v.refused(testEnv())
			if (err != nil) != (c.want != nil) || err != nil && !errors.As(err, c.want) {
				t.Errorf("refused() = %v", err)
			}
		})
	}
}

func TestKnownChangesProveThatNoneWasLost(t *testing.T) {
	known := []Change{{"a", 1}, {"b", 2}, {"c", 3}}
	for name, c := range map[string]struct {
		changes []Change // that are read from a on
		want    bool
	}{
		"nothing has changed":                     {[]Change{{"b", 2}, {"c", 3}}, true},
		"others have changed":                     {[]Change{{"b", 2}, {"c", 3}, {"d", 4}}, true},
		"the newest has changed again":            {[]Change{{"b", 2}, {"c", 5}}, true},
		"all but the first have changed again":    {[]Change{{"b", 4}, {"c", 5}}, true},
		"all have changed again":                  {[]Change{{"a", 4}, {"b", 5}, {"c", 6}}, false},
		"the newest is not there":                 {[]Change{{"b", 2}, {"d", 5}}, false},
		"one is not there and the newest changed": {[]Change{{"c", 5}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := proven(known, c.changes); got != c.want {
				t.Errorf("proven() = %v, want %v", got, c.want)
			}
		})
	}
}

// Another process' attempt may last longer than until the next poll, and what it brings may
// not be heard of.
func TestNothingDefersAReadingBeyondThePoll(t *testing.T) {
	for name, change := range map[string]func(*view){
		"a reading that is asked for, after a pause": func(v *view) { v.read(); v.pause(at + 2*minute) },
		"a restore, behind another process":          func(v *view) { v.lost = true; v.busy(at + 2*minute) },
	} {
		v, e := fresh(), testEnv()
		change(v)
		if got, want := v.wake(e), v.nextReading(e); got != want {
			t.Errorf("%s: the schedule looks %v after now, want %v", name, time.Duration(got-at), time.Duration(want-at))
		}
	}
}
