package redisstore

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// inbox is where a subscription's connection gets from what the server sends.
type inbox interface {
	// next waits for the next arrival. An error ends the connection.
	next() (arrival, error)
}

// arrival is one thing that a server sends to a subscriber.
type arrival struct {
	kind             arrivalKind
	push             bool       // a confirmation as only RESP3 has it
	is               serverRole // of an answer
	channel, payload string     // of a message
}

type arrivalKind byte

const (
	signOfLife arrivalKind = iota // an answer to a ping, or nothing that matters here
	confirmation
	notification
	roleAnswer // to HELLO
)

// pubsubInbox reads by way of go-redis; for clients that we have not made.
type pubsubInbox struct {
	pubsub *redis.PubSub
	ctx    context.Context // see noRedial
}

var _ inbox = pubsubInbox{}

func (i pubsubInbox) next() (arrival, error) {
	// Not ReceiveTimeout: a timeout in the middle of a message loses the half
	// that was read.
	received, err := i.pubsub.Receive(i.ctx)
	switch m := received.(type) {
	case *redis.Message:
		return arrival{kind: notification, channel: m.Channel, payload: m.Payload}, err
	case *redis.Subscription:
		if m.Kind == "subscribe" {
			return arrival{kind: confirmation}, err
		}
	}
	return arrival{}, err
}

// socketInbox reads from the connection itself. The way of a token to those who
// wait for it leads through here, and go-redis sets a deadline, looks for what a
// server may push, and takes two locks for each message; none of it is needed:
// another goroutine watches over the silence, and closing ends the wait.
type socketInbox struct{ in *bufio.Reader }

var _ inbox = socketInbox{}

// newSocketInbox takes over the reading of a connection on which go-redis has
// read all answers to what it sent.
func newSocketInbox(conn net.Conn) (socketInbox, error) {
	return socketInbox{bufio.NewReaderSize(conn, 16<<10)}, conn.SetReadDeadline(noDeadline)
}

// Nothing that a subscription gets is bigger, nor has more elements.
const (
	maxBulk     = 64 << 20
	maxElements = 1 << 10
)

var errProtocol = errors.New("the server does not speak the Redis protocol")

// refusal is an error that the server has answered.
type refusal string

var _ redis.Error = refusal("")

func (r refusal) Error() string { return string(r) }

// RedisError is redis.Error's.
func (refusal) RedisError() {}

func (i socketInbox) next() (a arrival, err error) {
	kind, text, err := i.head()
	switch {
	case err != nil:
		return a, err
	case kind == '-':
		return a, refusal(text)
	case kind == '!':
		text, err = i.bulk(text)
		if err != nil {
			return a, err
		}
		return a, refusal(text)
	case kind == '%':
		a.kind = roleAnswer
		a.is, err = i.role(kind, text)
		return a, err
	case kind != '*' && kind != '>':
		return a, i.skipRest(kind, text)
	}
	push := kind == '>'
	elements, err := count(text, maxElements)
	if err != nil || elements < 1 {
		return a, err
	}
	if kind, text, err = i.head(); err != nil {
		return a, err
	}
	if kind == '$' {
		// Compared where it lies, before anything else is read.
		name, err := i.bulk(text)
		if err != nil {
			return a, err
		}
		switch {
		case string(name) == "subscribe":
			a.kind, a.push = confirmation, push
		case string(name) == "message" && elements == 3:
			a.kind = notification
			if a.channel, err = i.text(); err == nil {
				a.payload, err = i.text()
			}
			return a, err
		}
	} else if err = i.skipRest(kind, text); err != nil {
		return a, err
	}
	for range elements - 1 {
		if err = i.skip(); err != nil {
			return a, err
		}
	}
	return a, nil
}

// head reads a line: the kind of what follows, and how much, or the value.
func (i socketInbox) head() (kind byte, text []byte, err error) {
	line, err := i.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return 0, nil, errProtocol
	}
	if err != nil {
		return 0, nil, err
	}
	line, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok || len(line) == 0 {
		return 0, nil, errProtocol
	}
	return line[0], line[1:], nil
}

// bulk returns the characters of a short string, valid until the next reading.
func (i socketInbox) bulk(length []byte) ([]byte, error) {
	n, err := count(length, i.in.Size()-2)
	if err != nil {
		return nil, err
	}
	return i.short(n)
}

// short returns n characters that fit into the buffer, valid until the next
// reading.
func (i socketInbox) short(n int) ([]byte, error) {
	b, err := i.in.Peek(n + 2)
	if err != nil {
		return nil, err
	}
	_, err = i.in.Discard(n + 2)
	return b[:n], err
}

// text reads a string.
func (i socketInbox) text() (string, error) {
	kind, length, err := i.head()
	if err != nil {
		return "", err
	}
	if kind != '$' {
		return "", errProtocol
	}
	return i.string(length)
}

// string reads the characters of a string.
func (i socketInbox) string(length []byte) (string, error) {
	n, err := count(length, maxBulk)
	if err != nil {
		return "", err
	}
	if n+2 <= i.in.Size() {
		b, err := i.short(n)
		return string(b), err
	}
	b := make([]byte, n+2)
	_, err = io.ReadFull(i.in, b)
	return string(b[:n]), err
}

// skip reads one value of any kind.
func (i socketInbox) skip() error {
	kind, text, err := i.head()
	if err != nil {
		return err
	}
	return i.skipRest(kind, text)
}

// skipRest reads what follows a head.
func (i socketInbox) skipRest(kind byte, text []byte) error {
	each := 1
	switch kind {
	case '+', ':', '_', ',', '#', '(', '-':
		return nil
	case '$', '=', '!':
		if string(text) == "-1" {
			return nil
		}
		n, err := count(text, maxBulk)
		if err != nil {
			return err
		}
		_, err = i.in.Discard(n + 2)
		return err
	case '%', '|':
		each = 2
	case '*', '>', '~':
	default:
		return errProtocol
	}
	if string(text) == "-1" {
		return nil
	}
	n, err := count(text, maxElements)
	if err != nil {
		return err
	}
	for range n * each {
		if err := i.skip(); err != nil {
			return err
		}
	}
	return nil
}

// count reads a length.
func count(text []byte, most int) (int, error) {
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%w: a length of %.20q", errProtocol, text)
	}
	return n, nil
}
