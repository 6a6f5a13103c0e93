package redisstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
	"github.com/zhongkong/zhongkong/redisstore/internal/redisclient"
)

// maxMissedPings is how many pings in a row may stay unanswered. A ping is sent
// after each Options.PingInterval in which nothing has arrived. TCP alone would
// take a quarter of an hour to notice a hung server, and the health check of
// go-redis sends pings without waiting for the answers.
const maxMissedPings = 4

// A SUBSCRIBE names at most subscribeChunk channels, and at most unconfirmedMax
// channels may be unconfirmed at a time. The server puts all answers to a command
// into its output buffer before it sends any, and disconnects subscribers whose
// buffer exceeds 32 MB.
const (
	subscribeChunk = 1000
	unconfirmedMax = 16 * subscribeChunk
)

const (
	logUnreadableEvery = time.Minute // how often unreadable notifications are logged
	maxRereads         = 50          // how many accounts are read in a second because of them
)

var errSilent = fmt.Errorf("%w: no answer to four pings on the subscription", coordinator.ErrUnreachable)

// connection is one connection of a subscription, from the dial to the first
// error.
//
// Three goroutines share it: the reader (run itself) receives and calls the
// watcher; the writer subscribes, pings and detects silence; the third one returns
// when the master has changed.
type connection struct {
	sub        *subscription
	pubsub     *redisclient.PubSub
	reconnects bool        // it replaces one that was lost
	flowed     bool        // the whole set was subscribed once; owned by the reader
	heard      atomic.Bool // something has arrived since the last PingInterval

	// Owned by the reader: what unreadable notifications have caused.
	logged, reread time.Time
	rereads        float64 // how many accounts may be read because of them now

	outbox   []command                   // owned by the writer: not sent yet
	exact    map[string]coordinator.Role // owned by the writer: the accounts whose own channels are subscribed
	room     chan struct{}               // holds one value when confirmations have made room
	patterns bool                        // owned by the writer: patterns are subscribed

	mu          sync.Mutex
	batches     []batch // guarded by mu: not confirmed yet, in the order of sending
	unconfirmed int     // guarded by mu: channels that were sent
	reason      error   // guarded by mu: why the writer or the third goroutine has ended the connection
}

// command is one SUBSCRIBE or UNSUBSCRIBE.
type command struct {
	send     func(deadline time.Time, channels ...string) error
	channels []string
	answers  int // confirmations that will come
}

// batch is a set of accounts that is announced as a whole, when all channels that
// are subscribed for it have been confirmed.
type batch struct {
	accounts []string
	missing  int // confirmations
}

// run subscribes to everything and delivers messages until an error, which it
// returns. All goroutines of the connection have ended by then.
func (c *connection) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client := c.sub.store.client
	c.pubsub = client.PubSub(ctx)
	defer c.pubsub.Close()
	c.accept(c.sub.everything())
	if err := c.connect(ctx); err != nil {
		return c.sub.store.fault(ctx, "subscribe", "", err)
	}
	if c.reconnects {
		// What is read because of Subscribed must not come from the server that
		// the address led to before.
		client.Discard()
	}

	var helpers sync.WaitGroup // joined below; they end with ctx, or end the reader by closing
	helpers.Go(func() { c.end(c.write(ctx)) })
	helpers.Go(func() { c.end(c.pubsub.WatchMaster(ctx, c.sub.reported(c.pubsub.Addr()))) })
	err := c.read()
	c.mu.Lock()
	if c.reason != nil { // a helper has ended the reading
		err = c.reason
	}
	c.mu.Unlock()
	cancel()
	helpers.Wait()
	return c.sub.store.fault(context.Background(), "subscribe", "", err)
}

// connect dials and sends the first command.
func (c *connection) connect(ctx context.Context) error {
	ctx, cancel := c.sub.store.client.Bounded(ctx)
	defer cancel()
	c.heard.Store(true)
	if len(c.outbox) == 0 { // all accounts have been removed meanwhile
		return c.pubsub.Connect(ctx, false)
	}
	first := c.outbox[0]
	c.outbox = c.outbox[1:]
	c.unconfirmed += first.answers // the other goroutines have not started yet
	return c.pubsub.Connect(ctx, c.patterns, first.channels...)
}

