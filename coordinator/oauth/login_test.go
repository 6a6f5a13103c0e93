package oauth_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

const redirect = "http://127.0.0.1:7777/callback"

// asking returns a configuration that can log in.
func asking(issuer *oauthtest.Server, changes ...func(*oauth.Config)) oauth.Config {
	return presenting(issuer, append([]func(*oauth.Config){func(c *oauth.Config) {
		c.AuthURL, c.DeviceURL = "https://issuer.example.com/oauth2/authorize", "https://issuer.example.com/oauth2/device"
		c.Scopes = []string{"read", "offline_access"}
	}}, changes...)...)
}

func loginOf(t *testing.T, c oauth.Config) *oauth.Login {
	t.Helper()
	l, err := c.Login()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// redeemed redeems a code of a new login, as its browser comes back with it.
func redeemed(t *testing.T, c oauth.Config) (coordinator.Consent, error) {
	t.Helper()
	r, err := loginOf(t, c).Code(redirect)
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	return r.Redeem(t.Context(), url.Values{"state": {address.Query().Get("state")}, "code": {"c"}})
}

// browse opens an address as the person's browser does, and returns the query with which
// the issuer sends it back.
func browse(t *testing.T, issuer *oauthtest.Server, address string) url.Values {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := issuer.Transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || resp.StatusCode != http.StatusFound && resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d, %v", address, resp.StatusCode, err)
	}
	return to.Query()
}

// clients are those that a login is tried with.
func clients(t *testing.T) map[oauth.ClientAuth]func(*oauth.Config) {
	t.Helper()
	return map[oauth.ClientAuth]func(*oauth.Config){
		oauth.Basic:  func(*oauth.Config) {},
		oauth.Post:   func(*oauth.Config) {},
		oauth.NoAuth: func(c *oauth.Config) { c.ClientID, c.ClientSecret = "public", "" },
		oauth.PrivateKeyJWT: func(c *oauth.Config) {
			c.ClientSecret, c.PrivateKey = "", pemOf(t, keyOf("P-256"))
		},
	}
}

func loginIssuer() *oauthtest.Server {
	return newIssuer(oauthtest.Client{ID: clientID, Secret: secret, Key: keyOf("P-256").Public()}, oauthtest.Client{ID: "public"})
}

