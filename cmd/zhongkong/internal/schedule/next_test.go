package schedule_test

import (
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/schedule"
	"github.com/zhongkong/zhongkong/coordinator"
)

// The command line reads the store, the page and the metrics read memory. A
// machine whose clock is a day off must not make them differ.
func TestMemoryAndStoreSayTheSameOfTheNextRefresh(t *testing.T) {
	const life, every = 2 * time.Hour, time.Hour
	here := time.Now()
	store := here.Add(24 * time.Hour)
	age := 20 * time.Minute
	record := coordinator.Record{
		Token: coordinator.NewToken("t"), Generation: 1, IssuedAt: store.Add(-age), ExpiresAt: store.Add(life - age),
		TTL: life - coordinator.Margin(life) - age,
	}
	failed := func(inARow int, retry time.Duration) *coordinator.Failure {
		return &coordinator.Failure{InARow: inARow, At: store, RetryAt: store.Add(retry)}
	}
	for name, c := range map[string]struct {
		failure *coordinator.Failure
		open    bool
		want    time.Duration
	}{
		"the schedule":                                    {nil, false, 40 * time.Minute},
		"a failure that is over":                          {failed(0, 5*time.Hour), false, 40 * time.Minute},
		"a retry before the schedule":                     {failed(1, time.Minute), false, 40 * time.Minute},
		"the quota is gone until midnight":                {failed(1, 11*time.Hour), false, 11 * time.Hour},
		"a call whose end is not known":                   {nil, true, 0},
		"a call whose end is not known, and the back-off": {failed(2, time.Minute), true, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			state := coordinator.State{Now: store, Record: record, Failure: c.failure}
			status := coordinator.Status{Record: record, Failure: c.failure, NextRefresh: here.Add(every - age)}
			if c.open {
				state.Open, status.OpenAttempts = []time.Time{store}, 1
			}
			if got := schedule.Next(state, every).Sub(store); got != c.want {
				t.Errorf("by the store: in %v, want %v", got, c.want)
			}
			if got, ok := schedule.In(status, here); !ok || got != c.want {
				t.Errorf("from memory: in %v, %v, want %v", got, ok, c.want)
			}
		})
	}
}

func TestWithoutATokenARefreshIsDueAtOnce(t *testing.T) {
	now := time.Now()
	if got := schedule.Next(coordinator.State{Now: now}, time.Hour); !got.Equal(now) {
		t.Errorf("in %v", got.Sub(now))
	}
	if _, ok := schedule.In(coordinator.Status{}, now); ok {
		t.Error("from memory: it is known")
	}
}

func TestTheSourcesWordIsTaken(t *testing.T) {
	now := time.Now()
	s := coordinator.State{Now: now, Record: coordinator.Record{
		Token: coordinator.NewToken("t"), TTL: time.Hour, IssuedAt: now, ExpiresAt: now.Add(2 * time.Hour), RefreshAt: now.Add(115 * time.Minute),
	}}
	if got := schedule.Next(s, time.Hour).Sub(now); got != 115*time.Minute {
		t.Errorf("in %v", got)
	}
}
