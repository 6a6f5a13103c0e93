package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	herdProcesses  = 20
	herdGoroutines = 100
	sourceTook     = 50 * time.Millisecond
)

// fetcher is how a goroutine of the herd gets a token.
type fetcher func(ctx context.Context) (string, error)

// herdContenders prepare a process. Before the herd starts it may only connect.
var herdContenders = []struct {
	name string
	make func(ctx context.Context, o order) (get fetcher, stop func(), err error)
}{
	{"sleep 50 ms", herdSleep},
	{"one bare HTTP call a process", herdBare},
	{"zhongkong", herdZhongkong},
	{"naive Redsync", herdNaive},
	{"naive Redsync, one flight a process", herdNaiveFlight},
	{"silenceper, Redis cache", herdSilenceper},
	{"oauth2 ReuseTokenSource", herdOAuth2},
	{"rueidis DoCache and Redsync", herdRueidis},
	{"rueidisaside", herdAside},
}

// herdAnswer is what a process of the herd reports.
type herdAnswer struct {
	Took  []time.Duration
	Last  string // the token that the last of its goroutines got
	Error string
}

// herd measures many cold processes that request the token at the same time.
func herd(e *env, r *record) error {
	for _, c := range herdContenders {
		if !e.wants(c.name) {
			continue
		}
		out, err := herdOne(e, c.name, false)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		// In a run of its own, because MONITOR slows the server down.
		counted, err := herdOne(e, c.name, true)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		r.add(c.name, ms("p50-ms", percentile(out.took, .5)), ms("p99-ms", percentile(out.took, .99)),
			of("calls", float64(out.calls)), of("sent/process", counted.sent), of("commands/process", out.commands),
			of("dead-ends", float64(out.dead)))
	}
	return nil
}

// herdOutcome is the result of one herd.
type herdOutcome struct {
	took     []time.Duration
	calls    int     // to the source
	sent     float64 // commands per process; only if monitored
	commands float64 // the same including those that scripts call
	dead     int     // processes that ended with an invalid token
}

func herdOne(e *env, contender string, monitored bool) (out herdOutcome, err error) {
	server, kill, err := e.redis()
	if err != nil {
		return out, err
	}
	defer kill()
	source, err := startIssuer(sourceTook)
	if err != nil {
		return out, err
	}
	defer source.close()
	processes, err := spawnAll(e.or(herdProcesses, 3), order{
		Role: "herd", Contender: contender, Redis: server.Addr(), Source: source.url, Number: herdGoroutines,
	})
	if err != nil {
		return out, err
	}
	each := float64(len(processes))
	client := server.Client()
	defer client.Close()
	var seen *monitor
	if monitored {
		if seen, err = startMonitor(server.Addr()); err != nil {
			return out, err
		}
	}
	ctx := context.Background()
	if err := client.ConfigResetStat(ctx).Err(); err != nil {
		return out, err
	}
	for _, p := range processes {
		p.start()
	}
	var ends []string
	for _, p := range processes {
		var a herdAnswer
		if err := p.result(&a); err != nil {
			return out, err
		}
		if a.Error != "" {
			return out, fmt.Errorf("a process says: %s", a.Error)
		}
		out.took, ends = append(out.took, a.Took...), append(ends, a.Last)
	}
	n, err := commands(ctx, client)
	if err != nil {
		return out, err
	}
	out.commands = float64(n) / each
	if monitored {
		out.sent = float64(seen.stop()) / each
	}
	var alive string
	out.calls, alive = source.state()
	for _, token := range ends {
		if token != alive && out.calls > 0 {
			out.dead++
		}
	}
	return out, endAll(processes)
}

// herdChild is one process of the herd.
func herdChild(o order, c *conversation) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, contender := range herdContenders {
		if contender.name != o.Contender {
			continue
		}
		get, stop, err := contender.make(ctx, o)
		if err != nil {
			return err
		}
		defer stop()
		answer, err := stampede(ctx, o, c, get)
		if err != nil {
			return err
		}
		if err := c.answer(answer); err != nil {
			return err
		}
		c.awaitEnd() // until the counters are read
		return nil
	}
	return fmt.Errorf("no contender %q", o.Contender)
}

// stampede makes all goroutines of the process request the token at once.
func stampede(ctx context.Context, o order, c *conversation, get fetcher) (herdAnswer, error) {
	answer := herdAnswer{Took: make([]time.Duration, o.Number)}
	var mu sync.Mutex // guards answer.Last and answer.Error
	var began time.Time
	gate := make(chan struct{})
	var all sync.WaitGroup
	for i := range o.Number {
		all.Go(func() { // joined below
			<-gate
			token, err := get(ctx)
			answer.Took[i] = time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			answer.Last = token
			if err != nil {
				answer.Error = err.Error()
			}
		})
	}
	if err := c.ready(); err != nil {
		return answer, err
	}
	began = time.Now()
	close(gate)
	all.Wait()
	return answer, nil
}
