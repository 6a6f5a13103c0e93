package sdktest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

const page = "../../cmd/zhongkong/docs/sdks.md"

// blocks returns the code blocks of a language on the page about SDKs.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	return blocksOf(t, page, language)
}

// blocksOf returns the code blocks of a language on a page.
func blocksOf(t *testing.T, page, language string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(text), "\n```"+language+"\n")[1:] {
		code, _, closed := strings.Cut(part, "\n```")
		if !closed {
			t.Fatalf("%s: a code block is not closed", page)
		}
		all = append(all, code+"\n")
	}
	if len(all) == 0 {
		t.Fatalf("%s has no code blocks of %s", page, language)
	}
	return all
}

// documented is an example of the page. How it begins tells it from the others.
type documented struct {
	begins   string
	call     string // makes a call in JavaScript
	route    bool
	survives bool // also a token that dies and is not reported by anything else
}

func documentedExamples() []documented {
	getIP := "() => api.getIp()"
	return []documented{
		{"// co-wechat-api\n", getIP, true, true},
		{"// wechat-api\n", "() => callback((back) => api.getIp(back))", true, true},
		{"// node-easywechat\n", `async () => checked((await app.getClient().request("get", "/cgi-bin/getcallbackip")).toObject())`, true, true},
		{"// nest-wechat", "async () => checked(await service.getJSApiTicket())", true, true},
		{"// wechat-jssdk\n", "() => jssdk.getGlobalTokenAndTicket(true)", true, true},
		{"// co-wechat-api, hook", `(api.prefix = "WECHAT/cgi-bin/", ` + getIP + `)`, false, true},
		{"// wechat-api, hook", `(api.endpoint = "WECHAT", () => callback((back) => api.getIp(back)))`, false, false},
		{"// node-easywechat, hook", `(app.getHttpClient().getInstance().defaults.baseURL = "WECHAT", ` +
			`async () => checked((await app.getClient().request("get", "/cgi-bin/getcallbackip")).toObject()))`, false, false},
		{exampleModifier, "", true, true},
		{exampleRoute, "", true, true},
		{exampleLinked, "", false, true},
	}
}

// runningExample is an example at work, with an account to itself.
type runningExample struct {
	documented
	account
	driver *driver
}

func (e *runningExample) do() error { return e.driver.do(request{Op: "call", Session: "example"}) }

func TestTheExamplesOfThePageWork(t *testing.T) {
	var all []*runningExample
	var accounts []account
	for i, one := range documentedExamples() {
		a := account{fmt.Sprintf("wx%016x", i), fmt.Sprintf("example%d", i)}
		accounts = append(accounts, a)
		all = append(all, &runningExample{documented: one, account: a})
	}
	s := newStack(t, accounts)
	each := func(when string, do func(*runningExample) error) {
		var group sync.WaitGroup
		for _, e := range all {
			group.Go(func() {
				if err := do(e); err != nil {
					t.Errorf("%s: %s: %v", strings.TrimSpace(e.begins), when, err)
				}
			})
		}
		group.Wait()
	}
	for _, e := range all {
		e.driver = startDriver(t, e.language())
	}
	each("open", func(e *runningExample) error { return e.driver.do(e.opened(s)) })
	each("a call", (*runningExample).do)
	t.Run("Python", s.python)
	t.Run("TLS", s.underWeChatsName)
	s.eventually("the tokens to be old enough", func() bool { return time.Since(s.record(accounts[0].appID).IssuedAt) > 2*time.Second })
	s.forceAll(accounts)
	s.advance("5m1s")
	each("a call after a forced refresh", (*runningExample).do)
	for _, a := range accounts {
		s.kill(a.appID)
	}
	each("a call after the token died", func(e *runningExample) error {
		if !e.survives {
			return nil
		}
		return e.do()
	})
}

func (e *runningExample) language() string {
	if e.call == "" {
		return "Go"
	}
	return "JavaScript"
}

// opened is the request that opens an example.
func (e *runningExample) opened(s *stack) request {
	r := request{
		Op: "open", Session: "example", SDK: e.begins, Base: s.routes[e.account.route], AppID: e.appID, Secret: caller + "~" + key, Redis: s.redis,
	}
	if !e.documented.route {
		r.Base = s.wechat
	}
	if e.call == "" {
		return r
	}
	r.SDK = "example"
	for _, code := range blocks(s.t, "js") {
		if strings.HasPrefix(code, e.begins) {
			r.Code = s.real(code, e.account) + "return " + strings.ReplaceAll(e.call, "WECHAT", s.wechat) + ";\n"
		}
	}
	if r.Code == "" {
		s.t.Errorf("%s has no example that begins %q", page, e.begins)
	}
	return r
}

