package sdktest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// request is one for a driver: a program that is the user of SDKs.
type request struct {
	ID      int    `json:"id"`
	Op      string `json:"op"` // open, token, call, login, family
	Session string `json:"session"`

	// Of open and family.
	SDK    string `json:"sdk,omitempty"`
	Base   string `json:"base,omitempty"`
	AppID  string `json:"appid,omitempty"`
	Secret string `json:"secret,omitempty"`
	CorpID string `json:"corpid,omitempty"`
	Redis  string `json:"redis,omitempty"` // for an example that reads from it
	Wire   *wire  `json:"wire,omitempty"`

	Code string `json:"code,omitempty"` // of login: the user's; of open: the program of an example
}

// wire is what an SDK sends and does, for drivers that stand in for it.
type wire struct {
	HTTP    string `json:"http,omitempty"`    // the HTTP client, for PHP
	Query   string `json:"query,omitempty"`   // of GET /cgi-bin/token, with {appid} and {secret}
	Stable  string `json:"stable,omitempty"`  // Content-Type of POST /cgi-bin/stable_token instead
	Escape  bool   `json:"escape,omitempty"`  // the secret is escaped
	Old     bool   `json:"old,omitempty"`     // a renewal sends the old token along
	Margin  int    `json:"margin,omitempty"`  // seconds before expires_in when the token counts as expired
	Keep    int    `json:"keep,omitempty"`    // seconds, instead of expires_in
	Retries int    `json:"retries,omitempty"` // at 40001, each after asking for a token again; -1 for no limit
	Once    bool   `json:"once,omitempty"`    // once for the life of the client
}

type reply struct {
	ID     int               `json:"id"`
	Error  string            `json:"error"`
	Values map[string]string `json:"values,omitempty"` // of family: what it got, by account
}

// driver is a driver that runs. It is for one goroutine.
type driver struct {
	t    *testing.T
	name string
	in   io.Writer
	out  *bufio.Scanner
	last int
}

// program returns the command of a driver.
func program(ctx context.Context, language string) *exec.Cmd {
	file := func(name string) string {
		path, _ := filepath.Abs(filepath.Join("drivers", name)) // fails only without a working directory
		return path
	}
	switch language {
	case "JavaScript":
		return exec.CommandContext(ctx, "node", file("node.js"))
	case "Python":
		return exec.CommandContext(ctx, "/usr/bin/python3", file("python.py")) // Debian's, with Debian's requests
	case "PHP":
		return exec.CommandContext(ctx, "php", "-d", "zend.assertions=1", file("php.php"))
	case "Ruby":
		return exec.CommandContext(ctx, "ruby", file("ruby.rb"))
	default:
		c := exec.CommandContext(ctx, os.Args[0])
		c.Env = append(os.Environ(), goDriver+"=1")
		return c
	}
}

func startDriver(t *testing.T, language string) *driver {
	t.Helper()
	c := program(t.Context(), language)
	c.Stderr = os.Stderr
	c.WaitDelay = time.Second
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatalf("the driver for %s: %v; scripts/install installs it", language, err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = c.Wait() // it was killed if the test's context ended first
	})
	d := &driver{t: t, name: language, in: in, out: bufio.NewScanner(out)}
	d.out.Buffer(nil, 1<<20)
	return d
}

// do returns the error that the SDK's user gets, if any.
func (d *driver) do(r request) error {
	_, err := d.ask(r)
	return err
}

// ask is do for requests that have values as their answer.
func (d *driver) ask(r request) (map[string]string, error) {
	d.last++
	r.ID = d.last
	line, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if _, err := d.in.Write(append(line, '\n')); err != nil {
		return nil, fmt.Errorf("the driver for %s has ended: %w", d.name, err)
	}
	for d.out.Scan() {
		var answer reply
		if json.Unmarshal(d.out.Bytes(), &answer) != nil || answer.ID != r.ID {
			continue // an SDK may print
		}
		if answer.Error != "" {
			return nil, errors.New(answer.Error)
		}
		return answer.Values, nil
	}
	return nil, fmt.Errorf("the driver for %s has ended: %w", d.name, errors.Join(d.out.Err(), io.ErrUnexpectedEOF))
}
