package coordinator_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// slowReads is a store under so much load that what is read arrives late, and later in one
// process than in another: most is notified before.
type slowReads struct {
	counting
	delay time.Duration
}

func (s *slowReads) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	states, err := s.counting.Load(ctx, accounts...)
	time.Sleep(s.delay)
	return states, err
}

// coldFleet starts processes with the same accounts at once.
func (f *fleet) coldFleet(processes, accounts int) (fleet []*coordinator.Coordinator, links []*slowReads) {
	f.t.Helper()
	for i := range processes {
		link := &slowReads{counting: counting{Instance: f.store.Instance(fmt.Sprintf("p%d", i))}, delay: time.Duration(i) * 150 * time.Millisecond}
		cfg := f.config()
		cfg.Store, cfg.Logger = link, nil
		for n := range accounts {
			cfg.Accounts = append(cfg.Accounts, coordinator.AccountConfig{Name: fmt.Sprintf("wx%d", n), Source: f.source})
		}
		c, err := coordinator.New(cfg)
		if err != nil {
			f.t.Fatal(err)
		}
		fleet, links = append(fleet, c), append(links, link)
		f.t.Cleanup(c.Start(f.t.Context()))
	}
	return fleet, links
}

// readings returns how many accounts were read by all of them.
func readings(links []*slowReads) (n int64) {
	for _, link := range links {
		n += link.read.Load()
	}
	return n
}

// A fleet that starts on an empty store must not make more work for it than there is: each
// process reads each account once.
func TestAColdFleetReadsEachAccountOnce(t *testing.T) {
	for name, latency := range map[string]time.Duration{
		"a fast source": 50 * time.Millisecond,
		"a slow source": 1500 * time.Millisecond, // longer than two readings of the changes
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				const processes, accounts = 8, 300
				f.source.Latency = latency
				fleet, links := f.coldFleet(processes, accounts)
				time.Sleep(8 * time.Second) // what was begun would be overdue by now
				f.wantCalls(accounts)
				if n, want := readings(links), int64(processes*accounts); n < want || n > want*11/10 {
					t.Errorf("%d readings, want one of each account by each process: %d", n, want)
				}
				for i, c := range fleet {
					if s := c.Stats(); s.Restores != 0 || s.Missed != 0 {
						t.Errorf("process %d has restored %d records and missed %d notifications", i, s.Restores, s.Missed)
					}
					for _, a := range c.Accounts() {
						if _, ok := a.Peek(); !ok {
							t.Fatalf("process %d has no token of %s", i, a.Name())
						}
					}
				}
			})
		})
	}
}

// After a reconnect a process reads what has changed meanwhile, and that at once, however
// many accounts it has.
func TestAfterAReconnectOnlyWhatHasChangedIsReadAtOnce(t *testing.T) {
	for _, accounts := range []int{20, 300, 1500} {
		t.Run(fmt.Sprint(accounts, " accounts"), func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				fleet, links := f.coldFleet(2, accounts)
				time.Sleep(3 * time.Minute)
				for round := range 3 {
					before := links[1].read.Load()
					links[1].SetDown(true)
					time.Sleep(time.Duration(round) * time.Second)
					for n := range 3 {
						a, _ := fleet[0].Account(fmt.Sprintf("wx%d", 5*round+n))
						if _, err := a.Refresh(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
					links[1].SetDown(false)
					time.Sleep(links[1].delay + 10*time.Millisecond) // one reading, and no period of anything
					for _, a := range fleet[0].Accounts() {
						b, _ := fleet[1].Account(a.Name())
						if got, want := b.Status().Record.Generation, a.Status().Record.Generation; got != want {
							t.Errorf("generation %d of %s, want %d", got, a.Name(), want)
						}
					}
					if n := links[1].read.Load() - before; n > int64(8+accounts/50) { // some are read in their turn
						t.Errorf("%d of %d accounts were read at once, want the 3 that have changed", n, accounts)
					}
					time.Sleep(20 * time.Second)
				}
			})
		})
	}
}

// hangingChanges is a store whose changes are asked of a server that answers no more.
type hangingChanges struct {
	*memstore.Instance
	hangs atomic.Bool
}

func (s *hangingChanges) Changes(ctx context.Context, since coordinator.Cursor) (coordinator.Changes, error) {
	if s.hangs.Load() {
		<-ctx.Done()
		return coordinator.Changes{}, ctx.Err()
	}
	return s.Instance.Changes(ctx, since)
}

func TestAReconnectDoesNotWaitForAServerThatIsGone(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		refresher := f.refresher()
		store := &hangingChanges{Instance: f.store.Instance("follower")}
		cfg := f.config()
		cfg.Store = store
		follower := f.configured(cfg, nil)
		defer follower.c.Start(t.Context())()
		f.wantCurrent(refresher, follower)
		time.Sleep(3 * time.Minute)
		store.hangs.Store(true)
		time.Sleep(2 * time.Second)
		store.SetDown(true)
		if _, err := refresher.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		store.hangs.Store(false)
		store.SetDown(false)
		time.Sleep(10 * time.Millisecond)
		f.wantCurrent(follower)
	})
}
