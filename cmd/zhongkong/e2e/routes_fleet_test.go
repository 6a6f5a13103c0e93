//go:build unix

package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

func TestAHundredCallsThroughTwoServersWithOneDeadTokenCauseOneRefresh(t *testing.T) {
	f := newFleet(t)
	servers := f.routed(2)
	token := servers[0].ask(servers[0].url, "ops~a-password-for-tests")
	f.eventually(10*time.Second, "both servers to have the token", func() bool {
		return servers[0].generation() != 0 && servers[0].generation() == servers[1].generation()
	})
	if _, ok := f.wechat.KillEarly(appID, wechattest.ClassicChain); !ok {
		t.Fatal("there was no token to kill")
	}
	before := len(f.wechat.Issued())
	var all sync.WaitGroup
	for i := range 100 {
		p := servers[i%2]
		all.Go(func() { p.mustCall(p.url+"/proxy/wx", token) })
	}
	all.Wait()
	if n := len(f.wechat.Issued()) - before; n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
}

func TestARouteServesWhileRedisIsAway(t *testing.T) {
	f := newFleet(t)
	p := f.routed(1)[0]
	base := p.url + "/proxy/wx"
	token, phantom := p.ask(base, "ops~a-password-for-tests"), p.ask(base, "veil~veil-password")
	f.redis.Kill()
	f.eventually(10*time.Second, "serve to miss Redis", func() bool {
		return strings.Contains(p.get(p.url+"/metrics"), "zhongkong_store_connected 0")
	})
	for range 3 {
		p.mustCall(base, token)
		p.mustCall(base, phantom)
	}
	// A token that dies now cannot be replaced: WeChat's answer passes, and soon.
	f.wechat.KillEarly(appID, wechattest.ClassicChain)
	began := time.Now()
	if body := p.get(base + business + token); !strings.Contains(body, `"errcode":40001`) || time.Since(began) > 15*time.Second {
		t.Errorf("a dead token without Redis, after %v: %s", time.Since(began), body)
	}
	f.redis.Restart(t)
	f.eventually(30*time.Second, "a call that is answered", func() bool {
		return strings.Contains(p.get(base+business+token), "ip_list")
	})
	p.mustCall(base, phantom)
}

// configured writes the configuration of one server with a route, and veil as said.
func (f *fleet) configured(file, veil string) {
	f.t.Helper()
	text := "appid: " + appID + "\nroutes:\n  - {name: wx, account: " + appID + "}\nusers:\n"
	hash, err := auth.Hash("ops-password")
	if err != nil {
		f.t.Fatal(err)
	}
	text += "  - {name: admin, password: '" + hash + "', accounts: '*'}\n"
	if veil != "" {
		text += "  - " + veil + "\n"
	}
	writeFile(f.t, file, text)
}

func TestAReloadTakesPhantomsAndCallersAway(t *testing.T) {
	f := newFleet(t)
	file := filepath.Join(t.TempDir(), "zk.yaml")
	hash, err := auth.Hash("veil-password")
	if err != nil {
		t.Fatal(err)
	}
	veil := func(phantom bool) string {
		return fmt.Sprintf("{name: veil, password: '%s', accounts: '*', phantom: %v}", hash, phantom)
	}
	f.configured(file, veil(true))
	p := f.with("ZHONGKONG_CONFIG", file, "ZHONGKONG_APPID", "").serve(1)[0]
	base, reloads := p.url+"/proxy/wx", 0
	reload := func(user string) {
		t.Helper()
		f.configured(file, user)
		p.signal(syscall.SIGHUP)
		reloads++
		f.eventually(10*time.Second, "the configuration to be read again", func() bool {
			return strings.Count(p.stderr.String(), "configuration read again") >= reloads
		})
	}
	phantom := p.ask(base, "veil~veil-password")
	p.mustCall(base, phantom)

	reload(veil(false)) // from now on it gets tokens; what it holds stays good, since its password is the same
	token := p.ask(base, "veil~veil-password")
	if token != f.lastIssued() {
		t.Error("a caller whose phantom: was taken away got no token")
	}
	p.mustCall(base, phantom)
	p.mustCall(base, token)

	reload(veil(true)) // back
	if again := p.ask(base, "veil~veil-password"); !strings.HasPrefix(again, "zk_") {
		t.Error("a caller whose phantom: was set got no phantom")
	}

	reload("") // removed
	for what, held := range map[string]string{"phantom": phantom, "token": token} {
		if body := p.get(base + business + held); !strings.Contains(body, `"errcode":40001`) {
			t.Errorf("the %s of a caller that was removed: %s", what, body)
		}
	}
	if body := p.get(base + "/cgi-bin/token?grant_type=client_credential&appid=" + appID + "&secret=veil~veil-password"); !strings.Contains(body, `"errcode":40125`) {
		t.Errorf("a caller that was removed asks for a token: %s", body)
	}
}

