package redisstore_test

import (
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// grantStores opens stores with the settling that real ones have.
func grantStores(url string, o redisstore.Options) func(*testing.T) coordinator.Store {
	return func(t *testing.T) coordinator.Store { return openGrants(t, url, coordinator.GrantSettle, o) }
}

func TestGrantsOnRedisKeepToTheContract(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	url := server.AddUser(t, "refresher", refresherOfGrants()...)
	coordinatortest.TestGrantStore(t, grantStores(url, redisstore.Options{}))
	wantNoDenial(t, server)
}

func TestGrantsOnMiniredisKeepToTheContract(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	server.ClockTTL(true)
	coordinatortest.TestGrantStore(t, grantStores("redis://"+server.Addr(), redisstore.Options{}))
}

func TestGrantsBehindAStrictProxyKeepToTheContract(t *testing.T) {
	t.Parallel()
	proxy := redistest.StartProxy(t, redistest.Start(t), redistest.Strict)
	coordinatortest.TestGrantStore(t, grantStores(proxy.URL(), redisstore.Options{}))
}
