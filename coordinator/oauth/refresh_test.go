package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

// presenting returns a configuration that presents refresh tokens.
func presenting(issuer *oauthtest.Server, changes ...func(*oauth.Config)) oauth.Config {
	return configured(issuer, append([]func(*oauth.Config){func(c *oauth.Config) { c.Grant = oauth.RefreshToken }}, changes...)...)
}

func ofGrant(token string) coordinator.FetchRequest {
	return coordinator.FetchRequest{Reason: coordinator.ReasonSchedule, Grant: coordinator.GrantToken{Token: coordinator.NewToken(token)}}
}

func TestARefreshTokenBringsTokensAndItsSuccessor(t *testing.T) {
	key := keyOf("P-256")
	for _, way := range []oauth.ClientAuth{oauth.Basic, oauth.Post, oauth.PrivateKeyJWT, oauth.NoAuth} {
		t.Run(string(way), func(t *testing.T) {
			client := oauthtest.Client{ID: clientID, Secret: secret, Key: key.Public()}
			if way == oauth.NoAuth {
				client = oauthtest.Client{ID: clientID}
			}
			issuer := newIssuer(client)
			_, first := issuer.Consent(clientID, "read write")
			s := sourceOf(t, presenting(issuer, func(c *oauth.Config) {
				c.ClientAuth, c.Scopes = way, []string{"offline_access", "read"} // for the login only
				switch way {
				case oauth.PrivateKeyJWT:
					c.ClientSecret, c.PrivateKey = "", pemOf(t, key)
				case oauth.NoAuth:
					c.ClientSecret = ""
				}
			}))
			r := fetch(t, s, ofGrant(first))
			next := r.Grant.Reveal()
			if !issuer.Valid(r.Token.Reveal()) || !issuer.Accepts(next) || issuer.Accepts(first) || r.Doubt != "" || r.Attributes["scope"] != "read write" {
				t.Errorf("Fetch() = %+v", r)
			}
			if r.GrantIdle != 0 || r.GrantEnds != 0 || r.GrantForm != "" || r.RefreshIn != 0 {
				t.Errorf("made up: %+v", r)
			}
			f := failed(t.Context(), t, s, ofGrant(first))
			if f.Kind != coordinator.FailedGrant || f.Code != "invalid_grant" || strings.Contains(everything(f), first) {
				t.Errorf("a used one: %s, %v", f.Kind, f)
			}
			if calls := issuer.Calls(); calls[0].Auth != string(way) || calls[0].Grant != "refresh_token" {
				t.Errorf("calls %+v", calls)
			}
		})
	}
}

func TestTheIssuersWordOnTheGrantsLifeIsRead(t *testing.T) {
	const day = 24 * time.Hour
	for body, want := range map[string]struct {
		grant      string
		idle, ends time.Duration
	}{
		`{"access_token":"a","expires_in":60}`:                                                                                      {"", 0, 0},
		`{"access_token":"a","expires_in":60,"refresh_token":"next"}`:                                                               {"next", 0, 0},
		`{"access_token":"a","expires_in":60,"refresh_token":"next","refresh_token_expires_in":"15811200"}`:                         {"next", 183 * day, 0},
		`{"access_token":"a","expires_in":60,"refresh_token":"next","refresh_expires_in":86400}`:                                    {"next", day, 0},
		`{"access_token":"a","expires_in":60,"refresh_token":"next","x_refresh_token_expires_in":86400}`:                            {"next", day, 0},
		`{"access_token":"a","x_refresh_token_hard_expires_in":172800,"refresh_token":"next","x_refresh_token_expires_in":86400}`:   {"next", day, 2 * day},
		`{"access_token":"a","expires_in":60,"refresh_token":"next","refresh_token_expires_in":"soon","refresh_expires_in":0}`:      {"next", 0, 0},
		`{"access_token":"a","expires_in":60,"refresh_token":"next","refresh_token_expires_in":1e300}`:                              {"next", 36500 * day, 0},
		`access_token=a&expires_in=60&refresh_token=next&refresh_token_expires_in=86400&token_type=bearer`:                          {"next", day, 0},
		`{"ok":true,"access_token":"a","expires_in":43200,"refresh_token":"next","token_type":"bot","team":{"id":"T"},"scope":"x"}`: {"next", 0, 0},
	} {
		s := sourceOf(t, oauth.Config{
			TokenURL: tokenURL, Grant: oauth.RefreshToken, ClientID: "c", ClientSecret: "s",
			Transport: answering(200, "application/x-www-form-urlencoded", body),
		})
		r := fetch(t, s, ofGrant("the first one"))
		if r.Grant.Reveal() != want.grant || r.GrantIdle != want.idle || r.GrantEnds != want.ends {
			t.Errorf("%s: %q, idle %v, ends %v", body, r.Grant.Reveal(), r.GrantIdle, r.GrantEnds)
		}
	}
}

