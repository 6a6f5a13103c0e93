package coordinator_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

func TestMinimumIntervalIsWaitedOut(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.refresher()
		f.token(p, time.Second)
		time.Sleep(time.Minute)
		for range 2 {
			if _, err := p.Refresh(t.Context()); err != nil {
				t.Errorf("Refresh() = %v", err)
			}
		}
		f.wantCalls(3)
		calls := f.source.Calls()
		if gap := calls[2].At.Sub(calls[1].At); gap < time.Second || gap > 1500*time.Millisecond {
			t.Errorf("the second forced refresh came %v after the first, want 1s", gap)
		}
	})
}

func TestForcedRefreshesLeaveTheReserveAlone(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		cfg := f.config()
		cfg.Limits = coordinator.Limits{PerDay: 40, Reserve: 35, MinInterval: time.Millisecond}
		p, reader := f.start(cfg, f.source), f.reader()
		f.token(p, time.Second)
		for range 4 {
			time.Sleep(time.Minute)
			if _, err := p.Refresh(t.Context()); err != nil {
				t.Fatalf("Refresh() = %v", err)
			}
		}
		time.Sleep(time.Minute)
		for _, q := range []*process{p, reader} {
			_, err := q.Refresh(t.Context())
			var throttled *coordinator.ThrottledError
			if !errors.As(err, &throttled) || throttled.RetryIn > 24*time.Hour {
				t.Errorf("Refresh() = %v, want a ThrottledError until midnight", err)
			}
		}
		time.Sleep(5 * time.Hour)
		if n := len(f.source.Calls()); n < 10 {
			t.Errorf("%d calls, want the schedule to go on", n)
		}
	})
}

func TestNothingElseWaitsForTheMinimumInterval(t *testing.T) {
	tests := map[string]func(*testing.T, *fleet, *process){
		"schedule": func(*testing.T, *fleet, *process) { time.Sleep(50 * time.Minute) },
		"overdue": func(t *testing.T, f *fleet, p *process) {
			if _, err := f.store.Begin(t.Context(), account, coordinator.BeginRequest{
				Seen: p.Status().Record.Generation, Reason: coordinator.ReasonSchedule, TTL: 3 * time.Second,
			}); err != nil {
				t.Fatal(err)
			}
			f.source.IssueOutside() // by whoever began, and was killed
			time.Sleep(4 * time.Second)
		},
	}
	for name, happens := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				cfg := f.longConfig()
				cfg.Limits.MinInterval = 2 * time.Hour
				f.source.Life = time.Hour
				p := f.start(cfg, f.source)
				f.token(p, time.Second)
				time.Sleep(time.Minute)
				if _, err := p.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error)
				go func() { _, err := p.Refresh(t.Context()); ended <- err }()
				synctest.Wait()
				happens(t, f, p)
				f.wantCalls(3)
				if err := <-ended; err != nil {
					t.Errorf("Refresh() = %v, want the next token, why ever it came", err)
				}
			})
		})
	}
}
