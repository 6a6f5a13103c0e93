package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Loading many accounts: so many in one pipeline, so many pipelines at once.
const (
	loadChunk   = 250
	loadWorkers = 4
)

// Load is coordinator.Store's. If some accounts can be read and others cannot
// (bad contents, a sealed token without the key), it returns the States of the
// former; those of the latter have no Account, and the error tells of the first
// few of them. An unreachable store returns no States.
func (s *Store) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	for _, account := range accounts {
		if err := checkAccount(account); err != nil {
			return nil, err
		}
	}
	states := make([]coordinator.State, len(accounts))
	if len(accounts) == 1 {
		return states, s.loadOne(ctx, accounts[0], &states[0])
	}
	l := loading{store: s, accounts: accounts, states: states}
	if err := l.all(ctx); err != nil {
		return nil, err
	}
	return states, l.complaints()
}

func (s *Store) loadOne(ctx context.Context, account string, state *coordinator.State) error {
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	k := s.keys.of(account)
	loaded := s.loadBySHA(bounded, s.reads, k)
	for range 2 { // see again
		if s.needsText(loaded.Err()) {
			loaded = s.loadByText(bounded, s.reads, k)
		}
	}
	answer, err := loaded.Result()
	if err != nil {
		return s.fault(ctx, "load", account, err)
	}
	if *state, err = s.state(account, k, answer); err != nil {
		return fmt.Errorf("load %q: %w", account, err)
	}
	return nil
}

func (k accountKeys) forLoad() []string {
	return []string{k.token, k.state, k.attempts, k.calls, k.lock}
}

// loadBySHA asks for the script that the server should know already.
func (s *Store) loadBySHA(ctx context.Context, c redis.Scripter, k accountKeys) *redis.Cmd {
	if s.readOnlyFails.Load() {
		return s.scripts.load.EvalSha(ctx, c, k.forLoad())
	}
	return s.scripts.load.EvalShaRO(ctx, c, k.forLoad())
}

// loadByText sends the script.
func (s *Store) loadByText(ctx context.Context, c redis.Scripter, k accountKeys) *redis.Cmd {
	if s.readOnlyFails.Load() {
		return s.scripts.load.Eval(ctx, c, k.forLoad())
	}
	return s.scripts.load.EvalRO(ctx, c, k.forLoad())
}

// needsText reports whether loadByText may succeed where loadBySHA did not: the
// server was restarted, or never asked before. Or it is miniredis, which takes
// TIME for a command that writes; then nothing is asked read-only any more.
func (s *Store) needsText(err error) bool {
	if err == nil {
		return false
	}
	if strings.Contains(err.Error(), "Write commands are not allowed in read-only scripts") {
		s.readOnlyFails.Store(true)
		return true
	}
	return redis.HasErrorPrefix(err, "NOSCRIPT")
}

// loading is one Load of many accounts. Workers take chunks off next and fill
// in their own part of states.
type loading struct {
	store    *Store
	accounts []string
	states   []coordinator.State

	mu   sync.Mutex
	next int     // guarded by mu: the first account that no worker has taken
	bad  []error // guarded by mu: accounts that cannot be read, the first few
	more int     // guarded by mu: how many besides those in bad
}

// all loads every chunk; the first fault that concerns more than one account
// ends it.
func (l *loading) all(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var workers sync.WaitGroup
	for range min(loadWorkers, (len(l.accounts)+loadChunk-1)/loadChunk) {
		workers.Go(func() { // joined below; ends with the last chunk or the first fault
			for from, to := l.take(); from < to && ctx.Err() == nil; from, to = l.take() {
				if err := l.chunk(ctx, from, to); err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

func (l *loading) take() (from, to int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from = l.next
	l.next = min(from+loadChunk, len(l.accounts))
	return from, l.next
}

// chunk loads accounts[from:to] in one pipeline.
func (l *loading) chunk(ctx context.Context, from, to int) error {
	s := l.store
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	answers := make([]*redis.Cmd, to-from)
	pipe := s.reads.Pipeline()
	for i := range answers {
		answers[i] = s.loadBySHA(bounded, pipe, s.keys.of(l.accounts[from+i]))
	}
	_, _ = pipe.Exec(bounded) // each command has its own error
	l.again(bounded, from, answers)
	for i, answer := range answers {
		account := l.accounts[from+i]
		reply, err := answer.Result()
		if err != nil {
			if err = s.fault(ctx, "load", account, err); !isData(err) {
				return err
			}
			l.complain(err)
			continue
		}
		if l.states[from+i], err = s.state(account, s.keys.of(account), reply); err != nil {
			l.complain(fmt.Errorf("load %q: %w", account, err))
		}
	}
	return nil
}

// again repeats, with the script's text, what needs it: a pipeline does not do so
// by itself. Twice, for a server that has forgotten the script and takes it for
// one that writes, too.
func (l *loading) again(ctx context.Context, from int, answers []*redis.Cmd) {
	s := l.store
	for range 2 {
		pipe := s.reads.Pipeline()
		for i, answer := range answers {
			if s.needsText(answer.Err()) {
				answers[i] = s.loadByText(ctx, pipe, s.keys.of(l.accounts[from+i]))
			}
		}
		if pipe.Len() == 0 {
			return
		}
		_, _ = pipe.Exec(ctx) // each command has its own error
	}
}

func (l *loading) complain(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.bad) == 10 {
		l.more++
		return
	}
	l.bad = append(l.bad, err)
}

func (l *loading) complaints() error {
	if l.more > 0 {
		l.bad = append(l.bad, fmt.Errorf("and %d more accounts", l.more))
	}
	return errors.Join(l.bad...)
}
