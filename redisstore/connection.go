package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
)

// How a hung server is noticed: a ping at each beat (Options.PingInterval) that follows a
// silent one, and so many more beats without any answer. TCP alone would take a
// quarter of an hour, and go-redis's own health check sends pings without waiting
// for answers.
const silentBeats = 4

// A SUBSCRIBE names so many channels, and so many channels may be unconfirmed
// at a time. The server puts all answers to a command into its output buffer
// before it sends any, and drops subscribers whose buffer exceeds 32 MB.
const (
	subscribeChunk = 1000
	unconfirmedMax = 16 * subscribeChunk
)

const (
	complainEvery = time.Minute // how often unreadable notifications are said
	mostRereads   = 50          // how many accounts are read in a second because of them
)

var (
	errSilent = fmt.Errorf("%w: no answer on the subscription for four beats", coordinator.ErrUnreachable)
	errMoved  = fmt.Errorf("%w: the master has changed", coordinator.ErrUnreachable)
)

// connection is one life of a subscription, from the dial to the first error.
//
// Two goroutines share it: the reader (run itself) receives and calls the
// watcher; the writer subscribes, pings and watches over the silence. A third
// one looks for a new master.
type connection struct {
	sub    *subscription
	pubsub *redis.PubSub
	dialed dialed
	again  bool        // it replaces one that was lost
	flowed bool        // the whole set was subscribed once; owned by the reader
	master bool        // the server has said that it is one; owned by the reader
	heard  atomic.Bool // something has arrived since the last beat

	// Owned by the reader: what unreadable notifications have caused.
	complained, reread time.Time
	rereads            float64 // how many accounts may be read because of them now

	asks      atomic.Bool // the server can be asked for its role
	asked     atomic.Bool // it was, and has not answered yet
	onReplica atomic.Bool // it is a replica, and was from the beginning

	lastAsked time.Time     // owned by the writer
	outbox    []command     // owned by the writer: not yet sent
	room      chan struct{} // holds one value when confirmations have made room

	mu          sync.Mutex
	batches     []batch // guarded by mu: not yet confirmed, in the order of sending
	unconfirmed int     // guarded by mu: channels that were sent
	reason      error   // guarded by mu: why one of the helpers gave up
}

// command is one SUBSCRIBE or UNSUBSCRIBE.
type command struct {
	send     func(ctx context.Context, channels ...string) error
	channels []string
	answers  int // confirmations that will come
}

// batch is a set of accounts that is announced as a whole, when as many
// channels have been confirmed as are subscribed for it.
type batch struct {
	accounts []string
	missing  int
}

// run subscribes to everything and delivers until something goes wrong, and
// returns what. Nothing of the connection runs any more then.
func (c *connection) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.pubsub = c.sub.store.reads.Subscribe(ctx) // to nothing yet
	defer c.pubsub.Close()
	c.accept(c.sub.everything())
	if err := c.dial(ctx); err != nil {
		return c.sub.store.fault(ctx, "subscribe", "", err)
	}
	if c.again && c.sub.store.doubt != nil {
		// What is read because of Subscribed must not come from where the
		// address led before.
		c.sub.store.doubt.all()
	}

	var helpers sync.WaitGroup // joined below; they end with ctx or a failure, and end the reader by closing
	helpers.Go(func() { c.giveUp(c.write(ctx)) })
	if c.sub.store.moves != nil {
		helpers.Go(func() { c.giveUp(c.followMaster(ctx)) })
	}
	if c.sub.store.doubt != nil {
		helpers.Go(func() { c.giveUp(c.seekMaster(ctx)) })
	}
	err := c.read()
	c.mu.Lock()
	if c.reason != nil { // one of the helpers has ended the reading
		err = c.reason
	}
	c.mu.Unlock()
	cancel()
	helpers.Wait()
	return c.sub.store.fault(context.Background(), "subscribe", "", err)
}

// dial makes the connection, by sending the first command on it: nothing else
// may (see noRedial).
func (c *connection) dial(ctx context.Context) error {
	ctx, cancel := c.sub.store.bounded(ctx)
	defer cancel()
	ctx = c.dialed.in(ctx)
	c.heard.Store(true)
	if len(c.outbox) == 0 { // everything was removed meanwhile
		return c.pubsub.Ping(ctx)
	}
	first := c.outbox[0]
	c.outbox = c.outbox[1:]
	c.unconfirmed += first.answers // nobody else is there yet
	return first.send(ctx, first.channels...)
}

// giveUp ends the connection; the first reason is the one that is told.
func (c *connection) giveUp(reason error) {
	c.mu.Lock()
	if c.reason == nil && !errors.Is(reason, context.Canceled) {
		c.reason = reason
	}
	c.mu.Unlock()
	_ = c.pubsub.Close() // the second closer is told that it is closed
}

// noDeadline is the time of no deadline, as connections understand it.
var noDeadline time.Time

// noRedial returns the context for everything after the dial. It has ended
// already, so that go-redis, which dials anew and subscribes to everything in
// one command when it meets an error, cannot: a new connection is a new start
// here (all accounts are announced again), and one command for 300,000
// channels overflows the server's output buffer. The deadline is still obeyed,
// and it is all that reads and writes of a PubSub look at.
func noRedial(deadline time.Time) (context.Context, context.CancelFunc) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if deadline.IsZero() {
		return ended, cancel
	}
	return context.WithDeadline(ended, deadline)
}

