package redisstore

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

// A fleet on the real Lua scripts lives through weeks of faults in virtual
// time. Longer: go test ./redisstore -run Simulation -sim.seeds 200 -sim.days 30
var (
	simSeeds = flag.Int("sim.seeds", 0, "simulate so many seeds instead of the default")
	simDays  = flag.Int("sim.days", 0, "simulate so many days for each seed instead of the default")
	simSeed  = flag.Uint64("sim.seed", 0, "replay this seed alone, with the fleet's log")
)

const (
	simAccount   = "wxsimulated"
	simAddr      = "127.0.0.1:6379" // not used; a name would be looked up outside of the bubble
	simSettle    = 45 * time.Minute // how long faults stop before everything is checked: longer than any back-off
	simWatch     = 10 * time.Second // how often what must always hold is looked at
	simProbe     = 3 * time.Minute
	simPool      = 4
	simPatience  = 30 * time.Second // of those who wait
	simRefresher = 3
	simReaders   = 1
)

// plan is how much happens in how much time.
type plan struct {
	days  int
	gap   time.Duration // between faults, on average
	quiet time.Duration // so often everything is checked
	fault func(*simulation)
	most  int // calls until the first quiet time; 0: as the faults allow
}

// ordinary is a bad month, dense one day of everything going wrong.
var (
	ordinary = plan{days: 30, gap: 18 * time.Minute, quiet: 12 * time.Hour, fault: (*simulation).anyFault}
	dense    = plan{days: 1, gap: 2 * time.Minute, quiet: 3 * time.Hour, fault: (*simulation).anyFault}
)

// simulation is one seed's life.
type simulation struct {
	t       *testing.T
	seed    uint64
	rng     *rand.Rand
	redis   *miniredis.Miniredis
	source  *coordinatortest.Source
	fleet   []*simProcess
	callers sync.WaitGroup
	began   time.Time
	faults  int  // that may each cost one more call
	excused bool // what was issued last cannot be in the store: an outsider has it, or its attempt was lost with the data
	names   int
	broken  breakage
	plan    plan

	mu       sync.Mutex
	outages  []func() // each ends a fault that lasts
	failures []string
}

// breakage breaks one rule of the protocol; the zero value none.
type breakage struct {
	lua   func(name, source string) string
	store func(coordinator.Store) coordinator.Store
}

// simProcess is one coordinator with its own link to Redis.
type simProcess struct {
	coordinator *coordinator.Coordinator
	account     *coordinator.Account
	link        *simLink
	store       *Store
	client      *redis.Client
	stop        context.CancelFunc
	done        chan struct{}
	newest      coordinator.Fence
}

func TestSimulationOfMonthsKeepsEveryPromise(t *testing.T) {
	if raceEnabled {
		t.Skip("ten times slower with the race detector; scripts/test runs it without")
	}
	t.Parallel()
	months := ordinary
	months.days = or(*simDays, months.days)
	play(t, months, 4)
}

func TestSimulationOfBadDaysKeepsEveryPromise(t *testing.T) {
	play(t, dense, seedsOf(t, 16))
}

// seedsOf returns how many seeds to simulate: so many without the race detector, as
// scripts/test does. With it, one seed shows which accesses race: every fault happens
// in it, and what the processes decide does not depend on the detector.
func seedsOf(t *testing.T, without int) int {
	if raceEnabled {
		return 1
	}
	t.Parallel() // with the other campaigns; with the detector tests that measure time would run beside it
	return without
}

// play simulates seeds, or the one that is to be replayed.
func play(t *testing.T, plan plan, seeds int) {
	t.Helper()
	first, last := uint64(1), uint64(or(*simSeeds, seeds))
	if *simSeed > 0 {
		first, last = *simSeed, *simSeed
	}
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			for _, failure := range simulate(t, seed, plan, breakage{}) {
				t.Errorf("%s (replay: add -sim.seed %d)", failure, seed)
			}
		})
	}
}

func TestADayOfHeavyFaultsStaysWithinSixtyCalls(t *testing.T) {
	day := plan{days: 1, gap: 20 * time.Minute, quiet: 24*time.Hour + simSettle, fault: (*simulation).nature, most: 60}
	for seed := range uint64(seedsOf(t, 4)) {
		t.Run(fmt.Sprintf("seed %d", 500+seed), func(t *testing.T) {
			t.Parallel()
			for _, failure := range simulate(t, 500+seed, day, breakage{}) {
				t.Error(failure)
			}
		})
	}
}

