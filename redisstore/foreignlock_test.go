package redisstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

const foreignKey = "zhongkong:{a}:lock"

// The lock is Redsync's own: a program that uses nothing but Redsync takes part in it.
func TestForeignRedsyncHoldsTheLock(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	client := server.Client()
	defer client.Close()
	// Redsync's own values are random, and what follows a slash in one is not the holder.
	value := redsync.WithGenValueFunc(func() (string, error) { return "foreign", nil })
	foreign := redsync.New(goredis.NewPool(client)).NewMutex(foreignKey, value, redsync.WithExpiry(10*time.Second), redsync.WithTries(1))
	if err := foreign.LockContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	var locked *coordinator.LockedError
	if _, err := store.Lock(t.Context(), "a", time.Minute); !errors.As(err, &locked) || locked.Holder != foreign.Value() {
		t.Fatalf("Lock() = %v, want a *LockedError that names the holder", err)
	}
	if ok, err := foreign.ExtendContext(t.Context()); !ok || err != nil {
		t.Errorf("the holder's Extend() = %v, %v: our try has touched its lock", ok, err)
	}
	if ok, err := foreign.UnlockContext(t.Context()); !ok || err != nil {
		t.Fatalf("the holder's Unlock() = %v, %v", ok, err)
	}
	if _, err := store.Lock(t.Context(), "a", time.Minute); err != nil {
		t.Errorf("Lock() = %v after the holder has released it", err)
	}
}

// ours takes the lock on a new server, and returns a client for Redsync there.
func ours(t *testing.T) (*redistest.Server, *redis.Client, coordinator.Lock) {
	t.Helper()
	server := redistest.Start(t)
	held, err := open(t, server.URL(), redisstore.Options{}).Lock(t.Context(), "a", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	client := server.Client()
	t.Cleanup(func() { _ = client.Close() })
	return server, client, held
}

func TestForeignRedsyncWaitsForOurLock(t *testing.T) {
	_, client, held := ours(t)
	mutex := func(options ...redsync.Option) *redsync.Mutex {
		return redsync.New(goredis.NewPool(client)).NewMutex(foreignKey, options...)
	}
	var taken *redsync.ErrTaken
	if err := mutex(redsync.WithTries(1)).LockContext(t.Context()); !errors.As(err, &taken) {
		t.Fatalf("a foreign Lock() = %v, want taken", err)
	}
	got := make(chan error, 1)
	go func() { // ends when the lock is free
		got <- mutex(redsync.WithTries(1000), redsync.WithRetryDelay(10*time.Millisecond)).LockContext(t.Context())
	}()
	if err := held.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("a foreign Lock() = %v after we have released it", err)
	}
}

// Only the value proves that a process holds the lock: what has another one can neither
// release nor extend it.
func TestOurLockIsReleasedAndExtendedByItsValueOnly(t *testing.T) {
	server, client, held := ours(t)
	value, _ := server.MustDo(t, "get", foreignKey).(string)
	with := func(value string) *redsync.Mutex {
		return redsync.New(goredis.NewPool(client)).NewMutex(foreignKey, redsync.WithValue(value), redsync.WithExpiry(time.Minute))
	}
	if ok, _ := with("another").UnlockContext(t.Context()); ok {
		t.Error("another value has released the lock")
	}
	if ok, _ := with("another").ExtendContext(t.Context()); ok {
		t.Error("another value has extended the lock")
	}
	if ok, err := with(value).ExtendContext(t.Context()); !ok || err != nil {
		t.Errorf("with the value, Redsync's Extend() = %v, %v", ok, err)
	}

	// Ours is as strict, also the first time, when the script's text is sent.
	server.MustDo(t, "set", foreignKey, "another", "px", 60000)
	if err := held.Extend(t.Context(), 1); !errors.Is(err, coordinator.ErrLockLost) {
		t.Errorf("Extend() of a lock that another one has = %v, want ErrLockLost", err)
	}
	for range 2 {
		if err := held.Unlock(t.Context()); err != nil {
			t.Errorf("Unlock() = %v", err)
		}
		if got := server.MustDo(t, "get", foreignKey); got != "another" {
			t.Errorf("our Unlock() has released the lock of another: %v", got)
		}
	}
	server.MustDo(t, "set", foreignKey, value, "px", 60000)
	if ok, err := with(value).UnlockContext(t.Context()); !ok || err != nil {
		t.Errorf("with the value, Redsync's Unlock() = %v, %v", ok, err)
	}
}
