package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// seen is an upstream that remembers where it was asked.
type seen struct {
	mu    sync.Mutex
	hosts []string
	paths []string
	heads []http.Header
}

func (s *seen) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts = append(s.hosts, r.URL.Scheme+"://"+r.URL.Host+r.Host+" ")
	s.paths = append(s.paths, r.URL.RequestURI())
	s.heads = append(s.heads, r.Header.Clone())
	return &http.Response{StatusCode: 204, Header: make(http.Header), Body: http.NoBody, Request: r}, nil
}

// twoRoutes has a route of a WeChat account and another below a path, each at an
// upstream of its own.
func twoRoutes(t testing.TB, base http.RoundTripper) *stage {
	t.Helper()
	wx, crm := weChatRoute(t, "https://wx.test"), routeTo(t, "https://crm.test/base", "bearer")
	return newStage(t, wx, &fixed{}, func(c *Config) {
		c.Routes = []Route{wx, crm}
		c.Tokens = NewTokens(c.Routes, nil)
		c.Base = base
	})
}

func TestNoPathReachesAnotherRouteOrHost(t *testing.T) {
	upstream := &seen{}
	s := twoRoutes(t, upstream)
	for _, tail := range []string{
		"/..", "/../crm/x", "/x/../../crm/x", "/%2e%2e/crm/x", "/%2E./x", "/.%2e/x", "/..%2fcrm", "/..%2F..%2Fcrm", "/x%2f..%2f..", "/%252e%252e/x",
		"/%25252e%25252e/x", "/..;/x", "/..;a=b/x", "/%2e%2e%3b/x", "/\\..\\x", "/%5c..%5cx", "/..%5cx", "/x/%00", "/x%0d%0aHost:%20evil.test", "/./x", "/x/.",
		"/%20../x", "/.. /x", "/%c0%ae%c0%ae/..",
	} {
		for _, route := range []string{"wx", "crm"} {
			path := "/proxy/" + route + tail
			plain, err := url.PathUnescape(path)
			if err != nil {
				t.Fatal(err)
			}
			req := httptest.NewRequest(http.MethodGet, "/", nil)
			req.URL = &url.URL{Path: plain, RawPath: path}
			req.Header.Set("Authorization", basic)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, req)
			if len(upstream.paths) > 0 {
				t.Errorf("%s reached %s %s", path, upstream.hosts[0], upstream.paths[0])
				upstream.paths, upstream.hosts = nil, nil
			}
		}
	}
	for path, want := range map[string]string{
		"/proxy/crm//evil.test/x":          "https://crm.test /base/evil.test/x",
		"/proxy/crm/https://evil.test/":    "https://crm.test /base/https://evil.test/",
		"/proxy/crm/@evil.test/":           "https://crm.test /base/@evil.test/",
		"/proxy/crm/a%2fb/...":             "https://crm.test /base/a%2fb/...",
		"/proxy/crm":                       "https://crm.test /base/",
		"//proxy//crm/x":                   "https://crm.test /base/x",
		"/proxy/wx//cgi-bin/user/get":      "https://wx.test /cgi-bin/user/get?access_token=T0KEN-of-the-account-0",
		"/proxy/wx/%63gi-bin/user%2Fget":   "https://wx.test /cgi-bin/user/get?access_token=T0KEN-of-the-account-0",
		"/proxy/crm/100%25?next=/../../wx": "https://crm.test /base/100%25?next=/../../wx",
	} {
		callWith(s, "GET", path, "", "Authorization: "+basic)
		if len(upstream.paths) != 1 || upstream.hosts[0]+upstream.paths[0] != want {
			t.Errorf("%s reached %q %q, want %s", path, upstream.hosts, upstream.paths, want)
		}
		upstream.paths, upstream.hosts = nil, nil
	}
}