// patternsRefused reports whether the connection has ended because the server does not
// subscribe it to patterns.
func (c *connection) patternsRefused(err error) bool {
	return c.patterns && !c.flowed && isRefused(err)
}

// end closes the connection; the first reason is the one that is reported.
func (c *connection) end(reason error) {
	c.mu.Lock()
	if c.reason == nil && !errors.Is(reason, context.Canceled) {
		c.reason = reason
	}
	c.mu.Unlock()
	c.pubsub.Close()
}

// read delivers what arrives until the connection ends. A notification is
// delivered before anything else is noted of it: callers wait for the token.
func (c *connection) read() error {
	for {
		received, err := c.pubsub.Receive()
		if err != nil {
			return err
		}
		switch m := received.(type) {
		case *redis.Message:
			c.deliver(m.Channel, m.Payload)
		case *redis.Subscription:
			if m.Kind == "subscribe" || m.Kind == "psubscribe" {
				c.confirmed()
			}
		}
		if !c.heard.Load() {
			c.heard.Store(true)
		}
	}
}

// deliver notifies the watcher of one message, if it is for this process: a pattern matches
// the channels of all accounts, and those of a removed one are unsubscribed a moment later.
// A message that cannot be decoded still says that something has changed: the account is
// announced as subscribed again, so that its followers read it, and Load reports what is
// wrong.
func (c *connection) deliver(name, payload string) {
	s := c.sub.store
	account, channel, ok := s.keys.Split(name)
	if !ok || !c.sub.gets(account, channel) {
		return
	}
	event, err := s.event(account, channel, payload)
	if err != nil {
		c.unreadable(account, channel, err)
		return
	}
	c.sub.watcher.Notified(event)
}

// unreadable has an account read of which a notification cannot be decoded.
// Every client that may publish can send any number of them, so only a limited
// number is logged or causes a read. What a reader may publish changes nothing in
// the store, so it causes none.
func (c *connection) unreadable(account, channel string, err error) {
	s := c.sub.store
	n := s.unreadables.Add(1)
	now := time.Now()
	if now.Sub(c.logged) >= logUnreadableEvery {
		s.log.Warn("notifications cannot be read", "account", account, "channel", channel, "error", err, "so_far", n)
		c.logged = now
	}
	if channel == layout.Wanted {
		return
	}
	c.rereads = min(c.rereads+now.Sub(c.reread).Seconds()*maxRereads, maxRereads)
	c.reread = now
	if c.rereads >= 1 {
		c.rereads--
		c.sub.watcher.Subscribed([]string{account})
	} // otherwise the next poll reads it
}

// confirmed counts a channel that the server has confirmed. Confirmations come in
// the order of the requests.
func (c *connection) confirmed() {
	c.mu.Lock()
	c.unconfirmed--
	if c.unconfirmed == unconfirmedMax-subscribeChunk || c.unconfirmed == 0 {
		wake(c.room)
	}
	var complete []string
	if len(c.batches) > 0 {
		c.batches[0].missing--
		if c.batches[0].missing <= 0 {
			complete = c.batches[0].accounts
			c.batches[0] = batch{} // releases the names
			c.batches = c.batches[1:]
		}
	}
	c.mu.Unlock()
	if complete == nil {
		return
	}
	c.flowed = true
	if complete = c.sub.still(complete); len(complete) > 0 {
		c.sub.watcher.Subscribed(complete)
	}
}

// write sends what is in the outbox, pings, and returns when the server has been
// silent for too long. Every message is a sign of life, so a ping is sent only
// after an interval in which nothing has.
func (c *connection) write(ctx context.Context) error {
	interval := c.sub.store.pingInterval
	// Many connections begin at the same time, for example when a server comes
	// back. Their pings should not stay in step.
	first := rand.N(interval)
	timer, due := time.NewTimer(first), time.Now().Add(first)
	defer timer.Stop()
	for missed := 0; ; {
		if err := c.flush(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.room:
		case <-c.sub.wake:
			c.acceptEach(c.sub.latest())
		case <-timer.C:
			// Intervals are counted, not time: a process that was paused finds
			// one interval over, not a silence of minutes. One that comes late does
			// not count: this process gets too little time to read what has arrived.
			late := time.Since(due) > interval/2
			timer.Reset(interval)
			due = time.Now().Add(interval)
			if c.heard.Swap(false) {
				missed = 0
				continue
			}
			if missed >= maxMissedPings {
				// The others went silent with it, and what was notified meanwhile is
				// about to be read.
				c.sub.store.client.Discard()
				return errSilent
			}
			if !late {
				missed++
			}
			if err := c.pubsub.Ping(c.deadline()); err != nil {
				return err
			}
		}
	}
}

