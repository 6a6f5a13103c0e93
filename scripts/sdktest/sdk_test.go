// Package sdktest tests that published WeChat SDKs get their token from Zhongkong and
// call the simulator with it. It is a separate module, so that the product does not
// depend on the SDKs.
package sdktest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/silenceper/wechat/v2"
	"github.com/silenceper/wechat/v2/cache"
	"github.com/silenceper/wechat/v2/credential"
	"github.com/silenceper/wechat/v2/officialaccount"
	"github.com/silenceper/wechat/v2/officialaccount/config"
)

const (
	appID     = "wx8acdb7df5beb68fd"
	appSecret = "5a4d3b0cf1d84e6fb2976d1c80e3a94f" // of the simulator; no SDK gets it
	caller    = "sdk"
	key       = "a-key-of-the-sdk"
)

// setup is Zhongkong, the simulator, and a proxy in place of api.weixin.qq.com that sends
// requests for tokens to Zhongkong and all others to the simulator.
type setup struct {
	zhongkong, wechat *url.URL
	proxy             *httptest.Server

	mu    sync.Mutex
	asked []string // path and query of each request for a token
}

func newSetup(t *testing.T) *setup {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "zhongkong")
	if out, err := exec.Command("go", "build", "-C", "../..", "-o", bin, "./cmd/zhongkong").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	daemon := exec.Command(bin, "--redis", "redis://"+startRedis(t), "serve", "--sandbox", "--listen", "127.0.0.1:0")
	daemon.Env = append(os.Environ(), "ZHONGKONG_USERS="+caller+":"+key)
	stderr, err := daemon.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		_ = daemon.Wait()
	})
	w := &setup{}
	w.zhongkong, w.wechat = addresses(t, stderr)
	own, theirs := httputil.NewSingleHostReverseProxy(w.zhongkong), httputil.NewSingleHostReverseProxy(w.wechat)
	w.proxy = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cgi-bin/token" || r.URL.Path == "/cgi-bin/stable_token" {
			w.mu.Lock()
			w.asked = append(w.asked, r.URL.RequestURI())
			w.mu.Unlock()
			own.ServeHTTP(rw, r)
			return
		}
		theirs.ServeHTTP(rw, r)
	}))
	t.Cleanup(w.proxy.Close)
	return w
}

// startRedis starts a redis-server and returns its address.
func startRedis(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(addr)
	server := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir())
	if err := server.Start(); err != nil {
		t.Fatalf("redis-server: %v; scripts/install installs it", err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	for range 200 {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return addr
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("redis-server does not accept connections")
	return ""
}

// addresses reads the addresses of the daemon and its simulator from its output. It
// continues to read the output, so that the daemon never blocks on it.
func addresses(t *testing.T, said io.Reader) (zhongkong, wechat *url.URL) {
	t.Helper()
	in := bufio.NewScanner(said)
	own, theirs := regexp.MustCompile(`^zhongkong: (http://[^,]+),`), regexp.MustCompile(`simulator at (http://\S+)`)
	for (zhongkong == nil || wechat == nil) && in.Scan() {
		if found := own.FindStringSubmatch(in.Text()); found != nil {
			zhongkong, _ = url.Parse(found[1])
		}
		if found := theirs.FindStringSubmatch(in.Text()); found != nil {
			wechat, _ = url.Parse(found[1])
		}
	}
	if zhongkong == nil || wechat == nil {
		t.Fatal("serve did not print its addresses")
	}
	go func() { // ends with the daemon
		for in.Scan() {
		}
	}()
	return zhongkong, wechat
}

// current returns the token that Zhongkong serves.
func (w *setup) current(t *testing.T) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", w.zhongkong.String()+"/v1/tokens/"+appID, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(caller, key)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var record struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&record); err != nil || record.AccessToken == "" {
		t.Fatalf("%d %v", answer.StatusCode, err)
	}
	return record.AccessToken
}

// check checks that an SDK has Zhongkong's token, has made a call with it, and never sent
// the AppSecret.
func (w *setup) check(t *testing.T, token string, ips []string) {
	t.Helper()
	if want := w.current(t); token != want {
		t.Errorf("the SDK has the token %.10s..., want %.10s...", token, want)
	}
	if !slices.Contains(ips, "101.226.103.61") {
		t.Errorf("the business call brought %v", ips)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.asked) == 0 || strings.Contains(fmt.Sprint(w.asked), appSecret) {
		t.Errorf("it asked for tokens with %v", w.asked)
	}
}

// diverting sends requests for api.weixin.qq.com to the proxy.
type diverting struct{ to *url.URL }

func (d diverting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != "api.weixin.qq.com" {
		return nil, fmt.Errorf("a request for %s", r.URL.Host)
	}
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = d.to.Scheme, d.to.Host
	return http.DefaultTransport.RoundTrip(r)
}

func TestSilenceperForGo(t *testing.T) {
	w := newSetup(t)
	to, _ := url.Parse(w.proxy.URL)
	wc := wechat.NewWechat()
	wc.SetHTTPClient(&http.Client{Transport: diverting{to}})
	cfg := func() *config.Config {
		return &config.Config{AppID: appID, AppSecret: caller + ":" + key, Token: "x", Cache: cache.NewMemory()}
	}
	for name, account := range map[string]func() *officialaccount.OfficialAccount{
		"token": func() *officialaccount.OfficialAccount { return wc.GetOfficialAccount(cfg()) },
		"stable_token": func() *officialaccount.OfficialAccount {
			a := wc.GetOfficialAccount(cfg())
			a.SetAccessTokenHandle(credential.NewStableAccessToken(appID, caller+":"+key, "zk", cache.NewMemory()))
			return a
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := account()
			token, err := a.GetAccessToken()
			if err != nil {
				t.Fatal(err)
			}
			ips, err := a.GetBasic().GetCallbackIP()
			if err != nil {
				t.Fatal(err)
			}
			w.check(t, token, ips)
		})
	}
	t.Run("a wrong key is WeChat's error", func(t *testing.T) {
		wrong := cfg()
		wrong.AppSecret = caller + ":wrong"
		if _, err := wc.GetOfficialAccount(wrong).GetAccessToken(); err == nil || !strings.Contains(err.Error(), "40125") {
			t.Errorf("%v, want 40125", err)
		}
	})
}

func TestCoWechatAPIForNode(t *testing.T) {
	if _, err := os.Stat("node_modules/co-wechat-api"); err != nil {
		if out, err := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts").CombinedOutput(); err != nil {
			t.Fatalf("npm ci: %v; Node.js and npm are needed\n%s", err, out)
		}
	}
	w := newSetup(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	node := exec.CommandContext(ctx, "node", "sdk.js")
	node.Env = append(os.Environ(), "APPID="+appID, "SECRET="+caller+":"+key, "BASE="+w.proxy.URL)
	node.Stderr = os.Stderr
	out, err := node.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Token string   `json:"token"`
		IPs   []string `json:"ips"`
		Wrong int      `json:"wrong"`
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.check(t, got.Token, got.IPs)
	if got.Wrong != 40125 {
		t.Errorf("a wrong key is %d to it, want 40125", got.Wrong)
	}
}
