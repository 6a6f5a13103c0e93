package coordinatortest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// MemStore is a coordinator.Store in memory, for tests and for programs that
// need no second process. It keeps to the contract of coordinator.Store to the
// letter, expiry included, and can be given the faults of a real one.
//
// Processes that share it are played by its instances; MemStore's own methods
// act as the instance "memstore". Its switches concern all instances, those of
// a MemInstance only that one, so that SetDown on an instance is a partition
// and SetDown on the MemStore is a dead server.
type MemStore struct {
	switches
	own *MemInstance

	mu            sync.Mutex // guards everything below and everything in switches
	accounts      map[string]*account
	instances     map[string]*MemInstance
	subscriptions []*subscription // those whose Run runs
	skew          time.Duration
	locks         uint64 // how many locks were ever taken; numbers them
}

var _ coordinator.Store = (*MemStore)(nil)

// NewMemStore returns an empty store.
func NewMemStore() *MemStore {
	s := &MemStore{
		accounts:  make(map[string]*account),
		instances: make(map[string]*MemInstance),
	}
	s.switches = newSwitches(s)
	s.own = s.Instance("memstore")
	return s
}

// Instance returns the store as the named instance sees it: the name is in
// records, locks and events that the instance causes. The same name gives the
// same instance.
func (s *MemStore) Instance(name string) *MemInstance {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.instances[name]
	if !ok {
		i = &MemInstance{store: s, name: name, switches: newSwitches(s)}
		s.instances[name] = i
	}
	return i
}

// Flush loses all data at once, locks included, and tells nobody: what FLUSHALL
// does, or a fail-over to a replica that had nothing.
func (s *MemStore) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.accounts)
}

// StealLock takes the account's lock from whoever holds it: nobody holds it
// then, and the holder is not told.
func (s *MemStore) StealLock(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account(account).lock = lock{}
}

// SetSkew sets the store's clock that much ahead of this machine's (behind it
// if negative). As in Redis, deadlines and lives that were set before move
// along with a jump.
func (s *MemStore) SetSkew(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skew = d
}

// Peek is Load of one account for assertions: no switch touches it and it is
// not counted.
func (s *MemStore) Peek(account string) coordinator.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.account(account).state(account, s.now())
}

// Log returns what happened to the account since the store was made or
// flushed, the oldest first, at most the last 1000 entries.
func (s *MemStore) Log(account string) []LogEntry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.account(account).log)
}

// now is the store's clock, with the resolution of Redis' TIME. Needs mu.
func (s *MemStore) now() time.Time {
	return time.Now().Add(s.skew).Round(0).UTC().Truncate(time.Microsecond)
}

// account returns the data of an account, made if need be. Needs mu.
func (s *MemStore) account(name string) *account {
	a, ok := s.accounts[name]
	if !ok {
		a = newAccount()
		s.accounts[name] = a
	}
	return a
}

// Publish sends an event that no step of the store has caused: what anybody can
// do who has the right to publish. It may tell of anything.
func (s *MemStore) Publish(e coordinator.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publish(e)
}

// publish notifies the subscriptions that follow e.Account. Needs mu.
func (s *MemStore) publish(e coordinator.Event) {
	for _, sub := range s.subscriptions {
		sub.offer(e)
	}
}

// Load is coordinator.Store's.
func (s *MemStore) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	return s.own.Load(ctx, accounts...)
}

// Lock is coordinator.Store's.
func (s *MemStore) Lock(ctx context.Context, account string, life time.Duration) (coordinator.Lock, error) {
	return s.own.Lock(ctx, account, life)
}

// Begin is coordinator.Store's.
func (s *MemStore) Begin(ctx context.Context, account string, b coordinator.BeginRequest) (coordinator.Attempt, error) {
	return s.own.Begin(ctx, account, b)
}

// Commit is coordinator.Store's.
func (s *MemStore) Commit(ctx context.Context, account string, c coordinator.CommitRequest) (coordinator.Record, error) {
	return s.own.Commit(ctx, account, c)
}

// Fail is coordinator.Store's.
func (s *MemStore) Fail(ctx context.Context, account string, f coordinator.FailRequest) error {
	return s.own.Fail(ctx, account, f)
}

// Restore is coordinator.Store's.
func (s *MemStore) Restore(ctx context.Context, account string, r coordinator.Record) (coordinator.Record, error) {
	return s.own.Restore(ctx, account, r)
}

// Want is coordinator.Store's.
func (s *MemStore) Want(ctx context.Context, account string, w coordinator.WantRequest) error {
	return s.own.Want(ctx, account, w)
}

// Subscribe is coordinator.Store's.
func (s *MemStore) Subscribe(w coordinator.Watcher) coordinator.Subscription {
	return s.own.Subscribe(w)
}