func TestRefusalsOfAPresentationAreClassified(t *testing.T) {
	const (
		busy    = coordinator.FailedBusy
		later   = coordinator.FailedLater
		refusal = coordinator.FailedRefused
		unknown = coordinator.FailedUnknown
		none    = coordinator.FailedGrant
	)
	said := func(word, text string) string { return fmt.Sprintf(`{"error":%q,"error_description":%q}`, word, text) }
	word := func(w string) string { return said(w, "said") }
	for _, c := range []struct {
		profile string
		status  int
		body    string
		kind    coordinator.FailureKind
		code    coordinator.Code
	}{
		// Surely not used up: the client is checked before the grant.
		{"", 401, word("invalid_client"), refusal, "invalid_client"},
		{"", 400, word("invalid_client"), refusal, "invalid_client"},
		{"", 400, word("unauthorized_client"), refusal, "unauthorized_client"},
		{"", 400, word("unsupported_grant_type"), refusal, "unsupported_grant_type"},
		{"", 400, word("invalid_request"), refusal, "invalid_request"},
		{"", 400, word("invalid_scope"), refusal, "invalid_scope"},
		{"", 400, said("unauthorized_client", "the grant type refresh_token is invalid for this client"), refusal, "unauthorized_client"},
		{"", 400, said("invalid_request", "the parameter refresh_token is missing"), refusal, "invalid_request"},
		{"x", 401, said("unauthorized_client", "Missing valid authorization header"), refusal, "unauthorized_client"},
		{"x", 400, said("invalid_request", "Value passed for the authorization code was invalid."), refusal, "invalid_request"},
		{"", 403, `<html>`, refusal, ""},
		{"", 400, word("a_word_of_its_own"), refusal, "a_word_of_its_own"},
		// The grant is none.
		{"", 400, word("invalid_grant"), none, "invalid_grant"},
		{"", 401, word("invalid_grant"), none, "invalid_grant"},
		{"", 400, `{"error":"invalid_grant","error_description":"it is not expired, but too many requests"}`, none, "invalid_grant"},
		{"atlassian", 403, word("invalid_grant"), none, "invalid_grant"},
		{"atlassian", 403, said("unauthorized_client", "refresh_token is invalid"), none, "unauthorized_client"},
		{"databricks", 400, said("invalid_request", "Refresh token is invalid"), none, "invalid_request"},
		{"exact", 401, said("unauthorized_client", "Old refresh token used."), none, "unauthorized_client"},
		{"exact", 400, said("invalid_request", "The refresh token expired at 10/11/2022 9:18:20 PM and it is now 10/28/2022 4:15:50 PM."), none, "invalid_request"},
		{"x", 400, said("invalid_request", "Value passed for the token was invalid."), none, "invalid_request"},
		{"", 400, said("invalid_request", "Invalid refresh_token"), none, "invalid_request"},
		{"github", 200, word("bad_refresh_token"), none, "bad_refresh_token"},
		{"slack", 200, `{"ok":false,"error":"invalid_refresh_token"}`, none, "invalid_refresh_token"},
		{"fitbit", 400, `{"success":false,"errors":[{"errorType":"invalid_grant","message":"Refresh token invalid: the-old-one."}]}`, none, "invalid_grant"},
		{"zoho", 200, word("invalid_code"), none, "invalid_code"},
		{"", 200, word("invalid_code"), refusal, "invalid_code"},
		// Later; nothing was used up.
		{"", 429, word("invalid_grant"), later, "invalid_grant"},
		{"", 429, ``, later, ""},
		{"", 429, said("invalid_request", "Refresh token is invalid"), later, "invalid_request"},
		{"", 400, word("slow_down"), later, "slow_down"},
		{"exact", 400, `{"error":"access_denied","error_description":"access token not expired"}`, later, "access_denied"},
		{"exact", 400, `{"error":"access_denied","error_description":"the user said no"}`, refusal, "access_denied"},
		{"zoho", 400, `{"error":"Access Denied","error_description":"You have made too many requests continuously."}`, later, "Access Denied"},
		{"slack", 200, `{"ok":false,"error":"ratelimited"}`, later, "ratelimited"},
		// Nobody knows.
		{"", 500, word("server_error"), unknown, "server_error"},
		{"", 400, word("server_error"), unknown, "server_error"},
		{"", 503, word("temporarily_unavailable"), unknown, "temporarily_unavailable"},
		{"", 500, word("invalid_grant"), unknown, "invalid_grant"},
		{"", 502, word("invalid_request"), unknown, "invalid_request"},
		{"databricks", 502, said("invalid_request", "Refresh token is invalid"), unknown, "invalid_request"},
		{"", 503, word("a_word_of_its_own"), unknown, "a_word_of_its_own"},
		{"zoho", 500, word("invalid_code"), unknown, "invalid_code"},
		{"", 503, `<html>`, unknown, ""},
		{"", 502, `<html>`, unknown, ""},
		{"", 504, ``, unknown, ""},
		{"", 408, ``, unknown, ""},
		{"slack", 200, `{"ok":false,"error":"internal_error"}`, unknown, "internal_error"},
		{"slack", 200, `{"ok":false,"error":"fatal_error"}`, unknown, "fatal_error"},
		{"slack", 200, `{"ok":false,"error":"service_unavailable"}`, unknown, "service_unavailable"},
		{"", 200, `{"token_type":"Bearer"}`, unknown, ""},
		{"", 200, `{"access_token":"tok","refresh_token":"half`, unknown, ""},
		{"", 200, ``, unknown, ""},
		{"", 302, ``, unknown, ""},
		// A gateway that did not pass it on.
		{"", 307, ``, busy, ""},
		{"", 404, `not found`, busy, ""},
	} {
		t.Run(fmt.Sprintf("%s %d %s", c.profile, c.status, c.code), func(t *testing.T) {
			s := sourceOf(t, oauth.Config{
				Profile: c.profile, TokenURL: tokenURL, Grant: oauth.RefreshToken, ClientID: "c", ClientSecret: "sesame",
				Transport: answering(c.status, "application/json", c.body),
			})
			f := failed(t.Context(), t, s, ofGrant("the-old-one"))
			if f.Kind != c.kind || f.Code != c.code || f.Calls != 1 || (f.Kind == later) != (f.RetryIn > 0) {
				t.Errorf("%s %q in %v, want %s %q: %v", f.Kind, f.Code, f.RetryIn, c.kind, c.code, f)
			}
			if text := everything(f); strings.Contains(text, "the-old-one") || strings.Contains(text, "sesame") {
				t.Errorf("a secret in %s", text)
			}
		})
	}
}

