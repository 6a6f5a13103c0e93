package page

import (
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

func TestStates(t *testing.T) {
	now := time.Now()
	record := coordinator.Record{
		Token: coordinator.NewToken("t"), Generation: 1, IssuedAt: now, ExpiresAt: now.Add(2 * time.Hour), TTL: time.Hour,
	}
	ended := record
	ended.TTL = 0
	broken, mended := &coordinator.Failure{InARow: 1}, &coordinator.Failure{InARow: 0}
	for name, c := range map[string]struct {
		status coordinator.Status
		want   state
	}{
		"fresh":                         {coordinator.Status{Record: record, NextRefresh: now.Add(time.Hour)}, fresh},
		"failed once, long ago":         {coordinator.Status{Record: record, Failure: mended}, fresh},
		"a refresh that is a bit late":  {coordinator.Status{Record: record, NextRefresh: now.Add(-time.Minute)}, fresh},
		"a refresh that is late":        {coordinator.Status{Record: record, NextRefresh: now.Add(-time.Hour)}, late},
		"the store away":                {coordinator.Status{Record: record, Stale: true}, stale},
		"failing":                       {coordinator.Status{Record: record, Failure: broken}, failing},
		"failing with the store away":   {coordinator.Status{Record: record, Failure: broken, Stale: true}, failing},
		"expired":                       {coordinator.Status{Record: ended}, expired},
		"never had one, refused":        {coordinator.Status{Failure: broken}, expired},
		"never had one, nothing failed": {coordinator.Status{}, waiting},
	} {
		if got := newCard(c.status, now).State; got != c.want {
			t.Errorf("%s: %s, want %s", name, got.key(), c.want.key())
		}
	}
}

func TestACardCountsByTheStoresDurations(t *testing.T) {
	now := time.Now()
	c := newCard(coordinator.Status{
		Record: coordinator.Record{
			Token: coordinator.NewToken("t"), Generation: 1, TTL: 90 * time.Minute,
			IssuedAt: now.Add(24 * time.Hour), ExpiresAt: now.Add(26 * time.Hour), // its clock is a day ahead
		},
		NextRefresh: now.Add(30 * time.Minute), CallsToday: 1900, Limits: coordinator.DefaultLimits,
	}, now)
	if want := 2*time.Hour - 30*time.Second - 90*time.Minute; c.Age != want {
		t.Errorf("age %v, want %v", c.Age, want)
	}
	if c.LeftShare < 75 || c.LeftShare > 76 || c.NextShare < 50 || c.NextShare > 51 {
		t.Errorf("left %.1f%%, next at %.1f%%", c.LeftShare, c.NextShare)
	}
	if c.CallsState != "high" {
		t.Errorf("calls are %q, want high", c.CallsState)
	}
}
