package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Loading many accounts: so many in one pipeline, so many pipelines at once.
const (
	loadChunk   = 250
	loadWorkers = 4
)

// Load is coordinator.Store's.
//
// A process that refreshes reads with a script, which shares its round trip with
// others. One that only reads does the same in a transaction, and so needs no
// right to run scripts: whoever may run one can stop the server with a loop.
func (s *Store) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	for _, account := range accounts {
		if err := checkAccount(account); err != nil {
			return nil, err
		}
	}
	l := loading{store: s, accounts: accounts, states: make([]coordinator.State, len(accounts))}
	if err := l.all(ctx); err != nil {
		return nil, err
	}
	return l.states, nil
}

// loading is one Load. Workers take chunks off next and fill in their own part
// of states.
type loading struct {
	store    *Store
	accounts []string
	states   []coordinator.State

	mu   sync.Mutex
	next int // guarded by mu: the first account that no worker has taken
}

// all loads every chunk; the first fault that concerns more than one account
// ends it.
func (l *loading) all(ctx context.Context) error {
	if len(l.accounts) <= loadChunk {
		return l.chunk(ctx, 0, len(l.accounts))
	}
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

// chunk loads accounts[from:to], in the way that this process used before or, if
// Redis denies that, in the other.
func (l *loading) chunk(ctx context.Context, from, to int) error {
	s := l.store
	scripted := s.scripted.Load()
	denied, err := l.try(ctx, scripted, from, to)
	if !denied {
		return err
	}
	if denied, again := l.try(ctx, !scripted, from, to); !denied {
		s.scripted.Store(!scripted)
		return again
	}
	return err
}

// try loads accounts[from:to]. denied: Redis does not let its user do it so.
func (l *loading) try(ctx context.Context, scripted bool, from, to int) (denied bool, err error) {
	bounded, cancel := l.store.bounded(ctx)
	defer cancel()
	read := l.store.transactions
	if scripted {
		read = l.store.loadScripts
	}
	answers := read(bounded, l.accounts[from:to])
	for i, answer := range answers {
		account := l.accounts[from+i]
		if answer.err != nil {
			err := l.store.fault(ctx, "load", account, answer.err)
			if !isData(err) {
				return errors.Is(err, ErrDenied) && !errors.Is(err, coordinator.ErrUnreachable), err
			}
			l.states[from+i] = coordinator.State{Account: account, Now: l.store.clock.now(), Err: err}
			continue
		}
		l.states[from+i] = l.store.state(account, answer.parts)
	}
	return false, nil
}

// answer is what Redis holds of one account, as load.lua returns it.
type answer struct {
	parts any
	err   error
}

// loadScripts runs load.lua for each of the accounts.
func (s *Store) loadScripts(ctx context.Context, accounts []string) []answer {
	cmds := make([]*redis.Cmd, len(accounts))
	if len(accounts) == 1 {
		keys := s.keys.of(accounts[0]).forLoad()
		cmds[0] = s.scripts.load.EvalSha(ctx, s.reads, keys)
		if redis.HasErrorPrefix(cmds[0].Err(), "NOSCRIPT") {
			cmds[0] = s.scripts.load.Eval(ctx, s.reads, keys)
		}
	} else {
		s.pipelineScripts(ctx, accounts, cmds)
	}
	answers := make([]answer, len(accounts))
	for i, cmd := range cmds {
		answers[i].parts, answers[i].err = cmd.Result()
	}
	return answers
}

// pipelineScripts runs load.lua for many accounts at once. Where the server does
// not know the script it is sent once more, with its text: a pipeline does not do
// so by itself.
func (s *Store) pipelineScripts(ctx context.Context, accounts []string, cmds []*redis.Cmd) {
	pipe := s.reads.Pipeline()
	for i, account := range accounts {
		cmds[i] = s.scripts.load.EvalSha(ctx, pipe, s.keys.of(account).forLoad())
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	pipe = s.reads.Pipeline()
	for i, account := range accounts {
		if redis.HasErrorPrefix(cmds[i].Err(), "NOSCRIPT") {
			cmds[i] = s.scripts.load.Eval(ctx, pipe, s.keys.of(account).forLoad())
		}
	}
	if pipe.Len() > 0 {
		_, _ = pipe.Exec(ctx) // each command has its own error
	}
}

func (k accountKeys) forLoad() []string {
	return []string{k.token, k.state, k.attempts, k.calls, k.lock}
}

// transactions reads the accounts in one transaction for each server that holds
// some of them. In a cluster a slot may have moved: then all are read again.
func (s *Store) transactions(ctx context.Context, accounts []string) []answer {
	answers := make([]answer, len(accounts))
	for {
		byServer, err := s.masters(ctx, accounts)
		for i := range answers {
			answers[i].err = err
		}
		for server, indexes := range byServer {
			s.transaction(ctx, server, accounts, indexes, answers)
		}
		cluster, ok := s.reads.(*redis.ClusterClient)
		if !ok || !slices.ContainsFunc(answers, answer.moved) {
			return answers
		}
		cluster.ReloadState(ctx)
		if !sleep(ctx, 20*time.Millisecond) {
			return answers
		}
	}
}

// moved reports whether another server may have the account by now.
func (a answer) moved() bool {
	return a.err != nil && (redirected(a.err) || redis.HasErrorPrefix(a.err, "EXECABORT") || redis.HasErrorPrefix(a.err, "ASK"))
}

// tokenFields and stateFields are the fields of the hashes, in the order of
// load.lua.
var (
	tokenFields = []string{"access_token", "generation", "issued_at", "expires_at", "issued_by"}
	stateFields = []string{
		"fence", "failures", "retry_at", "conflicts", "refresh_at",
		"last_error", "last_error_code", "last_error_at", "last_error_kind", "refused_credential",
	}
)

const (
	refreshAtField = 4    // in stateFields
	maxAttempts    = 1000 // attempts_most of the scripts; one more is read
)

// reading is what a transaction asks of one account.
type reading struct {
	keys             accountKeys
	token, state     *redis.SliceCmd
	attempts         *redis.ZSliceCmd
	calls, holder    *redis.StringCmd
	tokenEnd, unlock *redis.DurationCmd
}

// transaction reads those of the accounts that the indexes name.
func (s *Store) transaction(ctx context.Context, server redis.UniversalClient, accounts []string, indexes []int, answers []answer) {
	tx := server.TxPipeline()
	clock := tx.Time(ctx)
	// The server alone knows which day it is. This guess is right but for the
	// moments around midnight.
	today := issuersDay(s.clock.now())
	readings := make([]reading, len(indexes))
	for n, i := range indexes {
		k := s.keys.of(accounts[i])
		readings[n] = reading{
			keys:     k,
			token:    tx.HMGet(ctx, k.token, tokenFields...),
			tokenEnd: tx.PTTL(ctx, k.token),
			state:    tx.HMGet(ctx, k.state, stateFields...),
			attempts: tx.ZRangeWithScores(ctx, k.attempts, 0, maxAttempts),
			calls:    tx.Get(ctx, k.calls+today),
			holder:   tx.Get(ctx, k.lock),
			unlock:   tx.PTTL(ctx, k.lock),
		}
	}
	_, _ = tx.Exec(ctx) // each command has its own error
	now, err := clock.Result()
	if redis.HasErrorPrefix(err, "EXECABORT") {
		err = s.whyAborted(ctx, server, readings[0].keys, err)
	}
	for n, i := range indexes {
		if err != nil { // the transaction as a whole has failed
			answers[i].err = err
			continue
		}
		if day := issuersDay(now); day != today {
			readings[n].calls = server.Get(ctx, readings[n].keys.calls+day)
		}
		answers[i] = readings[n].answer(now)
	}
}

// whyAborted returns why the server refused a command of a transaction: it says so
// of a command by itself, and go-redis keeps only that the transaction was aborted.
func (s *Store) whyAborted(ctx context.Context, server redis.UniversalClient, k accountKeys, aborted error) error {
	for _, cmd := range []redis.Cmder{
		server.Time(ctx), server.HMGet(ctx, k.token, tokenFields...), server.PTTL(ctx, k.token),
		server.ZRangeWithScores(ctx, k.attempts, 0, 0), server.Get(ctx, k.lock),
	} {
		if err := cmd.Err(); err != nil && unwrapRedis(err) != nil && !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "WRONGTYPE") {
			return err
		}
	}
	return aborted
}

// answer brings what was read into the form that load.lua returns.
func (r *reading) answer(now time.Time) answer {
	for _, part := range []struct {
		cmd       redis.Cmder
		key, kind string
	}{
		{r.token, r.keys.token, "hash"},
		{r.state, r.keys.state, "hash"},
		{r.attempts, r.keys.attempts, "sorted-set"},
		{r.calls, r.keys.calls + issuersDay(now), "string"},
		{r.holder, r.keys.lock, "string"},
	} {
		err := part.cmd.Err()
		switch {
		case err == nil, errors.Is(err, redis.Nil):
		case redis.HasErrorPrefix(err, "WRONGTYPE"):
			return answer{err: &DataError{Key: part.key, Problem: "is not a " + part.kind}}
		default:
			return answer{err: err}
		}
	}
	attempts := make([]any, 0, 2*len(r.attempts.Val()))
	for _, a := range r.attempts.Val() {
		attempts = append(attempts, a.Member, strconv.FormatFloat(a.Score, 'f', -1, 64))
	}
	state := r.state.Val()
	return answer{parts: []any{
		strconv.FormatInt(now.UnixMilli(), 10),
		append(slices.Clip(r.token.Val()), milliseconds64(r.tokenEnd.Val()), state[refreshAtField]),
		state, attempts, found(r.calls), found(r.holder), milliseconds64(r.unlock.Val()),
	}}
}

// found returns what a GET found, nil for nothing.
func found(cmd *redis.StringCmd) any {
	if cmd.Err() != nil {
		return nil
	}
	return cmd.Val()
}

// milliseconds64 returns a PTTL as the server sent it; go-redis leaves -1 and -2
// as they are.
func milliseconds64(d time.Duration) int64 {
	if d < 0 {
		return int64(d)
	}
	return d.Milliseconds()
}
