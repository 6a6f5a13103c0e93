package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

func TestNoProcessCallsTheSourceWhileTheStoreIsAway(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.refresher()
		token := f.token(p, time.Second)
		f.store.SetDown(true)
		time.Sleep(100 * time.Minute)
		s, err := p.Current(t.Context())
		if err != nil || s.Token.Reveal() != token || !s.Stale {
			t.Errorf("Current() = %v stale=%v, %v; want the old token, stale", s.Record, s.Stale, err)
		}
		time.Sleep(20 * time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Token(ctx); !errors.Is(err, coordinator.ErrUnreachable) || !errors.Is(err, coordinator.ErrNoToken) {
			t.Errorf("Token() after its expiry = %v, want ErrNoToken and ErrUnreachable", err)
		}
		f.wantCalls(1)

		newcomer := f.idle(f.config(), f.source)
		if _, err := newcomer.Token(t.Context()); !errors.Is(err, coordinator.ErrUnreachable) {
			t.Errorf("newcomer's Token() = %v, want ErrUnreachable at once", err)
		}
		f.store.SetDown(false)
		time.Sleep(2 * time.Second)
		f.wantCurrent(p)
		f.wantCalls(2)
		if s, _ := p.Current(t.Context()); s.Stale {
			t.Error("stale although the store is back")
		}
	})
}

func TestStatusAndCurrentAgreeOnWhatIsStale(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		runs, idle := f.refresher(), f.idle(f.config(), f.source)
		agree := func(when string, stale bool) {
			t.Helper()
			for name, p := range map[string]*process{"runs": runs, "idle": idle} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				s, err := p.Current(ctx)
				cancel()
				if status := p.Status().Stale; err == nil && status != s.Stale || p == runs && (err != nil || status != stale) {
					t.Errorf("%s, %s: Status().Stale = %v, Current() = stale %v, %v; want %v", name, when, status, s.Stale, err, stale)
				}
			}
		}
		agree("at first", false)
		f.store.SetDown(true)
		time.Sleep(5 * time.Second)
		agree("while the store is away", true)
		f.store.SetDown(false)
		time.Sleep(5 * time.Second)
		agree("when it is back", false)
		runs.link.SetDown(true)
		time.Sleep(5 * time.Second)
		agree("while it is away for one", true)
		runs.link.SetDown(false)
		time.Sleep(5 * time.Second)
		agree("at last", false)
	})
}

func TestLostNotificationsAreMadeUpFor(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		fleet := []*process{f.refresher(), f.reader()}
		f.token(fleet[1], time.Second)
		f.store.DropNotifications(true)
		if _, err := fleet[0].Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2500 * time.Millisecond)
		f.wantCurrent(fleet...)
		if fleet[1].seen.count(coordinator.Missed) != 1 {
			t.Error("the missed notification was not counted")
		}
	})
}

// Where one notification was lost others may have been: whatever finds that out
// has all accounts read.
func TestOneLostNotificationHasAllAccountsRead(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		refresher, reader := f.refresher(), f.reader()
		const others = 40
		var accounts []*coordinator.Account
		for i := range others {
			name := fmt.Sprintf("wxother%d", i)
			if _, err := refresher.c.Add(coordinator.AccountConfig{Name: name, Source: &coordinatortest.Source{}}); err != nil {
				t.Fatal(err)
			}
			a, err := reader.c.Add(coordinator.AccountConfig{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			accounts = append(accounts, a)
		}
		time.Sleep(5 * time.Second)
		f.store.DropNotifications(true)
		for _, a := range accounts {
			own, _ := refresher.c.Account(a.Name())
			if _, err := own.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Second)
		for _, a := range accounts {
			own, _ := refresher.c.Account(a.Name())
			if got, want := a.Status().Record.Generation, own.Status().Record.Generation; got != want {
				t.Errorf("%s: the reader has generation %d, the refresher %d", a.Name(), got, want)
			}
		}
	})
}

func TestCommitWhoseAnswerIsLostIsNotRepeated(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.refresher()
		p.link.LoseAnswers(memstore.OpCommit, 1)
		f.wantCurrent(p)
		time.Sleep(time.Minute)
		f.wantCalls(1)
		if open := f.store.Peek(account).Open; len(open) != 0 {
			t.Errorf("%d attempts open, want none", len(open))
		}
	})
}

func TestTokenThatCannotBeStoredIsServedAndStoredLater(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p, q := f.refresher(), f.refresher()
		f.token(p, time.Second)
		time.Sleep(time.Minute)
		go func() { _, _ = p.Refresh(t.Context()) }()
		time.Sleep(25 * time.Millisecond)
		f.store.SetDown(true)
		time.Sleep(20 * time.Second)
		f.wantCurrent(p)
		f.store.SetDown(false)
		time.Sleep(5 * time.Second)
		f.wantCurrent(p, q)
	})
}

