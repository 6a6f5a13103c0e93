package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi/wechatapi"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

func tokenQuery(appid, secret string) string {
	return "/cgi-bin/token?" + url.Values{
		"grant_type": {"client_credential"}, "appid": {appid}, "secret": {secret},
	}.Encode()
}

func stableBody(appid, secret string, force bool) string {
	body, _ := json.Marshal(wechatapi.Request{GrantType: "client_credential", AppID: appid, Secret: secret, ForceRefresh: wechatapi.Bool(force)})
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
		{"an account that no caller has", "GET", tokenQuery("wxnone", reader), "", 40013, "invalid appid"},
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
	old := memstore.New()
	source := &coordinatortest.Source{Name: "token-of-a"}
	attempt, err := old.Begin(t.Context(), wxa, coordinator.BeginRequest{TTL: time.Second, Limits: coordinator.DefaultLimits()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Commit(t.Context(), wxa, coordinator.CommitRequest{
		Attempt: attempt, Token: coordinator.NewToken("old"), Lifetime: 2 * time.Hour, Age: time.Minute,
	}); err != nil {
		t.Fatal(err)
	}
	s = stageOn(t, old, map[string]*coordinatortest.Source{wxa: source})
	s.wait("the token", func() bool { _, ok := s.account(wxa).Peek(); return ok })
	if r := force(); r.field("access_token") != "token-of-a-1" {
		t.Errorf("later: %s, want a new token", r.body)
	}
}

func TestAnSDKMayPasteAPasswordIntoTheURL(t *testing.T) {
	pasted := map[string]string{
		"plus": "Zm9v+YmFy/YmF6Zm9vYmFyYmF6=", "semi": "Zm9v;YmFyYmF6", "percent": "a%2Fb%zz-c", "space": "two words", "tilde": "a~b:c~d",
	}
	var users []auth.User
	for name, password := range pasted {
		users = append(users, auth.User{Name: name, Password: password, Accounts: []string{wxa}})
	}
	gate, err := auth.New(users)
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, func(c *Config) { c.Callers = gate })
	for name, password := range pasted {
		for _, separator := range []string{":", "~"} {
			secret := name + separator + password
			sent := map[string]string{"escaped": url.QueryEscape(secret), "escaped as in a path": url.PathEscape(secret)}
			if name != "space" { // no client sends one as it is
				sent["pasted"] = secret
			} else {
				sent["pasted with +"] = name + separator + "two+words"
			}
			for how, value := range sent {
				r := s.ask("", "GET", "/cgi-bin/token?grant_type=client_credential&secret="+value+"&appid="+wxa, "")
				if r.field("access_token") != "token-of-a-1" {
					t.Errorf("%s, %s: %s", secret, how, r.body)
				}
			}
		}
		body := "UserName=" + name + "&Password=" + url.QueryEscape(password)
		if r := s.ask("", "POST", "/GetToken", body, "Content-Type", formType); !isBareToken(r) {
			t.Errorf("/GetToken, %s escaped: %d %s", password, r.status, r.body)
		}
		body = "UserName=" + name + "&Password=" + strings.ReplaceAll(password, " ", "+")
		if r := s.ask("", "POST", "/GetToken", body, "Content-Type", formType); !isBareToken(r) {
			t.Errorf("/GetToken, %s pasted: %d %s", password, r.status, r.body)
		}
	}
	if log := s.log.String(); strings.Contains(log, "caller refused") {
		t.Errorf("a caller was refused: %s", log)
	}
}

func TestAWrongPasswordIsRefusedOnceHoweverItCanBeRead(t *testing.T) {
	s := newStage(t)
	r := s.ask("", "GET", "/cgi-bin/token?grant_type=client_credential&appid="+wxa+"&secret=reader:wrong+%2B%zz", "")
	checkTrouble(t, "wrong in every reading", r, 40125, "invalid appsecret")
	if n := strings.Count(s.log.String(), "caller refused"); n != 1 {
		t.Errorf("%d audit lines, want 1: %s", n, s.log.String())
	}
	s.nothingIn("the log", s.log.String())
}

func TestDropInTakesWhatSDKsSend(t *testing.T) {
	s := newStage(t)
	tilde := strings.Replace(reader, ":", "~", 1)
	for name, r := range map[string]reply{
		"a tilde":               s.ask("", "GET", tokenQuery(wxa, tilde), ""),
		"a tilde, stable":       s.ask("", "POST", "/cgi-bin/stable_token", stableBody(wxa, tilde, false)),
		"POST token, JSON":      s.ask("", "POST", "/cgi-bin/token", stableBody(wxa, reader, false), "Content-Type", "application/json"),
		"JSON behind a BOM":     s.ask("", "POST", "/cgi-bin/stable_token", "\ufeff"+stableBody(wxa, reader, false)),
		"force_refresh as text": s.ask("", "POST", "/cgi-bin/stable_token", strings.Replace(stableBody(wxa, reader, false), "false", `"false"`, 1)),
		"an empty field more":   s.ask("", "GET", tokenQuery(wxa, reader)+"&neededText=", ""),
		"the old token too":     s.ask("", "GET", tokenQuery(wxa, reader)+"&access_token=OLD", ""),
	} {
		if r.field("access_token") != "token-of-a-1" {
			t.Errorf("%s: %s", name, r.body)
		}
	}
	r := s.ask("", "POST", "/cgi-bin/stable_token", strings.Replace(stableBody(wxa, reader, true), "true", `"true"`, 1))
	checkTrouble(t, "force_refresh as text without the right", r, 48001, "api unauthorized")
	if r := s.ask("", "GET", "/v1/tokens/"+wxa, "", "Authorization", "Bearer "+tilde); r.status != 200 {
		t.Errorf("Bearer with a tilde: %d", r.status)
	}
}

func TestAnSDKIsAnsweredBeforeItGivesUp(t *testing.T) {
	ask := func(s *stage, account string, within time.Duration, message string) {
		t.Helper()
		began := time.Now()
		checkTrouble(t, message, s.ask("", "GET", tokenQuery(account, admin), ""), -1, "system error, "+message)
		if took := time.Since(began); took > within {
			t.Errorf("%s: answered after %v, want within %v", message, took, within)
		}
	}
	ask(failingStage(t, coordinatortest.Hangs()), wxa, sdkWait+700*time.Millisecond, "") // the least that an SDK waits is 3 s

	s := newStage(t)
	s.store.SetDown(true)
	s.wait("the loss", func() bool { return s.zk.StoreError() != nil })
	if _, err := s.zk.Add(coordinator.AccountConfig{Name: "late"}); err != nil {
		t.Fatal(err)
	}
	ask(s, "late", time.Second, "Redis cannot be reached")
}

func TestDropInPassesTheIssuersWordsOn(t *testing.T) {
	for code, want := range map[int]int{40164: 40164, 40243: 40243, 40125: -1, 40013: -1} {
		s := failingStage(t, coordinatortest.FailsWith(coordinator.FailedRefused, coordinator.NumericCode(code), "words of the issuer"))
		r := s.ask("", "GET", tokenQuery(wxa, admin), "")
		if r.status != 200 || r.field("errcode") != fmt.Sprint(want) || !strings.Contains(r.body, "words of the issuer") {
			t.Errorf("%d: %d %s, want errcode %d and the issuer's words", code, r.status, r.body, want)
		}
	}
}

// shops is a Directory of two accounts with one AppID, wxb the stable one.
type shops struct{ noDirectory }

func (shops) Source(account string) string {
	return map[string]string{wxa: "token", wxb: "stable_token"}[account]
}

func (shops) WeChat(appID string) []string {
	return map[string][]string{"wx-app": {wxa, wxb}, wxb: {wxa}}[appID]
}

// twins is shops with both accounts of one source.
type twins struct{ shops }

func (twins) Source(string) string { return "token" }

func TestAnAccountIsFoundByItsAppID(t *testing.T) {
	for _, c := range []struct {
		of                         Directory
		appID, who, route, account string
		stable                     bool
	}{
		{of: shops{}, appID: "wx-app", who: reader, account: wxa},
		{of: shops{}, appID: "wx-app", who: reader, stable: true, account: wxa},
		{of: shops{}, appID: "wx-app", who: neighbor, account: wxb},
		{of: shops{}, appID: "wx-app", who: admin, account: wxa},
		{of: shops{}, appID: "wx-app", who: admin, stable: true, account: wxb},
		{of: shops{}, appID: "wx-app", who: admin, route: wxb, account: wxb},
		{of: twins{}, appID: "wx-app", who: admin, route: wxb, account: wxb},
		{of: twins{}, appID: "wx-app", who: admin},
		{of: shops{}, appID: wxb, who: admin, account: wxb},
		{of: shops{}, appID: wxb, who: admin, route: wxa, account: wxa},
		{of: shops{}, appID: wxb, who: reader, account: wxa},
		{of: shops{}, appID: "wx-app", who: reader, route: wxb, account: wxa},
	} {
		s := newStage(t, func(config *Config) { config.Directory = c.of })
		req := httptest.NewRequest("GET", tokenQuery(c.appID, c.who), nil)
		if c.stable {
			req = httptest.NewRequest("POST", "/cgi-bin/stable_token", strings.NewReader(stableBody(c.appID, c.who, false)))
		}
		w := httptest.NewRecorder()
		s.api.ServeRoute(w, req, c.route)
		want := wxa + ", " + wxb
		if c.account != "" {
			want = s.token(c.account)
		}
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%+v: %s", c, w.Body)
		}
	}
}
