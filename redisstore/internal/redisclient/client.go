// Package redisclient makes the clients of go-redis that a Store uses, and works
// around what go-redis does not do:
//
//   - a dial never fails in a pool (lazydial.go);
//   - a connection's first command waits for no HELLO (greeting.go);
//   - connections that went silent, or lead to a demoted master, are replaced
//     (idlepurge.go, role.go);
//   - a failover is noticed by subscriptions (failover.go, guard.go);
//   - a cluster's topology is read again after a fault (cluster.go);
//   - a script that writes is never repeated (OnMaster);
//   - commands that the server answers late on purpose get time (blocking.go);
//   - many goroutines share round trips (autopipeline.go);
//   - the time of an operation begins when it is sent (operation.go);
//   - both ends agree on TLS, or the error says how they differ (peer.go, tls.go);
//   - a subscription is never replaced behind its owner's back (pubsub.go).
package redisclient

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Client is the clients of one Store.
type Client struct {
	Reads  redis.UniversalClient // may repeat a command: for what can be done twice
	Writes redis.UniversalClient // does not repeat anything; the same as Reads after Wrap

	timeout  time.Duration
	owned    bool                 // Close closes the clients
	peer     *peer                // nil after Wrap
	failover *failover            // with Sentinel; otherwise nil
	idle     *idlePurge           // of a single address; otherwise nil
	conns    *trackedConns        // of all pools; nil after Wrap
	greeted  *atomic.Bool         // see greeting.given
	dialed   atomic.Bool          // a PubSub has been connected once
	guards   func() *redis.Client // makes the client of a guard; nil unless of a single address
	blocking *blocking            // empty after Wrap
}

// Options are what a Client is opened with.
type Options struct {
	URL     string
	TLS     *tls.Config   // for a URL with TLS; nil: the system's authorities
	Timeout time.Duration // of each operation
}

// Open returns a Client of the Redis that the URL names. It does not connect.
func Open(o Options) (*Client, error) {
	server, err := parse(o.URL)
	if err != nil {
		return nil, err
	}
	config, err := mergeTLS(o.TLS, server.tls)
	if err != nil {
		return nil, err
	}
	d := dialer{tls: config, timeout: o.Timeout, peer: newPeer(server.addrs, config), greeted: new(atomic.Bool), conns: newTrackedConns()}
	c := &Client{timeout: o.Timeout, owned: true, peer: d.peer, greeted: d.greeted, conns: d.conns, blocking: new(blocking)}
	switch {
	case server.failover != nil:
		d.failover = newFailover()
		c.failover = d.failover
	case server.single != nil:
		d.idle = &idlePurge{ask: askEvery, stay: stayFor, conns: d.conns}
		c.idle, c.guards = d.idle, func() *redis.Client { return d.newGuardClient(*server.single) }
	}
	// Two clients, because go-redis repeats either every command that failed or none,
	// and a script that writes must not be repeated.
	if server.cluster != nil {
		c.Reads, c.Writes = d.newCluster(*server.cluster, 1, nil), d.newCluster(*server.cluster, -1, c.blocking)
		return c, nil
	}
	c.Reads, c.Writes = d.pair(server, c.blocking)
	return c, nil
}

// pair returns two clients with the same connections, so that what reads first need not
// dial again in order to write.
func (d dialer) pair(s servers, b *blocking) (reads, writes *redis.Client) {
	if s.failover != nil {
		writes = d.newFailover(*s.failover)
	} else {
		writes = redis.NewClient(d.singleOptions(*s.single))
	}
	was := writes.Options()
	reads = writes.WithTimeout(was.ReadTimeout)
	own := reads.Options() // a copy, which no other client has
	own.WriteTimeout, own.MaxRetries = was.WriteTimeout, 1
	hooks := d.hooks(writes)
	addHooks(writes, hooks)
	addHooks(reads, hooks) // WithTimeout keeps none
	b.add(writes, hooks)
	return reads, writes
}

func addHooks(to *redis.Client, hooks []redis.Hook) {
	for _, hook := range hooks {
		to.AddHook(hook)
	}
}

// Wrap returns a Client for one that the caller has made and closes.
func Wrap(client redis.UniversalClient, timeout time.Duration) *Client {
	return &Client{Reads: client, Writes: client, timeout: timeout, greeted: new(atomic.Bool), blocking: new(blocking)}
}

