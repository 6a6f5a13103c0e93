package redisstore

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/redis/go-redis/v9"
)

// big does not fit into the reader's buffer.
var big = strings.Repeat("x", 40<<10)

// arrivals are what servers send to subscribers, in RESP2 and RESP3.
var arrivals = []struct {
	wire string
	want arrival
}{
	{"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", arrival{kind: confirmation}},
	{">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", arrival{kind: confirmation}},
	{"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n", arrival{}},
	{">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n", arrival{}},
	{"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$6\r\nab\r\ncd\r\n", arrival{notification, "c", "ab\r\ncd"}},
	{">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$0\r\n\r\n", arrival{notification, "c", ""}},
	{">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$40960\r\n" + big + "\r\n", arrival{notification, "c", big}},
	{"+PONG\r\n", arrival{}},
	{"*2\r\n$4\r\npong\r\n$0\r\n\r\n", arrival{}},
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
		"*3\r\n$7\r\nmessage\r\n:1\r\n$1\r\na\r\n", "*3\r\n$7\r\nmessage\r\n$-1\r\n$1\r\na\r\n", "+" + big + "\r\n",
	} {
		if err := next(wire); !errors.Is(err, errProtocol) {
			t.Errorf("%.40q: %v", wire, err)
		}
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
