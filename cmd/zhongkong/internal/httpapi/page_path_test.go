package httpapi

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// below puts the stage behind a proxy that serves it below a path, as nginx
// does with: location /zk/ { proxy_pass http://.../; }.
func (s *stage) below(path string) {
	s.t.Helper()
	target, err := url.Parse(s.server.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	inner := s.server
	s.t.Cleanup(inner.Close)
	strip := http.StripPrefix(path, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}, FlushInterval: -1})
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, path+"/") {
			s.t.Errorf("%s %s leaves the path", r.Method, r.URL.Path)
		}
		strip.ServeHTTP(w, r)
	}))
}

func TestThePageWorksBelowThePathOfAProxy(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	s := newStage(t, func(c *Config) { c.Limits = Limits{} })
	s.below("/zk")
	b := newBrowser(t)
	b.look("light", 1200)
	b.open(s, admin, "/zk/")
	b.until("document.getElementById('link').dataset.state", "on") // script and stream
	b.until("getComputedStyle(document.querySelector('.card')).borderRadius", "14px")
	b.until("document.querySelector('.brand img').naturalWidth > 0", "true")

	b.click(".card h2 a")
	b.until("location.pathname", "/zk/accounts/"+wxa)
	b.until("document.getElementById('link').dataset.state", "on")
	b.until("getComputedStyle(document.querySelector('.card')).borderRadius", "14px")
	before := s.token(wxa)
	b.click("[data-refresh]")
	b.click("dialog button[value=yes]")
	b.until("document.getElementById('toast').textContent", wxa+" was refreshed.")
	if s.token(wxa) == before {
		t.Error("the button did nothing")
	}
	b.click("nav a")
	b.until("document.documentElement.lang", "zh-CN")
	b.until("location.pathname", "/zk/accounts/"+wxa)
	b.click(".brand")
	b.until("location.pathname + location.search", "/zk/?lang=zh")

	if all := b.complaints(); len(all) > 0 {
		t.Errorf("the console says: %v", all)
	}
}

func TestTheButtonWithoutTheScriptStaysBelowThePath(t *testing.T) {
	s := newStage(t)
	for from, want := range map[string]string{
		"/zk/":                  "/zk/?done=" + wxa,
		"/zk/?refresh=" + wxa:   "/zk/?done=" + wxa,
		"/zk/accounts/" + wxa:   "/zk/accounts/" + wxa + "?done=" + wxa,
		"/accounts/" + wxa + "": "/accounts/" + wxa + "?done=" + wxa,
	} {
		base, err := url.Parse("http://proxy.example" + from)
		if err != nil {
			t.Fatal(err)
		}
		r := s.ask(admin, "POST", strings.TrimPrefix(base.RequestURI(), "/zk"), "account="+wxa, "Content-Type", formType)
		to, err := base.Parse(r.header.Get("Location"))
		if err != nil || r.status != 303 || to.RequestURI() != want {
			t.Errorf("from %s: %d to %v, %v, want %s", from, r.status, to, err, want)
		}
	}
}

// TestNoLinkLeavesThePath looks at all pages, and at odd ways to write their
// paths.
func TestNoLinkLeavesThePath(t *testing.T) {
	s := newStage(t)
	links := regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)
	for _, path := range []string{
		"/", "//", "/?q=x", "/?refresh=" + wxa, "/accounts/" + wxa, "/accounts/" + wxa + "/", "/accounts//" + wxa, "/accounts/none", "/logout", "/logout/",
	} {
		for _, who := range []string{admin, ""} {
			r := s.ask(who, "GET", path, "", "Accept", "text/html")
			base, err := url.Parse("http://proxy.example/zk" + path)
			if err != nil {
				t.Fatal(err)
			}
			found := links.FindAllStringSubmatch(r.body, -1)
			if len(found) == 0 {
				t.Errorf("%s as %q: %d %.100s", path, who, r.status, r.body)
			}
			for _, link := range found {
				to, err := base.Parse(strings.ReplaceAll(link[1], "&amp;", "&"))
				if err != nil || to.Host != base.Host || !strings.HasPrefix(to.Path, "/zk/") {
					t.Errorf("%s: %s leads to %v", path, link[0], to)
					continue
				}
				if status := s.ask(admin, "GET", strings.TrimPrefix(to.RequestURI(), "/zk"), "").status; status != 200 && !strings.Contains(to.Path, "/logout") && path != "/accounts/none" {
					t.Errorf("%s: %s leads to %s: %d", path, link[0], to, status)
				}
			}
		}
	}
}

func TestAnAccountsPageIsForThoseWhoMaySeeIt(t *testing.T) {
	s := newStage(t)
	for _, c := range []struct {
		who, path string
		status    int
		says      string
	}{
		{reader, "/accounts/" + wxa, 200, "<h2>" + wxa},
		{reader, "/accounts/" + wxb, 403, "You lack the right"},
		{reader, "/accounts/none", 403, "You lack the right"},
		{admin, "/accounts/none", 404, "There is no such account"},
		{"", "/accounts/" + wxa, 401, "A name and a password are needed"},
		{stranger, "/", 401, "A name and a password are needed"},
	} {
		r := s.ask(c.who, "GET", c.path, "", "Accept", "text/html,*/*;q=0.8")
		if r.status != c.status || !strings.Contains(r.body, c.says) || !strings.HasPrefix(r.header.Get("Content-Type"), "text/html") {
			t.Errorf("%s as %q: %d %.200s", c.path, c.who, r.status, r.body)
		}
		if c.status != 200 && (strings.Contains(r.body, wxa) || strings.Contains(r.body, wxb)) {
			t.Errorf("%s as %q names an account", c.path, c.who)
		}
		if programs := s.ask(c.who, "GET", c.path, ""); c.status != 200 && programs.field("error") == nil {
			t.Errorf("%s as %q: programs get %.100s", c.path, c.who, programs.body)
		}
	}
}