// Close closes the clients that Open has made.
func (c *Client) Close() error {
	if !c.owned {
		return nil
	}
	if _, shared := c.Writes.(*redis.Client); shared {
		return c.Writes.Close()
	}
	return errors.Join(c.Reads.Close(), c.Writes.Close())
}

// Ping asks the server. Afterwards there are a connection for reading and one for
// writing, which may be the same.
func (c *Client) Ping(ctx context.Context) error {
	var writing error
	var both sync.WaitGroup // at the same time: a sentinel that hangs costs each dial half of the timeout
	if c.owned {
		both.Go(func() { // joined below
			// Twice: a write is never repeated, and over TLS nothing else shows
			// that the server has closed a connection.
			if writing = c.Writes.Ping(ctx).Err(); writing != nil {
				writing = c.Writes.Ping(ctx).Err()
			}
		})
	}
	err := c.Reads.Ping(ctx).Err()
	both.Wait()
	if err == nil {
		err = writing
	}
	return err
}

// Discard has no operation begin on the connections that the pools have: they may be
// silent, or lead to another server than their address does now. Operations under way go
// on.
func (c *Client) Discard() {
	if c.conns != nil {
		c.conns.discard(nil)
	}
}

// AskEvery sets how often servers are asked for their role, for tests. It is
// called before the Client is used.
func (c *Client) AskEvery(d time.Duration) { c.idle.ask, c.idle.stay = d, 5*d/2 }

// Bounded returns the context of an operation that is made once: unlike that of Operation
// it can be cancelled, and its time begins at once. A client stops waiting at the deadline
// only: go-redis does not notice a mere cancel.
func (c *Client) Bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.timeout)
}

// Sleep waits. It reports false if ctx has ended.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil // of a context that only has a deadline Done tells nothing
	case <-ctx.Done():
		return false
	}
}

// servers is what a URL names; one of the first three fields is set.
type servers struct {
	single   *redis.Options
	failover *redis.FailoverOptions
	cluster  *redis.ClusterOptions

	tls   *tls.Config // nil: the URL does not ask for TLS
	addrs []string    // that a TLS probe may dial; each answers for all
}

func parse(redisURL string) (s servers, err error) {
	u, err := url.Parse(redisURL)
	if err != nil {
		// The error's text contains the URL, and with it the password.
		if bad, ok := errors.AsType[*url.Error](err); ok {
			err = bad.Err
		}
		return servers{}, fmt.Errorf("the Redis URL cannot be read: %w", err)
	}
	query := u.Query()
	switch {
	case query.Has("master_name"):
		if s.failover, err = redis.ParseFailoverURL(redisURL); err == nil {
			s.tls, s.addrs = s.failover.TLSConfig, s.failover.SentinelAddrs
		}
	case query.Has("addr"):
		if s.cluster, err = redis.ParseClusterURL(redisURL); err == nil {
			s.tls, s.addrs = s.cluster.TLSConfig, s.cluster.Addrs
		}
	default:
		if s.single, err = redis.ParseURL(redisURL); err == nil && s.single.Network != "unix" {
			s.tls, s.addrs = s.single.TLSConfig, []string{s.single.Addr}
		}
	}
	if err != nil {
		return servers{}, fmt.Errorf("the Redis URL cannot be used: %w", err)
	}
	return s, nil
}

// dialer is what all clients of a Store have in common.
type dialer struct {
	tls      *tls.Config
	timeout  time.Duration
	peer     *peer
	failover *failover    // with Sentinel
	greeted  *atomic.Bool // see greeting.given
	idle     *idlePurge   // shared by the clients of one address; nil: each client or node has its own
	conns    *trackedConns
}

// hooks returns the hooks of a client of one server in their order, the outermost
// first. This is the order in which a command and a dial pass them:
//
//   - lazyDial is the outermost, so that the others see a failed dial as an error;
//   - greetingSpared is before all that note answers, and greetingSent after all that
//     note what a connection waits for;
//   - idlePurge comes before autopipeline, so that a command whose connection was
//     useless may be queued again, and before failover, so that it wraps the
//     connection of which failover reads the address;
//   - peer notes every answer;
//   - autopipeline is the innermost: its round trips pass idlePurge as pipelines.
func (d dialer) hooks(client *redis.Client) []redis.Hook {
	idle := d.idle
	if idle == nil {
		idle = &idlePurge{conns: d.conns}
	}
	spared, sent := d.greetingHooks(client)
	hooks := []redis.Hook{lazyDial{}, spared, idle, d.peer}
	if d.failover != nil {
		hooks = append(hooks, d.failover)
	}
	return append(hooks, sent, &autopipeline{client: client, timeout: d.timeout})
}

