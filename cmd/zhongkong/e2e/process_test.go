//go:build unix

package e2e_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logtest"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/referencetest"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

const (
	appID  = wechattest.DefaultAppID
	secret = wechattest.DefaultSecret
)

// binary is the program under test, built by TestMain.
var binary string

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(serviceVariable) != "":
		os.Exit(service())
	case os.Getenv(memberVariable) != "":
		os.Exit(asMember())
	}
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "zhongkong-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "zhongkong")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", binary, "github.com/zhongkong/zhongkong/cmd/zhongkong")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as the image is built: its packages are in the cache
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// fleet is what the processes of a test share.
type fleet struct {
	t      *testing.T
	redis  *redistest.Server
	wechat *wechattest.Server
	binary string // the program that is started
	env    map[string]string
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, redis: redistest.Start(t), wechat: wechattest.New(wechattest.Config{}), binary: binary}
	f.env = map[string]string{
		"PATH":                os.Getenv("PATH"),
		"ZHONGKONG_REDIS":     f.redis.URL(),
		"ZHONGKONG_PREFIX":    "zk" + rand.Text()[:6],
		"ZHONGKONG_APPID":     appID,
		"ZHONGKONG_SECRET":    secret,
		"ZHONGKONG_API_BASE":  f.wechat.Start(t),
		"ZHONGKONG_LISTEN":    "127.0.0.1:0",
		"ZHONGKONG_USERS":     "ops:a-password-for-tests",
		"ZHONGKONG_LOG_LEVEL": "debug",
	}
	f.t.Cleanup(f.keysAreListed)
	return f
}

// with returns a copy of the fleet with another environment.
func (f *fleet) with(pairs ...string) *fleet {
	c := *f
	c.env = maps.Clone(f.env)
	for i := 0; i < len(pairs); i += 2 {
		c.env[pairs[i]] = pairs[i+1]
	}
	return &c
}

// slow makes each call to the source take so long.
func (f *fleet) slow(d time.Duration) {
	f.t.Helper()
	if err := f.wechat.Tune(func(k *wechattest.Knobs) { k.Latency = d }); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) inject(fault wechattest.Fault) {
	f.t.Helper()
	if _, err := f.wechat.Inject(fault); err != nil {
		f.t.Fatal(err)
	}
}

// calls is how often the source was asked.
func (f *fleet) calls() int { return len(f.wechat.Calls()) }

// lastIssued is the token that WeChat issued last.
func (f *fleet) lastIssued() string {
	issue, _ := f.wechat.LastIssued(appID)
	return issue.Token
}

// key is the name of a key of the account.
func (f *fleet) key(what string) string {
	return f.env["ZHONGKONG_PREFIX"] + ":{" + appID + "}:" + what
}

// stored is the token in Redis, "" if there is none or no Redis.
func (f *fleet) stored() string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	answer, _ := f.redis.Do(ctx, "HGET", f.key("token"), "access_token")
	token, _ := answer.(string)
	return token
}

// quiet reports that no call to the source is under way or unsettled.
func (f *fleet) quiet() bool {
	open := f.redis.MustDo(f.t, "ZCARD", f.key("attempts")).(int64)
	lock := f.redis.MustDo(f.t, "EXISTS", f.key("lock")).(int64)
	return open == 0 && lock == 0
}

// holder is the process that holds the lock.
func (f *fleet) holder(processes []*process) *process {
	f.t.Helper()
	var found *process
	f.eventually(10*time.Second, "a process to hold the lock", func() bool {
		value, _ := f.redis.MustDo(f.t, "GET", f.key("lock")).(string)
		for _, p := range processes {
			if strings.Contains(value, fmt.Sprintf(":%d-", p.cmd.Process.Pid)) {
				found = p
			}
		}
		return found != nil
	})
	return found
}

// eventually polls until ok and returns how long it took.
func (f *fleet) eventually(within time.Duration, what string, ok func() bool) time.Duration {
	f.t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > within {
			f.t.Fatalf("waited %v in vain for %s", within, what)
		}
		time.Sleep(3 * time.Millisecond)
	}
	return time.Since(began)
}

// process is a zhongkong that runs.
type process struct {
	f      *fleet
	cmd    *exec.Cmd
	stdout logtest.Buffer
	stderr logtest.Buffer
	done   chan struct{} // closed when it has ended
	url    string        // of a serve
}

func (f *fleet) start(args ...string) *process {
	f.t.Helper()
	return f.startWith(nil, args...)
}

// startWith is start with a standard input.
func (f *fleet) startWith(stdin io.Reader, args ...string) *process {
	f.t.Helper()
	cmd := exec.Command(f.binary, args...)
	cmd.Stdin = stdin
	return f.launch(cmd)
}

