package coordinator_test

import (
	"context"
	"fmt"
	"slices"
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
				// The first refreshes of so many are scattered over the hour, so those of
				// others may fall into the test. These come an hour after now.
				const rounds, changed = 3, 3
				forced := fleet[0].Accounts()[:rounds*changed]
				for _, a := range forced {
					if _, err := a.Refresh(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(20 * time.Second)
				fewest, atOnce := int64(accounts), 0
				for round := range rounds {
					before := links[1].read.Load()
					links[1].SetDown(true)
					time.Sleep(time.Duration(round) * time.Second)
					for _, a := range forced[round*changed:][:changed] {
						if _, err := a.Refresh(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
					links[1].SetDown(false)
					time.Sleep(2*links[1].delay + 10*time.Millisecond) // a reading, after one that was under way
					if !slices.ContainsFunc(forced, func(a *coordinator.Account) bool {
						b, _ := fleet[1].Account(a.Name())
						return b.Status().Record.Generation != a.Status().Record.Generation
					}) {
						atOnce++
					}
					fewest = min(fewest, links[1].read.Load()-before)
					time.Sleep(20 * time.Second)
				}
				// Once a minute some are read in their turn: in one of the rounds at most. One of
				// those that change may be among them, and its reading fail just before.
				if atOnce < rounds-1 {
					t.Errorf("what had changed was read at once after %d of %d reconnects", atOnce, rounds)
				}
				if fewest > int64(8+accounts/50) {
					t.Errorf("%d of %d accounts were read at once in each round, want the %d that have changed", fewest, accounts, changed)
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
