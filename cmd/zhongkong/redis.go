package main

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/zhongkong/zhongkong/coordinator"
)

// operator is a plain connection to the Redis of the store, for what only
// people ask: names, the log, how the server is set up.
type operator struct {
	client redis.UniversalClient
	prefix string
}

// operator opens one; the caller closes it.
func (s *session) operator() (*operator, error) {
	client, err := openClient(s.url)
	if err != nil {
		return nil, &configError{fmt.Errorf("--redis: %w", err)}
	}
	return &operator{client, s.store.Prefix()}, nil
}

// operatorTimeout bounds one command of an operator.
const operatorTimeout = 2 * time.Second

// openClient understands the URLs that the store understands.
func openClient(address string) (redis.UniversalClient, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("the URL cannot be read") // err quotes it
	}
	switch query := u.Query(); {
	case query.Has("master_name"):
		o, err := redis.ParseFailoverURL(address)
		if err != nil {
			return nil, err
		}
		o.DialerRetries, o.DisableIdentity, o.ContextTimeoutEnabled = 1, true, true
		return redis.NewFailoverClient(o), nil
	case query.Has("addr"):
		o, err := redis.ParseClusterURL(address)
		if err != nil {
			return nil, err
		}
		o.DialerRetries, o.DisableIdentity, o.ContextTimeoutEnabled = 1, true, true
		o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		return redis.NewClusterClient(o), nil
	default:
		o, err := redis.ParseURL(address)
		if err != nil {
			return nil, err
		}
		o.DialerRetries, o.DisableIdentity, o.ContextTimeoutEnabled = 1, true, true
		o.DialTimeout, o.ReadTimeout = operatorTimeout, operatorTimeout
		o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		return redis.NewClient(o), nil
	}
}

func (o *operator) close() { _ = o.client.Close() }

func (o *operator) key(account, what string) string {
	return o.prefix + ":{" + account + "}:" + what
}

// storedNames returns the names of all accounts in Redis, sorted.
func (s *session) storedNames(ctx context.Context) ([]string, error) {
	o, err := s.operator()
	if err != nil {
		return nil, err
	}
	defer o.close()
	names, err := o.names(ctx)
	switch {
	case err == nil:
		return names, nil
	case redis.HasErrorPrefix(err, "NOPERM"):
		return nil, usagef("no account is configured, and Redis does not let its user look for some (+scan): name one")
	}
	return nil, s.explain(unreachable("look for accounts", err))
}

// unreachable marks an error of a connection as the store would.
func unreachable(what string, err error) error {
	if redis.HasErrorPrefix(err, "WRONGTYPE") || redis.HasErrorPrefix(err, "NOPERM") {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %w", what, coordinator.ErrUnreachable, err)
}

// names scans for accounts: whoever has a token or a state is one.
func (o *operator) names(ctx context.Context) ([]string, error) {
	found := map[string]bool{}
	var mu sync.Mutex // a cluster's masters are scanned at once
	scan := func(ctx context.Context, c redis.Cmdable) error {
		it := c.Scan(ctx, 0, o.prefix+":{*}:*", 1000).Iterator()
		for it.Next(ctx) {
			rest := strings.TrimPrefix(it.Val(), o.prefix+":{")
			name, what, ok := strings.Cut(rest, "}:")
			if ok && (what == "token" || what == "state") {
				mu.Lock()
				found[name] = true
				mu.Unlock()
			}
		}
		return it.Err()
	}
	var err error
	if cluster, ok := o.client.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return scan(ctx, c) })
	} else {
		err = scan(ctx, o.client)
	}
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	slices.SortFunc(names, cmp.Compare[string])
	return names, err
}

// history returns the newest n entries of an account's log, newest first; all
// of them if n is 0.
func (o *operator) history(ctx context.Context, account string, n int) ([]redis.XMessage, error) {
	key := o.key(account, "log")
	if n == 0 {
		return o.client.XRevRange(ctx, key, "+", "-").Result()
	}
	return o.client.XRevRangeN(ctx, key, "+", "-", int64(n)).Result()
}

// info returns the fields of INFO's section.
func (o *operator) info(ctx context.Context, section string) (map[string]string, error) {
	var text string
	var err error
	if cluster, ok := o.client.(*redis.ClusterClient); ok {
		var node *redis.Client
		if node, err = cluster.MasterForKey(ctx, o.prefix); err == nil {
			text, err = node.Info(ctx, section).Result()
		}
	} else {
		text, err = o.client.Info(ctx, section).Result()
	}
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields, nil
}
