package coordinator_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
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
