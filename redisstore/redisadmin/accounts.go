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
	found := make(map[string]struct{})
	err := i.Client.EachMaster(ctx, func(ctx context.Context, client redis.UniversalClient, _ string) error {
		return i.scan(ctx, client, found)
	})
	if err != nil {
		return nil, i.Fault(ctx, "look for accounts", "", err)
	}
	return slices.Sorted(maps.Keys(found)), nil
}

func (i Inspector) scan(ctx context.Context, client redis.UniversalClient, found map[string]struct{}) error {
	for cursor := uint64(0); ; {
		bounded, cancel := i.Bounded(ctx)
		keys, next, err := client.ScanType(bounded, cursor, i.Keys.Pattern("*"), 1000, "hash").Result()
		cancel()
		if err != nil {
			return err
		}
		for _, key := range keys {
			if account, what, ok := i.Keys.Split(key); ok && (what == "token" || what == "state") && i.CheckAccount(account) == nil {
				found[account] = struct{}{}
			}
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
	bounded, cancel := i.Bounded(ctx)
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
