package grantfile_test

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/grantfile"
)

// TestMain runs a child process of a test if it is told to.
func TestMain(m *testing.M) {
	if task := os.Getenv("GRANTFILE_CHILD"); task != "" {
		children[task](os.Args[len(os.Args)-1])
		return
	}
	os.Exit(m.Run())
}

// children are the programs of child processes: each works in a directory and prints a
// line for everything that has been confirmed to it.
var children = map[string]func(dir string){
	"spool": spoolForEver,
	"copy":  copyForEver,
}

// child is a process that runs until it is killed.
type child struct {
	cmd *exec.Cmd
	out io.ReadCloser
}

func start(t *testing.T, task, dir string) *child {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$", dir) //nolint:gosec // this program
	cmd.Env = append(os.Environ(), "GRANTFILE_CHILD="+task)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &child{cmd, out}
}

// killAfter reads that many lines, kills the process a moment later, and returns all
// lines that it has printed in whole.
func (c *child) killAfter(t *testing.T, n int) []string {
	t.Helper()
	var lines []string
	in := bufio.NewScanner(c.out)
	for in.Scan() {
		if lines = append(lines, in.Text()); len(lines) == n {
			time.Sleep(rand.N(3 * time.Millisecond)) // anywhere in its next writes
			if err := c.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = c.cmd.Wait()
	if len(lines) < n {
		t.Fatalf("the child has ended after %d lines, want %d", len(lines), n)
	}
	return lines
}

// sealer is a coordinator's sealer in miniature: it knows the keys that it has.
type sealer struct {
	key  string
	more string // another key that opens
}

var _ grantfile.Resealer = sealer{}

var errKey = errors.New("sealed with a key that is not there")

func (s sealer) Seal(account string, plain []byte) (string, error) {
	return s.key + "." + base64.RawURLEncoding.EncodeToString(append([]byte(account+"\x00"), plain...)), nil
}

func (s sealer) Outdated(sealed string) bool { return !strings.HasPrefix(sealed, s.key+".") }

func (s sealer) Open(account, sealed string) ([]byte, error) {
	key, text, _ := strings.Cut(sealed, ".")
	if key != s.key && key != s.more {
		return nil, errKey
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	plain, found := strings.CutPrefix(string(b), account+"\x00")
	if !found {
		return nil, fmt.Errorf("sealed for another account than %q", account)
	}
	return []byte(plain), nil
}

var old, current = sealer{key: "k1"}, sealer{key: "k2", more: "k1"}

// must returns what a call has returned, or ends the test with its error.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// newDir names a directory that is to be made.
func newDir(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "grants")
}
