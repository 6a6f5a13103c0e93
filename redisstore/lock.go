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

// lock is a held lock. Its value proves that this process holds it. The
// redsync.Mutex is not safe for concurrent use, so one is made for each step.
type lock struct {
	store   *Store
	account string
	keys    layout.AccountKeys
	value   string
	ttl     time.Duration
}

var _ coordinator.Lock = (*lock)(nil)

// Lock implements [coordinator.Store] with Redsync on one server. It tries once.
func (s *Store) Lock(ctx context.Context, account string, life time.Duration) (_ coordinator.Lock, err error) {
	if err := s.ready(ctx, "lock", account); err != nil {
		return nil, err
	}
	held := &lock{
		store: s, account: account, keys: s.keys.Of(account),
		// Chosen before the request: if the answer is lost, the lock can still be
		// released.
		value: s.instance + "/" + rand.Text()[:16],
		ttl:   max(life, time.Millisecond),
	}
	_, release, err := s.admit(ctx, 1)
	if err != nil {
		return nil, fmt.Errorf("lock %q: %w", account, err)
	}
	defer func() { release(err) }()
	bounded := s.operation(ctx, unconfirmed)
	err = s.client.OnMaster(bounded, held.keys.Lock, func(client redis.UniversalClient) error {
		return held.mutex(bounded, client).TryLock()
	})
	if err == nil {
		return held, nil
	}
	// A pointer: Redsync returns one, and a target of the type itself never matches.
	if _, taken := errors.AsType[*redsync.ErrTaken](err); taken {
		return held.takenError(ctx)
	}
	s.spawn(held.releaseUnsure)
	return nil, held.fault(ctx, "lock", err)
}

// mutex returns Redsync's view of the lock for an operation.
func (l *lock) mutex(ctx context.Context, client redis.UniversalClient) *redsync.Mutex {
	return redsync.New(&lockPool{Pool: goredis.NewPool(client), ctx: ctx, store: l.store, client: client}).NewMutex(l.keys.Lock,
		redsync.WithExpiry(l.ttl),
		redsync.WithTries(1),
		redsync.WithValue(l.value),
		redsync.WithGenValueFunc(func() (string, error) { return l.value, nil }),
	)
}

// takenError reads the holder of the lock and the remaining TTL. If it is longer than
// that of any lock, it removes the lock: the server's clock was set back, or another
// program has set the key.
func (l *lock) takenError(ctx context.Context) (coordinator.Lock, error) {
	bounded := l.store.operation(ctx, unconfirmed)
	pipe := l.store.client.Reads.Pipeline()
	value, ttl := pipe.Get(bounded, l.keys.Lock), pipe.PTTL(bounded, l.keys.Lock)
	_, _ = pipe.Exec(bounded) // each command has its own error
	if value.Val() == l.value {
		// A client that retries has sent the request twice: the first one succeeded.
		return l, nil
	}
	wrong := wrongType(value.Err(), l.keys.Lock, "string")
	busy := &coordinator.LockedError{Holder: holder(value.Val()), RetryIn: ttl.Val()}
	switch {
	case isData(wrong):
		return nil, l.fault(ctx, "lock", wrong)
	case ttl.Err() != nil: // not known
		busy.RetryIn = l.ttl
	case ttl.Val() == -1, ttl.Val() > coordinator.MaxAhead: // no TTL, or set by another clock
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

// releaseUnsure releases a lock of which it is unknown whether it was acquired: the
// server may carry out the request after the client has stopped waiting for the
// answer. It ends when the lock is free, or would have expired.
func (l *lock) releaseUnsure(ctx context.Context) {
	l.store.orphans.Add(1)
	ctx, cancel := context.WithTimeout(ctx, l.ttl)
	defer cancel()
	for absent := 0; absent < 2; {
		ok, err := l.unlock(l.store.operation(ctx, unconfirmed))
		switch {
		case ok:
			return
		case err == nil:
			// Free, or held by another process. The request may still be under
			// way on another connection, so this is checked twice.
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
		ok, err = l.mutex(ctx, client).Unlock()
		return err
	})
	if _, taken := errors.AsType[*redsync.ErrTaken](err); taken || errors.Is(err, redsync.ErrLockAlreadyExpired) {
		return false, nil
	}
	return ok, err
}

// Extend implements [coordinator.Lock]. It does not use Redsync, because the lock and
// the attempt's deadline must be extended by one script.
func (l *lock) Extend(ctx context.Context, fence coordinator.Fence) error {
	answer, err := l.store.run(ctx, call{
		op: "extend", account: l.account, script: l.store.scripts().extend,
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

// Unlock implements [coordinator.Lock].
func (l *lock) Unlock(ctx context.Context) error {
	if err := l.store.ready(ctx, "unlock", l.account); err != nil {
		return err
	}
	// Redsync has no timeout of its own here.
	bounded := l.store.operation(ctx, unconfirmed)
	if _, err := l.unlock(bounded); err != nil {
		return l.fault(ctx, "unlock", err)
	}
	return nil
}

// fault maps the client's error inside Redsync's, whose text names a node number and
// no key.
func (l *lock) fault(ctx context.Context, op string, err error) error {
	return l.store.fault(ctx, op, l.account, unwrapRedsync(err))
}

// unwrapRedsync returns the client's error inside Redsync's.
func unwrapRedsync(err error) error {
	if node, ok := errors.AsType[*redsync.RedisError](err); ok {
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

// lockPool connects Redsync to Redis for one step of one lock. Redsync releases a lock
// that it failed to acquire. If the server has answered that another process holds
// it, there is nothing to release, and lockPool sends nothing.
type lockPool struct {
	redsyncredis.Pool
	ctx    context.Context // of the operation
	store  *Store
	client redis.UniversalClient
	taken  bool // not guarded: Redsync uses a pool from one goroutine
}

// Get implements [redsyncredis.Pool]. Redsync's context has a time-out that begins before
// anything is sent.
func (p *lockPool) Get(context.Context) (redsyncredis.Conn, error) {
	conn, err := p.Pool.Get(p.ctx)
	if err != nil {
		return nil, err
	}
	return lockConn{conn, p}, nil
}

type lockConn struct {
	redsyncredis.Conn
	pool *lockPool
}

// SetNX implements [redsyncredis.Conn].
func (c lockConn) SetNX(name, value string, expiry time.Duration) (bool, error) {
	ok, err := c.Conn.SetNX(name, value, expiry)
	c.pool.taken = !ok && err == nil
	return ok, err
}

// Eval implements [redsyncredis.Conn]. Redsync uses it only to release a lock.
func (c lockConn) Eval(script *redsyncredis.Script, keysAndArgs ...any) (any, error) {
	if c.pool.taken {
		return int64(0), nil // what the script returns for a lock of another process
	}
	if !c.pool.store.firstUse(script.Hash) {
		return c.Conn.Eval(script, keysAndArgs...)
	}
	keys := make([]string, script.KeyCount)
	for i := range keys {
		keys[i], _ = keysAndArgs[i].(string) // as Redsync's own connections take them
	}
	return c.pool.client.Eval(c.pool.ctx, script.Src, keys, keysAndArgs[script.KeyCount:]...).Result()
}
