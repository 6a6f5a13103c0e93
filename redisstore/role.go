package redisstore

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
)

// One address (a DNS name, a virtual IP, a Kubernetes Service) may lead to
// another server after a failover, and connections to the demoted master stay
// open. Pub/sub on it gets what is published on its new master, or nothing at
// all if it is cut off; what is published on it goes nowhere; what is read from
// it may be old. It goes on answering PING. So each connection of a Store on
// one address asks its server whether it still is a master, and is left if it is
// not. In a Sentinel set-up go-redis is told, and the nodes of a cluster redirect.
//
// The question is HELLO without arguments: it changes nothing, and every user
// may send it, whatever its ACL. A server or a proxy without it is not asked
// again soon, and nothing is said of it.
const askRole = "*1\r\n$5\r\nHELLO\r\n"

const (
	// askEvery is how often a connection asks; a pool's only when it is used.
	askEvery = 2 * time.Second

	// muteFor is how long a pool's connection does not ask again if the server
	// did not tell.
	muteFor = time.Minute

	// stayFor is how long a connection stays with a server that was a replica
	// from the beginning, before it looks where the address leads by now.
	stayFor = 5 * time.Second
)

// serverRole is what a server says that it is.
type serverRole byte

const (
	unknownRole serverRole = iota
	masterRole
	replicaRole
)

func roleNamed(name string) serverRole {
	switch name {
	case "master":
		return masterRole
	case "replica", "slave":
		return replicaRole
	}
	return unknownRole
}

// role reads the rest of an answer to HELLO: a map, or in RESP2 a list.
func (i socketInbox) role(kind byte, text []byte) (is serverRole, err error) {
	n, err := count(text, maxElements)
	if kind == '*' {
		n /= 2
	}
	for ; n > 0 && err == nil; n-- {
		var name, value string
		if name, err = i.word(); err != nil {
			break
		}
		if name != "role" {
			err = i.skip()
			continue
		}
		value, err = i.word()
		is = roleNamed(value)
	}
	return is, err
}

// word reads a string of either kind; it is "" for anything else.
func (i socketInbox) word() (string, error) {
	kind, text, err := i.head()
	switch {
	case err != nil:
		return "", err
	case kind == '+':
		return string(text), nil
	case kind == '$' && string(text) != "-1":
		return i.string(text)
	}
	return "", i.skipRest(kind, text)
}

// roleOf asks the server for its role, on a connection on which nothing else is
// under way. An error is one of the connection.
func roleOf(conn net.Conn, deadline time.Time) (serverRole, error) {
	if err := conn.SetDeadline(deadline); err != nil {
		return unknownRole, err
	}
	defer func() { _ = conn.SetReadDeadline(noDeadline) }()
	if _, err := io.WriteString(conn, askRole); err != nil {
		return unknownRole, err
	}
	in := socketInbox{bufio.NewReaderSize(conn, 1<<10)}
	is, err := in.answerToHello()
	if err == nil && in.in.Buffered() > 0 {
		err = errProtocol // what is in the buffer would be missing later
	}
	return is, err
}

func (i socketInbox) answerToHello() (serverRole, error) {
	for {
		kind, text, err := i.head()
		switch {
		case err != nil:
			return unknownRole, err
		case kind == '%' || kind == '*':
			return i.role(kind, text)
		case kind == '-':
			return unknownRole, refusal(text)
		}
		if err := i.skipRest(kind, text); err != nil || kind != '>' {
			return unknownRole, err
		}
	}
}

// ask has the subscription's server asked for its role, unless it was lately.
// Only in RESP3 may a subscribed connection do so. While channels are
// unconfirmed it does not: an error could be the answer to either.
func (c *connection) ask() error {
	now := time.Now()
	if !c.asks.Load() || c.asked.Load() || now.Sub(c.lastAsked) < c.sub.store.doubt.every {
		return nil
	}
	c.mu.Lock()
	busy := c.unconfirmed > 0
	c.mu.Unlock()
	if busy {
		return nil
	}
	c.lastAsked = now
	c.asked.Store(true)
	return c.send(func(ctx context.Context) error {
		deadline, _ := ctx.Deadline()
		if err := c.dialed.conn.SetWriteDeadline(deadline); err != nil {
			return err
		}
		_, err := io.WriteString(c.dialed.conn, askRole)
		return err
	})
}

// refused reports whether an error is the answer to ask. The server is not
// asked again then.
func (c *connection) refused(err error) bool {
	var answer refusal
	if !c.asked.Load() || !errors.As(err, &answer) || redis.IsPermissionError(answer) || redis.IsAuthError(answer) {
		return false
	}
	c.asks.Store(false)
	c.asked.Store(false)
	return true
}

// learn takes in the role of the subscription's server.
func (c *connection) learn(is serverRole) error {
	c.asked.Store(false)
	switch {
	case is == masterRole:
		c.master = true
		c.onReplica.Store(false)
		c.sub.onMaster()
	case is == replicaRole && c.master:
		return errMoved
	case is == replicaRole && !c.onReplica.Swap(true):
		c.sub.onReplica(c.dialed.conn.RemoteAddr().String())
	}
	return nil
}

// seekMaster returns when the connection is to a server that was a replica from
// the beginning, and the address leads to a master by now. Until then reading
// from the replica is better than nothing.
func (c *connection) seekMaster(ctx context.Context) error {
	for sleep(ctx, c.sub.store.doubt.stay) {
		if c.onReplica.Load() && c.sub.store.leadsToMaster(ctx) {
			return errMoved
		}
	}
	return ctx.Err()
}

// leadsToMaster asks the server to which the address leads now.
func (s *Store) leadsToMaster(ctx context.Context) bool {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	s.doubt.all()
	answer, err := s.reads.Do(ctx, "hello").Result()
	facts, _ := answer.(map[any]any)
	name, _ := facts["role"].(string)
	return err == nil && roleNamed(name) == masterRole
}

// isTimeout reports whether an answer has not come in time.
func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}
