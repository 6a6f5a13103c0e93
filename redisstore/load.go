package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
)

// loadChunk is how many accounts are read in one pipeline at most. Each pipeline has the
// whole Options.Timeout.
const loadChunk = 250

// loadTries is how often a round trip is made when those before it were answered: what was
// read already need not be read again because a server that has too much to do answered
// one of them late.
const loadTries = 3

// Load implements [coordinator.Store]. It reads up to 250 accounts per round trip,
// one round trip after the other; fewer while the server is slow.
//
// It reads in transactions, so that a process that only reads needs no right to
// run scripts: a user who may run scripts can block the server with a loop. Each account
// is read at one instant; where one server has all keys, several at the same. Where
// a server, a proxy or an ACL rejects transactions, a script does the same. Where that is
// because maxmemory is reached, single commands do, and again if the account has changed
// between them.
func (s *Store) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	for _, account := range accounts {
		if err := checkAccount(account); err != nil {
			return nil, err
		}
	}
	states, tries := make([]coordinator.State, len(accounts)), loadTries
	for done := 0; done < len(accounts); {
		n, release, err := s.admit(ctx, min(len(accounts)-done, loadChunk))
		if err != nil {
			return nil, fmt.Errorf("load %q: %w", accounts[done], err)
		}
		err = s.loadChunk(ctx, accounts[done:done+n], states[done:])
		release(err)
		switch {
		case err == nil:
			done, tries = done+n, loadTries
		case tries > 1 && done > 0 && errors.Is(err, coordinator.ErrUnreachable):
			tries--
		default:
			return nil, err
		}
	}
	return states, nil
}

// loadChunk reads in the way that worked before or, if Redis refuses that, in the
// other: the ACL user may be allowed only one of them, or a proxy passes on only
// one.
func (s *Store) loadChunk(ctx context.Context, accounts []string, states []coordinator.State) error {
	scripted := s.scripted.Load()
	err := s.loadBy(ctx, scripted, accounts, states)
	if !isRefused(err) {
		return err
	}
	again := s.loadBy(ctx, !scripted, accounts, states)
	if isRefused(again) {
		return err
	}
	s.scripted.Store(!scripted)
	return again
}

// loadBy reads by script or in transactions. An error concerns more than one
// account; what is wrong with one account alone is in its State.Err.
func (s *Store) loadBy(ctx context.Context, scripted bool, accounts []string, states []coordinator.State) error {
	bounded := s.operation(ctx, unconfirmed)
	read := s.loadTransactions
	if scripted {
		read = s.loadScripts
	}
	keys := make([]layout.AccountKeys, len(accounts))
	for i, account := range accounts {
		keys[i] = s.keys.Of(account)
	}
	for i, answer := range read(bounded, keys) {
		if answer.err == nil {
			states[i] = s.stateOf(accounts[i], &decoder{keys: keys[i]}, answer.parts)
			continue
		}
		err := s.fault(ctx, "load", accounts[i], answer.err)
		if !isData(err) {
			return err
		}
		states[i] = coordinator.State{Account: accounts[i], Now: s.clock.now(), Err: err}
	}
	return nil
}

// answer is what Redis contains of one account: as load.lua returns it, or a *reading.
type answer struct {
	parts any
	err   error
}

// loadScripts runs load.lua for each of the accounts, and once more if this process
// has assumed another day than the server.
func (s *Store) loadScripts(ctx context.Context, keys []layout.AccountKeys) []answer {
	days := slices.Repeat([]string{s.day()}, len(keys))
	for {
		answers := s.loadOn(ctx, days, keys)
		again := false
		for i, a := range answers {
			if day := s.otherDay(a.parts); day != "" {
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
func (s *Store) loadOn(ctx context.Context, days []string, keys []layout.AccountKeys) []answer {
	pipe := s.client.Reads.Pipeline()
	cmds := make([]*redis.Cmd, len(keys))
	load := s.scripts().load
	for i, k := range keys {
		run := load.EvalSha
		if s.firstUse(load.Hash()) {
			run = load.Eval
		}
		cmds[i] = run(ctx, pipe, loadKeys(k, days[i]))
	}
	_, unsent := pipe.Exec(ctx) // of commands that have no error of their own
	for i, k := range keys {
		if redis.HasErrorPrefix(cmds[i].Err(), "NOSCRIPT") {
			cmds[i] = load.Eval(ctx, pipe, loadKeys(k, days[i]))
		}
	}
	if pipe.Len() > 0 {
		_, unsent = pipe.Exec(ctx)
	}
	answers := make([]answer, len(keys))
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
