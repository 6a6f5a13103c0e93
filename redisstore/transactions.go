package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
	"github.com/zhongkong/zhongkong/redisstore/internal/redisclient"
)

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

// Indexes in tokenFields and stateFields.
const (
	generationField = 1
	attributesField = 5

	fenceField     = 0
	refreshAtField = 4
	grantField     = 12
)

// togetherMost is how many accounts are read at the same instant at most: the server does
// nothing else meanwhile.
const togetherMost = 10

// loadTransactions reads accounts in transactions, in one round trip for each server that
// has some of them. Those whose slot of a cluster has moved are read again.
func (s *Store) loadTransactions(ctx context.Context, keys []layout.AccountKeys) []answer {
	answers := make([]answer, len(keys))
	left := make([]int, len(keys))
	for i := range left {
		left[i] = i
	}
	for {
		tokens := make([]string, len(left))
		for n, i := range left {
			tokens[n] = keys[i].Token
		}
		byServer, err := s.client.ByMaster(ctx, tokens)
		for _, i := range left {
			answers[i].err = err
		}
		for server, indexes := range byServer {
			for n, which := range indexes {
				indexes[n] = left[which]
			}
			s.loadFrom(ctx, server, keys, indexes, answers)
		}
		left = slices.DeleteFunc(left, func(i int) bool { return !answers[i].moved() })
		if len(left) == 0 || !s.client.ReloadCluster(ctx) {
			return answers
		}
	}
}

// moved reports whether another server may have the account by now.
func (a answer) moved() bool { return a.err != nil && (redisclient.Redirected(a.err) || isAsk(a.err)) }

// isAsk reports whether a server sends those who ask for a key to the one that its slot is
// being moved to, because it does not have it any more, or never had.
func isAsk(err error) bool { return redis.HasErrorPrefix(err, "ASK ") }

// loadFrom reads those of the accounts that the indexes name from a server.
func (s *Store) loadFrom(ctx context.Context, server redis.UniversalClient, keys []layout.AccountKeys, indexes []int, answers []answer) {
	together := 1
	if len(indexes) > 1 && s.shares.Load() && !s.apart.Load() {
		together = togetherMost
	}
	s.transact(ctx, server, keys, indexes, together, answers)
	failed := func(is func(error) bool) (those []int) {
		for _, i := range indexes {
			if err := answers[i].err; err != nil && is(err) {
				those = append(those, i)
			}
		}
		return those
	}
	if full := failed(isOutOfMemory); len(full) > 0 {
		s.loadPlainly(ctx, server, server, keys, full, answers)
	}
	if asked := failed(isAsk); len(asked) > 0 { // the client of the cluster asks for each key where it is
		s.loadPlainly(ctx, server, s.client.Reads, keys, asked, answers)
	}
	if together == 1 {
		return
	}
	refused := failed(func(err error) bool { return isRefused(s.fault(ctx, "load", "", err)) })
	if len(refused) == 0 {
		return
	}
	// A proxy has keys of several servers, or a key of one of the accounts is denied.
	s.transact(ctx, server, keys, refused, 1, answers)
	if !slices.ContainsFunc(refused, func(i int) bool { return answers[i].err != nil }) {
		s.apart.Store(true)
	}
}

// transact reads accounts, so many at the same instant, all of them in one round trip.
func (s *Store) transact(ctx context.Context, server redis.UniversalClient, keys []layout.AccountKeys, indexes []int, most int, answers []answer) {
	// Only the server knows for certain which day it is. This guess is wrong only
	// around midnight.
	day := s.day()
	transactions := (len(indexes) + most - 1) / most
	commands := make([]redis.Cmder, 0, 3*transactions+commandsEach*len(indexes))
	all := make([]transaction, 0, transactions)
	for some := range slices.Chunk(indexes, most) {
		from := len(commands)
		commands = appendTransaction(ctx, commands, keys, some, day)
		all = append(all, transaction{some, commands[from:]})
	}
	pipe := server.Pipeline()
	_ = pipe.BatchProcess(ctx, commands...) // only queues them
	_, unsent := pipe.Exec(ctx)
	for _, t := range all {
		parts, err := t.parts()
		if err == nil && parts == nil {
			err = unsent // nothing was sent, so no command has an error of its own
		}
		var now time.Time
		if err == nil {
			now, err = serverTime(parts[0])
		}
		for n, i := range t.indexes {
			if err != nil {
				answers[i] = answer{err: err}
				continue
			}
			answers[i] = readAt(ctx, server, now, parts[1+n*commandsEach:][:commandsEach], &keys[i], day)
		}
	}
}

