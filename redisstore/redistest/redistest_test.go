package redistest_test

import (
	"testing"

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
