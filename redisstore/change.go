package redisstore

import (
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/redisstore/internal/redisclient"
)

// logKeys returns the last keys of the scripts that change something; see
// lua/change.lua. With shared they are the keys of all accounts.
func (s *Store) logKeys(account string, shared bool) (log, index string) {
	if shared {
		return s.keys.SharedLog(), s.keys.Changes()
	}
	log = s.keys.Of(account).Log
	return log, log
}

// withLog calls run with the keys and, if the script logs, with those of the log and the
// index. A server, or a proxy, that takes no script with keys of more than one account, or
// does not let the user write those of all accounts, refuses it before it runs: then run
// is called again with the account's own log.
func (s *Store) withLog(account string, logs bool, keys []string, run func(keys []string) error) error {
	if !logs {
		return run(keys)
	}
	shared := s.shares.Load()
	log, index := s.logKeys(account, shared)
	err := run(append(slices.Clip(keys), log, index))
	if !shared || !refusesShared(err) {
		return err
	}
	log, index = s.logKeys(account, false)
	if err = run(append(slices.Clip(keys), log, index)); err == nil && s.shares.CompareAndSwap(true, false) {
		s.log.Warn("Redis takes no script that uses keys of one account and of all: each account gets a log of its own, and the accounts are read one by one",
			"key", s.keys.SharedLog())
	}
	return err
}

// refusesShared reports whether a script was refused because of its keys.
func refusesShared(err error) bool {
	if err == nil {
		return false
	}
	text := err.Error()
	return redis.HasErrorPrefix(err, "CROSSSLOT") || strings.Contains(text, "same slot") || strings.Contains(text, "for redis cluster") ||
		redisclient.IsPermission(err) && redisclient.DeniedCommand(text) == "" && strings.Contains(text, " key")
}
