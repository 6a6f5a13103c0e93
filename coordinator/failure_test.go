package coordinator_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

func TestRefusalIsToldToEveryoneAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Accept("right")
		wrong := f.start(f.config(), f.source.WithCredential("wrong"))
		reader := f.reader()
		for _, p := range []*process{wrong, reader, f.idle(f.config(), f.source.WithCredential("wrong")), f.idle(f.config(), nil)} {
			began := time.Now()
			_, err := p.Token(t.Context())
			var refused *coordinator.RefusedError
			if !errors.As(err, &refused) || refused.Code != "40125" {
				t.Errorf("Token() = %v, want a RefusedError with code 40125", err)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("it took %v to say so", took)
			}
		}
		f.wantCalls(1)
		f.wantCurrent(f.idle(f.config(), f.source.WithCredential("right")))
		f.wantCurrent(wrong, reader)
	})
}

// An operator corrects the secret of one process after the other. The old one's call may be
// under way while the first caller waits at a process that has the new one.
func TestARefusalOfAnotherCredentialEndsNoCall(t *testing.T) {
	for name, ask := range map[string]func(context.Context, *process) error{
		"Token":   func(ctx context.Context, p *process) error { _, err := p.Token(ctx); return err },
		"Refresh": func(ctx context.Context, p *process) error { _, err := p.Refresh(ctx); return err },
	} {
		for _, runs := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, Run %v", name, runs), func(t *testing.T) {
				bubble(t, func(t *testing.T, f *fleet) {
					f.source.Accept("right")
					f.source.Latency = time.Second
					wrong := f.start(f.config(), f.source.WithCredential("wrong"))
					time.Sleep(500 * time.Millisecond)
					f.wantCalls(1)
					right := f.idle(f.config(), f.source.WithCredential("right"))
					if runs {
						t.Cleanup(right.c.Start(t.Context()))
					}
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					if err := ask(ctx, right); err != nil {
						t.Errorf("%s() = %v, want a token", name, err)
					}
					f.wantCurrent(right, wrong)
					f.wantCalls(2)
				})
			})
		}
	}
}

// All processes may call again at the same moment, and the one that is nearest to the store
// gets the lock. If it is the one that has no way to the issuer, the others must get their
// turn.
func TestAProcessWhoseCallFailedLetsTheOthersTryFirst(t *testing.T) {
	for name, c := range map[string]struct {
		broken int
		within time.Duration
	}{
		"one":         {1, 10 * time.Second},
		"two of them": {2, time.Hour}, // it is chance whose turn is next
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				noWayOut := coordinatortest.Source{Latency: 10 * time.Millisecond}
				noWayOut.Default(coordinatortest.FailsWith(coordinator.FailedBusy, "", "connection refused"))
				for range c.broken {
					f.start(f.config(), &noWayOut)
				}
				time.Sleep(100 * time.Millisecond) // the first call has failed
				far := f.idle(f.config(), f.source)
				far.link.SetLatency(5 * time.Millisecond)
				t.Cleanup(far.c.Start(t.Context()))
				f.token(far, c.within)
			})
		})
	}
}

// It does not stand back for longer than the others need.
func TestALoneProcessTriesAgainSoonAfterTheBackOff(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Next(coordinatortest.FailsWith(coordinator.FailedBusy, "-1", "system error"))
		p := f.refresher()
		f.token(p, 2*time.Second)
		calls := f.source.Calls()
		if waited := calls[1].At.Sub(calls[0].End); waited > 1250*time.Millisecond {
			t.Errorf("the second call came %v after the first had failed, want a second or less, and a little", waited)
		}
	})
}

// t.Fatal in a SourceFunc does that.
func TestASourceThatEndsItsGoroutineDoesNotEndTheAccount(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		first := true
		p := f.start(f.config(), coordinator.SourceFunc(func(ctx context.Context, ask coordinator.FetchRequest) (coordinator.FetchResult, error) {
			if first {
				first = false
				runtime.Goexit()
			}
			return f.source.Fetch(ctx, ask)
		}))
		f.token(p, 10*time.Second)
	})
}

// What lies beyond the token's end is no plan, by however little.
func TestATokenIsNotLeftToItsEndBecauseTheSourceAsksForMore(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Describes.Repeat, f.source.Life, f.source.RefreshIn = coordinator.RepeatKeeps, time.Hour, time.Hour+10*time.Second
		f.token(f.refresher(), time.Second)
		f.wantCallsAfter(31*time.Minute, 2)
	})
}

