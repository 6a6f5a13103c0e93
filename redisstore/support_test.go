package redisstore_test

import (
	"testing"

	"github.com/zhongkong/zhongkong/redisstore"
)

// open returns a store that is closed when the test ends.
func open(t testing.TB, url string, o redisstore.Options) *redisstore.Store {
	t.Helper()
	store, err := redisstore.Open(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}
