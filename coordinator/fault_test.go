package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// forgedStore is a store whose data of an account was forged: the fence is above
// what any process can have, or the record is one that nobody can read.
type forgedStore struct {
	coordinator.Store
	fence  atomic.Bool   // forged, with an attempt under way
	record atomic.Uint64 // the generation of one that cannot be read; 0: none
}

func (s *forgedStore) Load(ctx context.Context, names ...string) ([]coordinator.State, error) {
	states, err := s.Store.Load(ctx, names...)
	for i := range states {
		if s.fence.Load() {
			states[i].Err = errors.New("the fence is of no process of ours")
			states[i].Fence, states[i].Record = 0, coordinator.Record{}
			states[i].Open = []time.Time{states[i].Now.Add(3 * time.Second)}
		}
		if barred := coordinator.Fence(s.record.Load()); barred > states[i].Record.Generation {
			states[i].Err = fmt.Errorf("generation %d: %w", barred, coordinator.ErrSealed)
			states[i].Record = coordinator.Record{Generation: barred}
		}
	}
	return states, err
}

func (s *forgedStore) Lock(ctx context.Context, name string, ttl time.Duration) (coordinator.Lock, error) {
	if s.fence.Load() {
		return nil, &coordinator.LockedError{Holder: "another", RetryIn: ttl}
	}
	return s.Store.Lock(ctx, name, ttl)
}

func (f *fleet) forged(cfg coordinator.Config) (*process, *forgedStore) {
	f.t.Helper()
	s := &forgedStore{Store: f.store.Instance("forged")}
	cfg.Store = s
	return f.own(cfg), s
}

func TestALossThatLastsIsSaidAndLookedIntoOnce(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		cfg, log := f.logged()
		p, store := f.forged(cfg)
		f.token(p, time.Second)
		time.Sleep(time.Minute)
		store.fence.Store(true)
		time.Sleep(30 * time.Second)
		if n := log.count("lost data"); n != 1 {
			t.Errorf("the log says %d times in half a minute that the store has lost data, want once", n)
		}
		store.fence.Store(false)
		time.Sleep(10 * time.Second)
		f.wantCurrent(p)
		f.store.Flush() // another loss is another one
		time.Sleep(10 * time.Second)
		if n := log.count("lost data"); n != 2 {
			t.Errorf("the log has %d losses, want 2", n)
		}
		f.wantCalls(1)
	})
}

func TestAReportOfTheNewestReadableTokenReplacesWhatCannotBeRead(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p, store := f.forged(f.config())
		old := f.token(p, time.Second)
		time.Sleep(10 * time.Minute)
		store.record.Store(uint64(time.Now().UnixMicro()))
		time.Sleep(2 * time.Minute) // it is read, and replaced at once
		held := f.token(p, time.Second)
		if held == old {
			t.Fatal("the record that cannot be read was not replaced")
		}
		f.wantCalls(2)
		store.record.Store(uint64(time.Now().UnixMicro())) // by a process with another key
		time.Sleep(90 * time.Second)
		if _, err := p.Token(t.Context()); !errors.Is(err, coordinator.ErrSealed) {
			t.Fatalf("Token() = %v, want ErrSealed", err)
		}
		if _, err := p.Invalidate(t.Context(), coordinator.NewToken(old)); !errors.Is(err, coordinator.ErrSealed) {
			t.Errorf("Invalidate() of an older token = %v, want ErrSealed", err)
		}
		f.wantCalls(2)
		s, err := p.Invalidate(t.Context(), coordinator.NewToken(held))
		if err != nil || !s.Token.Equal(f.source.Current()) {
			t.Errorf("Invalidate() = generation %d, %v; want a new token", s.Generation, err)
		}
		f.wantCalls(3)
		f.wantCurrent(p)
	})
}
