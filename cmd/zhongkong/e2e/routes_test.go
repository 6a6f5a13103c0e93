//go:build unix

package e2e_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// routed starts n servers with a route and a caller who gets phantoms.
func (f *fleet) routed(n int) []*process {
	f.t.Helper()
	hash, err := auth.Hash("veil-password")
	if err != nil {
		f.t.Fatal(err)
	}
	file := filepath.Join(f.t.TempDir(), "zk.yaml")
	writeFile(f.t, file, "appid: "+appID+"\nusers:\n  - {name: veil, password: '"+hash+"', accounts: '*', phantom: true}\n"+
		"routes:\n  - {name: wx, account: "+appID+", listen: '127.0.0.1:0'}\n")
	return f.with("ZHONGKONG_CONFIG", file, "ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", secret).serve(n)
}

func (p *process) get(url string) string {
	p.f.t.Helper()
	name, password := "", ""
	if strings.HasSuffix(url, "/metrics") {
		name, password = "ops", "a-password-for-tests"
	}
	return p.do(http.MethodGet, url, "", name, password)
}

func (p *process) do(method, url, form, name, password string) string {
	p.f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(form))
	if err != nil {
		p.f.t.Fatal(err)
	}
	if form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if name != "" {
		req.SetBasicAuth(name, password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.f.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.f.t.Fatal(err)
	}
	return string(body)
}

var accessToken = regexp.MustCompile(`"access_token":"([^"]+)"`)

// ask asks for a token at a base URL as an SDK does.
func (p *process) ask(base, key string) string {
	p.f.t.Helper()
	body := p.get(base + "/cgi-bin/token?grant_type=client_credential&appid=" + appID + "&secret=" + key)
	found := accessToken.FindStringSubmatch(body)
	if found == nil {
		p.f.t.Fatalf("no token: %s", body)
	}
	return found[1]
}

const business = "/cgi-bin/getcallbackip?access_token="

func (p *process) mustCall(base, token string) {
	p.f.t.Helper()
	if body := p.get(base + business + token); !strings.Contains(body, "ip_list") {
		p.f.t.Errorf("the call failed: %s", body)
	}
}

func TestCallsThroughARouteSurviveTheTokensDeath(t *testing.T) {
	f := newFleet(t)
	p := f.routed(1)[0]
	base := p.url + "/proxy/wx"
	token := p.ask(base, "ops~a-password-for-tests")
	if token != f.lastIssued() {
		t.Error("a caller without phantoms got something else than the token")
	}
	p.mustCall(base, token)
	own := regexp.MustCompile(`and (http://\S+), with`).FindStringSubmatch(p.stderr.String())
	if own == nil {
		t.Fatalf("the address of the route is not announced:\n%s", p.stderr.String())
	}
	p.mustCall(own[1], token)

	generation := p.generation()
	p.forceRefresh()
	f.eventually(10*time.Second, "the forced refresh", func() bool { return p.generation() > generation })
	f.wechat.Advance(6 * time.Minute) // the overlap is over
	if f.wechat.Accepts(token, f.wechat.Now()) {
		t.Fatal("the first token still lives")
	}
	p.mustCall(base, token)

	if _, ok := f.wechat.KillEarly(appID, wechattest.ClassicChain); !ok {
		t.Fatal("there was no token to kill")
	}
	p.mustCall(own[1], token)
	p.mustCall(base, f.lastIssued())
	if body := p.get(base + business + "no-token-of-ours"); !strings.Contains(body, `"errcode":40001`) {
		t.Errorf("a token that the server does not know: %s", body)
	}
	wrongKey := base + "/cgi-bin/token?grant_type=client_credential&appid=" + appID + "&secret=ops~wrong"
	if body := p.get(wrongKey); !strings.Contains(body, `"errcode":`) {
		t.Errorf("a wrong key: %s", body)
	}
	cured := `zhongkong_route_rejected_tokens_total{account="` + appID + `",route="wx",step="cured"} 1`
	if metrics := p.get(p.url + "/metrics"); !strings.Contains(metrics, cured) {
		t.Errorf("the metrics have no cured call:\n%s", metrics)
	}
	p.signal(syscall.SIGTERM)
	f.eventually(20*time.Second, "serve to end", p.ended)
	if p.code() != 0 {
		t.Errorf("serve ended with %d:\n%s", p.code(), p.stderr.String())
	}
}

