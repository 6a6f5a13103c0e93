package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// rawConn is a connection to Redis without a client library, as a floor for these.
type rawConn struct {
	net.Conn
	in *bufio.Reader
}

func dialRaw(addr string) (*rawConn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &rawConn{c, bufio.NewReader(c)}, nil
}

// command encodes one command.
func command(args ...string) []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b
}

// do sends a command and skips its answer.
func (c *rawConn) do(args ...string) error {
	_, err := c.timed(command(args...))
	return err
}

// timed sends an encoded command, skips its answer, and returns the moment before
// it was sent.
func (c *rawConn) timed(encoded []byte) (time.Time, error) {
	began := time.Now()
	if _, err := c.Write(encoded); err != nil {
		return began, err
	}
	_, err := c.next()
	return began, err
}

// next reads one reply and returns the last bulk string in it.
func (c *rawConn) next() (last []byte, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	kind := line[0]
	n, _ := strconv.Atoi(string(line[1 : len(line)-2]))
	switch kind {
	case '-':
		return nil, fmt.Errorf("redis: %s", line[1:len(line)-2])
	case '$':
		if n < 0 {
			return nil, nil
		}
		body := make([]byte, n+2)
		if _, err := io.ReadFull(c.in, body); err != nil {
			return nil, err
		}
		return body[:n], nil
	case '*', '>':
		for range n {
			if last, err = c.next(); err != nil {
				return nil, err
			}
		}
	}
	return last, nil
}
