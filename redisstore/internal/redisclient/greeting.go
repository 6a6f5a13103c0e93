package redisclient

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// greeting is what a new connection has to say before its first command: HELLO with the
// credentials, and SELECT. go-redis waits for the answer to each of them. Where a person
// or a start waits, each is a round trip too many, so they are sent in one write with
// the first command, and go-redis' own are not sent.
//
// If the server refuses a greeting with credentials or a database, the connection is
// given up, and from then on go-redis greets by itself: it knows what older servers
// expect, and its error says what was refused. Only a first command that changes nothing
// is sent before the answer then, because the server may carry it out as another user
// or on another database.
type greeting struct {
	refusable bool
	given     *atomic.Bool // by go-redis, since the server has refused one; shared by all clients of a Store
	bytes     []byte
	answers   int
}

// newGreeting returns the greeting of connections with these options. Nil: go-redis has
// to greet by itself.
func newGreeting(o *redis.Options, given *atomic.Bool) *greeting {
	if o.ClientName != "" || o.CredentialsProvider != nil || o.CredentialsProviderContext != nil || o.StreamingCredentialsProvider != nil {
		return nil
	}
	hello := []string{"hello", strconv.Itoa(o.Protocol)}
	if o.Password != "" {
		user := o.Username
		if user == "" {
			user = "default"
		}
		hello = append(hello, "auth", user, o.Password)
	}
	g := &greeting{given: given, refusable: o.Password != "" || o.DB > 0, bytes: appendCommand(nil, hello...), answers: 1}
	if o.DB > 0 {
		g.bytes = appendCommand(g.bytes, "select", strconv.Itoa(o.DB))
		g.answers++
	}
	return g
}

func appendCommand(b []byte, words ...string) []byte {
	b = append(strconv.AppendInt(append(b, '*'), int64(len(words)), 10), "\r\n"...)
	for _, word := range words {
		b = append(strconv.AppendInt(append(b, '$'), int64(len(word)), 10), "\r\n"...)
		b = append(append(b, word...), "\r\n"...)
	}
	return b
}

// greetingSpared is a hook that does not send what a greeting contains. It is outside of
// the hooks that note answers, because there is none.
type greetingSpared struct {
	noHook
	*greeting
}

var _ redis.Hook = greetingSpared{}

// ProcessHook implements [redis.Hook]. HELLO without arguments is a question of ours.
func (h greetingSpared) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "hello" && len(cmd.Args()) > 1 && !h.given.Load() {
			return nil
		}
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements [redis.Hook].
func (h greetingSpared) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if len(cmds) == 1 && cmds[0].Name() == "select" && !h.given.Load() {
			return nil
		}
		return next(ctx, cmds)
	}
}

// greetingSent is a hook that has connections begin with a greeting.
type greetingSent struct {
	noHook
	*greeting
}

var _ redis.Hook = greetingSent{}

// DialHook implements [redis.Hook].
func (h greetingSent) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil || h.given.Load() {
			return conn, err
		}
		c := &greetingConn{Conn: conn, greeting: h.greeting, dial: pubsubDialIn(ctx)}
		if socket, ok := conn.(syscall.Conn); ok {
			return greetingSocket{c, socket}, nil
		}
		return c, nil
	}
}

// greetingConn is a connection that begins with a greeting. The first Write and what
// follows it are in order; from then on Read and Write may be called at the same time.
type greetingConn struct {
	net.Conn
	greeting *greeting
	dial     *pubsubDial // nil: not a PubSub's
	deadline time.Time   // of writing
	greeted  bool        // owned by Write

	// Owned by Read, after the first Write.
	missing int           // answers to the greeting
	broken  error         // of reading them; go-redis looks for pushes first, and ignores errors of that
	in      *bufio.Reader // has what was read after them; nil: nothing
}

// SetWriteDeadline implements [net.Conn]. A Write that waits for an answer shares the
// deadline.
func (c *greetingConn) SetWriteDeadline(t time.Time) error {
	c.deadline = t
	return c.Conn.SetWriteDeadline(t)
}

