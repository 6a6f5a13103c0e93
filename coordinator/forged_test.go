package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// greatest is the greatest fence that Redis and JSON carry exactly.
const greatest coordinator.Fence = 1<<53 - 1

// log collects what a coordinator logs.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// count returns how many lines have all the words.
func (l *log) count(words ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		has := true
		for _, word := range words {
			has = has && strings.Contains(line, word)
		}
		if has {
			n++
		}
	}
	return n
}

// logged is a configuration and where it logs.
func (f *fleet) logged() (coordinator.Config, *log) {
	l := new(log)
	return coordinator.Config{Logger: slog.New(slog.NewTextHandler(l, nil))}, l
}

// Anybody who may publish can send a message. It is a hint: it never chooses a
// fence, a life or a wait, and it costs a call at most.
func TestAForgedMessageEndsNothing(t *testing.T) {
	now := func() coordinator.Fence { return coordinator.Fence(time.Now().UnixMicro()) }
	evil := func(generation coordinator.Fence, life time.Duration) coordinator.Record {
		return coordinator.Record{
			Token: coordinator.NewToken("EVIL"), Generation: generation, TTL: life,
			IssuedAt: time.Now(), ExpiresAt: time.Now().Add(life),
		}
	}
	wanted := func(reason coordinator.Reason, fence, seen coordinator.Fence) func() coordinator.Event {
		return func() coordinator.Event {
			return coordinator.Event{
				Kind: coordinator.EventWanted, Reason: reason, Fence: fence, Want: coordinator.WantRequest{Reason: reason, Seen: seen},
			}
		}
	}
	for name, test := range map[string]struct {
		event func() coordinator.Event
		calls int // that it may cause
	}{
		"forced, of the greatest generation":   {event: wanted(coordinator.ReasonForced, 0, greatest)},
		"forced, of the one before":            {event: wanted(coordinator.ReasonForced, 0, greatest-1)},
		"forced, of tomorrow":                  {event: wanted(coordinator.ReasonForced, 0, now()+86_000_000_000)},
		"rejected, of the greatest generation": {event: wanted(coordinator.ReasonRejected, greatest, greatest)},
		"missing, with the greatest fence":     {event: wanted(coordinator.ReasonMissing, greatest, 0)},
		"begun, with the greatest fence and no time": {event: func() coordinator.Event {
			return coordinator.Event{Kind: coordinator.EventBegun, Fence: greatest, RetryIn: time.Millisecond}
		}},
		"begun, with a possible fence and no time": {calls: 1, event: func() coordinator.Event {
			return coordinator.Event{Kind: coordinator.EventBegun, Fence: now() + 3_600_000_000, RetryIn: time.Millisecond}
		}},
		"begun, for ever": {event: func() coordinator.Event {
			return coordinator.Event{Kind: coordinator.EventBegun, Fence: now(), RetryIn: 1 << 53 * time.Microsecond}
		}},
		"refreshed, of the greatest generation": {event: func() coordinator.Event {
			return coordinator.Event{Kind: coordinator.EventRefreshed, Fence: greatest, Record: evil(greatest, 2*time.Hour)}
		}},
		"refreshed, for 278 years": {event: func() coordinator.Event {
			return coordinator.Event{Kind: coordinator.EventRefreshed, Fence: now() + 1, Record: evil(now()+1, 278*coordinator.MaxLifetime)}
		}},
		"failed, until the end of time": {event: func() coordinator.Event {
			return coordinator.Event{Kind: coordinator.EventFailed, Fence: now(), RetryIn: 1 << 53 * time.Microsecond, Failure: &coordinator.Failure{
				Kind: coordinator.FailedBusy, InARow: 1, At: time.Now(), RetryAt: time.Now().Add(1 << 53 * time.Microsecond),
			}}
		}},
		"failed for good, with the greatest fence": {event: func() coordinator.Event {
			return coordinator.Event{Kind: coordinator.EventFailed, Fence: greatest, RetryIn: time.Hour, Failure: &coordinator.Failure{
				Kind: coordinator.FailedRefused, Code: "40125", InARow: 9, At: time.Now(), RetryAt: time.Now().Add(time.Hour),
			}}
		}},
		"failed, nobody knows how, with the greatest fence": {event: func() coordinator.Event {
			return coordinator.Event{Kind: coordinator.EventFailed, Fence: greatest, Failure: &coordinator.Failure{
				Kind: coordinator.FailedUnknown, InARow: 1, At: time.Now(), RetryAt: time.Now(),
			}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				one, two, reader := f.refresher(), f.refresher(), f.reader()
				f.token(one, time.Second)
				time.Sleep(10 * time.Second)
				for range 3 {
					e := test.event()
					e.Account = account
					f.store.Publish(e)
					time.Sleep(5 * time.Second)
				}
				if got := len(f.source.Calls()) - 1; got > 3*test.calls {
					t.Errorf("three messages have caused %d calls, want at most %d", got, 3*test.calls)
				}
				f.wantCurrent(one, two, reader)
				before := len(f.source.Calls())

				// The schedule, a person and a lost store are served as ever.
				time.Sleep(65 * time.Minute)
				f.wantCalls(before + 1)
				if _, err := reader.Refresh(t.Context()); err != nil {
					t.Errorf("Refresh() = %v", err)
				}
				f.wantCalls(before + 2)
				f.store.Flush()
				time.Sleep(2 * time.Second)
				f.wantCurrent(one, two, reader)
				f.wantCalls(before + 2)
				if s := f.store.Peek(account); s.Fence > now() || s.Record.Generation == 0 {
					t.Errorf("the store has fence %d and generation %d at %d", s.Fence, s.Record.Generation, now())
				}
			})
		})
	}
}

