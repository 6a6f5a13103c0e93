package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/redisstore"
)

const (
	// doctorTimeout bounds a whole examination.
	doctorTimeout = time.Minute
	// skewWarn and skewFail are how far two clocks may be apart. Nothing of
	// ours compares them, but people compare logs, and TLS compares dates.
	skewWarn = 2 * time.Second
	skewFail = time.Minute
	// slowRedis is a round trip that makes every refresh slow.
	slowRedis = 100 * time.Millisecond
)

func (x examination) reachable(ctx context.Context) bool {
	began := time.Now()
	err := x.store.Ping(ctx)
	switch {
	case errors.Is(err, redisstore.ErrDenied):
		x.fail("redis", "check the user and the password in --redis", "%s refuses this user: %v", x.where(), err)
		return false
	case err != nil && x.cfg.Redis == "":
		x.fail("redis", "pass --redis URL, or start `zhongkong serve` here", "%s, the default, cannot be reached: %v", x.where(), err)
		return false
	case err != nil:
		x.fail("redis", "is the server up, the address right, the port open from here?", "%s cannot be reached: %v", x.where(), err)
		return false
	}
	began = time.Now() // the first one had to connect
	_ = x.store.Ping(ctx)
	took := time.Since(began)
	if took > slowRedis {
		x.warn("redis", "put this process nearer to Redis", "%s answers in %s", x.where(), brief(took))
		return true
	}
	x.ok("redis", "%s answers in %.1f ms", x.where(), float64(took.Microseconds())/1000)
	return true
}

func (x examination) version(ctx context.Context) {
	server, err := x.redis.info(ctx, "server")
	found := server["redis_version"]
	switch {
	case err != nil && redis.HasErrorPrefix(err, "NOPERM"):
		x.warn("version", "give the user +info for the time of this check", "INFO is not allowed: the version is not known")
		return
	case err != nil || found == "":
		x.warn("version", "fine for development; use Redis 7.0 or newer for anything else", "not a real Redis: probably the embedded one of `zhongkong serve`")
		return
	}
	major, _, _ := strings.Cut(found, ".")
	if n, err := strconv.Atoi(major); err == nil && n < 7 {
		x.fail("version", "use Redis 7.0 or newer", "Redis %s is too old: readers need EVAL_RO", found)
		return
	}
	x.ok("version", "Redis %s", found)
}

// eviction finds policies under which Redis drops our keys when it is full.
// Policies for volatile keys do so as well: tokens and locks have a TTL.
func (x examination) eviction(ctx context.Context) {
	memory, err := x.redis.info(ctx, "memory")
	policy := memory["maxmemory_policy"]
	const mend = "CONFIG SET maxmemory-policy noeviction (and in redis.conf), or a Redis of its own for the tokens"
	switch {
	case err != nil || policy == "":
		return // said by version
	case policy == "noeviction":
		x.ok("eviction", "maxmemory-policy is noeviction")
	case memory["maxmemory"] == "0":
		x.warn("eviction", mend, "maxmemory-policy is %s: harmless only as long as maxmemory is not set", policy)
	default:
		x.fail("eviction", mend, "maxmemory-policy is %s with maxmemory %s: when it is full Redis drops tokens, locks and the state behind them",
			policy, memory["maxmemory_human"])
	}
}

// replication finds a store that loses acknowledged tokens at a failover, and
// one that cannot be written.
func (x examination) replication(ctx context.Context) {
	info, err := x.redis.info(ctx, "replication")
	if err != nil || info["role"] == "" {
		return
	}
	if info["role"] != "master" {
		x.fail("replication", "name the master in --redis, or the sentinels with master_name=", "%s is a replica of %s:%s: nothing can be stored here",
			x.where(), info["master_host"], info["master_port"])
		return
	}
	waits := x.replicas()
	replicas, _ := strconv.Atoi(info["connected_slaves"])
	switch {
	case replicas == 0 && waits == 0:
		x.ok("replication", "one server, no replicas")
	case replicas == 0:
		x.warn("replication", "look at the replicas: a failover now would lose the newest token (a refresher that holds it puts it back)",
			"no replica is connected, a token waits for %d", waits)
	case waits == 0:
		x.fail("replication", "set replicas: 1 in the configuration of every refresher", "%d connected, but a new token does not wait for any (WAIT): a failover can lose it", replicas)
	default:
		x.waits(ctx, info, replicas, waits)
	}
}

// waits looks at how far the replicas are behind, and at the right to wait for
// them. Without a write before it WAIT proves nothing, so it is not asked.
func (x examination) waits(ctx context.Context, info map[string]string, replicas, wanted int) {
	if err := x.redis.client.Do(ctx, "WAIT", 0, 0).Err(); redis.HasErrorPrefix(err, "NOPERM") {
		x.fail("replication", "ACL SETUSER <user> +wait", "%d connected, but this user may not WAIT for them", replicas)
		return
	}
	inTime := 0
	for i := range replicas {
		fields := info["slave"+strconv.Itoa(i)]
		_, lag, found := strings.Cut(fields, "lag=")
		if n, err := strconv.Atoi(lag); found && err == nil && n <= 2 && strings.Contains(fields, "state=online") {
			inTime++
		}
	}
	if inTime < wanted {
		x.fail("replication", "look at the replicas' load and links", "%d connected, but only %d of the %d that a new token waits for keep up", replicas, inTime, wanted)
		return
	}
	x.ok("replication", "%d connected, a new token waits for %d", replicas, wanted)
}

func (x examination) clock(ctx context.Context) {
	began := time.Now()
	theirs, err := x.redis.client.Time(ctx).Result()
	trip := time.Since(began)
	if err != nil {
		return // said by the rights of each account
	}
	skew := theirs.Sub(began.Add(trip / 2)).Round(time.Millisecond)
	const mend = "run a time service (chrony, systemd-timesyncd) on both machines"
	switch away := skew.Abs(); {
	case away > skewFail:
		x.fail("clock", mend, "Redis's clock is %s from this machine's", brief(skew))
	case away > skewWarn:
		x.warn("clock", mend, "Redis's clock is %s from this machine's", brief(skew))
	default:
		x.ok("clock", "Redis and this machine agree within %s", brief(max(away, trip)))
	}
}
