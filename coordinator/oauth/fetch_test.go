package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source/sourcetest"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

func TestAnAnswerCountsIfItIsWholeWithinTheLimit(t *testing.T) {
	read := func(body string) (string, error) {
		s := sourceOf(t, oauth.Config{TokenURL: tokenURL, ClientID: "c", ClientSecret: "s", Transport: answering(200, "text/plain", body)})
		got, err := s.Fetch(t.Context(), coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
		return got.Token.Reveal(), err
	}
	sourcetest.Limit(t, httpsource.MaxBody, `{"access_token":"t-1","expires_in":7200}`, "t-1", read)
	if _, err := read("access_token=t-1" + strings.Repeat(" ", httpsource.MaxBody)); err == nil || !strings.Contains(err.Error(), "more than 65536 bytes") {
		t.Errorf("a form, of which nothing says that it is whole: %v", err)
	}
}

func TestAClientProvesItselfInTheConfiguredWay(t *testing.T) {
	key := keyOf("P-256")
	issuer := newIssuer(oauthtest.Client{ID: clientID, Secret: secret, Key: key.Public()})
	for _, way := range []oauth.ClientAuth{"", oauth.Basic, oauth.Post, oauth.PrivateKeyJWT} {
		t.Run(string(way), func(t *testing.T) {
			before := len(issuer.Calls())
			s := sourceOf(t, configured(issuer, func(c *oauth.Config) {
				c.ClientAuth, c.Scopes = way, []string{"read", "write"}
				if way == oauth.PrivateKeyJWT {
					c.ClientSecret, c.PrivateKey, c.KeyID = "", pemOf(t, key), "k1"
				}
			}))
			r := fetch(t, s)
			if !issuer.Valid(r.Token.Reveal()) || r.Lifetime != time.Hour || r.Doubt != "" || r.Calls != 1 {
				t.Errorf("Fetch() = %+v", r)
			}
			if r.Attributes["scope"] != "read write" || r.Attributes["token_type"] != "Bearer" {
				t.Errorf("attributes %v", r.Attributes)
			}
			fetch(t, s) // an assertion is not used twice
			want := string(way)
			if way == "" {
				want = "basic"
			}
			calls := issuer.Calls()[before:]
			if len(calls) != 2 || calls[0].Auth != want || calls[0].Client != clientID {
				t.Errorf("calls %+v", calls)
			}
		})
	}
}

func TestNoOtherWayIsTriedAfterARefusal(t *testing.T) {
	issuer := newIssuer()
	issuer.Tune(func(k *oauthtest.Knobs) { k.Auth = []string{"post"} })
	f := refused(t, sourceOf(t, configured(issuer)))
	if f.Kind != coordinator.FailedRefused || f.Code != "invalid_client" || len(issuer.Calls()) != 1 {
		t.Errorf("%v after %d calls", f, len(issuer.Calls()))
	}
}

func TestAnswersOfAllKindsAreRead(t *testing.T) {
	for body, want := range map[string]struct {
		life  time.Duration
		doubt string
	}{
		`{"access_token":"tok","expires_in":3600}`:                                  {time.Hour, ""},
		"\ufeff{\"access_token\":\"tok\",\"expires_in\":\"3600\"}":                  {time.Hour, ""},
		`{"access_token":"tok","expires_in":"3600.9"}`:                              {3600*time.Second + 900*time.Millisecond, ""},
		`{"access_token":"tok","expires_in":3600,"refresh_token":"hidden-one"}`:     {time.Hour, "ignored"},
		`{"access_token":"tok"}`:                                                    {10 * time.Minute, "missing"},
		`{"access_token":"tok","expires_in":null}`:                                  {10 * time.Minute, "missing"},
		`{"access_token":"tok","expires_in":""}`:                                    {10 * time.Minute, "missing"},
		`{"access_token":"tok","expires_in":0}`:                                     {10 * time.Minute, "less than 1"},
		`{"access_token":"tok","expires_in":-5}`:                                    {10 * time.Minute, "less than 1"},
		`{"access_token":"tok","expires_in":"soon"}`:                                {10 * time.Minute, "not a number"},
		`{"access_token":"tok","expires_in":{}}`:                                    {10 * time.Minute, "not a number"},
		`{"access_token":"tok","expires_in":1e300}`:                                 {coordinator.MaxLifetime, "more than a year"},
		`{"access_token":"tok","expires_in":1e999}`:                                 {coordinator.MaxLifetime, "more than a year"},
		`{"access_token":"tok","ACCESS_TOKEN":"no","expires_in":60,"error":""}`:     {time.Minute, ""},
		`access_token=tok&token_type=bearer&expires_in=3600`:                        {time.Hour, ""},
		`{"access_token":"tok","expires_in":60,"scope":["a","b"],"instance_url":1}`: {time.Minute, ""},
	} {
		s := sourceOf(t, oauth.Config{TokenURL: tokenURL, ClientID: "c", ClientSecret: "s", Transport: answering(200, "text/plain", body)})
		r := fetch(t, s)
		if r.Token.Reveal() != "tok" || r.Lifetime != want.life || (r.Doubt == "") != (want.doubt == "") || !strings.Contains(r.Doubt, want.doubt) {
			t.Errorf("%s: %v %v %q, want %v %q", body, r.Token.Reveal(), r.Lifetime, r.Doubt, want.life, want.doubt)
		}
		if strings.Contains(fmt.Sprintf("%+v", r), "hidden-one") {
			t.Errorf("%s: the refresh token is kept: %+v", body, r)
		}
	}
	s := sourceOf(t, oauth.Config{
		TokenURL: tokenURL, ClientID: "c", ClientSecret: "s", Lifetime: 2 * time.Hour,
		Transport: answering(200, "application/json", `{"access_token":"tok"}`),
	})
	if r := fetch(t, s); r.Lifetime != 2*time.Hour || r.Doubt != "" {
		t.Errorf("with a configured life: %v %q", r.Lifetime, r.Doubt)
	}
}

func TestReadersGetTheAttributesThatFit(t *testing.T) {
	issuer := newIssuer()
	issuer.Tune(func(k *oauthtest.Knobs) {
		k.InstanceURL, k.APIDomain, k.TokenType = "https://eu7.example.com", "https://api.example.com/"+secret, "-"
	})
	long := strings.Repeat("s", coordinator.MaxAttributes)
	r := fetch(t, sourceOf(t, configured(issuer, func(c *oauth.Config) { c.Scopes = []string{long} })))
	if len(r.Attributes) != 1 || r.Attributes["instance_url"] != "https://eu7.example.com" {
		t.Errorf("attributes %v", r.Attributes)
	}
	if !strings.Contains(r.Doubt, "scope is too long") || !strings.Contains(r.Doubt, "api_domain") || strings.Contains(r.Doubt, secret) {
		t.Errorf("doubt %q", r.Doubt)
	}
}

func TestRefusalsAreClassified(t *testing.T) {
	const busy, later, refusal, unknown = coordinator.FailedBusy, coordinator.FailedLater, coordinator.FailedRefused, coordinator.FailedUnknown
	for _, c := range []struct {
		name    string
		status  int
		body    string
		header  string // Retry-After
		kind    coordinator.FailureKind
		code    coordinator.Code
		retryIn time.Duration
	}{
		{"a wrong secret", 401, `{"error":"invalid_client","error_description":"no"}`, "", refusal, "invalid_client", 0},
		{"a grant of other clients", 400, `{"error":"unauthorized_client"}`, "", refusal, "unauthorized_client", 0},
		{"a wrong scope", 400, `{"error":"invalid_scope"}`, "", refusal, "invalid_scope", 0},
		{"a wrong request", 400, `{"error":"invalid_request"}`, "60", refusal, "invalid_request", 0},
		{"a word of its own", 400, `{"error":"inactive_org"}`, "", refusal, "inactive_org", 0},
		{"a refusal with 200", 200, `{"ok":false,"error":"invalid_auth"}`, "", refusal, "invalid_auth", 0},
		{"an object", 403, `{"error":{"status":"PERMISSION_DENIED","message":"no"}}`, "", refusal, "PERMISSION_DENIED", 0},
		{"a form", 400, `error=invalid_scope&error_description=no`, "", refusal, "invalid_scope", 0},
		{"maintenance", 503, `{"error":"temporarily_unavailable"}`, "30", busy, "temporarily_unavailable", 30 * time.Second},
		{"a failure", 500, `{"error":"server_error"}`, "", busy, "server_error", 0},
		{"a limit", 429, `{"error":"too_many_requests"}`, "", later, "too_many_requests", time.Minute},
		{"a limit as invalid_request", 429, `{"error":"invalid_request"}`, "7", later, "invalid_request", 7 * time.Second},
		{"a limit without a word", 429, `<html>`, "120", later, "", 2 * time.Minute},
		{"a limit without an end", 429, `<html>`, "99999999999999999999", later, "", coordinator.MaxRetry},
		{"slow down", 400, `{"error":"slow_down"}`, "", later, "slow_down", 5 * time.Second},
		{"DPoP", 400, `{"error":"use_dpop_nonce"}`, "", refusal, "use_dpop_nonce", 0},
		{"a token for DPoP", 200, `{"access_token":"tok","token_type":"DPoP"}`, "", refusal, "use_dpop_nonce", 0},
		{"a 503", 503, `<html>`, "", busy, "", 0},
		{"a 502", 502, `<html>`, "", unknown, "", 0},
		{"a 500 with a word of its own", 500, `{"error":"boom"}`, "", unknown, "boom", 0},
		{"a page", 200, `<html>`, "", unknown, "", 0},
		{"nothing", 200, ``, "", unknown, "", 0},
		{"an object without a token", 200, `{"token":"x"}`, "", unknown, "", 0},
		{"a list", 200, `["tok"]`, "", unknown, "", 0},
		{"half of an object", 200, `{"access_token":"tok","expires_in":36`, "", unknown, "", 0},
		{"a number as the token", 200, `{"access_token":17}`, "", unknown, "", 0},
		{"a token with blanks", 200, `{"access_token":"a b"}`, "", unknown, "", 0},
		{"a token without an end", 200, `{"access_token":"` + strings.Repeat("x", 33<<10) + `"}`, "", unknown, "", 0},
		{"too much", 200, strings.Repeat(" ", 70<<10) + `{"access_token":"tok"}`, "", unknown, "", 0},
		{"a redirect", 302, ``, "", busy, "", 0},
		{"no such page", 404, `not found`, "", busy, "", 0},
		{"a firewall", 403, `<html>`, "", refusal, "", 0},
		{"a gateway that gave up", 408, `{}`, "", unknown, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := sourceOf(t, oauth.Config{
				TokenURL: tokenURL, ClientID: "c", ClientSecret: "s",
				Transport: answering(c.status, "application/x-www-form-urlencoded", c.body, "Retry-After", c.header),
			})
			f := refused(t, s)
			if f.Kind != c.kind || f.Code != c.code || f.RetryIn != c.retryIn || f.Calls != 1 {
				t.Errorf("%s %q in %v after %d calls, want %s %q in %v: %v", f.Kind, f.Code, f.RetryIn, f.Calls, c.kind, c.code, c.retryIn, f)
			}
			var said *oauth.Error
			if !errors.As(f, &said) || said.Status != c.status {
				t.Errorf("no *Error in %v", f)
			}
			if !strings.HasPrefix(f.Message, "issuer.example.com/oauth2/token") {
				t.Errorf("the message does not say where: %v", f)
			}
		})
	}
}

