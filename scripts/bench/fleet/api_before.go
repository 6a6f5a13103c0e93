//go:build before

package main

import (
	"context"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
)

// source is an account's source: it calls the issuer. It takes as little room as it can: the
// memory of an account is measured with it.
func source(s *issuer, account int, o *options) coordinator.Source {
	return coordinator.SourceFunc(func(context.Context, coordinator.Ask) (coordinator.Issue, error) {
		time.Sleep(o.source)
		return coordinator.Issue{Token: coordinator.NewToken(s.issue(account)), Life: 2 * o.every}, nil
	})
}

// store announces an attempt and stores a token.
func store(ctx context.Context, in *redisstore.Store, account, token string, seen coordinator.Fence, o *options) (coordinator.Fence, error) {
	a, err := in.Begin(ctx, account, coordinator.Begin{Seen: seen, Reason: coordinator.ReasonSchedule, Life: lockLife, Limits: limits})
	if err != nil {
		return 0, err
	}
	_, err = in.Commit(ctx, account, coordinator.Commit{
		Attempt: a, Reason: coordinator.ReasonSchedule, Token: coordinator.NewToken(token), Life: 2 * o.every, Calls: 1,
	})
	return a.Fence, err
}
