package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-redsync/redsync/v4"
	redsyncredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
	"github.com/zhongkong/zhongkong/redisstore/internal/redisclient"
)

// lock is a held lock. The value is all that is needed to prove it; the
// redsync.Mutex, which is not safe for concurrent use, is made for each step.
type lock struct {
	store   *Store
	account string
	keys    layout.AccountKeys
	value   string
	ttl     time.Duration
}

var _ coordinator.Lock = (*lock)(nil)

// Lock is coordinator.Store's.
func (s *Store) Lock(ctx context.Context, account string, life time.Duration) (coordinator.Lock, error) {
	if err := s.ready(ctx, "lock", account); err != nil {
		return nil, err
	}
	held := &lock{
		store: s, account: account, keys: s.keys.Of(account),
		// Known before it is asked for: if the answer gets lost, the lock
		// can be given back.
		value: s.instance + "/" + rand.Text()[:16],
		ttl:   max(life, time.Millisecond),
	}
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	err := s.client.OnMaster(bounded, held.keys.Lock, func(client redis.UniversalClient) error {
		return held.mutex(client).TryLockContext(bounded)
	})
	if err == nil {
		return held, nil
	}
	// A pointer: a target of the type itself compiles and never matches.
	var taken *redsync.ErrTaken
	if errors.As(err, &taken) {
		return held.takenError(ctx)
	}
	s.spawn(held.releaseUnsure)
	return nil, held.fault(ctx, "lock", err)
}

// mutex is Redsync's view of the lock.
func (l *lock) mutex(client redis.UniversalClient) *redsync.Mutex {
	return redsync.New(&lockPool{Pool: goredis.NewPool(client)}).NewMutex(l.keys.Lock,
		redsync.WithExpiry(l.ttl),
		redsync.WithTries(1),
		redsync.WithValue(l.value),
		redsync.WithGenValueFunc(func() (string, error) { return l.value, nil }),
		// Redsync waits for a server for this part of the lock's life.
		redsync.WithTimeoutFactor(min(1, float64(l.store.timeout)/float64(l.ttl))),
	)
}

// taken asks who has the lock and for how long, and takes it away if that is
// longer than a lock can last: it was taken before the server's clock went back,
// or by nobody of ours.
func (l *lock) takenError(ctx context.Context) (coordinator.Lock, error) {
	bounded, cancel := l.store.bounded(ctx)
	defer cancel()
	pipe := l.store.client.Reads.Pipeline()
	value, ttl := pipe.Get(bounded, l.keys.Lock), pipe.PTTL(bounded, l.keys.Lock)
	_, _ = pipe.Exec(bounded) // each command has its own error
	if value.Val() == l.value {
		// A client that retries has asked twice and been beaten by itself.
		return l, nil
	}
	busy := &coordinator.LockedError{Holder: holder(value.Val()), RetryIn: ttl.Val()}
	switch {
	case redis.HasErrorPrefix(value.Err(), "WRONGTYPE"):
		return nil, fmt.Errorf("lock %q: %w", l.account, &DataError{Key: l.keys.Lock, Problem: "is not a string"})
	case ttl.Err() != nil: // not known
		busy.RetryIn = l.ttl
	case ttl.Val() == -1, ttl.Val() > coordinator.MaxAhead: // without an end, or of another clock
		stale := *l
		stale.value = value.Val()
		if _, err := stale.unlock(bounded); err != nil {
			return nil, l.fault(ctx, "lock", err)
		}
		busy.RetryIn = time.Millisecond
	case ttl.Val() < time.Millisecond: // it has just ended
		busy.RetryIn = time.Millisecond
	}
	return nil, fmt.Errorf("lock %q: %w", l.account, busy)
}

