package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi/wechatapi"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

const grantOnly = "grant_type=client_credentials"

func oauthForm(who, more string) string {
	name, password, _ := strings.Cut(who, ":")
	return grantOnly + "&client_id=" + url.QueryEscape(name) + "&client_secret=" + url.QueryEscape(password) + more
}

func TestOAuthGivesTheTokenOfTheAccountThatTheScopeOrThePathNames(t *testing.T) {
	s := newStage(t)
	for what, r := range map[string]reply{
		"the only account":      s.ask(reader, "POST", "/oauth2/token", grantOnly, "Content-Type", formType),
		"the scope":             s.ask(admin, "POST", "/oauth2/token", grantOnly+"&scope="+wxa, "Content-Type", formType),
		"the path":              s.ask(admin, "POST", "/oauth2/"+wxa+"/token", grantOnly, "Content-Type", formType),
		"both, which agree":     s.ask(admin, "POST", "//oauth2/"+wxa+"/token/", grantOnly+"&scope="+wxa, "Content-Type", formType),
		"the body":              s.ask("", "POST", "/oauth2/token", oauthForm(reader, ""), "Content-Type", formType+"; charset=UTF-8"),
		"no content type":       s.ask(reader, "POST", "/oauth2/token", grantOnly),
		"an empty scope":        s.ask(reader, "POST", "/oauth2/token", grantOnly+"&scope=", "Content-Type", formType),
		"the id in both places": s.ask(reader, "POST", "/oauth2/token", grantOnly+"&client_id=reader", "Content-Type", formType),
		"unknown parameters":    s.ask(reader, "POST", "/oauth2/token", grantOnly+"&audience=x&resource=a&resource=b", "Content-Type", formType),
	} {
		if r.status != 200 || r.field("access_token") != s.token(wxa) || r.field("token_type") != "Bearer" || r.field("scope") != wxa {
			t.Errorf("%s: %d %s", what, r.status, r.body)
		}
		if seconds, _ := strconv.Atoi(r.field("expires_in").(string)); seconds < 3600 || seconds > 3900 {
			t.Errorf("%s: expires_in is %d, want the planned replacement and the overlap", what, seconds)
		}
		if r.header.Get("Cache-Control") != "no-store" || r.header.Get("Pragma") != "no-cache" {
			t.Errorf("%s: the answer may be stored: %v", what, r.header)
		}
	}
}