// greetingHooks returns the hooks that have a client's connections greet.
func (d dialer) greetingHooks(client *redis.Client) (spared, sent redis.Hook) {
	g := newGreeting(client.Options(), d.greeted)
	if g == nil {
		return noHook{}, noHook{}
	}
	return greetingSpared{greeting: g}, greetingSent{greeting: g}
}

// The functions below choose alike: the deadlines of contexts count, nothing waits
// longer than an operation may take, one dial is one attempt, and nothing is sent
// at connect that a least-privilege user may not send.

// poolSize returns how many connections a pool has that is for reading and for writing,
// given what the URL says of one: what reads must not keep what writes waiting.
func poolSize(fromURL int) int { return 2 * cmp.Or(fromURL, 10*runtime.GOMAXPROCS(0)) }

// newGuardClient returns a client for the connection of a guard. It is not tracked:
// the end of a guard ends a subscription, and an operation that timed out is no
// reason for that.
func (d dialer) newGuardClient(o redis.Options) *redis.Client {
	client := redis.NewClient(d.singleOptions(o))
	spared, sent := d.greetingHooks(client)
	addHooks(client, []redis.Hook{lazyDial{}, spared, d.peer, sent})
	return client
}

func (d dialer) singleOptions(o redis.Options) *redis.Options {
	// A connection is replaced after a minute even if its server reports to be the
	// master: one that is cut off may not know that it has a successor.
	o.ConnMaxLifetime = cmp.Or(o.ConnMaxLifetime, time.Minute)
	o.ContextTimeoutEnabled = true
	o.MaxRetries = -1
	o.PipelinePoolSize = -1 // pipelines use the same connections
	o.PoolSize = poolSize(o.PoolSize)
	o.DialerRetries = 1
	o.DialTimeout = d.or(o.DialTimeout)
	o.ReadTimeout = d.or(o.ReadTimeout)
	o.WriteTimeout = d.or(o.WriteTimeout)
	o.PoolTimeout = d.or(o.PoolTimeout)
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.TLSConfig = d.tls
	return &o
}

func (d dialer) newFailover(o redis.FailoverOptions) *redis.Client {
	o.ContextTimeoutEnabled = true
	o.MaxRetries = -1
	o.PipelinePoolSize = -1 // pipelines use the same connections
	o.PoolSize = poolSize(o.PoolSize)
	o.DialerRetries = 1
	// A dial asks all sentinels first, and waits for one that hangs as long as for
	// any answer: there must be time left after that.
	o.DialTimeout = d.or(o.DialTimeout)
	o.ReadTimeout = cmp.Or(o.ReadTimeout, d.timeout/2)
	o.WriteTimeout = d.or(o.WriteTimeout)
	o.PoolTimeout = d.or(o.PoolTimeout)
	o.DisableIdentity = true
	o.TLSConfig = d.tls
	return redis.NewFailoverClient(&o)
}

// newCluster returns the client of a cluster. b, unless nil, gets the clients of its nodes.
func (d dialer) newCluster(o redis.ClusterOptions, retries int, b *blocking) *redis.ClusterClient {
	o.ContextTimeoutEnabled = true
	o.MaxRetries = retries
	o.PipelinePoolSize = -1 // pipelines use the same connections
	o.DialerRetries = 1
	o.DialTimeout = cmp.Or(o.DialTimeout, d.timeout/2)
	o.ReadTimeout = d.or(o.ReadTimeout)
	o.WriteTimeout = d.or(o.WriteTimeout)
	o.PoolTimeout = d.or(o.PoolTimeout)
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	// A dead node redirects no client; see reloadOnFault.
	o.ClusterStateReloadInterval = time.Second
	o.TLSConfig = d.tls
	client := redis.NewClusterClient(&o)
	client.AddHook(reloadOnFault(client))
	client.OnNewNode(func(node *redis.Client) {
		hooks := d.hooks(node)
		addHooks(node, hooks)
		if b != nil {
			b.add(node, hooks)
		}
	})
	return client
}

func (d dialer) or(fromURL time.Duration) time.Duration { return cmp.Or(fromURL, d.timeout) }
