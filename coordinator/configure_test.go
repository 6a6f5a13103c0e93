package coordinator_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

func TestAnotherConfigurationEndsNoWaitAndKeepsTheToken(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Latency = 5 * time.Second
		p := f.refresher()
		waited, watched := make(chan error, 1), p.Watch(t.Context())
		go func() {
			_, err := p.Token(t.Context())
			waited <- err
		}()
		time.Sleep(time.Second) // the call to the source is under way
		for i := range 3 {
			f.configure(p, 0, coordinator.Limits{PerDay: 1000 + i})
		}
		if err := <-waited; err != nil {
			t.Errorf("Token() = %v while the limits changed", err)
		}
		first := <-watched
		f.configure(p, 30*time.Minute, coordinator.Limits{})
		if s, ok := p.Peek(); !ok || s.Generation != first.Generation {
			t.Errorf("Peek() = %v, %v after another RefreshEvery, want the token before", s, ok)
		}
		f.wantCalls(1)
		if _, err := p.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if next, ok := <-watched; !ok || next.Generation <= first.Generation {
			t.Errorf("Watch told of %v, %v after a refresh", next.Generation, ok)
		}
	})
}

func TestLimitsThatAreConfiguredHoldFromTheNextCallOn(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.refresher()
		f.wantCurrent(p)
		f.configure(p, 0, coordinator.Limits{PerDay: 2, Reserve: 1})
		if got := p.Status().Limits.PerDay; got != 2 {
			t.Errorf("Status().Limits.PerDay = %d, want 2", got)
		}
		var throttled *coordinator.ThrottledError
		if _, err := p.Refresh(t.Context()); !errors.As(err, &throttled) || throttled.Limit != coordinator.LimitBudget {
			t.Errorf("Refresh() = %v with all calls but the reserve used, want that the budget is", err)
		}
		f.wantCurrent(p) // served all the same
		f.configure(p, 0, coordinator.Limits{})
		if _, err := p.Refresh(t.Context()); err != nil {
			t.Errorf("Refresh() = %v with the old limits again", err)
		}
		f.wantCalls(2)
	})
}

func TestALimitBelowWhatWasUsedForbidsCallsAndLeavesTheToken(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.start(f.longConfig(), f.source)
		f.wantCurrent(p)
		for range 4 {
			time.Sleep(2 * time.Second) // the minimum interval
			if _, err := p.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		f.configure(p, 0, coordinator.Limits{PerDay: 3, Reserve: 1})
		var throttled *coordinator.ThrottledError
		if _, err := p.Refresh(t.Context()); !errors.As(err, &throttled) || throttled.Limit != coordinator.LimitBudget {
			t.Errorf("Refresh() = %v with 5 calls made and 3 allowed, want that the budget is used up", err)
		}
		f.wantCallsAfter(70*time.Minute, 5) // the schedule is bound, too
		f.wantCurrent(p)
	})
}

// A refresh that a limit forbade is not put off by that limit once there is another one.
func TestARefreshThatAnOldLimitForbadeIsMadeAtOnceUnderTheNewOne(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		cfg := f.longConfig()
		cfg.Limits = coordinator.Limits{PerDay: 2, Reserve: 1, Window: 10 * time.Hour}
		p := f.start(cfg, f.source)
		f.wantCurrent(p)
		f.wantCallsAfter(2*time.Hour+10*time.Second, 2)
		f.configure(p, 0, coordinator.Limits{PerDay: 10, Reserve: 1})
		f.wantCallsAfter(5*time.Second, 3)
	})
}

func TestARefreshThatWaitsForTheOldMinimumIntervalWaitsForTheNewOneOnly(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		cfg := f.config()
		cfg.Limits = coordinator.Limits{MinInterval: 10 * time.Minute}
		p := f.start(cfg, f.source)
		f.wantCurrent(p)
		if _, err := p.Refresh(t.Context()); err != nil { // the first that is demanded
			t.Fatal(err)
		}
		start, refreshed := time.Now(), make(chan error, 1)
		go func() {
			_, err := p.Refresh(t.Context())
			refreshed <- err
		}()
		time.Sleep(5 * time.Second)
		f.wantCalls(2)
		f.configure(p, 0, coordinator.Limits{MinInterval: time.Second})
		if err := <-refreshed; err != nil || time.Since(start) > 10*time.Second {
			t.Errorf("Refresh() = %v after %v, want a token as soon as the interval is short", err, time.Since(start))
		}
	})
}

func TestRefreshEveryThatIsConfiguredHoldsFromTheNextTokenOn(t *testing.T) {
	for name, every := range map[string]time.Duration{"shorter": 10 * time.Minute, "longer": 59 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				cfg := f.longConfig()
				cfg.RefreshEvery = 30 * time.Minute
				p := f.start(cfg, f.source)
				f.wantCurrent(p)
				f.configure(p, every, coordinator.Limits{})
				f.wantCallsAfter(30*time.Minute+5*time.Second, 2)
				f.wantCallsAfter(every-10*time.Second, 2)
				f.wantCallsAfter(20*time.Second, 3)
			})
		})
	}
}

func TestAWrongConfigurationLeavesTheAccountAsItWas(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.refresher()
		f.wantCurrent(p)
		other := &coordinatortest.Source{Name: "other"}
		for want, cfg := range map[string]coordinator.AccountConfig{
			"Name":          {Name: "another", Source: other},
			"Parent":        {Name: account, Parent: "another", Source: other},
			"RefreshEvery":  {Name: account, RefreshEvery: time.Millisecond, Source: other},
			"Limits.PerDay": {Name: account, Limits: coordinator.Limits{PerDay: -1}, Source: other},
		} {
			if err := p.Configure(cfg); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Configure(%+v) = %v, want an error that names %s", cfg, err, want)
			}
		}
		if _, err := p.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.wantCalls(2) // by the source before
	})
}