func or(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

// simulate plays one seed and returns which promises were broken.
func simulate(t *testing.T, seed uint64, plan plan, broken breakage) []string {
	var failures []string
	synctest.Test(t, func(t *testing.T) {
		s := &simulation{
			t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), broken: broken, plan: plan, began: time.Now(),
			redis:  miniredis.NewMiniRedis(),
			source: &coordinatortest.Source{Latency: 200 * time.Millisecond},
		}
		s.redis.ClockTTL(true)
		defer s.redis.Close()
		for i := range simRefresher + simReaders {
			s.fleet = append(s.fleet, s.start(i < simRefresher))
		}
		for time.Since(s.began) < time.Duration(plan.days)*24*time.Hour && !s.failed() {
			s.trouble(plan.quiet - simSettle)
			if calls := len(s.source.Calls()); plan.most > 0 && calls > plan.most {
				s.failf("%d calls to the source, want at most %d", calls, plan.most)
			}
			s.endFaults()
			s.pass(simSettle)
			s.check()
		}
		if !s.failed() {
			s.quietDay()
		}
		s.callers.Wait()
		for _, p := range s.fleet {
			p.end()
		}
		failures = s.failures
	})
	return failures
}

func (s *simulation) failf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	day := time.Since(s.began).Truncate(time.Second)
	s.failures = append(s.failures, fmt.Sprintf("after %v: ", day)+fmt.Sprintf(format, args...))
}

func (s *simulation) failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.failures) > 0
}

