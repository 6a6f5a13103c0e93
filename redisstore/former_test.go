package redisstore_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

const formerKey = "zhongkong:{a}:former"

func isFormer(t *testing.T, store *redisstore.Store, account, hash string) (time.Duration, bool) {
	t.Helper()
	age, found, err := store.Former(t.Context(), account, hash)
	if err != nil {
		t.Fatal(err)
	}
	return age, found
}

func TestFormerTokensAreFoundByEveryStoreForFourHours(t *testing.T) {
	server := redistest.Start(t)
	url := server.AddUser(t, "refresher", redisadmin.RequiredACL("", coordinator.Refresher)...)
	one, two := open(t, url, redisstore.Options{}), open(t, url, redisstore.Options{})
	if _, found := isFormer(t, one, "a", "hash"); found {
		t.Error("found without AddFormer")
	}
	if err := one.AddFormer(t.Context(), "a", "hash"); err != nil {
		t.Fatal(err)
	}
	if age, found := isFormer(t, two, "a", "hash"); !found || age > time.Hour {
		t.Errorf("Former() = %v, %v", age, found)
	}
	for account, hash := range map[string]string{"a": "other", "b": "hash"} {
		if _, found := isFormer(t, two, account, hash); found {
			t.Errorf("%s of %s is found", hash, account)
		}
	}
	if ttl := server.MustDo(t, "pttl", formerKey).(int64); ttl <= 0 || ttl > (4*time.Hour).Milliseconds() {
		t.Errorf("TTL %d ms", ttl)
	}
	for ago, want := range map[time.Duration]bool{3 * time.Hour: true, 4*time.Hour + time.Minute: false, -time.Hour: true} {
		server.MustDo(t, "zadd", formerKey, time.Now().Add(-ago).UnixMilli(), "hash")
		if age, found := isFormer(t, two, "a", "hash"); found != want || age < 0 || found && age < ago {
			t.Errorf("%v ago: Former() = %v, %v", ago, age, found)
		}
	}
	wantNoDenial(t, server)
}

func TestTheLast512FormerTokensAreKept(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	for i := range 600 {
		server.MustDo(t, "zadd", formerKey, time.Now().Add(time.Duration(i-600)*time.Second).UnixMilli(), fmt.Sprint("old-", i))
	}
	if err := store.AddFormer(t.Context(), "a", "new"); err != nil {
		t.Fatal(err)
	}
	if n := server.MustDo(t, "zcard", formerKey); n != int64(512) {
		t.Errorf("%v are kept, want 512", n)
	}
	for hash, want := range map[string]bool{"new": true, "old-599": true, "old-89": true, "old-88": false, "old-0": false} {
		if _, found := isFormer(t, store, "a", hash); found != want {
			t.Errorf("%s: found = %v, want %v", hash, found, want)
		}
	}
}

func TestAKeyOfFormerTokensOfAnotherTypeIsNamed(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	server.MustDo(t, "set", formerKey, "x")
	_, _, looked := store.Former(t.Context(), "a", "hash")
	for _, err := range []error{looked, store.AddFormer(t.Context(), "a", "hash")} {
		if bad, ok := errors.AsType[*redisstore.DataError](err); !ok || bad.Key != formerKey {
			t.Errorf("%v, want a DataError of %s", err, formerKey)
		}
	}
}
