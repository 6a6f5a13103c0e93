package coordinator_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

func TestColdStartCallsTheSourceOnce(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var fleet []*process
		for range 5 {
			fleet = append(fleet, f.refresher())
		}
		fleet = append(fleet, f.reader())
		f.wantCurrent(fleet...)
		f.wantCalls(1)
	})
}

func TestManyWaitersShareOneCall(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var wg sync.WaitGroup
		for range 20 {
			p := f.refresher()
			for range 100 {
				wg.Go(func() { f.token(p, time.Second) })
			}
		}
		began := time.Now()
		wg.Wait()
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("the herd took %v, the source alone 50ms", took)
		}
		f.wantCalls(1)
	})
}

func TestTokenWorksWithoutRun(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		alone := f.idle(f.config(), f.source)
		f.wantCurrent(alone)
		f.wantCalls(1)
		reader := f.idle(f.config(), nil)
		f.wantCurrent(reader)
		f.wantCalls(1)
	})
}

func TestIdleReaderWaitsForARefresher(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		reader := f.idle(f.config(), nil)
		got := make(chan string)
		go func() { got <- f.token(reader, 10*time.Second) }()
		time.Sleep(3 * time.Second)
		f.refresher()
		if token := <-got; token != f.source.Current().Reveal() {
			t.Errorf("Token() = %q, want %q", token, f.source.Current().Reveal())
		}
		f.wantCalls(1)
	})
}

func TestReaderAloneGetsAClearErrorInTime(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		for _, p := range []*process{f.reader(), f.idle(f.config(), nil)} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, err := p.Token(ctx)
			cancel()
			if !errors.Is(err, coordinator.ErrNoToken) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Token() = %v, want ErrNoToken and DeadlineExceeded", err)
			}
		}
	})
}

// What a process without Run holds may have been replaced: to wait for the store in vain is to
// have no token.
func TestWithoutRunACallThatEndsSaysSo(t *testing.T) {
	for name, source := range map[string]bool{"refresher": true, "reader": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.token(f.refresher(), time.Second)
				p := f.idle(f.config(), nil)
				if source {
					p = f.idle(f.config(), f.source)
				}
				held := coordinator.NewToken(f.token(p, time.Second))
				p.link.SetLatency(100 * time.Second)
				for _, held := range []coordinator.Token{{}, held} {
					for call, ask := range map[string]func(context.Context) error{
						"Token":      func(ctx context.Context) error { _, err := p.Token(ctx); return err },
						"Current":    func(ctx context.Context) error { _, err := p.Current(ctx); return err },
						"Refresh":    func(ctx context.Context) error { _, err := p.Refresh(ctx); return err },
						"Invalidate": func(ctx context.Context) error { _, err := p.Invalidate(ctx, held); return err },
					} {
						for _, given := range []time.Duration{0, 100 * time.Millisecond, 3 * time.Second} {
							ctx, cancel := context.WithTimeout(t.Context(), given)
							err := ask(ctx)
							cancel()
							if !errors.Is(err, coordinator.ErrNoToken) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "without Run") {
								t.Errorf("%s(%v) = %v, want ErrNoToken, DeadlineExceeded, and that nothing runs", call, given, err)
							}
						}
					}
				}
				p.link.SetLatency(0)
				s, err := p.Current(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if _, err := p.Next(ctx, s.Generation); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, coordinator.ErrNoToken) {
					t.Errorf("Next() = %v, want the end of its context alone: there is a token", err)
				}
			})
		})
	}
}

func TestReaderThatFollowsIsCalmWithoutARefresher(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.refresher()
		f.token(p, time.Second)
		p.stop()
		for _, reader := range []*process{f.reader(), f.idle(f.config(), nil)} {
			ctx, cancel := context.WithTimeout(t.Context(), 70*time.Minute)
			before := reader.link.Calls(memstore.OpLoad)
			s, err := reader.Current(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := reader.Next(ctx, s.Generation); err == nil {
				t.Error("Next() = nil, want its context's end")
			}
			cancel()
			if n := reader.link.Calls(memstore.OpLoad) - before; n > 70*60 {
				t.Errorf("%d readings in 70 minutes", n)
			}
		}
	})
}

func TestAnyNumberOfWaitersReadTheStoreAsOne(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		reader := f.idle(f.config(), nil)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for range 100 {
			time.Sleep(10 * time.Millisecond)
			wg.Go(func() { _, _ = reader.Token(ctx) })
		}
		time.Sleep(time.Second)
		before := reader.link.Calls(memstore.OpLoad)
		wg.Wait()
		if n := reader.link.Calls(memstore.OpLoad) - before; n > 40 {
			t.Errorf("100 waiters read the store %d times in 18s, want as often as one", n)
		}
	})
}