func TestOAuthErrorsAreThoseOfTheRFC(t *testing.T) {
	s := newStage(t)
	silent := failingStage(t, coordinatortest.Hangs())
	broken := failingStage(t, refusal())
	slow := newStage(t, func(c *Config) { c.Callers = slowCallers{} })
	const path = "/oauth2/token"
	for _, c := range []struct {
		on                      *stage
		who, method, path, body string
		kind                    string
		status                  int
		code                    string
	}{
		{s, "", "POST", path, grantOnly, formType, 401, oauthInvalidClient},
		{s, stranger, "POST", path, grantOnly, formType, 401, oauthInvalidClient},
		{s, "", "POST", path, oauthForm(stranger, ""), formType, 401, oauthInvalidClient},
		{s, "", "POST", path + "?client_id=reader&client_secret=reader-password", grantOnly, formType, 401, oauthInvalidClient},
		{s, "", "POST", path, grantOnly + "&client_assertion_type=urn%3Aietf%3Aparams&client_assertion=x", formType, 401, oauthInvalidClient},
		{s, reader, "POST", path, oauthForm(reader, ""), formType, 400, oauthInvalidRequest},
		{s, reader, "POST", path, grantOnly + "&client_id=admin", formType, 400, oauthInvalidRequest},
		{s, reader, "POST", path, "", formType, 400, oauthInvalidRequest},
		{s, reader, "POST", path, "%zz", formType, 400, oauthInvalidRequest},
		{s, reader, "POST", path, grantOnly + "&" + grantOnly, formType, 400, oauthInvalidRequest},
		{s, admin, "POST", path, grantOnly + "&scope=" + wxa + "&scope=" + wxb, formType, 400, oauthInvalidRequest},
		{s, reader, "POST", path, `{"grant_type":"client_credentials"}`, "application/json", 400, oauthInvalidRequest},
		{s, reader, "POST", path, strings.Repeat("x", 17<<10), formType, 413, oauthInvalidRequest},
		{s, reader, "POST", path, "grant_type=refresh_token&refresh_token=x", formType, 400, oauthUnsupportedGrant},
		{s, admin, "POST", path, grantOnly, formType, 400, oauthInvalidScope},
		{s, admin, "POST", path, grantOnly + "&scope=none", formType, 400, oauthInvalidScope},
		{s, admin, "POST", path, grantOnly + "&scope=" + wxa + "+" + wxb, formType, 400, oauthInvalidScope},
		{s, admin, "POST", "/oauth2/" + wxa + "/token", grantOnly + "&scope=" + wxb, formType, 400, oauthInvalidScope},
		{s, admin, "POST", "/oauth2/none/token", grantOnly, formType, 400, oauthInvalidScope},
		{s, reader, "POST", path, grantOnly + "&scope=" + wxb, formType, 400, oauthUnauthorizedClient},
		{s, reader, "POST", path, grantOnly + "&scope=none", formType, 400, oauthUnauthorizedClient},
		{s, reader, "GET", path + "?" + grantOnly, "", "", 405, oauthInvalidRequest},
		{s, reader, "PUT", "/oauth2/" + wxa + "/token", grantOnly, formType, 405, oauthInvalidRequest},
		{slow, reader, "POST", path, grantOnly, formType, 429, oauthUnavailable},
		{silent, reader, "POST", path, grantOnly, formType, 503, oauthUnavailable},
		{broken, reader, "POST", path, grantOnly, formType, 502, oauthServerError},
	} {
		r := c.on.ask(c.who, c.method, c.path, c.body, "Content-Type", c.kind)
		if r.status != c.status || r.field("error") != c.code {
			t.Errorf("%s %s %.60s as %q: %d %s, want %d %s", c.method, c.path, c.body, c.who, r.status, r.body, c.status, c.code)
			continue
		}
		if text, ok := r.field("error_description").(string); !ok || text == "" || strings.ContainsAny(text, `"\`) {
			t.Errorf("%s: the description is %q", r.body, text)
		}
		for name, on := range map[string]int{"Www-Authenticate": 401, "Retry-After": 503, "Allow": 405} {
			if (c.status == on) && r.header.Get(name) == "" {
				t.Errorf("%s %.60s: %d without %s", c.method, c.body, r.status, name)
			}
		}
		if r.header.Get("Cache-Control") != "no-store" || r.header.Get("Pragma") != "no-cache" {
			t.Errorf("%s %.60s: the answer may be stored", c.method, c.body)
		}
	}
	for what, fields := range foreignPages {
		r := s.ask(reader, "POST", path, grantOnly, append([]string{"Content-Type", formType}, fields...)...)
		if r.status != 403 || r.field("error") != oauthInvalidRequest {
			t.Errorf("%s of another site: %d %s", what, r.status, r.body)
		}
	}
	if log := s.log.String(); strings.Contains(log, "-password") {
		t.Errorf("the log holds a password: %s", log)
	}
}

// x/oauth2 encodes what it sends by Basic, as the RFC has it; others do not.
func TestOAuthPasswordsAreReadEncodedAndPlain(t *testing.T) {
	const odd = `50%25 a+b&c=d:ü`
	gate, err := auth.New([]auth.User{{Name: "odd", Password: odd, Accounts: []string{wxa}}})
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, func(c *Config) { c.Callers = gate })
	if r := s.ask("odd:"+odd, "POST", "/oauth2/token", grantOnly, "Content-Type", formType); r.status != 200 {
		t.Errorf("plain: %d %s", r.status, r.body)
	}
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
		c := clientcredentials.Config{ClientID: "odd", ClientSecret: odd, TokenURL: s.server.URL + "/oauth2/token", Scopes: []string{wxa}, AuthStyle: style}
		token, err := c.Token(t.Context())
		if err != nil || token.AccessToken != s.token(wxa) || token.TokenType != "Bearer" || time.Until(token.Expiry) < time.Hour/2 {
			t.Errorf("style %d: %v, %v", style, token, err)
		}
	}
}

func TestOAuthPassesAttributesOn(t *testing.T) {
	s := stageOver(t, memstore.New(), nil, nil, func(c *Config) {
		var err error
		c.Coordinator, err = coordinator.New(coordinator.Config{Store: memstore.New(), Accounts: []coordinator.AccountConfig{{
			Name: wxa, Source: coordinator.SourceFunc(func(context.Context, coordinator.FetchRequest) (coordinator.FetchResult, error) {
				return coordinator.FetchResult{Token: coordinator.NewToken("attributed"), Lifetime: time.Hour, Attributes: map[string]string{
					"token_type": "Zoho-oauthtoken", "instance_url": "https://eu.example.com", "scope": "a b", "expires_in": "9",
				}}, nil
			}),
		}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Coordinator.Token(t.Context(), wxa); err != nil {
			t.Fatal(err)
		}
	})
	r := s.ask(reader, "POST", "/oauth2/token", grantOnly, "Content-Type", formType)
	if r.field("token_type") != "Zoho-oauthtoken" || r.field("instance_url") != "https://eu.example.com" || r.field("scope") != wxa || r.field("expires_in") == "9" {
		t.Errorf("%d %s", r.status, r.body)
	}
	r = s.ask(reader, "GET", "/v1/tokens/"+wxa, "")
	if !strings.HasSuffix(r.body, `"stale":false,"attributes":{"expires_in":"9","instance_url":"https://eu.example.com","scope":"a b","token_type":"Zoho-oauthtoken"}}`+"\n") {
		t.Errorf("/v1/tokens: %s", r.body)
	}
}

// noOverlap is a Directory of accounts whose tokens end when they are replaced.
type noOverlap struct{ noDirectory }

func (noOverlap) Overlap(string) time.Duration { return 0 }

func TestATokenThatIsKilledAtOnceIsToldUntilItsReplacement(t *testing.T) {
	s := newStage(t, func(c *Config) { c.Directory = noOverlap{} })
	for what, r := range map[string]reply{
		"/oauth2/token":  s.ask(reader, "POST", "/oauth2/token", grantOnly, "Content-Type", formType),
		"/cgi-bin/token": s.ask("", "GET", tokenQuery(wxa, reader), ""),
	} {
		if seconds, _ := strconv.Atoi(r.field("expires_in").(string)); seconds <= 3000 || seconds > 3600 {
			t.Errorf("%s: expires_in is %d, want an hour at most", what, seconds)
		}
	}
}

func TestOAuthGivesPhantomsToCallersOfPhantoms(t *testing.T) {
	gate, err := auth.New([]auth.User{{Name: "veil", Password: "veil-password", Accounts: []string{wxa}, Phantom: true}})
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, func(c *Config) { c.Callers, c.Proxy = gate, &numbered{Handler: http.NotFoundHandler()} })
	if r := s.ask("veil:veil-password", "POST", "/oauth2/token", grantOnly, "Content-Type", formType); r.status != 200 || strings.Contains(r.body, s.token(wxa)) {
		t.Errorf("%d %s, want a phantom", r.status, r.body)
	}
	s = newStage(t, func(c *Config) { c.Callers = gate })
	if r := s.ask("veil:veil-password", "POST", "/oauth2/token", grantOnly, "Content-Type", formType); r.field("error") != oauthUnauthorizedClient {
		t.Errorf("without routes: %d %s", r.status, r.body)
	}
}

func TestOAuthMetadataNamesTheAddressThatWasAsked(t *testing.T) {
	s := newStage(t)
	host := strings.TrimPrefix(s.server.URL, "http://")
	for _, c := range []struct {
		path, forwarded  string
		issuer, endpoint string
	}{
		{metadataPath, "", "http://" + host, "http://" + host + "/oauth2/token"},
		{metadataPath, "https", "https://" + host, "https://" + host + "/oauth2/token"},
		{metadataPath, "javascript", "http://" + host, "http://" + host + "/oauth2/token"},
		{metadataPath + "/oauth2/" + wxa, "", "http://" + host + "/oauth2/" + wxa, "http://" + host + "/oauth2/" + wxa + "/token"},
		{metadataPath + "/oauth2/a%20b%2Fc", "", "http://" + host + "/oauth2/a%20b%2Fc", "http://" + host + "/oauth2/a%20b%2Fc/token"},
	} {
		r := s.ask("", "GET", c.path, "", "X-Forwarded-Proto", c.forwarded)
		if r.status != 200 || r.field("issuer") != c.issuer || r.field("token_endpoint") != c.endpoint || r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s", c.path, r.status, r.body)
		}
	}
	for _, bad := range []string{"evil@" + host, host + "?", host + "/x", "a b", ""} {
		r, w := httptest.NewRequest("GET", metadataPath, nil), httptest.NewRecorder()
		r.Host = bad
		if s.api.ServeHTTP(w, r); w.Code != 400 {
			t.Errorf("Host %q: %d %s", bad, w.Code, w.Body)
		}
	}
}

// A child whose parent has no token is answered with the parent's reason.
func TestAParentsErrorIsSaidToCallersOfTheChild(t *testing.T) {
	for _, c := range []struct {
		cause  error
		status int
		code   string
		dropIn int
	}{
		{&coordinator.RefusedError{Account: "p", Code: "40125", Message: "invalid appsecret"}, 502, "refused", -1}, // not the client's secret
		{&coordinator.RefusedError{Account: "p", Code: "40164", Message: "invalid ip"}, 502, "refused", 40164},
		{&coordinator.QuotaError{Account: "p", RetryIn: time.Minute}, 429, "throttled", 45011},
		{coordinator.ErrNoToken, 503, "no_token", -1},
		{coordinator.ErrUnreachable, 503, "store_unreachable", -1},
	} {
		err := &coordinator.ParentError{Account: "c", Parent: "p", Cause: c.cause}
		p := problemOf(t.Context(), err)
		if e := wechatapi.ErrorFor(err, p.status, p.message, p.retry); e.Code != c.dropIn {
			t.Errorf("%v: the drop-in answers %v, want %d", c.cause, e, c.dropIn)
		}
		if p.status != c.status || p.code != c.code || !strings.HasPrefix(p.message, `account "c" needs a token of "p": `) {
			t.Errorf("%v: %+v", c.cause, p)
		}
	}
	refused := errors.Join(coordinator.ErrNoToken, &coordinator.ParentError{Account: "c", Parent: "p", Cause: &coordinator.RefusedError{Account: "p"}})
	if p := problemOf(t.Context(), refused); p.status != 502 {
		t.Errorf("%+v, want 502", p)
	}
}
