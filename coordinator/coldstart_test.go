package coordinator_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
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
				for i, c := range fleet {
					if n := links[i].read.Load(); n > accounts*21/20 {
						t.Errorf("process %d has read %d accounts, want each of %d once", i, n, accounts)
					}
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
