package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// fleetReport is what the program in the directory fleet prints: the values of each
// phase by name. The phase all is the whole run, until what was under way has ended.
type fleetReport map[string]map[string]float64

// fleetSize is so many processes with so many accounts each, all of them the same.
type fleetSize struct{ processes, accounts int }

func (s fleetSize) String() string { return fmt.Sprintf("%d x %d", s.processes, s.accounts) }

// coldSizes are the fleets that start cold.
var coldSizes = []fleetSize{{30, 1000}, {100, 100}}

// contender names a version under some conditions.
func (v version) contender(conditions any) string { return fmt.Sprintf("%s, %v", v.name, conditions) }

// runFleet runs a fleet to its end.
func runFleet(v version, addr string, size fleetSize, flags ...string) (fleetReport, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, v.fleet, append([]string{
		"-redis", addr, "-processes", strconv.Itoa(size.processes), "-accounts", strconv.Itoa(size.accounts),
	}, flags...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%v: %w", size, err)
	}
	var f fleetReport
	if err := json.Unmarshal(out, &f); err != nil {
		return nil, fmt.Errorf("%v: %q: %w", size, out, err)
	}
	return f, nil
}

// rarely: the version before takes part in every fourth round of those that only the
// present one has to go through in full.
const rarely = 4

// coldFleets starts whole fleets on an empty Redis while other processes use all CPU
// time that they get.
func coldFleets(e *env, r *record) error {
	if _, err := e.compared(); err != nil { // built before the other processes are there
		return err
	}
	stop, err := keepBusy(e.busy)
	if err != nil {
		return err
	}
	defer stop()
	for _, size := range coldSizes {
		if e.quick {
			size = fleetSize{size.processes / 10, size.accounts / 10}
		}
		err := e.eachInTurn(r, func(v version) error {
			if v.name == theBefore && r.round%rarely != 0 {
				return nil
			}
			return coldFleet(e, r, v, size)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func coldFleet(e *env, r *record, v version, size fleetSize) error {
	server, kill, err := e.redis()
	if err != nil {
		return err
	}
	defer kill()
	f, err := runFleet(v, server.Addr(), size, "-limit", "2m", "-settle", "1s")
	if err != nil {
		return err
	}
	start, all, accounts := f["start"], f["all"], float64(size.accounts)
	r.add(v.contender(size), of("ready-s", start["seconds"]), of("missing", start["missing"]),
		of("extra-calls", all["calls"]-accounts), of("revoked", all["revoked"]), of("superseded", all["superseded"]), of("restores", all["restores"]),
		of("loads/account", start["loads"]/accounts), of("scripts/account", start["scripts"]/accounts), of("lock-tries/account", start["locks"]/accounts),
		of("unreachable", all["unreachable"]), of("disconnects", all["disconnects"]),
		of("redis-cpu-s", start["redis-cpu"]), of("own-cpu-s", start["own-cpu"]))
	return nil
}

// keepBusy starts processes that only use CPU time.
func keepBusy(n int) (stop func(), err error) {
	var all []*child
	for range n {
		c, err := spawn(order{Role: "busy"})
		if err != nil {
			_ = endAll(all)
			return nil, err
		}
		all = append(all, c)
	}
	return func() { _ = endAll(all) }, nil
}

// busyChild uses CPU time until the parent ends it.
func busyChild(_ order, c *conversation) error {
	go func() { // ends with the process
		for {
			xorshift(1 << 20)
		}
	}()
	c.awaitEnd()
	return nil
}

// idleFleets measures what processes cost while no token changes.
func idleFleets(e *env, r *record) error {
	for _, size := range []fleetSize{{1, 1000}, {1, 100_000}, {4, 100_000}} {
		if e.quick {
			size.accounts /= 1000
		}
		if err := e.eachInTurn(r, func(v version) error { return idleFleet(e, r, v, size) }); err != nil {
			return err
		}
	}
	return nil
}

func idleFleet(e *env, r *record, v version, size fleetSize) error {
	server, kill, err := e.prepared(v, size.accounts, 0, 60*24*time.Hour)
	if err != nil {
		return err
	}
	defer kill()
	// A minute, in which each account is polled once.
	f, err := runFleet(v, server.Addr(), size, "-every", "720h", "-limit", "5m",
		"-settle", e.seconds(10), "-idle", e.seconds(60))
	if err != nil {
		return err
	}
	start, idle := f["start"], f["idle"]
	seconds := idle["seconds"]
	r.add(v.contender(size), of("ready-s", start["seconds"]), of("missing", start["missing"]), of("heap-B/account", start["heap"]),
		of("rss-MB", start["rss"]/1e6), of("loads/s", idle["loads"]/seconds), of("commands/s", idle["commands"]/seconds),
		of("redis-cpu-%", 100*idle["redis-cpu"]/seconds), of("own-cpu-%", 100*idle["own-cpu"]/seconds/float64(size.processes)),
		of("refreshes", idle["calls"]))
	return nil
}

// seconds returns a duration for a flag, a fraction of a second with --quick.
func (e *env) seconds(n int) string {
	if e.quick {
		return "300ms"
	}
	return strconv.Itoa(n) + "s"
}

// million loads a million accounts in one process while tokens of some become due.
func million(e *env, r *record) error {
	size := fleetSize{1, e.or(1_000_000, 1000)}
	return e.eachInTurn(r, func(v version) error { return oneMillion(e, r, v, size) })
}

func oneMillion(e *env, r *record, v version, size fleetSize) error {
	// The first one is due 20 minutes after this begins.
	server, kill, err := e.prepared(v, size.accounts, 40*time.Minute, 2*time.Hour)
	if err != nil {
		return err
	}
	defer kill()
	memory, err := usedMemory(server)
	if err != nil {
		return err
	}
	f, err := runFleet(v, server.Addr(), size, "-limit", "3m", "-settle", "0s")
	if err != nil {
		return err
	}
	start, all := f["start"], f["all"]
	r.add(v.contender(size), of("ready-s", start["seconds"]), of("missing", start["missing"]), of("heap-B/account", start["heap"]),
		of("rss-MB", all["peak"]/1e6), of("loads/account", start["loads"]/float64(size.accounts)), of("disconnects", all["disconnects"]),
		of("unreachable", all["unreachable"]), of("redis-cpu-s", start["redis-cpu"]), of("own-cpu-s", start["own-cpu"]),
		of("redis-MB", memory/1e6))
	return nil
}

// prepared starts a server with tokens of accounts, as a commit leaves them, that were
// issued within the past. In the version of today one more account has got its token by
// the product itself, which keeps track of what has changed.
func (e *env) prepared(v version, accounts int, past, life time.Duration) (*redistest.Server, func(), error) {
	server, kill, err := e.redis()
	if err != nil {
		return nil, nil, err
	}
	client := server.Client()
	defer client.Close()
	const batch = 1000
	for from := 0; from < accounts; from += batch {
		_, err := client.Pipelined(context.Background(), func(p redis.Pipeliner) error {
			for i := from; i < min(from+batch, accounts); i++ {
				age := past * time.Duration(i%1000) / 1000
				prepare(p, accountName(i), time.Now().Add(-age).UTC(), life)
			}
			return nil
		})
		if err != nil {
			kill()
			return nil, nil, err
		}
	}
	if v.name == theNow {
		if err := storeToken(server.URL()); err != nil {
			kill()
			return nil, nil, err
		}
	}
	return server, kill, nil
}

func prepare(p redis.Pipeliner, account string, issued time.Time, life time.Duration) {
	const milliseconds = "2006-01-02T15:04:05.000Z"
	ctx, base, generation := context.Background(), "zhongkong:{"+account+"}:", issued.UnixMicro()
	p.HSet(ctx, base+"token", "access_token", tokenText(0), "generation", generation, "issued_at", issued.Format(milliseconds),
		"expires_at", issued.Add(life).Format(milliseconds), "issued_by", "host:4711-ABCD")
	p.PExpireAt(ctx, base+"token", issued.Add(life))
	p.HSet(ctx, base+"state", "fence", generation, "failures", "0")
}

// refreshes measures what a refresh costs Redis, and what an account keeps there after
// one and after 50 of them.
func refreshes(e *env, r *record) error {
	size := fleetSize{1, e.or(3000, 50)}
	return e.eachInTurn(r, func(v version) error { return refreshOne(e, r, v, size) })
}

func refreshOne(e *env, r *record, v version, size fleetSize) error {
	server, kill, err := e.redis()
	if err != nil {
		return err
	}
	defer kill()
	// What does not grow with the accounts is there before: scripts, above all.
	if _, err := runFleet(v, server.Addr(), fleetSize{1, 1}); err != nil {
		return err
	}
	if _, err := server.Do(context.Background(), "FLUSHALL"); err != nil {
		return err
	}
	empty, err := usedMemory(server)
	if err != nil {
		return err
	}
	// The memory is read when the processes, and with them the buffers of their
	// connections, are gone.
	if _, err := runFleet(v, server.Addr(), size); err != nil {
		return err
	}
	first, err := keptMemory(server, empty)
	if err != nil {
		return err
	}
	more := e.or(49, 2)
	f, err := runFleet(v, server.Addr(), size, "-limit", "5m", "-refreshes", strconv.Itoa(more))
	if err != nil {
		return err
	}
	later, err := keptMemory(server, empty)
	if err != nil {
		return err
	}
	log, err := sharedLog(server)
	if err != nil {
		return err
	}
	accounts := float64(size.accounts)
	n := f["refresh"]["calls"]
	r.add(v.contender(size), of("B/account-after-1", first/accounts), of("B/account-after-50", later/accounts), of("shared-log-MB", log/1e6),
		of("redis-us/refresh", 1e6*f["refresh"]["redis-cpu"]/n), of("own-us/refresh", 1e6*f["refresh"]["own-cpu"]/n),
		of("commands/refresh", f["refresh"]["commands"]/n), of("failed", f["refresh"]["failed"]))
	return nil
}

// storeAlone measures what the scripts of a refresh cost when Redis does nothing else.
func storeAlone(e *env, r *record) error {
	size := fleetSize{1, e.or(4000, 50)}
	return e.eachInTurn(r, func(v version) error { return storeAloneOne(e, r, v, size) })
}

func storeAloneOne(e *env, r *record, v version, size fleetSize) error {
	server, kill, err := e.redis()
	if err != nil {
		return err
	}
	defer kill()
	f, err := runFleet(v, server.Addr(), size, "-scripts", strconv.Itoa(e.or(5, 1)))
	if err != nil {
		return err
	}
	all := f["scripts"]
	n := all["calls"]
	r.add(v.contender("refresh"), of("redis-us/refresh", 1e6*all["redis-cpu"]/n), of("scripts-us/refresh", 1e6*all["scripts-seconds"]/n),
		of("own-us/refresh", 1e6*all["own-cpu"]/n),
		of("commands/refresh", all["commands"]/n))
	return nil
}

// keptMemory is what Redis has more than when it was empty, without what does not grow
// with the accounts: the log that they share.
func keptMemory(server *redistest.Server, empty float64) (float64, error) {
	used, err := usedMemory(server)
	if err != nil {
		return 0, err
	}
	log, err := sharedLog(server)
	return used - empty - log, err
}

// sharedLog is the memory of the log that all accounts share, 0 if there is none.
func sharedLog(server *redistest.Server) (float64, error) {
	n, err := server.Do(context.Background(), "MEMORY", "USAGE", "zhongkong:{}:log", "SAMPLES", "0")
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	size, _ := n.(int64)
	return float64(size), err
}

func usedMemory(server *redistest.Server) (float64, error) {
	client := server.Client()
	defer client.Close()
	info, err := client.Info(context.Background(), "memory").Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(info) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); ok {
			return strconv.ParseFloat(n, 64)
		}
	}
	return 0, fmt.Errorf("INFO memory does not have used_memory")
}