func TestStoreThatRefusesIsNotAskedWithoutPause(t *testing.T) {
	for name, lost := range map[string]bool{"begin": false, "restore": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				store := &oddStore{Store: f.store}
				store.odd.Store(!lost)
				cfg := f.config()
				cfg.Store, cfg.Accounts = store, []coordinator.AccountConfig{{Name: account, Source: f.source}}
				c, err := coordinator.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- c.Run(ctx) }()
				if lost {
					if _, err := c.Token(t.Context(), account); err != nil {
						t.Fatal(err)
					}
				}
				store.odd.Store(true)
				f.store.Flush()
				if !lost {
					if _, err := c.Token(t.Context(), account); !errors.Is(err, errOdd) {
						t.Errorf("Token() = %v, want %v", err, errOdd)
					}
				}
				time.Sleep(time.Minute)
				if n := store.refused.Load(); n < 2 || n > 150 {
					t.Errorf("asked %d times in a minute, want now and then", n)
				}
				store.odd.Store(false)
				time.Sleep(10 * time.Second)
				if _, err := c.Token(t.Context(), account); err != nil {
					t.Errorf("Token() = %v once it is mended", err)
				}
				f.wantCalls(1)
				cancel()
				if err := <-ended; err != nil {
					t.Errorf("Run() = %v", err)
				}
			})
		})
	}
}

// overloaded is a store that answers no command in time while it is on, and notifies all the same.
type overloaded struct {
	coordinator.Store
	on    atomic.Bool
	locks chan struct{} // gets one for each lock that is asked for while it is on
}

func (s *overloaded) Load(ctx context.Context, names ...string) ([]coordinator.State, error) {
	if s.on.Load() {
		return nil, coordinator.ErrUnreachable
	}
	return s.Store.Load(ctx, names...)
}

func (s *overloaded) Lock(ctx context.Context, name string, life time.Duration) (coordinator.Lock, error) {
	if s.on.Load() {
		s.locks <- struct{}{}
		<-ctx.Done()
		return nil, fmt.Errorf("%w: %w", coordinator.ErrUnreachable, ctx.Err())
	}
	return s.Store.Lock(ctx, name, life)
}

// A lock that is given up, because another process has done what it was for, is no answer.
func TestAnOverloadedStoreIsAwayUntilItAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		others := f.refresher()
		cfg := f.config()
		store := &overloaded{Store: f.store.Instance("p"), locks: make(chan struct{})}
		cfg.Store = store
		p := f.started(cfg, f.source)
		f.token(p, time.Second)
		time.Sleep(time.Second)
		store.on.Store(true)
		time.Sleep(5 * time.Second)
		for range 5 {
			var caller sync.WaitGroup
			caller.Go(func() {
				if _, err := p.Refresh(t.Context()); err != nil {
					t.Errorf("Refresh() = %v, want the token of the process that is served", err)
				}
			})
			select {
			case <-store.locks:
			case <-time.After(10 * time.Second):
				t.Fatal("the lock is not asked for")
			}
			if _, err := others.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			caller.Wait()
			synctest.Wait() // the lock is given up
			if err := p.c.StoreError(); !errors.Is(err, coordinator.ErrUnreachable) || !p.Status().Stale {
				t.Errorf("StoreError() = %v, Status().Stale = %v; want ErrUnreachable, true", err, p.Status().Stale)
			}
			time.Sleep(2 * time.Second)
		}
		store.on.Store(false)
		time.Sleep(5 * time.Second)
		if err := p.c.StoreError(); err != nil || p.Status().Stale {
			t.Errorf("StoreError() = %v, Status().Stale = %v once the store answers", err, p.Status().Stale)
		}
	})
}

func TestCallerThatGivesUpDoesNotMakeTheStoreUnreachable(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.store.SetLatency(100 * time.Millisecond)
		p := f.idle(f.config(), f.source)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := p.Refresh(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Refresh() = %v, want DeadlineExceeded", err)
		}
		if n := p.seen.count(coordinator.Unreachable); n != 0 {
			t.Error("the store was called unreachable because a caller gave up")
		}
	})
}

// A token that only this process has, and that the store can take again, must not wait until
// another process has begun in place of the one that seems to be dead.
func TestATokenIsStoredAsSoonAsNotificationsFlowAgain(t *testing.T) {
	for _, away := range []time.Duration{20 * time.Second, 20500 * time.Millisecond, 21 * time.Second, 21500 * time.Millisecond} {
		bubble(t, func(t *testing.T, f *fleet) {
			f.source.Latency = 2 * time.Second
			p := f.refresher()
			time.Sleep(time.Second)
			f.store.SetDown(true)
			time.Sleep(away)
			f.store.SetDown(false)
			for !p.c.Connected() {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(10 * time.Millisecond)
			if !f.store.Peek(account).Record.Usable() {
				t.Errorf("away for %v: the store does not have the token when notifications flow", away)
			}
		})
	}
}
