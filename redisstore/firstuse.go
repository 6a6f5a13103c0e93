package redisstore

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// firstUse reports whether this process has not run a script yet, and notes that it
// does. Then the text is sent and not the hash: a server that does not have the script
// would answer NOSCRIPT, and the person or the start that waits would wait for one more
// round trip. A server that does have it takes the text as well.
func (s *Store) firstUse(hash string) bool {
	_, used := s.used.LoadOrStore(hash, true)
	return !used
}

// runScript runs a script in one round trip, unless the server has lost it since its
// first use.
func (s *Store) runScript(ctx context.Context, client redis.Scripter, script *redis.Script, keys []string, args ...any) *redis.Cmd {
	if s.firstUse(script.Hash()) {
		return script.Eval(ctx, client, keys, args...)
	}
	return script.Run(ctx, client, keys, args...)
}
