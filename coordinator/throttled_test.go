package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

// The first call learns of a limit by its own Begin. Those after it must not wait for the next
// one, which may be a minute away.
func TestNoCallWaitsForATokenThatALimitForbids(t *testing.T) {
	for limit, l := range map[coordinator.Limit]struct {
		limits coordinator.Limits
		ends   time.Duration
	}{
		coordinator.LimitBudget: {coordinator.Limits{PerDay: 1}, 16 * time.Hour}, // midnight in UTC+8
		coordinator.LimitWindow: {coordinator.Limits{PerDay: 1, Window: 12 * time.Hour}, 4 * time.Hour},
		coordinator.LimitLoop:   {coordinator.Limits{}, 10 * time.Hour},
	} {
		for _, runs := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, Run %v", limit, runs), func(t *testing.T) {
				bubble(t, func(t *testing.T, f *fleet) {
					began := time.Now()
					store := &failing{Store: f.store.Instance("p")}
					if limit == coordinator.LimitLoop {
						store.throttle = func() error {
							return &coordinator.ThrottledError{Limit: limit, RetryIn: time.Until(began.Add(l.ends)), Until: began.Add(l.ends)}
						}
					}
					store.mended.Store(true)
					f.source.Life = time.Hour
					cfg := f.longConfig()
					cfg.Store, cfg.Limits = store, l.limits
					p := f.configured(cfg, f.source)
					child, err := p.c.Add(coordinator.AccountConfig{
						Name: "child", Parent: account, Source: &coordinatortest.Source{Life: time.Hour}, Limits: coordinator.DefaultLimits(),
					})
					if err != nil {
						t.Fatal(err)
					}
					if runs {
						t.Cleanup(p.c.Start(t.Context()))
					}
					f.token(p, time.Second)
					time.Sleep(10 * time.Second) // the child's first token
					store.mended.Store(false)
					time.Sleep(2 * time.Hour)
					for range 20 {
						for _, a := range []*coordinator.Account{p.Account, child} {
							asked := time.Now()
							ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
							_, err := a.Token(ctx)
							cancel()
							var throttled *coordinator.ThrottledError
							if !errors.As(err, &throttled) || errors.Is(err, coordinator.ErrNoToken) || throttled.Limit != limit {
								t.Fatalf("Token() of %s = %v, want that it is throttled by the %s", a.Name(), err, limit)
							}
							if off := throttled.RetryIn - time.Until(began.Add(l.ends)); off.Abs() > time.Second {
								t.Errorf("Token() of %s = %v: that is off by %v", a.Name(), err, off)
							}
							var parent *coordinator.ParentError
							if errors.As(err, &parent) != (a == child) {
								t.Errorf("Token() of %s = %v", a.Name(), err)
							}
							if took := time.Since(asked); took > time.Second && (a == p.Account || runs) {
								t.Errorf("Token() of %s took %v", a.Name(), took)
							}
						}
						time.Sleep(7 * time.Second)
					}
					f.wantCalls(1)
					store.mended.Store(true)
					time.Sleep(time.Until(began.Add(l.ends)) + time.Minute)
					f.wantCurrent(p)
				})
			})
		}
	}
}

// A demand is throttled as well, and how that ended must not hide why there is no token.
func TestACallIsToldOfTheLimitAlsoAfterADemandWasThrottled(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		cfg := f.longConfig()
		cfg.Limits = coordinator.Limits{PerDay: 2, Reserve: 1}
		f.source.Life = time.Hour
		p := f.start(cfg, f.source)
		f.token(p, time.Second)
		var throttled *coordinator.ThrottledError
		if _, err := p.Refresh(t.Context()); !errors.As(err, &throttled) {
			t.Fatalf("Refresh() = %v, want a ThrottledError", err)
		}
		f.wantCallsAfter(time.Hour, 2)
		f.wantCurrent(p)
		time.Sleep(time.Hour)
		for range 3 {
			if _, err := p.Refresh(t.Context()); !errors.As(err, &throttled) {
				t.Fatalf("Refresh() = %v, want a ThrottledError", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := p.Token(ctx); !errors.As(err, &throttled) || errors.Is(err, coordinator.ErrNoToken) {
				t.Errorf("Token() = %v, want a ThrottledError at once", err)
			}
			cancel()
		}
	})
}

// What needs an operator does not pass while a call waits.
func TestNoCallWaitsForAStoreThatJustFailedInAnOddWay(t *testing.T) {
	for name, fails := range map[string]func(*failing){
		"to read": func(s *failing) { s.all = errOdd },
		"to lock": func(s *failing) { s.lock = errOdd },
	} {
		for _, runs := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, Run %v", name, runs), func(t *testing.T) {
				bubble(t, func(t *testing.T, f *fleet) {
					store := &failing{Store: f.store.Instance("p")}
					fails(store)
					p := f.configured(coordinator.Config{Store: store, Logger: f.config().Logger}, f.source)
					if runs {
						t.Cleanup(p.c.Start(t.Context()))
					}
					for range 20 {
						asked := time.Now()
						ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
						if _, err := p.Token(ctx); !errors.Is(err, errOdd) || errors.Is(err, coordinator.ErrNoToken) {
							t.Errorf("Token() = %v, want %v", err, errOdd)
						}
						cancel()
						if took := time.Since(asked); took > time.Second {
							t.Errorf("Token() took %v", took)
						}
						time.Sleep(1300 * time.Millisecond)
					}
					f.wantCurrent(f.refresher())
					store.mended.Store(true)
					if runs { // it is tried again after some seconds
						time.Sleep(10 * time.Second)
					}
					f.wantCurrent(p)
				})
			})
		}
	}
}
