package ledger_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/ledger"
)

// The store of the Example encodes and decodes the account at each step.
func TestTheExampleKeepsToTheContract(t *testing.T) {
	db := &Database{rows: make(map[string][]byte)}
	var n atomic.Int32
	coordinatortest.TestStore(t, func(*testing.T) coordinator.Store {
		return &Store{db, fmt.Sprintf("process-%d", n.Add(1))}
	})
}

// start is ten hours before the issuer's day ends.
var start = time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)

func at(now time.Time) ledger.Step {
	return ledger.Step{Account: "wx1", Instance: "one", Now: now}
}

func begin(t *testing.T, a *ledger.Account, now time.Time, b coordinator.BeginRequest) coordinator.Attempt {
	t.Helper()
	attempt, _, err := a.Begin(at(now), b)
	if err != nil || attempt.Fence == 0 {
		t.Fatalf("Begin(%+v) = %+v, %v", b, attempt, err)
	}
	return attempt
}

func fail(t *testing.T, a *ledger.Account, now time.Time, kind coordinator.FailureKind, credential string, retryIn time.Duration) {
	t.Helper()
	attempt := begin(t, a, now, coordinator.BeginRequest{Reason: coordinator.ReasonForced})
	a.Fail(at(now), coordinator.FailRequest{
		Attempt: attempt, Failure: coordinator.Failure{Kind: kind, Credential: credential}, RetryIn: retryIn, Calls: 1,
	})
}

// used returns an account that has made so many calls for the reason.
func used(t *testing.T, calls int, reason coordinator.Reason, pace time.Duration) *ledger.Account {
	t.Helper()
	var a ledger.Account
	for range calls {
		begin(t, &a, start, coordinator.BeginRequest{Reason: reason, Pace: pace})
	}
	return &a
}

// The table in the comment of coordinator.Store, column by column.
func TestLimitsByReason(t *testing.T) {
	const all = "forced rejected missing overdue schedule"
	budget := coordinator.Limits{PerDay: 5, Reserve: 2}
	failed := func(kind coordinator.FailureKind, credential string) *ledger.Account {
		var a ledger.Account
		fail(t, &a, start, kind, credential, time.Minute)
		return &a
	}
	for _, row := range []struct {
		name    string
		account *ledger.Account
		after   time.Duration // since the account was made
		limits  coordinator.Limits
		pace    time.Duration
		limit   coordinator.Limit
		binds   string // reasons
		retryIn time.Duration
	}{
		{
			"the reserve is left", used(t, 3, coordinator.ReasonMissing, 0), 0, budget, 0,
			coordinator.LimitBudget, "forced rejected", 10 * time.Hour,
		},
		{"the budget is used up", used(t, 5, coordinator.ReasonMissing, 0), 0, budget, 0, coordinator.LimitBudget, all, 10 * time.Hour},
		{"the day has ended", used(t, 5, coordinator.ReasonMissing, 0), 10 * time.Hour, budget, 0, "", "", 0},
		{"no budget", used(t, 5, coordinator.ReasonMissing, 0), 0, coordinator.Limits{Reserve: 2}, 0, "", "", 0},
		{
			"the interval after a demand", used(t, 1, coordinator.ReasonRejected, 0), time.Second,
			coordinator.Limits{MinInterval: time.Minute}, 0, coordinator.LimitInterval, "forced rejected", 59 * time.Second,
		},
		{
			"the interval has passed", used(t, 1, coordinator.ReasonRejected, 0), time.Minute,
			coordinator.Limits{MinInterval: time.Minute}, 0, "", "", 0,
		},
		{"no demand before", used(t, 1, coordinator.ReasonSchedule, 0), 0, coordinator.Limits{MinInterval: time.Minute}, 0, "", "", 0},
		{
			"a failure", failed(coordinator.FailedBusy, ""), time.Second, coordinator.Limits{}, 0,
			coordinator.LimitBackOff, "rejected missing overdue schedule", 59 * time.Second,
		},
		{"the back-off has passed", failed(coordinator.FailedBusy, ""), time.Minute, coordinator.Limits{}, 0, "", "", 0},
		{
			"the same credential was refused", failed(coordinator.FailedRefused, "fingerprint"), 0, coordinator.Limits{}, 0,
			coordinator.LimitBackOff, "rejected missing overdue schedule", time.Minute,
		},
		{"another credential was refused", failed(coordinator.FailedRefused, "other"), 0, coordinator.Limits{}, 0, "", "", 0},
		{
			"a burst", used(t, coordinator.PaceBurst, coordinator.ReasonMissing, time.Hour), time.Second, coordinator.Limits{}, time.Hour,
			coordinator.LimitLoop, "missing overdue schedule", time.Hour - time.Second,
		},
		{"a burst, and no pace", used(t, coordinator.PaceBurst, coordinator.ReasonMissing, time.Hour), 0, coordinator.Limits{}, 0, "", "", 0},
		{
			"a pace later", used(t, coordinator.PaceBurst, coordinator.ReasonMissing, time.Hour), time.Hour,
			coordinator.Limits{}, time.Hour, "", "", 0,
		},
	} {
		for reason := range strings.FieldsSeq(all) {
			account := clone(t, row.account)
			_, event, err := account.Begin(at(start.Add(row.after)), coordinator.BeginRequest{
				Reason: coordinator.Reason(reason), Credential: "fingerprint", Limits: row.limits, Pace: row.pace,
			})
			want := coordinator.ThrottledError{}
			if strings.Contains(row.binds, reason) {
				want = coordinator.ThrottledError{Limit: row.limit, RetryIn: row.retryIn, Until: start.Add(row.after + row.retryIn)}
			}
			got, ok := errors.AsType[*coordinator.ThrottledError](err)
			if !ok {
				got = new(coordinator.ThrottledError)
			}
			if *got != want || err != nil && !ok {
				t.Errorf("%s, %s: %v, want %v", row.name, reason, err, want)
			}
			told := event != nil && event.Kind == coordinator.EventThrottled && event.Limit == want.Limit && event.RetryIn == want.RetryIn
			if demanded := coordinator.Reason(reason).Demanded(); told != (ok && demanded) {
				t.Errorf("%s, %s: the event is %+v", row.name, reason, event)
			}
		}
	}
}

