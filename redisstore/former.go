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
	bounded, cancel := s.client.Bounded(ctx)
	defer cancel()
	key := s.keys.Of(account).Former
	err := s.client.OnMaster(bounded, key, func(client redis.UniversalClient) error {
		pipe := client.Pipeline()
		pipe.ZAdd(bounded, key, redis.Z{Score: float64(s.clock.now().UnixMilli()), Member: hash})
		pipe.PExpire(bounded, key, formerFor)
		oldest := pipe.ZRange(bounded, key, 0, -maxFormer-1)
		if _, err := pipe.Exec(bounded); err != nil || len(oldest.Val()) == 0 {
			return err
		}
		// ZREMRANGEBYRANK would do, but is not among the rights that processes have.
		return client.ZRem(bounded, key, oldest.Val()).Err()
	})
	return s.formerFault(ctx, "add a former token", account, err)
}

// Former returns how long ago AddFormer was last called with a hash; false if it was
// not within 4 hours.
func (s *Store) Former(ctx context.Context, account, hash string) (age time.Duration, found bool, err error) {
	if err := checkAccount(account); err != nil {
		return 0, false, err
	}
	bounded, cancel := s.client.Bounded(ctx)
	defer cancel()
	key := s.keys.Of(account).Former
	var score float64
	err = s.client.OnMaster(bounded, key, func(client redis.UniversalClient) (err error) {
		score, err = client.ZScore(bounded, key, hash).Result()
		return err
	})
	if errors.Is(err, redis.Nil) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, s.formerFault(ctx, "look up a former token", account, err)
	}
	passed := float64(s.clock.now().UnixMilli()) - score
	if passed >= float64(formerFor.Milliseconds()) {
		return 0, false, nil
	}
	return time.Duration(max(0, passed)) * time.Millisecond, true, nil
}

func (s *Store) formerFault(ctx context.Context, op, account string, err error) error {
	if err == nil {
		return nil
	}
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		err = &DataError{Key: s.keys.Of(account).Former, Problem: "is not a sorted set"}
	}
	return s.fault(ctx, op, account, err)
}
