package main

import (
	"context"
	"crypto/rand"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logtest"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

const (
	appID  = wechattest.DefaultAppID
	secret = wechattest.DefaultSecret

	wrongSecret = "ffffffffffffffffffffffffffffffff"

	// The caller of every serve.
	opsName, opsPassword = "ops", "a-password-for-tests"
)

// bench is a fleet's surroundings: a Redis that is really there, of which it
// has a part to itself, and a WeChat that really revokes.
type bench struct {
	t      *testing.T
	wechat *wechattest.Server
	base   string            // of wechat
	env    map[string]string // of every run
}

// newBench prepares runs of the program in this process. urfave/cli writes to variables of its
// package in every run, so tests with runs must not be parallel: Setenv refuses those that are.
func newBench(t *testing.T) *bench {
	t.Helper()
	t.Setenv("NOT_PARALLEL", t.Name()) // no name of the program's: it refuses those that it does not know, and processes inherit this one
	w := wechattest.New(wechattest.Config{})
	b := &bench{t: t, wechat: w, base: w.Start(t)}
	b.env = map[string]string{
		"ZHONGKONG_REDIS":     sharedRedis.URL(),
		"ZHONGKONG_PREFIX":    "t-" + rand.Text()[:10],
		"ZHONGKONG_APPID":     appID,
		"ZHONGKONG_SECRET":    secret,
		"ZHONGKONG_API_BASE":  b.base,
		"ZHONGKONG_LOG_LEVEL": "debug", // so that every test looks for secrets in it
		"ZHONGKONG_USERS":     opsName + ":" + opsPassword,
	}
	return b
}

// with returns a copy of the bench with more variables; "" takes one away.
func (b *bench) with(pairs ...string) *bench {
	c := *b
	c.env = maps.Clone(b.env)
	for i := 0; i < len(pairs); i += 2 {
		c.env[pairs[i]] = pairs[i+1]
	}
	return &c
}

// reader is the bench without the secret, and without knowing the account.
func (b *bench) reader() *bench {
	return b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "")
}

// environ is the environment as os.Environ lists it.
func (b *bench) environ() []string {
	var all []string
	for name, value := range b.env {
		all = append(all, name+"="+value)
	}
	return all
}

// ran is how a run ended.
type ran struct {
	code           int
	stdout, stderr string
}

// run runs a command to its end.
func (b *bench) run(args ...string) ran {
	b.t.Helper()
	return b.feed("", args...)
}

// feed is run with something on stdin.
func (b *bench) feed(stdin string, args ...string) ran {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r := b.start(ctx, stdin, args...)
	return r.wait()
}

// must is run for a command that has to succeed; it returns its stdout.
func (b *bench) must(args ...string) string {
	b.t.Helper()
	r := b.run(args...)
	if r.code != exitDone {
		b.t.Fatalf("zhongkong %s: exit code %d\n%s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r.stdout
}

// fails is run for a command that has to fail with this code and, in what it
// says, these words.
func (b *bench) fails(code int, words string, args ...string) ran {
	b.t.Helper()
	r := b.run(args...)
	if r.code != code || !strings.Contains(r.stderr, words) {
		b.t.Fatalf("zhongkong %s: exit code %d, want %d and %q in\n%s", strings.Join(args, " "), r.code, code, words, r.stderr)
	}
	return r
}

// running is a command under way in this process.
type running struct {
	b      *bench
	args   []string
	cancel context.CancelFunc // as SIGTERM would
	stdout logtest.Buffer
	stderr logtest.Buffer
	done   chan struct{}
	code   int // when done is closed
}

func (b *bench) start(ctx context.Context, stdin string, args ...string) *running {
	b.t.Helper()
	return b.startReading(ctx, strings.NewReader(stdin), args...)
}

func (b *bench) startReading(ctx context.Context, stdin io.Reader, args ...string) *running {
	b.t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	r := &running{b: b, args: args, cancel: cancel, done: make(chan struct{})}
	p := program{
		stdin: stdin, stdout: &r.stdout, stderr: &r.stderr,
		env:           func(name string) string { return b.env[name] },
		environ:       b.environ,
		embeddedRedis: "127.0.0.1:0",
	}
	go func() { // ends with ctx; wait waits for it
		defer close(r.done)
		r.code = p.run(ctx, append([]string{"zhongkong"}, args...))
	}()
	b.t.Cleanup(func() { cancel(); <-r.done })
	return r
}

// wait returns how it ended, and looks for secrets in what it said.
func (r *running) wait() ran {
	r.b.t.Helper()
	<-r.done
	r.cancel()
	out := ran{r.code, r.stdout.String(), r.stderr.String()}
	printsToken := len(r.args) > 0 && slices.Contains([]string{"show", "refresh", "ask", "exec"}, r.args[0])
	r.b.keepsSecrets(out, printsToken)
	return out
}

// stop ends it as SIGTERM would.
func (r *running) stop() ran {
	r.b.t.Helper()
	r.cancel()
	return r.wait()
}

// says waits until stderr holds the words.
func (r *running) says(words string) {
	r.b.t.Helper()
	r.b.eventually("stderr to say "+words, func() bool {
		select {
		case <-r.done:
			r.b.t.Fatalf("it ended with %d before it said %q:\n%s", r.code, words, r.stderr.String())
		default:
		}
		return strings.Contains(r.stderr.String(), words)
	})
}

// keepsSecrets fails the test if a secret or a token is where none may be.
func (b *bench) keepsSecrets(r ran, printsToken bool) {
	b.t.Helper()
	if strings.Contains(r.stderr+r.stdout, b.env["ZHONGKONG_SECRET"]) && b.env["ZHONGKONG_SECRET"] != "" {
		b.t.Errorf("the output holds the secret:\n%s\n%s", r.stdout, r.stderr)
	}
	for _, issue := range b.wechat.Issued() {
		if strings.Contains(r.stderr, issue.Token) || !printsToken && strings.Contains(r.stdout, issue.Token) {
			b.t.Errorf("the output holds a token:\n%s\n%s", r.stdout, r.stderr)
		}
	}
}

// eventually polls until ok, for things that other processes do.
func (b *bench) eventually(what string, ok func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// calls is how often WeChat was asked for a token on the classic chain.
func (b *bench) calls() int {
	n := 0
	for _, c := range b.wechat.Calls() {
		if strings.HasSuffix(c.Path, "/cgi-bin/token") {
			n++
		}
	}
	return n
}

// inject makes calls fail until the test ends.
func (b *bench) inject(f wechattest.Fault) {
	b.t.Helper()
	if _, err := b.wechat.Inject(f); err != nil {
		b.t.Fatal(err)
	}
}

// file writes a file and returns its path.
func (b *bench) file(name, content string) string {
	b.t.Helper()
	path := filepath.Join(b.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