// A refresh token that came whole is the only one that works now, however the answer ends.
func TestARefreshTokenOfABrokenAnswerIsKept(t *testing.T) {
	const came = `{"access_token":"a","refresh_token":"next","refresh_expires_in":60,"expires_in":36`
	for name, test := range map[string]struct{ body, want string }{
		"cut off":                {came, "next"},
		"broken":                 {came + `00,}`, "next"},
		"too long":               {came + `00,"scope":"` + strings.Repeat("x", httpsource.MaxBody) + `"}`, "next"},
		"followed by a page":     {came + `00}<html>`, "next"},
		"cut off in it":          {`{"access_token":"a","refresh_token":"ne`, ""},
		"cut off before it":      {`{"access_token":"a","expires_in":3600,`, ""},
		"no string":              {`{"refresh_token":["next"],"expires_in":36`, ""},
		"in something else":      {`{"data":{"refresh_token":"next"},"expires_in":36`, ""},
		"a list that is cut off": {`[{"refresh_token":"next"},`, ""},
	} {
		s := sourceOf(t, oauth.Config{
			TokenURL: tokenURL, Grant: oauth.RefreshToken, ClientID: "c", ClientSecret: "s",
			Transport: answering(200, "application/json", test.body),
		})
		r, err := s.Fetch(t.Context(), ofGrant("the first one"))
		if f, ok := errors.AsType[*coordinator.FetchError](err); !ok || f.Kind != coordinator.FailedUnknown {
			t.Errorf("%s: %v", name, err)
		}
		if r.Grant.Reveal() != test.want || !r.Token.IsZero() {
			t.Errorf("%s: %q, want %q", name, r.Grant.Reveal(), test.want)
		}
	}
}

