package coordinator_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

// lateStore is a store whose readings arrive late: what is committed after them is
// notified before.
type lateStore struct{ coordinator.Store }

func (s lateStore) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	states, err := s.Store.Load(ctx, accounts...)
	time.Sleep(rand.N(120 * time.Millisecond))
	return states, err
}

func TestAFleetThatStartsAtOnceRestoresOnlyWhatIsLost(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		const processes, accounts = 6, 40
		var fleet []*coordinator.Coordinator
		for i := range processes {
			cfg := f.config()
			cfg.Store = lateStore{f.store.Instance(fmt.Sprintf("p%d", i))}
			for n := range accounts {
				cfg.Accounts = append(cfg.Accounts, coordinator.AccountConfig{Name: fmt.Sprintf("wx%d", n), Source: f.source})
			}
			c, err := coordinator.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			fleet = append(fleet, c)
			t.Cleanup(c.Start(t.Context()))
		}
		check := func(when string, calls int, restored bool) {
			t.Helper()
			time.Sleep(10 * time.Second)
			f.wantCalls(calls)
			var all coordinator.Stats
			for _, c := range fleet {
				s := c.Stats()
				all.Restores, all.Missed = all.Restores+s.Restores, all.Missed+s.Missed
			}
			if all.Missed != 0 || restored != (all.Restores > 0) {
				t.Errorf("%s: %d records restored, %d notifications missed", when, all.Restores, all.Missed)
			}
		}
		check("at the start", accounts, false)
		for _, a := range fleet[0].Accounts() {
			go func() { _, _ = a.Refresh(t.Context()) }()
		}
		check("after refreshes", 2*accounts, false)
		f.store.Flush()
		check("after a loss", 2*accounts, true)
		for _, a := range fleet[0].Accounts() {
			if stored := f.store.Peek(a.Name()).Record.Generation; stored != a.Status().Record.Generation {
				t.Errorf("%s: the store has generation %d, want %d", a.Name(), stored, a.Status().Record.Generation)
			}
		}
	})
}

// A restore makes no call: it need not wait until one of MaxFetches ends.
func TestALostTokenIsPutBackWhileAllCallsHang(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		cfg := f.config()
		cfg.MaxFetches = 1
		p := f.start(cfg, f.source)
		token := f.token(p, time.Second)
		hanging := &coordinatortest.Source{}
		hanging.Default(coordinatortest.Hangs())
		for n := range 3 {
			if _, err := p.c.Add(coordinator.AccountConfig{Name: fmt.Sprintf("wx%d", n), Source: hanging}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second)
		for range 10 {
			f.store.Flush()
			time.Sleep(1500 * time.Millisecond)
			if got := f.store.Peek(account).Record; got.Token.Reveal() != token {
				t.Errorf("the store has generation %d, want the lost token back", got.Generation)
			}
		}
		f.wantCalls(1)
		if n := hanging.Busiest(); n != 1 {
			t.Errorf("%d calls at once, want 1", n)
		}
	})
}

// What the master has notified of last is what a failover loses. The other accounts prove
// that nothing older was lost, and no reading of the changes has shown the last one.
func TestWhatWasHeardOfLastIsRestoredAtOnceAfterAFailover(t *testing.T) {
	for name, reconnects := range map[string]bool{"the subscription breaks": true, "the subscription stands": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.source.Latency = time.Millisecond
				p := f.refresher()
				f.addMany(4, p)
				f.wantCurrent(p)
				for round := range 8 {
					time.Sleep(65*time.Second + time.Duration(round)*57*time.Millisecond)
					failover := f.store.Snapshot()
					s, err := p.Refresh(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					if reconnects {
						f.store.SetDown(true)
						time.Sleep(3 * time.Second) // readings that fail
					}
					failover()
					f.store.SetDown(false)
					time.Sleep(time.Second)
					if stored := f.store.Peek(account).Record.Generation; stored != s.Generation {
						t.Errorf("round %d: the store has generation %d a second after the failover, want %d", round, stored, s.Generation)
					}
					if calls := len(f.source.Calls()); calls != round+2 {
						t.Fatalf("round %d: %d calls", round, calls)
					}
				}
			})
		})
	}
}