func TestAnEchoingIssuerRevealsNothing(t *testing.T) {
	key := keyOf("P-256")
	issuer := newIssuer(oauthtest.Client{ID: clientID, Secret: "another", Key: keyOf("P-384").Public()})
	issuer.Tune(func(k *oauthtest.Knobs) { k.Echo = true })
	for _, change := range []func(*oauth.Config){
		func(*oauth.Config) {},
		func(c *oauth.Config) { c.ClientAuth = oauth.Post },
		func(c *oauth.Config) {
			c.ClientAuth, c.ClientSecret, c.PrivateKey = oauth.PrivateKeyJWT, "", pemOf(t, key)
		},
		func(c *oauth.Config) { c.Grant, c.ClientSecret, c.PrivateKey = oauth.JWTBearer, "", pemOf(t, key) },
		func(c *oauth.Config) { c.Params = map[string][]string{"password": {"hunter2hunter2"}} },
	} {
		text := everything(refused(t, sourceOf(t, configured(issuer, change))))
		for _, hidden := range []string{secret, "s3cret", "hunter2", "eyJ", "Y2xpZW50"} {
			if strings.Contains(text, hidden) {
				t.Errorf("%q is in %s", hidden, text)
			}
		}
		if !strings.Contains(text, "redacted") {
			t.Errorf("nothing was echoed: %s", text)
		}
	}
}

