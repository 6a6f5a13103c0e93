package coordinator_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

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
