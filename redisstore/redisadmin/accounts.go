package redisadmin

import (
	"context"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
)

// Accounts returns the names of all accounts that have a token or a state in Redis,
// sorted. It iterates over the whole database (SCAN, on each master of a cluster), so
// it is not for services.
func (i Inspector) Accounts(ctx context.Context) ([]string, error) {
	return i.scanAll(ctx, i.Keys.Pattern("*"), func(key string) (string, bool) {
		account, what, ok := i.Keys.Split(key)
		return account, ok && (what == "token" || what == "state")
	})
}

// GrantAccounts returns the names of all accounts that have a grant in Redis, sorted. It
// iterates as Accounts does. Every user who may SCAN sees the names, not the grants.
func (i Inspector) GrantAccounts(ctx context.Context) ([]string, error) {
	_, records := i.Keys.GrantPattern()
	return i.scanAll(ctx, records, i.Keys.SplitGrant)
}

// scanAll returns the accounts of those hashes that match the pattern.
func (i Inspector) scanAll(ctx context.Context, pattern string, accountOf func(key string) (account string, ok bool)) ([]string, error) {
	found := make(map[string]struct{})
	err := i.Client.EachMaster(ctx, func(ctx context.Context, client redis.UniversalClient, _ string) error {
		return i.scan(ctx, client, pattern, func(key string) {
			if account, ok := accountOf(key); ok && i.CheckAccount(account) == nil {
				found[account] = struct{}{}
			}
		})
	})
	if err != nil {
		return nil, i.Fault(ctx, "look for accounts", "", err)
	}
	return slices.Sorted(maps.Keys(found)), nil
}

func (i Inspector) scan(ctx context.Context, client redis.UniversalClient, pattern string, hash func(key string)) error {
	for cursor := uint64(0); ; {
		bounded, cancel := i.Client.Bounded(ctx)
		keys, next, err := client.ScanType(bounded, cursor, pattern, 1000, "hash").Result()
		cancel()
		if err != nil {
			return err
		}
		for _, key := range keys {
			hash(key)
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// Sealed returns the account's token in its sealed form, "" if there is none or if
// it is stored in plain text. It needs no key; seal.Kid tells which key sealed the
// token.
func (i Inspector) Sealed(ctx context.Context, account string) (string, error) {
	if err := i.CheckAccount(account); err != nil {
		return "", err
	}
	bounded, cancel := i.Client.Bounded(ctx)
	defer cancel()
	fields, err := i.Client.Reads.HMGet(bounded, i.Keys.Of(account).Token, "access_token").Result()
	if err != nil {
		return "", i.Fault(ctx, "read", account, err)
	}
	if stored := text(fields[0]); layout.Sealed(stored) {
		return stored, nil
	}
	return "", nil
}

// SealedGrant returns the account's grant as it is stored, "" if there is none, like
// Sealed. A Store with a key opens it, too. If it cannot, the error says what to do, wraps
// coordinator.ErrSealed or a redisstore.DataError, and comes with what is stored. Unlike
// LoadGrant it changes nothing.
func (i Inspector) SealedGrant(ctx context.Context, account string) (string, error) {
	if err := i.CheckAccount(account); err != nil {
		return "", err
	}
	return i.ReadGrant(ctx, account)
}