func TestALostAnswerIsUnknownAndNothingIsSentTwice(t *testing.T) {
	for kind, want := range map[string]coordinator.FailureKind{
		"drop": coordinator.FailedUnknown, "truncated": coordinator.FailedUnknown, "hang": coordinator.FailedUnknown,
		"empty": coordinator.FailedUnknown, "html": coordinator.FailedUnknown, "redirect": coordinator.FailedBusy,
	} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := newIssuer()
				issuer.Inject(oauthtest.Fault{Kind: kind, Issued: kind == "drop"})
				s := sourceOf(t, configured(issuer))
				f := refused(t, s)
				if f.Kind != want || f.Calls != 1 || len(issuer.Calls()) != 1 {
					t.Errorf("%s, %d calls, of which %d arrived: %v", f.Kind, f.Calls, len(issuer.Calls()), f)
				}
				fetch(t, s)
			})
		})
	}
}

func TestWhatCannotBeSentIsBusy(t *testing.T) {
	s := sourceOf(t, oauth.Config{TokenURL: "http://127.0.0.1:1/token", ClientID: "c", ClientSecret: "s"})
	if f := refused(t, s); f.Kind != coordinator.FailedBusy || f.Calls != 0 {
		t.Errorf("no server: %s, %d calls", f.Kind, f.Calls)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	issuer := newIssuer()
	if f := failed(ctx, t, sourceOf(t, configured(issuer)), coordinator.FetchRequest{}); f.Kind != coordinator.FailedBusy || len(issuer.Calls()) != 0 {
		t.Errorf("after the end: %s, %d calls", f.Kind, len(issuer.Calls()))
	}
}

func TestNoRedirectIsFollowedWithTheSecret(t *testing.T) {
	var followed atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/token" {
			followed.Add(1)
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	f := refused(t, sourceOf(t, oauth.Config{TokenURL: server.URL + "/token", ClientID: "c", ClientSecret: "sesame-sesame"}))
	if f.Kind != coordinator.FailedBusy || followed.Load() != 0 || !strings.Contains(f.Message, "not followed") {
		t.Errorf("%v, followed %d times", f, followed.Load())
	}
}

func TestAnIssuerThatAnswersTheSameTokenIsNoticed(t *testing.T) {
	issuer := newIssuer()
	issuer.Tune(func(k *oauthtest.Knobs) { k.Repeat = "same" })
	for repeat, want := range map[string]bool{"": true, "same": false} {
		s := sourceOf(t, configured(issuer, func(c *oauth.Config) { c.Repeat = repeat }))
		first := fetch(t, s)
		again := fetch(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonForced, Current: first.Token})
		if got := strings.Contains(again.Doubt, "repeat: same"); got != want || !again.Token.Equal(first.Token) {
			t.Errorf("repeat %q: %q", repeat, again.Doubt)
		}
	}
}

