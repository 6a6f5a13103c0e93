package redisstore_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// The end that a token is sealed with is of the clock of the server that lost it. The
// record gets one by the clock of the server to which it is restored.
func TestASealedTokenIsRestoredToAServerWithAnotherClock(t *testing.T) {
	const life = 2 * time.Hour
	for name, ahead := range map[string]time.Duration{"the same": 0, "an hour ahead": time.Hour, "an hour behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			server, now := miniredis.RunT(t), time.Now().Truncate(time.Millisecond)
			server.SetTime(now.Add(ahead))
			restorer := open(t, "redis://"+server.Addr(), redisstore.Options{Sealer: ring(t, grantKeys)})
			loaded(t, restorer, "a") // as a process does that finds the record missing
			lost := coordinator.Record{
				Token: coordinator.NewToken("token"), Generation: coordinator.Fence(now.Add(-time.Hour).UnixMicro()), IssuedBy: "p",
				IssuedAt: now.Add(-life / 2), ExpiresAt: now.Add(life / 2), TTL: life/2 - coordinator.Margin(life),
			}
			if _, err := restorer.Restore(t.Context(), "a", lost); err != nil {
				t.Fatalf("Restore() = %v", err)
			}
			s := loaded(t, open(t, "redis://"+server.Addr(), redisstore.Options{Sealer: ring(t, grantKeys)}), "a")
			if s.Err != nil || !s.Record.Token.Equal(lost.Token) {
				t.Errorf("another process reads generation %d, %v", s.Record.Generation, s.Err)
			}
		})
	}
}

// From Redis 7.2 on WAIT counts only what its own connection has written: on a new one all
// replicas would confirm at once a repeated write that writes nothing.
func TestARepeatedCommitOrRestoreIsWrittenToBeConfirmed(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{Replicas: 1, WaitTimeout: time.Millisecond})
	attempt := begun(t, store, "a", 0)
	stored, err := store.Commit(t.Context(), "a", of(attempt, "token"))
	if err != nil {
		t.Fatal(err)
	}
	older := stored
	older.Generation--
	changes := func() string {
		_, rest, _ := strings.Cut(server.MustDo(t, "info", "persistence").(string), "rdb_changes_since_last_save:")
		return strings.Fields(rest)[0]
	}
	for name, repeat := range map[string]func() (coordinator.Record, error){
		"a commit":                  func() (coordinator.Record, error) { return store.Commit(t.Context(), "a", of(attempt, "token")) },
		"a restore":                 func() (coordinator.Record, error) { return store.Restore(t.Context(), "a", stored) },
		"a restore of an older one": func() (coordinator.Record, error) { return store.Restore(t.Context(), "a", older) },
	} {
		before := changes()
		got, err := repeat()
		if err != nil || got.Generation != stored.Generation || got.TTL > stored.TTL || !got.Token.Equal(stored.Token) {
			t.Errorf("%s, repeated, = %+v, %v; want the record %+v", name, got, err, stored)
		}
		if changes() == before {
			t.Errorf("%s writes nothing when it is repeated", name)
		}
		server.MustDo(t, "config", "set", "maxmemory", "1")
		if got, err := repeat(); err != nil || !got.Token.Equal(stored.Token) {
			t.Errorf("%s, repeated when the memory is full, = %+v, %v", name, got, err)
		}
		server.MustDo(t, "config", "set", "maxmemory", "0")
		// A server that takes no writes confirms none.
		server.MustDo(t, "config", "set", "min-replicas-to-write", "1")
		if got, err := repeat(); !errors.Is(err, redisstore.ErrUnable) {
			t.Errorf("%s, repeated when the server takes no writes, = %+v, %v", name, got, err)
		}
		server.MustDo(t, "config", "set", "min-replicas-to-write", "0")
	}
}
