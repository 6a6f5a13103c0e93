package redistest_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

func TestServerComesBackEmptyOnItsPort(t *testing.T) {
	s := redistest.Start(t)
	s.MustDo(t, "set", "key", "value")
	port := s.Port()
	s.Restart(t)
	if s.Port() != port {
		t.Errorf("port = %d, want %d", s.Port(), port)
	}
	if got := s.MustDo(t, "get", "key"); got != nil {
		t.Errorf("after the restart the key is %v, want none", got)
	}
}

func TestReplicatedFailsOver(t *testing.T) {
	r := redistest.StartReplicated(t, 2, 3)
	old := r.Master(t)
	r.Failover(t)
	if r.Master(t) == old {
		t.Error("the master is still the same")
	}
}

func TestClusterHasAnOwnerForEachKey(t *testing.T) {
	c := redistest.StartCluster(t)
	c.Owner(t, "key").MustDo(t, "set", "key", "value")
}

func TestForwarderSendsNewConnectionsToTheServerItPointsAt(t *testing.T) {
	first, second := redistest.Start(t), redistest.Start(t)
	first.MustDo(t, "set", "name", "first")
	second.MustDo(t, "set", "name", "second")
	f := redistest.StartForwarder(t, first)
	client := redis.NewClient(&redis.Options{Addr: f.Addr(), PoolSize: 1})
	defer client.Close()
	name := func() string { return client.Get(t.Context(), "name").Val() }
	before := name()
	f.Point(second)
	if stays := name(); before != "first" || stays != "first" {
		t.Errorf("the connection led to %q and %q, want the first server", before, stays)
	}
	other := redis.NewClient(&redis.Options{Addr: f.Addr(), PoolSize: 1})
	defer other.Close()
	if got := other.Get(t.Context(), "name").Val(); got != "second" {
		t.Errorf("a new connection leads to %q, want the second server", got)
	}
}
