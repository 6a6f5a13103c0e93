package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logging"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

// session is what a command works with. Its parts are made when they are first
// needed, because show must start fast.
type session struct {
	program
	cfg       *config.Config
	started   *config.Config // as read at the start; some settings stay in force until the end
	files     config.Files   // that were read last, for cfg or for a configuration that was refused
	log       *slog.Logger
	queue     *logging.Writer  // of a daemon's log; nil: stderr is written directly
	hup       <-chan os.Signal // says that the files have to be read again; nil: SIGHUP interrupts this command
	url       string           // of Redis
	prefix    string           // of the keys in it
	store     *redisstore.Store
	once      *oneReading   // the store of a command that waits for one token
	keys      *seal.Keyring // nil: tokens are not sealed
	grantDirs grantDirs
	undrained []*coordinator.Coordinator // their calls may be under way: doctor waits for them at its end

	sandboxed bool                 // a simulator in this process issues all tokens
	sandbox   *sandboxServer       // nil: the issuer is a real one
	embedded  *miniredis.Miniredis // nil: Redis is another process
}

// session reads the configuration and opens the store, which connects when it is
// first used.
func (p program) session(c *cli.Context) (*session, error) {
	s, err := p.configured(c, p.input(c))
	if err != nil {
		return nil, err
	}
	if c.Bool("sandbox") {
		return s, s.openAlone()
	}
	s.keepSecretsFromSandbox()
	if err := s.open(s.cfg.Redis, s.cfg.Prefix); err != nil {
		return nil, err
	}
	return s, nil
}

