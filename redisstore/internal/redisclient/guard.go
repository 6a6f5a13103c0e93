package redisclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// guard is a connection beside that of a PubSub whose address may lead to another
// server after a failover. A PubSub cannot ask its server for its role: go-redis
// has no command for it there. The guard can, and its answer holds for the PubSub
// because it is dialed first (but see Connect): if the guard's server is the master,
// the address led to the master from the guard's dial until now, so the PubSub is
// connected to it as well. A guard is never replaced: if it is lost, the PubSub must go, too.
type guard struct {
	client *redis.Client // for this one connection; its Close ends an ask that waits
	conn   *redis.Conn
	role   Role // as last reported
}

func newGuard(client *redis.Client) *guard { return &guard{client: client, conn: client.Conn()} }

// ask asks the server for its role. A guard whose server does not report one is
// closed, and must not ask again. An error is one of the connection.
func (g *guard) ask(ctx context.Context) error {
	fields, err := Hello(ctx, g.conn)
	g.role = roleNamed(fields["role"])
	if _, ok := errors.AsType[redis.Error](err); ok {
		err = nil // the same error will meet the PubSub, if it matters there
	}
	if g.role == UnknownRole {
		g.close()
	}
	return err
}

func (g *guard) close() { _ = g.client.Close() } // a second call returns an error

// watchRole is WatchMaster for a PubSub with a guard.
func (p *PubSub) watchRole(ctx context.Context, reported func(Role)) error {
	wasMaster, dialed := false, time.Now()
	ledToMaster := p.guard.role == Master
	for {
		if ledToMaster && Role(p.dial.role.Load()) == Replica {
			return ErrMoved // the address led to another server at the PubSub's dial
		}
		switch p.guard.role {
		case UnknownRole:
			<-ctx.Done()
			return ctx.Err()
		case Master:
			wasMaster = true
		case Replica:
			if wasMaster {
				return ErrMoved
			}
			// To read from a replica is better than not to read at all, so it is
			// left only for a master.
			if time.Since(dialed) >= p.client.idle.stay {
				dialed = time.Now()
				if p.client.leadsToMaster(ctx) {
					return ErrMoved
				}
			}
		}
		reported(p.guard.role)
		// Twice as often as the connections of a pool: a server that closes idle
		// connections must find this one in use.
		if !Sleep(ctx, p.client.idle.ask/2) {
			return ctx.Err()
		}
		bounded, cancel := p.client.Bounded(ctx)
		err := p.guard.ask(bounded)
		cancel()
		if err != nil {
			return fmt.Errorf("the connection that asks for the server's role: %w", err)
		}
	}
}

// leadsToMaster reports whether the address leads to a master now.
func (c *Client) leadsToMaster(ctx context.Context) bool {
	ctx, cancel := c.Bounded(ctx)
	defer cancel()
	c.Discard()
	fields, err := Hello(ctx, c.Reads)
	return err == nil && roleNamed(fields["role"]) == Master
}
