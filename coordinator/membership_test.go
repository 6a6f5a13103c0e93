package coordinator_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// noted is a store that notes what its newest subscription has.
type noted struct {
	coordinator.Store
	mu       sync.Mutex
	accounts map[string]bool
}

func (s *noted) Subscribe(w coordinator.Watcher) coordinator.Subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts = make(map[string]bool)
	return &notedSubscription{s.Store.Subscribe(w), s}
}

func (s *noted) has() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.accounts))
}

type notedSubscription struct {
	coordinator.Subscription
	s *noted
}

func (s *notedSubscription) Add(role coordinator.Role, accounts ...string) {
	s.Subscription.Add(role, accounts...)
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	for _, name := range accounts {
		s.s.accounts[name] = true
	}
}

func (s *notedSubscription) Remove(accounts ...string) {
	s.Subscription.Remove(accounts...)
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	for _, name := range accounts {
		delete(s.s.accounts, name)
	}
}

// One call that waits for long, as a Watch does, keeps the subscription of all.
func TestWithoutRunOnlyWhatCallsWaitForIsFollowed(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		store := &noted{Store: f.store.Instance("p")}
		cfg := f.config()
		cfg.Store = store
		p := f.configured(cfg, nil)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		added, err := p.c.Add(coordinator.AccountConfig{Name: "added"})
		if err != nil {
			t.Fatal(err)
		}
		p.Watch(ctx)
		time.Sleep(time.Second) // the subscription of those who wait is open
		for range 2 {
			var callers sync.WaitGroup
			for _, patience := range []time.Duration{3 * time.Second, 5 * time.Second} {
				callers.Go(func() {
					ctx, cancel := context.WithTimeout(ctx, patience)
					defer cancel()
					if _, err := added.Token(ctx); !errors.Is(err, coordinator.ErrNoToken) {
						t.Errorf("Token() = %v, want ErrNoToken", err)
					}
				})
			}
			time.Sleep(4 * time.Second)
			if got := store.has(); !slices.Equal(got, []string{"added", account}) {
				t.Errorf("%v are followed while calls wait for both", got)
			}
			callers.Wait()
			if got := store.has(); !slices.Equal(got, []string{account}) {
				t.Errorf("%v are followed, want the one that is watched", got)
			}
		}
		var caller sync.WaitGroup
		caller.Go(func() {
			if _, err := added.Token(t.Context()); !errors.Is(err, coordinator.ErrUnknownAccount) {
				t.Errorf("Token() = %v, want ErrUnknownAccount", err)
			}
		})
		time.Sleep(time.Second)
		if err := p.c.Remove("added"); err != nil {
			t.Fatal(err)
		}
		caller.Wait()
		if got := store.has(); !slices.Equal(got, []string{account}) {
			t.Errorf("%v are followed once the other account is removed", got)
		}
	})
}

// slowRemoval is a store whose subscription notes its accounts, and takes its time
// to remove one: long enough for an Add to overtake it if anything lets it.
type slowRemoval struct {
	coordinator.Store
	removing chan struct{} // closed once a removal has begun
	added    chan struct{} // closed by the Add after it

	mu       sync.Mutex
	accounts []string
}

func (s *slowRemoval) Subscribe(coordinator.Watcher) coordinator.Subscription {
	return &slowSubscription{s.Store.Subscribe(nil), s}
}

type slowSubscription struct {
	coordinator.Subscription
	s *slowRemoval
}

func (s *slowSubscription) Add(_ coordinator.Role, accounts ...string) {
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	s.s.accounts = append(s.s.accounts, accounts...)
	select {
	case <-s.s.removing:
		close(s.s.added)
	default:
	}
}

func (s *slowSubscription) Remove(accounts ...string) {
	close(s.s.removing)
	select {
	case <-s.s.added:
	case <-time.After(100 * time.Millisecond): // nothing can overtake it
	}
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	s.s.accounts = slices.DeleteFunc(s.s.accounts, func(name string) bool { return slices.Contains(accounts, name) })
}

func newSlowRemoval(t *testing.T) (*slowRemoval, *coordinator.Coordinator) {
	t.Helper()
	s := &slowRemoval{Store: memstore.New(), removing: make(chan struct{}), added: make(chan struct{})}
	c, err := coordinator.New(coordinator.Config{Store: s, Accounts: []coordinator.AccountConfig{{Name: account}}})
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func TestAnAccountThatIsAddedWhileItsNamesakeGoesIsFollowed(t *testing.T) {
	s, c := newSlowRemoval(t)
	var removal sync.WaitGroup
	removal.Go(func() {
		if err := c.Remove(account); err != nil {
			t.Error(err)
		}
	})
	<-s.removing
	if _, err := c.Add(coordinator.AccountConfig{Name: account}); err != nil {
		t.Fatal(err)
	}
	removal.Wait()
	if !slices.Equal(s.accounts, []string{account}) {
		t.Errorf("followed are %q, want the account", s.accounts)
	}
}

func TestASourceForARemovedAccountHasNothingFollowed(t *testing.T) {
	s, c := newSlowRemoval(t)
	a, _ := c.Account(account)
	if err := c.Remove(account); err != nil {
		t.Fatal(err)
	}
	if err := a.Configure(coordinator.AccountConfig{Name: account, Source: &coordinatortest.Source{}}); !errors.Is(err, coordinator.ErrUnknownAccount) {
		t.Errorf("Configure() = %v, want %v", err, coordinator.ErrUnknownAccount)
	}
	if len(s.accounts) != 0 {
		t.Errorf("followed are %q, want none", s.accounts)
	}
}
