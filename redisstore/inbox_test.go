package redisstore

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/redis/go-redis/v9"
)

// big does not fit into the reader's buffer.
var big = strings.Repeat("x", 40<<10)

// helloAnswer is Redis's answer to HELLO, as a map ("%") or a list ("*").
func helloAnswer(form, role string) string {
	n := 7
	if form == "*" {
		n = 14
	}
	return fmt.Sprintf("%s%d\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n"+
		"$2\r\nid\r\n:7\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$%d\r\n%s\r\n"+
		"$7\r\nmodules\r\n*1\r\n%%2\r\n$4\r\nname\r\n$2\r\nbf\r\n$3\r\nver\r\n:20400\r\n", form, n, len(role), role)
}

// arrivals are what servers send to subscribers, in RESP2 and RESP3.
var arrivals = []struct {
	wire string
	want arrival
}{
	{"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", arrival{kind: confirmation}},
	{">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", arrival{kind: confirmation, push: true}},
	{"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n", arrival{}},
	{">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n", arrival{}},
	{"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$6\r\nab\r\ncd\r\n", arrival{kind: notification, channel: "c", payload: "ab\r\ncd"}},
	{">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$0\r\n\r\n", arrival{kind: notification, channel: "c", payload: ""}},
	{">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$40960\r\n" + big + "\r\n", arrival{kind: notification, channel: "c", payload: big}},
	{"+PONG\r\n", arrival{}},
	{"*2\r\n$4\r\npong\r\n$0\r\n\r\n", arrival{}},
	{helloAnswer("%", "master"), arrival{kind: roleAnswer, is: masterRole}},
	{helloAnswer("%", "replica"), arrival{kind: roleAnswer, is: replicaRole}},
	{helloAnswer("%", "active-replica"), arrival{kind: roleAnswer}},
	{"%2\r\n+server\r\n$5\r\nredis\r\n+role\r\n+slave\r\n", arrival{kind: roleAnswer, is: replicaRole}},
	{"%1\r\n$4\r\nrole\r\n$-1\r\n", arrival{kind: roleAnswer}},
	{"%0\r\n", arrival{kind: roleAnswer}},
	{">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n$-1\r\n", arrival{}},
	{">3\r\n+MOVING\r\n:15\r\n%1\r\n$1\r\na\r\n#t\r\n", arrival{}},
}

func TestSocketInbox(t *testing.T) {
	var wire strings.Builder
	for _, a := range arrivals {
		wire.WriteString(a.wire)
	}
	for name, stream := range map[string]io.Reader{
		"at once":     strings.NewReader(wire.String()),
		"by the byte": iotest.OneByteReader(strings.NewReader(wire.String())),
	} {
		t.Run(name, func(t *testing.T) {
			in := socketInbox{bufio.NewReaderSize(stream, 16<<10)}
			for _, a := range arrivals {
				if got, err := in.next(); err != nil || got != a.want {
					t.Fatalf("%.60q: got %v, %v", a.wire, got.kind, err)
				}
			}
			if _, err := in.next(); !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %v", err)
			}
		})
	}
}

func TestSocketInboxReportsErrors(t *testing.T) {
	next := func(wire string) error {
		_, err := socketInbox{bufio.NewReader(strings.NewReader(wire))}.next()
		return err
	}
	err := next("-NOPERM No permissions to access a channel\r\n")
	var answer redis.Error
	if !errors.As(err, &answer) || !redis.IsPermissionError(err) {
		t.Errorf("a refusal is %v", err)
	}
	if err := next("!21\r\nNOPERM No permissions\r\n"); !redis.IsPermissionError(err) {
		t.Errorf("a refusal in RESP3's long form is %v", err)
	}
	for _, wire := range []string{
		"?\r\n", "\r\n", "+no end\n", "*x\r\n", "*-1\r\n", "*99999999999\r\n", "*2\r\n$4\r\npong\r\n$99999999999\r\n",
		"%x\r\n", "%1\r\n$4\r\nrole\r\n?\r\n", "%99999999999\r\n",
		"*3\r\n$7\r\nmessage\r\n:1\r\n$1\r\na\r\n", "*3\r\n$7\r\nmessage\r\n$-1\r\n$1\r\na\r\n", "+" + big + "\r\n",
	} {
		if err := next(wire); !errors.Is(err, errProtocol) {
			t.Errorf("%.40q: %v", wire, err)
		}
	}
}

func TestAnswerToHello(t *testing.T) {
	for wire, want := range map[string]serverRole{
		helloAnswer("%", "master"):                      masterRole,
		helloAnswer("*", "replica"):                     replicaRole,
		">1\r\n$1\r\nx\r\n" + helloAnswer("%", "slave"): replicaRole,
		"+OK\r\n":        unknownRole,
		"!4\r\nERR \r\n": unknownRole,
	} {
		got, err := socketInbox{bufio.NewReader(strings.NewReader(wire))}.answerToHello()
		if err != nil || got != want {
			t.Errorf("%.60q says %v, %v, want %v", wire, got, err, want)
		}
	}
	_, err := socketInbox{bufio.NewReader(strings.NewReader("-ERR unknown command 'HELLO'\r\n"))}.answerToHello()
	var no refusal
	if !errors.As(err, &no) {
		t.Errorf("a refusal is %v", err)
	}
}

// Whatever arrives, the reader neither panics nor hangs.
func FuzzSocketInbox(f *testing.F) {
	for _, a := range arrivals {
		if len(a.wire) < len(big) {
			f.Add(a.wire)
		}
	}
	f.Fuzz(func(t *testing.T, wire string) {
		in := socketInbox{bufio.NewReaderSize(strings.NewReader(wire), 64)}
		for {
			if _, err := in.next(); err != nil {
				return
			}
		}
	})
}