// An attempt that was begun since the loss may have brought a newer token: Restore refuses
// the one that is held, and without another refresh the store would have none for an hour.
func TestATokenThatCannotBeRestoredIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.refresher()
		f.wantCurrent(p)
		time.Sleep(time.Minute)
		p.link.SetDown(true)
		f.store.Flush()
		f.source.Next(coordinatortest.FailsWith(coordinator.FailedBusy, "-1", "busy"))
		q := f.refresher()
		time.Sleep(f.source.Latency + 10*time.Millisecond)
		q.stop()
		if s := f.store.Peek(account); s.Fence <= p.Status().Record.Generation || len(s.Open) != 0 || s.Record.Usable() {
			t.Fatalf("fence %d, generation %d, %d attempts are open", s.Fence, s.Record.Generation, len(s.Open))
		}
		p.link.SetDown(false)
		time.Sleep(3 * time.Second)
		if s := f.store.Peek(account); !s.Record.Usable() {
			t.Error("the store has no token")
		}
		f.wantCallsAfter(10*time.Minute, 3)
		f.wantCurrent(p)
	})
}

// The store keeps the begin and loses the commit: then the token says how the attempt ended.
func TestATokenThatIsRestoredSettlesItsAttempt(t *testing.T) {
	for name, reconnects := range map[string]bool{"the subscription breaks": true, "the subscription stands": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				p := f.refresher()
				others := []*process{f.refresher(), f.reader()}
				f.addMany(4, p)
				f.wantCurrent(p)
				for round := range 8 {
					time.Sleep(65*time.Second + time.Duration(round)*57*time.Millisecond)
					failover := make(chan func(), 1)
					time.AfterFunc(f.source.Latency/2, func() { failover <- f.store.Snapshot() })
					s, err := p.Refresh(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Duration(round) * 150 * time.Millisecond) // it may have been read before it is lost
					if reconnects {
						f.store.SetDown(true)
						time.Sleep(time.Second)
					}
					(<-failover)()
					f.store.SetDown(false)
					time.Sleep(10 * time.Second)
					stored := f.store.Peek(account)
					if calls := len(f.source.Calls()); calls != round+2 || stored.Record.Generation != s.Generation || len(stored.Open) != 0 {
						t.Fatalf("round %d: generation %d, %d open attempts, %d calls; want %d, none, %d",
							round, stored.Record.Generation, len(stored.Open), calls, s.Generation, round+2)
					}
					f.wantCurrent(append(others, p)...)
				}
			})
		})
	}
}

// lockedStore counts the locks that are asked for.
type lockedStore struct {
	coordinator.Store
	asked atomic.Int64
}

func (s *lockedStore) Lock(ctx context.Context, name string, life time.Duration) (coordinator.Lock, error) {
	if s.asked.Add(1) > 1000 {
		panic("a lock is asked for without pause")
	}
	return s.Store.Lock(ctx, name, life)
}

func TestALostRecordThatEndsBeforeItIsRestoredIsWithdrawnAndReplaced(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		cfg, store := f.config(), &lockedStore{Store: f.store.Instance("p")}
		cfg.Store = store
		p := f.own(cfg)
		before := f.token(p, time.Second)
		f.source.Default(coordinatortest.FailsWith(coordinator.FailedBusy, "", "not now"))
		time.Sleep(p.Status().Record.TTL - 4*time.Second)
		f.source.Default(coordinatortest.Outcome{})
		f.store.Flush()
		if _, err := f.store.Instance("other").Lock(t.Context(), account, 6*time.Second); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := p.Token(ctx); err == nil {
			t.Error("a token is served that has ended")
		}
		store.asked.Store(0)
		if f.token(p, 5*time.Second) == before {
			t.Error("the token that has ended is served")
		}
		if n := store.asked.Load(); n > 5 {
			t.Errorf("the lock was asked for %d times", n)
		}
	})
}