func TestAPhantomStandsForTheTokenOnAllServers(t *testing.T) {
	f := newFleet(t)
	servers := f.routed(2)
	phantom := servers[0].ask(servers[0].url+"/proxy/wx", "veil~veil-password")
	for _, p := range servers {
		p.mustCall(p.url+"/proxy/wx", phantom)
		if again := p.ask(p.url, "veil~veil-password"); !strings.HasPrefix(again, "zk_") {
			t.Error("the drop-in gave a caller of phantoms something else")
		}
		for _, path := range []string{"/v1/tokens/" + appID, "/GetToken"} {
			body := p.asVeil(path)
			if !strings.Contains(body, "zk_") || strings.Contains(body, f.lastIssued()) {
				t.Errorf("%s gave no phantom, or a token", path)
			}
		}
		forged := phantom[:len(phantom)-5] + map[bool]string{true: "B", false: "A"}[phantom[len(phantom)-5] == 'A'] + phantom[len(phantom)-4:]
		if body := p.get(p.url + "/proxy/wx" + business + forged); !strings.Contains(body, `"errcode":40001`) {
			t.Errorf("a forged phantom: %s", body)
		}
	}
	if f.wechat.Accepts(phantom, f.wechat.Now()) {
		t.Error("WeChat accepts the phantom")
	}
}

func TestLoginThroughARouteGetsTheAppSecret(t *testing.T) {
	f := newFleet(t)
	weChat := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/sns/jscode2session" {
			f.wechat.ServeHTTP(w, r)
			return
		}
		q := r.URL.Query()
		if q.Get("secret") != secret || q.Get("appid") != appID || q.Get("js_code") != "c0de" || r.Header.Get("Authorization") != "" {
			_, _ = io.WriteString(w, `{"errcode":40125,"errmsg":"invalid appsecret"}`)
			return
		}
		_, _ = io.WriteString(w, `{"openid":"o1","session_key":"k1"}`)
	}))
	t.Cleanup(weChat.Close)
	p := f.with("ZHONGKONG_API_BASE", weChat.URL).routed(1)[0]
	for _, base := range []string{p.url + "/proxy/wx", p.url} {
		p.logsIn(base + "/sns/jscode2session?grant_type=authorization_code&js_code=c0de&appid=" + appID + "&secret=")
	}
	counted := `zhongkong_route_calls_total{account="` + appID + `",result="login",route="/"} 2`
	if metrics := p.get(p.url + "/metrics"); !strings.Contains(metrics, counted) {
		t.Errorf("the metrics have no login at the root:\n%s", metrics)
	}
	if body := p.get(p.url + "/sns/jscode2session?js_code=c0de&appid=wxother&secret=veil~veil-password"); strings.Contains(body, "openid") {
		t.Errorf("login to an account that is not configured: %s", body)
	}
}

func (p *process) logsIn(login string) {
	t := p.f.t
	t.Helper()
	if body := p.get(login + "veil~veil-password"); !strings.Contains(body, `"openid":"o1"`) {
		t.Errorf("login: %s", body)
	}
	if body := p.get(login + "veil~wrong"); strings.Contains(body, "openid") || !strings.Contains(body, `"errcode"`) {
		t.Errorf("login with a wrong key: %s", body)
	}
}

func (p *process) forceRefresh() {
	p.f.t.Helper()
	p.do(http.MethodPost, p.url+"/v1/tokens/"+appID+"/refresh", "", "ops", "a-password-for-tests")
}

// asVeil asks an endpoint for a token as the caller who gets phantoms.
func (p *process) asVeil(path string) string {
	p.f.t.Helper()
	if path == "/GetToken" {
		return p.do(http.MethodPost, p.url+path, "name=veil&password=veil-password&appid="+appID, "", "")
	}
	return p.do(http.MethodGet, p.url+path, "", "veil", "veil-password")
}

func TestNothingThatARoutesUpstreamSendsUnaskedReachesTheLog(t *testing.T) {
	f := newFleet(t)
	weChat := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/sns/jscode2session" && r.URL.Path != "/cgi-bin/echo" {
			f.wechat.ServeHTTP(w, r)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n"+r.URL.RawQuery)
		t.Cleanup(func() { _ = conn.Close() })
	}))
	t.Cleanup(weChat.Close)
	p := f.with("ZHONGKONG_API_BASE", weChat.URL).routed(1)[0]
	token := p.ask(p.url, "ops~a-password-for-tests")
	p.get(p.url + "/proxy/wx/cgi-bin/echo?access_token=" + token)
	p.get(p.url + "/sns/jscode2session?js_code=c0de&appid=" + appID + "&secret=veil~veil-password")
	f.eventually(10*time.Second, "both to be logged", func() bool {
		return strings.Count(p.stderr.String(), "bytes that no request asked for") == 2
	})
	for _, hidden := range []string{token, secret, "access_token=", "Unsolicited"} {
		if strings.Contains(p.stderr.String()+p.stdout.String(), hidden) {
			t.Errorf("the output shows %s:\n%s", hidden, p.stderr.String())
		}
	}
}
