package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

const account = "wx0123456789abcdef"

// fleet is processes that share a store and a source inside a bubble.
type fleet struct {
	t      *testing.T
	store  *memstore.Store
	source *coordinatortest.Source
	n      int
}

func newFleet(t *testing.T) *fleet {
	return &fleet{t: t, store: memstore.New(), source: &coordinatortest.Source{Latency: 50 * time.Millisecond}}
}

// process is one coordinator with one account.
type process struct {
	*coordinator.Account
	c    *coordinator.Coordinator
	link *memstore.Instance
	stop func() // ends Run and waits for it
	seen *sightings
}

// sightings collects what a process observed.
type sightings struct {
	mu sync.Mutex
	by map[coordinator.ObservationKind]int

	last coordinator.ObservationKind // PresentedGrant or ProbedGrant
}

func (s *sightings) add(o coordinator.Observation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.by[o.Kind]++
	if o.Kind == coordinator.PresentedGrant || o.Kind == coordinator.ProbedGrant {
		s.last = o.Kind
	}
}

func (s *sightings) count(kind coordinator.ObservationKind) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.by[kind]
}

func (f *fleet) config() coordinator.Config {
	return coordinator.Config{Logger: slog.New(slog.NewTextHandler(f.t.Output(), nil))}
}

// longConfig is config for days.
func (f *fleet) longConfig() coordinator.Config {
	cfg := f.config()
	cfg.ProbeEvery = time.Minute
	return cfg
}

// refresher starts a process that runs and has the source.
func (f *fleet) refresher() *process { return f.start(f.config(), f.source) }

// reader starts a process that runs and has no source.
func (f *fleet) reader() *process { return f.start(f.config(), nil) }

func (f *fleet) start(cfg coordinator.Config, s coordinator.Source) *process {
	f.t.Helper()
	p := f.idle(cfg, s)
	ctx, cancel := context.WithCancel(f.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.c.Run(ctx); err != nil {
			f.t.Errorf("Run() = %v, want nil", err)
		}
	}()
	p.stop = func() { cancel(); <-done }
	f.t.Cleanup(p.stop)
	return p
}

// own starts a process with a store of its own, which cfg names.
func (f *fleet) own(cfg coordinator.Config) *process {
	f.t.Helper()
	return f.started(cfg, f.source)
}

// readerOf starts a process without the source on a store.
func (f *fleet) readerOf(store coordinator.Store) *process {
	f.t.Helper()
	cfg := f.config()
	cfg.Store = store
	return f.started(cfg, nil)
}

func (f *fleet) started(cfg coordinator.Config, s coordinator.Source) *process {
	f.t.Helper()
	p := f.configured(cfg, s)
	f.t.Cleanup(p.c.Start(f.t.Context()))
	return p
}

// configured makes a process with the store that cfg names. It does not run.
func (f *fleet) configured(cfg coordinator.Config, s coordinator.Source) *process {
	f.t.Helper()
	p := &process{}
	var err error
	if p.c, err = coordinator.New(cfg); err != nil {
		f.t.Fatalf("New() = %v", err)
	}
	if p.Account, err = p.c.Add(coordinator.AccountConfig{Name: account, Source: s}); err != nil {
		f.t.Fatalf("Add() = %v", err)
	}
	return p
}

// idle makes a process that does not run.
func (f *fleet) idle(cfg coordinator.Config, s coordinator.Source) *process {
	f.t.Helper()
	f.n++
	link, seen := f.store.Instance(fmt.Sprintf("p%d", f.n)), &sightings{by: map[coordinator.ObservationKind]int{}}
	cfg.Store, cfg.Observe = link, seen.add
	p := f.configured(cfg, s)
	p.link, p.seen = link, seen
	return p
}

// oddStore is a store that refuses to begin and to restore with an error of its
// own while it is odd: a missing right, contents that nobody wrote.
type oddStore struct {
	coordinator.Store
	odd     atomic.Bool
	refused atomic.Int64
}

var errOdd = errors.New("something is odd")

func (s *oddStore) refuse() error {
	if !s.odd.Load() {
		return nil
	}
	if s.refused.Add(1) > 1000 {
		panic("a store that refuses is asked without pause")
	}
	return errOdd
}

func (s *oddStore) Begin(ctx context.Context, name string, b coordinator.BeginRequest) (coordinator.Attempt, error) {
	if err := s.refuse(); err != nil {
		return coordinator.Attempt{}, err
	}
	return s.Store.Begin(ctx, name, b)
}

func (s *oddStore) Restore(ctx context.Context, name string, r coordinator.Record) (coordinator.Record, error) {
	if err := s.refuse(); err != nil {
		return coordinator.Record{}, err
	}
	return s.Store.Restore(ctx, name, r)
}

// token returns the process's token, which must come within the time.
func (f *fleet) token(p *process, within time.Duration) string {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), within)
	defer cancel()
	token, err := p.Token(ctx)
	if err != nil {
		f.t.Fatalf("Token() = %v, want a token within %v", err, within)
	}
	return token.Reveal()
}

// wantCalls checks how often the source was called so far.
func (f *fleet) wantCalls(n int) {
	f.t.Helper()
	if got := len(f.source.Calls()); got != n {
		f.t.Errorf("%d calls to the source, want %d", got, n)
	}
}

// wantCallsAfter checks it when so much time has passed.
func (f *fleet) wantCallsAfter(d time.Duration, n int) {
	f.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	f.wantCalls(n)
}

// configure gives the process's account another configuration.
func (f *fleet) configure(p *process, every time.Duration, l coordinator.Limits) {
	f.t.Helper()
	if err := p.Configure(coordinator.AccountConfig{Name: account, Source: f.source, RefreshEvery: every, Limits: l}); err != nil {
		f.t.Fatal(err)
	}
}

// wantCurrent checks that every process serves what was issued last.
func (f *fleet) wantCurrent(processes ...*process) {
	f.t.Helper()
	synctest.Wait() // what was notified has arrived
	for i, p := range processes {
		if got := f.token(p, time.Second); got != f.source.Current().Reveal() {
			f.t.Errorf("process %d serves %q, the source issued %q last", i, got, f.source.Current().Reveal())
		}
	}
}

// bubble runs test in virtual time.
func bubble(t *testing.T, test func(t *testing.T, f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newFleet(t)) })
}

func sprint(verb string, args ...any) string {
	var s string
	for _, arg := range args {
		s += fmt.Sprintf(verb, arg) + "\n"
	}
	return s
}
