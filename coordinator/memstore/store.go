package memstore

import (
	"slices"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/ledger"
)

// Store is a [coordinator.Store] in memory. It and its instances are safe for
// concurrent use.
//
// Its own methods act as the instance "memstore". Its switches concern all
// instances, those of an [Instance] only that one: SetDown on an instance is a
// partition of the network, SetDown on the Store is a dead server.
type Store struct {
	switches
	own

	mu            sync.Mutex // guards everything below and everything in switches
	accounts      map[string]*account
	changes       ledger.Changes
	instances     map[string]*Instance
	subscriptions []*subscription // those whose Run runs
	skew          time.Duration
	server        int // changes when the server is another one, or was restarted
}

var (
	_ coordinator.Store       = (*Store)(nil)
	_ coordinator.GrantStore  = (*Store)(nil)
	_ coordinator.ChangeStore = (*Store)(nil)
)

// own is the instance that a Store itself acts as.
type own struct{ *Instance }

// account is an account's data. Needs the store's mu.
type account struct {
	ledger.Account
	lockID string // of the lock that was taken last
	log    []LogEntry
	grant  grant
}

// New returns an empty store.
func New() *Store {
	s := &Store{
		accounts:  make(map[string]*account),
		instances: make(map[string]*Instance),
		server:    1,
	}
	s.switches = newSwitches(s)
	s.own = own{s.Instance("memstore")}
	return s
}

// Instance returns the store as the named instance sees it: the name is in
// records, locks and events that the instance causes. The same name gives the
// same instance.
func (s *Store) Instance(name string) *Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.instances[name]
	if !ok {
		i = &Instance{store: s, name: name, switches: newSwitches(s)}
		s.instances[name] = i
	}
	return i
}

// Flush loses all data at once, locks included, and notifies no one of it: what
// FLUSHALL does, or a failover to a replica that had nothing.
func (s *Store) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.accounts)
	s.changes = ledger.Changes{}
	s.server++
}

// Snapshot remembers all data, and returns what goes back to it: what a failover to a
// replica does that has not got the last writes. Nobody is notified of it. goBack can be
// called more than once.
func (s *Store) Snapshot() (goBack func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	accounts, changes := cloneAccounts(s.accounts), s.changes.Clone()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.accounts, s.changes = cloneAccounts(accounts), changes.Clone()
		s.server++
	}
}

func cloneAccounts(accounts map[string]*account) map[string]*account {
	clones := make(map[string]*account, len(accounts))
	for name, a := range accounts {
		clones[name] = &account{Account: a.Clone(), lockID: a.lockID, log: slices.Clone(a.log), grant: a.grant.clone()}
	}
	return clones
}

// StealLock frees the account's lock. Its holder finds out when it extends the
// lock.
func (s *Store) StealLock(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.account(account)
	a.Unlock(a.lockID)
}

// SetSkew sets the store's clock that much ahead of this machine's (behind it
// if negative). As in Redis, deadlines and lives that were set before move
// along with a jump.
func (s *Store) SetSkew(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skew = d
}

// Peek returns what Load would return of one account. No switch affects it, and
// Calls does not count it.
func (s *Store) Peek(account string) coordinator.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.account(account).read(ledger.Step{Account: account, Now: s.now()})
}

// Log returns what happened to the account since the store was made or
// flushed, the oldest first, at most the last 1000 entries.
func (s *Store) Log(account string) []LogEntry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.account(account).log)
}

// now is the store's clock, with the resolution of Redis' TIME. Needs mu.
func (s *Store) now() time.Time {
	return time.Now().Add(s.skew).Round(0).UTC().Truncate(time.Microsecond)
}

// account returns the data of an account, made if it was not there. Needs mu.
func (s *Store) account(name string) *account {
	a, ok := s.accounts[name]
	if !ok {
		a = new(account)
		s.accounts[name] = a
	}
	return a
}

// Publish sends an event that no operation of the store has caused, as everyone
// can who may publish in a real store. The event may say anything.
func (s *Store) Publish(e coordinator.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publish(e)
}

// publish notifies the subscriptions that follow e.Account. Needs mu.
func (s *Store) publish(e coordinator.Event) {
	for _, sub := range s.subscriptions {
		sub.offer(e)
	}
}