// Those who come later wait behind the first one; it may have less patience.
func TestManyWaitersGetTheTokenAlsoWhenTheFirstGivesUp(t *testing.T) {
	for name, start := range map[string]func(*fleet) *process{
		"a refresher":               (*fleet).refresher,
		"a reader":                  (*fleet).reader,
		"a process that only links": func(f *fleet) *process { return f.idle(f.config(), f.source) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.source.Latency = 3 * time.Second
				p := start(f)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				var crowd sync.WaitGroup
				crowd.Go(func() {
					if _, err := p.Token(ctx); !errors.Is(err, coordinator.ErrNoToken) {
						t.Errorf("the first one's Token() = %v, want %v", err, coordinator.ErrNoToken)
					}
				})
				synctest.Wait()
				for range 10 {
					crowd.Go(func() {
						if _, err := p.Token(t.Context()); err != nil {
							t.Errorf("Token() = %v", err)
						}
					})
				}
				time.Sleep(2 * time.Second)
				if p.Role() == coordinator.Reader {
					f.refresher()
				}
				crowd.Wait()
				f.wantCalls(1)
			})
		})
	}
}

func TestManyWaitersHearOfARefusalAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Default(coordinatortest.FailsWith(coordinator.FailedRefused, "40125", "invalid appsecret"))
		p := f.refresher()
		var crowd sync.WaitGroup
		for range 10 {
			crowd.Go(func() {
				began := time.Now()
				_, err := p.Token(t.Context())
				var refused *coordinator.RefusedError
				if !errors.As(err, &refused) || time.Since(began) > time.Second {
					t.Errorf("Token() = %v after %v, want the refusal at once", err, time.Since(began))
				}
			})
		}
		crowd.Wait()
		f.wantCalls(1)
	})
}

func TestWatchEndsWithTheNewest(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p, reader := f.refresher(), f.reader()
		ctx, cancel := context.WithCancel(t.Context())
		records := reader.Watch(ctx)
		first := <-records
		for range 3 {
			time.Sleep(2 * time.Second)
			if _, err := p.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		last := <-records
		if !last.Token.Equal(f.source.Current()) || last.Generation <= first.Generation {
			t.Errorf("Watch() ends with generation %d, want the newest", last.Generation)
		}
		cancel()
		if _, open := <-records; open {
			t.Error("Watch() stays open after its context ended")
		}
	})
}

// A refusal ends a Token, and not a Watch.
func TestAWatchHearsTheTokenAfterARefusalAtOnce(t *testing.T) {
	for moment := range 10 {
		bubble(t, func(t *testing.T, f *fleet) {
			f.source.Default(coordinatortest.FailsWith(coordinator.FailedRefused, "40125", "invalid appsecret"))
			p := f.refresher()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			watches := map[string]<-chan coordinator.Snapshot{
				"a refresher":              p.Watch(ctx),
				"a reader":                 f.reader().Watch(ctx),
				"a refresher, without Run": f.idle(f.config(), f.source).Watch(ctx),
				"a reader, without Run":    f.idle(f.config(), nil).Watch(ctx),
			}
			time.Sleep(10*time.Second + time.Duration(moment)*300*time.Millisecond)
			if n := len(f.source.Calls()); n != 1 {
				t.Errorf("%d calls, want no more because of those who watch", n)
			}
			f.source.Default(coordinatortest.Outcome{})
			if _, err := p.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
			for who, records := range watches {
				select {
				case s := <-records:
					if !s.Token.Equal(f.source.Current()) {
						t.Errorf("%s got another token", who)
					}
				default:
					t.Errorf("%s has not heard of the token 10 ms after it was stored", who)
				}
			}
		})
	}
}

