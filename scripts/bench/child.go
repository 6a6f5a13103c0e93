package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// childArg as the first argument makes this program one of the child processes of a
// benchmark.
const childArg = "child"

// order tells a child what to do.
type order struct {
	Role      string // one of childRoles
	Contender string
	Redis     string // host:port
	Source    string // URL of the fake issuer
	Number    int    // how many goroutines, followers, ...
	Index     int    // which of the children
	Rounds    int

	Certificate, Key string // files of a server that speaks TLS
}

// childRoles are the roles of children. Each child reports ready, waits for the start,
// and answers once.
var childRoles = map[string]func(o order, c *conversation) error{
	"herd":     herdChild,
	"follow":   followChild,
	"accounts": accountsChild,
	"wakeups":  wakeupsChild,
	"first":    firstChild,
	"bare":     bareChild,
	"busy":     busyChild,
	"flood":    floodChild,
	"refuse":   refuseChild,

	"upstream":     upstreamChild,
	"reverseproxy": reverseProxyChild,
}

func childMain(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	role, ok := childRoles[o.Role]
	if !ok {
		return fmt.Errorf("no role %q", o.Role)
	}
	return role(o, &conversation{in: bufio.NewReader(os.Stdin), out: os.Stdout})
}

// conversation is the child's end of the connection to its parent.
type conversation struct {
	in  *bufio.Reader
	out io.Writer
}

// ready tells the parent that the child is ready and waits for the start.
func (c *conversation) ready() error {
	fmt.Fprintln(c.out, "ready")
	_, err := c.in.ReadString('\n')
	return err
}

// awaitEnd waits until the parent closes the connection.
func (c *conversation) awaitEnd() { _, _ = io.Copy(io.Discard, c.in) }

func (c *conversation) answer(v any) error { return json.NewEncoder(c.out).Encode(v) }

// child is the parent's end.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func spawn(o order) (*child, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, childArg, string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &child{cmd, in, bufio.NewReaderSize(out, 1<<20)}, nil
}

func (c *child) awaitReady() error {
	line, err := c.out.ReadString('\n')
	if err == nil && strings.TrimSpace(line) != "ready" {
		err = fmt.Errorf("child says %q", line)
	}
	return err
}

func (c *child) start() { _, _ = io.WriteString(c.in, "go\n") }

func (c *child) result(v any) error {
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

// end closes the child's input, which ends it, and waits for it.
func (c *child) end() error {
	_ = c.in.Close()
	timer := time.AfterFunc(10*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	return c.cmd.Wait()
}

// children are child processes that are started together.
func spawnAll(n int, o order) ([]*child, error) {
	var all []*child
	for i := range n {
		o.Index = i
		c, err := spawn(o)
		if err != nil {
			return all, errors.Join(err, endAll(all))
		}
		all = append(all, c)
	}
	for _, c := range all {
		if err := c.awaitReady(); err != nil {
			return nil, errors.Join(err, endAll(all))
		}
	}
	return all, nil
}

func endAll(all []*child) error {
	var errs []error
	for _, c := range all {
		errs = append(errs, c.end())
	}
	return errors.Join(errs...)
}
