package httpapi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
)

// secrets are what no answer to a client without the right, and no log, may
// hold.
func (s *stage) secrets() []string {
	return []string{
		s.token(wxa), s.token(wxb), "admin-password", "reader-password", "neighbor-password", "wrong-password",
	}
}

func (s *stage) nothingIn(where, text string, names ...string) {
	s.t.Helper()
	for _, secret := range append(s.secrets(), names...) {
		if secret != "" && strings.Contains(text, secret) {
			s.t.Errorf("%s gives away %q: %s", where, secret, text)
		}
	}
}

var everyMethod = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"}

// everyPath are the paths that there are, and some that there are not.
func everyPath() []string {
	return []string{
		"/", "/page.js", "/page.css", "/icon.svg", "/openapi.yaml", "/metrics", "/v1/events",
		"/v1/tokens/" + wxa, "/v1/tokens/" + wxa + "/refresh", "/v1/tokens/", "/v1/tokens", "/v1", "/nothing", "/index.html",
		"/v1/tokens/none", "/v1/tokens/none/refresh", "/v1/tokens/" + wxa + "?after=0&wait=60s",
		"//", "//v1/tokens/" + wxa, "/v1//tokens/" + wxa, "/v1/tokens//" + wxa, "/v1/tokens/./" + wxa, "/v1/tokens/../tokens/" + wxa,
		"/v1/tokens/" + wxa + "/", "/v1/tokens/" + wxa + "/refresh/", "/v1/tokens/" + wxa + "%2Frefresh", "/v1%2Ftokens%2F" + wxa,
		"/%2e%2e/v1/tokens/" + wxa, "/healthz/../v1/tokens/" + wxa, "/healthz/", "/healthz%2F..%2Fv1%2Ftokens%2F" + wxa,
		"/v1/tokens/" + wxa + "%00", "/v1/tokens/" + wxa + "%0a", "/V1/TOKENS/" + wxa, "/v1/tokens/*", "/v1/tokens/%7B" + wxa + "%7D",
		"/GetToken", "/gettoken", "/GetToken/", "/cgi-bin/token", "//cgi-bin/token/", "/wx/cgi-bin/token", "//page.js", "/v1/events/",
		"//v1/tokens/" + wxa + "/", "/v1/tokens/" + wxa + "//refresh", "/wx/v1/tokens/" + wxa, "/metrics/", "//openapi.yaml", "/cgi-bin/stable_token", "/cgi-bin/", "/cgi-bin/../v1/tokens/" + wxa,
		"/readyz", "/healthz", "/v1/accounts", "/v1/accounts/" + wxa, "//v1/accounts/", "/v1/accounts/none", "/v1/accounts/" + wxa + "/",
	}
}

func TestAClientWithoutCredentialsLearnsNothing(t *testing.T) {
	s := newStage(t)
	calls := len(s.sources[wxa].Calls())
	for _, path := range everyPath() {
		for _, method := range everyMethod {
			for _, who := range []string{"", stranger, "nobody:at-all", wxa + ":0123456789abcdef"} {
				r := s.ask(who, method, path, "")
				s.nothingIn(fmt.Sprintf("%s %s as %q", method, path, who), r.body+fmt.Sprint(r.header), "wxaaaa", "wxbbbb")
				if !isOpen(path) && r.status != 401 {
					t.Errorf("%s %s as %q: %d, want 401", method, path, who, r.status)
				}
				if r.status == 401 && r.header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s %s as %q: 401 without WWW-Authenticate", method, path, who)
				}
				if l := r.header.Get("Location"); l != "" {
					t.Errorf("%s %s as %q: sent to %s", method, path, who, l)
				}
			}
		}
	}
	if got := len(s.sources[wxa].Calls()); got != calls {
		t.Errorf("%d calls to the source", got-calls)
	}
	s.nothingIn("the log", s.log.String())
}

// isOpen reports whether a path may be answered to a client that is no caller.
func isOpen(path string) bool {
	switch strings.ToLower(strings.Trim(path, "/")) {
	case "healthz", "readyz", "gettoken", "page.js", "page.css", "icon.svg":
		return true
	}
	return strings.Contains(path, "cgi-bin")
}

func TestCredentialsInOddFormsAreNone(t *testing.T) {
	s := newStage(t)
	for _, header := range []string{
		"", "Basic", "Basic ", "Basic !!!", "Basic " + strings.Repeat("A", 8000), "Bearer", "Bearer admin", "Bearer admin:", "Bearer :admin-password",
		"admin:admin-password", "Digest username=admin", "basic", "Bearer admin:admin-password extra", "Bearer admin:admin-passwor",
		"Basic YWRtaW46", "Negotiate x", "Bearer admin:admin-password\x00",
	} {
		r := httptest.NewRequest("GET", "/v1/tokens/"+wxa, nil)
		r.Header["Authorization"] = []string{header}
		w := httptest.NewRecorder()
		s.api.ServeHTTP(w, r)
		if w.Code != 401 {
			t.Errorf("%.60q: %d, want 401", header, w.Code)
		}
		s.nothingIn(header, w.Body.String())
	}
}

