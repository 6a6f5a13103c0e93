package httpapi

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

func tokenQuery(appid, secret string) string {
	return "/cgi-bin/token?" + url.Values{
		"grant_type": {"client_credential"}, "appid": {appid}, "secret": {secret},
	}.Encode()
}

func stableBody(appid, secret string, force bool) string {
	body, _ := json.Marshal(question{"client_credential", appid, secret, force})
	return string(body)
}

func TestDropInAnswersAsWeChatDoes(t *testing.T) {
	s := newStage(t)
	form := strings.TrimPrefix(tokenQuery(wxa, reader), "/cgi-bin/token?")
	for name, r := range map[string]reply{
		"GET token":           s.ask("", "GET", tokenQuery(wxa, reader), ""),
		"POST token, query":   s.ask("", "POST", tokenQuery(wxa, reader), ""),
		"POST token, form":    s.ask("", "POST", "/cgi-bin/token", form, "Content-Type", formType),
		"POST stable, JSON":   s.ask("", "POST", "/cgi-bin/stable_token", stableBody(wxa, reader, false), "Content-Type", "application/json"),
		"POST stable, form":   s.ask("", "POST", "/cgi-bin/stable_token", form, "Content-Type", formType),
		"POST stable, naming": s.ask("", "POST", "/cgi-bin/stable_token", stableBody(wxa, reader, false), "Content-Type", formType),
	} {
		want := regexp.MustCompile(`^\{"access_token":"token-of-a-1","expires_in":[1-7]\d\d\d\}$`)
		if r.status != 200 || !want.MatchString(r.body) || r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s, want as WeChat answers", name, r.status, r.body)
		}
	}
}

func TestDropInErrorsHaveWeChatsShape(t *testing.T) {
	s := newStage(t)
	secret := url.QueryEscape(reader)
	for _, c := range []struct {
		name, method, path, body string
		code                     int
		message                  string
	}{
		{"no appid", "GET", "/cgi-bin/token?grant_type=client_credential&secret=" + secret, "", 41002, "appid missing"},
		{"no secret", "GET", "/cgi-bin/token?grant_type=client_credential&appid=" + wxa, "", 41004, "appsecret missing"},
		{"no grant_type", "GET", "/cgi-bin/token?appid=" + wxa + "&secret=" + secret, "", 40002, "invalid grant_type"},
		{"a wrong password", "GET", tokenQuery(wxa, stranger), "", 40125, "invalid appsecret"},
		{"an AppSecret", "GET", tokenQuery(wxa, "0123456789abcdef0123456789abcdef"), "", 40125, "invalid appsecret"},
		{"an unknown account", "GET", tokenQuery("wxnone", admin), "", 40013, "invalid appid"},
		{"another's account", "GET", tokenQuery(wxb, reader), "", 40013, "invalid appid"},
		{"an account that is nobody's", "GET", tokenQuery("wxnone", reader), "", 40013, "invalid appid"},
		{"GET stable_token", "GET", "/cgi-bin/stable_token", "", 43002, "require POST method"},
		{"PUT token", "PUT", "/cgi-bin/token", "", 43001, "require GET method"},
		{"stable_token without a body", "POST", "/cgi-bin/stable_token", "", 41002, "appid missing"},
		{"stable_token with garbage", "POST", "/cgi-bin/stable_token", "{", 41002, "appid missing"},
		{"force_refresh without the right", "POST", "/cgi-bin/stable_token", stableBody(wxa, reader, true), 48001, "api unauthorized"},
		{"a huge body", "POST", "/cgi-bin/stable_token", strings.Repeat("a", 17<<10), 41002, "appid missing"},
	} {
		r := s.ask("", c.method, c.path, c.body)
		checkTrouble(t, c.name, r, c.code, c.message)
	}
	if r := s.ask("", "GET", "/cgi-bin/user/info?access_token=x", ""); r.status != 200 || !strings.Contains(r.body, `"errcode":40066`) {
		t.Errorf("a business call: %d %s", r.status, r.body)
	}
}

func checkTrouble(t *testing.T, name string, r reply, code int, message string) {
	t.Helper()
	want := regexp.MustCompile(fmt.Sprintf(`^\{"errcode":%d,"errmsg":"%s.* rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}"\}$`, code, message))
	if r.status != 200 || !want.MatchString(r.body) {
		t.Errorf("%s: %d %s, want 200 with %d %s", name, r.status, r.body, code, message)
	}
}

func TestForceRefreshIsWeChats(t *testing.T) {
	s := newStage(t)
	force := func() reply { return s.ask("", "POST", "/cgi-bin/stable_token", stableBody(wxa, admin, true)) }
	if r := force(); r.field("access_token") != "token-of-a-1" {
		t.Errorf("within 30 s: %s, want the token that there is", r.body)
	}
	if n := s.sources[wxa].Issued(); n != 1 {
		t.Errorf("%d tokens issued, want 1", n)
	}
	// An account whose token is older than that.
	old := coordinatortest.NewMemStore()
	source := &coordinatortest.Source{Name: "token-of-a"}
	attempt, err := old.Begin(t.Context(), wxa, coordinator.Begin{Life: time.Second, Limits: coordinator.DefaultLimits})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Commit(t.Context(), wxa, coordinator.Commit{
		Attempt: attempt, Token: coordinator.NewToken("old"), Life: 2 * time.Hour, Age: time.Minute,
	}); err != nil {
		t.Fatal(err)
	}
	s = stageOn(t, old, map[string]*coordinatortest.Source{wxa: source})
	s.wait("the token", func() bool { _, ok := s.account(wxa).Peek(); return ok })
	if r := force(); r.field("access_token") != "token-of-a-1" {
		t.Errorf("later: %s, want a new token", r.body)
	}
}

func TestAnSDKIsNotToldToKeepATokenThatWillBeReplaced(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name            string
		left, toRefresh time.Duration
		want            time.Duration
	}{
		{"fresh, replaced in an hour", 2 * time.Hour, time.Hour, time.Hour + overlap},
		{"about to be replaced: what SDKs take off is left", time.Hour, time.Second, leastLife},
		{"a refresh that is overdue", 50 * time.Minute, -10 * time.Minute, leastLife},
		{"about to expire", time.Minute, time.Second, time.Minute},
	} {
		a := &answer{expiresIn: int64(c.left / time.Second), dies: now.Add(c.toRefresh + overlap)}
		if got := time.Duration(dropInLife(a, now)) * time.Second; got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestDropInPassesTheIssuersWordsOn(t *testing.T) {
	for code, want := range map[int]int{40164: 40164, 40243: 40243, 40125: -1, 40013: -1} {
		s := failingStage(t, coordinatortest.FailsWith(coordinator.FailedRefused, code, "words of the issuer"))
		r := s.ask("", "GET", tokenQuery(wxa, admin), "")
		if r.status != 200 || r.field("errcode") != fmt.Sprint(want) || !strings.Contains(r.body, "words of the issuer") {
			t.Errorf("%d: %d %s, want errcode %d and the issuer's words", code, r.status, r.body, want)
		}
	}
}