func TestACallIsObservedOnlyWhereOneWasMade(t *testing.T) {
	sent := &coordinator.FetchError{Kind: coordinator.FailedBusy, Message: "system error", Calls: 1}
	unsent := &coordinator.FetchError{Kind: coordinator.FailedBusy, Message: "connection refused"}
	for name, c := range map[string]struct {
		outcome          coordinatortest.Outcome
		grant            coordinator.GrantRules
		within           time.Duration // 0: before the first back-off ends
		fetched, without int
	}{
		"a token":             {fetched: 1},
		"a failure":           {outcome: coordinatortest.Fails(sent), fetched: 1},
		"nothing was sent":    {outcome: coordinatortest.Fails(unsent), without: 1},
		"nothing to be shown": {grant: coordinator.GrantRules{Needed: true}, within: coordinator.GrantSettle + 10*time.Second, without: 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.source.Default(c.outcome)
				f.source.Describes.Grant = c.grant
				p := f.refresher()
				time.Sleep(cmp.Or(c.within, 400*time.Millisecond))
				if fetched, without := p.seen.count(coordinator.Fetched), p.seen.count(coordinator.NotCalled); fetched != c.fetched || without != c.without {
					t.Errorf("%d calls and %d refreshes without are observed, want %d and %d", fetched, without, c.fetched, c.without)
				}
			})
		})
	}
}

// A quota is over by itself, a refusal is not: the callers must be able to tell.
func TestAQuotaOfTheIssuerIsNoRefusal(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Default(coordinatortest.Fails(&coordinator.FetchError{
			Kind: coordinator.FailedLater, Code: "45009", Message: "reach max api daily quota limit", RetryIn: 7 * time.Hour, Calls: 1,
		}))
		for i, p := range []*process{f.refresher(), f.reader(), f.idle(f.config(), f.source), f.idle(f.config(), nil)} {
			began := time.Now()
			_, err := p.Token(t.Context())
			var quota *coordinator.QuotaError
			if !errors.As(err, &quota) || quota.Code != "45009" || (quota.RetryIn-7*time.Hour).Abs() > 10*time.Second {
				t.Errorf("%d: Token() = %v, want a QuotaError for 7h", i, err)
			}
			var refused *coordinator.RefusedError
			if errors.As(err, &refused) {
				t.Errorf("%d: Token() = %v, which says that the issuer refuses the account", i, err)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("%d: it took %v to say so", i, took)
			}
		}
		f.wantCalls(1)
		f.source.Default(coordinatortest.Outcome{})
		time.Sleep(7*time.Hour + time.Minute)
		f.wantCurrent(f.reader(), f.refresher())
	})
}

func TestFailingSourceLeavesTheTokenInUse(t *testing.T) {
	outcomes := map[string]coordinatortest.Outcome{
		"busy":     coordinatortest.FailsWith(coordinator.FailedBusy, "-1", "system error"),
		"unknown":  coordinatortest.FailsWith(coordinator.FailedUnknown, "", "timeout"),
		"negative": coordinatortest.Answers(coordinator.FetchResult{Token: coordinator.NewToken("x"), Lifetime: -1}),
		"plain":    coordinatortest.Fails(errors.New("went wrong")),
		"hangs":    coordinatortest.Hangs(),
	}
	for name, outcome := range outcomes {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				fleet := []*process{f.start(f.longConfig(), f.source), f.start(f.longConfig(), f.source), f.start(f.longConfig(), nil)}
				token := f.token(fleet[2], time.Second)
				f.source.Default(outcome)
				for range 58 {
					time.Sleep(time.Minute)
				}
				if _, err := fleet[0].Refresh(t.Context()); err == nil {
					t.Error("Refresh() = nil, want the source's error")
				}
				for _, p := range fleet {
					if got := f.token(p, time.Millisecond); got != token {
						t.Errorf("Token() = %q, want the old one", got)
					}
				}
				time.Sleep(time.Hour)
				if n := len(f.source.Calls()); n > 30 {
					t.Errorf("%d calls within an hour of failures, want a few", n)
				}
				f.source.Default(coordinatortest.Outcome{})
				time.Sleep(time.Hour)
				f.wantCurrent(fleet...)
			})
		})
	}
}

