package redisstore

import (
	"context"
	"errors"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
)

// changesChunk is how many changes are read at once at most.
const changesChunk = 1000

var _ coordinator.ChangeStore = (*Store)(nil)

// Newest implements [coordinator.ChangeStore]. The scripts keep the changes in a sorted
// set; see lua/change.lua.
func (s *Store) Newest(ctx context.Context) (coordinator.Cursor, error) {
	var newest coordinator.Cursor
	err := s.readChanges(ctx, func(ctx context.Context) error {
		pipe := s.client.Reads.Pipeline()
		// In this order: if the index is begun anew in between, the cursor is one of an
		// index that is gone.
		began := pipe.ZScore(ctx, s.keys.Changes(), "")
		last := pipe.ZRangeArgsWithScores(ctx, redis.ZRangeArgs{Key: s.keys.Changes(), Start: 0, Stop: 0, Rev: true})
		_, _ = pipe.Exec(ctx) // each command has its own error
		if entries, err := last.Result(); err != nil || len(entries) == 0 {
			return err
		}
		newest.Change = changeOf(last.Val()[0])
		var err error
		newest.Began, err = scoreOf(began)
		return err
	})
	return newest, err
}

// Changes implements [coordinator.ChangeStore]. While nothing has changed it is one
// command, whose answer is the change that was seen last.
func (s *Store) Changes(ctx context.Context, since coordinator.Cursor) (coordinator.Changes, error) {
	changes := coordinator.Changes{Next: since}
	err := s.readChanges(ctx, func(ctx context.Context) error {
		entries, err := s.client.Reads.ZRangeArgsWithScores(ctx, redis.ZRangeArgs{
			Key: s.keys.Changes(), ByScore: true, Start: strconv.FormatUint(since.Number, 10), Stop: "+inf", Count: changesChunk,
		}).Result()
		if err != nil {
			return err
		}
		if len(entries) > 0 && changeOf(entries[0]) == since.Change {
			entries = entries[1:] // so all that was there before is there
		} else if changes.Next.Began, err = s.stillThere(ctx, since); err != nil {
			return err
		}
		for _, entry := range entries {
			if change := changeOf(entry); change.Account != "" {
				changes.Accounts = append(changes.Accounts, change)
			}
		}
		if n := len(changes.Accounts); n > 0 {
			changes.Next.Change = changes.Accounts[n-1]
			changes.More = len(entries) >= changesChunk-1
		}
		return nil
	})
	if err != nil {
		return coordinator.Changes{}, err
	}
	return changes, nil
}

// stillThere checks that an index whose change at a place is another one by now has lost
// nothing: the account of the change has changed again, in the same index. It returns when
// that was begun.
func (s *Store) stillThere(ctx context.Context, since coordinator.Cursor) (began uint64, err error) {
	pipe := s.client.Reads.Pipeline()
	start := pipe.ZScore(ctx, s.keys.Changes(), "")
	account := pipe.ZScore(ctx, s.keys.Changes(), since.Account)
	_, _ = pipe.Exec(ctx) // each command has its own error
	if began, err = scoreOf(start); err != nil || since == (coordinator.Cursor{}) {
		return began, err
	}
	number, err := scoreOf(account)
	switch {
	case err != nil:
		return 0, err
	case began != since.Began, number < since.Number:
		return 0, coordinator.ErrChangesLost
	}
	return began, nil
}

// readChanges calls read unless there is no index: a cluster has no key of all accounts.
func (s *Store) readChanges(ctx context.Context, read func(ctx context.Context) error) error {
	if !s.shares.Load() {
		return coordinator.ErrNoChanges
	}
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	err := read(bounded)
	if errors.Is(err, coordinator.ErrChangesLost) {
		return err
	}
	return s.fault(ctx, "changes", "", err)
}

func changeOf(entry redis.Z) coordinator.Change {
	account, _ := entry.Member.(string)
	return coordinator.Change{Account: account, Number: uint64(max(entry.Score, 0))}
}

// scoreOf returns the answer to a ZSCORE; 0: there is no such member.
func scoreOf(cmd *redis.FloatCmd) (uint64, error) {
	score, err := cmd.Result()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	return uint64(max(score, 0)), err
}
