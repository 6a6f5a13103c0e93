package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// login is WeChat's /sns/ and clear_quota/v2, as far as secrets go. It repeats
// in seen what came, and in its answer what it was sent if the code is "echo".
type fakeLogin struct{ seen []string }

func (f *fakeLogin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.seen = append(f.seen, r.Method+" "+r.URL.Path+"?"+r.URL.RawQuery+" "+string(body))
	w.Header().Set("Content-Type", "text/plain")
	q := r.URL.Query()
	if form, err := url.ParseQuery(string(body)); err == nil && !strings.HasPrefix(string(body), "{") {
		for k, v := range form {
			q[k] = v
		}
	}
	secret := q.Get("secret") + q.Get("appsecret")
	if strings.Contains(string(body), `"appsecret":"`+wechattest.DefaultSecret+`"`) {
		secret = wechattest.DefaultSecret
	}
	switch {
	case r.URL.Path == "/sns/userinfo":
		_, _ = io.WriteString(w, `{"openid":"o1","token":"`+q.Get("access_token")+`"}`)
	case secret != wechattest.DefaultSecret:
		_, _ = io.WriteString(w, `{"errcode":40125,"errmsg":"invalid appsecret"}`)
	case q.Get("code") == "echo":
		w.Header().Set("X-Echo", r.URL.RawQuery)
		_, _ = io.WriteString(w, "you sent "+r.URL.RawQuery)
	case r.URL.Path == "/cgi-bin/clear_quota/v2":
		_, _ = io.WriteString(w, `{"errcode":0,"errmsg":"ok"}`)
	default:
		_, _ = io.WriteString(w, `{"openid":"o1","session_key":"k","access_token":"user-token"}`)
	}
}

func newLogin(t *testing.T) (*stage, *fakeLogin) {
	t.Helper()
	fake := &fakeLogin{}
	return newStage(t, weChatRoute(t, serve(t, fake)), &fixed{}, nil), fake
}

func TestLoginIsPassedOnWithTheAppSecret(t *testing.T) {
	s, fake := newLogin(t)
	const form, asJSON = "Content-Type: application/x-www-form-urlencoded", "Content-Type: application/json"
	for _, c := range []struct{ method, path, body, header, want string }{
		{"GET", "/sns/jscode2session?appid=" + appID + "&secret=sdk:s3cret-key&js_code=C&grant_type=authorization_code", "", "", "session_key"},
		{"GET", "/sns/oauth2/access_token?appid=" + appID + "&secret=sdk%3As3cret-key&code=C", "", "", "openid"},
		{"GET", "/SNS/oauth2//access_token?appid=" + appID + "&secret=sdk~s3cret-key&code=C", "", "", "openid"},
		{"GET", "/sns/jscode2session?appid=" + appID + "&js_code=C", "", "Authorization: " + basic, "session_key"},
		{"POST", "/cgi-bin/clear_quota/v2?appid=" + appID + "&appsecret=sdk:s3cret-key", "", "", `"errcode":0`},
		{"POST", "/cgi-bin/clear_quota/v2", "appid=" + appID + "&appsecret=sdk%3As3cret-key", form, `"errcode":0`},
		{"POST", "/cgi-bin/clear_quota/v2", `{"appid":"` + appID + `","appsecret":"sdk:s3cret-key"}`, asJSON, `"errcode":0`},
		{"POST", "/cgi-bin/clear_quota/v2?access_token=old", `{"appid":"` + appID + `","appsecret":"sdk:s3cret-key"}`, asJSON, `"errcode":0`},
	} {
		var headers []string
		if c.header != "" {
			headers = append(headers, c.header)
		}
		if w := callWith(s, c.method, "/proxy/wx"+c.path, c.body, headers...); w.Code != 200 || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, w.Code, w.Body)
		}
	}
	for _, seen := range fake.seen {
		if strings.Contains(seen, userKey) || strings.Contains(seen, "access_token=") || strings.Contains(seen, "T0KEN") {
			t.Errorf("upstream got %s", seen)
		}
	}
	if strings.Contains(s.logged.String(), wechattest.DefaultSecret) || strings.Contains(s.logged.String(), userKey) || strings.Contains(s.logged.String(), "js_code") {
		t.Errorf("the log shows a secret: %s", s.logged)
	}
	if got := s.Stats()[0]; got.Logins != uint64(len(fake.seen)) {
		t.Errorf("%d logins counted, %d seen", got.Logins, len(fake.seen))
	}
}

