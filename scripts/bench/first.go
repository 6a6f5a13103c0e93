package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
)

// firstConcurrency limits the concurrent calls to the source. With a source that takes
// 5 ms it allows 50,000 calls a second, so the source is not the bottleneck.
const firstConcurrency = 256

// first measures how fast many accounts get their first token.
func first(e *env, r *record) error {
	n := e.or(manyAccounts, 500)
	for _, c := range []struct {
		name   string
		script func() (string, error)
	}{
		{"pipelined fenced commits, least script", func() (string, error) { return leastCommit, nil }},
		{"pipelined fenced commits, our script", ourCommit},
	} {
		script, err := c.script()
		if err != nil {
			return err
		}
		took, redisCPU, err := pipelinedCommits(e, script, n)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		r.add(c.name, of("tokens/s", float64(n)/took.Seconds()), of("redis-us/token", micros(redisCPU, n)))
	}
	server, kill, err := e.redis()
	if err != nil {
		return err
	}
	defer kill()
	processes, err := spawnAll(1, order{Role: "first", Redis: server.Addr(), Number: n})
	if err != nil {
		return err
	}
	before := serverCPU(server.PID())
	processes[0].start()
	var a firstAnswer
	if err := processes[0].result(&a); err != nil {
		return err
	}
	if a.Error != "" {
		return errors.New(a.Error)
	}
	profileServer(server, "first")
	r.add("zhongkong", of("tokens/s", float64(n)/a.Took.Seconds()),
		of("redis-us/token", micros(serverCPU(server.PID())-before, n)), of("own-us/token", micros(a.CPU, n)))
	return endAll(processes)
}

func micros(d time.Duration, n int) float64 {
	return float64(d) / float64(time.Microsecond) / float64(n)
}

// leastCommit is a minimal commit with a fence: it writes the fence and the record with
// its TTL, and publishes.
const leastCommit = `
local generation = tonumber(redis.call('HGET', KEYS[1], 'generation') or 0)
if generation >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], 'access_token', ARGV[4], 'generation', ARGV[3], 'issued_at', ARGV[5], 'expires_at', ARGV[6], 'issued_by', ARGV[2])
redis.call('PEXPIRE', KEYS[1], 7000000)
redis.call('PUBLISH', ARGV[1], ARGV[7])
return 1`

// ourCommit returns the product's script, from the source tree.
func ourCommit() (string, error) {
	// redisstore declares these from Go's constants; commit uses no others.
	script := fmt.Sprintf("local most_ahead, fence_ahead, retry_ahead, life_most = %d, %d, %d, %d\nlocal failures_most, attempts_most = 1000000, 1000\n"+
		"local log_most, log_own_most, old_log_seconds, calls_seconds = 5000, 50, 604800, 259200\nlocal day_ms, utc8_ms = 86400000, 28800000\n",
		coordinator.MaxAhead.Milliseconds(), coordinator.MaxFenceAhead.Microseconds(),
		coordinator.MaxRetry.Milliseconds(), coordinator.MaxLifetime.Milliseconds())
	for _, name := range []string{"prelude", "change", "commit"} {
		text, err := os.ReadFile("../../redisstore/lua/" + name + ".lua")
		if err != nil {
			return "", err
		}
		script += string(text) + "\n"
	}
	return script, nil
}

// pipelinedCommits only stores a token for each account: 100 in a pipeline, on 4
// connections.
func pipelinedCommits(e *env, text string, n int) (took, redisCPU time.Duration, err error) {
	server, kill, err := e.redis()
	if err != nil {
		return 0, 0, err
	}
	defer kill()
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), PoolSize: 4, PipelinePoolSize: 4})
	defer client.Close()
	ctx := context.Background()
	today := "calls:" + time.Now().UTC().Add(8*time.Hour).Format("20060102") // the issuer's day
	script := redis.NewScript(text)
	if err := script.Load(ctx, client).Err(); err != nil {
		return 0, 0, err
	}
	const workers, batch = 4, 100
	errs := make([]error, workers)
	before, began := serverCPU(server.PID()), time.Now()
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() { // joined below
			for from := w * batch; from < n && errs[w] == nil; from += workers * batch {
				pipe := client.Pipeline()
				for i := from; i < min(from+batch, n); i++ {
					base := "zhongkong:{" + accountName(i) + "}:"
					keys := []string{base + "token", base + "state", base + "attempts", base + today, "zhongkong:{}:log", "zhongkong:{}:changes"}
					args := commitArgs(text, base, i)
					script.EvalSha(ctx, pipe, keys, args...)
				}
				_, errs[w] = pipe.Exec(ctx)
			}
		})
	}
	all.Wait()
	return time.Since(began), serverCPU(server.PID()) - before, errors.Join(errs...)
}

// commitArgs are the arguments of one commit with the fence 1.
func commitArgs(text, base string, i int) []any {
	if text == leastCommit {
		return []any{base + "refreshed", "host:4711-ABCD", 1, tokenText(i), "2026-01-02T03:04:05.678Z", "2026-01-02T05:04:05.678Z", announcement(i)}
	}
	return []any{base + "refreshed", "host:4711-ABCD", 1, tokenText(i), 7200000, 5, 7169995, 0, "missing", 5, 1, "", "", ""}
}

// firstAnswer is what the process reports.
type firstAnswer struct {
	Took  time.Duration
	CPU   time.Duration
	Error string
}

// firstChild gets the first token of every account.
func firstChild(o order, c *conversation) error {
	store, err := redisstore.Open("redis://"+o.Redis, redisstore.Options{})
	if err != nil {
		return err
	}
	defer store.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	zk, err := manyCoordinator(store, o)
	if err != nil {
		return err
	}
	if err := store.Ping(ctx); err != nil {
		return err
	}
	if err := c.ready(); err != nil {
		return err
	}
	stop := profileCPU("first")
	cpu, began := ownCPU(), time.Now()
	done := make(chan struct{})
	go func() { defer close(done); _ = zk.Run(ctx) }() // joined below
	var a firstAnswer
	if err := everyToken(ctx, zk, o.Number); err != nil {
		a.Error = err.Error()
	}
	a.Took, a.CPU = time.Since(began), ownCPU()-cpu
	stop()
	if err := c.answer(a); err != nil {
		return err
	}
	cancel()
	<-done
	return nil
}
