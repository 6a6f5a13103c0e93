package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
)

// manyAccounts is the number of accounts in one process.
const manyAccounts = 100_000

// scaleAnswer is what the process with many accounts reports.
type scaleAnswer struct {
	Loaded    time.Duration // from the start until every account has its token
	Heap      float64       // live bytes an account
	CPU       float64       // of one core, in the steady state
	Minutes   []int         // how many accounts are refreshed next in each minute of the hour
	Refreshes uint64        // during the steady state
}

// accounts measures many accounts in one process, first on an empty Redis, then in a
// second process that finds all tokens in Redis.
func accounts(e *env, r *record) error {
	server, kill, err := e.redis()
	if err != nil {
		return err
	}
	defer kill()
	n := e.or(manyAccounts, 500)
	steady := e.or(70, 1)
	for _, c := range []struct {
		name, role string
		seconds    int // of the steady state
	}{
		{"zhongkong, empty Redis", "accounts", steady},
		{"zhongkong, cold load", "accounts", 0},
		{"zhongkong, cold load as a reader", "accounts", 0},
		{"goroutine and timer each, wake-ups alone", "wakeups", steady},
	} {
		before := serverCPU(server.PID())
		children, err := spawnAll(1, order{Role: c.role, Contender: c.name, Redis: server.Addr(), Number: n, Rounds: c.seconds})
		if err != nil {
			return err
		}
		children[0].start()
		var a scaleAnswer
		if err := children[0].result(&a); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if err := endAll(children); err != nil {
			return err
		}
		fullest, spread := evenness(a.Minutes)
		values := []value{of("B/account", a.Heap)}
		if c.role == "accounts" {
			values = append(values, of("load-s", a.Loaded.Seconds()), of("fullest-minute/mean", fullest), of("deviation-%", spread),
				of("redis-cpu-s", (serverCPU(server.PID())-before).Seconds()))
		}
		if c.seconds > 0 {
			values = append(values, of("cpu-%", 100*a.CPU), of("refreshes", float64(a.Refreshes)))
		}
		r.add(c.name, values...)
	}
	return nil
}

// evenness returns how far the busiest minute is above the mean, and the
// standard deviation in percent of the mean.
func evenness(minutes []int) (fullest, deviation float64) {
	if len(minutes) == 0 {
		return 0, 0
	}
	sum, most := 0, 0
	for _, n := range minutes {
		sum, most = sum+n, max(most, n)
	}
	mean := float64(sum) / float64(len(minutes))
	squares := 0.0
	for _, n := range minutes {
		squares += (float64(n) - mean) * (float64(n) - mean)
	}
	return float64(most) / mean, 100 * sqrt(squares/float64(len(minutes))) / mean
}

// accountsChild is the process with many accounts.
func accountsChild(o order, c *conversation) error {
	store, err := redisstore.Open("redis://"+o.Redis, redisstore.Options{})
	if err != nil {
		return err
	}
	defer store.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := store.Ping(ctx); err != nil {
		return err
	}
	if err := c.ready(); err != nil {
		return err
	}
	before := liveHeap()
	zk, err := manyCoordinator(store, o)
	if err != nil {
		return err
	}
	began := time.Now()
	done := make(chan struct{})
	go func() { defer close(done); _ = zk.Run(ctx) }() // joined below
	if err := everyToken(ctx, zk, o.Number); err != nil {
		return err
	}
	var a scaleAnswer
	a.Loaded = time.Since(began)
	a.Heap = float64(liveHeap()-before) / float64(o.Number)
	profileHeap(o.Contender)
	a.Minutes = byMinute(zk)

	// Every account is read again within the first 66 seconds; the steady
	// state is what comes after the first of these rounds has begun.
	time.Sleep(time.Duration(o.Rounds) * time.Second * 6 / 7)
	cpu, at, commits := ownCPU(), time.Now(), zk.Stats().Commits
	time.Sleep(time.Duration(o.Rounds) * time.Second)
	a.CPU = float64(ownCPU()-cpu) / float64(max(time.Since(at), 1))
	a.Refreshes = zk.Stats().Commits - commits
	if err := c.answer(a); err != nil {
		return err
	}
	cancel()
	<-done
	return nil
}

func manyCoordinator(store *redisstore.Store, o order) (*coordinator.Coordinator, error) {
	cfg := coordinator.Config{Store: store, MaxFetches: firstConcurrency, Logger: profileLog()}
	var calls atomic.Int64
	source := coordinator.SourceFunc(func(context.Context, coordinator.FetchRequest) (coordinator.FetchResult, error) {
		time.Sleep(5 * time.Millisecond)
		return coordinator.FetchResult{Token: coordinator.NewToken(tokenText(int(calls.Add(1)))), Lifetime: 2 * time.Hour}, nil
	})
	for i := range o.Number {
		a := coordinator.AccountConfig{Name: accountName(i)}
		if o.Contender != "zhongkong, cold load as a reader" {
			a.Source = source
		}
		cfg.Accounts = append(cfg.Accounts, a)
	}
	return coordinator.New(cfg)
}

func accountName(i int) string { return fmt.Sprintf("wx%016x", i) }

// everyToken blocks until all accounts have a token.
func everyToken(ctx context.Context, zk *coordinator.Coordinator, n int) error {
	for i := range n {
		if _, err := zk.Token(ctx, accountName(i)); err != nil {
			return err
		}
	}
	return nil
}

// byMinute counts the next refreshes in each minute of the coming hour.
func byMinute(zk *coordinator.Coordinator) []int {
	minutes := make([]int, 60)
	now := time.Now()
	for _, a := range zk.Accounts() {
		in := a.Status().NextRefresh.Sub(now)
		minutes[min(max(int(in/time.Minute), 0), 59)]++
	}
	return minutes
}

func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// profileHeap writes a heap profile if BENCH_PROFILE names a directory.
func profileHeap(name string) {
	dir := os.Getenv("BENCH_PROFILE")
	if dir == "" {
		return
	}
	var b bytes.Buffer
	if pprof.WriteHeapProfile(&b) == nil {
		_ = os.WriteFile(dir+"/heap-"+name+".pprof", b.Bytes(), 0o644)
	}
}

// ownCPU is the CPU time that this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// wakeupsChild is a common design: a goroutine and a timer for each account. The
// goroutine does nothing when it wakes.
func wakeupsChild(o order, c *conversation) error {
	if err := c.ready(); err != nil {
		return err
	}
	before := liveHeap()
	var stacks runtime.MemStats
	runtime.ReadMemStats(&stacks)
	stackBefore := stacks.StackInuse
	end := make(chan struct{})
	for i := range o.Number {
		go func() { // ends with the process
			t := time.NewTimer(10 * time.Second * time.Duration(i%1000) / 1000)
			for {
				select {
				case <-t.C:
					t.Reset(10 * time.Second)
				case <-end:
					return
				}
			}
		}()
	}
	time.Sleep(time.Second)
	var a scaleAnswer
	heap := liveHeap()
	runtime.ReadMemStats(&stacks)
	a.Heap = float64(heap-before+int64(stacks.StackInuse-stackBefore)) / float64(o.Number)
	cpu, at := ownCPU(), time.Now()
	time.Sleep(time.Duration(o.Rounds) * time.Second / 3)
	a.CPU = float64(ownCPU()-cpu) / float64(time.Since(at))
	close(end)
	return c.answer(a)
}
