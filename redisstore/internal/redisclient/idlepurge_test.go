package redisclient

import (
	"bufio"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestToAskForTheRoleTakesNoTimeFromTheOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own, server := net.Pipe()
		var serving sync.WaitGroup
		defer serving.Wait()
		defer own.Close()
		serving.Go(func() { // joined above
			defer server.Close()
			in := bufio.NewReader(server)
			answer := func(after time.Duration, text string) {
				if _, _, err := readReply(in); err != nil {
					return // the test has failed
				}
				time.Sleep(after)
				_, _ = server.Write([]byte(text)) // nobody reads the last one
			}
			answer(900*time.Millisecond, "%1\r\n+role\r\n+master\r\n")
			answer(900*time.Millisecond, "+PONG\r\n")
			answer(900*time.Millisecond, "+PONG\r\n")
			answer(1100*time.Millisecond, "+PONG\r\n")
		})
		c := &trackedConn{Conn: own, purge: &idlePurge{ask: time.Hour, conns: newTrackedConns()}}
		ping := func() (n int, err error) {
			deadline := time.Now().Add(time.Second)
			if err := c.SetWriteDeadline(deadline); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
				t.Fatal(err)
			}
			if err := c.SetReadDeadline(deadline); err != nil {
				t.Fatal(err)
			}
			return c.Read(make([]byte, 100))
		}
		for _, name := range []string{"with the question", "without"} {
			if n, err := ping(); n == 0 || err != nil {
				t.Errorf("%s: Read() = %v", name, err)
			}
		}
		if _, err := ping(); !isTimeout(err) {
			t.Errorf("Read() of an answer that is late = %v, want a timeout", err)
		}
	})
}

func TestAnAnswerIsReadToItsEndOnADiscardedConnection(t *testing.T) {
	own, server := net.Pipe()
	defer own.Close()
	var serving sync.WaitGroup
	defer serving.Wait()
	defer server.Close()
	read := make(chan struct{})
	serving.Go(func() { // joined above
		if _, _, err := readReply(bufio.NewReader(server)); err != nil {
			t.Error(err)
		}
		for _, part := range []string{":1\r\n", ":2\r\n"} { // of a script and of WAIT
			_, _ = server.Write([]byte(part)) // the reader reports a part that is missing
			<-read
		}
	})
	p := &idlePurge{conns: newTrackedConns()}
	c := &trackedConn{Conn: own, purge: p}
	p.conns.add(c)
	if _, err := c.Write([]byte("*1\r\n$4\r\nWAIT\r\n")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{":1\r\n", ":2\r\n"} {
		part := make([]byte, 100)
		n, err := c.Read(part)
		if got := string(part[:n]); err != nil || got != want {
			t.Errorf("Read() = %q, %v, want %q", got, err, want)
		}
		p.discard()
		read <- struct{}{}
	}
	if _, err := c.Write([]byte("*1\r\n$4\r\nPING\r\n")); !errors.Is(err, errUnsent) {
		t.Errorf("Write() of another operation = %v, want %v", err, errUnsent)
	}
}
