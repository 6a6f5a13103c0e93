package redisstore

import (
	"time"

	"github.com/redis/go-redis/v9"
)

// changed returns the scripts with their sources changed.
func (scripts) changed(change func(name, source string) string) scripts {
	make := func(name string) *redis.Script {
		return redis.NewScript(change("prelude", source("prelude")) + "\n" + change(name, source(name)))
	}
	return scripts{
		load: make("load"), begin: make("begin"), extend: make("extend"),
		commit: make("commit"), fail: make("fail"), restore: make("restore"),
	}
}

// AskEvery has a store of one address ask its servers so often for their role. It
// is called before the store is used.
func (s *Store) AskEvery(d time.Duration) { s.client.AskEvery(d) }