func TestFormsThatAreNoCallsAreRefusedInWords(t *testing.T) {
	upstream := &seen{}
	s := twoRoutes(t, upstream)
	front, own := serve(t, s), serve(t, s.Route("wx"))
	auth := "Host: x\r\nConnection: close\r\nAuthorization: " + basic + "\r\n"
	for request, want := range map[string]string{
		"CONNECT api.weixin.qq.com:443 HTTP/1.1\r\n" + auth + "\r\n":                                     "",
		"CONNECT /proxy/wx/x HTTP/1.1\r\n" + auth + "\r\n":                                               "",
		"GET http://evil.test/proxy/wx/x HTTP/1.1\r\n" + auth + "\r\n":                                   "no forward proxy",
		"GET https://api.weixin.qq.com/proxy/wx/cgi-bin/user/get HTTP/1.1\r\n" + auth + "\r\n":           "no forward proxy",
		"OPTIONS * HTTP/1.1\r\n" + auth + "\r\n":                                                         "",
		"TRACE /proxy/wx/x HTTP/1.1\r\n" + auth + "\r\n":                                                 "not passed on",
		"GET /proxy/wx/x HTTP/1.1\r\n" + auth + "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n":      "WebSocket",
		"GET /proxy/wx/x HTTP/1.1\r\n" + auth + "Authorization: Bearer sdk:x\r\n\r\n":                    "more than one",
		"GET /proxy/wx/x HTTP/1.1\r\n" + auth + "Origin: https://evil.test\r\n\r\n":                      "other sites",
		"GET /proxy/wx/x HTTP/1.1\r\n" + auth + "Sec-Fetch-Site: cross-site\r\n\r\n":                     "other sites",
		"GET /proxy/nothing/x HTTP/1.1\r\n" + auth + "\r\n":                                              "no route",
		"GET /proxy/ HTTP/1.1\r\n" + auth + "\r\n":                                                       "no route",
		"POST /proxy/wx/x HTTP/1.1\r\n" + auth + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello":   "",
		"POST /proxy/wx/x HTTP/1.1\r\n" + auth + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n": "",
		"POST /proxy/wx/x HTTP/1.1\r\n" + auth + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n":          "",
		"GET /proxy/wx/x HTTP/1.1\r\n" + auth + "X-A: b\r\n continued: c\r\nX-B\x00: d\r\n\r\n":          "",
		"GET /proxy/wx/" + strings.Repeat("a", 2<<20) + " HTTP/1.1\r\n" + auth + "\r\n":                  "",
		"GET /proxy/wx/x HTTP/1.1\r\n" + auth + "X-Long: " + strings.Repeat("a", 2<<20) + "\r\n\r\n":     "",
	} {
		if answer := raw(t, front, request); !strings.Contains(answer, want) || strings.Contains(answer, "204 No Content") {
			t.Errorf("%.90q: %.300s", request, answer)
		}
	}
	if answer := raw(t, own, "GET http://evil.test/cgi-bin/user/get HTTP/1.1\r\n"+auth+"\r\n"); !strings.Contains(answer, `"errcode":40066`) {
		t.Errorf("on an address of its own: %s", answer)
	}
	if len(upstream.paths) > 0 {
		t.Errorf("the upstream was asked for %q", upstream.paths)
	}
	// Java's client offers h2c with each request over plain HTTP.
	if answer := raw(t, front, "GET /proxy/wx/x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\nAuthorization: "+basic+"\r\n\r\n"); !strings.Contains(answer, "204") {
		t.Errorf("h2c: %s", answer)
	}
	for _, name := range []string{"Upgrade", "Connection", "Http2-Settings", "Authorization"} {
		if got := upstream.heads[0].Get(name); got != "" {
			t.Errorf("the upstream got %s: %s", name, got)
		}
	}
}

