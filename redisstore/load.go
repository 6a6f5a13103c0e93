package redisstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
	"github.com/zhongkong/zhongkong/redisstore/internal/redisclient"
)

// loadChunk is how many accounts are read in one pipeline at most. Each pipeline has the
// whole Options.Timeout.
const loadChunk = 250

// Load implements [coordinator.Store]. It reads up to 250 accounts per round trip,
// one round trip after the other; fewer while the server is slow.
//
// It reads in transactions, so that a process that only reads needs no right to
// run scripts: a user who may run scripts can block the server with a loop. Where
// a server, a proxy or an ACL rejects transactions, a script does the same.
func (s *Store) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	for _, account := range accounts {
		if err := checkAccount(account); err != nil {
			return nil, err
		}
	}
	states := make([]coordinator.State, 0, len(accounts))
	for len(accounts) > 0 {
		n, release, err := s.admit(ctx, min(len(accounts), loadChunk))
		if err != nil {
			return nil, fmt.Errorf("load %q: %w", accounts[0], err)
		}
		loaded, err := s.loadChunk(ctx, accounts[:n])
		release(err)
		if err != nil {
			return nil, err
		}
		states, accounts = append(states, loaded...), accounts[n:]
	}
	return states, nil
}

// loadChunk reads in the way that worked before or, if Redis refuses that, in the
// other: the ACL user may be allowed only one of them, or a proxy passes on only
// one.
func (s *Store) loadChunk(ctx context.Context, accounts []string) ([]coordinator.State, error) {
	scripted := s.scripted.Load()
	states, err := s.loadBy(ctx, scripted, accounts)
	if !isRefused(err) {
		return states, err
	}
	states, again := s.loadBy(ctx, !scripted, accounts)
	if isRefused(again) {
		return nil, err
	}
	s.scripted.Store(!scripted)
	return states, again
}

// loadBy reads by script or in transactions. An error concerns more than one
// account; what is wrong with one account alone is in its State.Err.
func (s *Store) loadBy(ctx context.Context, scripted bool, accounts []string) ([]coordinator.State, error) {
	bounded := s.operation(ctx, unconfirmed)
	read := s.transactions
	if scripted {
		read = s.loadScripts
	}
	states := make([]coordinator.State, len(accounts))
	for i, answer := range read(bounded, accounts) {
		if answer.err == nil {
			states[i] = s.state(accounts[i], answer.parts)
			continue
		}
		err := s.fault(ctx, "load", accounts[i], answer.err)
		if !isData(err) {
			return nil, err
		}
		states[i] = coordinator.State{Account: accounts[i], Now: s.clock.now(), Err: err}
	}
	return states, nil
}

// answer is what Redis contains of one account, as load.lua returns it.
type answer struct {
	parts any
	err   error
}

// loadScripts runs load.lua for each of the accounts, and once more if this process
// has assumed another day than the server.
func (s *Store) loadScripts(ctx context.Context, accounts []string) []answer {
	days := slices.Repeat([]string{s.day()}, len(accounts))
	for {
		answers := s.loadOn(ctx, days, accounts)
		again := false
		for i, a := range answers {
			if day := s.otherDay(accounts[i], a.parts); day != "" {
				days[i], again = day, true
			}
		}
		if !again {
			return answers
		}
	}
}

// loadOn runs load.lua for each of the accounts in one round trip, on the day of each.
// Accounts for which the server did not know the script are read once more, with its
// text: a pipeline of go-redis does not do that.
func (s *Store) loadOn(ctx context.Context, days, accounts []string) []answer {
	pipe := s.client.Reads.Pipeline()
	cmds := make([]*redis.Cmd, len(accounts))
	load := s.scripts().load
	for i, account := range accounts {
		run := load.EvalSha
		if s.firstUse(load.Hash()) {
			run = load.Eval
		}
		cmds[i] = run(ctx, pipe, loadKeys(s.keys.Of(account), days[i]))
	}
	_, unsent := pipe.Exec(ctx) // of commands that have no error of their own
	for i, account := range accounts {
		if redis.HasErrorPrefix(cmds[i].Err(), "NOSCRIPT") {
			cmds[i] = load.Eval(ctx, pipe, loadKeys(s.keys.Of(account), days[i]))
		}
	}
	if pipe.Len() > 0 {
		_, unsent = pipe.Exec(ctx)
	}
	answers := make([]answer, len(accounts))
	for i, cmd := range cmds {
		answers[i].parts, answers[i].err = cmd.Result()
		if answers[i].parts == nil && answers[i].err == nil {
			answers[i].err = unsent
		}
	}
	return answers
}

func loadKeys(k layout.AccountKeys, day string) []string {
	return []string{k.Token, k.State, k.Attempts, k.Calls + day, k.Lock}
}

// transactions reads each account in a transaction, in one round trip for each server
// that has some of them. If a slot of a cluster has moved, all are read again.
func (s *Store) transactions(ctx context.Context, accounts []string) []answer {
	answers := make([]answer, len(accounts))
	keys := make([]string, len(accounts))
	for i, account := range accounts {
		keys[i] = s.keys.Of(account).Token
	}
	for {
		byServer, err := s.client.ByMaster(ctx, keys)
		for i := range answers {
			answers[i].err = err
		}
		for server, indexes := range byServer {
			s.transactionsOn(ctx, server, accounts, indexes, answers)
		}
		if !slices.ContainsFunc(answers, answer.moved) || !s.client.ReloadCluster(ctx) {
			return answers
		}
	}
}