// start starts a process.
func (s *simulation) start(refresher bool) *simProcess {
	s.names++
	p := &simProcess{link: &simLink{redis: s.redis}, done: make(chan struct{})}
	p.client = redis.NewClient(&redis.Options{
		Addr: simAddr, Dialer: p.link.dial, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		ReadTimeout: 500 * time.Millisecond, WriteTimeout: 500 * time.Millisecond, MaxIdleConns: simPool,
		PoolSize:                 1000, // no operation waits for a connection: go-redis keeps such timers for all bubbles together
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	log := slog.New(slog.DiscardHandler)
	if *simSeed > 0 {
		log = slog.New(slog.NewTextHandler(s.t.Output(), nil)).With("process", s.names)
	}
	var err error
	p.store, err = New(p.client, Options{Instance: fmt.Sprintf("p%d", s.names), PingInterval: 4 * time.Minute, Logger: log})
	if err != nil {
		s.t.Fatal(err)
	}
	var store coordinator.Store = p.store
	if s.broken.lua != nil {
		broken := p.store.scripts().changed(s.broken.lua)
		p.store.scripts = func() scripts { return broken }
	}
	if s.broken.store != nil {
		store = s.broken.store(store)
	}
	p.coordinator, err = coordinator.New(coordinator.Config{
		Store: store, Logger: log, PollEvery: 4 * time.Minute, ProbeEvery: simProbe,
		// Calls that overlap are what is to be tried.
		Limits: coordinator.Limits{MinInterval: time.Millisecond},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	cfg := coordinator.AccountConfig{Name: simAccount}
	if refresher {
		cfg.Source = s.source
	}
	if p.account, err = p.coordinator.Add(cfg); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	go func() { // ended by end
		defer close(p.done)
		_ = p.coordinator.Run(ctx)
	}()
	return p
}

// end stops a process and waits for it.
func (p *simProcess) end() {
	p.stop()
	<-p.done
	_ = p.store.Close()
	_ = p.client.Close()
}

// trouble makes faults and calls for a while.
func (s *simulation) trouble(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end) && !s.failed(); {
		s.pass(time.Duration(s.rng.ExpFloat64() * float64(s.plan.gap)))
		s.plan.fault(s)
	}
}

// pass lets time go by and keeps watching.
func (s *simulation) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(min(time.Until(end), simWatch))
		s.watch()
	}
}

// check looks at everything when it has been quiet for a while.
func (s *simulation) check() {
	s.callers.Wait()
	synctest.Wait()
	s.watch()
	state := s.load()
	// Whoever breaks a rule may leave an account that no process can refresh.
	ctx, cancel := context.WithTimeout(context.Background(), simSettle)
	defer cancel()
	// An outsider's token is the newest only until one of the fleet is rejected.
	if !s.source.Valid(state.Record.Token) {
		if _, err := s.fleet[0].account.Invalidate(ctx, state.Record.Token); err != nil {
			s.failf("a report on a quiet day: %v", err)
		}
		s.faults++
		time.Sleep(time.Minute)
		state = s.load()
	}
	quiet := func() bool {
		held := state.Holder != "" && state.HolderTTL <= coordinator.MaxAhead // else no process holds it
		return len(state.Open) == 0 && !held
	}
	if !quiet() { // a scheduled refresh may be under way
		time.Sleep(time.Minute)
		state = s.load()
	}
	if !quiet() {
		s.failf("the store is not quiet: %d attempts open, lock held by %q", len(state.Open), state.Holder)
		return
	}
	current := s.source.Current()
	for i, p := range s.fleet {
		token, err := p.account.Token(ctx)
		if err != nil || !token.Equal(current) {
			s.failf("process %d serves %q (%v), issued last was %q", i, token.Reveal(), err, current.Reveal())
		}
	}
	scheduled := int(time.Since(s.began)/time.Hour) + 1
	if calls := len(s.source.Calls()); calls > scheduled+s.faults {
		s.failf("%d calls to the source, want at most %d by schedule and %d for as many faults", calls, scheduled, s.faults)
	}
}

// quietDay has nothing happen: then the schedule alone decides.
func (s *simulation) quietDay() {
	before := len(s.source.Calls())
	s.pass(24 * time.Hour)
	s.check()
	if calls := len(s.source.Calls()) - before; calls < 23 || calls > 25 {
		s.failf("%d calls on a quiet day, want 24", calls)
	}
}

// watch checks what must hold at any moment: no generation goes back, and a
// store without lock and open attempts holds the token that was issued last.
func (s *simulation) watch() {
	synctest.Wait()
	key := "zhongkong:{" + simAccount + "}"
	stored := s.redis.HGet(key+":token", "access_token")
	current := s.source.Current().Reveal()
	if stored == current {
		s.excused = false
	}
	if stored != "" && stored != current && !s.excused && !s.redis.Exists(key+":lock") && !s.redis.Exists(key+":attempts") {
		s.failf("the quiet store holds %s, issued last was %s", stored, current)
	}
	for i, p := range s.fleet {
		generation := p.account.Status().Record.Generation
		if generation < p.newest {
			s.failf("process %d went back from generation %d to %d", i, p.newest, generation)
		}
		p.newest = generation
	}
}

// load reads the account past all broken links.
func (s *simulation) load() coordinator.State {
	client := redis.NewClient(&redis.Options{Addr: simAddr, Dialer: (&simLink{redis: s.redis}).dial, DisableIdentity: true})
	defer client.Close()
	store, err := New(client, Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer store.Close()
	states, err := store.Load(context.Background(), simAccount)
	if err == nil {
		err = states[0].Err
	}
	if err != nil {
		s.failf("reading the store: %v", err)
		return coordinator.State{}
	}
	return states[0]
}

// simLink is a process's way to Redis.
type simLink struct {
	redis *miniredis.Miniredis

	mu    sync.Mutex
	cut   bool
	delay time.Duration // of what is sent
	lag   time.Duration // of what is received
	conns map[net.Conn]struct{}
}

// relay passes on what src sends after the time that wait says. It never keeps
// src waiting: miniredis writes under its lock, and time would stand still. It
// ends with either side, and ends both.
func relay(dst, src net.Conn, wait func() time.Duration) {
	type packet struct {
		data []byte
		due  time.Time
	}
	var (
		mu    sync.Mutex
		queue []packet             // guarded by mu; a channel with room for all would cost more than all else here
		more  = make(chan bool, 1) // something was queued; closed when src has ended
	)
	go func() {
		defer close(more)
		buffer := make([]byte, 4096)
		for {
			n, err := src.Read(buffer)
			if err != nil {
				return
			}
			p := packet{bytes.Clone(buffer[:n]), time.Now().Add(wait())}
			mu.Lock()
			queue = append(queue, p)
			mu.Unlock()
			select {
			case more <- true:
			default:
			}
		}
	}()
	go func() {
		defer func() { _, _ = dst.Close(), src.Close() }()
		for on := true; on; {
			on = <-more
			mu.Lock()
			packets := queue
			queue = nil
			mu.Unlock()
			for _, p := range packets {
				time.Sleep(time.Until(p.due))
				if _, err := dst.Write(p.data); err != nil {
					return
				}
			}
		}
	}()
}

var errCut = errors.New("connection refused")

func (l *simLink) dial(context.Context, string, string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return nil, errCut
	}
	server, err := l.redis.Dial()
	if err != nil {
		return nil, err
	}
	conn, far := net.Pipe()
	relay(server, far, func() time.Duration { l.mu.Lock(); defer l.mu.Unlock(); return l.delay })
	relay(far, server, func() time.Duration { l.mu.Lock(); defer l.mu.Unlock(); return l.lag })
	if l.conns == nil {
		l.conns = make(map[net.Conn]struct{})
	}
	l.conns[conn] = struct{}{}
	return conn, nil
}

// set cuts the link, with all connections, or restores it.
func (l *simLink) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	if !cut {
		return
	}
	for conn := range l.conns {
		_ = conn.Close()
	}
	clear(l.conns)
}

// slow delays everything that is sent and received.
func (l *simLink) slow(delay, lag time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay, l.lag = delay, lag
}