func TestAPersonLogsInByACode(t *testing.T) {
	for way, change := range clients(t) {
		t.Run(string(way), func(t *testing.T) {
			issuer := loginIssuer()
			issuer.Tune(func(k *oauthtest.Knobs) { k.Auth = []string{string(way)} })
			config := asking(issuer, func(c *oauth.Config) { c.ClientAuth = way }, change)
			r, err := loginOf(t, config).Code(redirect)
			if err != nil {
				t.Fatal(err)
			}
			consent, err := r.Redeem(t.Context(), browse(t, issuer, r.URL))
			if err != nil || !issuer.Accepts(consent.Token.Reveal()) {
				t.Fatalf("%+v, %v", consent, err)
			}
			if f := issuer.Family("f1"); f.Scope != "read offline_access" {
				t.Errorf("%+v", f)
			}
			// It is what the source lives on.
			if got := fetch(t, sourceOf(t, config), ofGrant(consent.Token.Reveal())); !issuer.Accepts(got.Grant.Reveal()) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestAPersonLogsInAtAnotherDevice(t *testing.T) {
	for way, change := range clients(t) {
		t.Run(string(way), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := loginIssuer()
				issuer.Tune(func(k *oauthtest.Knobs) {
					k.Auth, k.Consent.After = []string{string(way)}, oauthtest.Duration(18*time.Second)
				})
				begin := time.Now()
				var asked oauth.DeviceQuestion
				l := loginOf(t, asking(issuer, func(c *oauth.Config) { c.ClientAuth = way }, change))
				consent, err := l.Device(t.Context(), func(q oauth.DeviceQuestion) { asked = q })
				if err != nil || !issuer.Accepts(consent.Token.Reveal()) || time.Since(begin) != 20*time.Second {
					t.Fatalf("after %v: %+v, %v", time.Since(begin), consent, err)
				}
				if asked.UserCode == "" || !strings.HasPrefix(asked.Complete, asked.URL) || asked.Expires.Sub(begin) != 10*time.Minute {
					t.Errorf("%+v", asked)
				}
			})
		})
	}
}

func TestALoginTellsHowLongTheGrantLives(t *testing.T) {
	for profile, want := range map[string]coordinator.Consent{
		"atlassian": {Idle: 90 * 24 * time.Hour, Ends: 365 * 24 * time.Hour},
		"github":    {Idle: 183 * 24 * time.Hour},
		"":          {},
	} {
		synctest.Test(t, func(t *testing.T) {
			issuer := loginIssuer()
			if profile == "github" {
				issuer.Tune(func(k *oauthtest.Knobs) {
					k.Refresh = oauthtest.RefreshKnobs{Idle: oauthtest.Duration(183 * 24 * time.Hour), ExpiresInName: "refresh_token_expires_in"}
				})
			}
			r, err := loginOf(t, asking(issuer, func(c *oauth.Config) { c.Profile = profile })).Code(redirect)
			if err != nil {
				t.Fatal(err)
			}
			if q, err := url.Parse(r.URL); err != nil || (profile == "atlassian") != (q.Query().Get("audience") == "api.atlassian.com") {
				t.Errorf("%s: %s", profile, r.URL)
			}
			got, err := r.Redeem(t.Context(), browse(t, issuer, r.URL))
			if err != nil || got.Idle != want.Idle || got.Ends != want.Ends {
				t.Errorf("%s: %+v, %v", profile, got, err)
			}
		})
	}
}

func TestALoginHasTheFurtherParametersOfItsAccount(t *testing.T) {
	issuer := loginIssuer()
	issuer.Tune(func(k *oauthtest.Knobs) { k.Consent.After, k.Echo = 1, true })
	var forms []url.Values
	c := asking(issuer, func(c *oauth.Config) {
		c.Profile, c.Audience = "atlassian", "https://api.example.com" // the profile has another one
		c.Params = url.Values{
			"resource": {"a", "b"}, "prompt": {"login"}, "tenant_key": {"sesame-sesame"},
			"state": {"theirs"}, "redirect_uri": {"theirs"}, "code": {"theirs"}, "device_code": {"theirs"},
		}
		c.Transport = roundTripper(func(req *http.Request) (*http.Response, error) {
			clone := req.Clone(req.Context())
			clone.Body, _ = req.GetBody()
			if err := clone.ParseForm(); err != nil {
				t.Error(err)
			}
			forms = append(forms, clone.PostForm)
			return issuer.Transport().RoundTrip(req)
		})
	})
	r, err := loginOf(t, c).Code(redirect)
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	if q := address.Query(); len(q["resource"]) != 2 || q.Get("prompt") != "login" || q.Get("audience") != "https://api.example.com" ||
		q.Get("redirect_uri") != redirect || q.Get("state") == "theirs" || strings.Contains(r.URL, "sesame") {
		t.Errorf("the address has %v", q)
	}
	if _, err := r.Redeem(t.Context(), browse(t, issuer, r.URL)); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		if _, err := loginOf(t, c).Device(t.Context(), func(oauth.DeviceQuestion) {}); err != nil {
			t.Error(err)
		}
	})
	if len(forms) != 3 {
		t.Fatalf("%d requests", len(forms))
	}
	for _, form := range forms {
		if len(form["resource"]) != 2 || form.Get("tenant_key") != "sesame-sesame" {
			t.Errorf("a request without the parameters: %v", form)
		}
	}
	c.ClientSecret = "a wrong one"
	if r, err = loginOf(t, c).Code(redirect); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Redeem(t.Context(), browse(t, issuer, r.URL)); err == nil || strings.Contains(err.Error(), "sesame") {
		t.Errorf("the failure has a secret: %v", err)
	}
}

