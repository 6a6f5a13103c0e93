package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logging"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

// session is what a command works with. Everything in it is made when it is
// first needed: show must start fast.
type session struct {
	program
	cfg    *config.Config
	log    *slog.Logger
	queue  *logging.Writer // of a daemon's log; nil: stderr is written to at once
	url    string          // of Redis
	prefix string          // of the keys in it
	store  *redisstore.Store
	keys   *seal.Keyring // nil: tokens are stored as they are
}

// session reads the configuration and opens the store, which connects when it
// is first asked.
func (p program) session(c *cli.Context) (*session, error) {
	s, err := p.configured(c, p.input(c))
	if err != nil {
		return nil, err
	}
	s.keepSecretsFromSandbox()
	if err := s.open(s.cfg.Redis, s.cfg.Prefix); err != nil {
		return nil, err
	}
	return s, nil
}

// bounded makes the action of a command that works with the store for a limited
// time.
func (p program) bounded(limit time.Duration, f func(ctx context.Context, s *session, c *cli.Context) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		s, err := p.session(c)
		if err != nil {
			return err
		}
		defer s.close()
		ctx, cancel := context.WithTimeout(c.Context, limit)
		defer cancel()
		return f(ctx, s, c)
	}
}

// commandTimeout bounds the commands that only read.
const commandTimeout = 10 * time.Second

// configured is a session without a store.
func (p program) configured(c *cli.Context, in config.Input) (*session, error) {
	cfg, err := config.Load(in)
	if err != nil {
		return nil, &configError{err}
	}
	s := &session{program: p, cfg: cfg}
	if isDaemon(c.Command.Name) {
		s.outliveStderr()
	} else {
		// What a command of a person's does it says itself; logs are for
		// daemons and for those who ask.
		if !cfg.Given("log_level") {
			cfg.LogLevel = silent
		}
		s.log = slog.New(newLogHandler(s.stderr, cfg))
	}
	for _, w := range cfg.Warnings {
		if s.queue != nil && cfg.LogFormat == config.FormatJSON {
			s.log.Warn(w)
			continue
		}
		fmt.Fprintf(s.stderr, "warning: %s\n", clean(w))
	}
	if p.quiet != nil {
		p.quiet(redisLog{s.log})
	}
	return s, nil
}

// silent is above every level.
const silent = slog.LevelError + 4

func isDaemon(command string) bool { return command == "serve" || command == "sandbox" }

// input is where the configuration comes from.
func (p program) input(c *cli.Context) config.Input {
	return config.Input{Flags: given(c), Env: p.env, Environ: p.environ}
}

func (s *session) close() {
	if s.store != nil {
		_ = s.store.Close()
	}
}

// load reads accounts; an account whose token cannot be opened is an error.
func (s *session) load(ctx context.Context, names ...string) ([]coordinator.State, error) {
	return s.store.Load(ctx, names...)
}

// accountConfig is what the coordinator has to know of an account; one that is
// not configured is read only.
func (s *session) accountConfig(name string) (coordinator.AccountConfig, error) {
	a, ok := s.cfg.Account(name)
	if !ok {
		return coordinator.AccountConfig{Name: name}, nil
	}
	return newAccountConfig(a)
}

func newAccountConfig(a config.Account) (coordinator.AccountConfig, error) {
	c := coordinator.AccountConfig{Name: a.Name, RefreshEvery: a.RefreshEvery, Limits: a.Limits}
	if a.Secret.IsZero() {
		return c, nil
	}
	source, err := wechat.Config{
		AppID:   a.AppID,
		Secret:  a.Secret.Reveal(),
		Kind:    wechat.Kind(a.Source),
		BaseURL: a.APIBase,
	}.Source()
	if err != nil {
		return c, &configError{fmt.Errorf("account %q: %w", a.Name, err)}
	}
	c.Source = source
	return c, nil
}

// coordinator makes a coordinator of the named accounts. It runs nothing.
func (s *session) coordinator(names ...string) (*coordinator.Coordinator, error) {
	cfg := s.coordinatorConfig()
	for _, name := range names {
		a, err := s.accountConfig(name)
		if err != nil {
			return nil, err
		}
		cfg.Accounts = append(cfg.Accounts, a)
	}
	return newCoordinator(cfg)
}

func (s *session) coordinatorConfig() coordinator.Config {
	return coordinator.Config{
		Store:        s.store,
		RefreshEvery: s.cfg.RefreshEvery,
		Limits:       s.cfg.Budget,
		LockTTL:      s.cfg.LockTTL,
		FetchTimeout: s.cfg.FetchTimeout,
		Logger:       s.log,
	}
}

// newCoordinator is coordinator.New; what it refuses is the configuration.
func newCoordinator(cfg coordinator.Config) (*coordinator.Coordinator, error) {
	c, err := coordinator.New(cfg)
	if err != nil {
		return nil, &configError{err}
	}
	return c, nil
}

