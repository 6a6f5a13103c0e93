package coordinator_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// A reader that no notification reaches lives on what the feed tells, beside writers of
// this version and of the one before, which records no changes. With any rule of the feed
// broken it must be caught with an old token.

// feedBreak breaks one rule; the zero value none.
type feedBreak struct {
	writer func(*memstore.Instance) coordinator.Store
	reader func(*memstore.Instance) coordinator.Store
}

const (
	feedCall  = 5 * time.Second // how long a call to the source takes: longer than two readings of the changes
	feedSoon  = 20 * time.Second
	feedLater = 100 * time.Second // PollEvery, and what a change may be late
)

// feedSim is one seed's life.
type feedSim struct {
	*fleet
	rng                   *rand.Rand
	writer, older, reader *process
	failures              []string
}

func TestTheFeedTellsAReaderThatHearsNothing(t *testing.T) {
	for seed := range uint64(4) {
		for _, failure := range simulateFeed(t, seed, feedBreak{}) {
			t.Errorf("seed %d: %s", seed, failure)
		}
	}
}

func TestEachBrokenRuleOfTheFeedIsNoticed(t *testing.T) {
	for name, broken := range map[string]feedBreak{
		"a commit does not enter its change": {
			writer: func(i *memstore.Instance) coordinator.Store { return secretCommits{i} },
		},
		"the cursor is taken after the reading": {
			reader: func(i *memstore.Instance) coordinator.Store { return &lateCursor{Instance: i} },
		},
		"what should have been replaced is not read": {
			reader: func(i *memstore.Instance) coordinator.Store { return patientReader{i} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(10) {
				if failures := simulateFeed(t, seed, broken); len(failures) > 0 {
					t.Logf("caught with seed %d: %s", seed, failures[0])
					return
				}
			}
			t.Error("no seed has noticed it")
		})
	}
}

func simulateFeed(t *testing.T, seed uint64, broken feedBreak) (failures []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &feedSim{fleet: newFleet(t), rng: rand.New(rand.NewPCG(seed, 7))} // #nosec G404 -- a simulation
		s.source.Latency, s.source.RefreshIn = feedCall, 10*time.Minute
		s.writer = s.start(s.source, time.Hour, broken.writer)
		s.older = s.start(s.source, time.Hour, nil)
		s.older.link.RecordNoChanges(true)
		s.reader = s.start(nil, time.Hour, broken.reader)
		s.reader.link.DropNotifications(true)
		time.Sleep(time.Minute)
		for end := time.Now().Add(6 * time.Hour); time.Now().Before(end) && len(s.failures) == 0; {
			time.Sleep(time.Duration(s.rng.Int64N(int64(4 * time.Minute))))
			s.disturb()
		}
		failures = s.failures
	})
	return failures
}