func (c *greetingConn) Write(b []byte) (int, error) {
	if c.greeted {
		return c.Conn.Write(b)
	}
	c.greeted = true
	if isHandshake(b) { // the server has refused the greeting of another connection meanwhile
		return c.Conn.Write(b)
	}
	c.missing = c.greeting.answers
	if c.greeting.refusable && !changesNothing(b) {
		return c.writeAfter(b)
	}
	n, err := c.Conn.Write(append(bytes.Clone(c.greeting.bytes), b...))
	return max(n-len(c.greeting.bytes), 0), err
}

// writeAfter writes after the answer to the greeting.
func (c *greetingConn) writeAfter(b []byte) (int, error) {
	if _, err := c.Conn.Write(c.greeting.bytes); err != nil {
		return 0, err
	}
	if err := c.SetReadDeadline(c.deadline); err != nil {
		return 0, err
	}
	if err := c.readAnswers(); err != nil {
		return 0, err
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *greetingConn) Read(b []byte) (int, error) {
	if c.missing > 0 && c.broken == nil {
		c.broken = c.readAnswers()
	}
	if c.broken != nil {
		return 0, c.broken
	}
	if c.in == nil {
		return c.Conn.Read(b)
	}
	n := min(len(b), c.in.Buffered())
	_, err := io.ReadFull(c.in, b[:n])
	if c.in.Buffered() == 0 {
		c.in = nil
	}
	return n, err
}

// readAnswers reads the answers to the greeting.
func (c *greetingConn) readAnswers() error {
	in := bufio.NewReader(c.Conn)
	for c.missing > 0 {
		kind, answer, err := readReply(in)
		var refusal replyError
		switch refused := errors.As(err, &refusal); {
		case kind == '>':
			continue
		case refused && turnsAway(refusal):
			return &TurnedAwayError{refusal}
		case refused && c.greeting.refusable:
			c.greeting.given.Store(true)
			return errUnsent
		case err != nil && !refused:
			return err
		}
		if c.dial != nil && c.missing == c.greeting.answers {
			c.dial.role.Store(int32(roleNamed(helloFields(answer)["role"])))
		}
		c.missing--
	}
	if in.Buffered() > 0 {
		c.in = in
	}
	return nil
}

// TurnedAwayError is what the server has said of a connection before it closed it, without
// having read anything. go-redis must not find a [redis.Error] in it: it would go on to use
// the connection.
type TurnedAwayError struct{ answer replyError }

func (e *TurnedAwayError) Error() string { return e.answer.Error() }

// Answer returns what the server has said.
func (e *TurnedAwayError) Answer() redis.Error { return e.answer }

// turnsAway reports whether the server says so of every connection that it does not take:
// no other greeting changes that.
func turnsAway(refusal replyError) bool {
	return strings.HasPrefix(refusal.Error(), "DENIED ") || strings.HasPrefix(refusal.Error(), "ERR max number of clients")
}

// greetingSocket is a greetingConn of which go-redis can check that the server has not
// closed it.
type greetingSocket struct {
	*greetingConn
	syscall.Conn
}

// firstCommand returns the name of the command that b begins with, and its number of
// words.
func firstCommand(b []byte) (name string, words int) {
	lines := bytes.SplitN(b, []byte("\r\n"), 4)
	if len(lines) < 3 || len(lines[0]) < 2 {
		return "", 0
	}
	words, _ = strconv.Atoi(string(lines[0][1:]))
	return string(bytes.ToLower(lines[2])), words
}

// isHandshake reports whether b is the HELLO, AUTH or SELECT of go-redis.
func isHandshake(b []byte) bool {
	name, words := firstCommand(b)
	return name == "hello" && words > 1 || name == "auth" || name == "select"
}

// changesNothing reports whether b begins with a command that changes nothing at the
// server. MULTI begins a reading of Load.
func changesNothing(b []byte) bool {
	switch name, _ := firstCommand(b); name {
	case "multi", "subscribe", "psubscribe", "ping", "hello":
		return true
	}
	return false
}