// giveBack frees a lock of which nobody knows whether it was got: the request
// may be carried out after its answer was given up. It ends when the lock is
// free, or would have ended by itself.
func (l *lock) releaseUnsure(ctx context.Context) {
	l.store.orphans.Add(1)
	ctx, cancel := context.WithTimeout(ctx, l.ttl)
	defer cancel()
	for absent := 0; absent < 2; {
		once, cancel := l.store.bounded(ctx)
		ok, err := l.unlock(once)
		cancel()
		switch {
		case ok:
			return
		case err == nil:
			// Not there, or somebody else's. The request may still be on
			// its way on another connection: look twice.
			absent++
		}
		if !redisclient.Sleep(ctx, 100*time.Millisecond) {
			return
		}
	}
}

// unlock reports whether the lock was held until now.
func (l *lock) unlock(ctx context.Context) (ok bool, err error) {
	err = l.store.client.OnMaster(ctx, l.keys.Lock, func(client redis.UniversalClient) error {
		ok, err = l.mutex(client).UnlockContext(ctx)
		return err
	})
	var taken *redsync.ErrTaken
	if errors.Is(err, redsync.ErrLockAlreadyExpired) || errors.As(err, &taken) {
		return false, nil
	}
	return ok, err
}

// Extend is coordinator.Lock's. It is one script of ours and not Redsync's,
// because the lock and the attempt's deadline must move together.
func (l *lock) Extend(ctx context.Context, fence coordinator.Fence) error {
	answer, err := l.store.run(ctx, call{
		op: "extend", account: l.account, script: l.store.scripts.extend,
		keys: []string{l.keys.Lock, l.keys.Attempts},
		args: []any{l.value, l.ttl.Milliseconds(), uint64(fence)},
	})
	if err != nil {
		return err
	}
	if answer[0] != int64(1) {
		return fmt.Errorf("extend %q: %w", l.account, coordinator.ErrLockLost)
	}
	return nil
}

// Unlock is coordinator.Lock's.
func (l *lock) Unlock(ctx context.Context) error {
	if err := l.store.ready(ctx, "unlock", l.account); err != nil {
		return err
	}
	// Redsync has no timeout of its own here.
	bounded, cancel := l.store.bounded(ctx)
	defer cancel()
	if _, err := l.unlock(bounded); err != nil {
		return l.fault(ctx, "unlock", err)
	}
	return nil
}

// fault looks for the client's error inside of Redsync's, which name no key and
// count from node 0.
func (l *lock) fault(ctx context.Context, op string, err error) error {
	return l.store.fault(ctx, op, l.account, unwrapRedsync(err))
}

// unwrapRedsync returns the client's error inside of Redsync's.
func unwrapRedsync(err error) error {
	var node *redsync.RedisError
	if errors.As(err, &node) {
		return node.Err
	}
	return err
}

// holder returns the instance that a lock's value names.
func holder(value string) string {
	if i := strings.LastIndexByte(value, '/'); i >= 0 {
		return value[:i]
	}
	return value
}

// lockPool is Redsync's way to Redis for one step of one lock. Redsync gives
// back what it did not get; where the server has said that somebody else holds
// the lock there is nothing to give back, and nothing is sent.
type lockPool struct {
	redsyncredis.Pool
	taken bool // Redsync does one thing after the other on a pool
}

// Get is redsyncredis.Pool's.
func (p *lockPool) Get(ctx context.Context) (redsyncredis.Conn, error) {
	conn, err := p.Pool.Get(ctx)
	if err != nil {
		return nil, err
	}
	return lockConn{conn, p}, nil
}

type lockConn struct {
	redsyncredis.Conn
	pool *lockPool
}

// SetNX is redsyncredis.Conn's.
func (c lockConn) SetNX(name, value string, expiry time.Duration) (bool, error) {
	ok, err := c.Conn.SetNX(name, value, expiry)
	c.pool.taken = !ok && err == nil
	return ok, err
}

// Eval is redsyncredis.Conn's; only the script that gives a lock back comes here.
func (c lockConn) Eval(script *redsyncredis.Script, keysAndArgs ...any) (any, error) {
	if c.pool.taken {
		return int64(0), nil // as the script answers: it is somebody else's
	}
	return c.Conn.Eval(script, keysAndArgs...)
}
