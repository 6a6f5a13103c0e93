package coordinator

import (
	"context"
	"testing"
	"time"
)

func TestScheduleComesAtTheAgeOrHalfTheLife(t *testing.T) {
	issued := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	record := func(life, age, askedAt time.Duration) Record {
		r := Record{IssuedAt: issued, ExpiresAt: issued.Add(life), TTL: life - Margin(life) - age}
		if askedAt != 0 {
			r.RefreshAt = issued.Add(askedAt)
		}
		return r
	}
	tests := []struct {
		name   string
		record Record
		every  time.Duration
		want   time.Duration
	}{
		{"a fresh token waits for the age", record(2*time.Hour, 0, 0), time.Hour, time.Hour},
		{"its age counts", record(2*time.Hour, 20*time.Minute, 0), time.Hour, 40 * time.Minute},
		{"a short life is replaced at half", record(time.Hour, 0, 0), time.Hour, 30 * time.Minute},
		{"what is late is due", record(2*time.Hour, 70*time.Minute, 0), time.Hour, -10 * time.Minute},
		{"the source's word counts", record(2*time.Hour, 0, 115*time.Minute), time.Hour, 115 * time.Minute},
		{"the source's word counts when it is sooner", record(2*time.Hour, time.Minute, 2*time.Minute), time.Hour, time.Minute},
		{"no life at all is due", Record{}, time.Hour, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.record.refreshIn(tt.every); got != tt.want {
				t.Errorf("refreshIn(%v) = %v, want %v", tt.every, got, tt.want)
			}
		})
	}
}

// The command line reads the store, the page and the metrics read memory. A
// machine whose clock is a day off must not make them differ.
func TestMemoryAndStoreSayTheSameOfTheNextRefresh(t *testing.T) {
	const life, every = 2 * time.Hour, time.Hour
	here := time.Now()
	store := here.Add(24 * time.Hour)
	age := 20 * time.Minute
	record := Record{
		Token: NewToken("t"), Generation: 1, IssuedAt: store.Add(-age), ExpiresAt: store.Add(life - age),
		TTL: life - Margin(life) - age,
	}
	failed := func(inARow int, retry time.Duration) *Failure {
		return &Failure{InARow: inARow, At: store, RetryAt: store.Add(retry)}
	}
	for name, c := range map[string]struct {
		failure *Failure
		open    []time.Duration
		want    time.Duration
	}{
		"the schedule":                                    {nil, nil, 40 * time.Minute},
		"a failure that is over":                          {failed(0, 5*time.Hour), nil, 40 * time.Minute},
		"a retry before the schedule":                     {failed(1, time.Minute), nil, 40 * time.Minute},
		"the quota is gone until midnight":                {failed(1, 11*time.Hour), nil, 11 * time.Hour},
		"a back-off that nobody sets":                     {failed(1, 25*time.Hour), nil, 40 * time.Minute},
		"a call under way":                                {nil, []time.Duration{3 * time.Second}, 3 * time.Second},
		"a call whose end is not known":                   {nil, []time.Duration{0}, 0},
		"a deadline of before the clock went back":        {nil, []time.Duration{time.Hour}, 0},
		"a call whose end is not known, and the back-off": {failed(2, time.Minute), []time.Duration{-time.Second}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			state := State{Now: store, Record: record, Failure: c.failure}
			for _, in := range c.open {
				state.Open = append(state.Open, store.Add(in))
			}
			if got := state.NextRefresh(every).Sub(store); got != c.want {
				t.Errorf("by the store: in %v, want %v", got, c.want)
			}
			co, err := New(Config{Store: nowhere{}, Accounts: []AccountConfig{{Name: "a", Source: SourceFunc(nil)}}, RefreshEvery: every})
			if err != nil {
				t.Fatal(err)
			}
			a, _ := co.Account("a")
			a.stateRead(state, a.asked())
			// Each process spreads its own look at the schedule over two seconds.
			if got := time.Until(a.Status().NextRefresh); (got - c.want).Abs() > maxSpread+time.Second {
				t.Errorf("from memory: in %v, want %v", got, c.want)
			}
		})
	}
}

