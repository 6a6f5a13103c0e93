package redisclient

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrMoved is the error of a subscription whose server is no longer the master.
var ErrMoved = errors.New("the master has changed")

// PubSub is a connection for subscriptions that is never replaced: after an error
// its owner closes it and makes another one. The PubSub of go-redis redials by
// itself when it meets an error and subscribes to everything in one command,
// which overflows the server's output buffer with 300,000 channels and hides from
// its owner that messages were lost.
//
// One goroutine may call Receive, another one Subscribe, Unsubscribe and Ping, a
// third one WatchMaster. Close ends all of them.
type PubSub struct {
	client *Client
	pubsub *redis.PubSub
	dial   pubsubDial
	guard  *guard // nil: the client's address always leads to the same server, or others tell of a failover
}

// PubSub returns one that is not connected.
func (c *Client) PubSub(ctx context.Context) *PubSub {
	return &PubSub{client: c, pubsub: c.Reads.Subscribe(ctx)}
}

// Connect dials, and sends the first SUBSCRIBE, or PSUBSCRIBE if these are patterns, or
// a PING if there are no channels.
//
// The guard is dialed first; see there. Only at the start of a process are both dialed
// side by side, together with a connection of the pool for what is read next. If the
// address changes to another server just then, and the one before still takes itself
// for the master, the PubSub stays there: what it misses is found by the next reading.
func (p *PubSub) Connect(ctx context.Context, patterns bool, channels ...string) error {
	first := !p.client.dialed.Swap(true)
	refused := p.client.greeted.Load()
	err := p.connect(ctx, first, patterns, channels)
	if !refused && p.client.greeted.Load() {
		// The server has refused the greeting of one of the connections. The next ones
		// are greeted by go-redis.
		p.Close()
		p.pubsub = p.client.Reads.Subscribe(ctx)
		err = p.connect(ctx, false, patterns, channels)
	}
	return err
}

func (p *PubSub) connect(ctx context.Context, sideBySide, patterns bool, channels []string) error {
	if !sideBySide {
		if err := p.askGuard(ctx); err != nil {
			return err
		}
		return p.subscribe(ctx, patterns, channels)
	}
	var guarding error
	var others sync.WaitGroup // joined below; bounded by ctx
	others.Go(func() { guarding = p.askGuard(ctx) })
	if single, ok := p.client.Writes.(*redis.Client); ok {
		others.Go(func() { _ = single.Ping(ctx).Err() }) // only to have the connection
	}
	err := p.subscribe(ctx, patterns, channels)
	others.Wait()
	return cmp.Or(err, guarding)
}

// askGuard dials the guard, if there is to be one, and asks for its server's role.
func (p *PubSub) askGuard(ctx context.Context) error {
	if p.client.guards == nil {
		return nil
	}
	p.guard = newGuard(p.client.guards())
	return p.guard.ask(ctx)
}

func (p *PubSub) subscribe(ctx context.Context, patterns bool, channels []string) error {
	ctx = p.dial.in(ctx)
	if len(channels) == 0 {
		return p.pubsub.Ping(ctx)
	}
	if patterns {
		return p.pubsub.PSubscribe(ctx, channels...)
	}
	return p.pubsub.Subscribe(ctx, channels...)
}

// Addr is the server's address, "" if the client was made elsewhere.
func (p *PubSub) Addr() string { return p.dial.addr }

// Receive waits for the next message and returns it as go-redis does: a
// *redis.Message, a *redis.Subscription, a *redis.Pong. An error ends the PubSub.
func (p *PubSub) Receive() (any, error) {
	// Not ReceiveTimeout: a timeout in the middle of a message loses the half that
	// was read.
	received, err := p.pubsub.Receive(canceled)
	if answer, ok := errors.AsType[redis.Error](err); ok && (redis.HasErrorPrefix(answer, "MISCONF") || redis.HasErrorPrefix(answer, "MASTERDOWN")) {
		// A server in this state rejects PING as it rejects most commands. It
		// delivers messages all the same, so the answer is a sign of life.
		return &redis.Pong{}, nil
	}
	return received, err
}

// Subscribe sends a SUBSCRIBE. Receive returns a confirmation for each channel.
func (p *PubSub) Subscribe(deadline time.Time, channels ...string) error {
	ctx, cancel := noRedial(deadline)
	defer cancel()
	return p.pubsub.Subscribe(ctx, channels...)
}

// PSubscribe sends a PSUBSCRIBE. Receive returns a confirmation for each pattern, also for
// one that is subscribed already.
func (p *PubSub) PSubscribe(deadline time.Time, patterns ...string) error {
	ctx, cancel := noRedial(deadline)
	defer cancel()
	return p.pubsub.PSubscribe(ctx, patterns...)
}

// Unsubscribe sends an UNSUBSCRIBE.
func (p *PubSub) Unsubscribe(deadline time.Time, channels ...string) error {
	ctx, cancel := noRedial(deadline)
	defer cancel()
	return p.pubsub.Unsubscribe(ctx, channels...)
}

// Ping sends a PING. Receive returns the answer.
func (p *PubSub) Ping(deadline time.Time) error {
	ctx, cancel := noRedial(deadline)
	defer cancel()
	return p.pubsub.Ping(ctx)
}

// WatchMaster returns ErrMoved when the server is no longer the master, and
// another error when that can no longer be found out. It calls reported with the
// role that the server reports, now and at each check; never, if nothing is known
// of its role. It returns when ctx ends.
func (p *PubSub) WatchMaster(ctx context.Context, reported func(Role)) error {
	switch {
	case p.client.failover != nil:
		return p.watchFailover(ctx)
	case p.guard != nil:
		return p.watchRole(ctx, reported)
	}
	<-ctx.Done()
	return ctx.Err()
}

// Close ends what the other methods wait for. It may be called more than once, by
// any goroutine, after Connect has returned.
func (p *PubSub) Close() {
	_ = p.pubsub.Close() // a second call returns an error
	if p.guard != nil {
		p.guard.close()
	}
}

// canceled is the context for everything after Connect: go-redis cannot dial again with
// it. Reads and writes of a PubSub look at nothing but its deadline.
var canceled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// noRedial returns canceled with a deadline.
func noRedial(deadline time.Time) (context.Context, context.CancelFunc) {
	return context.WithDeadline(canceled, deadline)
}

// pubsubDial is what the hooks learn of a PubSub's dial. It travels in the dial's
// context: go-redis has no other way to tell the hooks whose connection they dial.
type pubsubDial struct {
	addr string       // of the server
	role atomic.Int32 // a Role: what the server reported at the dial, from the first answer on
}

type pubsubDialKey struct{}

func (d *pubsubDial) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, pubsubDialKey{}, d)
}

// pubsubDialIn returns nil if the dial is not a PubSub's.
func pubsubDialIn(ctx context.Context) *pubsubDial {
	d, _ := ctx.Value(pubsubDialKey{}).(*pubsubDial)
	return d
}