func TestAttributesBeyondTheLimitAreNamed(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Attributes = map[string]string{"scope": strings.Repeat("a", coordinator.MaxAttributes)}
		p := f.refresher()
		time.Sleep(time.Second)
		failure := p.Status().Failure
		if failure == nil || failure.Kind != coordinator.FailedUnknown || !strings.Contains(failure.Message, "attributes") ||
			!strings.Contains(failure.Message, "4101 bytes") {
			t.Errorf("Failure = %+v, want it to name the attributes and their size", failure)
		}
	})
}

func TestBackoffHeardOfAtTheBeginIsLikeAnyOther(t *testing.T) {
	for kind, wait := range map[coordinator.FailureKind]bool{coordinator.FailedBusy: true, coordinator.FailedRefused: false} {
		t.Run(string(kind), func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.source.Latency = 0
				f.source.Next(coordinatortest.FailsWith(kind, "40013", "no"))
				p, q := f.idle(f.config(), f.source), f.idle(f.config(), f.source)
				q.link.SetLatency(20 * time.Millisecond)
				go func() { // fails between q's look and q's begin
					time.Sleep(20 * time.Millisecond)
					_, _ = p.Token(t.Context())
				}()
				_, err := q.Token(t.Context())
				var refused *coordinator.RefusedError
				if wait && err != nil || !wait && !errors.As(err, &refused) {
					t.Errorf("Token() = %v; want a token once a short back-off is over, a refusal at once", err)
				}
				time.Sleep(time.Second)
			})
		})
	}
}

// A source that forgets to say what happened has not said that no token was issued, nor that
// nothing was sent.
func TestAFailureThatDoesNotSayWhatHappenedMayHaveIssuedAToken(t *testing.T) {
	for name, c := range map[string]struct {
		failure coordinator.FetchError
		counted int // calls, the one for the overdue attempt included
	}{
		"no kind":                      {coordinator.FetchError{}, 3},
		"no kind, after several calls": {coordinator.FetchError{Calls: 3}, 5},
		"another word":                 {coordinator.FetchError{Kind: "timeout"}, 3},
		"unknown, and no calls":        {coordinator.FetchError{Kind: coordinator.FailedUnknown}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				p := f.start(f.longConfig(), f.source)
				f.token(p, time.Second)
				time.Sleep(time.Minute)
				c.failure.Message, c.failure.Err = "no answer", errors.New("no answer")
				f.source.Next(coordinatortest.Fails(&c.failure))
				if _, err := p.Refresh(t.Context()); err == nil {
					t.Fatal("Refresh() = nil, want the source's error")
				}
				if s := p.Status(); s.Failure == nil || s.Failure.Kind != coordinator.FailedUnknown || s.OpenAttempts == 0 {
					t.Errorf("the failure is %+v with %d attempts open, want %q and some", s.Failure, s.OpenAttempts, coordinator.FailedUnknown)
				}
				time.Sleep(time.Minute)
				f.wantCalls(3)
				if n := p.Status().CallsToday; n != c.counted {
					t.Errorf("%d calls are counted, want %d", n, c.counted)
				}
			})
		})
	}
}

func TestWhoIsToldOfAFailureMayChangeIt(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		edit := func(told *coordinator.Failure) {
			if told != nil {
				*told = coordinator.Failure{Kind: coordinator.FailedRefused, Message: "edited", InARow: 7, RetryAt: time.Now().Add(time.Hour)}
			}
		}
		cfg := f.config()
		cfg.Observe = func(o coordinator.Observation) {
			edit(o.Failure)
			if o.Event != nil {
				edit(o.Event.Failure)
			}
		}
		f.source.Next(coordinatortest.FailsWith(coordinator.FailedLater, "45009", "quota"))
		cfg.Store = f.store.Instance("refresher")
		refresher := f.started(cfg, f.source)
		cfg.Store = f.store.Instance("reader")
		reader := f.started(cfg, nil)
		time.Sleep(time.Second)
		for name, p := range map[string]*process{"refresher": refresher, "reader": reader} {
			for range 2 {
				failure := p.Status().Failure
				if failure == nil || failure.Message != "quota" || failure.InARow != 1 {
					t.Errorf("%s: the failure is %+v, want the one that the source told", name, failure)
				}
				edit(failure)
			}
		}
	})
}
