// Package redisadmin is for people who operate a deployment: the ACL rules that a
// process needs and those that it lacks, what the server or a proxy refuses, the
// state of the server, the accounts that Redis knows, and their logs. A service
// that only uses tokens does not need it.
package redisadmin

import (
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/internal/inside"
)

// Inspector examines the Redis of a Store. It is safe for concurrent use, and ends
// with the Store.
//
// Its errors are those of package redisstore. Each command that it sends takes no
// longer than Options.Timeout.
type Inspector struct{ store }

type store = inside.Store

// New returns an Inspector that uses the connections of the Store.
func New(s *redisstore.Store) Inspector { return Inspector{s.Inside()} }