// Nothing tells where the last parameter of such a form ends: it may be half a token.
func TestAFormThatIsCutOffHasNoTokens(t *testing.T) {
	s := sourceOf(t, oauth.Config{
		TokenURL: tokenURL, Grant: oauth.RefreshToken, ClientID: "c", ClientSecret: "s",
		Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			resp, err := answering(200, "text/plain", "").RoundTrip(req)
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("access_token=a&refresh_token=ne"), iotest.ErrReader(io.ErrUnexpectedEOF)))
			return resp, err
		}),
	})
	r, err := s.Fetch(t.Context(), ofGrant("the first one"))
	if f, ok := errors.AsType[*coordinator.FetchError](err); !ok || f.Kind != coordinator.FailedUnknown || !r.Grant.IsZero() || !r.Token.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestNothingOfAPresentationIsRevealed(t *testing.T) {
	for _, dialect := range []string{"rfc6749", "atlassian", "fitbit"} {
		issuer := newIssuer()
		issuer.Tune(func(k *oauthtest.Knobs) { k.Echo, k.Refresh.Dialect = true, dialect })
		_, first := issuer.Consent(clientID, "")
		s := sourceOf(t, presenting(issuer))
		fetch(t, s, ofGrant(first))
		text := everything(failed(t.Context(), t, s, ofGrant(first)))
		if strings.Contains(text, first) || strings.Contains(text, "s3cret") || !strings.Contains(text, "redacted") {
			t.Errorf("%s: %s", dialect, text)
		}
	}
}

func TestASuccessorIsNotLostWithAnUnusableAccessToken(t *testing.T) {
	for _, body := range []string{
		`{"access_token":"a b","refresh_token":"next"}`, `{"access_token":7,"refresh_token":"next"}`, `{"refresh_token":"next"}`,
		`{"access_token":"a","token_type":"DPoP","refresh_token":"next"}`,
	} {
		s := sourceOf(t, oauth.Config{
			TokenURL: tokenURL, Grant: oauth.RefreshToken, ClientID: "c", ClientSecret: "s", Transport: answering(200, "application/json", body),
		})
		r, err := s.Fetch(t.Context(), ofGrant("old"))
		if err == nil || r.Grant.Reveal() != "next" || !r.Token.IsZero() || strings.Contains(err.Error(), "next") {
			t.Errorf("%s: %+v, %v", body, r, err)
		}
	}
}

func TestAnAnswerIsAwaitedForAsLongAsTheContextAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer()
		_, first := issuer.Consent(clientID, "")
		issuer.Inject(oauthtest.Fault{Kind: "late", Issued: true, After: oauthtest.Duration(59 * time.Second)})
		req := ofGrant(first)
		req.SendBefore = time.Now().Add(3 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r, err := sourceOf(t, presenting(issuer)).Fetch(ctx, req)
		if err != nil || !issuer.Accepts(r.Grant.Reveal()) {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestALostPresentationIsUnknownAndNeverRepeated(t *testing.T) {
	for _, f := range []oauthtest.Fault{
		{Kind: "drop"}, {Kind: "drop", Issued: true}, {Kind: "hang"}, {Kind: "truncated"}, {Kind: "empty", Issued: true},
		{Kind: "error", Status: 500, Error: "server_error", Issued: true}, {Kind: "html", Issued: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			issuer := newIssuer()
			_, first := issuer.Consent(clientID, "")
			issuer.Inject(f)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			failure := failed(ctx, t, sourceOf(t, presenting(issuer)), ofGrant(first))
			if failure.Kind != coordinator.FailedUnknown || len(issuer.Presentations("")) != 1 {
				t.Errorf("%+v: %s, %+v", f, failure.Kind, issuer.Presentations(""))
			}
		})
	}
}

func TestNothingIsSentAfterTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer()
		_, first := issuer.Consent(clientID, "")
		slow := roundTripper(func(req *http.Request) (*http.Response, error) {
			time.Sleep(3 * time.Second) // connecting
			return issuer.Transport().RoundTrip(req)
		})
		s := sourceOf(t, presenting(issuer, func(c *oauth.Config) { c.Transport = slow }))
		for _, within := range []time.Duration{0, time.Second, 3 * time.Second} {
			req := ofGrant(first)
			req.SendBefore = time.Now().Add(within)
			f := failed(t.Context(), t, s, req)
			if f.Kind != coordinator.FailedBusy || f.Calls != 0 || len(issuer.Presentations("")) != 0 || strings.Contains(everything(f), first) {
				t.Errorf("%v: %s, %d calls: %v", within, f.Kind, f.Calls, f)
			}
		}
		req := ofGrant(first)
		req.SendBefore = time.Now().Add(3*time.Second + 1)
		fetch(t, s, req)
	})
}

