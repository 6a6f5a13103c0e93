package redisstore

import (
	"context"
	"crypto/rand"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/redisstore/internal/inside"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
)

// Inside is for package redisadmin; its result has no use elsewhere.
func (s *Store) Inside() inside.Store {
	return inside.Store{
		Client: s.client, Keys: s.keys, Timeout: s.timeout, Replicas: s.replicas, Seals: s.sealer != nil, Shares: s.shares.Load(),
		CheckAccount: checkAccount, Fault: s.fault, WrongType: wrongType,
		TryScripts:     s.tryScripts,
		TryTransaction: func(ctx context.Context, account string) error { return s.tryLoad(ctx, account, s.loadTransactions) },
		TryLoadScript:  func(ctx context.Context, account string) error { return s.tryLoad(ctx, account, s.loadScripts) },
		TryGrantScript: s.tryGrantScript,
		ReadGrant:      s.readGrant,
	}
}

// unusedKeys returns keys that nobody uses, for which the user has the rights that it has
// for those of the account.
func (s *Store) unusedKeys(account string) layout.AccountKeys {
	return s.keys.Unused(account, "probe-"+rand.Text()[:12])
}

// tryScripts runs every script so that it changes nothing: the key of the day's
// calls names no day, the lock is not held, and the record to be restored has
// expired.
func (s *Store) tryScripts(ctx context.Context, account string) error {
	ctx, cancel := s.client.Bounded(ctx)
	defer cancel()
	k := s.unusedKeys(account)
	attempt := []string{k.Token, k.State, k.Attempts, k.Calls}
	probe := &lock{store: s, account: account, keys: k, value: "probe", ttl: s.timeout}
	for _, run := range []struct {
		script *redis.Script
		keys   []string
		logs   bool
		args   []any
	}{
		{s.scripts().load, loadKeys(k, ""), false, nil},
		{s.scripts().begin, append(slices.Clip(attempt), k.Log), true, nil},
		{s.scripts().commit, attempt, true, nil},
		{s.scripts().fail, attempt, true, nil},
		{s.scripts().extend, []string{k.Lock, k.Attempts}, false, []any{probe.value, 1, 0}},
		{s.scripts().restore, []string{k.Token, k.State, k.Attempts}, true, []any{"", "", 1, "", 0, 0, 0, 0, 0, "", "", ""}},
	} {
		err := s.withLog(account, run.logs, run.keys, func(keys []string) error {
			return s.client.OnMaster(ctx, k.Token, func(client redis.UniversalClient) error {
				return run.script.Run(ctx, client, keys, run.args...).Err()
			})
		})
		if err != nil {
			return err
		}
	}
	_, err := probe.unlock(ctx)
	return unwrapRedsync(err)
}

// tryGrantScript runs a script that reads what the others read, and changes nothing: the
// record that is to be put back is older than none.
func (s *Store) tryGrantScript(ctx context.Context, account string) error {
	ctx, cancel := s.client.Bounded(ctx)
	defer cancel()
	grant := s.keys.Grant(account) + ":probe-" + rand.Text()[:12]
	return s.withLog(account, true, []string{grant, s.unusedKeys(account).State}, func(keys []string) error {
		return s.client.OnMaster(ctx, keys[0], func(client redis.UniversalClient) error {
			return s.grants().restore.Run(ctx, client, keys, "", "", 0, "", 0, 0, "", "{}", "", "").Err()
		})
	})
}

// tryLoad reads in one of the two ways of Load.
func (s *Store) tryLoad(ctx context.Context, account string, read func(context.Context, []layout.AccountKeys) []answer) error {
	ctx, cancel := s.client.Bounded(ctx)
	defer cancel()
	return read(ctx, []layout.AccountKeys{s.unusedKeys(account)})[0].err
}
