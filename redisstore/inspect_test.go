package redisstore_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

func TestHistoryTellsWhatHappenedNewestFirst(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{Instance: "me"})
	first := refreshed(t, store, "a", "token")
	attempt, err := store.Begin(t.Context(), "a", coordinator.BeginRequest{
		Seen: first.Generation, Reason: coordinator.ReasonRejected, TTL: time.Minute,
	})
	if err != nil || !attempt.Conflict {
		t.Fatalf("Begin() = %+v, %v, want a conflict", attempt, err)
	}
	if err := store.Fail(t.Context(), "a", coordinator.FailRequest{
		Attempt: attempt, Reason: coordinator.ReasonRejected, Took: 70 * time.Millisecond, RetryIn: time.Second, Calls: 1,
		Failure: coordinator.Failure{Kind: coordinator.FailedBusy, Code: "-1", Message: "system error"},
	}); err != nil {
		t.Fatal(err)
	}
	server.MustDo(t, "xadd", "zhongkong:{}:log", "*", "account", "a", "what", "is this")
	entries, err := redisadmin.New(store).History(t.Context(), "a", 10)
	if err != nil {
		t.Fatal(err)
	}
	var events []string
	for _, e := range entries {
		events = append(events, e.Event)
		if e.By != "me" || time.Since(e.At).Abs() > time.Minute {
			t.Errorf("entry %+v, want it by me and just now", e)
		}
	}
	if want := []string{"failed", "conflict", "reported", "refreshed"}; !slices.Equal(events, want) {
		t.Fatalf("events = %v, want %v", events, want)
	}
	failed := entries[0]
	if failed.Code != "-1" || failed.Error != "system error" || failed.Took != 70*time.Millisecond ||
		failed.Retry != time.Second || failed.Kind != coordinator.FailedBusy || failed.Fence != attempt.Fence {
		t.Errorf("the failure's entry = %+v", failed)
	}
	if few, err := redisadmin.New(store).History(t.Context(), "a", 2); err != nil || len(few) != 1 {
		t.Errorf("History(2) = %d entries, %v, want the one of the last two lines that is ours", len(few), err)
	}
	if none, err := redisadmin.New(store).History(t.Context(), "b", 10); err != nil || len(none) != 0 {
		t.Errorf("History() of nothing = %v, %v", none, err)
	}
	server.MustDo(t, "set", "zhongkong:{c}:log", "x")
	var data *redisstore.DataError
	if _, err := redisadmin.New(store).History(t.Context(), "c", 10); !errors.As(err, &data) {
		t.Errorf("History() of a string = %v, want a *DataError", err)
	}
}

func TestLogIsCapped(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	const older = 5500
	refreshed(t, store, "a", "token")
	client := server.Client()
	defer client.Close()
	pipe := client.Pipeline()
	for range older {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: "zhongkong:{}:log", Values: []string{"account", "b", "event", "refreshed"}})
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	refreshed(t, store, "a", "token")
	if n := server.MustDo(t, "xlen", "zhongkong:{}:log").(int64); n < 5000 || n > 5200 {
		t.Errorf("the log has %d entries, want about 5000", n)
	}
	if entries, err := redisadmin.New(store).History(t.Context(), "b", older); err != nil || len(entries) < 4900 {
		t.Errorf("History() = %d entries, %v, want those of all pages", len(entries), err)
	}
	if entries, err := redisadmin.New(store).History(t.Context(), "a", 10); err != nil || len(entries) != 1 {
		t.Errorf("History() = %d entries, %v, want the one that is left", len(entries), err)
	}
}

func TestAccountsAreFoundInRedis(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	refreshed(t, store, "b", "token")
	begun(t, store, "a", 0)
	server.MustDo(t, "set", "zhongkong:{c}:token", "x")
	server.MustDo(t, "hset", "other:{d}:state", "x", "y")
	refreshed(t, open(t, server.URL(), redisstore.Options{Prefix: "zhongkong2"}), "e", "token")
	got, err := redisadmin.New(store).Accounts(t.Context())
	if want := []string{"a", "b"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("Accounts() = %v, %v, want %v", got, err, want)
	}
}

func TestDiagnoseTellsTheServersFacts(t *testing.T) {
	server := redistest.Start(t, "--maxmemory 100mb", "--maxmemory-policy allkeys-lru")
	store := open(t, server.URL(), redisstore.Options{})
	servers, err := redisadmin.New(store).Diagnose(t.Context())
	if err != nil || len(servers) != 1 {
		t.Fatalf("Diagnose() = %v, %v", servers, err)
	}
	d := servers[0]
	if d.Addr != server.Addr() || d.Version == "" || d.Mode != "standalone" || d.Role != "master" ||
		d.MaxMemory != 100<<20 || d.MaxMemoryPolicy != "allkeys-lru" || d.ConnectedReplicas != 0 || d.AOF || d.Denied != nil {
		t.Errorf("Diagnose() = %+v", d)
	}
	if d.Ahead.Abs() > time.Second || d.RoundTrip <= 0 {
		t.Errorf("the clock is ahead by %v, round trip %v", d.Ahead, d.RoundTrip)
	}
}

func TestTheLogSaysWhoAsked(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	first := refreshed(t, store, "a", "token")
	const caller = "ops\x1b[2J\xff (api)" // kept as it is but for what is not UTF-8: who prints it cleans it
	attempt, err := store.Begin(t.Context(), "a", coordinator.BeginRequest{
		Seen: first.Generation, Reason: coordinator.ReasonRejected, AskedBy: caller, TTL: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Begin(t.Context(), "a", coordinator.BeginRequest{Seen: first.Generation, Reason: coordinator.ReasonMissing, TTL: time.Minute}); err != nil {
		t.Fatal(err)
	}
	c := of(attempt, "token-2")
	c.AskedBy = caller
	if _, err := store.Commit(t.Context(), "a", c); !errors.Is(err, coordinator.ErrSuperseded) {
		t.Fatal(err)
	}
	last, err := store.Begin(t.Context(), "a", coordinator.BeginRequest{Seen: first.Generation, Reason: coordinator.ReasonForced, AskedBy: caller, TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	c.Attempt = last
	stored, err := store.Commit(t.Context(), "a", c)
	if err != nil {
		t.Fatal(err)
	}
	if left := loaded(t, store, "a").Open; len(left) != 1 {
		t.Errorf("%d attempts are open, want the one that was not overdue", len(left))
	}
	next, err := store.Begin(t.Context(), "a", coordinator.BeginRequest{Seen: stored.Generation, Reason: coordinator.ReasonForced, AskedBy: caller, TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Fail(t.Context(), "a", coordinator.FailRequest{Attempt: next, AskedBy: caller, Failure: coordinator.Failure{Kind: coordinator.FailedBusy}}); err != nil {
		t.Fatal(err)
	}
	entries, err := redisadmin.New(store).History(t.Context(), "a", 10)
	if err != nil || len(entries) != 6 {
		t.Fatalf("History() = %d entries, %v", len(entries), err)
	}
	for _, e := range entries[:5] {
		if e.AskedBy != "ops\x1b[2J? (api)" {
			t.Errorf("%s was asked for by %q", e.Event, e.AskedBy)
		}
	}
	if by := entries[5].AskedBy; by != "" {
		t.Errorf("what nobody asked for was asked for by %q", by)
	}
}