func TestAWatchAsksWhatFailsNowAndThen(t *testing.T) {
	for name, fails := range map[string]func(*fleet, *failing){
		"the store is away":           func(_ *fleet, s *failing) { s.all = coordinator.ErrUnreachable },
		"the store denies everything": func(_ *fleet, s *failing) { s.all = coordinator.ErrDenied },
		"the password is wrong": func(_ *fleet, s *failing) {
			s.all = fmt.Errorf("%w: %w", coordinator.ErrUnreachable, coordinator.ErrDenied)
		},
		"the store denies the lock":  func(_ *fleet, s *failing) { s.lock = coordinator.ErrDenied },
		"something is odd":           func(_ *fleet, s *failing) { s.lock = errOdd },
		"the store takes no refresh": func(_ *fleet, s *failing) { s.lock = coordinator.ErrUnreachable },
		"the calls of the day are out": func(_ *fleet, s *failing) {
			s.begin = &coordinator.ThrottledError{Limit: coordinator.LimitBudget, RetryIn: time.Hour}
		},
		"the issuer refuses": func(f *fleet, _ *failing) {
			f.source.Default(coordinatortest.FailsWith(coordinator.FailedRefused, "40125", "invalid appsecret"))
		},
		"the issuer fails": func(f *fleet, _ *failing) {
			f.source.Default(coordinatortest.FailsWith(coordinator.FailedBusy, "-1", "system error"))
		},
	} {
		for _, runs := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, Run %v", name, runs), func(t *testing.T) {
				bubble(t, func(t *testing.T, f *fleet) {
					store := &failing{Store: f.store.Instance("p")}
					fails(f, store)
					p := f.configured(coordinator.Config{Store: store}, f.source)
					if runs {
						t.Cleanup(p.c.Start(t.Context()))
					}
					ctx, cancel := context.WithCancel(t.Context())
					for range 3 {
						p.Watch(ctx)
					}
					time.Sleep(time.Minute)
					if n := store.asked.Load(); n < 2 || n > 200 {
						t.Errorf("the store was asked %d times in a minute", n)
					}
					cancel()
					synctest.Wait()
				})
			})
		}
	}
}

// lingering is a store whose subscriptions end an hour late, as those of a server that does
// not answer end a moment late.
type lingering struct{ coordinator.Store }

type lingeringSubscription struct{ coordinator.Subscription }

func (s lingering) Subscribe(w coordinator.Watcher) coordinator.Subscription {
	return lingeringSubscription{s.Store.Subscribe(w)}
}

func (s lingeringSubscription) Run(ctx context.Context) {
	s.Subscription.Run(ctx)
	time.Sleep(time.Hour)
}

func TestWithoutRunNoCallWaitsForTheEndOfASubscription(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		cfg := f.config()
		cfg.Store = lingering{f.store.Instance("reader")}
		reader := f.configured(cfg, nil)
		began := time.Now()
		for range 3 { // the next one begins another subscription while this one still ends
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if _, err := reader.Token(ctx); !errors.Is(err, coordinator.ErrNoToken) {
				t.Errorf("Token() = %v, want ErrNoToken", err)
			}
			cancel()
		}
		f.refresher()
		f.token(reader, time.Second)
		if took := time.Since(began); took > 17*time.Second {
			t.Errorf("three calls of 5s and one that succeeds took %v", took)
		}
		time.Sleep(2 * time.Hour) // the subscriptions end
	})
}

// failing is a store that fails, and counts how often it is asked.
type failing struct {
	coordinator.Store
	all, lock, begin error
	throttle         func() error // of each begin; nil: begin
	mended           atomic.Bool  // it fails no more
	asked            atomic.Int64
}

func (s *failing) fails(err error) error {
	if s.mended.Load() {
		return nil
	}
	return err
}

func (s *failing) Load(ctx context.Context, names ...string) ([]coordinator.State, error) {
	s.asked.Add(1)
	if err := s.fails(s.all); err != nil {
		return nil, err
	}
	return s.Store.Load(ctx, names...)
}

func (s *failing) Lock(ctx context.Context, name string, life time.Duration) (coordinator.Lock, error) {
	s.asked.Add(1)
	if err := s.fails(cmp.Or(s.all, s.lock)); err != nil {
		return nil, err
	}
	return s.Store.Lock(ctx, name, life)
}

func (s *failing) Begin(ctx context.Context, name string, b coordinator.BeginRequest) (coordinator.Attempt, error) {
	begin := s.begin
	if s.throttle != nil {
		begin = s.throttle()
	}
	if err := s.fails(begin); err != nil {
		return coordinator.Attempt{}, err
	}
	return s.Store.Begin(ctx, name, b)
}

// Who watches waits for a newer token, perhaps for an hour: not the same as those
// who want any.
func TestAWatchKeepsNoCallerFromTheTokenThereIs(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.wantCurrent(f.refresher())
		linked := f.idle(f.config(), nil)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		records := linked.Watch(ctx)
		<-records
		synctest.Wait()
		for range 5 {
			began := time.Now()
			if _, err := linked.Token(t.Context()); err != nil || time.Since(began) > 0 {
				t.Errorf("Token() = %v after %v, want the token at once", err, time.Since(began))
			}
		}
	})
}
