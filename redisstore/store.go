package redisstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
	"github.com/zhongkong/zhongkong/redisstore/internal/redisclient"
)

// Options configure a Store. The zero Options are fine for one Redis without
// sealing.
type Options struct {
	// Prefix begins the names of all keys and channels. Empty: DefaultPrefix.
	// Deployments that share a Redis but not their tokens need different ones.
	Prefix string

	// Instance names this process in the lock, the log and the records. Empty:
	// the host's name, the process id and a few random characters. It should be
	// unique, so that an operator can tell the processes apart; nothing else
	// depends on it.
	Instance string

	// Logger gets what cannot be returned as an error: a commit that the replicas
	// did not confirm, a notification that cannot be decoded. Nil: nothing is
	// logged.
	Logger *slog.Logger

	// Sealer encrypts tokens in Redis and in notifications. Nil: tokens are
	// stored in plain text. All processes must agree: a token that is not in the
	// form this process expects is refused (coordinator.ErrSealed).
	Sealer Sealer

	// Sealing says which form of tokens is written and read with a Sealer. Zero:
	// SealRequire. The other values are for switching a fleet step by step.
	Sealing Sealing

	// TLS is the configuration for a URL with TLS (rediss://), such as a private
	// authority or a client certificate. An empty ServerName means the URL's
	// host. Nil: the system's authorities and no client certificate. It is an
	// error to set it for a URL without TLS, or for New.
	TLS *tls.Config

	// Replicas is how many replicas Commit and Restore wait for. Zero: none. Set
	// it to 1 where a failover is possible.
	//
	// What changes a grant waits for as many, for at most 4 s, and returns
	// coordinator.ErrUnconfirmed if there are fewer. From Redis 7.2 on they also
	// wait until the server and those replicas have written to their disks (WAITAOF), so
	// that they fail on a server without appendonly. An older server cannot be asked:
	// without `appendonly yes` and `appendfsync always` it may lose what was confirmed.
	// redisadmin.Inspector.GrantSettings finds out.
	Replicas int

	// WaitTimeout is how long Commit and Restore wait at most. Zero: 100 ms. It must be
	// at least 1 ms and shorter than Timeout.
	WaitTimeout time.Duration

	// Timeout bounds each operation from when it is sent, retries included. Zero: 1 s.
	// Increase it for a Redis in another region. Before that, an operation may wait
	// until the server has answered what this process has sent already.
	Timeout time.Duration

	// PingInterval is how long a subscription may be silent before it pings the
	// server. After four pings without an answer the server is taken to hang.
	// Zero: 250 ms; at least 10 ms.
	PingInterval time.Duration
}

// Stats are counters since the Store was made.
type Stats struct {
	// Unconfirmed is the number of writes of a token that fewer than
	// Options.Replicas replicas confirmed in time. A failover may lose such a
	// token.
	Unconfirmed uint64

	// Unreadable is the number of notifications that could not be decoded: of an
	// unknown format, or sealed with a key that this process does not have.
	Unreadable uint64

	// Orphans is the number of locks that were released because it was unknown
	// whether this process had got them.
	Orphans uint64
}

// Store implements [coordinator.Store] on Redis. Make one with Open or New; one
// Store serves all accounts of a process. It is safe for concurrent use.
type Store struct {
	client  *redisclient.Client
	scripts func() scripts // made when first needed: a command that only reads needs none
	grants  func() grantScripts
	used    sync.Map // hashes of the scripts that this process has run; see firstUse
	keys    layout.Keyspace

	instance string
	log      *slog.Logger
	sealer   Sealer
	sealing  Sealing
	replicas int
	wait     time.Duration
	timeout  time.Duration

	admission    *admission
	pingInterval time.Duration
	confirming   chan struct{} // has a value for each grant that waits for its confirmation

	unconfirmed, unreadables, orphans atomic.Uint64
	clock                             serverClock
	olderServer                       atomic.Bool // the last grant was confirmed by a server without WAITAOF; see grantWaits
	scripted                          atomic.Bool // Load reads by a script; see there
	shares                            atomic.Bool // scripts may write keys of all accounts; see withLog
	apart                             atomic.Bool // no transaction may read keys of more than one account

	background struct {
		sync.Mutex
		sync.WaitGroup
		ctx  context.Context // ends with Close
		stop context.CancelFunc
	}
}

var _ coordinator.Store = (*Store)(nil)

// Open returns a Store on the Redis that a URL of go-redis names:
//
//	redis://user:password@host:6379/0                a single server
//	rediss://...                                     the same over TLS
//	unix:///run/redis.sock?db=0                      over a Unix socket
//	redis://host:6379?addr=host2:6379&addr=...       a cluster
//	redis://host:26379?master_name=NAME&addr=...     Sentinel; user and password of the
//	                                                 URL are the sentinels', those of the
//	                                                 servers are username= and password=
//
// The parameters of go-redis (dial_timeout, pool_size, ...) are understood. What the
// URL does not say is chosen so that faults are noticed quickly. Open does not connect;
// Ping does. Close closes what Open has opened.
func Open(redisURL string, o Options) (*Store, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	client, err := redisclient.Open(redisclient.Options{URL: redisURL, TLS: o.TLS, Timeout: o.Timeout})
	if err != nil {
		return nil, fmt.Errorf("redisstore: %w", err)
	}
	return newStore(client, o), nil
}

