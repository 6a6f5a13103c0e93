package coordinator

import (
	"context"
	"sync"
	"time"
)

// follower takes in what the store notifies while the coordinator Runs. Its
// methods are called by one goroutine of the subscription.
type follower Coordinator

// Subscribed has the accounts read: whatever happened before is in the store,
// whatever happens from now on will be notified.
func (f *follower) Subscribed(accounts []string) {
	c := (*Coordinator)(f)
	c.following(len(accounts))
	c.lookAt(accounts)
}

// Lost marks what is held as stale.
func (f *follower) Lost(err error) { (*Coordinator)(f).notFollowing(err) }

// Notified takes in one event.
func (f *follower) Notified(e Event) { (*Coordinator)(f).hear(e) }

// lookAt has accounts read soon.
func (c *Coordinator) lookAt(accounts []string) {
	for _, name := range accounts {
		if a, ok := c.Account(name); ok {
			a.lookSoon()
		}
	}
}

// lookSoon has the account read, whoever else is at it.
func (a *Account) lookSoon() {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known.readAgain()
	a.known.notBefore = 0
	if a.tellsLocked(now) {
		a.broadcastLocked()
	}
	a.c.schedule.at(a, now)
}

// hear takes in one event: those who wait for it first.
func (c *Coordinator) hear(e Event) {
	if a, ok := c.Account(e.Account); ok {
		a.mu.Lock()
		a.hearLocked(e)
		a.mu.Unlock()
	}
	c.observe(Observation{Kind: Notified, Account: e.Account, Reason: e.Reason, Event: &e})
}

// borrowed is the subscription that those who wait share while nothing Runs:
// the first one opens it, the last one closes it.
type borrowed struct {
	mu    sync.Mutex // guards what follows
	users int
	sub   Subscription
	stop  context.CancelFunc
	done  chan struct{}
}

// waitingFollower is follower without the claim that memory can be trusted.
type waitingFollower Coordinator

func (w *waitingFollower) Subscribed(accounts []string) { (*Coordinator)(w).lookAt(accounts) }
func (w *waitingFollower) Lost(error)                   {}
func (w *waitingFollower) Notified(e Event)             { (*Coordinator)(w).hear(e) }

// borrow follows a until release is called, which waits if it is the last.
func (c *Coordinator) borrow(a *Account) (release func()) {
	b := &c.borrowed
	role := a.Role()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.users == 0 {
		ctx, cancel := context.WithCancel(context.Background())
		b.sub, b.stop, b.done = c.store.Subscribe((*waitingFollower)(c)), cancel, make(chan struct{})
		go func(sub Subscription, done chan struct{}) { // ended and waited for by the last release
			defer close(done)
			sub.Run(ctx)
		}(b.sub, b.done)
	}
	b.users++
	b.sub.Add(role, a.name)
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.users--; b.users == 0 {
			b.stop()
			<-b.done
		}
	}
}
