package redistest

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

const slots = 16384

// Cluster is a Redis Cluster: three masters with a replica each.
type Cluster struct {
	Nodes []*Server // the masters first, then their replicas in the same order
}

// StartCluster starts six nodes and waits until they are a cluster. A dead master
// is replaced after about two seconds. args go to all nodes.
func StartCluster(t testing.TB, args ...string) *Cluster {
	t.Helper()
	return start(t, args, Launcher.Cluster)
}

// Cluster starts six nodes, as StartCluster does.
func (l Launcher) Cluster() (*Cluster, error) {
	c := new(Cluster)
	if err := c.launch(l); err != nil {
		c.Kill()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) launch(l Launcher) error {
	args := append([]string{
		"--cluster-enabled yes", "--cluster-config-file nodes.conf", "--cluster-node-timeout 1000",
		"--repl-diskless-sync-delay 0",
	}, l.Args...)
	for n := range 6 {
		s, err := l.launch(&Server{Name: fmt.Sprintf("redis%d", n), Args: args})
		if err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, s)
	}
	return c.join(context.Background())
}

// join makes a cluster of the nodes. Each node meets the first; the first three
// get a third of the slots each.
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
			if _, err := s.Do(ctx, "cluster", "meet", "127.0.0.1", c.Nodes[0].announcedPort(), c.Nodes[0].announcedBusPort()); err != nil {
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
		// Refused until the node knows its master.
		err := eventually("a replica does not know its master", func(ctx context.Context) bool {
			_, err := c.Nodes[n].Do(ctx, "cluster", "replicate", ids[n-3])
			return err == nil
		})
		if err != nil {
			return err
		}
	}
	return c.awaitOK()
}

// awaitOK waits until every node reports that the cluster works and every replica
// has a copy.
func (c *Cluster) awaitOK() error {
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

// URL is the announced addresses of the nodes in the form that go-redis parses.
func (c *Cluster) URL() string { return addrsURL(c.Nodes, url.Values{}) }

// Owner returns the node that is the master of the key's slot.
func (c *Cluster) Owner(t testing.TB, key string) *Server {
	t.Helper()
	var owner *Server
	err := eventually("no node owns the key "+key, func(ctx context.Context) bool {
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
