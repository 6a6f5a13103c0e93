package redisclient

import (
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// blocking has, for each client of one server that writes, another one with the same
// connections and hooks for commands that the server answers late on purpose (WAIT).
type blocking struct {
	clients sync.Map // by address: blockingClient
}

type blockingClient struct{ of, client *redis.Client }

// add makes the other client of one that has these hooks. A node of a cluster that has
// come back at an address takes the place of the one before.
func (b *blocking) add(of *redis.Client, hooks []redis.Hook) {
	client := of.WithTimeout(0)                               // the end of the operation's context counts
	client.Options().WriteTimeout = of.Options().WriteTimeout // of a copy, which no other client has
	addHooks(client, hooks)                                   // WithTimeout keeps none
	b.clients.Store(of.Options().Addr, blockingClient{of, client})
}

// ForBlocking returns a client with the connections of one that OnMaster has given, which
// waits for an answer until the operation's context ends; after Wrap, for the timeout.
func (c *Client) ForBlocking(client *redis.Client, timeout time.Duration) *redis.Client {
	if found, ok := c.blocking.clients.Load(client.Options().Addr); ok {
		if b := found.(blockingClient); b.of == client {
			return b.client
		}
	}
	return client.WithTimeout(timeout)
}
