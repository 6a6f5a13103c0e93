package redisstore_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

const changesKey = "zhongkong:{}:changes"

// changes returns the index of changes, the newest first.
func changes(t *testing.T, server *redistest.Server) []redis.Z {
	t.Helper()
	client := server.Client()
	defer client.Close()
	all, err := client.ZRevRangeWithScores(t.Context(), changesKey, 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEachChangeIsTheNewestOfTheIndex(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	last := 0.0
	changed := func(account, what string) {
		t.Helper()
		head := changes(t, server)[0]
		if head.Member != account || head.Score <= last {
			t.Errorf("after %s the newest of the index is %v, want %s above %f", what, head, account, last)
		}
		last = head.Score
	}
	other := begun(t, store, "b", 0)
	changed("b", "a begin")
	if all := changes(t, server); len(all) != 2 || all[1].Member != "" || all[1].Score != all[0].Score-1 {
		t.Errorf("the index begins with %v, want the member \"\" just before the first account", all)
	}
	attempt := begun(t, store, "a", 0)
	changed("a", "a begin")
	record, err := store.Commit(t.Context(), "a", of(attempt, "token"))
	if err != nil {
		t.Fatal(err)
	}
	changed("a", "a commit")
	fail := coordinator.FailRequest{Attempt: other, Failure: coordinator.Failure{Kind: coordinator.FailedBusy}}
	if err := store.Fail(t.Context(), "b", fail); err != nil {
		t.Fatal(err)
	}
	changed("b", "a failure")
	if err := store.Fail(t.Context(), "b", fail); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Commit(t.Context(), "a", of(attempt, "token")); err != nil {
		t.Fatal(err)
	}
	if head := changes(t, server)[0]; head.Score != last {
		t.Errorf("after repetitions the newest is %v", head)
	}
	server.MustDo(t, "del", "zhongkong:{a}:token")
	if _, err := store.Restore(t.Context(), "a", record); err != nil {
		t.Fatal(err)
	}
	changed("a", "a restore")
	if _, err := store.Commit(t.Context(), "a", of(coordinator.Attempt{Fence: attempt.Fence - 1}, "late")); !errors.Is(err, coordinator.ErrSuperseded) {
		t.Fatal(err)
	}
	changed("a", "a superseded commit")

	// The clock is set back by an hour.
	ahead := float64(time.Now().Add(time.Hour).UnixMicro())
	server.MustDo(t, "zadd", changesKey, strconv.FormatFloat(ahead, 'f', -1, 64), "c")
	refreshed(t, store, "a", "token")
	if head := changes(t, server)[0]; head.Member != "a" || head.Score != ahead+2 {
		t.Errorf("the newest is %v, want a at %f", head, ahead+2)
	}
}

func TestAnIndexThatNoStoreWritesIsBegunAnewOrNamed(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	for _, score := range []string{"inf", "1e300", "9007199254740991"} {
		server.MustDo(t, "zadd", changesKey, score, "x")
		refreshed(t, store, "a", "token")
		if all := changes(t, server); len(all) != 2 || all[0].Member != "a" || all[0].Score > float64(time.Now().Add(time.Hour).UnixMicro()) {
			t.Errorf("with a score of %s the index is %v", score, all)
		}
	}
	server.MustDo(t, "del", changesKey)
	server.MustDo(t, "set", changesKey, "x")
	_, err := store.Begin(t.Context(), "a", coordinator.BeginRequest{Seen: 1 << 52, TTL: time.Second})
	var data *redisstore.DataError
	if !errors.As(err, &data) || data.Key != changesKey {
		t.Errorf("Begin() = %v, want a *DataError that names the index", err)
	}
}

func TestTheLogOfTheVersionBeforeIsShownAndEnds(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	refreshed(t, store, "a", "token")
	server.MustDo(t, "xadd", "zhongkong:{a}:log", "1000-1", "event", "failed", "by", "older")
	if ttl := server.MustDo(t, "ttl", "zhongkong:{a}:log"); ttl != int64(-1) {
		t.Fatalf("the older log ends in %v s", ttl)
	}
	// At the first refresh of a day. A process that is still to be replaced goes on.
	server.MustDo(t, "del", "zhongkong:{a}:calls:"+time.Now().UTC().Add(8*time.Hour).Format("20060102"))
	refreshed(t, store, "a", "token")
	later := strconv.FormatInt(time.Now().Add(time.Second).UnixMilli(), 10) + "-0"
	server.MustDo(t, "xadd", "zhongkong:{a}:log", later, "event", "refreshed", "by", "older")
	if ttl := server.MustDo(t, "ttl", "zhongkong:{a}:log").(int64); ttl < 7*86400-60 || ttl > 7*86400 {
		t.Errorf("after a refresh the older log ends in %d s, want a week", ttl)
	}
	entries, err := redisadmin.New(store).History(t.Context(), "a", 10)
	var by []string
	for _, e := range entries {
		by = append(by, strings.ReplaceAll(e.By, store.Instance(), "me"))
	}
	if got := strings.Join(by, " "); err != nil || got != "older me me older" {
		t.Errorf("History() is by %q, %v, want both logs merged", got, err)
	}
}

// A cluster behind a proxy looks like one server, and refuses keys of two slots.
func TestWhereKeysCannotBeSharedEachAccountHasItsOwnLog(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for name, open := range map[string]func(t *testing.T) *redisstore.Store{
		"proxy": func(t *testing.T) *redisstore.Store {
			return open(t, redistest.StartProxy(t, server, redistest.Strict).URL(), redisstore.Options{})
		},
		"rules": func(t *testing.T) *redisstore.Store {
			rules := redisadmin.RequiredACL("", coordinator.Refresher)
			for i, rule := range rules {
				if rule == "~zhongkong:{*}:*" {
					rules[i] = "~zhongkong:{rules}:*"
				}
			}
			return open(t, server.AddUser(t, "one", rules...), redisstore.Options{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := open(t)
			for range 3 {
				refreshed(t, store, name, "token")
			}
			for key, want := range map[string]int64{"zhongkong:{" + name + "}:log": 3, "zhongkong:{}:log": 0} {
				if n := server.MustDo(t, "xlen", key); n != want {
					t.Errorf("%s has %v entries, want %d", key, n, want)
				}
			}
			if n := server.MustDo(t, "exists", changesKey); n != int64(0) {
				t.Error("there is an index")
			}
			if entries, err := redisadmin.New(store).History(t.Context(), name, 10); err != nil || len(entries) != 3 {
				t.Errorf("History() = %d entries, %v", len(entries), err)
			}
			if ttl := server.MustDo(t, "ttl", "zhongkong:{"+name+"}:log"); ttl != int64(-1) {
				t.Errorf("the log ends in %v s", ttl)
			}
		})
	}
}
