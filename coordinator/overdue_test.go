package coordinator_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// overtaken is the store of a starved process: what others do while its reading of the late
// attempt is on the way, it hears of before the reading arrives.
type overtaken struct {
	*memstore.Instance
	late      chan coordinator.Attempt // it is received when it is read as overdue
	meanwhile func(late coordinator.Attempt, read coordinator.State) error
	begins    atomic.Int64 // for an overdue attempt
}

func (s *overtaken) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	states, err := s.Instance.Load(ctx, accounts...)
	if err != nil || states[0].Overdue() == 0 {
		return states, err
	}
	select {
	case late := <-s.late:
		err = s.meanwhile(late, states[0])
		time.Sleep(100 * time.Millisecond)
	default:
	}
	return states, err
}

func (s *overtaken) Begin(ctx context.Context, name string, b coordinator.BeginRequest) (coordinator.Attempt, error) {
	if b.Reason == coordinator.ReasonOverdue {
		s.begins.Add(1)
	}
	return s.Instance.Begin(ctx, name, b)
}

// An attempt that was overdue may be settled by the time the lock is got. Each call kills the
// token before, so none is made for it then.
func TestNoCallIsMadeForAnOverdueAttemptThatIsSettledMeanwhile(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(f *fleet, other *memstore.Instance, late coordinator.Attempt, s coordinator.State) error
		calls     int
	}{
		"it is not settled": {func(*fleet, *memstore.Instance, coordinator.Attempt, coordinator.State) error { return nil }, 2},
		"by the token of another attempt": {func(f *fleet, other *memstore.Instance, _ coordinator.Attempt, s coordinator.State) error {
			next, err := other.Begin(f.t.Context(), account, coordinator.BeginRequest{
				Seen: s.Record.Generation, Reason: coordinator.ReasonOverdue, TTL: 3 * time.Second, Limits: coordinator.DefaultLimits(),
			})
			if err != nil {
				return err
			}
			time.Sleep(50 * time.Millisecond)
			_, err = other.Commit(f.t.Context(), account, coordinator.CommitRequest{
				Attempt: next, Reason: coordinator.ReasonOverdue, Token: coordinator.NewToken("of the other"), Lifetime: 2 * time.Hour, Calls: 1,
			})
			return err
		}, 1},
		"by its failure": {func(f *fleet, other *memstore.Instance, late coordinator.Attempt, _ coordinator.State) error {
			return other.Fail(f.t.Context(), account, coordinator.FailRequest{
				Attempt: late, Reason: coordinator.ReasonSchedule, Failure: coordinator.Failure{Kind: coordinator.FailedBusy}, Calls: 1,
			})
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				other := f.store.Instance("other")
				link := &overtaken{Instance: f.store.Instance("starved"), late: make(chan coordinator.Attempt, 1)}
				link.meanwhile = func(late coordinator.Attempt, s coordinator.State) error { return c.meanwhile(f, other, late, s) }
				cfg := f.config()
				cfg.Store = link
				p := f.own(cfg)
				f.token(p, time.Second)
				time.Sleep(time.Minute) // no reading but that of the refresh falls into the test
				late, err := other.Begin(t.Context(), account, coordinator.BeginRequest{
					Seen: p.Status().Record.Generation, Reason: coordinator.ReasonSchedule, TTL: 3 * time.Second, Limits: coordinator.DefaultLimits(),
				})
				if err != nil {
					t.Fatal(err)
				}
				link.late <- late
				time.Sleep(5 * time.Minute)
				if len(link.late) != 0 {
					t.Error("the overdue attempt was never read")
				}
				f.wantCalls(c.calls)
				if n := len(f.store.Peek(account).Open); n != 0 {
					t.Errorf("%d attempts are open", n)
				}
				if n := link.begins.Load(); n != 1 {
					t.Errorf("%d begins for an overdue attempt, want one", n)
				}
			})
		})
	}
}

// Of an attempt that the store has lost nobody knows how it ended: one call is made, though the
// store that has the token back shows no attempt.
func TestACallIsMadeForAnOverdueAttemptThatTheStoreHasLost(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.refresher()
		f.token(p, time.Second)
		time.Sleep(time.Minute)
		if _, err := f.store.Begin(t.Context(), account, coordinator.BeginRequest{
			Seen: p.Status().Record.Generation, Reason: coordinator.ReasonSchedule, TTL: 3 * time.Second, Limits: coordinator.DefaultLimits(),
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		f.store.Flush()
		time.Sleep(2 * time.Second)
		if s := f.store.Peek(account); s.Record.Generation == 0 || len(s.Open) != 0 {
			t.Fatalf("the store has generation %d and %d attempts, want the token without any", s.Record.Generation, len(s.Open))
		}
		before := p.link.Calls(memstore.OpBegin)
		time.Sleep(5 * time.Minute)
		f.wantCalls(2)
		f.wantCurrent(p)
		if n := p.link.Calls(memstore.OpBegin) - before; n != 1 {
			t.Errorf("%d begins, want one", n)
		}
	})
}
