package redistest

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// slots is how many hash slots a cluster has.
const slots = 16384

// Cluster is a Redis Cluster: three masters with a replica each.
type Cluster struct {
	Nodes []*Server // the masters first, then their replicas in the same order
}

// StartCluster starts six nodes and waits until they are a cluster. A dead
// master is replaced after about two seconds. args go to all nodes.
func StartCluster(t testing.TB, args ...string) *Cluster {
	t.Helper()
	c, err := LaunchCluster(t.TempDir(), args...)
	if c != nil {
		t.Cleanup(c.Kill)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// LaunchCluster is StartCluster for programs that are no tests. What has been
// started must be killed also when there is an error.
func LaunchCluster(dir string, args ...string) (*Cluster, error) {
	c := new(Cluster)
	args = append([]string{
		"--cluster-enabled yes", "--cluster-config-file nodes.conf", "--cluster-node-timeout 1000",
		"--repl-diskless-sync-delay 0",
	}, args...)
	for n := range 6 {
		s, err := launchIn(dir, fmt.Sprintf("node%d", n), args...)
		if err != nil {
			return c, err
		}
		c.Nodes = append(c.Nodes, s)
	}
	return c, c.join(context.Background())
}

// join makes a cluster of the nodes. Every node meets the first; slots are
// dealt evenly to the first three.
func (c *Cluster) join(ctx context.Context) error {
	ids := make([]string, len(c.Nodes))
	for n, s := range c.Nodes {
		id, err := s.Do(ctx, "cluster", "myid")
		if err != nil {
			return err
		}
		ids[n], _ = id.(string)
		if _, err := s.Do(ctx, "cluster", "set-config-epoch", n+1); err != nil {
			return err
		}
		if n > 0 {
			if _, err := s.Do(ctx, "cluster", "meet", "127.0.0.1", c.Nodes[0].port); err != nil {
				return err
			}
		}
	}
	for n := range 3 {
		if _, err := c.Nodes[n].Do(ctx, "cluster", "addslotsrange", n*slots/3, (n+1)*slots/3-1); err != nil {
			return err
		}
	}
	for n := 3; n < 6; n++ {
		// Refused until the node has heard of its master.
		err := eventually("a replica does not know its master", func(ctx context.Context) bool {
			_, err := c.Nodes[n].Do(ctx, "cluster", "replicate", ids[n-3])
			return err == nil
		})
		if err != nil {
			return err
		}
	}
	return c.AwaitOK()
}

// AwaitOK waits until each node that runs says that the cluster works, and each
// replica has a copy.
func (c *Cluster) AwaitOK() error {
	return eventually("the cluster does not come up", func(ctx context.Context) bool {
		for n, s := range c.Nodes {
			info, err := s.Do(ctx, "cluster", "info")
			text, _ := info.(string)
			if err != nil || !strings.Contains(text, "cluster_state:ok") || !strings.Contains(text, "cluster_known_nodes:6") {
				return false
			}
			info, err = s.Do(ctx, "info", "replication")
			text, _ = info.(string)
			if err != nil || n >= 3 && !strings.Contains(text, "master_link_status:up") ||
				n < 3 && !strings.Contains(text, "state=online") {
				return false
			}
		}
		return true
	})
}

// URL is the address of the cluster as go-redis takes it.
func (c *Cluster) URL() string {
	query := url.Values{}
	for _, s := range c.Nodes[1:] {
		query.Add("addr", s.Addr())
	}
	return "redis://" + c.Nodes[0].Addr() + "?" + query.Encode()
}

// Owner returns the node that is the master of the key's slot, as the nodes
// that run say.
func (c *Cluster) Owner(t testing.TB, key string) *Server {
	t.Helper()
	var owner *Server
	err := eventually("nobody owns the key "+key, func(ctx context.Context) bool {
		for _, s := range c.Nodes {
			client := s.Client()
			err := client.Exists(ctx, key).Err()
			_ = client.Close()
			if err == nil {
				owner = s
				return true
			}
		}
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	return owner
}

// Kill ends all processes.
func (c *Cluster) Kill() {
	for _, s := range c.Nodes {
		s.Kill()
	}
}