func TestOnAConnectionNothingIsSentAfterTheDeadline(t *testing.T) {
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.ParseForm() == nil && r.PostForm.Has("refresh_token") {
			served.Add(1)
		}
	}))
	defer server.Close()
	var deadline time.Time
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		for time.Now().Before(deadline) {
			time.Sleep(time.Millisecond) // connecting takes until then
		}
		return conn, err
	}}
	s := sourceOf(t, oauth.Config{TokenURL: server.URL, Grant: oauth.RefreshToken, ClientID: "c", ClientSecret: "sesame", Transport: transport})
	req := ofGrant("the-old-one")
	deadline = time.Now().Add(20 * time.Millisecond)
	req.SendBefore = deadline
	f := failed(t.Context(), t, s, req)
	server.Close() // waits for what is being served
	if f.Kind != coordinator.FailedBusy || f.Calls != 0 || served.Load() != 0 {
		t.Errorf("%s, %d calls, %d served: %v", f.Kind, f.Calls, served.Load(), f)
	}
}

func TestNoRedirectIsFollowedWithTheRefreshToken(t *testing.T) {
	var followed atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/token" {
			followed.Add(1)
		}
		http.Redirect(w, r, "/elsewhere", http.StatusPermanentRedirect)
	}))
	defer server.Close()
	s := sourceOf(t, oauth.Config{TokenURL: server.URL + "/token", Grant: oauth.RefreshToken, ClientID: "c", ClientSecret: "sesame-sesame"})
	if f := failed(t.Context(), t, s, ofGrant("old")); f.Kind != coordinator.FailedBusy || followed.Load() != 0 {
		t.Errorf("%v, followed %d times", f, followed.Load())
	}
}

func TestWithoutARefreshTokenNothingIsSent(t *testing.T) {
	issuer := newIssuer()
	s := sourceOf(t, presenting(issuer))
	if f := refused(t, s); f.Kind != coordinator.FailedBusy || f.Calls != 0 || len(issuer.Calls()) != 0 {
		t.Errorf("%v", f)
	}
	if d := s.Description(); !d.Grant.Needed || d.Grant.Replay != coordinator.ReplayNever || d.RefreshEvery != 24*time.Hour {
		t.Errorf("%+v", d)
	}
}

func TestMistakesAboutRefreshTokensAreNamed(t *testing.T) {
	issuer := newIssuer()
	for want, change := range map[string]func(*oauth.Config){
		`replay: "often" must be`:     func(c *oauth.Config) { c.Replay = "often" },
		`replay: "-3s" must be`:       func(c *oauth.Config) { c.Replay = "-3s" },
		`replay: "100000h" is more`:   func(c *oauth.Config) { c.Replay = "100000h" },
		"redirect: it must begin":     func(c *oauth.Config) { c.RedirectURL = "ftp://127.0.0.1/callback" },
		"redirect: it would send":     func(c *oauth.Config) { c.RedirectURL = "http://portal.example.com/callback" },
		"replay: grant client_cred":   func(c *oauth.Config) { c.Grant, c.Replay = oauth.ClientCredentials, "free" },
		`profile: "Xerox" is unknown`: func(c *oauth.Config) { c.Profile = "Xerox" },
		"token_url: it is missing":    func(c *oauth.Config) { c.TokenURL, c.Profile = "", "okta" },
		"auth_url: it would send":     func(c *oauth.Config) { c.AuthURL = "http://login.example.com/" },
		"device_url: it must begin":   func(c *oauth.Config) { c.DeviceURL = "ftp://login.example.com/" },
		"client_id: it is missing":    func(c *oauth.Config) { c.ClientID, c.ClientSecret, c.ClientAuth = "", "", oauth.NoAuth },
		"params: refresh_token has a": func(c *oauth.Config) { c.Params = map[string][]string{"refresh_token": {"x"}} },
		"params: grant_type must not": func(c *oauth.Config) { c.Params = map[string][]string{"grant_type": {"x"}} },
	} {
		if _, err := presenting(issuer, change).Source(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Source() = %v, want %q", err, want)
		}
	}
}