// launch starts a command, whose output is kept unless it goes elsewhere.
func (f *fleet) launch(cmd *exec.Cmd) *process {
	f.t.Helper()
	p := &process{f: f, cmd: cmd, done: make(chan struct{})}
	p.cmd.Env = []string{}
	for name, value := range f.env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	if p.cmd.Stdout == nil {
		p.cmd.Stdout = &p.stdout
	}
	if p.cmd.Stderr == nil {
		p.cmd.Stderr = &p.stderr
	}
	if err := p.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	go func() { // ends with the process; the cleanup waits for it
		_ = p.cmd.Wait()
		close(p.done)
	}()
	f.t.Cleanup(func() {
		p.signal(syscall.SIGKILL) // also one that is stopped
		<-p.done
		p.keepsSecrets()
	})
	return p
}

// run runs a command to its end.
func (f *fleet) run(args ...string) *process {
	f.t.Helper()
	p := f.start(args...)
	<-p.done
	return p
}

// serve starts n daemons and waits until each answers.
func (f *fleet) serve(n int, args ...string) []*process {
	f.t.Helper()
	var all []*process
	for range n {
		all = append(all, f.start(append([]string{"serve"}, args...)...))
	}
	announced := regexp.MustCompile(`zhongkong: (http://\S+),`)
	for _, p := range all {
		f.eventually(10*time.Second, "serve to say where it is", func() bool {
			if found := announced.FindStringSubmatch(p.stderr.String()); found != nil {
				p.url = found[1]
			}
			if p.ended() {
				f.t.Fatalf("serve ended:\n%s", p.stderr.String())
			}
			return p.url != ""
		})
	}
	return all
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

func (p *process) code() int { return p.cmd.ProcessState.ExitCode() }

func (p *process) token() string { return strings.TrimSpace(p.stdout.String()) }

// generation is the one of the token that a daemon has in memory, 0 for none.
func (p *process) generation() uint64 {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequest(http.MethodGet, p.url+"/metrics", http.NoBody)
	if err != nil {
		return 0
	}
	req.SetBasicAuth("ops", "a-password-for-tests")
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	found := regexp.MustCompile(`(?m)^zhongkong_token_generation\{.*\} (\S+)$`).FindSubmatch(body)
	if found == nil {
		return 0
	}
	v, _ := strconv.ParseFloat(string(found[1]), 64)
	return uint64(v)
}

// keepsSecrets looks for what may be in no log.
func (p *process) keepsSecrets() {
	p.f.t.Helper()
	said := p.stderr.String()
	if s := p.f.env["ZHONGKONG_SECRET"]; s != "" && strings.Contains(said, s) {
		p.f.t.Errorf("%v says the secret:\n%s", p.cmd.Args[1:], said)
	}
	for _, issue := range p.f.wechat.Issued() {
		if strings.Contains(said, issue.Token) {
			p.f.t.Errorf("%v says a token:\n%s", p.cmd.Args[1:], said)
		}
	}
}

// keysAreListed compares what the processes have left in Redis with the page of keys.
func (f *fleet) keysAreListed() {
	ctx := context.Background() // the test's own has ended
	client := f.redis.Client()
	defer client.Close()
	if client.Ping(ctx).Err() == nil { // the test may have ended it
		referencetest.ReadKeys(f.t, "../docs/reference/keys.md").Compare(ctx, f.t, client, f.env["ZHONGKONG_PREFIX"])
	}
}

// keysKeepSecrets looks for tokens and secrets in every key but the token's.
func (f *fleet) keysKeepSecrets() {
	f.t.Helper()
	client := f.redis.Client()
	defer client.Close()
	ctx := context.Background()
	keys, err := client.Keys(ctx, "*").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, key := range keys {
		var content any
		var err error
		switch kind := client.Type(ctx, key).Val(); {
		case strings.HasSuffix(key, ":token"):
			continue
		case kind == "hash":
			content, err = client.HGetAll(ctx, key).Result()
		case kind == "zset":
			content, err = client.ZRangeWithScores(ctx, key, 0, -1).Result()
		case kind == "stream":
			content, err = client.XRange(ctx, key, "-", "+").Result()
		case kind == "string":
			content, err = client.Get(ctx, key).Result()
		default:
			err = errors.New("an unexpected type: " + kind)
		}
		if err != nil {
			f.t.Errorf("%s: %v", key, err)
		}
		text := fmt.Sprint(content)
		if strings.Contains(text, secret) {
			f.t.Errorf("%s holds the secret", key)
		}
		for _, issue := range f.wechat.Issued() {
			if strings.Contains(text, issue.Token) {
				f.t.Errorf("%s holds a token", key)
			}
		}
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
