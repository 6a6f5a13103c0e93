package coordinator_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

// hangingSource answers no more once it hangs.
type hangingSource struct {
	*coordinatortest.Source
	hangs, waiting atomic.Bool
}

func (s *hangingSource) Fetch(ctx context.Context, ask coordinator.FetchRequest) (coordinator.FetchResult, error) {
	if s.hangs.Load() {
		s.waiting.Store(true)
		defer s.waiting.Store(false)
		<-ctx.Done()
		return coordinator.FetchResult{}, ctx.Err()
	}
	return s.Source.Fetch(ctx, ask)
}

// hangingStore is read no more once it hangs.
type hangingStore struct {
	coordinator.Store
	hangs, waiting atomic.Bool
}

func (s *hangingStore) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	if s.hangs.Load() {
		s.waiting.Store(true)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.Store.Load(ctx, accounts...)
}

// sleepUntilBefore waits until the token that is served has so much left.
func sleepUntilBefore(t *testing.T, a *coordinator.Account, left time.Duration) {
	t.Helper()
	synctest.Wait()
	s, ok := a.Peek()
	if !ok {
		t.Fatal("no token is served")
	}
	time.Sleep(s.TTL - left)
	synctest.Wait()
	if _, ok := a.Peek(); !ok {
		t.Fatalf("no token is served any more %v before its end", left)
	}
}

// wantWithdrawn waits until the token that is served has ended, and checks that it is not
// served any more.
func wantWithdrawn(t *testing.T, a *coordinator.Account) {
	t.Helper()
	sleepUntilBefore(t, a, time.Second)
	time.Sleep(time.Second + time.Millisecond)
	synctest.Wait()
	if s, ok := a.Peek(); ok {
		t.Errorf("the token is served %v after its end", -s.TTL)
	}
}

// slowly is a configuration in which calls to the source may take a minute.
func (f *fleet) slowly() coordinator.Config {
	cfg := f.config()
	cfg.FetchTimeout, cfg.LockTTL = time.Minute, 10*time.Second
	return cfg
}

func TestATokenIsWithdrawnInTheMiddleOfARefresh(t *testing.T) {
	for before := 2 * time.Second; before < 58*time.Second; before += 4700 * time.Millisecond {
		t.Run(fmt.Sprint(before), func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.source.Life, f.source.RefreshIn = 10*time.Minute, 9*time.Minute+29*time.Second
				source := &hangingSource{Source: f.source}
				p := f.start(f.slowly(), source)
				f.token(p, time.Second)
				sleepUntilBefore(t, p.Account, before)
				source.hangs.Store(true)
				go func() { _, _ = p.Refresh(t.Context()) }()
				wantWithdrawn(t, p.Account)
				if !source.waiting.Load() {
					t.Error("no call is under way")
				}
			})
		})
	}
}

func TestATokenIsWithdrawnWhileItsAccountWaitsForASlot(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		cfg := f.slowly()
		cfg.MaxFetches = 1
		f.source.Life, f.source.RefreshIn = 10*time.Minute, 9*time.Minute+10*time.Second
		p := f.start(cfg, f.source)
		f.token(p, time.Second)
		source := &hangingSource{Source: &coordinatortest.Source{Name: "other"}}
		other, err := p.c.Add(coordinator.AccountConfig{Name: "other", Source: source})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		source.hangs.Store(true)
		sleepUntilBefore(t, p.Account, 25*time.Second)
		go func() { _, _ = other.Refresh(t.Context()) }()
		wantWithdrawn(t, p.Account)
		if f.wantCalls(1); !source.waiting.Load() {
			t.Error("the slot is not taken")
		}
	})
}

func TestATokenIsWithdrawnWhileTheStoreLeavesAReadingUnanswered(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.token(f.idle(f.config(), f.source), time.Second)
		store := &hangingStore{Store: f.store.Instance("reader")}
		cfg := f.config()
		cfg.Store = store
		p := f.configured(cfg, nil)
		t.Cleanup(p.c.Start(t.Context()))
		f.token(p, time.Second)
		sleepUntilBefore(t, p.Account, 90*time.Second)
		store.hangs.Store(true)
		wantWithdrawn(t, p.Account)
		if !store.waiting.Load() {
			t.Error("nothing is read")
		}
	})
}

func TestATokenIsWithdrawnBetweenTwoTriesToReachTheStore(t *testing.T) {
	for before := 3 * time.Second; before < 30*time.Second; before += 3100 * time.Millisecond {
		t.Run(fmt.Sprint(before), func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.token(f.idle(f.config(), f.source), time.Second)
				p := f.reader()
				f.token(p, time.Second)
				sleepUntilBefore(t, p.Account, before)
				f.store.SetDown(true)
				wantWithdrawn(t, p.Account)
			})
		})
	}
}
