package redisstore

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	formerFor = 4 * time.Hour // how long after AddFormer a hash is found
	maxFormer = 512           // hashes of an account
)

// AddFormer keeps the hash of a token that is current, so that every process can
// recognise the token once it was replaced: for 4 hours after the last call with this
// hash, and among the last 512 hashes of the account. The hash must not reveal the
// token, and only processes with the account's secret should be able to compute it.
func (s *Store) AddFormer(ctx context.Context, account, hash string) error {
	if err := checkAccount(account); err != nil {
		return err
	}
	key := s.keys.Of(account).Former
	return s.onSortedSet(ctx, "add a former token", account, key, func(ctx context.Context, client redis.UniversalClient) error {
		pipe := client.Pipeline()
		pipe.ZAdd(ctx, key, redis.Z{Score: float64(s.clock.now().UnixMilli()), Member: hash})
		pipe.PExpire(ctx, key, formerFor)
		oldest := pipe.ZRange(ctx, key, 0, -maxFormer-1)
		if _, err := pipe.Exec(ctx); err != nil || len(oldest.Val()) == 0 {
			return err
		}
		// ZREMRANGEBYRANK would do, but is not among the rights that processes have.
		return client.ZRem(ctx, key, oldest.Val()).Err()
	})
}

// Former returns how long ago AddFormer was last called with a hash; false if it was
// not within 4 hours.
func (s *Store) Former(ctx context.Context, account, hash string) (age time.Duration, found bool, err error) {
	if err := checkAccount(account); err != nil {
		return 0, false, err
	}
	key := s.keys.Of(account).Former
	var added float64 // 0: too long ago, as is what is not there
	err = s.onSortedSet(ctx, "look up a former token", account, key, func(ctx context.Context, client redis.UniversalClient) (err error) {
		if added, err = client.ZScore(ctx, key, hash).Result(); errors.Is(err, redis.Nil) {
			return nil
		}
		return err
	})
	passed := float64(s.clock.now().UnixMilli()) - added
	if err != nil || passed >= float64(formerFor.Milliseconds()) {
		return 0, false, err
	}
	return time.Duration(max(0, passed)) * time.Millisecond, true, nil
}