func TestAnAccountOfOthersLooksLikeNone(t *testing.T) {
	s := newStage(t)
	for _, suffix := range []string{"", "/refresh"} {
		method := map[string]string{"": "GET", "/refresh": "POST"}[suffix]
		theirs := s.ask(reader, method, "/v1/tokens/"+wxb+suffix, "")
		none := s.ask(reader, method, "/v1/tokens/none"+suffix, "")
		if theirs.status != 403 || theirs.status != none.status || theirs.body != none.body {
			t.Errorf("%s%s: %d %s, where there is none: %d %s", method, suffix, theirs.status, theirs.body, none.status, none.body)
		}
	}
	theirs, none := s.ask(reader, "GET", "/v1/accounts/"+wxb, ""), s.ask(reader, "GET", "/v1/accounts/none", "")
	if theirs.status != 403 || theirs.status != none.status || theirs.body != none.body {
		t.Errorf("the state: %d %s, where there is none: %d %s", theirs.status, theirs.body, none.status, none.body)
	}
	if r := s.ask(reader, "GET", "/v1/accounts", ""); strings.Contains(r.body, wxb) || !strings.Contains(r.body, wxa) {
		t.Errorf("the states: %s", r.body)
	}
	if r := s.ask(reader, "GET", "/", ""); strings.Contains(r.body, wxb) || !strings.Contains(r.body, wxa) {
		t.Error("the page shows the wrong accounts")
	}
	if r := s.ask(reader, "GET", "/readyz", ""); strings.Contains(r.body, wxb) {
		t.Errorf("readyz: %s", r.body)
	}
	log := s.log.String()
	if !strings.Contains(log, "caller refused") || !strings.Contains(log, "caller=reader") || !strings.Contains(log, "path=/v1/tokens/none") {
		t.Errorf("the audit lines are missing: %s", log)
	}
	s.nothingIn("the log", log)
}

func TestNoCredentialInAPathIsLogged(t *testing.T) {
	s := newStage(t)
	for _, path := range []string{
		"/v1/tokens/" + s.token(wxa) + strings.Repeat("x", 40), "/v1/tokens/app~admin-password", "/v1/tokens/x%3Fsecret=admin-password", "/cgi-bin/app:admin-password",
	} {
		s.ask(reader, "GET", path, "")
		s.ask(stranger, "GET", path, "")
	}
	log := s.log.String()
	if strings.Contains(log, "admin-password") || !strings.Contains(log, "path=/v1/tokens/…") {
		t.Errorf("the log shows a credential, or no path: %s", log)
	}
	s.nothingIn("the log", log)
}

func TestACredentialInTheNamesPlaceIsNotLogged(t *testing.T) {
	key, _ := auth.NewKey()
	const longName = "a-user-whose-name-is-longer-than-most-secrets-are"
	gate, err := auth.New(append(testUsers(), auth.User{Name: longName, Password: "its-password", Accounts: []string{wxa}}))
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, func(c *Config) { c.Callers = gate })
	secrets := []string{key, "0123456789abcdef0123456789abcdef", s.token(wxa) + strings.Repeat("x", 32)}
	for _, secret := range secrets {
		form := url.Values{"name": {secret}, "password": {"app"}, "grant_type": {"client_credentials"}, "client_id": {secret}, "client_secret": {"app"}, "scope": {wxa}}.Encode()
		s.ask(secret+":app", "GET", "/v1/tokens/"+wxa, "")
		s.ask("app~"+secret+":app", "GET", "/v1/tokens/"+wxa, "")
		s.ask("", "GET", "/v1/tokens/"+wxa, "", "Authorization", "Bearer "+secret+":app")
		s.ask("", "GET", "/cgi-bin/token?grant_type=client_credential&appid="+wxa+"&secret="+secret+"~app", "")
		s.ask("", "GET", "/cgi-bin/gettoken?corpid="+wxa+"&corpsecret="+secret+"~app", "")
		s.ask("", "GET", "/cgi-bin/token?grant_type=client_credential&appid="+secret+"&secret="+wxa, "")
		s.ask(reader, "GET", "/cgi-bin/token?grant_type=client_credential&appid="+secret+"&secret="+reader, "")
		s.ask("", "POST", "/GetToken", form, "Content-Type", "application/x-www-form-urlencoded")
		s.ask("", "POST", "/oauth2/token", form, "Content-Type", "application/x-www-form-urlencoded")
	}
	s.ask("nobody:at-all", "GET", "/v1/tokens/"+wxa, "")
	s.ask(longName+":not-its-password", "GET", "/v1/tokens/"+wxa, "")
	log := s.log.String()
	for _, want := range []string{"caller=… ", "caller=nobody ", "caller=" + longName + " "} {
		if !strings.Contains(log, want) {
			t.Errorf("no line has %q: %s", want, log)
		}
	}
	s.nothingIn("the log", log, secrets...)
}

