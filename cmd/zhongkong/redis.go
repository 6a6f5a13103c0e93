package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

// defaultRedis is the Redis that every command uses if none is given, and where the
// embedded one of serve listens.
const defaultRedis = "redis://127.0.0.1:6379"

// open opens the store at the given URL, "" for the default one. The store connects
// when it is first used.
func (s *session) open(address, prefix string) error {
	s.url, s.prefix = cmp.Or(address, defaultRedis), prefix
	options := redisstore.Options{
		Prefix:   s.prefix,
		Instance: s.cfg.Instance,
		Logger:   s.log,
		Replicas: s.replicas(),
	}
	if err := s.useSealKeys(&options); err != nil {
		return err
	}
	var err error
	if options.TLS, err = s.redisTLS(); err != nil {
		return &configError{err}
	}
	store, err := redisstore.Open(s.url, options)
	if err != nil {
		return &configError{fmt.Errorf("--redis: %w", err)}
	}
	s.store, s.once = store, &oneReading{Store: store}
	return nil
}

// replicas returns how many replicas must confirm a token: one where failovers are to
// be expected.
func (s *session) replicas() int {
	u, err := url.Parse(s.url)
	switch {
	case s.cfg.Replicas >= 0:
		return s.cfg.Replicas
	case err == nil && (u.Query().Has("master_name") || u.Query().Has("addr")):
		return 1
	}
	return 0
}

// where returns the address of Redis without its password.
func (s *session) where() string {
	u, err := url.Parse(s.url)
	switch {
	case err != nil:
		return "Redis"
	case u.Scheme == "unix":
		return u.Path
	}
	return strings.Join(append([]string{u.Host}, u.Query()["addr"]...), ", ")
}

func (s *session) storedNames(ctx context.Context) ([]string, error) {
	names, err := redisadmin.New(s.store).Accounts(ctx)
	if errors.Is(err, redisstore.ErrDenied) && !errors.Is(err, coordinator.ErrUnreachable) {
		return nil, usagef("no account is configured, and the Redis user may not search for accounts (+scan): give a NAME")
	}
	return names, s.withAdvice(err)
}

// redisLog logs what go-redis would print to stderr, at debug level: it only repeats
// what the commands return.
type redisLog struct{ log *slog.Logger }

func (r redisLog) Printf(ctx context.Context, format string, v ...any) {
	if r.log.Enabled(ctx, slog.LevelDebug) {
		r.log.DebugContext(ctx, "go-redis: "+fmt.Sprintf(format, v...))
	}
}
