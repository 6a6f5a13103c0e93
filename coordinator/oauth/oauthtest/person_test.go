package oauthtest_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

// client is golang.org/x/oauth2's, as most Go programs have it.
func client(s *oauthtest.Server, id, secret string) (context.Context, *oauth2.Config) {
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: s.Transport()})
	return ctx, &oauth2.Config{
		ClientID: id, ClientSecret: secret, RedirectURL: "http://127.0.0.1:7777/callback", Scopes: []string{"a"},
		Endpoint: oauth2.Endpoint{
			AuthURL: base + "/oauth2/authorize", TokenURL: base + "/oauth2/token", DeviceAuthURL: base + "/oauth2/device",
			AuthStyle: oauth2.AuthStyleInHeader,
		},
	}
}

// authorize calls an authorization address as a browser does, and returns the status and
// the query of the redirect.
func authorize(t *testing.T, s *oauthtest.Server, address string) (int, url.Values) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.Transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, to.Query()
}

func wordOf(err error) string {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		return refused.ErrorCode
	}
	return ""
}

func TestACodeBringsAGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(oauthtest.Knobs{Refresh: oauthtest.RefreshKnobs{Reuse: "kills"}})
		ctx, c := client(s, "one", "secret one")
		verifier := oauth2.GenerateVerifier()
		status, q := authorize(t, s, c.AuthCodeURL("the state", oauth2.S256ChallengeOption(verifier)))
		if status != http.StatusFound || q.Get("state") != "the state" || q.Get("code") == "" {
			t.Fatalf("%d %v", status, q)
		}
		token, err := c.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(verifier))
		if err != nil || !s.Valid(token.AccessToken) || !s.Accepts(token.RefreshToken) {
			t.Fatalf("%v", err)
		}
		// x/oauth2 refreshes with it when its access token has ended.
		ts := c.TokenSource(ctx, token)
		time.Sleep(time.Hour)
		next, err := ts.Token()
		if err != nil || next.RefreshToken == token.RefreshToken || !s.Valid(next.AccessToken) || !s.Accepts(next.RefreshToken) || s.Accepts(token.RefreshToken) {
			t.Fatalf("%v", err)
		}
		// Two programs with one grant, which is what kills families.
		if _, err := c.TokenSource(ctx, &oauth2.Token{RefreshToken: token.RefreshToken}).Token(); wordOf(err) != "invalid_grant" || s.Accepts(next.RefreshToken) {
			t.Errorf("%v", err)
		}
	})
}

func TestACodeIsCheckedAsTheRFCsSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(oauthtest.Knobs{})
		s.AddClient(oauthtest.Client{ID: "registered", Secret: "s", Redirects: []string{"https://app.test/cb"}})
		ctx, c := client(s, "one", "secret one")
		verifier := oauth2.GenerateVerifier()
		challenge := oauth2.S256ChallengeOption(verifier)
		got := func() string {
			t.Helper()
			_, q := authorize(t, s, c.AuthCodeURL("x", challenge))
			return q.Get("code")
		}
		code := got()
		if _, err := c.Exchange(ctx, code, oauth2.VerifierOption(oauth2.GenerateVerifier())); wordOf(err) != "invalid_grant" {
			t.Errorf("a wrong verifier: %v", err)
		}
		if _, err := c.Exchange(ctx, code); wordOf(err) != "invalid_grant" {
			t.Errorf("no verifier: %v", err)
		}
		token, err := c.Exchange(ctx, code, oauth2.VerifierOption(verifier))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Exchange(ctx, code, oauth2.VerifierOption(verifier)); wordOf(err) != "invalid_grant" || s.Accepts(token.RefreshToken) || s.Valid(token.AccessToken) {
			t.Errorf("a code twice: %v", err)
		}
		code = got()
		other := *c
		other.RedirectURL = "http://127.0.0.1:8888/callback"
		if _, err := other.Exchange(ctx, code, oauth2.VerifierOption(verifier)); wordOf(err) != "invalid_grant" {
			t.Errorf("another redirect: %v", err)
		}
		_, two := client(s, "two", "secret two")
		if _, err := two.Exchange(ctx, code, oauth2.VerifierOption(verifier)); wordOf(err) != "invalid_grant" {
			t.Errorf("another client: %v", err)
		}
		time.Sleep(time.Minute)
		if _, err := c.Exchange(ctx, code, oauth2.VerifierOption(verifier)); wordOf(err) != "invalid_grant" {
			t.Errorf("an old code: %v", err)
		}
		for name, f := range map[string]struct {
			address string
			status  int
			word    string
		}{
			"no challenge":         {c.AuthCodeURL("x"), 302, "invalid_request"},
			"a plain challenge":    {c.AuthCodeURL("x", oauth2.SetAuthURLParam("code_challenge", "y")), 302, "invalid_request"},
			"a foreign scope":      {c.AuthCodeURL("x", challenge, oauth2.SetAuthURLParam("scope", "z")), 302, "invalid_scope"},
			"an implicit grant":    {c.AuthCodeURL("x", challenge, oauth2.SetAuthURLParam("response_type", "token")), 302, "unsupported_response_type"},
			"another site":         {c.AuthCodeURL("x", challenge, oauth2.SetAuthURLParam("redirect_uri", "https://evil.test/")), 400, ""},
			"not registered":       {c.AuthCodeURL("x", challenge, oauth2.SetAuthURLParam("client_id", "registered")), 400, ""},
			"an unknown client":    {c.AuthCodeURL("x", challenge, oauth2.SetAuthURLParam("client_id", "no")), 400, ""},
			"a registered address": {c.AuthCodeURL("x", challenge, oauth2.SetAuthURLParam("client_id", "registered"), oauth2.SetAuthURLParam("redirect_uri", "https://app.test/cb")), 302, ""},
		} {
			if status, q := authorize(t, s, f.address); status != f.status || q.Get("error") != f.word {
				t.Errorf("%s: %d %v, want %d %s", name, status, q, f.status, f.word)
			}
		}
		s.Tune(func(k *oauthtest.Knobs) { k.Consent.Denies = true })
		if _, q := authorize(t, s, c.AuthCodeURL("x", challenge)); q.Get("error") != "access_denied" || q.Get("code") != "" || q.Get("state") != "x" {
			t.Errorf("denied: %v", q)
		}
		s.Tune(func(k *oauthtest.Knobs) { k.Consent.Denies, k.Consent.WrongState = false, true })
		if _, q := authorize(t, s, c.AuthCodeURL("x", challenge)); q.Get("state") == "x" {
			t.Errorf("a wrong state: %v", q)
		}
	})
}