// acceptEach makes a batch of each change, so that no account waits for the channels of
// others. With patterns one is enough.
func (c *connection) acceptEach(changes []change) {
	if c.takesPatterns() {
		c.accept(changes)
		return
	}
	for _, one := range changes {
		c.accept([]change{one})
	}
}

// takesPatterns reports whether the set is subscribed by patterns from now on.
func (c *connection) takesPatterns() bool {
	return c.patterns || !c.sub.noPatterns && c.sub.size() > patternsAbove
}

// accept makes one batch of changes and puts its commands into the outbox.
func (c *connection) accept(changes []change) {
	if c.takesPatterns() {
		c.acceptPatterns(changes)
		return
	}
	var all batch
	for _, change := range changes {
		has, hasNot := c.sub.channels(change.role, change.accounts)
		if len(has) > 0 {
			all.accounts = append(all.accounts, change.accounts...)
			all.missing += len(has)
		}
		c.note(change)
		c.queue(c.pubsub.Subscribe, has, 1)
		c.queue(c.pubsub.Unsubscribe, hasNot, 0)
	}
	if all.missing > 0 {
		c.mu.Lock()
		c.batches = append(c.batches, all)
		c.mu.Unlock()
	}
}

// acceptPatterns makes one batch of changes. Those that are added are subscribed already
// if patterns are; a repeated PSUBSCRIBE is confirmed as well, in its turn.
func (c *connection) acceptPatterns(changes []change) {
	var all batch
	role := coordinator.Reader
	for _, change := range changes {
		if change.role == "" || len(change.accounts) == 0 {
			continue
		}
		all.accounts = append(all.accounts, change.accounts...)
		if change.role == coordinator.Refresher {
			role = coordinator.Refresher
		}
	}
	for _, before := range c.exact {
		if before == coordinator.Refresher {
			role = before
		}
	}
	if len(all.accounts) == 0 {
		return
	}
	c.patterns = true
	patterns := c.sub.patterns(role)
	all.missing = len(patterns)
	c.queue(c.pubsub.PSubscribe, patterns, 1)
	c.mu.Lock()
	c.batches = append(c.batches, all)
	c.mu.Unlock()
	// Those that were subscribed one by one, before there were so many.
	_, channels := c.sub.channels("", slices.Collect(maps.Keys(c.exact)))
	c.queue(c.pubsub.Unsubscribe, channels, 0)
	c.exact = nil
}

// note remembers which accounts are subscribed one by one, and in which role.
func (c *connection) note(change change) {
	if c.exact == nil {
		c.exact = make(map[string]coordinator.Role)
	}
	for _, account := range change.accounts {
		if change.role == "" {
			delete(c.exact, account)
		} else {
			c.exact[account] = change.role
		}
	}
}

// queue cuts channels into commands; each channel has that many answers that count
// as confirmations.
func (c *connection) queue(send func(time.Time, ...string) error, channels []string, answers int) {
	for len(channels) > 0 {
		n := min(len(channels), subscribeChunk)
		c.outbox = append(c.outbox, command{send, channels[:n:n], n * answers})
		channels = channels[n:]
	}
}

// flush sends those commands of the outbox that may be sent now.
func (c *connection) flush() error {
	for len(c.outbox) > 0 {
		next := c.outbox[0]
		c.mu.Lock()
		full := c.unconfirmed > 0 && c.unconfirmed+next.answers > unconfirmedMax
		if !full {
			c.unconfirmed += next.answers
		}
		c.mu.Unlock()
		if full {
			return nil
		}
		c.outbox = c.outbox[1:]
		if err := next.send(c.deadline(), next.channels...); err != nil {
			return err
		}
	}
	c.outbox = nil // releases the names
	return nil
}

// deadline is that of a command sent now. It is longer than a silence may last: a
// server that is busy with our own SUBSCRIBEs reads slowly.
func (c *connection) deadline() time.Time {
	return time.Now().Add(2 * maxMissedPings * c.sub.store.pingInterval)
}

// wake puts a value into a channel that holds one, if it is empty.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