// moved reports whether another server may have the account by now.
func (a answer) moved() bool {
	return a.err != nil && (redisclient.Redirected(a.err) || redis.HasErrorPrefix(a.err, "ASK"))
}

// tokenFields and stateFields are the fields of the hashes, in the order of
// load.lua.
var (
	tokenFields = []any{"access_token", "generation", "issued_at", "expires_at", "issued_by", "attributes", "repeated"}
	stateFields = []any{
		"fence", "failures", "retry_at", "conflicts", "refresh_at",
		"last_error", "last_error_code", "last_error_at", "last_error_kind", "refused_credential",
		"window_ends", "window_calls", "grant",
	}
)

// Indexes in stateFields.
const (
	refreshAtField = 4
	grantField     = 12
)

// transaction reads one account. The commands between MULTI and EXEC are answered
// only with QUEUED. The transactions of go-redis would put all accounts into one,
// which a cluster does not accept.
type transaction struct {
	keys        layout.AccountKeys
	day         string // of which the calls are read
	begin, exec *redis.Cmd
	queued      []*redis.Cmd
}

func (s *Store) queueTransaction(ctx context.Context, pipe redis.Pipeliner, account string) transaction {
	// Only the server knows for certain which day it is. This guess is wrong only
	// around midnight.
	k, day := s.keys.Of(account), s.day()
	t := transaction{keys: k, day: day, begin: pipe.Do(ctx, "multi")}
	for _, command := range [][]any{
		{"time"},
		append([]any{"hmget", k.Token}, tokenFields...),
		{"pttl", k.Token},
		append([]any{"hmget", k.State}, stateFields...),
		{"zrange", k.Attempts, 0, maxAttempts, "withscores"},
		{"get", k.Calls + day},
		{"get", k.Lock},
		{"pttl", k.Lock},
	} {
		t.queued = append(t.queued, pipe.Do(ctx, command...))
	}
	t.exec = pipe.Do(ctx, "exec")
	return t
}

// transactionsOn reads those of the accounts that the indexes name from a server.
func (s *Store) transactionsOn(ctx context.Context, server redis.UniversalClient, accounts []string, indexes []int, answers []answer) {
	pipe := server.Pipeline()
	all := make([]transaction, len(indexes))
	for n, i := range indexes {
		all[n] = s.queueTransaction(ctx, pipe, accounts[i])
	}
	_, err := pipe.Exec(ctx)
	for n, i := range indexes {
		answers[i] = all[n].answer(ctx, server)
		if answers[i].parts == nil && answers[i].err == nil {
			answers[i].err = err // nothing was sent, so no command has an error of its own
		}
	}
}

// answer converts what was read to the form that load.lua returns.
func (t transaction) answer(ctx context.Context, server redis.UniversalClient) answer {
	for _, cmd := range append([]*redis.Cmd{t.begin}, t.queued...) {
		if err := cmd.Err(); err != nil { // why EXEC did nothing
			return answer{err: err}
		}
	}
	parts, isList := t.exec.Val().([]any)
	if !isList {
		return answer{err: t.exec.Err()}
	}
	if len(parts) != len(t.queued) {
		return answer{err: fmt.Errorf("EXEC has returned %d answers to %d commands", len(parts), len(t.queued))}
	}
	for i, part := range parts {
		if err, failed := part.(error); failed {
			return answer{err: t.blame(i, err)}
		}
	}
	now := serverTime(parts[0])
	calls := parts[5]
	if day := issuersDay(now); day != t.day {
		calls = nil
		if n, err := server.Get(ctx, t.keys.Calls+day).Result(); err == nil {
			calls = n
		}
	}
	token, _ := parts[1].([]any)
	state, _ := parts[3].([]any)
	if len(state) != len(stateFields) {
		state = make([]any, len(stateFields))
	}
	return answer{parts: []any{
		strconv.FormatInt(now.UnixMilli(), 10), append(slices.Clip(token), parts[2], state[refreshAtField]), state,
		flat(parts[4]), calls, parts[6], parts[7],
	}}
}

// blame names the key for which a command in the transaction has failed.
func (t transaction) blame(i int, err error) error {
	if !redis.HasErrorPrefix(err, "WRONGTYPE") {
		return err
	}
	wrong := map[int]DataError{
		1: {Key: t.keys.Token, Problem: "is not a hash"},
		3: {Key: t.keys.State, Problem: "is not a hash"},
		4: {Key: t.keys.Attempts, Problem: "is not a sorted-set"},
		5: {Key: t.keys.Calls + t.day, Problem: "is not a string"},
		6: {Key: t.keys.Lock, Problem: "is not a string"},
	}[i]
	return &wrong
}

// serverTime decodes TIME.
func serverTime(v any) time.Time {
	parts, _ := v.([]any)
	if len(parts) != 2 {
		return time.Time{}
	}
	seconds, _ := strconv.ParseInt(fmt.Sprint(parts[0]), 10, 64)
	micros, _ := strconv.ParseInt(fmt.Sprint(parts[1]), 10, 64)
	return time.Unix(seconds, micros*1000).UTC()
}

// flat converts the answer to ZRANGE WITHSCORES to the form that it has in a script,
// in which members and scores alternate. In RESP3 it is a list of pairs.
func flat(v any) []any {
	list, _ := v.([]any)
	out := make([]any, 0, 2*len(list))
	for _, element := range list {
		pair, isPair := element.([]any)
		if !isPair {
			pair = []any{element}
		}
		for _, one := range pair {
			if score, ok := one.(float64); ok {
				one = strconv.FormatFloat(score, 'f', -1, 64)
			}
			out = append(out, one)
		}
	}
	return out
}