// start is 14:00 in UTC+8, and 06:00 in UTC.
func TestWindowsFollowEachOther(t *testing.T) {
	hour := coordinator.Limits{PerDay: 2, Window: time.Hour}
	utcDay := coordinator.Limits{PerDay: 2, DayBegins: 8 * time.Hour}
	for name, c := range map[string]struct {
		limits  coordinator.Limits
		after   time.Duration // since two calls at start + 20 min
		calls   int           // that a reading shows
		retryIn time.Duration // 0: not throttled
		limit   coordinator.Limit
	}{
		"in the same window":                      {hour, 10 * time.Minute, 2, 30 * time.Minute, coordinator.LimitWindow},
		"its last millisecond":                    {hour, 40*time.Minute - time.Millisecond, 2, time.Millisecond, coordinator.LimitWindow},
		"in the next window":                      {hour, 40 * time.Minute, 0, 0, ""},
		"the clock went back a little":            {hour, -10 * time.Minute, 2, 50 * time.Minute, coordinator.LimitWindow},
		"the clock went back by more than it may": {hour, -21 * time.Minute, 2, 0, ""},
		"on the same day in UTC":                  {utcDay, time.Hour, 2, 16*time.Hour + 40*time.Minute, coordinator.LimitBudget},
		"on the next day in UTC":                  {utcDay, 17*time.Hour + 40*time.Minute, 0, 0, ""},
	} {
		var a ledger.Account
		called := start.Add(20 * time.Minute)
		for range 2 {
			begin(t, &a, called, coordinator.BeginRequest{Reason: coordinator.ReasonSchedule, Limits: c.limits})
		}
		a = *clone(t, &a)
		now := at(called.Add(c.after))
		if got := a.State(now).CallsToday; got != c.calls {
			t.Errorf("%s: CallsToday = %d, want %d", name, got, c.calls)
		}
		_, _, err := a.Begin(now, coordinator.BeginRequest{Reason: coordinator.ReasonSchedule, Limits: c.limits})
		got, ok := errors.AsType[*coordinator.ThrottledError](err)
		if !ok {
			got = new(coordinator.ThrottledError)
		}
		if got.Limit != c.limit || got.RetryIn != c.retryIn {
			t.Errorf("%s: throttled by the %q for %v, want the %q for %v", name, got.Limit, got.RetryIn, c.limit, c.retryIn)
		}
	}
}

