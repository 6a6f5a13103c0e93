package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
)

// changesChunk is how many changes are read at once at most.
const changesChunk = 1000

var _ coordinator.ChangeStore = (*Store)(nil)

// Newest implements [coordinator.ChangeStore]. The scripts keep the changes in a sorted
// set; see lua/change.lua. Only ZRANGE is used, which every reader may.
func (s *Store) Newest(ctx context.Context) (coordinator.Cursor, error) {
	var newest coordinator.Cursor
	err := s.readChanges(ctx, func(ctx context.Context) error {
		pipe := s.client.Reads.Pipeline()
		// In this order: if the index is begun anew in between, the cursor is one of an
		// index that is gone.
		first := pipe.ZRangeWithScores(ctx, s.keys.Changes(), 0, 0)
		last := pipe.ZRangeWithScores(ctx, s.keys.Changes(), -1, -1)
		_, err := pipe.Exec(ctx)
		if err != nil || len(last.Val()) == 0 {
			return err
		}
		newest = coordinator.Cursor{Change: changeOf(last.Val()[0]), Began: began(first.Val())}
		return nil
	})
	return newest, err
}

// Changes implements [coordinator.ChangeStore]. While nothing has changed it is one
// command, whose answer is the change that was seen last.
func (s *Store) Changes(ctx context.Context, since coordinator.Cursor) (coordinator.Changes, error) {
	changes := coordinator.Changes{Next: since}
	err := s.readChanges(ctx, func(ctx context.Context) error {
		entries, err := s.changesFrom(ctx, since.Number)
		if err != nil {
			return err
		}
		changes.More = len(entries) == changesChunk
		if len(entries) > 0 && changeOf(entries[0]) == since.Change {
			entries = entries[1:] // so all that was there before is there
		} else if changes.Next.Began, err = s.stillThere(ctx, since, entries); err != nil {
			return err
		}
		for _, entry := range entries {
			if change := changeOf(entry); change.Account != "" {
				changes.Accounts = append(changes.Accounts, change)
				changes.Next.Change = change
			}
		}
		return nil
	})
	if err != nil {
		return coordinator.Changes{}, err
	}
	return changes, nil
}

func (s *Store) changesFrom(ctx context.Context, number uint64) ([]redis.Z, error) {
	return s.client.Reads.ZRangeArgsWithScores(ctx, redis.ZRangeArgs{
		Key: s.keys.Changes(), ByScore: true, Start: strconv.FormatUint(number, 10), Stop: "+inf", Count: changesChunk,
	}).Result()
}

// stillThere checks that an index whose change at a place is another one by now has lost
// nothing: the account of the change has changed again, in the same index. entries are the
// first from that place on. It returns when the index was begun.
func (s *Store) stillThere(ctx context.Context, since coordinator.Cursor, entries []redis.Z) (uint64, error) {
	first, err := s.client.Reads.ZRangeWithScores(ctx, s.keys.Changes(), 0, 0).Result()
	if err != nil || since == (coordinator.Cursor{}) {
		return began(first), err
	}
	if began(first) != since.Began {
		return 0, coordinator.ErrChangesLost
	}
	isThere := func(entry redis.Z) bool { return entry.Member == since.Account }
	for !slices.ContainsFunc(entries, isThere) {
		if len(entries) < changesChunk {
			return 0, coordinator.ErrChangesLost
		}
		if entries, err = s.changesFrom(ctx, changeOf(entries[len(entries)-1]).Number); err != nil {
			return 0, err
		}
	}
	return since.Began, nil
}

// readChanges calls read unless there is no index: a cluster has no key of all accounts, and
// a user whose rules name single accounts may not read it.
func (s *Store) readChanges(ctx context.Context, read func(ctx context.Context) error) error {
	if !s.shares.Load() {
		return coordinator.ErrNoChanges
	}
	bounded, cancel := s.client.Bounded(ctx)
	defer cancel()
	err := read(bounded)
	switch {
	case errors.Is(err, coordinator.ErrChangesLost):
		return err
	case refusesShared(err):
		return fmt.Errorf("%w: %w", coordinator.ErrNoChanges, err)
	}
	return s.fault(ctx, "changes", "", err)
}

func changeOf(entry redis.Z) coordinator.Change {
	account, _ := entry.Member.(string)
	return coordinator.Change{Account: account, Number: uint64(max(entry.Score, 0))}
}

// began returns when an index was begun whose first entry this is; 0: it is not there.
func began(first []redis.Z) uint64 {
	if len(first) == 0 || first[0].Member != "" {
		return 0
	}
	return changeOf(first[0]).Number
}
