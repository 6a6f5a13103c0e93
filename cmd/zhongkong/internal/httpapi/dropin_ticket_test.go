package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// book is a Directory in which wxb is every ticket of wxa, and the member "member" of it.
type book struct {
	noDirectory
	held  map[string]auth.Caller // by token of wxa
	corp  []string
	pages wechat.Pages
}

func (b *book) Ticket(of, _ string) string {
	if of == wxa {
		return wxb
	}
	return ""
}
func (b *book) Corp(id string) []string {
	if id == "ww1" || id == wxb { // wxb: an account has the corpid as its name
		return b.corp
	}
	return nil
}
func (b *book) Platform(source, id string) string {
	if id == "platform" && (source == "wechat_platform" || source == "wecom_suite") {
		return wxa
	}
	return ""
}
func (b *book) Member(_, platform, id string) string {
	if platform == wxa && id == "member" {
		return wxb
	}
	return ""
}
func (b *book) Signer(account string) (Signer, bool) {
	return Signer{Ticket: wxb, AppID: "wx-app", Pages: b.pages}, account == wxa || account == wxb
}
func (b *book) Holder(_ *http.Request, token string) (string, auth.Caller, bool) {
	c, ok := b.held[token]
	return wxa, c, ok
}

func newBook(t *testing.T) *book {
	t.Helper()
	pages, err := wechat.ParsePages([]string{"m.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	return &book{held: map[string]auth.Caller{"held": {}}, corp: []string{wxa}, pages: pages}
}

func (b *book) use(c *Config) { c.Directory = b }

func TestTicketsAreGivenToHoldersOfTheAccountsToken(t *testing.T) {
	s := newStage(t, newBook(t).use)
	for _, path := range []string{
		"/cgi-bin/ticket/getticket?access_token=held&type=jsapi",
		"/cgi-bin/ticket/getticket?type=wx_card&access_token=held",
		"/cgi-bin/get_jsapi_ticket?access_token=held",
		"/cgi-bin/ticket/get?access_token=held&type=agent_config",
	} {
		for _, method := range []string{"GET", "POST"} {
			r := s.ask("", method, path, "")
			if r.status != 200 || !strings.HasPrefix(r.body, `{"errcode":0,"errmsg":"ok","ticket":"`+s.token(wxb)+`","expires_in":`) {
				t.Errorf("%s %s: %d %s", method, path, r.status, r.body)
			}
			if seconds, _ := strconv.Atoi(fmt.Sprint(r.field("expires_in"))); seconds < 3600 || seconds > 3900 {
				t.Errorf("%s %s: %s", method, path, r.body)
			}
		}
		if r := s.ask("", "HEAD", path, ""); r.status != 200 || r.header.Get("Content-Type") != "application/json; charset=utf-8" || r.body != "" {
			t.Errorf("HEAD %s: %d %v", path, r.status, r.header)
		}
	}
}

func TestRefusedTicketsAreAnsweredAsWeChatAndWeComDo(t *testing.T) {
	b := newBook(t)
	s := newStage(t, b.use)
	silent := failingStage(t, coordinatortest.Hangs(), b.use)
	bare := newStage(t)
	for _, c := range []struct {
		on   *stage
		path string
		code string
	}{
		{s, "/cgi-bin/ticket/getticket?type=jsapi", "41001"},
		{s, "/cgi-bin/ticket/getticket?type=jsapi&access_token=dead", "40001"},
		{s, "/cgi-bin/ticket/getticket?type=other&access_token=held", "40097"},
		{s, "/cgi-bin/ticket/getticket?access_token=held", "40097"},
		{s, "/cgi-bin/get_jsapi_ticket?access_token=dead", "40014"},
		{s, "/cgi-bin/ticket/get?type=agent_config&access_token=dead", "40014"},
		{s, "/cgi-bin/ticket/get?type=jsapi&access_token=held", "40097"},
		{silent, "/cgi-bin/get_jsapi_ticket?access_token=held", "-1"},
		{bare, "/cgi-bin/get_jsapi_ticket?access_token=held", "40014"},
	} {
		if r := c.on.ask("", "GET", c.path, ""); r.status != 200 || r.field("errcode") != c.code || strings.Contains(r.body, "held") {
			t.Errorf("%s: %d %s, want %s", c.path, r.status, r.body, c.code)
		}
	}
	if r := s.ask("", "PUT", "/cgi-bin/ticket/get?access_token=held", ""); r.field("errcode") != "43002" {
		t.Errorf("PUT: %d %s", r.status, r.body)
	}
	if log := s.log.String(); strings.Contains(log, "dead") || !strings.Contains(log, "the access_token was not given out here") {
		t.Errorf("the log: %s", log)
	}
}

// noTickets is a book without tickets.
type noTickets struct{ *book }

func (noTickets) Ticket(string, string) string { return "" }

func TestAMissingTicketSaysWhatToConfigure(t *testing.T) {
	s := newStage(t, func(c *Config) { c.Directory = noTickets{newBook(t)} })
	r := s.ask("", "GET", "/cgi-bin/ticket/getticket?type=jsapi&access_token=held", "")
	if r.field("errcode") != "48001" || !strings.Contains(r.body, "jsapi_ticket") {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestPagesAreSignedForCallersWhoMayHaveTheAccount(t *testing.T) {
	b := newBook(t)
	s := newStage(t, b.use)
	silent := failingStage(t, coordinatortest.Hangs(), b.use)
	silent.api.Stop()
	const page = "https://m.example.com/a?b=c&d=%E4%B8%AD"
	asked := "?url=" + url.QueryEscape(page+"#top")
	for _, name := range []string{wxa, wxb} {
		r := s.ask(admin, "GET", "/v1/jssdk/"+name+asked, "")
		timestamp, _ := strconv.ParseInt(fmt.Sprint(r.field("timestamp")), 10, 64)
		want := wechat.JSSDKSignature(coordinator.NewToken(s.token(wxb)), fmt.Sprint(r.field("nonceStr")), timestamp, page)
		if r.status != 200 || r.field("appId") != "wx-app" || r.field("signature") != want {
			t.Errorf("%s: %d %s, want the signature %s", name, r.status, r.body, want)
		}
		if strings.Contains(r.body, s.token(wxb)) || r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s %v", name, r.body, r.header)
		}
	}
	for _, c := range []struct {
		on        *stage
		who, path string
		status    int
		code      string
	}{
		{s, "", wxa + asked, 401, "unauthorized"},
		{s, reader, wxb + asked, 403, "forbidden"},
		{s, reader, wxa + asked, 200, ""},
		{s, admin, "none" + asked, 404, "unknown_account"},
		{s, admin, wxa + "?url=" + url.QueryEscape("https://evil.example/"), 403, "foreign_page"},
		{s, admin, wxa + "?url=" + url.QueryEscape("https://m.example.com@evil.example/"), 400, "bad_request"},
		{s, admin, wxa + "?url=" + page, 400, "bad_request"}, // not escaped
		{s, admin, wxa + asked + "&url=x", 400, "bad_request"},
		{s, admin, wxa, 400, "bad_request"},
		{s, admin, wxa + "?url=", 400, "bad_request"},
		{silent, admin, wxa + asked, 503, "no_token"},
		{newStage(t), admin, wxa + asked, 404, "not_found"},
	} {
		r := c.on.ask(c.who, "GET", "/v1/jssdk/"+c.path, "")
		if code, _ := r.field("error").(string); r.status != c.status || code != c.code {
			t.Errorf("%s as %q: %d %s, want %d %s", c.path, c.who, r.status, r.body, c.status, c.code)
		}
	}
	if r := s.ask(admin, "GET", "/v1/jssdk/"+wxa+asked, "", "Origin", "https://m.example.com"); r.status != 403 {
		t.Errorf("from a page: %d %s", r.status, r.body)
	}
}

func TestWeComAppsAreFoundByNameAndByCorp(t *testing.T) {
	b := newBook(t)
	s := newStage(t, b.use)
	ask := func(corpID, secret string) reply {
		return s.ask("", "GET", "/cgi-bin/gettoken?corpid="+corpID+"&corpsecret="+secret, "")
	}
	for what, r := range map[string]reply{
		"the name":        ask(wxa, reader),
		"the corp":        ask("ww1", reader),
		"a tilde":         ask("ww1", strings.Replace(reader, ":", "~", 1)),
		"POST":            s.ask("", "POST", "/cgi-bin/gettoken?corpid=ww1&corpsecret="+reader, "{}"),
		"a form":          s.ask("", "POST", "/cgi-bin/gettoken", "corpid=ww1&corpsecret="+url.QueryEscape(reader)),
		"a name of two":   ask(wxa, admin),
		"one that it may": func() reply { b.corp = []string{wxb, wxa}; return ask("ww1", reader) }(),
	} {
		if r.status != 200 || !strings.HasPrefix(r.body, `{"errcode":0,"errmsg":"ok","access_token":"`+s.token(wxa)+`","expires_in":`) {
			t.Errorf("%s: %d %s", what, r.status, r.body)
		}
	}
	for _, c := range []struct{ corpID, secret, code, words string }{
		{"", reader, "41002", "corpid missing"},
		{"ww1", "", "41004", "corpsecret missing"},
		{"ww1", "hexadecimal", "40001", "invalid credential"},
		{"ww1", stranger, "40001", "invalid credential"},
		{"ww1", admin, "40013", "the name of one account: " + wxb + ", " + wxa},
		{"ww2", reader, "40013", "the name of an account of the caller"},
		{"ww2", admin, "40013", "the name of an account of the caller"},
		{wxb, reader, "0", s.token(wxa)},
	} {
		if r := ask(c.corpID, c.secret); r.field("errcode") != c.code || !strings.Contains(r.body, c.words) {
			t.Errorf("%q with %q: %d %s, want %s", c.corpID, c.secret, r.status, r.body, c.code)
		}
	}
	b.corp = []string{wxb}
	if r := ask("ww1", reader); r.field("errcode") != "40013" {
		t.Errorf("another caller's app: %s", r.body)
	}
	if log := s.log.String(); strings.Contains(log, "-password") {
		t.Errorf("the log holds a password: %s", log)
	}
}
