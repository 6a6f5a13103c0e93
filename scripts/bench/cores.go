package main

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
)

// cores measures how the number of calls grows from one core to all.
//
// It does not use testing.B.RunParallel, whose counters, one for each goroutine, may
// share a cache line; then their contention is measured.
func cores(e *env, r *record) error {
	server, kill, err := e.redis()
	if err != nil {
		return err
	}
	defer kill()
	ctx := context.Background()
	a, stop, err := followed(ctx, server.Addr())
	if err != nil {
		return err
	}
	defer stop()
	var p atomic.Pointer[string]
	p.Store(new(string))
	tokens := oauth2.ReuseTokenSource(nil, oauth2Source{})
	for _, c := range []struct {
		name string
		loop func(n int)
	}{
		{"arithmetic in registers", xorshift},
		{"atomic load", func(n int) {
			for range n {
				if p.Load() == nil {
					panic("no value")
				}
			}
		}},
		{"zhongkong", func(n int) {
			for range n {
				if t, _ := a.Token(ctx); t.IsZero() {
					panic("no token")
				}
			}
		}},
		{"oauth2 ReuseTokenSource", func(n int) {
			for range n {
				if t, _ := tokens.Token(); t == nil {
					panic("no token")
				}
			}
		}},
	} {
		one, all := growth(c.loop, time.Duration(e.or(250, 5))*time.Millisecond)
		r.add(c.name, of("one-core-Mcalls/s", one/1e6), of("all-cores-Mcalls/s", all/1e6), of("growth", all/one))
	}
	return nil
}

// growth returns how many calls a second one core makes, and all cores together. They
// alternate, so that both are affected by the same noise.
func growth(loop func(n int), last time.Duration) (one, all float64) {
	n := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(n)
	const turns = 4
	for range turns {
		runtime.GOMAXPROCS(1)
		one += callRate(loop, 1, last) / turns
		runtime.GOMAXPROCS(n)
		all += callRate(loop, n, last) / turns
	}
	return one, all
}

// callRate returns how many calls a second n goroutines make together.
func callRate(loop func(n int), goroutines int, last time.Duration) float64 {
	const batch = 1 << 16 // so large that the clock and the counter are negligible
	var calls atomic.Int64
	began := time.Now()
	var running sync.WaitGroup
	for range goroutines {
		running.Go(func() { // joined below
			for time.Since(began) < last {
				loop(batch)
				calls.Add(batch)
			}
		})
	}
	running.Wait()
	return float64(calls.Load()) / time.Since(began).Seconds()
}

var sinkNumber atomic.Uint64

// xorshift is work that uses only a core.
func xorshift(n int) {
	x := uint64(n)
	for range n {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	sinkNumber.Store(x)
}
