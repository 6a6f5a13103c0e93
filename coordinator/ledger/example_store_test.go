package ledger_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/ledger"
)

// Database stands for any that has rows, transactions and notifications.
type Database struct {
	mu            sync.Mutex // guards everything, and is the transaction
	rows          map[string][]byte
	subscriptions []*subscription // those that run
}

// Store is a coordinator.Store on a Database.
type Store struct {
	db       *Database
	instance string
}

var _ coordinator.Store = (*Store)(nil)

// step loads an account, lets f change it, saves it, and publishes what came of it.
func (s *Store) step(ctx context.Context, name string, f func(*ledger.Account, ledger.Step) (*coordinator.Event, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.db.mu.Lock() // BEGIN; SELECT ... FOR UPDATE
	defer s.db.mu.Unlock()
	var account ledger.Account
	if row, ok := s.db.rows[name]; ok {
		if err := account.UnmarshalBinary(row); err != nil {
			return fmt.Errorf("account %q: %w", name, err)
		}
	}
	event, failed := f(&account, ledger.Step{Account: name, Instance: s.instance, Now: time.Now()})
	row, err := account.MarshalBinary()
	if err != nil {
		return fmt.Errorf("account %q: %w", name, err)
	}
	s.db.rows[name] = row // UPDATE; COMMIT
	if event != nil {
		for _, sub := range s.db.subscriptions { // NOTIFY
			sub.offer(*event)
		}
	}
	return failed
}

func (s *Store) Load(ctx context.Context, names ...string) ([]coordinator.State, error) {
	states := make([]coordinator.State, len(names))
	for i, name := range names {
		err := s.step(ctx, name, func(a *ledger.Account, step ledger.Step) (*coordinator.Event, error) {
			states[i] = a.State(step)
			return nil, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return states, nil
}

func (s *Store) Begin(ctx context.Context, name string, b coordinator.BeginRequest) (attempt coordinator.Attempt, err error) {
	err = s.step(ctx, name, func(a *ledger.Account, step ledger.Step) (event *coordinator.Event, err error) {
		attempt, event, err = a.Begin(step, b)
		return event, err
	})
	return attempt, err
}

func (s *Store) Commit(ctx context.Context, name string, c coordinator.CommitRequest) (r coordinator.Record, err error) {
	err = s.step(ctx, name, func(a *ledger.Account, step ledger.Step) (event *coordinator.Event, err error) {
		r, event, err = a.Commit(step, c)
		return event, err
	})
	return r, err
}

func (s *Store) Fail(ctx context.Context, name string, f coordinator.FailRequest) error {
	return s.step(ctx, name, func(a *ledger.Account, step ledger.Step) (*coordinator.Event, error) {
		return a.Fail(step, f), nil
	})
}

func (s *Store) Restore(ctx context.Context, name string, lost coordinator.Record) (r coordinator.Record, err error) {
	err = s.step(ctx, name, func(a *ledger.Account, step ledger.Step) (event *coordinator.Event, _ error) {
		r, event = a.Restore(step, lost)
		return event, nil
	})
	return r, err
}

func (s *Store) Want(ctx context.Context, name string, w coordinator.WantRequest) error {
	return s.step(ctx, name, func(_ *ledger.Account, step ledger.Step) (*coordinator.Event, error) {
		return step.Want(w), nil
	})
}

// lock is a held lock.
type lock struct {
	store    *Store
	name, id string
	life     time.Duration
}

func (s *Store) Lock(ctx context.Context, name string, life time.Duration) (coordinator.Lock, error) {
	l := &lock{store: s, name: name, id: rand.Text(), life: life}
	err := s.step(ctx, name, func(a *ledger.Account, step ledger.Step) (*coordinator.Event, error) {
		return nil, a.Lock(step, l.id, life)
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (l *lock) Extend(ctx context.Context, fence coordinator.Fence) error {
	return l.store.step(ctx, l.name, func(a *ledger.Account, step ledger.Step) (*coordinator.Event, error) {
		return nil, a.Extend(step, l.id, l.life, fence)
	})
}

func (l *lock) Unlock(ctx context.Context) error {
	return l.store.step(ctx, l.name, func(a *ledger.Account, _ ledger.Step) (*coordinator.Event, error) {
		a.Unlock(l.id)
		return nil, nil
	})
}

// subscription queues the calls of a watcher, which Run makes. The database's mu
// guards roles, running and queue.
type subscription struct {
	db      *Database
	watcher coordinator.Watcher
	wake    chan struct{} // holds a value if something may be queued
	roles   map[string]coordinator.Role
	running bool
	queue   []call
}

// call is one call of the watcher: Notified, or Subscribed if there are accounts.
type call struct {
	event    coordinator.Event
	accounts []string
}

func (s *Store) Subscribe(w coordinator.Watcher) coordinator.Subscription {
	return &subscription{db: s.db, watcher: w, wake: make(chan struct{}, 1), roles: make(map[string]coordinator.Role)}
}

// push needs mu.
func (s *subscription) push(c call) {
	s.queue = append(s.queue, c)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// offer queues an event for a subscription that follows its account. Needs mu.
func (s *subscription) offer(e coordinator.Event) {
	role, follows := s.roles[e.Account]
	forRefreshers := e.Kind == coordinator.EventWanted || e.Kind == coordinator.EventBegun
	if !follows || forRefreshers && role != coordinator.Refresher {
		return
	}
	if e.Failure != nil { // the watcher owns it
		failure := *e.Failure
		e.Failure = &failure
	}
	s.push(call{event: e})
}

func (s *subscription) Add(role coordinator.Role, names ...string) {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	for _, name := range names {
		s.roles[name] = role
	}
	if s.running && len(names) > 0 {
		s.push(call{accounts: names})
	}
}

func (s *subscription) Remove(names ...string) {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	for _, name := range names {
		delete(s.roles, name)
		s.queue = slices.DeleteFunc(s.queue, func(c call) bool { return c.event.Account == name })
	}
}

func (s *subscription) Run(ctx context.Context) {
	s.db.mu.Lock()
	s.db.subscriptions = append(s.db.subscriptions, s)
	s.running = true
	s.push(call{accounts: slices.Collect(maps.Keys(s.roles))})
	s.db.mu.Unlock()
	for ctx.Err() == nil {
		s.db.mu.Lock()
		queue := s.queue
		if len(queue) > 0 {
			s.queue = queue[1:]
		}
		s.db.mu.Unlock()
		if len(queue) == 0 {
			select {
			case <-s.wake:
			case <-ctx.Done():
			}
		} else if c := queue[0]; c.event.Kind != "" {
			s.watcher.Notified(c.event)
		} else {
			s.watcher.Subscribed(c.accounts)
		}
	}
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	s.running, s.queue = false, nil
	s.db.subscriptions = slices.DeleteFunc(s.db.subscriptions, func(other *subscription) bool { return other == s })
}

// A store on any database: this one passes coordinatortest.TestStore. It has no rule
// of the protocol in it, only rows, a transaction and a queue of notifications.
func Example() {
	ctx := context.Background()
	db := &Database{rows: make(map[string][]byte)}
	one, other := &Store{db, "one"}, &Store{db, "other"}
	begin := coordinator.BeginRequest{Reason: coordinator.ReasonMissing, TTL: 3 * time.Second}

	paused, _ := one.Begin(ctx, "wx1", begin)
	attempt, _ := other.Begin(ctx, "wx1", begin)
	r, err := other.Commit(ctx, "wx1", coordinator.CommitRequest{
		Attempt: attempt, Token: coordinator.NewToken("token-2"), Lifetime: 2 * time.Hour,
	})
	fmt.Println(r.Token.Reveal(), "by", r.IssuedBy, err)
	_, err = one.Commit(ctx, "wx1", coordinator.CommitRequest{
		Attempt: paused, Token: coordinator.NewToken("token-1"), Lifetime: 2 * time.Hour,
	})
	fmt.Println("superseded:", errors.Is(err, coordinator.ErrSuperseded))
	states, err := one.Load(ctx, "wx1")
	fmt.Println(states[0].Record.Token.Reveal(), "overdue:", states[0].Overdue(), err)
	// Output:
	// token-2 by other <nil>
	// superseded: true
	// token-2 overdue: 1 <nil>
}
