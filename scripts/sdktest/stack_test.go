package sdktest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	appSecret = "5a4d3b0cf1d84e6fb2976d1c80e3a94f" // of all accounts; no client gets it
	caller    = "sdk"
	veiled    = "veil" // a caller that gets phantoms
	key       = "Kq8vXw2nRt5yBz7mHc4jLd9f"
)

// binary is zhongkong, built by TestMain.
var binary string

// stack is zhongkong in front of the simulator, with an nginx beside it that sends
// requests for tokens to zhongkong and all others to the simulator.
type stack struct {
	t                        *testing.T
	dir                      string
	redis                    string
	zhongkong, wechat, nginx string            // base URLs
	routes                   map[string]string // by name: the base URL of the route's own address
	stopRedis                func()
}

// account is an account that a client has to itself.
type account struct {
	appID string
	route string // "" for none
}

func newStack(t *testing.T, accounts []account) *stack {
	t.Helper()
	s := &stack{t: t, dir: t.TempDir(), routes: map[string]string{}}
	s.redis, s.stopRedis = startRedis(t)
	file := filepath.Join(s.dir, "zhongkong.yaml")
	if err := os.WriteFile(file, []byte(configuration(t, s.redis, accounts)), 0o600); err != nil {
		t.Fatal(err)
	}
	simulator := s.start("sandbox", nil, "--config", file, "sandbox", "--listen", "127.0.0.1:0")
	s.wechat = simulator.said(t, regexp.MustCompile(`simulator at (http://[^,\s]+)`))[1]
	daemon := s.start("serve", []string{"ZHONGKONG_API_BASE=" + s.wechat}, "--config", file, "serve", "--listen", "127.0.0.1:0")
	s.zhongkong = daemon.said(t, regexp.MustCompile(`^zhongkong: (http://[^,]+),`))[1]
	for _, a := range accounts {
		if a.route != "" {
			s.routes[a.route] = daemon.said(t, regexp.MustCompile(`^Route `+a.route+`: \S+ and (http://\S+), with`))[1]
		}
	}
	s.nginx = s.startNginx()
	s.eventually("a token for every account", func() bool {
		code, _ := s.ask(http.MethodGet, s.zhongkong+"/readyz?all", "")
		return code == http.StatusOK
	})
	return s
}

func configuration(t *testing.T, redis string, accounts []account) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "redis: redis://%s\nusers:\n", redis)
	for _, name := range []string{caller, veiled} {
		fmt.Fprintf(&b, "  - {name: %s, password: '%s', accounts: '*', refresh: true, phantom: %v}\n", name, hash(t, key), name == veiled)
	}
	b.WriteString("accounts:\n")
	for _, a := range accounts {
		fmt.Fprintf(&b, "  - {name: %s, secret: %s}\n", a.appID, appSecret)
	}
	b.WriteString("routes:\n")
	for _, a := range accounts {
		if a.route != "" {
			fmt.Fprintf(&b, "  - {name: %s, account: %s, listen: '127.0.0.1:0'}\n", a.route, a.appID)
		}
	}
	return b.String()
}

// hash is what zhongkong passwd makes of a password.
func hash(t *testing.T, password string) string {
	t.Helper()
	c := exec.Command(binary, "passwd")
	c.Stdin = strings.NewReader(password)
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// process is one that runs, with the lines that it has written to stderr.
type process struct {
	name  string
	mu    sync.Mutex
	lines []string // guarded by mu
	ended bool     // guarded by mu
}

// start starts zhongkong. It ends with the test.
func (s *stack) start(name string, env []string, args ...string) *process {
	s.t.Helper()
	c := exec.Command(binary, args...)
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir}, env...)
	p := &process{name: name}
	stderr, err := c.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	read := make(chan struct{})
	go func() { // ends with the process
		defer close(read)
		p.read(stderr)
	}()
	s.t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		<-read
		_ = c.Wait()
		p.keepsSecrets(s.t)
	})
	return p
}

func (p *process) read(stderr io.Reader) {
	in := bufio.NewScanner(stderr)
	for in.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, in.Text())
		p.mu.Unlock()
	}
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
}

// said waits for a line of the process and returns its parts.
func (p *process) said(t *testing.T, line *regexp.Regexp) []string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		lines, ended := p.lines, p.ended
		p.mu.Unlock()
		for _, one := range lines {
			if found := line.FindStringSubmatch(one); found != nil {
				return found
			}
		}
		if ended {
			break
		}
	}
	t.Fatalf("%s does not say %s:\n%s", p.name, line, strings.Join(p.lines, "\n"))
	return nil
}

func (p *process) keepsSecrets(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, secret := range []string{appSecret, key} {
		if strings.Contains(strings.Join(p.lines, "\n"), secret) {
			t.Errorf("%s writes a secret to its log", p.name)
		}
	}
}

// startRedis starts a redis-server. It returns its address, and a function that ends it.
func startRedis(t *testing.T) (address string, stop func()) {
	t.Helper()
	address = freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	server := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir())
	if err := server.Start(); err != nil {
		t.Fatalf("redis-server: %v; scripts/install installs it", err)
	}
	stop = sync.OnceFunc(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	t.Cleanup(stop)
	awaitPort(t, "redis-server", address)
	return address, stop
}

