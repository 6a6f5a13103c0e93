package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/coordinator"
)

// oneAccount returns the account that a command is for: the named one, or else the
// only one in cfg, or else the only one in Redis.
func (s *session) oneAccount(ctx context.Context, cfg *config.Config, args []string) (string, error) {
	switch {
	case len(args) > 1:
		return "", usagef("more than one NAME: %s", strings.Join(args, ", "))
	case len(args) == 1:
		return checked(args[0])
	case len(cfg.Accounts) == 1:
		return cfg.Accounts[0].Name, nil
	case len(cfg.Accounts) > 1:
		return "", usagef("several accounts are configured: give the NAME of one: %s", list(namesOf(cfg)))
	}
	names, err := s.storedNames(ctx)
	switch {
	case err != nil:
		return "", err
	case len(names) == 1:
		return names[0], nil
	case len(names) == 0:
		return "", s.noAccounts()
	}
	return "", usagef("Redis at %s has several accounts: give the NAME of one: %s", s.where(), list(names))
}

// awaitedAccount is oneAccount for commands that wait for a token: a serve that has
// just been started may not have stored anything yet.
func (s *session) awaitedAccount(ctx context.Context, cfg *config.Config, args []string) (string, error) {
	var none *noAccountsError
	for {
		name, err := s.oneAccount(ctx, cfg, args)
		switch again := none != nil; {
		case again && ctx.Err() != nil:
			return "", none
		case !errors.As(err, &none):
			return name, err
		case !again:
			fmt.Fprintf(s.stderr, "waiting: Redis at %s has no account yet\n", s.where())
		}
		if !pause(ctx, findAccountsEvery) {
			return "", none
		}
	}
}

// findAccountsEvery is how often awaitedAccount searches while there is no account.
const findAccountsEvery = 100 * time.Millisecond

// manyAccounts returns the accounts that a command is for: the named ones, or else the
// configured ones, or else all in Redis. Without an error there is at least one.
func (s *session) manyAccounts(ctx context.Context, args []string) ([]string, error) {
	for _, name := range args {
		if _, err := checked(name); err != nil {
			return nil, err
		}
	}
	switch {
	case len(args) > 0:
		return distinct(args), nil
	case len(s.cfg.Accounts) > 0:
		return s.configuredNames(), nil
	}
	names, err := s.storedNames(ctx)
	if err == nil && len(names) == 0 {
		err = s.noAccounts()
	}
	return names, err
}

// distinct returns names, each once.
func distinct(names []string) []string {
	var once []string
	for _, name := range names {
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	return once
}

// loadStates returns the states of the accounts that a command is for, as manyAccounts
// does, with the members of platforms and suites. A name that nobody knows is an error.
func (s *session) loadStates(ctx context.Context, args []string) ([]coordinator.State, error) {
	s.addMembers(ctx)
	names, err := s.manyAccounts(ctx, args)
	if err != nil {
		return nil, err
	}
	states, err := s.store.Load(ctx, names...)
	if err != nil {
		return nil, s.withAdvice(err)
	}
	return states, s.checkKnown(ctx, states...)
}

func (s *session) noAccounts() error { return &noAccountsError{s.where(), s.prefix} }

// noAccountsError says that there is no account to work with. It counts as wrong
// usage.
type noAccountsError struct{ where, prefix string }

func (e *noAccountsError) Error() string {
	return fmt.Sprintf("no account is configured and Redis at %s has none with prefix %q: give a NAME, or start with `zhongkong serve --sandbox`", e.where, e.prefix)
}

// unknownAccountError says that a given account is unknown. Most likely its name is
// mistyped.
type unknownAccountError struct{ name, where, stored string }

func (e *unknownAccountError) Error() string {
	text := fmt.Sprintf("no account %q is configured, and Redis at %s has none", e.name, e.where)
	if e.stored != "" {
		text += ": it has " + e.stored
	}
	return text
}

// checkKnown returns an error for the first of the accounts that is neither configured
// nor in Redis.
func (s *session) checkKnown(ctx context.Context, states ...coordinator.State) error {
	for _, state := range states {
		if _, configured := s.cfg.Account(state.Account); configured || !isBlank(state) {
			continue
		}
		e := &unknownAccountError{name: state.Account, where: s.where()}
		if names, err := s.storedNames(ctx); err == nil && len(names) > 0 {
			e.stored = list(names)
		}
		return e
	}
	return nil
}

func isBlank(s coordinator.State) bool {
	return s.Err == nil && s.Fence == 0 && s.Record.Generation == 0 && s.Failure == nil && s.CallsToday == 0 && len(s.Open) == 0 && s.Grant == nil
}

// withoutToken returns err with advice. If err says that there is no token, it first
// checks whether the account is unknown.
func (s *session) withoutToken(name string, err error) error {
	if _, configured := s.cfg.Account(name); configured || !errors.Is(err, coordinator.ErrNoToken) {
		return s.withAdvice(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	if states, loaded := s.store.Load(ctx, name); loaded == nil {
		if unknown := s.checkKnown(ctx, states...); unknown != nil {
			return unknown
		}
	}
	return s.withAdvice(err)
}

func checked(name string) (string, error) {
	if err := config.CheckName(name); err != nil {
		return "", usagef("%v", err)
	}
	return name, nil
}

func (s *session) configuredNames() []string { return namesOf(s.cfg) }

func namesOf(cfg *config.Config) []string {
	var names []string
	for _, a := range cfg.Accounts {
		names = append(names, a.Name)
	}
	return names
}
