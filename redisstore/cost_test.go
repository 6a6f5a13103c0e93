package redisstore_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// A command in a script takes Redis as long as some sixty instructions of Lua, and each
// refresh pays for it. These numbers change on purpose only.
func TestWhatARefreshHasRedisDo(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	seen := refreshed(t, store, "a", "first").Generation
	refresh := func() {
		lock, err := store.Lock(t.Context(), "a", 3*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		c := of(begun(t, store, "a", seen), "token")
		c.RefreshIn = time.Hour
		r, err := store.Commit(t.Context(), "a", c)
		if err != nil {
			t.Fatal(err)
		}
		seen = r.Generation
		if err := lock.Unlock(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	refresh() // the texts of the scripts are sent
	server.MustDo(t, "config", "resetstat")
	const refreshes = 3
	for range refreshes {
		refresh()
	}
	want := map[string]int{
		"set": 1, "evalsha": 3, // lock; begin, commit, unlock
		"time": 2, "hmget": 4, "zrange": 3, "get": 2, // of begin, of commit, and of the lock
		"zadd": 3, "hset": 3, "incrby": 1, "pexpire": 1, "zrem": 1, "xadd": 1, "publish": 2,
		"del": 1, // unlock
	}
	got := make(map[string]int)
	for line := range strings.Lines(server.MustDo(t, "info", "commandstats").(string)) {
		var n int
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		if _, err := fmt.Sscan(strings.ReplaceAll(rest, ",", " "), &n); ok && err == nil {
			got[name] = n
		}
	}
	for _, name := range []string{"config|resetstat", "info", "ping", "hello"} { // of the test and of the connections
		delete(got, name)
	}
	for name := range want {
		want[name] *= refreshes
	}
	if !maps.Equal(got, want) {
		t.Errorf("%d refreshes are the commands %v, want %v", refreshes, got, want)
	}
}

// An account that the index has not seen is one command more, once. The first of them
// begins the index.
func TestAnIndexBeginsBelowItsFirstAccount(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	refreshed(t, store, "a", "token")
	first, err := store.Changes(t.Context(), coordinator.Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	refreshed(t, store, "b", "token")
	second, err := store.Changes(t.Context(), coordinator.Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	if began := first.Next.Began; began == 0 || began != second.Next.Began || began >= first.Next.Number {
		t.Errorf("the index began at %d and at %d, want one instant before the first change, %d", began, second.Next.Began, first.Next.Number)
	}
}
