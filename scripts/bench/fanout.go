package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
)

const (
	fanoutProcesses = 4
	fanoutChannel   = "zhongkong:{" + appID + "}:refreshed"
)

// fanoutContenders are the ways in which a new token reaches its followers.
var fanoutContenders = []struct {
	name string
	// follow calls heard with the number of each token that it receives, until ctx
	// ends. It calls ready when it can no longer miss one.
	follow func(ctx context.Context, addr string, ready func(), heard func(int)) error
	// tell returns a function that announces the token with a given number and
	// returns the time at which it did.
	teller func(ctx context.Context, addr string) (tell func(n int) (time.Time, error), stop func(), err error)
}{
	{"raw PUBLISH", followRaw, tellRaw},
	{"go-redis PubSub", followGoRedis, tellRaw},
	{"zhongkong, from the PUBLISH", followZhongkong, tellRaw},
	{"least commit, raw followers", followRaw, tellLeast},
	{"zhongkong, from the Commit", followZhongkong, tellZhongkong},
}

// fanout measures how long a new token takes to its followers.
func fanout(e *env, r *record) error {
	sizes := []struct{ followers, tokens int }{{1, 120}, {100, 60}, {1000, 30}}
	if e.quick {
		sizes = sizes[:2]
	}
	for _, size := range sizes {
		for _, c := range fanoutContenders {
			if !e.wants(c.name) {
				continue
			}
			if err := fanoutOne(e, r, c.name, size.followers, e.or(size.tokens, 5)); err != nil {
				return fmt.Errorf("%s to %d: %w", c.name, size.followers, err)
			}
		}
	}
	return nil
}

// followAnswer has the time (Unix, ns) at which each follower received each token. All
// processes are on one machine and share its clock.
type followAnswer struct {
	Heard  [][]int64
	Merged int // tokens that were replaced before they were read
	CPU    time.Duration
	Error  string
}

func fanoutOne(e *env, r *record, contender string, followers, tokens int) error {
	server, kill, err := e.redis()
	if err != nil {
		return err
	}
	defer kill()
	if err := firstToken(server.Addr()); err != nil {
		return err
	}
	n := min(fanoutProcesses, followers)
	processes, err := spawnAll(n, order{
		Role: "follow", Contender: contender, Redis: server.Addr(), Number: followers / n, Rounds: tokens,
	})
	if err != nil {
		return err
	}
	told, err := announce(contender, server.Addr(), processes, tokens)
	if err != nil {
		return errors.Join(err, endAll(processes))
	}
	var took, last []time.Duration
	var cpu time.Duration
	merged := 0
	for _, p := range processes {
		var a followAnswer
		if err := p.result(&a); err != nil {
			return err
		}
		if a.Error != "" {
			return errors.New(a.Error)
		}
		merged += a.Merged
		cpu += a.CPU
		for _, one := range a.Heard {
			for i, at := range one {
				took = append(took, time.Duration(at-told[i].UnixNano()))
			}
		}
	}
	for i := range tokens {
		var slowest time.Duration
		for f := i; f < len(took); f += tokens {
			slowest = max(slowest, took[f])
		}
		last = append(last, slowest)
	}
	r.add(fmt.Sprintf("%s, %d followers", contender, followers),
		ms("p50-ms", percentile(took, .5)), ms("p99-ms", percentile(took, .99)), ms("last-ms", percentile(last, .5)),
		of("own-us/token", micros(cpu, len(took))), of("merged", float64(merged)))
	return endAll(processes)
}

// firstToken commits the token that followers have before the first that is measured: a
// fleet in use has one, and the store has an index of changes, of which a poll takes one
// command. Without an index it takes two, and the followers' accounts are read besides.
func firstToken(addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tell, stop, err := tellZhongkong(ctx, addr)
	if err != nil {
		return err
	}
	defer stop()
	_, err = tell(0)
	return err
}

// announce announces the tokens one after the other.
func announce(contender, addr string, processes []*child, tokens int) ([]time.Time, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for _, c := range fanoutContenders {
		if c.name != contender {
			continue
		}
		tell, stop, err := c.teller(ctx, addr)
		if err != nil {
			return nil, err
		}
		defer stop()
		for _, p := range processes {
			p.start()
		}
		time.Sleep(200 * time.Millisecond) // let all processes become idle
		// One more than is measured: a process that has received the last one
		// ends, which delays those that have not received it yet.
		told := make([]time.Time, tokens+1)
		for i := range told {
			if told[i], err = tell(i + 1); err != nil {
				return nil, err
			}
			time.Sleep(60 * time.Millisecond) // longer than the slowest delivery
		}
		return told, nil
	}
	return nil, fmt.Errorf("no contender %q", contender)
}

// followChild is one process with a part of the followers.
func followChild(o order, c *conversation) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	answer := followAnswer{Heard: make([][]int64, o.Number)}
	var mu sync.Mutex // guards answer.Error
	var subscribed, all sync.WaitGroup
	for _, contender := range fanoutContenders {
		if contender.name != o.Contender {
			continue
		}
		for i := range o.Number {
			answer.Heard[i] = make([]int64, o.Rounds)
			subscribed.Add(1)
			ready := sync.OnceFunc(subscribed.Done)
			all.Go(func() { // joined below
				one, stop := context.WithCancel(ctx)
				defer stop()
				err := contender.follow(one, o.Redis, ready, func(n int) {
					if n > o.Rounds {
						stop()
						return
					}
					answer.Heard[i][n-1] = time.Now().UnixNano()
				})
				ready()
				if err != nil && one.Err() == nil {
					mu.Lock()
					answer.Error = err.Error()
					mu.Unlock()
				}
			})
		}
	}
	subscribed.Wait()
	if err := c.ready(); err != nil {
		return err
	}
	stop := profileCPU(fmt.Sprintf("follow-%s-%d", o.Contender, o.Number))
	before := ownCPU()
	all.Wait()
	answer.CPU = ownCPU() - before
	stop()
	for _, heard := range answer.Heard {
		// A follower of states, not messages, may receive two tokens at once.
		for i := len(heard) - 2; i >= 0; i-- {
			if heard[i] == 0 {
				heard[i] = heard[i+1]
				answer.Merged++
			}
		}
	}
	return c.answer(answer)
}

