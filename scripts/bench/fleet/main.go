// Command fleet runs many coordinators in one process, each with a store and
// connections of its own, on one Redis, and prints what it cost as one line of JSON:
// the values of each phase by name.
//
// It is built in this tree and, with the build tag before, in that of an earlier
// commit, whose interface differs in api_before.go.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
)

// options are the flags.
type options struct {
	redis     string        // host:port
	processes int           // coordinators
	accounts  int           // of each of them
	limit     time.Duration // for all to have all tokens, and for the refreshes
	every     time.Duration // between two refreshes of an account; half a token's life
	source    time.Duration // that a call to the issuer takes
	refreshes int           // of each account after the start
	scripts   int           // refreshes of each account by the store alone; then there is no other phase
	settle    time.Duration // after these
	idle      time.Duration // 0: no such phase
}

// report has the values of each phase.
type report map[string]values

type values map[string]float64

func main() {
	var o options
	flag.StringVar(&o.redis, "redis", "", "host:port")
	flag.IntVar(&o.processes, "processes", 1, "coordinators")
	flag.IntVar(&o.accounts, "accounts", 1, "accounts of each")
	flag.DurationVar(&o.limit, "limit", time.Minute, "how long to wait for all tokens, and for the refreshes")
	flag.DurationVar(&o.every, "every", time.Hour, "between two refreshes of an account")
	flag.DurationVar(&o.source, "source", 20*time.Millisecond, "that a call to the issuer takes")
	flag.IntVar(&o.refreshes, "refreshes", 0, "of each account after the start")
	flag.IntVar(&o.scripts, "scripts", 0, "refreshes of each account by the store alone, in place of all other phases")
	flag.DurationVar(&o.settle, "settle", 5*time.Second, "after the start and the refreshes")
	flag.DurationVar(&o.idle, "idle", 0, "how long the idle phase is measured")
	flag.Parse()
	r, err := run(o)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

// fleet is what the coordinators share.
type fleet struct {
	options
	names   []string
	issuer  issuer
	members []*member
	counts  counts
	server  *redis.Client // for the statistics only
}

// member is one coordinator.
type member struct {
	store *redisstore.Store
	zk    *coordinator.Coordinator
	stop  func()
}

func run(o options) (report, error) {
	f := &fleet{options: o, server: redis.NewClient(&redis.Options{Addr: o.redis})}
	defer f.server.Close()
	f.issuer.current = make([]atomic.Int64, o.accounts)
	for i := range o.accounts {
		f.names = append(f.names, accountName(i))
	}
	if o.scripts > 0 {
		return f.byStore()
	}
	before := liveHeap()
	if err := f.make(); err != nil {
		return nil, err
	}
	defer f.end()
	r := report{}
	all, err := f.measured(func() error { return f.phases(r, before) })
	if err != nil {
		return nil, err
	}
	r["all"] = all
	all["peak"] = memoryOf("VmHWM")
	f.inspect(all)
	return r, nil
}

// phases runs one phase after the other.
func (f *fleet) phases(r report, heapBefore int64) (err error) {
	if r["start"], err = f.measured(f.start); err != nil {
		return err
	}
	f.inspect(r["start"])
	r["start"]["heap"] = float64(liveHeap()-heapBefore) / float64(f.processes*f.accounts)
	r["start"]["rss"] = memoryOf("VmRSS")
	if f.refreshes > 0 {
		if r["refresh"], err = f.measured(f.refresh); err != nil {
			return err
		}
	}
	time.Sleep(f.settle)
	if f.idle > 0 {
		r["idle"], err = f.measured(func() error { time.Sleep(f.idle); return nil })
	}
	return err
}

// make makes the coordinators, which do nothing yet.
func (f *fleet) make() error {
	for range f.processes {
		store, err := redisstore.Open("redis://"+f.redis, redisstore.Options{})
		if err != nil {
			return err
		}
		cfg := coordinator.Config{
			Store: counting{store, &f.counts}, RefreshEvery: f.every, MaxFetches: 256, Observe: f.counts.observe,
			Limits: limits,
		}
		for i, name := range f.names {
			cfg.Accounts = append(cfg.Accounts, coordinator.AccountConfig{Name: name, Source: source(&f.issuer, i, &f.options)})
		}
		zk, err := coordinator.New(cfg)
		if err != nil {
			return err
		}
		f.members = append(f.members, &member{store: store, zk: zk})
	}
	return nil
}

// start starts all coordinators at once and waits until each has a token of every
// account, or until the limit.
func (f *fleet) start() error {
	ctx, cancel := context.WithTimeout(context.Background(), f.limit)
	defer cancel()
	var all sync.WaitGroup
	for _, m := range f.members {
		running, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = m.zk.Run(running) }() // joined by stop
		m.stop = func() { stop(); <-done }
		all.Go(func() { // joined below
			for _, name := range f.names {
				for ctx.Err() == nil {
					if _, err := m.zk.Token(ctx, name); err == nil {
						break
					}
					time.Sleep(time.Millisecond) // a refresh that failed
				}
			}
		})
	}
	all.Wait()
	return nil
}

// inspect adds how many tokens are missing, and how many are held that the issuer has
// revoked.
func (f *fleet) inspect(v values) {
	for _, m := range f.members {
		for i, name := range f.names {
			a, _ := m.zk.Account(name)
			s, ok := a.Peek()
			if !ok {
				v["missing"]++
			} else if s.Token.Reveal() != tokenText(f.issuer.current[i].Load()) {
				v["revoked"]++
			}
		}
	}
}

// refresh forces refreshes of every account through the first coordinator, 64 at once.
func (f *fleet) refresh() error {
	const workers = 64
	ctx, cancel := context.WithTimeout(context.Background(), f.limit)
	defer cancel()
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() { // joined below
			for range f.refreshes {
				for i := w; i < len(f.names) && ctx.Err() == nil; i += workers {
					a, _ := f.members[0].zk.Account(f.names[i])
					for ctx.Err() == nil {
						if _, err := a.Refresh(ctx); err == nil {
							break
						}
						f.counts.failed.Add(1)
						time.Sleep(10 * time.Millisecond)
					}
				}
			}
		})
	}
	all.Wait()
	return ctx.Err()
}

func (f *fleet) end() {
	for _, m := range f.members {
		if m.stop != nil {
			m.stop()
		}
		_ = m.store.Close()
	}
}

func accountName(i int) string { return fmt.Sprintf("wx%016x", i) }

func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
