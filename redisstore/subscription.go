package redisstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
	"github.com/zhongkong/zhongkong/redisstore/internal/redisclient"
)

// A subscription connects again at once after a failure, then after a pause that
// doubles from the shortest to the longest.
const (
	shortestPause = 20 * time.Millisecond
	longestPause  = 500 * time.Millisecond
)

// patternsAbove is up to how many accounts a subscription is to the channels of each. With
// more it is to patterns that match those of all accounts, and drops what is not in the
// set: the server keeps some hundred bytes for each channel, and a million accounts have
// three million.
const patternsAbove = 256

// subscription keeps a set of accounts subscribed. It uses one connection after the
// other: each is closed at its first error and replaced. The goroutine in Run calls
// the watcher.
type subscription struct {
	store   *Store
	watcher coordinator.Watcher

	mu      sync.Mutex
	roles   map[string]bool // guarded by mu: the set; true: as a refresher
	changes []change        // guarded by mu: not passed to the connection yet
	begun   bool            // guarded by mu: a connection has taken the set, so changes are noted
	removed bool            // guarded by mu: some were removed since
	wake    chan struct{}   // holds one value when there may be something in changes

	onReplica  bool // owned by the current connection: it was logged that the server is a replica
	noPatterns bool // owned by Run and the current connection: the server refuses patterns
}

// change is an addition to the set, or a removal.
type change struct {
	role     coordinator.Role // "": removed
	accounts []string
}

var _ coordinator.Subscription = (*subscription)(nil)

func newSubscription(s *Store, w coordinator.Watcher) *subscription {
	return &subscription{
		store:   s,
		watcher: w,
		roles:   make(map[string]bool),
		wake:    make(chan struct{}, 1),
	}
}

// Add implements [coordinator.Subscription]. Accounts whose names are not valid are
// ignored: Load reports them.
func (s *subscription) Add(role coordinator.Role, accounts ...string) {
	refresher := role == coordinator.Refresher
	s.mu.Lock()
	var added []string
	for _, account := range accounts {
		if was, ok := s.roles[account]; (!ok || was != refresher) && checkAccount(account) == nil {
			s.roles[account] = refresher
			added = append(added, account)
		}
	}
	s.changeLocked(change{role, added})
	s.mu.Unlock()
}

// Remove implements [coordinator.Subscription]. An event that has already arrived
// may be delivered after it.
func (s *subscription) Remove(accounts ...string) {
	s.mu.Lock()
	var removed []string
	for _, account := range accounts {
		if _, ok := s.roles[account]; ok {
			delete(s.roles, account)
			s.removed = true
			removed = append(removed, account)
		}
	}
	s.changeLocked(change{"", removed})
	s.mu.Unlock()
}

func (s *subscription) changeLocked(c change) {
	if len(c.accounts) == 0 {
		return
	}
	if s.begun {
		s.changes = append(s.changes, c)
	}
	wake(s.wake)
}

// Run implements [coordinator.Subscription]. It reports a lost connection once, and
// again when the reason changes.
func (s *subscription) Run(ctx context.Context) {
	pause, reported := time.Duration(0), ""
	for again := false; ctx.Err() == nil; again = true {
		if !s.anyAccounts(ctx) {
			return
		}
		c := &connection{sub: s, room: make(chan struct{}, 1), reconnects: again}
		err := c.run(ctx)
		if ctx.Err() != nil {
			return
		}
		if c.flowed {
			pause, reported = 0, ""
		}
		if c.patternsRefused(err) {
			s.noPatterns = true
			s.store.log.Warn("Redis refuses to subscribe to patterns: the channels of each account are subscribed, which takes it time and memory;"+
				" allow +psubscribe and +punsubscribe", "accounts", s.size(), "error", err)
			continue
		}
		if reported != kindOf(err) {
			reported = kindOf(err)
			s.watcher.Lost(err)
		}
		if pause > 0 && !redisclient.Sleep(ctx, pause/2+rand.N(pause)) {
			return
		}
		pause = min(max(2*pause, shortestPause), longestPause)
	}
}

// reported returns what a connection to a server calls with the role that the
// server reports.
func (s *subscription) reported(server string) func(redisclient.Role) {
	return func(role redisclient.Role) {
		switch {
		case role == redisclient.Replica && !s.onReplica:
			s.store.log.Warn("this Redis server is a replica: tokens can be read from it, but refreshers do not receive a demand"+
				" that is published here; unless a failover is under way, use the address of the master in the Redis URL", "server", server)
		case role == redisclient.Master && s.onReplica:
			s.store.log.Info("the Redis server is a master now: demands are received")
		}
		s.onReplica = role == redisclient.Replica
	}
}

// kindOf returns the same text for errors that an operator need not tell apart.
func kindOf(err error) string {
	switch {
	case errors.Is(err, ErrDenied):
		return err.Error()
	case errors.Is(err, coordinator.ErrUnreachable):
		return "unreachable"
	}
	return "other"
}

// anyAccounts waits until there is an account. It reports false if ctx ended first.
func (s *subscription) anyAccounts(ctx context.Context) bool {
	for {
		if s.size() > 0 {
			return true
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return false
		}
	}
}

// size returns how many accounts are in the set.
func (s *subscription) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.roles)
}

// gets reports whether what is notified on the channel of an account is for this process.
func (s *subscription) gets(account, channel string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	refresher, ok := s.roles[account]
	return ok && slices.Contains(layout.Channels(refresher), channel)
}

// patterns match the channels of all accounts. They are, letter by letter, what the ACL
// rules permit: Redis compares them so.
func (s *subscription) patterns(role coordinator.Role) (patterns []string) {
	for _, kind := range layout.Channels(role == coordinator.Refresher) {
		patterns = append(patterns, s.store.keys.Pattern(kind))
	}
	return patterns
}

// everything returns the whole set for a new connection. All changes so far are in
// it.
func (s *subscription) everything() []change {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes, s.begun, s.removed = nil, true, false
	var readers, refreshers []string
	for account, refresher := range s.roles {
		if refresher {
			refreshers = append(refreshers, account)
		} else {
			readers = append(readers, account)
		}
	}
	return []change{{coordinator.Reader, readers}, {coordinator.Refresher, refreshers}}
}

// latest returns the changes since the last call.
func (s *subscription) latest() []change {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes := s.changes
	s.changes = nil
	return changes
}

// still returns those of the accounts that have not been removed meanwhile.
func (s *subscription) still(accounts []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.removed {
		return accounts
	}
	return slices.DeleteFunc(accounts, func(account string) bool {
		_, ok := s.roles[account]
		return !ok
	})
}

// channels returns the channels of accounts in the role, and those that the
// role does not have.
func (s *subscription) channels(role coordinator.Role, accounts []string) (has, hasNot []string) {
	kinds := layout.Channels(role == coordinator.Refresher)
	if role == "" {
		kinds = nil
	}
	others := layout.Channels(true)[len(kinds):]
	for _, account := range accounts {
		for _, kind := range kinds {
			has = append(has, s.store.keys.Channel(account, kind))
		}
		for _, kind := range others {
			hasNot = append(hasNot, s.store.keys.Channel(account, kind))
		}
	}
	return has, hasNot
}
