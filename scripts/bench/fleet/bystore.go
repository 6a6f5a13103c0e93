package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
)

const (
	lockLife     = 3 * time.Second // as coordinators lock by default
	storeWorkers = 16
)

// limits hold nothing up: what is measured is how fast it can be.
var limits = coordinator.Limits{PerDay: 1 << 30, Reserve: 1, MinInterval: time.Millisecond}

// byStore refreshes every account by a store alone: lock, begin, commit, unlock. No
// coordinator runs, so Redis does nothing else. The first refresh of each is not measured.
func (f *fleet) byStore() (r report, err error) {
	s, err := redisstore.Open("redis://"+f.redis, redisstore.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	seen := make([]coordinator.Fence, len(f.names))
	if err := f.storeAll(s, seen, 1); err != nil {
		return nil, err
	}
	all, err := f.measured(func() error { return f.storeAll(s, seen, f.scripts) })
	return report{"scripts": all}, err
}

// storeAll refreshes every account so many times. seen has the generations, in the order of
// the names.
func (f *fleet) storeAll(s *redisstore.Store, seen []coordinator.Fence, times int) error {
	ctx, cancel := context.WithTimeout(context.Background(), f.limit)
	defer cancel()
	failed := make([]error, storeWorkers)
	var all sync.WaitGroup
	for w := range storeWorkers {
		all.Go(func() { // joined below
			for range times {
				for i := w; i < len(f.names) && failed[w] == nil; i += storeWorkers {
					seen[i], failed[w] = f.storeOne(ctx, s, i, seen[i])
				}
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

func (f *fleet) storeOne(ctx context.Context, s *redisstore.Store, i int, seen coordinator.Fence) (coordinator.Fence, error) {
	lock, err := s.Lock(ctx, f.names[i], lockLife)
	if err != nil {
		return 0, err
	}
	seen, err = store(ctx, s, f.names[i], f.issuer.issue(i), seen, &f.options)
	return seen, errors.Join(err, lock.Unlock(ctx))
}
