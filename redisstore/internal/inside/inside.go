// Package inside is what a Store shows to package redisadmin and to no other.
package inside

import (
	"context"
	"time"

	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
	"github.com/zhongkong/zhongkong/redisstore/internal/redisclient"
)

// Store is the inside of a redisstore.Store.
type Store struct {
	Client   *redisclient.Client
	Keys     layout.Keyspace
	Timeout  time.Duration // of an operation
	Replicas int           // that a commit waits for
	Seals    bool          // there is a key
	Shares   bool          // the accounts share a log and an index of changes

	// CheckAccount returns what is wrong with an account's name.
	CheckAccount func(name string) error

	// Fault maps an error of the client to one of package redisstore.
	Fault func(ctx context.Context, op, account string, err error) error

	// WrongType returns err, or that the key is not of this kind if err says so.
	WrongType func(err error, key, kind string) error

	// The Try functions do what the Store does, with keys of the account that are not
	// used, so that nothing changes. Their errors are the client's.
	TryScripts     func(ctx context.Context, account string) error // all scripts
	TryTransaction func(ctx context.Context, account string) error // Load in a transaction
	TryLoadScript  func(ctx context.Context, account string) error // Load by script
	TryGrantScript func(ctx context.Context, account string) error // those of grants

	// ReadGrant returns a grant as it is stored, and what keeps it from being opened.
	ReadGrant func(ctx context.Context, account string) (sealed string, err error)
}
