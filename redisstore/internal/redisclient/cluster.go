package redisclient

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// slotPause is the pause before a cluster is asked again where a slot is.
const slotPause = 20 * time.Millisecond

// OnMaster calls f with a client of the server that owns the key.
//
// In a cluster that is the node itself and not the cluster client, for two
// reasons: the cluster client repeats a command whose answer was lost even if
// MaxRetries forbids it, and a script that writes must not be repeated; and only the
// commands of one node's pipeline are sure to share a connection. So redirections
// are followed here: f is called again on another node if the first surely did
// nothing.
func (c *Client) OnMaster(ctx context.Context, key string, f func(redis.UniversalClient) error) error {
	cluster, ok := c.Writes.(*redis.ClusterClient)
	if !ok {
		return f(c.Writes)
	}
	for {
		node, err := cluster.MasterForKey(ctx, key)
		if err == nil {
			err = f(node)
		}
		if err == nil {
			return nil
		}
		if _, ask := redis.IsAskError(serverAnswer(err)); ask {
			// The slot is being moved. The cluster client knows how to ask the
			// node that imports it.
			return f(cluster)
		}
		if !clusterChanged(err) {
			return err
		}
		cluster.ReloadState(ctx)
		if !Redirected(err) || !Sleep(ctx, slotPause) {
			return err
		}
	}
}

// ByMaster groups the keys by the server that owns them: each server with the
// indexes of its keys.
func (c *Client) ByMaster(ctx context.Context, keys []string) (map[redis.UniversalClient][]int, error) {
	cluster, ok := c.Reads.(*redis.ClusterClient)
	byServer := make(map[redis.UniversalClient][]int, 1)
	for i, key := range keys {
		server := c.Reads
		if ok {
			node, err := cluster.MasterForKey(ctx, key)
			if err != nil {
				return nil, err
			}
			server = node
		}
		byServer[server] = append(byServer[server], i)
	}
	return byServer, nil
}

// ReloadCluster reads the cluster's topology and pauses. It reports false if there
// is no cluster, or if ctx ended.
func (c *Client) ReloadCluster(ctx context.Context) bool {
	cluster, ok := c.Reads.(*redis.ClusterClient)
	if !ok {
		return false
	}
	cluster.ReloadState(ctx)
	return Sleep(ctx, slotPause)
}

// EachMaster calls f with the server, or with each master of a cluster, one after
// the other. addr is "" if it is not known.
func (c *Client) EachMaster(ctx context.Context, f func(ctx context.Context, client redis.UniversalClient, addr string) error) error {
	switch client := c.Reads.(type) {
	case *redis.ClusterClient:
		var one sync.Mutex // go-redis calls the function for all masters at the same time
		return client.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			one.Lock()
			defer one.Unlock()
			return f(ctx, node, node.Options().Addr)
		})
	case *redis.Client:
		addr := client.Options().Addr
		if c.failover != nil { // the options name no server
			if err := client.Ping(ctx).Err(); err != nil {
				return err
			}
			addr, _ = c.failover.master()
		}
		return f(ctx, client, addr)
	}
	return f(ctx, c.Reads, "")
}

// Redirected reports whether the server surely did nothing, and another one will.
func Redirected(err error) bool {
	answer := serverAnswer(err)
	_, moved := redis.IsMovedError(answer)
	return moved || redis.IsTryAgainError(answer) || redis.IsReadOnlyError(answer)
}

// clusterChanged reports whether an error is a sign that the cluster has changed,
// as opposed to an answer of a script or to one.
func clusterChanged(err error) bool {
	answer := serverAnswer(err)
	return answer == nil || Redirected(err) || redis.IsClusterDownError(answer) || redis.IsLoadingError(answer)
}

// serverAnswer returns the server's answer inside an error, nil if there is none.
func serverAnswer(err error) error {
	if answer, ok := errors.AsType[redis.Error](err); ok {
		return answer
	}
	return nil
}

// reloadOnFault returns a hook for a cluster client: it reads the cluster's topology
// again only when a node redirects it, and a dead node does not. Without the hook a
// dead master stays unnoticed for as long as the reload interval.
func reloadOnFault(cluster *redis.ClusterClient) redis.Hook {
	return errorHook{call: func(ctx context.Context, err error) {
		if err != nil && !errors.Is(err, redis.Nil) && clusterChanged(err) {
			cluster.ReloadState(ctx)
		}
	}}
}
