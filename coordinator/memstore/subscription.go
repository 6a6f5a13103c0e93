package memstore

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// subscription is a coordinator.Subscription. The goroutine that calls Run is the
// one that calls the watcher.
type subscription struct {
	instance *Instance
	watcher  coordinator.Watcher
	wake     chan struct{} // holds one value when there may be something in queue

	// The store's mu guards the rest.
	roles     map[string]coordinator.Role
	connected bool
	queue     []delivery
}

// delivery is one call of the watcher that is on its way.
type delivery struct {
	due     time.Time
	account string // "" when it concerns none in particular
	call    func(coordinator.Watcher)
}

func newSubscription(i *Instance, w coordinator.Watcher) *subscription {
	return &subscription{
		instance: i,
		watcher:  w,
		wake:     make(chan struct{}, 1),
		roles:    make(map[string]coordinator.Role),
	}
}

// Add implements [coordinator.Subscription].
func (s *subscription) Add(role coordinator.Role, accounts ...string) {
	mu := &s.instance.store.mu
	mu.Lock()
	defer mu.Unlock()
	var added []string
	for _, account := range accounts {
		if s.roles[account] != role {
			s.roles[account] = role
			added = append(added, account)
		}
	}
	if s.connected && len(added) > 0 {
		s.subscribed(added)
	}
}

// Remove implements [coordinator.Subscription]. Calls for these accounts that are on
// their way are dropped.
func (s *subscription) Remove(accounts ...string) {
	mu := &s.instance.store.mu
	mu.Lock()
	defer mu.Unlock()
	for _, account := range accounts {
		delete(s.roles, account)
	}
}

// Run implements [coordinator.Subscription].
func (s *subscription) Run(ctx context.Context) {
	s.start()
	defer s.stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		call, wait := s.next()
		if call != nil {
			call(s.watcher)
			continue
		}
		var due <-chan time.Time
		if wait > 0 {
			timer.Reset(wait)
			due = timer.C
		}
		select {
		case <-s.wake:
		case <-due:
		case <-ctx.Done():
		}
	}
}

func (s *subscription) start() {
	store := s.instance.store
	store.mu.Lock()
	defer store.mu.Unlock()
	store.subscriptions = append(store.subscriptions, s)
	if s.instance.cut() {
		s.lost()
		return
	}
	s.reconnect()
}

func (s *subscription) stop() {
	store := s.instance.store
	store.mu.Lock()
	defer store.mu.Unlock()
	store.subscriptions = slices.DeleteFunc(store.subscriptions, func(other *subscription) bool {
		return other == s
	})
	s.connected = false
	s.queue = nil
}

// next takes the first call whose time has come; none: it returns how long to
// wait, 0 for as long as nothing is queued.
func (s *subscription) next() (call func(coordinator.Watcher), wait time.Duration) {
	mu := &s.instance.store.mu
	mu.Lock()
	defer mu.Unlock()
	for len(s.queue) > 0 {
		first := s.queue[0]
		if wait := time.Until(first.due); wait > 0 {
			return nil, wait
		}
		s.queue = s.queue[1:]
		if _, follows := s.roles[first.account]; follows || first.account == "" {
			return first.call, 0
		}
	}
	return nil, 0
}

// reconnect follows a change of the switches. Needs the store's mu, as all
// methods below.
func (s *subscription) reconnect() {
	switch up := !s.instance.cut(); {
	case up && !s.connected:
		s.connected = true
		s.subscribed(slices.Sorted(maps.Keys(s.roles)))
	case !up && s.connected:
		s.connected = false
		s.lost()
	}
}

func (s *subscription) subscribed(accounts []string) {
	s.push("", func(w coordinator.Watcher) { w.Subscribed(accounts) })
}

func (s *subscription) lost() {
	err := unreachable("subscribe", errDown)
	s.push("", func(w coordinator.Watcher) { w.Lost(err) })
}

// offer queues an event if the subscription gets it.
func (s *subscription) offer(e coordinator.Event) {
	if !s.connected || s.instance.deaf || s.instance.store.deaf {
		return
	}
	role, follows := s.roles[e.Account]
	if !follows {
		return
	}
	if role != coordinator.Refresher && (e.Kind == coordinator.EventWanted || e.Kind == coordinator.EventBegun) {
		return
	}
	if e.Failure != nil { // each subscriber has its own
		failure := *e.Failure
		e.Failure = &failure
	}
	if e.Grant != nil {
		grant := *e.Grant
		e.Grant = &grant
	}
	s.push(e.Account, func(w coordinator.Watcher) { w.Notified(e) })
}

func (s *subscription) push(account string, call func(coordinator.Watcher)) {
	latency := (s.instance.latency + s.instance.store.latency) / 2
	s.queue = append(s.queue, delivery{due: time.Now().Add(latency), account: account, call: call})
	select {
	case s.wake <- struct{}{}:
	default: // it is awake already
	}
}