func TestAPersonIsToldOfAProblemInAPage(t *testing.T) {
	s := newStage(t)
	html := []string{"Accept", "text/html", "Content-Type", formType}
	if r := s.ask(reader, "POST", "/", "account="+wxa, html...); r.status != 403 || !strings.Contains(r.body, "You lack the right") {
		t.Errorf("%d %.200s", r.status, r.body)
	}
	slow := newStage(t, func(c *Config) { c.Callers = slowCallers{} })
	if r := slow.ask(admin, "GET", "/?lang=zh", "", html...); r.status != 429 || r.header.Get("Retry-After") == "" || !strings.Contains(r.body, "密码错误次数过多") {
		t.Errorf("%d %.200s", r.status, r.body)
	}
	r := s.ask("", "GET", "/", "", html...)
	if r.status != 401 || !strings.HasPrefix(r.header.Get("WWW-Authenticate"), "Basic ") || r.header.Get("Content-Security-Policy") != pagePolicy {
		t.Errorf("%d %v", r.status, r.header)
	}
	failing := failingStage(t, refusal())
	r = failing.ask(admin, "POST", "/", "account="+wxa+"&lang=zh", html...)
	if to := r.header.Get("Location"); to != "?failed=refused&lang=zh" {
		t.Errorf("%d to %s", r.status, to)
	}
	if r = failing.ask(admin, "GET", "/"+r.header.Get("Location"), ""); !strings.Contains(r.body, "刷新失败：签发方拒绝") {
		t.Error("the Chinese page does not say that it failed")
	}
}

func TestLoggingOutForgetsThePassword(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	s := newStage(t)
	if r := s.ask(admin, "GET", "/logout", ""); r.status != 401 || r.header.Get("WWW-Authenticate") == "" || !strings.Contains(r.body, "You are logged out") {
		t.Errorf("%d %.200s", r.status, r.body)
	}
	b := newBrowser(t)
	b.open(s, admin, "/")
	b.until("document.getElementById('link').dataset.state", "on")
	count := func() uint64 {
		n := uint64(0)
		s.api.Served(func(path string, status int, times uint64) {
			if path == "/" && status == 401 {
				n = times
			}
		})
		return n
	}
	b.do("POST", "/url", node{"url": s.server.URL + "/"}, nil) // the browser knows it by now
	b.until("document.querySelectorAll('.card').length", "2")
	before := count()
	b.click("footer a")
	s.wait("the log-out", func() bool {
		done := false
		s.api.Served(func(path string, status int, _ uint64) { done = done || path == "/logout" && status == 401 })
		return done
	})
	b.do("POST", "/url", node{"url": s.server.URL + "/"}, nil)
	if got := b.run("return document.querySelectorAll('.card').length"); got != "0" || count() == before {
		t.Errorf("after the log-out the page still has %s accounts", got)
	}
	if s.ask(admin, "GET", "/", "").status != 200 {
		t.Error("the log-out counts as a wrong password")
	}
}

func TestTheKeysOfThePage(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	s := newStage(t)
	for _, name := range []string{"o1", "o2", "o3", "o4", "o5", "o6", "o7"} {
		if _, err := s.zk.Add(coordinator.AccountConfig{Name: name, Source: s.sources[wxa]}); err != nil {
			t.Fatal(err)
		}
	}
	b := newBrowser(t)
	b.look("light", 1200)
	b.open(s, admin, "/?q=wx")
	b.until("document.getElementById('link').dataset.state", "on")
	press := func(key string) {
		t.Helper()
		b.do("POST", "/actions", node{"actions": []node{{"type": "key", "id": "k", "actions": []node{
			{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key},
		}}}}, nil)
	}
	press("/")
	b.until("document.activeElement.type", "search")
	press("r") // typed
	b.until("document.activeElement.value", "r")
	b.until("document.getElementById('confirm').open", "false")

	// Space presses the button, and what was chosen stays so when the page changes.
	b.run("document.querySelector('[data-refresh=" + wxb + "]').focus()")
	generation := "document.querySelector('[data-account=" + wxb + "]').dataset.generation"
	old := b.run("return " + generation)
	s.ask(admin, "POST", "/v1/tokens/"+wxb+"/refresh", "")
	b.until(generation+" !== '"+old+"'", "true")
	b.until("document.activeElement.dataset.refresh", wxb)
	press(" ")
	b.until("document.getElementById('confirm').open", "true")
	press("\ue00c") // Escape
	b.until("document.getElementById('confirm').open", "false")
	press("r")
	b.until("document.getElementById('confirm-title').textContent", "Refresh "+wxb+" now?")
	press("\ue00c")

	b.open(s, admin, "/accounts/"+wxa)
	b.until("document.getElementById('link').dataset.state", "on")
	b.copies()
	press("r")
	b.until("document.getElementById('confirm-title').textContent", "Refresh "+wxa+" now?")
}

// copies presses the button that copies, again if an update of the page has replaced it
// in between, until it has said so. It does for a moment only.
func (b *browser) copies() {
	b.t.Helper()
	const button = "document.querySelector('[data-copy]')"
	b.run("new MutationObserver(() => { if (" + button + ".textContent === 'Copied') window.copied = true; })" +
		".observe(document.body, { childList: true, characterData: true, subtree: true })")
	for end := time.Now().Add(patience); b.run("return window.copied") != "true"; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatal("the button does not say that it has copied")
		}
		if b.run("const pressed = "+button+".pressed; "+button+".pressed = true; return pressed") != "true" {
			b.click("[data-copy]")
		}
	}
}