func TestAnAttemptThatIsOnlyHeardOfCostsOneCallForAll(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		for range 3 {
			f.refresher()
		}
		p := f.refresher()
		f.token(p, time.Second)
		fence := coordinator.Fence(time.Now().Add(time.Hour).UnixMicro())
		for i := range coordinator.Fence(1000) {
			f.store.Publish(coordinator.Event{Kind: coordinator.EventBegun, Account: account, Fence: fence + i, RetryIn: time.Second})
		}
		time.Sleep(10 * time.Minute)
		if n := len(f.source.Calls()); n > 3 {
			t.Errorf("%d calls", n)
		}
	})
}

// Whatever makes refreshes follow each other, the day's calls outlast it.
func TestALoopOfRefreshesIsSlowedDownAndSaid(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Life = 2 * time.Second
		cfg, log := f.logged()
		cfg.ProbeEvery = time.Minute // as longConfig
		one, _ := f.start(cfg, f.source), f.start(f.longConfig(), f.source)
		f.token(one, time.Second)
		time.Sleep(24*time.Hour - time.Minute)
		calls := len(f.source.Calls())
		if calls > 2000+coordinator.PaceBurst || calls < 1500 {
			t.Errorf("%d calls in a day", calls)
		}
		if s := f.store.Peek(account); s.CallsToday > 1999 {
			t.Errorf("%d calls are counted: nothing is left of the day", s.CallsToday)
		}
		if log.count("level=ERROR", string(coordinator.LimitLoop)) == 0 {
			t.Error("the log does not say so")
		}
	})
}

func TestATokenThatEndedWhileTheMachineSleptIsNotServed(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		cfg, log := f.logged()
		p := f.start(cfg, f.source)
		old := f.token(p, time.Second)
		f.store.Flush() // its life has ended there
		p.c.Sleep(3 * time.Hour)
		time.Sleep(time.Second)
		f.wantCalls(2)
		if got := f.token(p, time.Second); got == old {
			t.Error("the token that ended while the machine slept is served")
		}
		if s := f.store.Peek(account); s.Record.Token.Reveal() == old {
			t.Error("the token that ended while the machine slept was put back")
		}
		if log.count("level=WARN", "slept") != 1 {
			t.Error("the log does not say so")
		}
	})
}

