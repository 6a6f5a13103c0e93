package redisstore_test

import (
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

func TestStoreOnRedisKeepsToTheContract(t *testing.T) {
	t.Parallel() // it mostly waits
	server := redistest.Start(t)
	coordinatortest.TestStore(t, func(t *testing.T) coordinator.Store {
		return open(t, server.URL(), redisstore.Options{})
	})
}

func TestStoreOnMiniredisKeepsToTheContract(t *testing.T) {
	t.Parallel() // it mostly waits
	server := miniredis.RunT(t)
	server.ClockTTL(true)
	coordinatortest.TestStore(t, func(t *testing.T) coordinator.Store {
		return open(t, "redis://"+server.Addr(), redisstore.Options{})
	})
}

func TestStoreBehindAStrictProxyKeepsToTheContract(t *testing.T) {
	t.Parallel() // it mostly waits
	proxy := redistest.StartProxy(t, redistest.Start(t), redistest.Strict)
	coordinatortest.TestStore(t, func(t *testing.T) coordinator.Store {
		return open(t, proxy.URL(), redisstore.Options{})
	})
}
