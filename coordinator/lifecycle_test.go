package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

func TestAccountsComeAndGoWhileRunning(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.refresher()
		other, err := p.c.Add(coordinator.AccountConfig{Name: "wxother", Source: &coordinatortest.Source{Name: "other"}})
		if err != nil {
			t.Fatal(err)
		}
		if token, err := other.Token(t.Context()); err != nil || token.Reveal() != "other-1" {
			t.Errorf("Token() = %q, %v", token.Reveal(), err)
		}
		if _, err := p.c.Add(coordinator.AccountConfig{Name: "wxother"}); err == nil {
			t.Error("adding an account twice is not an error")
		}
		if err := p.c.Remove("wxother"); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Token(t.Context()); !errors.Is(err, coordinator.ErrUnknownAccount) {
			t.Errorf("Token() of a removed account = %v, want ErrUnknownAccount", err)
		}
		if _, err := p.c.Token(t.Context(), "wxother"); !errors.Is(err, coordinator.ErrUnknownAccount) {
			t.Errorf("Coordinator.Token() of a removed account = %v, want ErrUnknownAccount", err)
		}
		if err := other.Configure(coordinator.AccountConfig{Name: "wxother"}); !errors.Is(err, coordinator.ErrUnknownAccount) {
			t.Errorf("Configure() of a removed account = %v, want ErrUnknownAccount", err)
		}
		if err := other.Consent(t.Context(), coordinator.Consent{}); !errors.Is(err, coordinator.ErrUnknownAccount) {
			t.Errorf("Consent() of a removed account = %v, want ErrUnknownAccount", err)
		}
	})
}

func TestSourceCanBeGivenLater(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.reader()
		got := make(chan string)
		go func() { got <- f.token(p, time.Minute) }()
		time.Sleep(5 * time.Second)
		f.configure(p, 0, coordinator.Limits{})
		if token := <-got; token != f.source.Current().Reveal() {
			t.Errorf("Token() = %q", token)
		}
	})
}

func TestStoppingFinishesTheCallUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Latency = 5 * time.Second
		p := f.refresher()
		time.Sleep(time.Second)
		p.stop()
		if state := f.store.Peek(account); !state.Record.Token.Equal(f.source.Current()) || len(state.Open) != 0 {
			t.Errorf("the store has %v, want the token whose call was under way", state.Record)
		}
		f.wantCalls(1)
	})
}

func TestCallerThatGoesAwayLeavesNothingUndone(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.idle(f.config(), f.source)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := p.Token(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Token() = %v, want DeadlineExceeded", err)
		}
		if err := p.c.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if state := f.store.Peek(account); !state.Record.Token.Equal(f.source.Current()) {
			t.Errorf("the store has %v, want the token that was issued", state.Record)
		}
	})
}

func TestTheStopTimeIsThatOfTheSlowestAccount(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		cfg := f.config()
		stopTime := func(want time.Duration, sources ...coordinator.Source) {
			t.Helper()
			p := f.idle(cfg, nil)
			for i, s := range sources {
				if _, err := p.c.Add(coordinator.AccountConfig{Name: fmt.Sprintf("wx%d", i), Source: s}); err != nil {
					t.Fatal(err)
				}
			}
			if got := p.c.StopTime(); got != want {
				t.Errorf("StopTime() = %v, want %v", got, want)
			}
		}
		grant := func(replay time.Duration) coordinator.Source {
			return &grantSource{issuer: newGrantIssuer(coordinator.GrantRules{Needed: true, Replay: replay})}
		}
		stopTime(15 * time.Second)
		stopTime(15*time.Second, f.source)
		cfg.Spool = gatedSpool{new(memSpool), new(gate)}
		stopTime(55*time.Second, grant(coordinator.ReplayNever), f.source)
		stopTime(55*time.Second, f.source, grant(time.Hour), grant(coordinator.ReplayFree))
		stopTime(35*time.Second, grant(time.Minute))
		stopTime(25*time.Second, grant(coordinator.ReplayFree))
		cfg.Spool, cfg.LockTTL, cfg.FetchTimeout = nil, 6*time.Second, time.Minute
		stopTime(65*time.Second, f.source)
		stopTime(135*time.Second, grant(coordinator.ReplayNever))
	})
}

// The wait of a caller ends with the caller's context, not with that of Run: here
// it waits for another account's call to end when Run is stopped.
func TestACallerThatWaitsWhenRunEndsGetsItsToken(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		cfg := f.config()
		cfg.MaxFetches = 1
		slow := &coordinatortest.Source{Latency: 5 * time.Second}
		cfg.Accounts = []coordinator.AccountConfig{{Name: "wxslow", Source: slow}}
		p := f.start(cfg, nil)
		time.Sleep(2 * time.Second)
		f.configure(p, 0, coordinator.Limits{})
		var waits sync.WaitGroup
		waits.Go(func() {
			if _, err := p.Token(t.Context()); err != nil {
				t.Errorf("Token() = %v", err)
			}
		})
		time.Sleep(time.Second)
		p.stop()
		waits.Wait()
		f.wantCalls(1)
	})
}

func TestTokensNeverShowThemselves(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var logs strings.Builder
		p := f.refresher()
		token := f.token(p, time.Second)
		s, err := p.Current(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			logs.WriteString(sprint(verb, s, p.Status(), struct{ inner any }{s}))
		}
		if strings.Contains(logs.String(), token) {
			t.Errorf("a token shows itself in %s", logs.String())
		}
	})
}