// oneAccount returns the account that a command is for: the one named, else
// the one configured, else the only one in Redis.
func (s *session) oneAccount(ctx context.Context, args []string) (string, error) {
	switch {
	case len(args) > 1:
		return "", usagef("one NAME, please: got %s", strings.Join(args, ", "))
	case len(args) == 1:
		return checked(args[0])
	case len(s.cfg.Accounts) == 1:
		return s.cfg.Accounts[0].Name, nil
	case len(s.cfg.Accounts) > 1:
		return "", usagef("which account? Name one of %s", list(s.configuredNames()))
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
	return "", usagef("which account? Redis at %s has %s", s.where(), list(names))
}

// awaitedAccount is oneAccount for those who wait for a token: a serve that
// was started a moment ago has not stored anything yet.
func (s *session) awaitedAccount(ctx context.Context, args []string) (string, error) {
	var none *noAccountsError
	for {
		name, err := s.oneAccount(ctx, args)
		switch again := none != nil; {
		case again && ctx.Err() != nil:
			return "", none
		case !errors.As(err, &none):
			return name, err
		case !again:
			fmt.Fprintf(s.stderr, "waiting: Redis at %s has no account yet\n", s.where())
		}
		select {
		case <-time.After(lookForAccountsEvery):
		case <-ctx.Done():
			return "", none
		}
	}
}

// lookForAccountsEvery is how often, while there are none.
const lookForAccountsEvery = 100 * time.Millisecond

// manyAccounts returns the accounts that a command is for: those named, else
// those configured, else all in Redis. There is at least one.
func (s *session) manyAccounts(ctx context.Context, args []string) ([]string, error) {
	for _, name := range args {
		if _, err := checked(name); err != nil {
			return nil, err
		}
	}
	switch {
	case len(args) > 0:
		return slices.Compact(args), nil
	case len(s.cfg.Accounts) > 0:
		return s.configuredNames(), nil
	}
	names, err := s.storedNames(ctx)
	if err == nil && len(names) == 0 {
		err = s.noAccounts()
	}
	return names, err
}

func (s *session) noAccounts() error { return &noAccountsError{s.where(), s.prefix} }

// noAccountsError says that there is nothing to work with: wrong usage, as far
// as one can tell.
type noAccountsError struct{ where, prefix string }

func (e *noAccountsError) Error() string {
	return fmt.Sprintf("no account is configured and Redis at %s has none with prefix %q: name one, or start with `zhongkong serve --sandbox`", e.where, e.prefix)
}

// unknownAccountError says that an account was named of which nothing is known:
// most likely the name is mistyped.
type unknownAccountError struct{ name, where, stored string }

func (e *unknownAccountError) Error() string {
	text := fmt.Sprintf("no account %q is configured, and Redis at %s has none", e.name, e.where)
	if e.stored != "" {
		text += ": it has " + e.stored
	}
	return text
}

// known returns an error for the first of the accounts that is neither configured
// nor in Redis.
func (s *session) known(ctx context.Context, states ...coordinator.State) error {
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

// isBlank reports whether the store knows nothing of an account.
func isBlank(s coordinator.State) bool {
	return s.Err == nil && s.Fence == 0 && s.Record.Generation == 0 && s.Failure == nil && s.CallsToday == 0 && len(s.Open) == 0
}

// withoutToken explains why there is none of an account: mostly a process has to
// be mended, but it may be the name.
func (s *session) withoutToken(name string, err error) error {
	if _, configured := s.cfg.Account(name); configured || !errors.Is(err, coordinator.ErrNoToken) {
		return s.explain(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	if states, loaded := s.load(ctx, name); loaded == nil {
		if unknown := s.known(ctx, states...); unknown != nil {
			return unknown
		}
	}
	return s.explain(err)
}

func checked(name string) (string, error) {
	if err := config.CheckName(name); err != nil {
		return "", usagef("%v", err)
	}
	return name, nil
}

func (s *session) configuredNames() []string {
	var names []string
	for _, a := range s.cfg.Accounts {
		names = append(names, a.Name)
	}
	return names
}

// list names a few of many.
func list(names []string) string {
	const most = 10
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", clean(strings.Join(names[:most], ", ")), len(names)-most)
	}
	return clean(strings.Join(names, ", "))
}

// explain adds to an error what a person can do about it. What Redis and the
// issuer have said in it becomes one line, so that what follows is ours.
func (s *session) explain(err error) error {
	if err == nil {
		return nil
	}
	err = &cleanError{err}
	if errors.Is(err, coordinator.ErrNoToken) {
		err = &tooLateError{err}
	}
	var throttled *coordinator.ThrottledError
	var mismatch *redisstore.TLSError
	switch {
	case errors.Is(err, redisstore.ErrDenied), errors.Is(err, redisstore.ErrUnable), errors.As(err, &mismatch):
		return err // says what to do
	case errors.Is(err, coordinator.ErrUnreachable) && s.cfg.Redis == "":
		return fmt.Errorf("%w\nNo --redis was given, so %s was tried: pass --redis URL, or try `zhongkong serve --sandbox`", err, s.where())
	case errors.Is(err, coordinator.ErrUnreachable):
		return fmt.Errorf("%w\nIs Redis at %s up, and can this machine reach it?", err, s.where())
	case errors.As(err, &throttled) && throttled.RetryIn > time.Minute && throttled.Limit == coordinator.LimitBudget:
		return fmt.Errorf("%w\nThe current token goes on being refreshed on schedule; budget: in the configuration sets the limit", err)
	}
	return err
}

// tooLateError is the end of a wait in a person's words.
type tooLateError struct{ err error }

func (e *tooLateError) Error() string {
	return strings.Replace(e.err.Error(), ": "+context.DeadlineExceeded.Error(), " in time", 1)
}

func (e *tooLateError) Unwrap() error { return e.err }