// raw sends to a server what is no request of net/http's, and returns what comes back.
func (p *process) raw(address, text string) string {
	p.f.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		p.f.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
	_, _ = io.WriteString(conn, text) // the server may have closed the connection before the end
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

func TestNoRequestSlipsThroughARouteOfServe(t *testing.T) {
	f := newFleet(t)
	var arrived sync.Map // paths
	weChat := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived.Store(r.URL.Path, true)
		f.wechat.ServeHTTP(w, r)
	}))
	t.Cleanup(weChat.Close)
	p := f.with("ZHONGKONG_API_BASE", weChat.URL).routed(1)[0]
	var own string // said after the address of the daemon
	f.eventually(10*time.Second, "serve to say where the route is", func() bool {
		if found := regexp.MustCompile(`and (http://\S+), with`).FindStringSubmatch(p.stderr.String()); found != nil {
			own = found[1]
		}
		return own != ""
	})
	token := p.ask(p.url, "ops~a-password-for-tests")
	const basic = "Authorization: Basic b3BzOmEtcGFzc3dvcmQtZm9yLXRlc3Rz\r\n"
	const head = " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + basic
	const second = "GET /cgi-bin/smuggled HTTP/1.1\r\nHost: x\r\n" + basic + "\r\n"
	long := strings.Repeat("a", 64<<10)
	for name, request := range map[string]string{
		"absolute form":                    "GET https://api.weixin.qq.com/cgi-bin/smuggled" + head + "\r\n",
		"absolute form of this server":     "GET http://x/proxy/wx/cgi-bin/smuggled" + head + "\r\n",
		"CONNECT":                          "CONNECT api.weixin.qq.com:443" + head + "\r\n",
		"CONNECT to a path":                "CONNECT /proxy/wx/cgi-bin/smuggled" + head + "\r\n",
		"userinfo":                         "GET http://a:b@x/proxy/wx/cgi-bin/smuggled" + head + "\r\n",
		"steps upwards":                    "GET /proxy/wx/a/../../wx/cgi-bin/smuggled" + head + "\r\n",
		"escaped steps":                    "GET /proxy/wx/%2e%2e/%2e%2e/cgi-bin/smuggled" + head + "\r\n",
		"twice escaped steps":              "GET /proxy/wx/%252e%252e/cgi-bin/smuggled" + head + "\r\n",
		"an escaped slash":                 "GET /proxy/wx%2fcgi-bin/smuggled" + head + "\r\n",
		"a path that is not one":           "GET proxy/wx/cgi-bin/smuggled" + head + "\r\n",
		"a backslash":                      "GET /proxy/wx\\cgi-bin\\smuggled" + head + "\r\n",
		"two lengths":                      "POST /proxy/wx/cgi-bin/smuggled" + head + "Content-Length: 0\r\nContent-Length: 1\r\n\r\na",
		"a length that is none":            "POST /proxy/wx/cgi-bin/smuggled" + head + "Content-Length: +1\r\n\r\na",
		"an unknown coding":                "POST /proxy/wx/cgi-bin/smuggled" + head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"two codings":                      "POST /proxy/wx/cgi-bin/smuggled" + head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a space before the colon":         "POST /proxy/wx/cgi-bin/smuggled" + head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"two hosts":                        "GET /proxy/wx/cgi-bin/smuggled HTTP/1.1\r\nHost: x\r\nHost: y\r\n" + basic + "\r\n",
		"no host":                          "GET /proxy/wx/cgi-bin/smuggled HTTP/1.1\r\n" + basic + "\r\n",
		"a control character":              "GET /proxy/wx/cgi-bin/smuggled" + head + "X-A: b\x00c\r\n\r\n",
		"a bare carriage return":           "GET /proxy/wx/cgi-bin/smuggled" + head + "X-A: b\rX-B: c\r\n\r\n",
		"two credentials":                  "GET /proxy/wx/cgi-bin/smuggled" + head + basic + "\r\n",
		"a WebSocket":                      "GET /proxy/wx/cgi-bin/smuggled" + head + "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
		"a page of another site":           "GET /proxy/wx/cgi-bin/smuggled" + head + "Origin: https://evil.test\r\n\r\n",
		"an endless name":                  "GET /proxy/" + long + "/cgi-bin/smuggled" + head + "\r\n",
		"an endless query":                 "GET /proxy/wx/cgi-bin/smuggled?a=" + long + head + "\r\n",
		"an endless header":                "GET /proxy/wx/cgi-bin/smuggled" + head + "X-Long: " + long + "\r\n\r\n",
		"an endless token":                 "GET /proxy/wx/cgi-bin/smuggled?access_token=" + long[:8000] + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"an endless phantom":               "GET /proxy/wx/cgi-bin/smuggled?access_token=zk_" + long[:8000] + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"an endless chunk of a login":      "POST /proxy/wx/cgi-bin/clear_quota/v2" + head + "Transfer-Encoding: chunked\r\n\r\n10000\r\n" + long + "\r\n0\r\n\r\n",
		"an endless login":                 "POST /proxy/wx/cgi-bin/clear_quota/v2" + head + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(long)) + long,
		"a second request of a length 0":   "POST /proxy/wx/x?access_token=guess" + head + "Content-Length: 0\r\n\r\n" + second,
		"a second request after the chunk": "POST /proxy/wx/x?access_token=guess" + head + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + second,
	} {
		for _, at := range []string{p.url, own} {
			text := request
			if at == own {
				text = strings.Replace(request, "/proxy/wx", "", 1)
			}
			answer := p.raw(at, text)
			if strings.Contains(answer, "ip_list") || strings.Contains(answer, token) {
				t.Errorf("%s: %.300s", name, answer)
			}
		}
	}
	arrived.Range(func(path, _ any) bool {
		if path != "/cgi-bin/token" && path != "/x" {
			t.Errorf("the upstream got %s", path)
		}
		return true
	})
	// A length beside chunks: net/http takes the chunks, and the upstream gets one
	// length, so that both count the same bytes.
	body := "POST /proxy/wx/cgi-bin/getcallbackip HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + basic +
		"Transfer-Encoding: chunked\r\nContent-Length: 400\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
	if answer := p.raw(p.url, body); strings.Contains(answer, token) {
		t.Errorf("chunks beside a length: %s", answer)
	}
	p.mustCall(p.url+"/proxy/wx", token)
	if _, ok := arrived.Load("/cgi-bin/getcallbackip"); !ok {
		t.Error("what arrives is not seen")
	}
}
