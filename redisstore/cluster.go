package redisstore

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// onMaster calls f with a client of the server that owns the key.
//
// In a cluster that is the node itself and not the cluster client, for two
// reasons: the cluster client repeats a command whose answer was lost, which a
// script that writes must not be, whatever MaxRetries says; and only commands
// of one node's pipeline surely share a connection. The price is that the
// redirections are ours to follow.
func (s *Store) onMaster(ctx context.Context, key string, f func(redis.UniversalClient) error) error {
	cluster, ok := s.writes.(*redis.ClusterClient)
	if !ok {
		return f(s.writes)
	}
	for {
		node, err := cluster.MasterForKey(ctx, key)
		if err == nil {
			err = f(node)
		}
		if err == nil {
			return nil
		}
		if _, ask := redis.IsAskError(unwrapRedis(err)); ask {
			// The slot is on its way. The cluster client knows how to ask
			// on the other side.
			return f(cluster)
		}
		if isOurs(err) {
			return err
		}
		cluster.ReloadState(ctx)
		if !redirected(err) || !sleep(ctx, 20*time.Millisecond) {
			return err
		}
	}
}

// masters returns the servers that own the accounts' keys, each with the indexes
// of its accounts.
func (s *Store) masters(ctx context.Context, accounts []string) (map[redis.UniversalClient][]int, error) {
	cluster, ok := s.reads.(*redis.ClusterClient)
	byServer := make(map[redis.UniversalClient][]int, 1)
	for i, account := range accounts {
		server := s.reads
		if ok {
			node, err := cluster.MasterForKey(ctx, s.keys.of(account).token)
			if err != nil {
				return nil, err
			}
			server = node
		}
		byServer[server] = append(byServer[server], i)
	}
	return byServer, nil
}

// redirected reports whether the node surely did nothing and another one will.
func redirected(err error) bool {
	err = unwrapRedis(err)
	_, moved := redis.IsMovedError(err)
	return moved || redis.IsTryAgainError(err) || redis.IsReadOnlyError(err)
}

// isOurs reports whether the error is an answer of a script or to one, as
// opposed to a sign that the cluster has changed.
func isOurs(err error) bool {
	answer := unwrapRedis(err)
	if answer == nil {
		return false
	}
	return !redirected(err) && !redis.IsClusterDownError(answer) && !redis.IsLoadingError(answer)
}

// unwrapRedis finds the server's answer in an error, nil if there is none.
func unwrapRedis(err error) error {
	var answer redis.Error
	if errors.As(err, &answer) {
		return answer
	}
	return nil
}

// reloadOnFault is a hook for cluster clients: they look at the cluster's
// topology again only when a node redirects them, and a node that is dead does
// not. Without it a dead master stays unnoticed for as long as the reload
// interval.
type reloadOnFault struct{ cluster *redis.ClusterClient }

var _ redis.Hook = reloadOnFault{}

func (h reloadOnFault) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h reloadOnFault) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		h.look(ctx, err)
		return err
	}
}

func (h reloadOnFault) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		h.look(ctx, err)
		return err
	}
}

func (h reloadOnFault) look(ctx context.Context, err error) {
	if err != nil && !errors.Is(err, redis.Nil) && !isOurs(err) {
		h.cluster.ReloadState(ctx)
	}
}

// sleep waits; false: ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
