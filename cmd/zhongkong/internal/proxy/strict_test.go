package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// Some servers take X_Token for X-Token.
func TestNoSpellingOfAHeaderPassesByAnUnderscore(t *testing.T) {
	upstream := &seen{}
	s := newStage(t, routeTo(t, "https://crm.test", "header X-Api-Token"), &fixed{}, func(c *Config) { c.Base = upstream })
	callWith(s, "GET", "/proxy/crm/x", "", "Authorization: "+basic, "X_Api_Token: mine", "x-api_token: mine", "X_Forwarded_For: 10.0.0.1",
		"X_Real-Ip: 10.0.0.1", "Proxy_Authorization: x", "X_Own: kept")
	if len(upstream.heads) != 1 {
		t.Fatalf("%d calls", len(upstream.heads))
	}
	got := upstream.heads[0]
	delete(got, "User-Agent") // empty, so that net/http adds none
	if len(got) != 2 || got.Get("X-Api-Token") != "T0KEN-of-the-account-0" || got.Get("X_Own") != "kept" {
		t.Errorf("the upstream got %v", got)
	}
}

// HTTP/2 sends trailers after bodies of known length, too.
func TestTrailersOfAShortBodyPass(t *testing.T) {
	got := make(chan http.Header, 1)
	upstream := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		if string(text) != "short" {
			t.Errorf("body %q", text)
		}
		got <- r.Trailer
	}))
	s := newStage(t, routeTo(t, upstream, "bearer"), &fixed{}, nil)
	req := httptest.NewRequest(http.MethodPost, "/proxy/crm/x", nil)
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader("short")), 5
	req.Trailer = http.Header{"X-Sum": {"1"}}
	req.Header.Set("Authorization", basic)
	s.ServeHTTP(httptest.NewRecorder(), req)
	if sent := <-got; sent.Get("X-Sum") != "1" {
		t.Errorf("the upstream got %v", sent)
	}
}

func TestALoginAtTheRootNamesTheMissingAppID(t *testing.T) {
	s, fake := newLogin(t)
	s.cfg.Login = func(string) []Route { return nil }
	for _, target := range []string{"/sns/oauth2/access_token?secret=veil~s3cret-key&code=C", "/sns/oauth2/access_token?secret=sdk~s3cret-key&code=C"} {
		w := httptest.NewRecorder()
		s.ServeLogin(w, httptest.NewRequest(http.MethodGet, target, nil))
		if !strings.Contains(w.Body.String(), "41002") {
			t.Errorf("%s: %s", target, w.Body)
		}
	}
	if len(fake.seen) != 0 {
		t.Errorf("the upstream was asked: %q", fake.seen)
	}
}

func TestClearingAQuotaWithTheAppSecretNeedsTheRightToRefresh(t *testing.T) {
	s, fake := newLogin(t)
	for _, target := range []string{
		"/proxy/wx/cgi-bin/clear_quota/v2?appsecret=veil~s3cret-key&appid=",
		"/proxy/wx/cgi-bin/component/clear_quota/v2?appsecret=veil~s3cret-key&component_appid=",
	} {
		if w := callWith(s, "POST", target+wechattest.DefaultAppID, ""); !strings.Contains(w.Body.String(), "48001") {
			t.Errorf("%s: %s", target, w.Body)
		}
	}
	if w := callWith(s, "GET", "/proxy/wx/sns/jscode2session?js_code=C&secret=veil~s3cret-key&appid="+appID, ""); strings.Contains(w.Body.String(), "48001") {
		t.Errorf("login: %s", w.Body)
	}
	if len(fake.seen) != 1 {
		t.Errorf("the upstream was asked: %q", fake.seen)
	}
}
