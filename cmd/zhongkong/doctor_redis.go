package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

const (
	// doctorTimeout bounds all checks together.
	doctorTimeout = time.Minute
	// skewWarn and skewFail are how far two clocks may be apart. Zhongkong does
	// not compare them, but people compare logs, and TLS compares dates.
	skewWarn = 2 * time.Second
	skewFail = time.Minute
	// slowRedis is a round trip that makes every refresh slow.
	slowRedis = 100 * time.Millisecond
)

// servers checks what Redis reports about itself, and returns whether it can be
// reached at all.
func (x checks) servers(ctx context.Context) bool {
	if !x.reachable(ctx) {
		return false
	}
	servers, err := redisadmin.New(x.store).Diagnose(ctx)
	if err != nil {
		x.warn("redis", "", "its settings could not be read: %v", err)
		return true
	}
	for _, d := range servers {
		x.latency(d)
		x.version(d)
		x.unreadable(d)
		x.eviction(d)
		x.replication(d)
		x.clock(d)
	}
	x.memory(ctx, servers)
	return true
}

func (x checks) reachable(ctx context.Context) bool {
	err := x.store.Ping(ctx)
	var mismatch *redisstore.TLSError
	switch {
	case err == nil:
		return true
	case errors.As(err, &mismatch):
		x.fail("redis", mismatch.Fix, "the connection to %s fails: %v", x.where(), mismatch.Err)
	case errors.Is(err, redisstore.ErrDenied) && errors.Is(err, coordinator.ErrUnreachable):
		x.fail("redis", "check the user and the password in --redis", "%s refuses this user: %v", x.where(), err)
	case errors.Is(err, redisstore.ErrDenied):
		return true // the user exists; the check of rights says what is missing
	case x.cfg.Redis == "":
		x.fail("redis", "pass --redis URL, or start `zhongkong serve --sandbox` here", "%s, the default, cannot be reached: %v", x.where(), err)
	default:
		x.fail("redis", "check that the server is up, the address is right and the port is open from here", "%s cannot be reached: %v", x.where(), err)
	}
	return false
}

func (x checks) latency(d redisadmin.Diagnosis) {
	if d.RoundTrip > slowRedis {
		x.warn("redis", "move this process closer to Redis", "%s answers in %s", d.Addr, brief(d.RoundTrip))
		return
	}
	x.ok("redis", "%s answers in %.2f ms", d.Addr, float64(d.RoundTrip.Microseconds())/1000)
}

// oldestRedis is the first major version in which readers need no right to write.
const oldestRedis = 7

func (x checks) version(d redisadmin.Diagnosis) {
	major, _, _ := strings.Cut(d.Version, ".")
	n, err := strconv.Atoi(major)
	switch {
	case err != nil && d.Denied != nil:
		x.warn("version", "make sure that it is 7.0 or newer", "unknown: the server does not report it")
	case err != nil:
		x.warn("version", "fine for a trial; use Redis 7.0 or newer for everything else", "not a real Redis: probably the embedded one of a `zhongkong serve`")
	case n < oldestRedis:
		x.fail("version", "use Redis 7.0 or newer", "Redis %s is too old", d.Version)
	default:
		x.ok("version", "Redis %s", d.Version)
	}
}

// unreadable says what cannot be checked where INFO is not allowed, disabled or
// renamed.
func (x checks) unreadable(d redisadmin.Diagnosis) {
	switch {
	case d.Denied == nil:
	case errors.Is(d.Denied, redisstore.ErrDenied):
		x.warn("eviction", "only for these checks: ACL SETUSER <user> +info", "unknown, like memory and replication: INFO is not allowed")
	default:
		x.warn("eviction", "check in the provider's console that maxmemory-policy is noeviction; "+
			"with replicas every refresher needs replicas: 1 in its configuration",
			"unknown, like memory and replication: INFO is refused: %v", d.Denied)
	}
}

// eviction finds policies under which a full Redis drops keys of Zhongkong. Policies
// for volatile keys do so as well, because tokens and locks have a TTL.
func (x checks) eviction(d redisadmin.Diagnosis) {
	const fix = "CONFIG SET maxmemory-policy noeviction (and in redis.conf; on a managed Redis: that parameter in its console), " +
		"or use a separate Redis for the tokens"
	switch {
	case d.MaxMemoryPolicy == "":
		return // not reported, or an embedded one
	case d.MaxMemoryPolicy == "noeviction":
		x.ok("eviction", "maxmemory-policy is noeviction")
	case d.MaxMemory == 0:
		x.warn("eviction", fix, "maxmemory-policy is %s: harmless only while maxmemory is not set", d.MaxMemoryPolicy)
	default:
		x.fail("eviction", fix, "maxmemory-policy is %s with maxmemory %d: a full Redis drops tokens, locks and state",
			d.MaxMemoryPolicy, d.MaxMemory)
	}
}

// replication finds a store that can lose acknowledged tokens in a failover, and one
// that cannot be written.
func (x checks) replication(d redisadmin.Diagnosis) {
	waits := x.replicas()
	switch {
	case d.Role == "":
		return // an embedded one
	case d.Role != "master":
		x.fail("replication", "name the master in --redis, or the sentinels with master_name=", "%s is a replica: tokens cannot be stored in it", d.Addr)
	case d.Denied != nil:
		return // not reported
	case d.ConnectedReplicas == 0 && waits == 0:
		x.ok("replication", "one server, no replicas")
	case d.ConnectedReplicas == 0:
		x.warn("replication", "check the replicas; after a failover now, only a refresher that holds the newest token could restore it",
			"no replica is connected, but a new token waits for %d", waits)
	case waits == 0:
		x.fail("replication", "set replicas: 1 in the configuration of every refresher", "%d connected, but a new token does not wait for any (WAIT): a failover can lose it", d.ConnectedReplicas)
	case d.ReplicasInSync < waits:
		x.fail("replication", "check the load and the links of the replicas", "%d connected, but only %d of the %d that a new token waits for keep up", d.ConnectedReplicas, d.ReplicasInSync, waits)
	default:
		x.ok("replication", "%d connected, a new token waits for %d", d.ConnectedReplicas, waits)
	}
}

func (x checks) clock(d redisadmin.Diagnosis) {
	const fix = "run a time service (chrony, systemd-timesyncd) on both machines"
	side := "ahead of"
	if d.Ahead < 0 {
		side = "behind"
	}
	switch away := d.Ahead.Abs(); {
	case away > skewFail:
		x.fail("clock", fix, "Redis's clock is %s %s this machine's", brief(away), side)
	case away > skewWarn:
		x.warn("clock", fix, "Redis's clock is %s %s this machine's", brief(away), side)
	default:
		x.ok("clock", "Redis and this machine agree within %s", brief(max(away, d.RoundTrip, time.Millisecond)))
	}
}