// read delivers what arrives until the connection ends.
func (c *connection) read() error {
	ctx, cancel := noRedial(noDeadline)
	defer cancel()
	var in inbox = pubsubInbox{c.pubsub, ctx}
	if c.dialed.conn != nil {
		var err error
		if in, err = newSocketInbox(c.dialed.conn); err != nil {
			return err
		}
	}
	for {
		a, err := in.next()
		if err != nil && !c.refused(err) && !isSignOfLife(err) {
			return err
		}
		switch a.kind {
		case notification:
			c.deliver(a.channel, a.payload)
		case confirmation:
			if a.push && c.sub.store.doubt != nil {
				c.asks.Store(true)
			}
			c.confirmed()
		case roleAnswer:
			if err := c.learn(a.is); err != nil {
				return err
			}
		case signOfLife:
		}
		if !c.heard.Load() {
			c.heard.Store(true)
		}
	}
}

// isSignOfLife reports whether an error is a server's answer to a ping, which it
// refuses as all other work. What it publishes arrives all the same.
func isSignOfLife(err error) bool {
	var answer refusal
	return errors.As(err, &answer) && (redis.HasErrorPrefix(answer, "MISCONF") || redis.HasErrorPrefix(answer, "MASTERDOWN"))
}

// deliver notifies of one message. One that cannot be read still says that
// something has changed: the account is announced again, so that whoever
// follows it loads it, and learns from Load what is wrong.
func (c *connection) deliver(name, payload string) {
	s := c.sub.store
	account, channel, ok := s.keys.split(name)
	if !ok {
		return
	}
	event, err := s.event(account, channel, payload)
	if err != nil {
		c.unreadable(account, channel, err)
		return
	}
	c.sub.watcher.Notified(event)
}

// unreadable has an account read of which a notification cannot be. Whoever may
// publish can send as many as he likes: of them all only so many have anything
// read or logged. What a reader may publish changes nothing, so nothing is read.
func (c *connection) unreadable(account, channel string, err error) {
	s := c.sub.store
	n := s.unreadables.Add(1)
	now := time.Now()
	if now.Sub(c.complained) >= complainEvery {
		s.log.Warn("notifications cannot be read", "account", account, "channel", channel, "error", err, "so_far", n)
		c.complained = now
	}
	if channel == wantedChannel {
		return
	}
	c.rereads = min(c.rereads+now.Sub(c.reread).Seconds()*mostRereads, mostRereads)
	c.reread = now
	if c.rereads >= 1 {
		c.rereads--
		c.sub.watcher.Subscribed([]string{account})
	} // else the poll finds it
}

// confirmed counts a channel that the server has confirmed. They come in the
// order in which they were asked for.
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
			c.batches[0] = batch{} // lets go of the names
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

// write sends what is to be sent, pings, and returns when the server has been
// silent for too long. Whatever arrives is a sign of life, so it asks for one
// only when a beat has brought nothing.
func (c *connection) write(ctx context.Context) error {
	beat := c.sub.store.beat
	// Many connections begin together, for example when a server comes back.
	// They need not ask together from then on.
	timer := time.NewTimer(rand.N(beat))
	defer timer.Stop()
	for silent := 0; ; {
		if err := c.flush(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.room:
		case <-c.sub.wake:
			for _, one := range c.sub.latest() {
				c.accept([]change{one})
			}
		case <-timer.C:
			// Beats are counted, not time: a process that was paused
			// finds one beat waiting, not a silence of minutes.
			timer.Reset(beat)
			if err := c.ask(); err != nil {
				return err
			}
			if c.heard.Swap(false) {
				silent = 0
				continue
			}
			if silent >= silentBeats {
				return errSilent
			}
			silent++
			if err := c.send(func(ctx context.Context) error { return c.pubsub.Ping(ctx) }); err != nil {
				return err
			}
		}
	}
}

// accept makes one batch of changes and puts its commands into the outbox.
func (c *connection) accept(changes []change) {
	var all batch
	for _, change := range changes {
		has, hasNot := c.sub.channels(change.role, change.accounts)
		if len(has) > 0 {
			all.accounts = append(all.accounts, change.accounts...)
			all.missing += len(has)
		}
		c.queue(c.pubsub.Subscribe, has, 1)
		c.queue(c.pubsub.Unsubscribe, hasNot, 0)
	}
	if all.missing > 0 {
		c.mu.Lock()
		c.batches = append(c.batches, all)
		c.mu.Unlock()
	}
}

// queue cuts channels into commands; each channel has so many answers that
// count as confirmations.
func (c *connection) queue(send func(context.Context, ...string) error, channels []string, answers int) {
	for len(channels) > 0 {
		n := min(len(channels), subscribeChunk)
		c.outbox = append(c.outbox, command{send, channels[:n:n], n * answers})
		channels = channels[n:]
	}
}

// flush sends of the outbox what may be sent now.
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
		if err := c.send(func(ctx context.Context) error { return next.send(ctx, next.channels...) }); err != nil {
			return err
		}
	}
	c.outbox = nil // lets go of the names
	return nil
}

// send gives one write its deadline. It is longer than a silence may be: a
// server that is busy with our own SUBSCRIBEs reads slowly.
func (c *connection) send(write func(ctx context.Context) error) error {
	ctx, cancel := noRedial(time.Now().Add(2 * silentBeats * c.sub.store.beat))
	defer cancel()
	return write(ctx)
}

// wake puts a value into a channel that holds one, if there is none.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