func TestALoginThatFailsSaysWhyAndNothingElse(t *testing.T) {
	issuer := loginIssuer()
	begin := func(change ...func(*oauth.Config)) *oauth.CodeRequest {
		t.Helper()
		r, err := loginOf(t, asking(issuer, change...)).Code(redirect)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := begin()
	answer := browse(t, issuer, r.URL)
	if _, err := begin().Redeem(t.Context(), answer); !errors.Is(err, oauth.ErrForeignAnswer) {
		t.Errorf("the answer to another request: %v", err)
	}
	if _, err := r.Redeem(t.Context(), url.Values{"code": answer["code"]}); !errors.Is(err, oauth.ErrForeignAnswer) {
		t.Errorf("no state: %v", err)
	}
	if _, err := r.Redeem(t.Context(), url.Values{"state": answer["state"]}); err == nil {
		t.Error("no code")
	}
	if _, err := r.Redeem(t.Context(), answer); err != nil {
		t.Errorf("the right answer: %v", err)
	}
	issuer.Tune(func(k *oauthtest.Knobs) { k.Echo = true })
	for want, change := range map[string]func(*oauth.Config){
		"invalid_client: ": func(c *oauth.Config) { c.ClientSecret = "a wrong one" },
		"invalid_grant: ":  func(*oauth.Config) {},
	} {
		r := begin(change)
		answer := browse(t, issuer, r.URL)
		if want == "invalid_grant: " {
			answer.Set("code", "a-code-that-is-none")
		}
		_, err := r.Redeem(t.Context(), answer)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
			continue
		}
		for _, hidden := range []string{answer.Get("code"), secret, "s3cret", "a wrong one", "a+wrong", "Y2xpZW50"} {
			if strings.Contains(err.Error(), hidden) {
				t.Errorf("%q is in %v", hidden, err)
			}
		}
	}
	issuer.Tune(func(k *oauthtest.Knobs) { k.Consent.Denies = true })
	r = begin()
	if _, err := r.Redeem(t.Context(), browse(t, issuer, r.URL)); err == nil || !strings.Contains(err.Error(), "access_denied") {
		t.Errorf("denied: %v", err)
	}
	issuer.Tune(func(k *oauthtest.Knobs) { k.Consent.Denies, k.Consent.WrongState = false, true })
	r = begin()
	if _, err := r.Redeem(t.Context(), browse(t, issuer, r.URL)); !errors.Is(err, oauth.ErrForeignAnswer) {
		t.Errorf("a wrong state: %v", err)
	}
	none := asking(issuer, func(c *oauth.Config) {
		c.Transport = answering(200, "application/json", `{"access_token":"hidden-one","expires_in":60}`)
	})
	if _, err := redeemed(t, none); err == nil || !strings.Contains(err.Error(), "offline_access") || strings.Contains(err.Error(), "hidden-one") {
		t.Errorf("no refresh token: %v", err)
	}
}

// A code works once.
func TestALoginWaitsForTheAnswerToItsCodeAlsoAfterItsContext(t *testing.T) {
	for after, want := range map[time.Duration]string{20 * time.Second: "", 40 * time.Second: "the issuer has not answered within 30s"} {
		synctest.Test(t, func(t *testing.T) {
			issuer := loginIssuer()
			r, err := loginOf(t, asking(issuer)).Code(redirect)
			if err != nil {
				t.Fatal(err)
			}
			answer := browse(t, issuer, r.URL)
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := r.Redeem(ended, answer); !errors.Is(err, context.Canceled) {
				t.Errorf("a context that has ended before: %v", err)
			}
			issuer.Inject(oauthtest.Fault{Kind: "late", Issued: true, After: oauthtest.Duration(after)})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			consent, err := r.Redeem(ctx, answer)
			if want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), answer.Get("code"))) ||
				want == "" && (err != nil || !issuer.Accepts(consent.Token.Reveal())) {
				t.Errorf("an answer after %s: %+v, %v", after, consent, err)
			}
		})
	}
}

