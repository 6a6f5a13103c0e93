package httpapi

import (
	"net/url"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

func TestSlashesThatABaseURLBringsAlongChangeNoAnswer(t *testing.T) {
	s := newStage(t)
	form := strings.TrimPrefix(tokenQuery(wxa, reader), "/cgi-bin/token?")
	for _, c := range []struct {
		who, method, path, body string
		variants                []string
	}{
		{admin, "GET", "/v1/tokens/" + wxa, "", []string{
			"//v1/tokens/" + wxa, "/v1/tokens/" + wxa + "/", "/v1//tokens/" + wxa, "/v1/tokens//" + wxa + "//", "/%76%31/tokens/" + wxa,
		}},
		{admin, "POST", "/v1/tokens/" + wxa + "/refresh", `{"if_token":"an-old-one"}`, []string{
			"//v1/tokens/" + wxa + "/refresh", "/v1/tokens/" + wxa + "/refresh/", "/v1/tokens/" + wxa + "//refresh",
		}},
		{"", "GET", "/cgi-bin/token?" + form, "", []string{
			"//cgi-bin/token?" + form, "/cgi-bin/token/?" + form, "/cgi-bin//token?" + form, "///cgi-bin/token//?" + form,
		}},
		{"", "POST", "/cgi-bin/stable_token", stableBody(wxa, reader, false), []string{"//cgi-bin/stable_token", "/cgi-bin/stable_token/"}},
		{"", "GET", "/healthz", "", []string{"/healthz/", "//healthz"}},
		{"", "GET", "/readyz", "", []string{"/readyz/", "//readyz"}},
		{"", "GET", "/page.css", "", []string{"//page.css", "/page.css/", "/page%2Ecss"}},
		{admin, "GET", "/openapi.yaml", "", []string{"//openapi.yaml"}},
	} {
		want := s.ask(c.who, c.method, c.path, c.body)
		for _, path := range c.variants {
			r := s.ask(c.who, c.method, path, c.body)
			if r.status != 200 || want.status != 200 || r.body != want.body {
				t.Errorf("%s %s: %d %s, want as %s: %d %s", c.method, path, r.status, r.body, c.path, want.status, want.body)
			}
		}
	}
	for _, path := range []string{"//", "/?lang=en"} {
		if r := s.ask(admin, "GET", path, ""); r.status != 200 || !strings.Contains(r.body, "<html") {
			t.Errorf("GET %s: %d, want the page", path, r.status)
		}
	}
}

func TestAnEscapedSlashIsPartOfAName(t *testing.T) {
	s := newStage(t)
	const odd = "中控-a%2F+b"
	if _, err := s.zk.Add(coordinator.AccountConfig{Name: odd, Source: &coordinatortest.Source{Name: "token-of-odd"}}); err != nil {
		t.Fatal(err)
	}
	escaped := url.PathEscape(odd)
	for _, path := range []string{"/v1/tokens/" + escaped, "//v1/tokens/" + escaped + "/", "/v1/tokens/" + strings.ReplaceAll(escaped, "a", "%61")} {
		if r := s.ask(admin, "GET", path, ""); r.status != 200 || r.field("name") != odd {
			t.Errorf("GET %s: %d %s, want the token", path, r.status, r.body)
		}
	}
	if r := s.ask(admin, "POST", "/v1/tokens/"+escaped+"/refresh", ""); r.status != 200 || r.field("name") != odd {
		t.Errorf("a refresh: %d %s, want the token", r.status, r.body)
	}
	if r := s.ask(admin, "GET", "/v1/accounts/"+escaped, ""); r.status != 200 || r.field("name") != odd {
		t.Errorf("the state: %d %s", r.status, r.body)
	}
	for path, code := range map[string]string{
		"/v1/accounts/a%2Fb": "unknown_account", "/v1/accounts/a/b": "not_found", "/v1/accounts%2F" + wxa: "not_found",
		"/v1/tokens/a%2Fb": "unknown_account", "/v1/tokens/" + wxa + "%2Frefresh": "unknown_account", "//v1/tokens/a%2fb/": "unknown_account",
		"/v1/tokens/a/b": "not_found", "/v1/tokens%2F" + wxa: "not_found", "/v1%2Ftokens%2F" + wxa: "not_found", "/v1%2Fevents": "not_found",
	} {
		if r := s.ask(admin, "GET", path, ""); r.status != 404 || r.field("error") != code {
			t.Errorf("GET %s: %d %s, want 404 %s", path, r.status, r.body, code)
		}
	}
}

func TestAWrongPrefixIsToldInTheShapeThatItsClientReads(t *testing.T) {
	s := newStage(t)
	query := strings.TrimPrefix(tokenQuery(wxa, reader), "/cgi-bin/token")
	for _, c := range []struct{ method, path, words string }{
		{"GET", "/wx/cgi-bin/token" + query, "before /cgi-bin/"},
		{"GET", "//a/b/cgi-bin/token/" + query, "before /cgi-bin/"},
		{"POST", "/wx/cgi-bin/stable_token", "before /cgi-bin/"},
		{"GET", "/token" + query, "begin with /cgi-bin/"},
		{"POST", "/stable_token", "begin with /cgi-bin/"},
		{"GET", "/wx/cgi-bin/", "before /cgi-bin/"},
		{"GET", "/cgi-bin/user/info?access_token=x", "only tokens"},
		{"GET", "/CGI-BIN/token" + query, "only tokens"},
		{"POST", "/wxa/getwxacodeunlimit?access_token=x", "only tokens"},
		{"GET", "/cgi-bin", "only tokens"},
	} {
		r := s.ask("", c.method, c.path, "{}")
		checkTrouble(t, c.method+" "+c.path, r, 40066, "invalid url, .*"+c.words)
	}
	r := s.ask("", "POST", "/wx/GetToken/", "UserName=reader&Password=reader-password", "Content-Type", formType)
	if r.status != 404 || r.field("error") != "not_found" || !strings.Contains(r.body, "before /GetToken") {
		t.Errorf("POST /wx/GetToken/: %d %s, want 404 that says what is wrong with the path", r.status, r.body)
	}
	r = s.ask(admin, "GET", "/wx/v1/tokens/"+wxa, "")
	if r.status != 404 || r.field("error") != "not_found" || !strings.Contains(r.body, "prefix") {
		t.Errorf("GET /wx/v1/tokens/…: %d %s, want 404 that says what is wrong with the path", r.status, r.body)
	}
	s.nothingIn("the log", s.log.String())
}