// loadPlainly reads accounts without transactions: a Redis that has reached maxmemory queues
// no command, but carries out those that read; and while a slot of a cluster is being moved,
// two servers have keys of one account. An account that has changed meanwhile is read again.
// The time is the clock's.
func (s *Store) loadPlainly(ctx context.Context, clock, server redis.UniversalClient, keys []layout.AccountKeys, indexes []int, answers []answer) {
	for range loadTries {
		indexes = s.readPlainly(ctx, clock, server, keys, indexes, answers)
		if len(indexes) == 0 {
			return
		}
	}
	for _, i := range indexes {
		answers[i] = answer{err: errChanging}
	}
}

var errChanging = fmt.Errorf("%w: Redis has reached maxmemory, or moves a slot of the cluster, and the account changes while it is read", coordinator.ErrUnreachable)

// readPlainly reads the clock, then accounts in one round trip, and the generation and the
// fence of each a second time. It returns those in which these have changed.
func (s *Store) readPlainly(ctx context.Context, clock, server redis.UniversalClient, keys []layout.AccountKeys, indexes []int, answers []answer) (changed []int) {
	const each = commandsEach + 2
	now, err := clock.Time(ctx).Result()
	if err != nil {
		for _, i := range indexes {
			answers[i] = answer{err: err}
		}
		return nil
	}
	now = now.UTC().Truncate(time.Millisecond)
	day := s.day()
	var commands []redis.Cmder
	for _, i := range indexes {
		commands = appendReading(ctx, commands, keys, []int{i}, day)
		commands = append(commands, redis.NewCmd(ctx, "hmget", keys[i].Token, "generation"), redis.NewCmd(ctx, "hmget", keys[i].State, "fence"))
	}
	pipe := server.Pipeline()
	_ = pipe.BatchProcess(ctx, commands...) // only queues them
	_, unsent := pipe.Exec(ctx)
	for n, i := range indexes {
		parts := make([]any, each)
		for j, c := range commands[n*each:][:each] {
			parts[j] = c.(*redis.Cmd).Val()
			if err := c.Err(); err != nil && !errors.Is(err, redis.Nil) {
				parts[j] = err
			}
		}
		if commands[n*each].Err() == nil && parts[0] == nil {
			answers[i] = answer{err: unsent} // nothing was sent, so no command has an error of its own
			continue
		}
		answers[i] = readAt(ctx, server, now, parts[:commandsEach], &keys[i], day)
		if r, ok := answers[i].parts.(*reading); ok && (!sameFirst(parts[each-2], r.token[generationField]) || !sameFirst(parts[each-1], r.state[fenceField])) {
			changed = append(changed, i)
		}
	}
	return changed
}

// sameFirst reports whether the first field of an answer to HMGET has the value.
func sameFirst(answer, value any) bool {
	fields, _ := answer.([]any)
	return len(fields) == 1 && fields[0] == value
}

// commandsEach is how many commands read an account, and argsEach how many words they have.
const (
	commandsEach = 7
	argsEach     = 37
)

// transaction reads some accounts at the same instant. The commands between MULTI and EXEC
// are answered only with QUEUED. The transactions of go-redis would put all accounts into
// one, which a cluster does not accept.
type transaction struct {
	indexes  []int         // of the accounts
	commands []redis.Cmder // each is a *redis.Cmd; the last is EXEC
}

// appendTransaction appends the commands of a transaction.
func appendTransaction(ctx context.Context, commands []redis.Cmder, keys []layout.AccountKeys, indexes []int, day string) []redis.Cmder {
	commands = append(commands, redis.NewCmd(ctx, "multi"), redis.NewCmd(ctx, "time"))
	commands = appendReading(ctx, commands, keys, indexes, day)
	return append(commands, redis.NewCmd(ctx, "exec"))
}