func TestALongTokenPasses(t *testing.T) {
	issuer := newIssuer()
	issuer.Tune(func(k *oauthtest.Knobs) { k.TokenLength = 16 << 10 })
	if r := fetch(t, sourceOf(t, configured(issuer))); len(r.Token.Reveal()) != 16<<10 {
		t.Errorf("%d bytes", len(r.Token.Reveal()))
	}
}

func TestAWrongClockIsNamedWhenAnAssertionIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := keyOf("P-256")
		issuer := newIssuer(oauthtest.Client{ID: "c", Key: key.Public()})
		issuer.Tune(func(k *oauthtest.Knobs) { k.ClockAhead = oauthtest.Duration(10 * time.Minute) })
		s := sourceOf(t, oauth.Config{
			TokenURL: tokenURL, ClientID: "c", ClientAuth: oauth.PrivateKeyJWT, PrivateKey: pemOf(t, key), Transport: issuer.Transport(),
		})
		if f := refused(t, s); f.Code != "invalid_client" || !strings.Contains(f.Message, "clock is 10m0s behind") {
			t.Errorf("%v", f)
		}
	})
}

func TestTheDescriptionIsThatOfAHarmlessRepeat(t *testing.T) {
	issuer := newIssuer()
	for text, want := range map[string]coordinator.Repeat{
		"": coordinator.RepeatKeeps, "keeps": coordinator.RepeatKeeps, "same": coordinator.RepeatSame, "kills": coordinator.RepeatKills,
	} {
		s := sourceOf(t, configured(issuer, func(c *oauth.Config) { c.Repeat = text }))
		if got := s.Description().Repeat; got != want {
			t.Errorf("repeat %q: %q, want %q", text, got, want)
		}
	}
}

func TestTheCodesAreSortedAndComplete(t *testing.T) {
	codes := oauth.Codes()
	for i, c := range codes {
		if i > 0 && codes[i-1].Code >= c.Code {
			t.Errorf("%s is not sorted", c.Code)
		}
		if c.Meaning == "" || c.Kind == coordinator.FailedRefused && c.Hint == "" {
			t.Errorf("%s lacks words", c.Code)
		}
		if got := oauth.Classify(c.Code, 400); got != c {
			t.Errorf("Classify(%s) = %+v", c.Code, got)
		}
	}
}
