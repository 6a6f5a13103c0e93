package httpapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// foreignPages are the headers with which browsers send what a page of
// another site makes them send.
var foreignPages = map[string][]string{
	"an image":              {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"},
	"a script of a sibling": {"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script"},
	"fetch":                 {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Origin", "https://evil.example"},
	"an old browser":        {"Origin", "https://evil.example"},
	"a file":                {"Origin", "null"},
	"a frame":               {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"},
}

var followedLink = []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}

func TestAPageOfAnotherSiteCannotLockACallerOut(t *testing.T) {
	s := newStage(t)
	tries := 0
	wrong := func() string { tries++; return fmt.Sprintf("reader:wrong-password-%d", tries) }
	for kind, header := range foreignPages {
		for range 3 {
			header := header[:len(header):len(header)]
			form := append(header, "Content-Type", formType)
			_, password, _ := strings.Cut(wrong(), ":")
			for name, r := range map[string]reply{
				"the form":        s.ask("", "POST", "/GetToken/", "name=reader&password="+password, form...),
				"the form, Basic": s.ask(wrong(), "POST", "/GetToken/", "", form...),
				"a token":         s.ask(wrong(), "GET", "/v1/tokens/"+wxa, "", header...),
				"a refresh":       s.ask(wrong(), "POST", "/v1/tokens/"+wxa+"/refresh", "", form...),
				"the stream":      s.ask(wrong(), "GET", "/v1/events", "", header...),
				"the page":        s.ask(wrong(), "GET", "/", "", header...),
				"its button":      s.ask(wrong(), "POST", "/", "account="+wxa, form...),
				"readiness":       s.ask(wrong(), "GET", "/readyz", "", header...),
				"metrics":         s.ask(wrong(), "GET", "/metrics", "", header...),
				"the description": s.ask(wrong(), "GET", "/openapi.yaml", "", header...),
				"nothing":         s.ask(wrong(), "GET", "/nothing", "", header...),
				"a wrong prefix":  s.ask(wrong(), "GET", "/x/GetToken", "", header...),
			} {
				if r.status != 403 || r.field("error") != "cross_origin" {
					t.Errorf("%s for %s: %d %s, want 403", name, kind, r.status, r.body)
				}
			}
			for name, r := range map[string]reply{
				"token":        s.ask("", "GET", tokenQuery(wxa, wrong()), "", header...),
				"POST token":   s.ask("", "POST", "/cgi-bin/token", strings.TrimPrefix(tokenQuery(wxa, wrong()), "/cgi-bin/token?"), form...),
				"stable_token": s.ask("", "POST", "/cgi-bin/stable_token", stableBody(wxa, wrong(), false), form...),
			} {
				checkTrouble(t, name+" for "+kind, r, 48001, "api unauthorized, requests from other sites")
			}
		}
	}
	if r := s.ask(reader, "GET", "/v1/tokens/"+wxa, ""); r.status != 200 {
		t.Errorf("the caller afterwards: %d %s, want 200", r.status, r.body)
	}
	s.nothingIn("the log", s.log.String())
}

func TestALinkOfAnotherSiteLeadsToThePageAndNowhereElse(t *testing.T) {
	s := newStage(t)
	if r := s.ask(reader, "GET", "/", "", followedLink...); r.status != 200 {
		t.Errorf("the page: %d, want 200", r.status)
	}
	if r := s.ask("", "GET", "/", "", followedLink...); r.status != 401 {
		t.Errorf("the page before the login: %d, want 401", r.status)
	}
	for _, path := range []string{"/v1/tokens/" + wxa, "/v1/events", "/GetToken", "/metrics", "/openapi.yaml"} {
		if r := s.ask(reader, "GET", path, "", followedLink...); r.status != 403 {
			t.Errorf("%s: %d, want 403", path, r.status)
		}
	}
	if r := s.ask(admin, "POST", "/", "account="+wxa, append(followedLink, "Content-Type", formType)...); r.status != 403 {
		t.Errorf("a form of another site: %d, want 403", r.status)
	}
}

func TestProgramsAndThePageItselfAreNoOtherSite(t *testing.T) {
	s := newStage(t)
	for name, header := range map[string][]string{
		"a program":           nil,
		"the page's script":   {"Sec-Fetch-Site", "same-origin", "Origin", s.server.URL},
		"a typed address":     {"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"},
		"an old browser":      {"Origin", s.server.URL},
		"behind a TLS proxy":  {"Sec-Fetch-Site", "same-origin", "Origin", "https://tokens.example"},
		"a program's referer": {"Referer", "https://example.com/"},
	} {
		if r := s.ask(reader, "GET", "/v1/tokens/"+wxa, "", header...); r.status != 200 {
			t.Errorf("%s: %d %s, want 200", name, r.status, r.body)
		}
		if r := s.ask("", "GET", tokenQuery(wxa, reader), "", header...); r.field("access_token") == nil {
			t.Errorf("%s: %s, want the token", name, r.body)
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/icon.svg"} {
		if r := s.ask("", "GET", path, "", foreignPages["an image"]...); r.status != 200 {
			t.Errorf("%s, which authenticates no caller: %d, want 200", path, r.status)
		}
	}
}

// TestABrowserSaysWhatIsForAnotherSitesPage: the headers above are what a real
// one sends.
func TestABrowserSaysWhatIsForAnotherSitesPage(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	s := newStage(t)
	var page strings.Builder
	for n := range 7 {
		fmt.Fprintf(&page, "<img src='%s'>", s.server.URL+tokenQuery(wxa, fmt.Sprintf("reader:wrong-password-%d", n)))
	}
	link := strings.Replace(s.server.URL, "http://", "http://"+reader+"@", 1)
	fmt.Fprintf(&page, "<a href='%s/'>status</a>", link)
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(page.String()))
	}))
	defer evil.Close()
	b := newBrowser(t)
	b.do("POST", "/url", node{"url": strings.Replace(evil.URL, "127.0.0.1", "localhost", 1)}, nil)
	b.until("[...document.images].filter(i => i.complete).length", "7")
	if n := strings.Count(s.log.String(), "another site"); n != 7 {
		t.Errorf("%d requests were refused as another site's, want 7: %s", n, s.log.String())
	}
	if r := s.ask(reader, "GET", "/v1/tokens/"+wxa, ""); r.status != 200 {
		t.Errorf("the caller afterwards: %d %s, want 200", r.status, r.body)
	}
	b.click("a")
	b.until("document.querySelectorAll('.card.fresh').length", "1")
}