// Nothing looks for sleep then but the calls themselves, and the store need not be back as soon
// as the machine is.
func TestWithoutRunATokenThatEndedWhileTheMachineSleptIsNotServed(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(f *fleet, p *process, sleep func())
		want    error
	}{
		"the store is away": {func(_ *fleet, p *process, sleep func()) {
			sleep()
			p.link.SetDown(true)
		}, coordinator.ErrUnreachable},
		"the store has none": {func(f *fleet, _ *process, sleep func()) {
			sleep()
			f.store.Flush()
		}, coordinator.ErrNoToken},
		"while the store is asked": {func(_ *fleet, p *process, sleep func()) {
			p.link.SetLatency(4 * time.Second)
			p.link.SetDown(true)
			time.AfterFunc(time.Second, sleep)
		}, coordinator.ErrUnreachable},
		"before Run": {func(f *fleet, p *process, sleep func()) {
			sleep()
			p.link.SetDown(true)
			f.t.Cleanup(p.c.Start(f.t.Context()))
			synctest.Wait()
		}, coordinator.ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.token(f.idle(f.config(), f.source), time.Second)
				reader := f.idle(f.config(), nil)
				f.token(reader, time.Second)
				c.happens(f, reader, func() { reader.c.Sleep(5 * time.Hour) })
				for range 2 {
					ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
					s, err := reader.Current(ctx)
					cancel()
					if !errors.Is(err, c.want) {
						t.Errorf("Current() = generation %d for %v, %v; want %v", s.Generation, s.TTL, err, c.want)
					}
				}
			})
		})
	}
}

func TestATokenThatLivesOnWhileTheMachineSleptStaysInUse(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.refresher()
		reader := f.reader()
		f.token(reader, time.Second)
		before := f.store.Peek(account).Record.TTL
		reader.c.Sleep(3 * time.Hour) // its clock was set ahead; the store's was not
		time.Sleep(10 * time.Second)
		f.wantCurrent(reader)
		f.wantCalls(1)
		s, err := reader.Current(t.Context())
		if err != nil || s.TTL > before || s.TTL < before-time.Minute {
			t.Errorf("Current() = TTL %v, %v; want about %v", s.TTL, err, before)
		}
	})
}

// deniedStore lets nobody do what the flag forbids.
type deniedStore struct {
	coordinator.Store
	read, write atomic.Bool
}

func (s *deniedStore) Load(ctx context.Context, names ...string) ([]coordinator.State, error) {
	if s.read.Load() {
		return nil, fmt.Errorf("%w: %w: wrong password", coordinator.ErrUnreachable, coordinator.ErrDenied)
	}
	return s.Store.Load(ctx, names...)
}

func (s *deniedStore) Lock(ctx context.Context, name string, life time.Duration) (coordinator.Lock, error) {
	if s.write.Load() {
		return nil, fmt.Errorf("%w: no right to write", coordinator.ErrDenied)
	}
	return s.Store.Lock(ctx, name, life)
}

func (s *deniedStore) Want(context.Context, string, coordinator.WantRequest) error {
	return fmt.Errorf("%w: no right to publish", coordinator.ErrDenied)
}

// denied starts a process whose store forbids something.
func (f *fleet) denied(cfg coordinator.Config, s *deniedStore, source coordinator.Source) *process {
	f.t.Helper()
	s.Store = f.store.Instance("denied")
	cfg.Store = s
	p := f.configured(cfg, source)
	ctx, cancel := context.WithCancel(f.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = p.c.Run(ctx) }()
	f.t.Cleanup(func() { cancel(); <-done })
	return p
}

// What only a person can mend is said at once, to whoever asks and in the log.
func TestAStoreThatDeniesIsSaidAtOnce(t *testing.T) {
	for name, deny := range map[string]func(*deniedStore){
		"to be read":    func(s *deniedStore) { s.read.Store(true) },
		"to be written": func(s *deniedStore) { s.write.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			store := new(deniedStore)
			deny(store)
			bubble(t, func(t *testing.T, f *fleet) {
				cfg, log := f.logged()
				p := f.denied(cfg, store, f.source)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				for what, ask := range map[string]func() error{
					"Token":   func() error { _, err := p.Token(ctx); return err },
					"Refresh": func() error { _, err := p.Refresh(ctx); return err },
				} {
					if err := ask(); !errors.Is(err, coordinator.ErrDenied) || ctx.Err() != nil {
						t.Errorf("%s() = %v, want ErrDenied at once", what, err)
					}
				}
				if err := p.c.StoreError(); !errors.Is(err, coordinator.ErrDenied) {
					t.Errorf("StoreError() = %v, want ErrDenied", err)
				}
				time.Sleep(3*time.Minute - time.Second)
				if n := log.count("denie"); n < 2 || n > 5 {
					t.Errorf("the log says so %d times in three minutes", n)
				}
				// Mended by the operator: it goes on by itself.
				store.read.Store(false)
				store.write.Store(false)
				time.Sleep(10 * time.Second)
				f.token(p, time.Second)
				synctest.Wait()
				if err := p.c.StoreError(); err != nil {
					t.Errorf("StoreError() = %v, want nil", err)
				}
			})
		})
	}
}