// announcement is a notification of Zhongkong, as its script of commit writes it.
func announcement(n int) string {
	now := time.Now().UTC()
	at := func(t time.Time) string { return t.Format("2006-01-02T15:04:05.000Z") }
	return fmt.Sprintf(`{"event":"refreshed","access_token":%q,"generation":%d,"issued_at":%q,"expires_at":%q,"issued_by":"host:4711-ABCD","ttl_ms":7170000,"reason":"forced","by":"host:4711-ABCD","change":"%[2]d"}`,
		tokenText(n), now.UnixMicro(), at(now), at(now.Add(2*time.Hour)))
}

// numberOf finds the token's number in an announcement.
func numberOf(text string) (n int) {
	_, rest, _ := strings.Cut(text, `"access_token":"`)
	_, _ = fmt.Sscanf(rest, "%d_", &n)
	return n
}

func tellRaw(_ context.Context, addr string) (func(int) (time.Time, error), func(), error) {
	conn, err := dialRaw(addr)
	if err != nil {
		return nil, nil, err
	}
	return func(n int) (time.Time, error) {
		return conn.timed(command("PUBLISH", fanoutChannel, announcement(n)))
	}, func() { _ = conn.Close() }, nil
}

// tellLeast stores a token and announces it, with a minimal script.
func tellLeast(ctx context.Context, addr string) (func(int) (time.Time, error), func(), error) {
	conn, err := dialRaw(addr)
	if err != nil {
		return nil, nil, err
	}
	return func(n int) (time.Time, error) {
		now := time.Now()
		at := now.UTC().Format(time.RFC3339)
		return conn.timed(command("EVAL", leastCommit, "1", "zhongkong:{"+appID+"}:token",
			fanoutChannel, "host:4711-ABCD", strconv.FormatInt(now.UnixMicro(), 10), tokenText(n), at, at, announcement(n)))
	}, func() { _ = conn.Close() }, nil
}

func followRaw(ctx context.Context, addr string, ready func(), heard func(int)) error {
	conn, err := dialRaw(addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := conn.do("SUBSCRIBE", fanoutChannel); err != nil {
		return err
	}
	ready()
	for {
		text, err := conn.next()
		if err != nil {
			return err
		}
		heard(numberOf(string(text)))
	}
}

func followGoRedis(ctx context.Context, addr string, ready func(), heard func(int)) error {
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	pubsub := client.Subscribe(ctx, fanoutChannel)
	defer pubsub.Close()
	if _, err := pubsub.Receive(ctx); err != nil {
		return err
	}
	messages := pubsub.Channel()
	ready()
	for {
		select {
		case m := <-messages:
			heard(numberOf(m.Payload))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tellZhongkong commits tokens as a refresher does. The lock, begin and the call to the
// source are not measured.
func tellZhongkong(ctx context.Context, addr string) (func(int) (time.Time, error), func(), error) {
	store, err := redisstore.Open("redis://"+addr, redisstore.Options{})
	if err != nil {
		return nil, nil, err
	}
	states, err := store.Load(ctx, appID)
	if err != nil {
		_ = store.Close()
		return nil, nil, err
	}
	seen := states[0].Record.Generation
	return func(n int) (time.Time, error) {
		attempt, err := store.Begin(ctx, appID, coordinator.BeginRequest{
			Seen: seen, Reason: coordinator.ReasonMissing, TTL: 3 * time.Second, Limits: coordinator.Limits{PerDay: 1 << 30},
		})
		if err != nil {
			return time.Time{}, err
		}
		seen = attempt.Fence
		time.Sleep(10 * time.Millisecond) // the call to the source
		now := time.Now()
		_, err = store.Commit(ctx, appID, coordinator.CommitRequest{
			Attempt: attempt, Reason: coordinator.ReasonMissing,
			Token: coordinator.NewToken(tokenText(n)), Lifetime: 2 * time.Hour,
		})
		return now, err
	}, func() { _ = store.Close() }, nil
}

func followZhongkong(ctx context.Context, addr string, ready func(), heard func(int)) error {
	store, err := redisstore.Open("redis://"+addr, redisstore.Options{})
	if err != nil {
		return err
	}
	defer store.Close()
	c, err := coordinator.New(coordinator.Config{Store: store, Accounts: []coordinator.AccountConfig{{Name: appID}}})
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(running) }() // joined by the deferred receive
	defer func() { cancel(); <-done }()
	for !c.Connected() {
		time.Sleep(time.Millisecond)
	}
	a, _ := c.Account(appID)
	s, err := a.Next(ctx, 0)
	if err != nil {
		return err
	}
	ready()
	for {
		if s, err = a.Next(ctx, s.Generation); err != nil {
			return err
		}
		var n int
		_, _ = fmt.Sscanf(s.Token.Reveal(), "%d_", &n)
		heard(n)
	}
}
