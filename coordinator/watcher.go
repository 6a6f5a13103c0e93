package coordinator

import (
	"context"
	"sync"
)

// watcher takes in what the store notifies while the coordinator Runs. Its methods
// are called by one goroutine of the subscription.
type watcher struct{ c *Coordinator }

// Subscribed has the accounts read: what happened before is in the store, what
// happens from now on will be notified.
func (w watcher) Subscribed(accounts []string) {
	w.c.following(len(accounts))
	if len(accounts) <= manySubscribed {
		accounts = w.c.schedule.readUntold(accounts)
	}
	w.c.schedule.subscribed(accounts)
}

// manySubscribed is for how many accounts Subscribed takes so long that the subscription
// might be taken to hang meanwhile.
const manySubscribed = 1000

// Lost marks what is held as stale.
func (w watcher) Lost(err error) {
	w.c.feed.broken.Store(true)
	w.c.notFollowing(err)
	for _, a := range w.c.Accounts() {
		a.grantMemory().unprime()
		a.apply((*view).unfollowed)
	}
}

// Notified takes in one event.
func (w watcher) Notified(e Event) { w.c.notified(e) }

// readSoon has accounts read.
func (c *Coordinator) readSoon(accounts []string) {
	for _, name := range accounts {
		if a, ok := c.Account(name); ok {
			a.apply((*view).readSoon)
		}
	}
}

// notified takes in one event. Those who wait for it come first.
func (c *Coordinator) notified(n Event) {
	c.feed.notified(n)
	if a, ok := c.Account(n.Account); ok {
		a.apply(func(v *view, e env) effects { return v.eventHeard(n, e) })
	}
	if c.hook != nil {
		event := n // a copy, so that only an observer costs an allocation
		event.Failure = n.Failure.copied()
		c.observe(Observation{Kind: Notified, Account: n.Account, Reason: n.Reason, Event: &event})
	}
}

// sharedSub is the subscription of those who wait while nothing Runs: the first
// one opens it, the last one closes it.
type sharedSub struct {
	c *Coordinator

	mu    sync.Mutex     // guards what follows
	users map[string]int // of each account that is followed
	sub   Subscription
	stop  context.CancelFunc
}

// waiterWatcher is watcher without the claim that memory can be trusted.
type waiterWatcher struct{ c *Coordinator }

func (w waiterWatcher) Subscribed(accounts []string) { w.c.readSoon(accounts) }
func (w waiterWatcher) Lost(error)                   {}
func (w waiterWatcher) Notified(e Event)             { w.c.notified(e) }

// follow follows a until release is called. The last release of all does not wait for the
// subscription to end: that may take as long as the store needs to answer, which must
// hold up neither the caller, who has what it waited for, nor the next one.
func (s *sharedSub) follow(a *Account) (release func()) {
	role := a.Role()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.users) == 0 {
		ctx, cancel := context.WithCancel(context.Background())
		s.sub, s.stop = s.c.store.Subscribe(waiterWatcher{s.c}), cancel
		s.users = make(map[string]int)
		go s.sub.Run(ctx)
	}
	s.users[a.name]++
	s.sub.Add(role, a.name)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.users[a.name]--; s.users[a.name] > 0 {
			return
		}
		if delete(s.users, a.name); len(s.users) == 0 {
			s.stop()
			return
		}
		s.sub.Remove(a.name)
	}
}