func TestAnUpstreamThatMisbehavesIsNotQuoted(t *testing.T) {
	account := &fixed{}
	for name, answer := range map[string]string{
		"no HTTP":             account.text() + " is your token\r\n\r\n",
		"a broken head":       "HTTP/1.1 200 OK\r\n" + account.text() + "\r\n\r\n",
		"an oversized head":   "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat(account.text(), 10_000) + "\r\n\r\n",
		"another protocol":    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
		"nothing":             "",
		"a length and less":   "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"errcode\":40001",
		"endless early hints": strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: <"+account.text()+">\r\n\r\n", 50),
	} {
		upstream := serveRaw(t, func(conn net.Conn) {
			_, _ = fmt.Fprint(conn, answer)
			_ = conn.Close()
		})
		for _, route := range []Route{weChatRoute(t, upstream), routeTo(t, upstream, "header X-Token")} {
			s := newStage(t, route, account, nil)
			got := raw(t, serve(t, s), "POST /proxy/"+route.Name+"/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\nAuthorization: "+basic+"\r\n\r\na")
			if strings.Contains(got, "T0KEN") || strings.Contains(s.logged.String(), "T0KEN") {
				t.Errorf("%s: it shows the token: %s %s", name, got, s.logged)
			}
			if name != "a length and less" && !strings.Contains(got, "502") {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, seed := range []string{"/x", "/../x", "/%2e%2e/x", "//evil.test/x", "/a%2fb", "/..;/x", "/%25%32%65", "/CGI-BIN/token", "/sns/jscode2session", "/\\x"} {
		f.Add(seed, "a=b&access_token=c")
	}
	upstream := &seen{}
	s := twoRoutes(f, upstream)
	f.Fuzz(func(t *testing.T, tail, query string) {
		for _, route := range []string{"wx", "crm"} {
			upstream.hosts, upstream.paths = nil, nil
			u, err := url.ParseRequestURI("/proxy/" + route + "/" + tail)
			if err != nil {
				return
			}
			u.RawQuery = query
			req := httptest.NewRequest(http.MethodGet, "/", nil)
			req.URL = u
			req.Header.Set("Authorization", basic)
			s.ServeHTTP(httptest.NewRecorder(), req)
			for i, path := range upstream.paths {
				host, base := "https://wx.test ", "/"
				if route == "crm" {
					host, base = "https://crm.test ", "/base/"
				}
				plain := path
				for range 5 {
					plain, _, _ = strings.Cut(plain, "?")
					for part := range strings.FieldsFuncSeq(plain, func(r rune) bool { return r == '/' || r == '\\' }) {
						if part == ".." || part == "." {
							t.Fatalf("%q reached %s", tail, path)
						}
					}
					if plain, err = url.PathUnescape(plain); err != nil {
						break
					}
				}
				if upstream.hosts[i] != host || !strings.HasPrefix(path, base) {
					t.Fatalf("%q reached %s%s", tail, upstream.hosts[i], path)
				}
				lower, _, _ := strings.Cut(strings.ToLower(path), "?")
				if _, secret := secretEndpoints[lower]; route == "wx" && (secret || tokenEndpoints[lower]) && strings.Contains(path, "T0KEN") {
					t.Fatalf("%q reached %s with a token", tail, path)
				}
				if route == "wx" && strings.Count(path, "access_token=") > 1 && !strings.Contains(query, "%") && !strings.Contains(query, "+") &&
					strings.Count(query, "access_token=") == strings.Count("&"+query, "&access_token=") {
					t.Fatalf("%q has a token of the client's", path)
				}
			}
		}
	})
}

// What an upstream's Connection header names is for this server, and takes nothing
// away that this server adds.
func TestNoHeaderOfTheUpstreamsConnectionPasses(t *testing.T) {
	upstream := serveRaw(t, func(conn net.Conn) {
		_, _ = fmt.Fprint(conn, "HTTP/1.1 302 Found\r\nConnection: keep-alive, X-Own , content-security-policy\r\nConnection: x-content-type-options,X-Frame-Options\r\n"+
			"X-Own: a\r\nX-Frame-Options: deny\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nProxy-Connection: close\r\nUpgrade: h2c\r\nTE: trailers\r\n"+
			"Content-Security-Policy: default-src *\r\nX-Content-Type-Options: none\r\nX-Other: kept\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 2\r\n\r\nok")
		_ = conn.Close()
	})
	s := newStage(t, routeTo(t, upstream, "bearer"), &fixed{}, nil)
	w := callWith(s, "GET", "/proxy/crm/x", "", "Authorization: "+basic)
	h := w.Header()
	if w.Code != http.StatusFound || w.Body.String() != "ok" || h.Get("X-Other") != "kept" || h.Get("Content-Security-Policy") != "sandbox" ||
		h.Get("X-Content-Type-Options") != "nosniff" || strings.Join(h["Location"], " ") != "/proxy/crm/a /proxy/crm/b" {
		t.Errorf("%d %v %s", w.Code, h, w.Body)
	}
	for _, gone := range []string{"Connection", "X-Own", "X-Frame-Options", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "Upgrade", "Te"} {
		if h[gone] != nil {
			t.Errorf("%s passed: %q", gone, h[gone])
		}
	}
}

// FuzzLogin sends any parameters with a call that takes the AppSecret. WeChat gets the
// secret once and no token, and the answer, which repeats the call, shows neither.
func FuzzLogin(f *testing.F) {
	const ours = "appid=" + appID + "&secret=sdk:s3cret-key"
	f.Add("/sns/jscode2session", ours+"&js_code=C", "")
	f.Add("/cgi-bin/clear_quota/v2", "access_token=a&%61ccess_token=b&a%70psecret=x", `{"appid":"`+appID+`","appsecret":"sdk:s3cret-key","a":[1]}`)
	f.Add("/sns/oauth2/access_token", "secret=1&secret=2&&=&%zz", "appid="+appID+"&secret=sdk~s3cret-key&secret=3")
	f.Add("/cgi-bin/component/clear_quota/v2", "", "\xef\xbb\xbf{\"component_appid\":\""+appID+"\",\"appsecret\":null}")
	var got string
	echoing := roundTripper(func(r *http.Request) (*http.Response, error) {
		got = r.URL.RequestURI()
		if r.Body != nil {
			body, _ := io.ReadAll(r.Body)
			got += "\n" + string(body)
		}
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/plain"}, "X-Echo": {r.URL.RawQuery}},
			Body: io.NopCloser(strings.NewReader(got)), ContentLength: int64(len(got)), Request: r}, nil
	})
	s := newStage(f, weChatRoute(f, "https://wx.test"), &fixed{}, func(c *Config) { c.Base = echoing })
	f.Fuzz(func(t *testing.T, path, query, body string) {
		u, err := url.ParseRequestURI("/proxy/wx" + path)
		if err != nil || strings.Contains(query+body+path, wechattest.DefaultSecret) {
			return
		}
		u.RawQuery, got = query, ""
		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		req.URL = u
		req.Header.Set("Authorization", basic)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		clean, _ := weChatPath(strings.TrimPrefix(u.EscapedPath(), "/proxy/wx"))
		if _, ok := secretEndpoints[strings.ToLower(clean)]; !ok || got == "" {
			return
		}
		if strings.Count(got, wechattest.DefaultSecret) != 1 || strings.Contains(got, "T0KEN") || parameter(u.RawQuery, "secret") != "" && strings.Contains(got, "sdk:") {
			t.Errorf("WeChat got %q", got)
		}
		if strings.Contains(w.Body.String()+w.Header().Get("X-Echo"), wechattest.DefaultSecret) {
			t.Errorf("the client got %q, %v", w.Body, w.Header())
		}
	})
}

// FuzzMasked has an upstream that writes anything around the token, in any pieces.
func FuzzMasked(f *testing.F) {
	f.Add("a", "b", "T0KEN/+x", uint8(3))
	f.Add("T0", "KEN/+x", "aaab", uint8(1))
	f.Fuzz(func(t *testing.T, before, after, token string, piece uint8) {
		if len(token) < shortestSecret || strings.Trim(token, "*") == "" {
			return
		}
		text := before + token + after + token + url.QueryEscape(token)
		from := iotest.OneByteReader(strings.NewReader(text))
		if piece > 0 {
			from = iotest.DataErrReader(io.LimitReader(strings.NewReader(text), int64(len(text))))
		}
		got, err := io.ReadAll(newMasked(from, secretsOf(token), int64(piece)))
		if err != nil || len(got) != len(text) || bytes.Contains(got, []byte(token)) {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add("Connection", "X-Token", "Authorization", "Bearer sdk:s3cret-key")
	f.Add("X-Forwarded-For", "1.2.3.4", "Cookie", "a=b")
	f.Add("Upgrade", "websocket", "Transfer-Encoding", "chunked")
	upstream := &seen{}
	route := routeTo(f, "https://crm.test/base", "header X-Token")
	s := newStage(f, route, &fixed{}, func(c *Config) { c.Base = upstream })
	f.Fuzz(func(t *testing.T, name, value, second, other string) {
		upstream.heads = nil
		req := httptest.NewRequest(http.MethodGet, "/proxy/crm/x", nil)
		req.Header.Set(name, value)
		req.Header.Add(second, other)
		req.Header.Set("Authorization", basic)
		s.ServeHTTP(httptest.NewRecorder(), req)
		for _, h := range upstream.heads {
			if got := h["X-Token"]; len(got) != 1 || got[0] != "T0KEN-of-the-account-0" {
				t.Fatalf("X-Token: %q", got)
			}
			for name := range h {
				if isPrivate(http.CanonicalHeaderKey(name)) || http.CanonicalHeaderKey(name) == "Upgrade" || http.CanonicalHeaderKey(name) == "Connection" {
					t.Fatalf("%q passed", name)
				}
			}
		}
	})
}