// real puts the addresses of a stack and an account into an example.
func (s *stack) real(code string, a account) string {
	return strings.NewReplacer(
		"wx8acdb7df5beb68fd", a.appID, "http://127.0.0.1:8090", s.routes[a.route], "http://127.0.0.1:8080", s.zhongkong,
		"NAME~PASSWORD", caller+"~"+key, "NAME:PASSWORD", caller+":"+key, `"NAME", "PASSWORD"`, `"`+caller+`", "`+key+`"`,
	).Replace(code)
}

// TestTheHookReportsTheTokenOfTheCallThatFailed has two calls side by side, one of them with
// a token that is no longer current: to report the other's would replace a good one.
func TestTheHookReportsTheTokenOfTheCallThatFailed(t *testing.T) {
	a := account{"wx0000000000000000", "example0"}
	s := newStack(t, []account{a})
	e := &runningExample{account: a, driver: startDriver(t, "JavaScript"), documented: documented{
		begins: "// co-wechat-api, hook",
		call: `(api.prefix = "WECHAT/cgi-bin/", async () => {
			await api.ensureAccessToken();
			await Promise.all([api.getIp(), api.request(api.prefix + "getcallbackip?access_token=dead")]);
		})`,
	}}
	before := s.issued(a.appID)
	if err := e.driver.do(e.opened(s)); err != nil {
		t.Fatal(err)
	}
	if err := e.do(); err != nil {
		t.Error(err)
	}
	if n := s.issued(a.appID) - before; n != 0 {
		t.Errorf("%d refreshes of a token that nobody rejected", n)
	}
	refused := e.opened(s)
	refused.Code = strings.ReplaceAll(refused.Code, key, "wrong")
	if err := e.driver.do(refused); err != nil {
		t.Fatal(err)
	}
	if err := e.do(); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("an answer without a token: %v, want an error that says its status", err)
	}
}

// TestTheNginxOfThePageKeepsSecretsAndPassesUploads: what it logs is looked at when it ends.
func TestTheNginxOfThePageKeepsSecretsAndPassesUploads(t *testing.T) {
	s := &stack{t: t, dir: t.TempDir(), zhongkong: "http://" + freeAddress(t), wechat: "http://" + freeAddress(t)}
	nginx := s.startNginx()
	for path, size := range map[string]int{"/cgi-bin/token?secret=" + key: 0, "/cgi-bin/media/upload?access_token=" + key: 2 << 20} {
		if code, _ := s.ask(http.MethodPost, nginx+path, strings.Repeat("a", size)); code != http.StatusBadGateway {
			t.Errorf("%d bytes: status %d, want 502", size, code)
		}
	}
}

func (s *stack) python(t *testing.T) {
	for _, code := range blocks(t, "python") {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		text := s.real(code, account{"wx0000000000000000", "example0"}) + "assert answer['ip_list'], answer\n"
		if out, err := exec.CommandContext(ctx, "/usr/bin/python3", "-c", text).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

// underWeChatsName tests a route that has WeChat's name and a certificate of the page.
func (s *stack) underWeChatsName(t *testing.T) {
	made := exec.Command("bash", "-e", "-c", blocks(t, "sh")[0])
	made.Dir = s.dir
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	daemon := s.start("serve", []string{"ZHONGKONG_API_BASE=" + s.wechat}, "--config", filepath.Join(s.dir, "zhongkong.yaml"),
		"serve", "--listen", "127.0.0.1:0", "--tls-cert", filepath.Join(s.dir, "weixin.pem"), "--tls-key", filepath.Join(s.dir, "weixin.key"))
	route := daemon.said(t, regexp.MustCompile(`^Route example0: \S+ and https://(\S+), with`))[1]
	ask := func(path string) string {
		out, err := exec.Command("curl", "-sS", "--max-time", "20", "--cacert", filepath.Join(s.dir, "trusted.pem"),
			"--connect-to", "api.weixin.qq.com:443:"+route, "https://api.weixin.qq.com"+path).Output()
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return string(out)
	}
	token := regexp.MustCompile(`"access_token":"([^"]+)"`).FindStringSubmatch(
		ask("/cgi-bin/token?grant_type=client_credential&appid=wx0000000000000000&secret=" + caller + "~" + key))
	if token == nil {
		t.Fatal("the route gives no token")
	}
	if got := ask("/cgi-bin/getcallbackip?access_token=" + token[1]); !strings.Contains(got, "ip_list") {
		t.Errorf("a call: %s", got)
	}
}

// TestTheGoOfThePageIsWhatRuns compares the page with examples_test.go.
func TestTheGoOfThePageIsWhatRuns(t *testing.T) {
	text, err := os.ReadFile("examples_test.go")
	if err != nil {
		t.Fatal(err)
	}
	plain := func(code string) string { return regexp.MustCompile(`(?m)^\s+|\n+$`).ReplaceAllString(code, "") }
	for _, code := range blocks(t, "go") {
		if !strings.Contains(plain(string(text)), plain(code)) {
			t.Errorf("examples_test.go does not have\n%s", code)
		}
	}
}
