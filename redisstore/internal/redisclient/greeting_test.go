package redisclient

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/redis/go-redis/v9"
)

// wire is a connection whose server has answered already.
type wire struct {
	net.Conn
	answers io.Reader
	written bytes.Buffer
	writes  int
}

func (w *wire) Read(b []byte) (int, error) { return w.answers.Read(b) }

func (w *wire) Write(b []byte) (int, error) {
	w.writes++
	return w.written.Write(b)
}

func (*wire) SetReadDeadline(time.Time) error { return nil }

func greeted(w *wire, o redis.Options) *greetingConn {
	return &greetingConn{Conn: w, greeting: newGreeting(&o, new(atomic.Bool)), dial: new(pubsubDial)}
}

const ping = "*1\r\n$4\r\nping\r\n"

func TestAnswersToTheGreetingAreNotTheCommands(t *testing.T) {
	options := redis.Options{Protocol: 3, Password: "secret", DB: 2}
	for name, slow := range map[string]func(io.Reader) io.Reader{
		"at once":     func(r io.Reader) io.Reader { return r },
		"by the byte": iotest.OneByteReader,
	} {
		w := &wire{answers: slow(strings.NewReader(helloAnswer("%", "replica") + ">1\r\n$4\r\npush\r\n+OK\r\n+PONG\r\n+MORE\r\n"))}
		c := greeted(w, options)
		if n, err := c.Write([]byte(ping)); n != len(ping) || err != nil {
			t.Errorf("%s: Write() = %d, %v", name, n, err)
		}
		want := "*5\r\n$5\r\nhello\r\n$1\r\n3\r\n$4\r\nauth\r\n$7\r\ndefault\r\n$6\r\nsecret\r\n*2\r\n$6\r\nselect\r\n$1\r\n2\r\n" + ping
		if got := w.written.String(); got != want || w.writes != 1 {
			t.Errorf("%s: %d writes of %q, want one of %q", name, w.writes, got, want)
		}
		if got, err := io.ReadAll(iotest.OneByteReader(c)); string(got) != "+PONG\r\n+MORE\r\n" || err != nil {
			t.Errorf("%s: the command's answer is %q, %v", name, got, err)
		}
		if role := Role(c.dial.role.Load()); role != Replica {
			t.Errorf("%s: the server's role is %v", name, role)
		}
		if _, err := c.Write([]byte(ping)); err != nil || w.written.String() != want+ping {
			t.Errorf("%s: the second command is sent as %q, %v", name, w.written.String(), err)
		}
	}
}

// go-redis looks for pushes before it reads an answer, and ignores errors of that.
func TestRefusedGreetingEndsTheConnection(t *testing.T) {
	w := &wire{answers: strings.NewReader("-WRONGPASS no\r\n-NOAUTH no\r\n")}
	c := greeted(w, redis.Options{Protocol: 3, Password: "wrong"})
	if _, err := c.Write([]byte(ping)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n, err := c.Read(make([]byte, 100)); n != 0 || !errors.Is(err, errUnsent) {
			t.Errorf("Read() = %d, %v, want %v", n, err, errUnsent)
		}
	}
	if !c.greeting.given.Load() {
		t.Error("the next connection is greeted in the same way")
	}
}

func TestWhoIsTurnedAwayIsToldWhy(t *testing.T) {
	for _, answer := range []string{"ERR max number of clients reached", "DENIED Redis is running in protected mode"} {
		for _, first := range []string{ping, "*2\r\n$4\r\nincr\r\n$1\r\nx\r\n"} {
			for _, password := range []string{"", "secret"} {
				c := greeted(&wire{answers: strings.NewReader("-" + answer + "\r\n")}, redis.Options{Protocol: 3, Password: password})
				_, err := c.Write([]byte(first))
				if err == nil {
					_, err = c.Read(make([]byte, 100))
				}
				if away, ok := errors.AsType[*TurnedAwayError](err); !ok || away.Answer().Error() != answer {
					t.Errorf("%v, want %q", err, answer)
				}
				if c.greeting.given.Load() {
					t.Error("go-redis greets by itself from now on")
				}
			}
		}
	}
}

func TestUnknownHelloIsNoRefusalWithoutCredentials(t *testing.T) {
	w := &wire{answers: strings.NewReader("-ERR unknown command 'hello'\r\n+PONG\r\n")}
	c := greeted(w, redis.Options{Protocol: 3})
	if _, err := c.Write([]byte(ping)); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != "+PONG\r\n" || err != nil {
		t.Errorf("the answer is %q, %v", got, err)
	}
}

// What go-redis says itself is not greeted, and what it has to say for a name is left to
// it.
func TestGreetingsOfGoRedisAreLeftAlone(t *testing.T) {
	hello := "*2\r\n$5\r\nhello\r\n$1\r\n3\r\n"
	w := &wire{answers: strings.NewReader("")}
	if _, err := greeted(w, redis.Options{Protocol: 3}).Write([]byte(hello)); err != nil || w.written.String() != hello {
		t.Errorf("sent %q, %v", w.written.String(), err)
	}
	if newGreeting(&redis.Options{Protocol: 3, ClientName: "name"}, nil) != nil {
		t.Error("there is a greeting although the connection has a name")
	}
}