// startNginx starts nginx with the lines of the documentation. It returns its base URL.
func (s *stack) startNginx() string {
	s.t.Helper()
	address := freeAddress(s.t)
	lines := blocks(s.t, "nginx")[0]
	for from, to := range map[string]string{
		"127.0.0.1:8081":                           address,
		"127.0.0.1:8080":                           strings.TrimPrefix(s.zhongkong, "http://"),
		"https://api.weixin.qq.com":                s.wechat,
		"proxy_set_header Host api.weixin.qq.com;": "",
		"/var/log/nginx/error.log":                 filepath.Join(s.dir, "error.log"),
	} {
		if !strings.Contains(lines, from) {
			s.t.Fatalf("the nginx lines in the documentation have no %s", from)
		}
		lines = strings.ReplaceAll(lines, from, to)
	}
	file := filepath.Join(s.dir, "nginx.conf")
	temporary := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temporary += kind + "_temp_path " + filepath.Join(s.dir, kind) + ";\n"
	}
	// user: as root it would take another, who may not write to the test's directory.
	text := "daemon off; worker_processes 1; pid nginx.pid; user root;\nevents {}\nhttp {\n" + temporary + lines + "}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	path, err := exec.LookPath("nginx")
	if err != nil {
		path = "/usr/sbin/nginx" // not in the PATH of all users
	}
	server := exec.Command(path, "-p", s.dir, "-e", "stderr", "-c", file)
	var said bytes.Buffer
	server.Stderr = &said
	if err := server.Start(); err != nil {
		s.t.Fatalf("nginx: %v; scripts/install installs it", err)
	}
	s.t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		_ = server.Wait()
		logged, err := os.ReadFile(filepath.Join(s.dir, "error.log"))
		if err != nil || strings.Contains(said.String()+string(logged), key) {
			s.t.Errorf("nginx writes a secret to its log, or has none: %v", err)
		}
	})
	awaitPort(s.t, "nginx", address)
	return "http://" + address
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func awaitPort(t *testing.T, name, address string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return
		}
	}
	t.Fatalf("%s does not accept connections", name)
}

// ask makes a request as the caller, and returns status and body.
func (s *stack) ask(method, url, body string) (code int, answer []byte) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.SetBasicAuth(caller, key)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, answer
}

// must is ask for what has to be answered with 200.
func (s *stack) must(method, url, body string) []byte {
	s.t.Helper()
	code, answer := s.ask(method, url, body)
	if code != http.StatusOK {
		s.t.Fatalf("%s %s: %d %s", method, url, code, answer)
	}
	return answer
}

// record is what zhongkong says of an account's token.
type record struct {
	AccessToken string    `json:"access_token"`
	IssuedAt    time.Time `json:"issued_at"`
	Stale       bool      `json:"stale"`
}

func (s *stack) record(appID string) (r record) {
	s.t.Helper()
	if err := json.Unmarshal(s.must(http.MethodGet, s.zhongkong+"/v1/tokens/"+appID, ""), &r); err != nil {
		s.t.Fatal(err)
	}
	return r
}

// refresh forces a refresh.
func (s *stack) refresh(appID string) {
	s.t.Helper()
	s.must(http.MethodPost, s.zhongkong+"/v1/tokens/"+appID+"/refresh", "")
}

// kill makes WeChat invalidate the current token at once.
func (s *stack) kill(appID string) {
	s.t.Helper()
	s.must(http.MethodPost, s.wechat+"/sandbox/accounts/"+appID+"/kill", "{}")
}

// issued is how many tokens of an account WeChat has issued.
func (s *stack) issued(appID string) int {
	s.t.Helper()
	var all []struct {
		Chain string `json:"chain"`
	}
	if err := json.Unmarshal(s.must(http.MethodGet, s.wechat+"/sandbox/issued?appid="+appID, ""), &all); err != nil {
		s.t.Fatal(err)
	}
	tokens := 0
	for _, issue := range all { // tickets are among them
		if strings.HasSuffix(issue.Chain, "token") {
			tokens++
		}
	}
	return tokens
}

// advance puts WeChat's clock forward.
func (s *stack) advance(by string) {
	s.t.Helper()
	s.must(http.MethodPost, s.wechat+"/sandbox/clock", `{"advance":"`+by+`"}`)
}

func (s *stack) eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// from returns the address of a relay to zhongkong whose connections come from another
// loopback address: wrong passwords slow down all callers of one address.
func (s *stack) from(source int, base string) string {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = l.Close() })
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(source))}}
	go func() { // ends with the listener
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection
				defer in.Close()
				out, err := dialer.Dial("tcp", strings.TrimPrefix(base, "http://"))
				if err != nil {
					return
				}
				defer out.Close()
				go func() { // ends with the connection
					_, _ = io.Copy(out, in)
					_ = out.(*net.TCPConn).CloseWrite()
				}()
				_, _ = io.Copy(in, out)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// forceAll replaces the tokens of all accounts. No second refresh of an account is
// made within a second of the one before it.
func (s *stack) forceAll(accounts []account) {
	s.t.Helper()
	for _, a := range accounts {
		before := s.record(a.appID).AccessToken
		s.eventually("a forced refresh", func() bool {
			code, _ := s.ask(http.MethodPost, s.zhongkong+"/v1/tokens/"+a.appID+"/refresh", "")
			return code == http.StatusOK && s.record(a.appID).AccessToken != before
		})
	}
}
