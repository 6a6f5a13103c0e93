package redisstore

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

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
// The parameters of go-redis (dial_timeout, pool_size, ...) are understood; a
// single server is spoken to in RESP3, whatever protocol= says, if it can.
// What a URL does not say is chosen so that faults are noticed quickly. Open
// does not ask the server; Ping does. Close closes what Open has opened.
func Open(redisURL string, o Options) (*Store, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	server, err := parse(redisURL)
	if err != nil {
		return nil, err
	}
	config, err := mergeTLS(o.TLS, server.tls())
	if err != nil {
		return nil, err
	}
	d := dialer{tls: config, timeout: o.Timeout, peer: &peer{addrs: server.addrs(), config: config}}
	if server.single != nil {
		d.doubt = newDoubt()
		d.doubt.every, d.doubt.stay = askEvery, stayFor
	}
	// Two clients, because go-redis repeats whatever has failed or nothing
	// at all, and a script that writes must not be repeated behind our back.
	s, err := newStore(server.client(d, 1), server.client(d, -1), o)
	if err != nil {
		return nil, err
	}
	s.owned, s.doubt, s.peer = true, d.doubt, d.peer
	if server.failover != nil {
		// Added after redial, so that it sees the dials as they are.
		s.moves = newMoves()
		s.reads.(*redis.Client).AddHook(s.moves)
		s.writes.(*redis.Client).AddHook(s.moves)
	}
	return s, nil
}

// servers is what a URL names; one of the fields is set.
type servers struct {
	single   *redis.Options
	failover *redis.FailoverOptions
	cluster  *redis.ClusterOptions
}

func parse(redisURL string) (s servers, err error) {
	u, err := url.Parse(redisURL)
	if err != nil {
		// Its text quotes the URL, and with it the password.
		var bad *url.Error
		if errors.As(err, &bad) {
			err = bad.Err
		}
		return servers{}, fmt.Errorf("redisstore: the Redis URL cannot be read: %w", err)
	}
	query := u.Query()
	switch {
	case query.Has("master_name"):
		s.failover, err = redis.ParseFailoverURL(redisURL)
	case query.Has("addr"):
		s.cluster, err = redis.ParseClusterURL(redisURL)
	default:
		s.single, err = redis.ParseURL(redisURL)
	}
	if err != nil {
		return servers{}, fmt.Errorf("redisstore: the Redis URL cannot be used: %w", err)
	}
	return s, nil
}

// tls is what the URL says of TLS, nil if it asks for none.
func (s servers) tls() *tls.Config {
	switch {
	case s.failover != nil:
		return s.failover.TLSConfig
	case s.cluster != nil:
		return s.cluster.TLSConfig
	}
	return s.single.TLSConfig
}

// addrs are those of which each knows everything.
func (s servers) addrs() []string {
	switch {
	case s.failover != nil:
		return s.failover.SentinelAddrs
	case s.cluster != nil:
		return s.cluster.Addrs
	case s.single.Network == "unix":
		return nil
	}
	return []string{s.single.Addr}
}

// dialer is what all clients of a Store have in common.
type dialer struct {
	tls     *tls.Config
	timeout time.Duration
	peer    *peer
	doubt   *doubt // of all clients of one address; nil: each client, or node, has its own
}

func (s servers) client(d dialer, retries int) redis.UniversalClient {
	switch {
	case s.failover != nil:
		return d.newFailover(*s.failover, retries)
	case s.cluster != nil:
		return d.newCluster(*s.cluster, retries)
	}
	return d.newSingle(*s.single, retries)
}

// The three functions below choose alike: contexts' deadlines count, nothing
// waits longer than the operation may take, one dial is one dial, and nothing
// is sent at connect that a least-privilege user may not send.

func (d dialer) newSingle(o redis.Options, retries int) *redis.Client {
	// Only in RESP3 can a subscription be asked whether its server is the
	// master. A server that does not speak it is spoken to in RESP2.
	o.Protocol = 3
	// Where the address leads is looked at anew each minute, whatever the
	// server says of itself: one that is cut off may not know of its successor.
	o.ConnMaxLifetime = cmp.Or(o.ConnMaxLifetime, time.Minute)
	o.ContextTimeoutEnabled = true
	o.MaxRetries = retries
	o.PipelinePoolSize = -1 // pipelines use the same connections
	o.DialerRetries = 1
	o.DialTimeout = d.or(o.DialTimeout)
	o.ReadTimeout = d.or(o.ReadTimeout)
	o.WriteTimeout = d.or(o.WriteTimeout)
	o.PoolTimeout = d.or(o.PoolTimeout)
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.TLSConfig = d.tls
	return d.hooked(redis.NewClient(&o))
}

// hooked gives a client of one server what all of them have.
func (d dialer) hooked(client *redis.Client) *redis.Client {
	doubt := d.doubt
	if doubt == nil {
		doubt = newDoubt()
	}
	client.AddHook(redial{})
	client.AddHook(doubt)
	client.AddHook(d.peer)
	shareTrips(client, d.timeout)
	return client
}

func (d dialer) newFailover(o redis.FailoverOptions, retries int) *redis.Client {
	o.ContextTimeoutEnabled = true
	o.MaxRetries = retries
	o.PipelinePoolSize = -1 // pipelines use the same connections
	o.DialerRetries = 1
	// A dial begins with asking all sentinels, and waits for the one that
	// hangs as long as for any answer: there must be time left after it.
	o.DialTimeout = d.or(o.DialTimeout)
	o.ReadTimeout = cmp.Or(o.ReadTimeout, d.timeout/2)
	o.WriteTimeout = d.or(o.WriteTimeout)
	o.PoolTimeout = d.or(o.PoolTimeout)
	o.DisableIdentity = true
	o.TLSConfig = d.tls
	return d.hooked(redis.NewFailoverClient(&o))
}

func (d dialer) newCluster(o redis.ClusterOptions, retries int) *redis.ClusterClient {
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
	// A dead node redirects nobody; see reloadOnFault.
	o.ClusterStateReloadInterval = time.Second
	o.TLSConfig = d.tls
	client := redis.NewClusterClient(&o)
	client.AddHook(reloadOnFault{client})
	client.OnNewNode(func(node *redis.Client) {
		node.AddHook(redial{})
		node.AddHook(newDoubt())
		node.AddHook(d.peer)
		shareTrips(node, d.timeout)
	})
	return client
}

// mergeTLS is a caller's TLS configuration with what the URL says of it. The URL
// says whether TLS is spoken.
func mergeTLS(ours, fromURL *tls.Config) (*tls.Config, error) {
	switch {
	case ours == nil:
		return fromURL, nil
	case fromURL == nil:
		return nil, errors.New("redisstore: Options.TLS is given, and the Redis URL asks for no TLS: write rediss://")
	}
	config := ours.Clone()
	config.ServerName = cmp.Or(config.ServerName, fromURL.ServerName)
	config.MinVersion = max(config.MinVersion, fromURL.MinVersion)
	config.InsecureSkipVerify = config.InsecureSkipVerify || fromURL.InsecureSkipVerify // skip_verify=true
	return config, nil
}

func (d dialer) or(fromURL time.Duration) time.Duration { return cmp.Or(fromURL, d.timeout) }