func TestLoginWithoutAKeyDoesNotReachWeChat(t *testing.T) {
	s, fake := newLogin(t)
	const session = "/proxy/wx/sns/jscode2session"
	for target, want := range map[string]string{
		session + "?appid=" + appID + "&js_code=C":                                         "41004",
		session + "?appid=" + appID + "&secret=0123456789abcdef0123456789abcdef&js_code=C": "40125",
		session + "?appid=" + appID + "&secret=sdk:wrong&js_code=C":                        "40125",
		session + "?appid=" + appID + "&secret=nobody:s3cret-key":                          "40125",
		session + "?appid=" + appID + "&secret=stranger:s3cret-key":                        "48001",
		session + "?appid=wxanother&secret=sdk:s3cret-key":                                 "40013",
		session + "?secret=sdk:s3cret-key":                                                 "41002",
		"/proxy/wx/sns/jscode2session%2f?appid=" + appID + "&secret=sdk:wrong":             "40125",
		"/proxy/wx/cgi-bin/component/api_start_push_ticket":                                "41004",
	} {
		w := callWith(s, "GET", target, "")
		if w.Code != 200 || !strings.Contains(w.Body.String(), `"errcode":`+want) || strings.Contains(w.Body.String(), userKey) {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	if w := callWith(s, "POST", session, strings.Repeat("a", 20<<10)); !strings.Contains(w.Body.String(), "41002") {
		t.Errorf("an oversized body: %s", w.Body)
	}
	if len(fake.seen) != 0 {
		t.Errorf("the upstream was asked: %q", fake.seen)
	}
}

func TestALoginAtTheRootMayHaveMoreSlashesThanItNeeds(t *testing.T) {
	s, fake := newLogin(t)
	s.cfg.Login = func(string) []Route { return s.cfg.Routes[:1] }
	for _, path := range []string{"//sns/jscode2session", "/sns//jscode2session", "/sns/jscode2session/"} {
		w := httptest.NewRecorder()
		if !IsLogin(path) {
			t.Errorf("%s is no login", path)
			continue
		}
		req := httptest.NewRequest(http.MethodGet, "/sns/jscode2session?js_code=C&appid="+appID+"&secret=veil~"+userKey, nil)
		req.URL.Path = path
		s.ServeLogin(w, req)
		if body := w.Body.String(); !strings.Contains(body, "session_key") {
			t.Errorf("%s: %s", path, body)
		}
	}
	if len(fake.seen) != 3 {
		t.Errorf("the upstream was asked: %q", fake.seen)
	}
	for _, path := range []string{"/", "//", "", "/sns", "/sns/jscode2session/x"} {
		if IsLogin(path) {
			t.Errorf("%q is a login", path)
		}
	}
}

func TestALoginAtTheRootIsForAnAccountOfTheCaller(t *testing.T) {
	s, fake := newLogin(t)
	first := weChatRoute(t, "http://192.0.2.1")
	first.Account = "another"
	second := s.cfg.Routes[0]
	s.cfg.Login = func(string) []Route { return []Route{first, second} }
	asks := func(secret string) string {
		w := httptest.NewRecorder()
		s.ServeLogin(w, httptest.NewRequest(http.MethodGet, "/sns/jscode2session?js_code=C&appid="+appID+"&secret="+secret, nil))
		return w.Body.String()
	}
	if body := asks("veil~" + userKey); !strings.Contains(body, "session_key") {
		t.Errorf("of a caller who may have the second account only: %s", body)
	}
	for _, secret := range []string{"veil~wrong", "nobody~" + userKey} {
		if body := asks(secret); !strings.Contains(body, "40125") {
			t.Errorf("%s: %s", secret, body)
		}
	}
	if len(fake.seen) != 1 {
		t.Errorf("the upstream was asked: %q", fake.seen)
	}
	logins := map[string]uint64{}
	for _, counted := range s.Stats() {
		if counted.Route == "/" {
			logins[counted.Account] = counted.Logins
		}
	}
	if logins[appID] != 1 || logins["another"] != 2 {
		t.Errorf("counted are %v, want the call of a known caller with its account", logins)
	}
}

func TestToClearAQuotaNeedsTheRefreshRight(t *testing.T) {
	fake := &fakeLogin{}
	s := newStage(t, weChatRoute(t, serve(t, fake)), &fixed{}, nil)
	const veil = "Authorization: Basic dmVpbDpzM2NyZXQta2V5" // veil:s3cret-key
	byPhantom := "?access_token=" + s.phantom(t, "veil", time.Hour)
	for _, c := range []struct{ target, header string }{
		{"/cgi-bin/clear_quota", veil}, {"/CGI-BIN//clear_quota/", veil}, {"/cgi-bin/component/clear_quota", veil},
		{"/cgi-bin/openapi/quota/clear", veil}, {"/cgi-bin/openapi/quota/clear" + byPhantom, "X: y"},
		{"/cgi-bin/clear_quota" + byPhantom, "X: y"}, {"/cgi-bin/component/clear_quota" + byPhantom, "X: y"},
	} {
		if w := callWith(s, "POST", "/proxy/wx"+c.target, `{"appid":"`+appID+`"}`, c.header); !strings.Contains(w.Body.String(), "48001") {
			t.Errorf("%s without the right: %d %s", c.target, w.Code, w.Body)
		}
	}
	if len(fake.seen) != 0 {
		t.Errorf("the upstream was asked: %q", fake.seen)
	}
	callWith(s, "POST", "/proxy/wx/cgi-bin/clear_quota", `{"appid":"`+appID+`"}`, "Authorization: "+basic)
	if len(fake.seen) != 1 {
		t.Errorf("with the right the upstream was asked: %q", fake.seen)
	}
}

func TestAnUnknownAppIDAtTheRootIsNotLogged(t *testing.T) {
	key, hash := auth.NewKey()
	s, _ := newLogin(t)
	s.cfg.Login = func(string) []Route { return nil }
	users := append(usersWithout(), auth.User{Name: "app", PasswordHashes: []string{hash}, Accounts: []string{"*"}})
	if err := s.callers.SetUsers(users); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, appID, secret string }{ // the two are swapped
		{"/sns/jscode2session", "app~" + key, appID},
		{"/sns/jscode2session", "app:" + key, appID},
		{"/sns/jscode2session", wechattest.DefaultSecret, appID},
		{"/sns/jscode2session", wechattest.DefaultSecret, "stranger~" + userKey},
		{"/cgi-bin/clear_quota/v2", "app~" + key, "app~" + key},
		{"/cgi-bin/clear_quota/v2", wechattest.DefaultSecret, "stranger~" + userKey},
	} {
		query := url.Values{"appid": {c.appID}, "secret": {c.secret}, "appsecret": {c.secret}}.Encode()
		s.ServeLogin(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, c.path+"?"+query, nil))
	}
	logged := s.logged.String()
	if n := strings.Count(logged, "caller refused"); n != 6 {
		t.Errorf("%d callers were refused, want 6: %s", n, logged)
	}
	for _, secret := range []string{key, wechattest.DefaultSecret, userKey} {
		if strings.Contains(logged, secret) {
			t.Errorf("the log shows %q: %s", secret, logged)
		}
	}
}

func TestTheAppSecretIsNotReflected(t *testing.T) {
	s, _ := newLogin(t)
	w := callWith(s, "GET", "/proxy/wx/sns/oauth2/access_token?appid="+appID+"&secret=sdk:s3cret-key&code=echo", "")
	if w.Code != 200 || strings.Contains(w.Body.String(), wechattest.DefaultSecret) || strings.Contains(w.Header().Get("X-Echo"), wechattest.DefaultSecret) {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
}

func TestAUsersTokenPassesAsItIs(t *testing.T) {
	s, fake := newLogin(t)
	w := callWith(s, "GET", "/proxy/wx/sns/userinfo?access_token=of-a-user&openid=o1&secret=sdk:s3cret-key", "")
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"token":"of-a-user"`) || len(fake.seen) != 1 || strings.Contains(fake.seen[0], userKey) {
		t.Errorf("%d %s, upstream got %q", w.Code, w.Body, fake.seen)
	}
}