func TestADeviceGetsAGrant(t *testing.T) {
	for name, c := range map[string]struct {
		consent oauthtest.ConsentKnobs
		visit   bool // the person opens the address
		after   time.Duration
		word    string
	}{
		"at once":        {oauthtest.ConsentKnobs{}, true, 5 * time.Second, ""},
		"after a while":  {oauthtest.ConsentKnobs{After: seconds(12)}, false, 15 * time.Second, ""},
		"every second":   {oauthtest.ConsentKnobs{After: seconds(2), Interval: seconds(1)}, false, 2 * time.Second, ""},
		"denied":         {oauthtest.ConsentKnobs{Denies: true}, true, 5 * time.Second, "access_denied"},
		"never answered": {oauthtest.ConsentKnobs{Life: seconds(60)}, false, time.Minute, "expired_token"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(oauthtest.Knobs{Consent: c.consent})
				ctx, cfg := client(s, "one", "secret one")
				cfg.Endpoint.AuthStyle = oauth2.AuthStyleInParams // x/oauth2 proves no client to the device endpoint
				begin := time.Now()
				auth, err := cfg.DeviceAuth(ctx, oauth2.SetAuthURLParam("client_secret", "secret one"))
				if err != nil || auth.UserCode == "" || !strings.HasSuffix(auth.VerificationURIComplete, "?user_code="+auth.UserCode) {
					t.Fatalf("%+v, %v", auth, err)
				}
				if c.visit {
					if status, _ := do(t, s, "GET", strings.TrimPrefix(auth.VerificationURIComplete, base), ""); status != 200 {
						t.Fatalf("verify: %d", status)
					}
				}
				auth.Expiry = time.Time{} // so that the issuer says it
				token, err := cfg.DeviceAccessToken(ctx, auth)
				if wordOf(err) != c.word || (err == nil) != (c.word == "") || time.Since(begin) != c.after {
					t.Fatalf("after %v: %v, want %s after %v", time.Since(begin), err, c.word, c.after)
				}
				if err == nil && (!s.Accepts(token.RefreshToken) || !s.Valid(token.AccessToken)) {
					t.Error("the tokens are not accepted")
				}
			})
		})
	}
}

func TestADeviceIsChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(oauthtest.Knobs{})
		form := []string{"Content-Type", "application/x-www-form-urlencoded"}
		for body, want := range map[string]string{
			"client_id=one": "invalid_client", "scope=a": "invalid_client", "client_id=one&client_secret=secret+one&scope=z": "invalid_scope",
		} {
			if _, m := do(t, s, "POST", "/oauth2/device", body, form...); m["error"] != want {
				t.Errorf("%s: %v, want %s", body, m, want)
			}
		}
		_, m := do(t, s, "POST", "/oauth2/device", "client_id=one&client_secret=secret+one&scope=a", form...)
		if m["interval"] != 5.0 || m["expires_in"] != 600.0 || m["verification_uri"] != base+"/oauth2/device/verify" {
			t.Fatalf("%v", m)
		}
		code, _ := m["device_code"].(string)
		poll := func(client, want string) {
			t.Helper()
			_, m := ask(t, s, "grant_type=urn:ietf:params:oauth:grant-type:device_code&client_id="+client+"&client_secret=secret+"+client+"&device_code="+code)
			if word, _ := m["error"].(string); word != want {
				t.Errorf("%v, want %q", m, want)
			}
		}
		poll("two", "invalid_grant")
		poll("one", "authorization_pending")
		time.Sleep(4 * time.Second)
		poll("one", "slow_down")
		time.Sleep(9 * time.Second) // the interval is 10 s now
		poll("one", "slow_down")
		time.Sleep(15 * time.Second)
		poll("one", "authorization_pending")
		if status, _ := do(t, s, "GET", "/oauth2/device/verify?user_code=XXXX-XXXX", ""); status != http.StatusNotFound {
			t.Errorf("an unknown code: %d", status)
		}
		do(t, s, "GET", "/oauth2/device/verify?user_code="+m["user_code"].(string), "")
		time.Sleep(15 * time.Second)
		poll("one", "")
		time.Sleep(15 * time.Second)
		poll("one", "invalid_grant") // it was used
	})
}
