package redisclient

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// One address (a DNS name, a virtual IP, a Kubernetes Service) may lead to
// another server after a failover, and connections to the demoted master stay
// open. Pub/sub there delivers what is published on the new master, or nothing at
// all if the demoted server is cut off; what is published there is lost; what is
// read there may be old. It still answers PING. So the connections of a client of
// one address ask their server whether it still is a master, and are closed if it
// is not. With Sentinel go-redis is notified, and the nodes of a cluster redirect.
//
// The question is HELLO without arguments: it changes nothing, and every user may
// send it: no ACL forbids it. A server or proxy that does not know it is not asked
// again soon, and nothing is logged.

// Role is what a server reports to be.
type Role byte

// UnknownRole is the role of a server that does not report one.
const (
	UnknownRole Role = iota
	Master
	Replica
)

func roleNamed(name string) Role {
	switch name {
	case "master":
		return Master
	case "replica", "slave":
		return Replica
	}
	return UnknownRole
}

// Hello sends HELLO and returns the fields of the answer, such as "version",
// "mode" and "role", those of them that are strings.
func Hello(ctx context.Context, client interface {
	Do(ctx context.Context, args ...any) *redis.Cmd
},
) (map[string]string, error) {
	answer, err := client.Do(ctx, "hello").Result()
	return helloFields(answer), err
}

// helloFields decodes an answer to HELLO: a map, or in RESP2 a list.
func helloFields(answer any) map[string]string {
	fields := make(map[string]string)
	set := func(name, value any) {
		if name, ok := name.(string); ok {
			if value, ok := value.(string); ok {
				fields[name] = value
			}
		}
	}
	switch answer := answer.(type) {
	case map[any]any:
		for name, value := range answer {
			set(name, value)
		}
	case []any:
		for i := 0; i+1 < len(answer); i += 2 {
			set(answer[i], answer[i+1])
		}
	}
	return fields
}

// roleOf asks for the server's role on a connection of a pool on which no answer
// is outstanding. go-redis must not have read ahead.
func roleOf(conn net.Conn, deadline time.Time) (Role, error) {
	if err := conn.SetDeadline(deadline); err != nil {
		return UnknownRole, err
	}
	defer func() { _ = conn.SetReadDeadline(time.Time{}) }()
	if _, err := io.WriteString(conn, "*1\r\n$5\r\nHELLO\r\n"); err != nil {
		return UnknownRole, err
	}
	return readRole(conn)
}

// readRole reads the answer to HELLO, and what the server pushes before it.
func readRole(conn io.Reader) (Role, error) {
	in := bufio.NewReaderSize(io.LimitReader(conn, maxReply), 1<<10)
	for {
		kind, answer, err := readReply(in)
		switch {
		case err != nil:
			return UnknownRole, err
		case kind == '>':
			continue
		case in.Buffered() > 0:
			return UnknownRole, errProtocol // it would be missing from the next answer
		}
		return roleNamed(helloFields(answer)["role"]), nil
	}
}

// maxReply is the length in bytes of the longest answer to HELLO that is read.
const maxReply = 64 << 10

var errProtocol = errors.New("the server does not speak the Redis protocol")

// replyError is an error that the server has answered.
type replyError string

var _ redis.Error = replyError("")

func (e replyError) Error() string { return string(e) }

// RedisError implements [redis.Error].
func (replyError) RedisError() {}

// readReply reads a value of RESP2 or RESP3. Numbers and other simple values are
// strings; an aggregate is a list, in which a map's names and values alternate.
func readReply(in *bufio.Reader) (kind byte, value any, err error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, nil, err
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || text == "" {
		return 0, nil, errProtocol
	}
	kind, text = text[0], text[1:]
	switch kind {
	case '+', ':', ',', '#', '(', '_':
		return kind, text, nil
	case '-':
		return kind, nil, replyError(text)
	case '$', '=', '!', '*', '>', '~', '%', '|':
	default:
		return kind, nil, errProtocol
	}
	if text == "-1" {
		return kind, nil, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxReply {
		return kind, nil, fmt.Errorf("%w: a length of %.20q", errProtocol, text)
	}
	switch kind {
	case '$', '=', '!':
		b := make([]byte, n+len("\r\n"))
		if _, err := io.ReadFull(in, b); err != nil {
			return kind, nil, err
		}
		if kind == '!' {
			return kind, nil, replyError(b[:n])
		}
		return kind, string(b[:n]), nil
	case '%', '|':
		n *= 2
	}
	var list []any
	for range n {
		_, element, err := readReply(in)
		if err != nil {
			return kind, nil, err
		}
		list = append(list, element)
	}
	return kind, list, nil
}

func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}