func TestTheLongestLimitIsNamed(t *testing.T) {
	limits := coordinator.Limits{PerDay: 1, MinInterval: time.Minute}
	for retryIn, want := range map[time.Duration]coordinator.Limit{
		time.Second:    coordinator.LimitInterval,
		2 * time.Hour:  coordinator.LimitBackOff,
		10 * time.Hour: coordinator.LimitBudget, // the first of two that last equally long
		11 * time.Hour: coordinator.LimitBackOff,
	} {
		var a ledger.Account
		fail(t, &a, start, coordinator.FailedBusy, "", retryIn)
		if retryIn < 10*time.Hour {
			limits.PerDay = 2
		} else {
			limits.PerDay = 1
		}
		_, _, err := a.Begin(at(start), coordinator.BeginRequest{Reason: coordinator.ReasonRejected, Limits: limits})
		if got, ok := errors.AsType[*coordinator.ThrottledError](err); !ok || got.Limit != want {
			t.Errorf("with a back-off of %v Begin() = %v, want it throttled by the %s", retryIn, err, want)
		}
	}
}

// clone encodes and decodes an account.
func clone(t *testing.T, a *ledger.Account) *ledger.Account {
	t.Helper()
	data, err := a.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var c ledger.Account
	if err := c.UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	again, err := c.MarshalBinary()
	if err != nil || string(again) != string(data) {
		t.Errorf("encoded and decoded, %s is %s, %v", data, again, err)
	}
	return &c
}

func TestEncodingKeepsEverything(t *testing.T) {
	var a ledger.Account
	clone(t, &a)
	fail(t, &a, start, coordinator.FailedRefused, "fingerprint", time.Minute)
	begin(t, &a, start, coordinator.BeginRequest{Reason: coordinator.ReasonForced, TTL: time.Second})
	attempt := begin(t, &a, start.Add(2*time.Second), coordinator.BeginRequest{Reason: coordinator.ReasonForced, TTL: time.Minute})
	if _, _, err := a.Commit(at(start), coordinator.CommitRequest{
		Attempt: attempt, Token: coordinator.NewToken("token"), Lifetime: time.Hour, RefreshIn: time.Minute,
	}); err != nil {
		t.Fatal(err)
	}
	begin(t, &a, start.Add(time.Minute), coordinator.BeginRequest{
		Seen: attempt.Fence, Reason: coordinator.ReasonMissing, TTL: time.Minute, Pace: time.Minute,
	})
	if err := a.Lock(at(start), "id", time.Minute); err != nil {
		t.Fatal(err)
	}
	got, want := clone(t, &a).State(at(start)), a.State(at(start))
	if got.Failure == nil || *got.Failure != *want.Failure {
		t.Errorf("encoded and decoded, the failure is %+v, want %+v", got.Failure, want.Failure)
	}
	got.Failure, want.Failure = nil, nil // pointers
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) || !got.Record.Token.Equal(want.Record.Token) || want.Record.Token.IsZero() {
		t.Errorf("encoded and decoded, the state is %+v, want %+v", got, want)
	}
	if err := clone(t, &a).Extend(at(start), "id", time.Minute, 0); err != nil {
		t.Errorf("Extend() = %v", err)
	}
}

func TestOnlyMarshalBinaryShowsTheToken(t *testing.T) {
	var a ledger.Account
	attempt := begin(t, &a, start, coordinator.BeginRequest{Reason: coordinator.ReasonMissing})
	c := coordinator.CommitRequest{Attempt: attempt, Token: coordinator.NewToken("secret"), Lifetime: time.Hour}
	if _, _, err := a.Commit(at(start), c); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(&a) //nolint:staticcheck // that it shows nothing is what is tested
	for _, text := range []string{fmt.Sprintf("%v %+v %#v", a, &a, a), string(encoded)} {
		if strings.Contains(text, "secret") || err != nil {
			t.Errorf("an Account shows as %s, %v", text, err)
		}
	}
	data, err := a.MarshalBinary()
	if err != nil || !strings.Contains(string(data), "secret") {
		t.Errorf("MarshalBinary() = %s, %v, want the token in it", data, err)
	}
	if err := new(ledger.Account).UnmarshalBinary(data[:len(data)-1]); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("UnmarshalBinary() of half an account = %v, want an error without the token", err)
	}
}