func TestThePageAndOtherTextsHaveNoToken(t *testing.T) {
	s := newStage(t)
	for _, path := range []string{"/", "/?fragment", "/?lang=zh", "/?refresh=" + wxa, "/openapi.yaml", "/page.js", "/readyz", "/healthz", "/nothing"} {
		r := s.ask(admin, "GET", path, "")
		s.nothingIn(path, r.body)
	}
}

func TestRequestsFromOtherSitesPagesAreRefused(t *testing.T) {
	s := newStage(t)
	before := s.token(wxa)
	for _, path := range []string{"/v1/tokens/" + wxa + "/refresh", "/"} {
		for _, header := range [][]string{
			{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"},
		} {
			r := s.ask(admin, "POST", path, "account="+wxa, append(header, "Content-Type", formType)...)
			if r.status != 403 || r.field("error") != "cross_origin" {
				t.Errorf("POST %s with %v: %d %s, want 403", path, header, r.status, r.body)
			}
		}
	}
	if s.token(wxa) != before {
		t.Error("there was a refresh")
	}
	if r := s.ask(admin, "POST", "/", "account="+wxa, "Sec-Fetch-Site", "same-origin", "Content-Type", formType); r.status != 303 {
		t.Errorf("the page's own: %d, want 303", r.status)
	}
}

func TestThePageIsShutInByItsHeaders(t *testing.T) {
	s := newStage(t)
	r := s.ask(admin, "GET", "/", "")
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	policy := r.header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("Content-Security-Policy = %s", policy)
	}
	for _, inline := range []string{"style=", "onclick", "<script>", "<style", "javascript:", "http://", "https://"} {
		if strings.Contains(r.body, inline) {
			t.Errorf("the page has %q in it, which its policy forbids", inline)
		}
	}
}

func TestMarkupInNamesStaysText(t *testing.T) {
	s := newStage(t)
	r := s.ask(admin, "GET", "/?done=%3Cscript%3Ealert(1)%3C/script%3E&failed=%3Cimg%20src=x%3E&q=%22%3E%3Cb%3E", "")
	for _, bad := range []string{"<script>alert", "<img src=x", `"><b>`} {
		if strings.Contains(r.body, bad) {
			t.Errorf("the page has %s in it", bad)
		}
	}
}

func TestSlowAndLargeRequestsAreCutOff(t *testing.T) {
	s := newStage(t)
	server, err := NewServer(s.api, Exposure{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server.http.ReadHeaderTimeout = 50 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }() // ends with Shutdown
	defer func() { _ = server.Shutdown(t.Context()) }()

	send := func(text string) string {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(c, text) // the server may have hung up by then
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%.40q: %v, want to be cut off", text, err)
		}
		return line
	}
	if got := send("GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "); got != "" && !strings.Contains(got, "408") && !strings.Contains(got, "400") {
		t.Errorf("headers that never end: %q", got)
	}
	large := "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Large: " + strings.Repeat("a", 64<<10) + "\r\n\r\n"
	if got := send(large); got != "" && !strings.Contains(got, "431") {
		t.Errorf("large headers: %q, want 431", got)
	}
	for _, odd := range []string{
		"GET http://evil.example/v1/tokens/" + wxa + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /v1/tokens/" + wxa + " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET * HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01",
	} {
		if got := send(odd); strings.Contains(got, "200") {
			t.Errorf("%.60q: %q", odd, got)
		}
	}
}

func TestABodyThatNeverComesHoldsNothingUp(t *testing.T) {
	const slow = 200 * time.Millisecond
	s := newStage(t, func(c *Config) { c.Limits.Slow = slow })
	c, err := net.Dial("tcp", s.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /GetToken HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 100\r\n\r\nname=", formType)
	_ = c.SetDeadline(time.Now().Add(slow + 5*time.Second))
	began := time.Now()
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != 400 || time.Since(began) > slow+time.Second {
		t.Errorf("%d after %v, want 400 after %v", answer.StatusCode, time.Since(began), slow)
	}
}
