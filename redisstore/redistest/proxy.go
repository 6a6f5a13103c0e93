package redistest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
)

// Proxy is an address in front of a server, like a cloud provider's proxy: it inspects
// every command and refuses some of them with an error.
type Proxy struct {
	// Answer, unless nil, answers commands in the server's place, so that it seems to be
	// another one: with a reply as Redis sends it, or "" for a command that is passed
	// on. It is set before a client connects, and called by many goroutines.
	Answer func(command []string) (reply string)

	addr   string
	refuse func(command []string) string
}

// StartProxy starts a Proxy. If refuse returns an error for a command, such as "ERR
// unknown command", that is the reply; if it returns "", the command is passed on. The
// proxy ends with the test.
func StartProxy(t testing.TB, to *Server, refuse func(command []string) string) *Proxy {
	t.Helper()
	p := &Proxy{refuse: refuse}
	p.addr = relay(t, func() (string, func(server, client net.Conn)) {
		return to.Addr(), func(server, client net.Conn) { go p.forward(server, client) } // ends with either side, and ends the other
	})
	return p
}

// URL is the address in the form that go-redis parses.
func (p *Proxy) URL() string { return "redis://" + p.addr }

// forward passes on commands one by one, each after the reply of the previous one, so
// that the replies keep their order. After a subscribe the server sends messages at any
// time, and commands are no longer inspected.
func (p *Proxy) forward(server, client net.Conn) {
	defer server.Close()
	defer client.Close()
	commands, answers := bufio.NewReader(client), bufio.NewReader(server)
	for {
		command, raw, err := readCommand(commands)
		if err != nil {
			return
		}
		if refusal := p.refuse(command); refusal != "" {
			_, err = fmt.Fprintf(client, "-%s\r\n", refusal)
		} else if reply := p.answer(command); reply != "" {
			_, err = io.WriteString(client, reply)
		} else if _, err = io.WriteString(server, raw); err == nil {
			if strings.HasSuffix(strings.ToLower(command[0]), "subscribe") {
				p.splice(server, answers, client, commands)
				return
			}
			err = copyAnswer(client, answers)
		}
		if err != nil {
			return
		}
	}
}

func (p *Proxy) answer(command []string) string {
	if p.Answer == nil {
		return ""
	}
	return p.Answer(command)
}

func (p *Proxy) splice(server net.Conn, answers io.Reader, client net.Conn, commands io.Reader) {
	go func() { // ends with either side
		_, _ = io.Copy(client, answers)
		_ = client.Close()
	}()
	_, _ = io.Copy(server, commands)
}

// readCommand reads a command, which is an array of strings, and also returns its raw
// text.
func readCommand(in *bufio.Reader) (command []string, raw string, err error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return nil, "", err
	}
	n, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "*")))
	if err != nil || n < 1 {
		return nil, "", fmt.Errorf("not a command: %q", line)
	}
	var all strings.Builder
	all.WriteString(line)
	for range n {
		if line, err = in.ReadString('\n'); err != nil {
			return nil, "", err
		}
		size, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "$")))
		if err != nil {
			return nil, "", fmt.Errorf("not a string: %q", line)
		}
		text := make([]byte, size+2)
		if _, err := io.ReadFull(in, text); err != nil {
			return nil, "", err
		}
		command = append(command, string(text[:size]))
		all.WriteString(line)
		all.Write(text)
	}
	return command, all.String(), nil
}

// copyAnswer copies one reply in RESP2 or RESP3.
func copyAnswer(to io.Writer, from *bufio.Reader) error {
	line, err := from.ReadString('\n')
	if err != nil {
		return err
	}
	if _, err := io.WriteString(to, line); err != nil {
		return err
	}
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	switch line[0] {
	case '$', '=', '!':
		if n >= 0 {
			_, err = io.CopyN(to, from, int64(n)+2)
		}
		return err
	case '%', '|':
		n *= 2
	case '*', '~', '>':
	default:
		return nil
	}
	for range max(n, 0) {
		if err := copyAnswer(to, from); err != nil {
			return err
		}
	}
	return nil
}
