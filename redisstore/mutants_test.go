package redisstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Each rule of the protocol is there for a reason: with any of them broken the
// simulation must fail. This is what shows that it can.
func TestSimulationCatchesEveryBrokenRule(t *testing.T) {
	if raceEnabled {
		t.Skip("slow with the race detector, and it has nothing to find here; scripts/test runs it without")
	}
	t.Parallel()
	const seeds = 20
	for name, mutant := range map[string]struct {
		fault func(*simulation) // nil: any
		breakage
	}{
		"commit does not look at the fence": {
			breakage: breakage{lua: replace("commit", "last_fence > fence or generation > fence or credible(fence) == 0", "false")},
		},
		"commit settles every open attempt": {
			fault:    (*simulation).overlap,
			breakage: breakage{lua: replace("commit", "redis.pcall('ZREM', KEYS[3], ARGV[3])", "redis.pcall('DEL', KEYS[3])")},
		},
		"a superseded attempt is forgotten": {
			fault:    (*simulation).overlap,
			breakage: breakage{lua: replace("commit", "redis.pcall('ZADD', KEYS[3], now_text, ARGV[3])", "redis.pcall('ZREM', KEYS[3], ARGV[3])")},
		},
		"attempts are not announced": {
			breakage: breakage{lua: replace("begin", "redis.call('ZADD', KEYS[3], digits(now + ARGV[7]), name)", "")},
		},
		"fences start anew when the data is lost": {
			breakage: breakage{lua: replace("begin", "math.max(last_fence + 1, generation + 1, seen + 1, now_us)", "last_fence + 1")},
		},
		"begin does not look at the generation": {
			fault:    (*simulation).herd,
			breakage: breakage{lua: replace("begin", "if generation > seen or settled then", "if settled then")},
		},
		"an unknown outcome counts as none": {
			breakage: breakage{lua: replace("fail", "if kind == 'unknown' then", "if false then")},
		},
		"a number binds however far ahead it lies": {
			fault:    (*simulation).forge,
			breakage: breakage{lua: replace("prelude", "return fence <= now_us + fence_ahead and fence or 0", "return fence")},
		},
		"a back-off binds however long it lasts": {
			fault:    (*simulation).forge,
			breakage: breakage{lua: replace("begin", " and retry_at <= now + retry_ahead", "")},
		},
		"a lock without an end is everybody's": {
			fault:    (*simulation).forge,
			breakage: breakage{store: func(s coordinator.Store) coordinator.Store { return patientStore{s} }},
		},
		"restore is never made": {
			fault:    (*simulation).loseData,
			breakage: breakage{store: func(s coordinator.Store) coordinator.Store { return noRestore{s} }},
		},
		"a reconnect is not followed by a reading": {
			fault:    (*simulation).missARefresh,
			breakage: breakage{store: func(s coordinator.Store) coordinator.Store { return &neverAgain{Store: s} }},
		},
		"the source is called without the lock": {
			fault:    (*simulation).herd,
			breakage: breakage{store: func(s coordinator.Store) coordinator.Store { return noLock{s} }},
		},
		"the source is called while Redis is away": {
			fault:    (*simulation).outage,
			breakage: breakage{store: func(s coordinator.Store) coordinator.Store { return boldStore{s} }},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := dense
			if mutant.fault != nil {
				plan.fault = mutant.fault
			}
			for seed := range uint64(seeds) {
				if failures := simulate(t, 1000+seed, plan, mutant.breakage); len(failures) > 0 {
					t.Logf("caught with seed %d: %s", 1000+seed, failures[0])
					return
				}
			}
			t.Errorf("%d seeds have noticed nothing", seeds)
		})
	}
}

// replace changes one place of one script, which must be there.
func replace(script, from, to string) func(name, source string) string {
	return func(name, source string) string {
		if name != script {
			return source
		}
		if !strings.Contains(source, from) {
			panic("no such line in " + script + ": " + from)
		}
		return strings.Replace(source, from, to, 1)
	}
}

// noRestore says that it was done.
type noRestore struct{ coordinator.Store }

func (noRestore) Restore(_ context.Context, _ string, r coordinator.Record) (coordinator.Record, error) {
	return r, nil
}

// noLock gives the lock to everybody.
type noLock struct{ coordinator.Store }

func (noLock) Lock(context.Context, string, time.Duration) (coordinator.Lock, error) {
	return freeLock{}, nil
}

type freeLock struct{}

func (freeLock) Extend(context.Context, coordinator.Fence) error { return nil }
func (freeLock) Unlock(context.Context) error                    { return nil }

// patientStore leaves a lock that lasts for longer than any may for the process that set it.
type patientStore struct{ coordinator.Store }

func (s patientStore) Lock(ctx context.Context, account string, life time.Duration) (coordinator.Lock, error) {
	states, err := s.Load(ctx, account)
	if err == nil && states[0].HolderTTL > coordinator.MaxAhead {
		return nil, &coordinator.LockedError{Holder: states[0].Holder, RetryIn: time.Minute}
	}
	return s.Store.Lock(ctx, account, life)
}

// boldStore fetches on its own when Redis cannot be asked.
type boldStore struct{ coordinator.Store }

func (s boldStore) Lock(ctx context.Context, account string, life time.Duration) (coordinator.Lock, error) {
	lock, err := s.Store.Lock(ctx, account, life)
	if errors.Is(err, coordinator.ErrUnreachable) {
		return freeLock{}, nil
	}
	return lock, err
}

func (s boldStore) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	states, err := s.Store.Load(ctx, accounts...)
	if errors.Is(err, coordinator.ErrUnreachable) {
		return make([]coordinator.State, len(accounts)), nil
	}
	return states, err
}

func (s boldStore) Begin(ctx context.Context, account string, b coordinator.BeginRequest) (coordinator.Attempt, error) {
	attempt, err := s.Store.Begin(ctx, account, b)
	if errors.Is(err, coordinator.ErrUnreachable) {
		return coordinator.Attempt{Fence: b.Seen + 1}, nil
	}
	return attempt, err
}

// neverAgain tells of the first subscription only.
type neverAgain struct{ coordinator.Store }

func (s *neverAgain) Subscribe(w coordinator.Watcher) coordinator.Subscription {
	return s.Store.Subscribe(&onceWatcher{Watcher: w, told: make(map[string]bool)})
}

type onceWatcher struct {
	coordinator.Watcher
	mu   sync.Mutex
	told map[string]bool
}

func (w *onceWatcher) Subscribed(accounts []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var fresh []string
	for _, account := range accounts {
		if !w.told[account] {
			w.told[account] = true
			fresh = append(fresh, account)
		}
	}
	w.Watcher.Subscribed(fresh)
}