func TestADeviceLoginThatFailsSaysWhy(t *testing.T) {
	for want, consent := range map[string]oauthtest.ConsentKnobs{
		"access_denied": {Denies: true, After: oauthtest.Duration(time.Second)},
		"expired":       {Life: oauthtest.Duration(time.Minute)},
	} {
		synctest.Test(t, func(t *testing.T) {
			issuer := loginIssuer()
			issuer.Tune(func(k *oauthtest.Knobs) { k.Consent = consent })
			_, err := loginOf(t, asking(issuer)).Device(t.Context(), func(oauth.DeviceQuestion) {})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		if _, err := loginOf(t, asking(loginIssuer())).Device(ctx, func(oauth.DeviceQuestion) {}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

func TestADeviceLoginOutlastsFailuresThatPass(t *testing.T) {
	unavailable := oauthtest.Fault{Kind: "error", Status: 503, Error: "temporarily_unavailable"}
	for name, test := range map[string]struct {
		faults []oauthtest.Fault
		takes  time.Duration // intervals of 5 s, which double; the answer to a slow_down adds 5 s
	}{
		"cut connections":       {[]oauthtest.Fault{{Kind: "drop"}, {Kind: "drop"}}, 5 + 10 + 20},
		"no answer":             {[]oauthtest.Fault{{Kind: "hang"}}, 5 + 30 + 10},
		"pages of a gateway":    {[]oauthtest.Fault{{Kind: "html"}, {Kind: "html", Status: 500}}, 5 + 10 + 20},
		"a page with 200":       {[]oauthtest.Fault{{Kind: "html", Status: 200}}, 5 + 10},
		"an empty answer":       {[]oauthtest.Fault{{Kind: "empty"}}, 5 + 10},
		"an issuer that is off": {[]oauthtest.Fault{unavailable, {Kind: "error", Status: 429, Error: "x"}}, 5 + 10 + 20},
		"slow_down stays":       {[]oauthtest.Fault{{Kind: "error", Error: "slow_down"}, {Kind: "drop"}, {Kind: "drop"}}, 5 + 10 + 20 + 40},
		"not too seldom":        {[]oauthtest.Fault{{Kind: "drop", Times: 6}}, 5 + 10 + 20 + 40 + 60 + 60 + 60},
	} {
		synctest.Test(t, func(t *testing.T) {
			issuer := loginIssuer()
			issuer.Tune(func(k *oauthtest.Knobs) { k.Consent.After = oauthtest.Duration(time.Second) })
			for _, f := range test.faults {
				issuer.Inject(f)
			}
			begin := time.Now()
			consent, err := loginOf(t, asking(issuer)).Device(t.Context(), func(oauth.DeviceQuestion) {})
			if took := time.Since(begin); err != nil || !issuer.Accepts(consent.Token.Reveal()) || took != test.takes*time.Second {
				t.Errorf("%s: after %v: %+v, %v; want it after %d s", name, took, consent, err, test.takes)
			}
		})
	}
}

func TestADeviceLoginEndsAtAFailureThatStays(t *testing.T) {
	for want, f := range map[string]oauthtest.Fault{
		"HTTP status 404": {Kind: "html", Status: 404},
		"HTTP status 307": {Kind: "redirect"},
		"invalid_client":  {Kind: "error", Status: 500, Error: "invalid_client"},
		"access_denied":   {Kind: "error", Status: 403, Error: "access_denied"},
	} {
		synctest.Test(t, func(t *testing.T) {
			issuer, begin := loginIssuer(), time.Now()
			issuer.Inject(f)
			_, err := loginOf(t, asking(issuer)).Device(t.Context(), func(oauth.DeviceQuestion) {})
			if err == nil || !strings.Contains(err.Error(), want) || time.Since(begin) != 5*time.Second {
				t.Errorf("after %v: %v, want %s", time.Since(begin), err, want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		issuer, begin := loginIssuer(), time.Now()
		issuer.Inject(oauthtest.Fault{Kind: "html", Times: -1})
		_, err := loginOf(t, asking(issuer)).Device(t.Context(), func(oauth.DeviceQuestion) {})
		if err == nil || !strings.Contains(err.Error(), "expired") || !strings.Contains(err.Error(), "HTTP status 502") || time.Since(begin) != 10*time.Minute {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}

// tokensFrom is the transport of an issuer whose token endpoint is another one.
func tokensFrom(issuer http.RoundTripper, endpoint roundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.URL.String() == tokenURL {
			return endpoint(req)
		}
		return issuer.RoundTrip(req)
	})
}

// The answer holds the only refresh token: a login accepts what a refresh accepts.
func TestALoginTakesTheRefreshTokenOfAnOddAnswer(t *testing.T) {
	const (
		usual = "application/json"
		came  = `{"access_token":"hidden-one","refresh_token":"next","refresh_expires_in":60`
	)
	type odd struct {
		status      int
		media, body string
		cut         bool // the connection breaks after it
	}
	tests := map[string]odd{
		"another status":        {201, usual, came + `}`, false},
		"the status of failure": {500, usual, came + `}`, false},
		"JSON as text":          {200, "text/plain", came + `}`, false},
		"JSON as a form":        {200, "application/x-www-form-urlencoded", came + `}`, false},
		"a form":                {200, "text/plain", "access_token=hidden-one&refresh_token=next&refresh_expires_in=60", false},
		"a byte order mark":     {200, usual, "\ufeff" + came + `}`, false},
		"broken":                {200, usual, came + `,}`, false},
		"followed by a page":    {200, usual, came + `}<html>`, false},
		"cut off":               {200, usual, came + `,"expires_in":36`, true},
		"too long":              {200, usual, came + `,"scope":"` + strings.Repeat("x", httpsource.MaxBody) + `"}`, false},
		"no access token":       {200, usual, `{"refresh_token":"next","refresh_expires_in":60}`, false},
		"space around it":       {200, usual, `{"access_token":"hidden-one","refresh_token":" next\n","refresh_expires_in":"60"}`, false},
	}
	for _, life := range []string{`""`, `3599.5`, `"3600.0"`, `3.6e3`, `"1h"`, `false`, `{}`, `99999999999`} {
		tests["expires_in: "+life] = odd{200, usual, came + `,"expires_in":` + life + `}`, false}
	}
	for _, none := range []string{`{}`, `false`, `0`, `""`, `null`} {
		tests["error: "+none] = odd{200, usual, came + `,"error":` + none + `}`, false}
	}
	for name, test := range tests {
		asked := 0
		c := asking(loginIssuer(), func(c *oauth.Config) {
			c.Transport = tokensFrom(c.Transport, func(req *http.Request) (*http.Response, error) {
				asked++
				resp, err := answering(test.status, test.media, test.body).RoundTrip(req)
				if test.cut {
					resp.Body = io.NopCloser(io.MultiReader(resp.Body, iotest.ErrReader(io.ErrUnexpectedEOF)))
				}
				return resp, err
			})
		})
		check := func(way string, got coordinator.Consent, err error) {
			t.Helper()
			if err != nil || got.Token.Reveal() != "next" || got.Idle != time.Minute || asked != 1 {
				t.Errorf("%s, by a %s: %+v, %v, after %d requests", name, way, got, err, asked)
			}
			asked = 0
		}
		got, err := redeemed(t, c)
		check("code", got, err)
		synctest.Test(t, func(t *testing.T) {
			got, err := loginOf(t, c).Device(t.Context(), func(oauth.DeviceQuestion) {})
			check("device", got, err)
		})
	}
}

// Half a refresh token must not be stored for one.
func TestALoginTakesNoRefreshTokenOfAFormThatMayBeCutOff(t *testing.T) {
	for name, body := range map[string]io.Reader{
		"cut off":  io.MultiReader(strings.NewReader("access_token=hidden-one&refresh_token=ne"), iotest.ErrReader(io.ErrUnexpectedEOF)),
		"too long": strings.NewReader("access_token=hidden-one&scope=" + strings.Repeat("x", httpsource.MaxBody-45) + "&refresh_token=next"),
	} {
		got, err := redeemed(t, asking(loginIssuer(), func(c *oauth.Config) {
			c.Transport = roundTripper(func(req *http.Request) (*http.Response, error) {
				resp, err := answering(200, "text/plain", "").RoundTrip(req)
				resp.Body = io.NopCloser(body)
				return resp, err
			})
		}))
		if err == nil || !got.Token.IsZero() || strings.Contains(err.Error(), "hidden-one") {
			t.Errorf("%s: %v, %v", name, got.Token.Reveal(), err)
		}
	}
}

// The code is used up: asking again would say that, and not what is wrong.
func TestADeviceLoginSaysThatNoRefreshTokenCameAlsoInAnOddAnswer(t *testing.T) {
	for _, body := range []string{`{"access_token":"hidden-one","expires_in":"1h"}`, `{"access_token":"hidden-one","error":{}}`} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			c := asking(loginIssuer(), func(c *oauth.Config) {
				c.Transport = tokensFrom(c.Transport, answering(200, "application/json", body).RoundTrip)
			})
			_, err := loginOf(t, c).Device(t.Context(), func(oauth.DeviceQuestion) {})
			if err == nil || !strings.Contains(err.Error(), "offline_access") || strings.Contains(err.Error(), "hidden-one") || time.Since(begin) != 5*time.Second {
				t.Errorf("%s: after %v: %v", body, time.Since(begin), err)
			}
		})
	}
}

func TestWhatALoginLacksIsNamed(t *testing.T) {
	issuer := loginIssuer()
	if _, err := asking(issuer, func(c *oauth.Config) { c.Grant = oauth.ClientCredentials }).Login(); err == nil || !strings.HasPrefix(err.Error(), "grant: ") {
		t.Errorf("%v", err)
	}
	l := loginOf(t, presenting(issuer))
	if _, err := l.Code(redirect); err == nil || !strings.HasPrefix(err.Error(), "auth_url: ") {
		t.Errorf("%v", err)
	}
	if _, err := l.Device(t.Context(), nil); err == nil || !strings.HasPrefix(err.Error(), "device_url: ") {
		t.Errorf("%v", err)
	}
}