// New returns a Store on a client that the caller has opened and closes. The
// client should have ContextTimeoutEnabled set, or operations take as long as its
// ReadTimeout says, and MaxRetries -1, or a Begin whose answer was lost may be
// counted twice. With Sentinel prefer Open: it notices a planned failover at once,
// where a plain failover client may stay subscribed to the demoted master for some
// ten seconds. Writes are confirmed only by a *redis.Client or a *redis.ClusterClient. A
// *redis.Ring is refused.
//
// New does not connect; Ping does.
func New(client redis.UniversalClient, o Options) (*Store, error) {
	_, shards := client.(*redis.Ring)
	switch {
	case client == nil:
		return nil, errors.New("redisstore: the client is nil")
	case shards:
		return nil, errors.New("redisstore: a *redis.Ring spreads the accounts over servers that know nothing of each other: use a *redis.ClusterClient or a *redis.Client")
	case o.TLS != nil:
		return nil, errors.New("redisstore: Options.TLS is for Open; a client has its own (TLSConfig)")
	}
	if err := o.complete(); err != nil {
		return nil, err
	}
	return newStore(redisclient.Wrap(client, o.Timeout), o), nil
}

func newStore(client *redisclient.Client, o Options) *Store {
	s := &Store{
		client:       client,
		scripts:      sync.OnceValue(newScripts),
		grants:       sync.OnceValue(func() grantScripts { return newGrantScripts(coordinator.GrantSettle) }),
		keys:         layout.Keyspace{Prefix: o.Prefix},
		instance:     o.Instance,
		log:          o.Logger,
		sealer:       o.Sealer,
		sealing:      o.Sealing,
		replicas:     o.Replicas,
		wait:         o.WaitTimeout,
		timeout:      o.Timeout,
		admission:    &admission{timeout: o.Timeout, most: firstAdmitted},
		pingInterval: o.PingInterval,
		confirming:   make(chan struct{}, maxConfirming),
	}
	_, cluster := client.Writes.(*redis.ClusterClient)
	s.shares.Store(!cluster)
	s.background.ctx, s.background.stop = context.WithCancel(context.Background())
	return s
}

// complete sets the defaults and checks the rest.
func (o *Options) complete() error {
	o.Prefix = cmp.Or(o.Prefix, DefaultPrefix)
	if o.Instance == "" {
		o.Instance = defaultInstance()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.WaitTimeout = cmp.Or(o.WaitTimeout, 100*time.Millisecond)
	o.Timeout = cmp.Or(o.Timeout, time.Second)
	o.PingInterval = cmp.Or(o.PingInterval, 250*time.Millisecond)
	switch {
	case o.PingInterval < 10*time.Millisecond:
		return fmt.Errorf("redisstore: Options.PingInterval is %v; it must be at least 10ms", o.PingInterval)
	case o.Replicas < 0:
		return fmt.Errorf("redisstore: Options.Replicas is %d; it must not be negative", o.Replicas)
	case o.Timeout < 0:
		return fmt.Errorf("redisstore: Options.Timeout is %v; it must be positive", o.Timeout)
	case o.WaitTimeout < time.Millisecond || o.WaitTimeout >= o.Timeout:
		return fmt.Errorf("redisstore: Options.WaitTimeout is %v; it must be at least 1ms and less than Options.Timeout, %v",
			o.WaitTimeout, o.Timeout)
	}
	if err := o.checkSealing(); err != nil {
		return err
	}
	if err := checkPrefix(o.Prefix); err != nil {
		return err
	}
	return checkName("instance", o.Instance)
}

func defaultInstance() string {
	host, err := os.Hostname()
	if err != nil || checkName("host", host) != nil || len(host) > 64 {
		host = "unknown"
	}
	return fmt.Sprintf("%s:%d-%s", host, os.Getpid(), rand.Text()[:4])
}

// Instance returns Options.Instance, or the name that was made in its place.
func (s *Store) Instance() string { return s.instance }

// Stats returns the counters.
func (s *Store) Stats() Stats {
	return Stats{
		Unconfirmed: s.unconfirmed.Load(),
		Unreadable:  s.unreadables.Load(),
		Orphans:     s.orphans.Load(),
	}
}

// Close stops what runs in the background, waits for it, and closes the connections
// that Open has made. Subscriptions must have ended before.
func (s *Store) Close() error {
	s.background.Lock()
	s.background.stop()
	s.background.Unlock()
	s.background.Wait()
	return s.client.Close()
}

// spawn runs f in the background; its context ends when the Store is closed, and
// Close waits for it. A closed Store does not run it.
func (s *Store) spawn(f func(ctx context.Context)) {
	s.background.Lock()
	defer s.background.Unlock()
	if s.background.ctx.Err() == nil {
		s.background.Go(func() { f(s.background.ctx) })
	}
}

// Ping reports whether the server answers. Afterwards the connections for reading
// and for writing are open, and the first token does not wait for them.
func (s *Store) Ping(ctx context.Context) error {
	bounded, cancel := s.client.Bounded(ctx)
	defer cancel()
	return s.fault(ctx, "ping", "", s.client.Ping(bounded))
}

// onSortedSet makes commands on a key of an account, at its master.
func (s *Store) onSortedSet(ctx context.Context, op, account, key string, do func(context.Context, redis.UniversalClient) error) error {
	bounded, cancel := s.client.Bounded(ctx)
	defer cancel()
	err := s.client.OnMaster(bounded, key, func(client redis.UniversalClient) error { return do(bounded, client) })
	return s.fault(ctx, op, account, wrongType(err, key, "sorted set"))
}

// operation returns the context of an operation that is confirmed as c says. Its time
// begins when it is sent.
func (s *Store) operation(ctx context.Context, c confirm) context.Context {
	return redisclient.Operation(ctx, s.timeout+c.atMost())
}