// start starts a process with a store of its own.
func (s *feedSim) start(source coordinator.Source, every time.Duration, wrap func(*memstore.Instance) coordinator.Store) *process {
	s.t.Helper()
	s.n++
	p := &process{link: s.store.Instance(fmt.Sprintf("p%d", s.n))}
	cfg := s.config()
	cfg.Logger, cfg.Store, cfg.ProbeEvery, cfg.RefreshEvery = nil, p.link, time.Second, every
	cfg.Limits = coordinator.Limits{MinInterval: time.Millisecond}
	if wrap != nil {
		cfg.Store = wrap(p.link)
	}
	var err error
	if p.c, err = coordinator.New(cfg); err != nil {
		s.t.Fatal(err)
	}
	p.c.ReadNoneInTurn()
	if p.Account, err = p.c.Add(coordinator.AccountConfig{Name: account, Source: source}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(p.c.Start(s.t.Context()))
	return p
}

// disturb makes one fault, and checks that the reader has what was issued last.
func (s *feedSim) disturb() {
	switch s.rng.IntN(6) {
	case 0:
		s.refresh(s.writer)
		s.check("a forced refresh", feedSoon)
	case 1: // the reader connects while a refresh is under way
		s.reader.link.SetDown(true)
		done := make(chan struct{})
		go func() { defer close(done); s.refresh(s.writer) }()
		time.Sleep(time.Duration(s.rng.Int64N(int64(feedCall))))
		s.reader.link.SetDown(false)
		<-done
		s.check("a refresh during a reconnect", feedSoon)
	case 2:
		s.store.Flush()
		s.check("a loss of the data", feedSoon)
	case 3:
		s.reader.link.FailNext(memstore.OpChanges, 200)
		s.refresh(s.writer)
		s.check("a refresh while changes cannot be read", 2*time.Minute)
		s.reader.link.FailNext(memstore.OpChanges, 0)
		time.Sleep(feedSoon)
	case 4: // the version before refreshes on schedule, alone
		s.writer.link.SetDown(true)
		calls := len(s.source.Calls())
		for end := time.Now().Add(11 * time.Minute); len(s.source.Calls()) == calls && time.Now().Before(end); {
			time.Sleep(time.Second)
		}
		s.check("a refresh of the version before", feedLater)
		s.writer.link.SetDown(false)
		time.Sleep(feedSoon)
	case 5:
		s.store.SetDown(true)
		time.Sleep(time.Duration(s.rng.Int64N(int64(time.Minute))))
		s.store.SetDown(false)
		s.refresh(s.writer)
		s.check("an outage", feedSoon)
	}
}

// refresh forces one. A scheduled one may have come first.
func (s *feedSim) refresh(p *process) {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	_, _ = p.Refresh(ctx)
}

// check waits for as long as a change may go unnoticed.
func (s *feedSim) check(after string, within time.Duration) {
	time.Sleep(within)
	synctest.Wait()
	state := s.store.Peek(account)
	if state.Record.IssuedBy == "p2" && within < feedLater { // the version before came first
		time.Sleep(feedLater - within)
		within, state = feedLater, s.store.Peek(account)
	}
	if len(state.Open) > 0 || !state.Record.Token.Equal(s.source.Current()) {
		return // a scheduled refresh is under way
	}
	if age := state.Now.Sub(state.Record.IssuedAt); age < within-feedCall {
		return // one has just ended
	}
	if got := s.reader.Status().Record.Generation; got != state.Record.Generation {
		s.failures = append(s.failures, fmt.Sprintf("%v after %s the reader has generation %d, the store %d", within, after, got, state.Record.Generation))
	}
}

// secretCommits enters no change of a commit.
type secretCommits struct{ *memstore.Instance }

func (s secretCommits) Commit(ctx context.Context, name string, c coordinator.CommitRequest) (coordinator.Record, error) {
	s.RecordNoChanges(true)
	defer s.RecordNoChanges(false)
	return s.Instance.Commit(ctx, name, c)
}

// lateCursor has the reading that follows a cursor come before it.
type lateCursor struct {
	*memstore.Instance
	mu    sync.Mutex
	early []coordinator.State
}

func (s *lateCursor) Newest(ctx context.Context) (coordinator.Cursor, error) {
	states, err := s.Instance.Load(ctx, account)
	if err != nil {
		return coordinator.Cursor{}, err
	}
	time.Sleep(3 * time.Second)
	s.mu.Lock()
	s.early = states
	s.mu.Unlock()
	return s.Instance.Newest(ctx)
}

func (s *lateCursor) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	s.mu.Lock()
	early := s.early
	s.early = nil
	s.mu.Unlock()
	if early != nil {
		return early, nil
	}
	return s.Instance.Load(ctx, accounts...)
}

// patientReader expects no replacement before the end of a token.
type patientReader struct{ *memstore.Instance }

func (s patientReader) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	states, err := s.Instance.Load(ctx, accounts...)
	for i := range states {
		if r := &states[i].Record; r.Usable() {
			r.RefreshAt = r.ExpiresAt
		}
	}
	return states, err
}