// nowhere is a store that is never asked.
type nowhere struct{ Store }

func (nowhere) Subscribe(Watcher) Subscription { return nowhereSubscription{} }

type nowhereSubscription struct{ Subscription }

func (nowhereSubscription) Add(Role, ...string) {}

func TestWithoutATokenARefreshIsDueAtOnce(t *testing.T) {
	s := State{Now: time.Now()}
	if got := s.NextRefresh(time.Hour); !got.Equal(s.Now) {
		t.Errorf("in %v", got.Sub(s.Now))
	}
}

func TestBackoffStaysWithinItsBounds(t *testing.T) {
	tests := []struct {
		name        string
		kind        FailureKind
		failures    int
		issuers     time.Duration
		left        time.Duration
		least, most time.Duration
	}{
		{"the first retry is quick", FailedBusy, 1, 0, 0, 500 * time.Millisecond, time.Second},
		{"it doubles", FailedUnknown, 4, 0, 0, 4 * time.Second, 8 * time.Second},
		{"it ends at the floor without a token", FailedUnknown, 30, 0, 0, time.Minute, 2 * time.Minute},
		{"it grows on while the token lives", FailedUnknown, 30, 0, time.Hour, 7*time.Minute + 30*time.Second, 15 * time.Minute},
		{"it has a ceiling", FailedBusy, 1000, 0, 240 * time.Hour, 15 * time.Minute, 30 * time.Minute},
		{"failures of zero or less count as one", FailedBusy, -5, 0, 0, 500 * time.Millisecond, time.Second},
		{"a refusal waits for a person", FailedRefused, 1, 0, 0, 4*time.Minute + 30*time.Second, 5*time.Minute + 30*time.Second},
		{"a quota without a time waits a minute", FailedLater, 9, 0, 0, 54 * time.Second, 66 * time.Second},
		{"the issuer's word is taken", FailedLater, 1, 7 * time.Hour, 0, 7 * time.Hour, 7 * time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for range 1000 {
				got := backoff(tt.kind, tt.failures, tt.issuers, tt.left)
				if got < tt.least || got > tt.most {
					t.Fatalf("backoff() = %v, want %v to %v", got, tt.least, tt.most)
				}
			}
		})
	}
}

func TestSpreadIsSmallAgainstTheInterval(t *testing.T) {
	for every, want := range map[time.Duration]time.Duration{
		time.Hour: 2 * time.Second, 3 * time.Second: 150 * time.Millisecond, 0: 0, -time.Second: 0,
	} {
		if got := spread(every); got != want {
			t.Errorf("spread(%v) = %v, want %v", every, got, want)
		}
	}
}

func TestMarginEndsATokenEarlyEnough(t *testing.T) {
	for life, want := range map[time.Duration]time.Duration{
		2 * time.Hour: 30 * time.Second, time.Minute: 3 * time.Second, 0: 0,
	} {
		if got := Margin(life); got != want {
			t.Errorf("Margin(%v) = %v, want %v", life, got, want)
		}
	}
}

func TestASourceIsNotAskedAgainWithoutAPause(t *testing.T) {
	for word, want := range map[time.Duration]time.Duration{
		0: 0, 120 * time.Microsecond: leastRetry, leastRetry: leastRetry, time.Hour: time.Hour,
	} {
		r := refresh{plan: plan{source: SourceFunc(func(context.Context, FetchRequest) (FetchResult, error) {
			return FetchResult{}, &FetchError{Kind: FailedRefused, RetryIn: word}
		})}}
		if _, err := r.ask(t.Context()); asFetchError(err).RetryIn != want {
			t.Errorf("after %v: again in %v, want %v", word, asFetchError(err).RetryIn, want)
		}
	}
}