// appendReading appends the commands that read some accounts.
func appendReading(ctx context.Context, commands []redis.Cmder, keys []layout.AccountKeys, indexes []int, day string) []redis.Cmder {
	words := make([]any, 0, argsEach*len(indexes)) // of all commands
	add := func(command []any, more ...any) {
		from := len(words)
		words = append(append(words, command...), more...)
		commands = append(commands, redis.NewCmd(ctx, words[from:len(words):len(words)]...))
	}
	for _, i := range indexes {
		k, calls := &keys[i], keys[i].Calls+day // pointers to texts need no room of their own
		add([]any{"hmget", &k.Token}, tokenFields...)
		add([]any{"pttl", &k.Token})
		add([]any{"hmget", &k.State}, stateFields...)
		add([]any{"zrange", &k.Attempts, 0, maxAttempts, "withscores"})
		add([]any{"get", &calls})
		add([]any{"get", &k.Lock})
		add([]any{"pttl", &k.Lock})
	}
	return commands
}

// parts returns the answers to the commands in the transaction, nil if nothing was sent.
func (t transaction) parts() ([]any, error) {
	last := len(t.commands) - 1
	for _, c := range t.commands[:last] {
		if err := c.Err(); err != nil { // why EXEC did nothing
			return nil, err
		}
	}
	exec := t.commands[last].(*redis.Cmd)
	parts, isList := exec.Val().([]any)
	if isList && len(parts) != last-1 {
		return nil, fmt.Errorf("EXEC has returned %d answers to %d commands", len(parts), last-1)
	}
	return parts, exec.Err()
}

// get returns the value of a key, nil if it has none that can be read.
func get(ctx context.Context, server redis.UniversalClient, key string) any {
	value, err := server.Get(ctx, key).Result()
	if err != nil {
		return nil
	}
	return value
}

// readAt is read, with the calls of the day that it is by the server's clock.
func readAt(ctx context.Context, server redis.UniversalClient, now time.Time, parts []any, k *layout.AccountKeys, day string) answer {
	a := read(now, parts, k, day)
	if today := issuersDay(now); today != day && a.err == nil {
		a.parts.(*reading).calls = get(ctx, server, k.Calls+today)
	}
	return a
}

// read converts the answers about one account.
func read(now time.Time, parts []any, k *layout.AccountKeys, day string) answer {
	for i, part := range parts {
		if err, failed := part.(error); failed {
			return answer{err: blame(i, err, k, day)}
		}
	}
	token, _ := parts[0].([]any)
	if len(token) != len(tokenFields) {
		return answer{err: &DataError{Key: k.Token, Problem: unknownForm}}
	}
	state, _ := parts[2].([]any)
	if len(state) != len(stateFields) {
		state = make([]any, len(stateFields))
	}
	return answer{parts: &reading{
		now: now, token: token, ttl: parts[1], state: state, attempts: flat(parts[3]),
		calls: parts[4], lock: parts[5], lockTTL: parts[6],
	}}
}

// blame names the key for which a command in the transaction has failed.
func blame(i int, err error, k *layout.AccountKeys, day string) error {
	switch i {
	case 0:
		return wrongType(err, k.Token, "hash")
	case 2:
		return wrongType(err, k.State, "hash")
	case 3:
		return wrongType(err, k.Attempts, "sorted set")
	case 4:
		return wrongType(err, k.Calls+day, "string")
	case 5:
		return wrongType(err, k.Lock, "string")
	}
	return err
}

// serverTime decodes TIME.
func serverTime(v any) (time.Time, error) {
	parts, _ := v.([]any)
	if len(parts) == 2 {
		seconds, err := strconv.ParseInt(fmt.Sprint(parts[0]), 10, 64)
		micros, err2 := strconv.ParseInt(fmt.Sprint(parts[1]), 10, 64)
		if err == nil && err2 == nil {
			return time.Unix(seconds, micros*1000).UTC().Truncate(time.Millisecond), nil
		}
	}
	return time.Time{}, errors.New("TIME has returned no time")
}

// flat converts the answer to ZRANGE WITHSCORES to the form that it has in a script,
// in which members and scores alternate. In RESP3 it is a list of pairs.
func flat(v any) []any {
	list, _ := v.([]any)
	if len(list) == 0 {
		return nil
	}
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
