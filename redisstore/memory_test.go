package redisstore_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// What an account needs does not grow: it is measured after one refresh and after many.
func TestAnAccountNeedsAtMostItsMemoryForEver(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{Instance: "app-7d9c5b6f4-x2x7k:1-ABCD", Timeout: patience})
	client := server.Client()
	defer client.Close()
	const accounts, refreshes, workers = 500, 12, 16
	token := strings.Repeat("88_", 51) // as long as WeChat's
	seen := make([]coordinator.Fence, accounts)
	round := func() {
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() { // joined below
				for i := w; i < accounts; i += workers {
					account := fmt.Sprintf("wx%016x", i*7919)
					r, err := store.Commit(t.Context(), account, of(begun(t, store, account, seen[i]), token))
					if err != nil {
						t.Error(err)
						return
					}
					seen[i] = r.Generation
				}
			})
		}
		all.Wait()
	}
	// The keys of two days before, which the server has for as long as a key of calls lives.
	for i := range accounts {
		for days := range 2 {
			day := time.Now().Add(time.Duration(8-24*(days+1)) * time.Hour).UTC().Format("20060102")
			server.MustDo(t, "set", fmt.Sprintf("zhongkong:{wx%016x}:calls:%s", i*7919, day), 24, "ex", 80_000)
		}
	}
	for n := range refreshes {
		round()
		if n > 0 && n < refreshes-1 {
			continue
		}
		used := memoryOf(t, client)
		t.Logf("%d bytes an account after %d refreshes, and %d for all of them", used.account/accounts, n+1, used.all)
		if most := redisadmin.Memory(accounts, false) - redisadmin.Memory(0, false); used.account > most {
			t.Errorf("%d accounts use %d bytes after %d refreshes, want at most %d", accounts, used.account, n+1, most)
		}
		if most := redisadmin.Memory(0, false); used.all > most {
			t.Errorf("what all accounts share uses %d bytes, want at most %d", used.all, most)
		}
	}
}

// usage is the memory of keys: those of accounts with the index, and of what they share.
type usage struct{ account, all int64 }

func memoryOf(t *testing.T, client *redis.Client) (u usage) {
	t.Helper()
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	pipe := client.Pipeline()
	for _, key := range keys {
		pipe.MemoryUsage(t.Context(), key, 0)
	}
	answers, err := pipe.Exec(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, answer := range answers {
		n := answer.(*redis.IntCmd).Val()
		if keys[i] == "zhongkong:{}:log" {
			u.all += n
		} else {
			u.account += n + 40 // of the key's place in the table of those that end
		}
	}
	return u
}
