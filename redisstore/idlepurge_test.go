package redisstore_test

import (
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

func TestConnectionsThatWentSilentCostOneTimeout(t *testing.T) {
	server := redistest.Start(t)
	way := redistest.StartForwarder(t, server)
	store := open(t, way.URL(), redisstore.Options{Timeout: 400 * time.Millisecond})
	var all sync.WaitGroup
	for range 40 { // fills the pool
		all.Go(func() {
			for range 20 {
				if _, err := store.Load(t.Context(), "a", "b"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := way.Forget(); n < 3 {
		t.Fatalf("%d connections, want some", n)
	}
	failed := 0
	for ; failed < 20; failed++ {
		if _, err := store.Load(t.Context(), "a"); err == nil {
			break
		}
	}
	if failed > 1 {
		t.Errorf("%d loads timed out in a row, want one at most", failed)
	}
}