// openAlone opens a store that ends with this process, and a simulator as the issuer of
// every account.
func (s *session) openAlone() (err error) {
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := s.startSandbox("127.0.0.1:0"); err != nil {
		return err
	}
	if s.embedded, err = startEmbeddedRedis("127.0.0.1:0"); err != nil {
		return err
	}
	s.cfg.RedisCA, s.cfg.RedisCert, s.cfg.RedisKey = "", "", "" // are for another Redis
	return s.open("redis://"+s.embedded.Addr(), s.cfg.Prefix)
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

// configured reads the configuration and returns a session without a store.
func (p program) configured(c *cli.Context, in config.Input) (*session, error) {
	cfg, files, err := config.Load(in)
	if err != nil {
		return nil, &configError{err}
	}
	s := &session{program: p, cfg: cfg, started: cfg, files: files}
	if command := c.Command.Name; command == "serve" || command == "sandbox" || command == "sync" && !c.Bool("once") {
		s.queueLog()
		if command != "sandbox" {
			s.takeHangups()
		}
	} else {
		// A short command prints what matters itself. Its log is for those who ask
		// for it; check has what serve would warn of.
		if !cfg.Given("log_level") {
			cfg.LogLevel = silent
			if command == "check" {
				cfg.LogLevel = slog.LevelWarn
			}
		}
		s.log = slog.New(newLogHandler(s.stderr, cfg))
	}
	for _, w := range cfg.Warnings {
		if s.queue != nil && cfg.LogFormat == config.FormatJSON {
			s.log.Warn(w)
			continue
		}
		fmt.Fprintf(s.stderr, "warning: %s\n", escape(w))
	}
	if p.quiet != nil {
		p.quiet(s.log)
	}
	return s, nil
}

// silent is above every level that is logged.
const silent = slog.LevelError + 4

func (p program) input(c *cli.Context) config.Input {
	return config.Input{Flags: given(c), Env: p.env, Environ: p.environ, StoreOnly: needsStoreOnly(c)}
}

// needsStoreOnly reports whether a command works with Redis alone. It goes on without the
// secrets of accounts, because it is for times when the service, which has them, is down:
// systemd takes them away then.
func needsStoreOnly(c *cli.Context) bool {
	switch c.Command.Name {
	case "status", "history":
		return true
	case "grant":
		return c.Args().First() != "import" // which puts in what its source has to describe
	}
	return false
}

func (s *session) close() {
	s.grantDirs.close()
	if s.store != nil {
		_ = s.store.Close()
	}
	if s.embedded != nil {
		s.embedded.Close()
	}
	if s.sandbox != nil {
		s.sandbox.close()
	}
}

// newAccountConfig returns an account for the coordinator, without its source unless
// this process refreshes it.
func newAccountConfig(a config.Account, refreshing bool) (coordinator.AccountConfig, error) {
	c := coordinator.AccountConfig{Name: a.Name, Parent: a.Of, RefreshEvery: a.RefreshEvery, Limits: a.Limits}
	if !refreshing {
		return c, nil
	}
	source, err := a.Kind().Make(a.Values())
	if err != nil {
		return c, &configError{fmt.Errorf("account %q: %w", a.Name, err)}
	}
	c.Source = source
	return c, nil
}

// coordinator makes a coordinator of the named accounts and their parents, and does not
// run it.
func (s *session) coordinator(names ...string) (*coordinator.Coordinator, error) {
	cfg := s.coordinatorConfig()
	cfg.Store = s.once
	for _, name := range names {
		if _, configured := s.cfg.Account(name); !configured {
			cfg.Accounts = append(cfg.Accounts, coordinator.AccountConfig{Name: name}) // only read
		}
	}
	needed := map[string]bool{}
	for _, name := range names {
		for name != "" && !needed[name] {
			a, _ := s.cfg.Account(name)
			needed[name], name = true, a.Of
		}
	}
	for _, a := range s.cfg.Accounts { // parents before their children
		if !needed[a.Name] {
			continue
		}
		account, err := newAccountConfig(a, s.cfg.Refreshing(a))
		if err != nil {
			return nil, err
		}
		cfg.Accounts = append(cfg.Accounts, account)
		if a.Grant.Needed && s.cfg.Refreshing(a) {
			if unsealed := s.cfg.Unsealed(); len(unsealed) > 0 {
				return nil, &configError{errors.Join(unsealed...)}
			}
			if err := s.openGrantDirs(); err != nil {
				return nil, err
			}
		}
	}
	s.grantDirs.keepGrants(&cfg.Spool, &cfg.Copy)
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

// newCoordinator is coordinator.New, with errors of the configuration marked as
// such.
func newCoordinator(cfg coordinator.Config) (*coordinator.Coordinator, error) {
	outliveReaders() // from now on a call to an issuer may bring what has to be stored
	c, err := coordinator.New(cfg)
	if err != nil {
		return nil, &configError{err}
	}
	return c, nil
}

// list returns at most ten of the names, and how many there are besides.
func list(names []string) string {
	const most = 10
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", escape(strings.Join(names[:most], ", ")), len(names)-most)
	}
	return escape(strings.Join(names, ", "))
}

// withAdvice adds to an error what to do about it. The error's own text, which may
// have parts from Redis or the issuer, becomes one line, so that the lines after it are
// Zhongkong's.
func (s *session) withAdvice(err error) error {
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
		return err // has advice already
	case errors.Is(err, coordinator.ErrUnreachable) && s.cfg.Redis == "":
		return fmt.Errorf("%w\nNo --redis was given, so %s was tried: pass --redis URL, or try `zhongkong serve --sandbox`", err, s.where())
	case errors.Is(err, coordinator.ErrUnreachable):
		return fmt.Errorf("%w\nCheck that Redis at %s is up and that this machine can reach it", err, s.where())
	case errors.As(err, &throttled) && throttled.RetryIn > time.Minute && (throttled.Limit == coordinator.LimitBudget || throttled.Limit == coordinator.LimitWindow):
		return fmt.Errorf("%w\nThe schedule goes on while the calls last that are reserved for it; limits: of the account, or budget:, sets the limit in the configuration", err)
	}
	return err
}

// tooLateError is an error of a wait that ended, with "in time" in place of the text
// of the context's error.
type tooLateError struct{ err error }

func (e *tooLateError) Error() string {
	return strings.Replace(e.err.Error(), ": "+context.DeadlineExceeded.Error(), " in time", 1)
}

func (e *tooLateError) Unwrap() error { return e.err }
