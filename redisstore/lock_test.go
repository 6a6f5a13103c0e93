package redisstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

func TestLockedErrorNamesTheHolderAndTheTime(t *testing.T) {
	server := redistest.Start(t)
	first := open(t, server.URL(), redisstore.Options{Instance: "host/pod:1"})
	second := open(t, server.URL(), redisstore.Options{Instance: "other"})
	if _, err := first.Lock(t.Context(), "a", 5*time.Second); err != nil {
		t.Fatal(err)
	}
	_, err := second.Lock(t.Context(), "a", time.Minute)
	var locked *coordinator.LockedError
	if !errors.As(err, &locked) {
		t.Fatalf("Lock() = %v, want a *LockedError", err)
	}
	if locked.Holder != "host/pod:1" {
		t.Errorf("Holder = %q, want host/pod:1", locked.Holder)
	}
	if locked.RetryIn > 5*time.Second || locked.RetryIn < 2*time.Second {
		t.Errorf("RetryIn = %v, want a little less than 5s", locked.RetryIn)
	}
	if s := loaded(t, second, "a"); s.Holder != "host/pod:1" || s.HolderTTL > 5*time.Second {
		t.Errorf("Load() says the holder is %q for %v", s.Holder, s.HolderTTL)
	}
}

func TestLockWithoutAnEndIsTakenAway(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	server.MustDo(t, "set", "zhongkong:{a}:lock", "by hand")
	if s := loaded(t, store, "a"); s.Err != nil || s.Holder != "by hand" || s.HolderTTL <= coordinator.MaxAhead {
		t.Errorf("Load() says the holder is %q for %v, %v; want one that lasts too long", s.Holder, s.HolderTTL, s.Err)
	}
	_, err := store.Lock(t.Context(), "a", time.Minute)
	var locked *coordinator.LockedError
	if !errors.As(err, &locked) || locked.RetryIn != time.Millisecond || locked.Holder != "by hand" {
		t.Errorf("Lock() = %v, want locked by hand, and to try again at once", err)
	}
	if _, err := store.Lock(t.Context(), "a", time.Minute); err != nil {
		t.Errorf("Lock() = %v, want the lock", err)
	}
}

func TestLockThatIsNoStringIsNamed(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	server.MustDo(t, "lpush", "zhongkong:{a}:lock", "x")
	var data *redisstore.DataError
	if _, err := store.Lock(t.Context(), "a", time.Minute); !errors.As(err, &data) || data.Key != "zhongkong:{a}:lock" {
		t.Errorf("Lock() = %v, want a *DataError", err)
	}
}

func TestLockWhoseAnswerWasLostIsGivenBack(t *testing.T) {
	server := redistest.Start(t)
	const life = 30 * time.Second // the test does not wait for its end
	store := open(t, server.URL(), redisstore.Options{Timeout: 200 * time.Millisecond})
	// Connected before, so that the request reaches the server's buffers.
	lock, err := store.Lock(t.Context(), "a", life)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		server.Pause()
		_, err = store.Lock(t.Context(), "a", life)
		server.Resume()
		if !errors.Is(err, coordinator.ErrUnreachable) {
			t.Fatalf("Lock() on a hung server = %v, want %v", err, coordinator.ErrUnreachable)
		}
		other := open(t, server.URL(), redisstore.Options{})
		eventually(t, "the lock is free again", 5*time.Second, func() bool {
			lock, err := other.Lock(t.Context(), "a", life)
			if err != nil {
				return false
			}
			return lock.Unlock(t.Context()) == nil
		})
	}
	if got := store.Stats().Orphans; got != 3 {
		t.Errorf("Orphans = %d, want 3", got)
	}
}

func TestCloseWaitsForNoOrphanForLong(t *testing.T) {
	server := redistest.Start(t)
	store, err := redisstore.Open(server.URL(), redisstore.Options{Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if _, err := store.Lock(t.Context(), "a", time.Hour); !errors.Is(err, coordinator.ErrUnreachable) {
		t.Fatalf("Lock() = %v", err)
	}
	start := time.Now()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("Close() took %v", took)
	}
	_, _ = store.Lock(t.Context(), "a", time.Hour) // starts nothing: goleak looks
}

func TestOverdueAttemptIsNotExtended(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	lock, err := store.Lock(t.Context(), "a", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	attempt, err := store.Begin(t.Context(), "a", coordinator.BeginRequest{TTL: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the attempt is overdue", patience, func() bool {
		s := loaded(t, store, "a")
		return s.Overdue() == 1
	})
	// A begin may have listed it by now, and its commit would settle it.
	if err := lock.Extend(t.Context(), attempt.Fence); !errors.Is(err, coordinator.ErrLockLost) {
		t.Errorf("Extend() of an overdue attempt = %v, want %v", err, coordinator.ErrLockLost)
	}
}