// A store may answer and take no refresh: it lacks memory or replicas, or is a
// replica. Nobody may think that all is well until the tokens end.
func TestAStoreThatTakesNoRefreshIsSaid(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		cfg, log := f.logged()
		p := f.start(cfg, f.source)
		f.token(p, time.Second)
		p.link.FailNext(memstore.OpLock, 1_000_000)
		time.Sleep(59 * time.Minute)
		if err := p.c.StoreError(); err != nil {
			t.Errorf("StoreError() = %v before anything was due", err)
		}
		time.Sleep(5 * time.Minute)
		if err := p.c.StoreError(); !errors.Is(err, coordinator.ErrUnreachable) {
			t.Errorf("StoreError() = %v, want ErrUnreachable", err)
		}
		if n := log.count("takes no refresh"); n != 1 {
			t.Errorf("the log says so %d times at once, want once", n)
		}
		if n := log.count("still cannot be used"); n < 2 || n > 6 {
			t.Errorf("the log says so again %d times in some minutes", n)
		}
		p.link.FailNext(memstore.OpLock, 0)
		time.Sleep(time.Minute)
		f.wantCalls(2)
		if err := p.c.StoreError(); err != nil {
			t.Errorf("StoreError() = %v after a refresh", err)
		}
	})
}

// throttledStore throttles each begin for longer than a reading shows.
type throttledStore struct {
	coordinator.Store
	begins atomic.Int64
}

func (s *throttledStore) Begin(context.Context, string, coordinator.BeginRequest) (coordinator.Attempt, error) {
	s.begins.Add(1)
	return coordinator.Attempt{}, &coordinator.ThrottledError{Limit: coordinator.LimitBackOff, RetryIn: 3 * time.Hour}
}

func TestWhatTheStoreThrottlesIsNotTriedWithoutPause(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		store := &throttledStore{Store: f.store.Instance("p")}
		c, err := coordinator.New(coordinator.Config{Store: store, Accounts: []coordinator.AccountConfig{{Name: account, Source: f.source}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
		defer cancel()
		_ = c.Run(ctx)
		if n := store.begins.Load(); n < 20 || n > 40 {
			t.Errorf("%d begins in half an hour, want about one a minute", n)
		}
	})
}

func TestAReaderThatMayNotDemandWaitsForTheRefreshers(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		reader := f.denied(f.config(), &deniedStore{}, nil)
		go func() {
			time.Sleep(2 * time.Second)
			f.refresher()
		}()
		f.token(reader, 5*time.Second)
		if _, err := reader.Refresh(t.Context()); !errors.Is(err, coordinator.ErrDenied) {
			t.Errorf("Refresh() = %v, want ErrDenied", err)
		}
	})
}

func TestAStoreThatWasNeverReachedIsSaidAtOnceAndEachMinute(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.store.SetDown(true)
		cfg, log := f.logged()
		p := f.start(cfg, f.source)
		time.Sleep(time.Second)
		if n := log.count("level=WARN", coordinator.ErrUnreachable.Error()); n != 1 {
			t.Errorf("the log says so %d times in the first second, want once", n)
		}
		if err := p.c.StoreError(); !errors.Is(err, coordinator.ErrUnreachable) {
			t.Errorf("StoreError() = %v, want ErrUnreachable", err)
		}
		time.Sleep(5 * time.Minute)
		if n := log.count("level=WARN", coordinator.ErrUnreachable.Error()); n < 5 || n > 7 {
			t.Errorf("the log says so %d times in five minutes", n)
		}
		f.store.SetDown(false)
		f.token(p, 5*time.Second)
		if err := p.c.StoreError(); err != nil {
			t.Errorf("StoreError() = %v, want nil", err)
		}
	})
}
