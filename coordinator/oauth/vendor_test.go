package oauth_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

const account = "robot@project.iam.gserviceaccount.com"

func serviceAccount(t *testing.T, changes ...string) []byte {
	t.Helper()
	key := map[string]string{
		"type": "service_account", "client_email": account, "private_key_id": "0123456789abcdef",
		"private_key": string(pemOf(t, keyOf("RSA"))), "token_uri": tokenURL,
	}
	for i := 0; i+1 < len(changes); i += 2 {
		key[changes[i]] = changes[i+1]
	}
	text, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAGoogleServiceAccountGetsTokens(t *testing.T) {
	issuer := newIssuer(oauthtest.Client{ID: account, Key: keyOf("RSA").Public()})
	var assertion string
	look := roundTripper(func(req *http.Request) (*http.Response, error) {
		clone := req.Clone(req.Context())
		clone.Body, _ = req.GetBody()
		if err := clone.ParseForm(); err != nil {
			t.Error(err)
		}
		assertion = clone.PostForm.Get("assertion")
		return issuer.Transport().RoundTrip(req)
	})
	g := oauth.GoogleServiceAccount{Key: serviceAccount(t), Scopes: []string{"a", "b"}, Subject: "person@example.com", Transport: look}
	r := fetch(t, sourceOf(t, g))
	claims, head := part(t, assertion, 1), part(t, assertion, 0)
	if !issuer.Valid(r.Token.Reveal()) || claims["scope"] != "a b" || claims["iss"] != account || claims["sub"] != "person@example.com" ||
		claims["exp"].(float64)-claims["iat"].(float64) != 3600 || head["kid"] != "0123456789abcdef" || head["alg"] != "RS256" {
		t.Errorf("%v %v %+v", head, claims, r)
	}
	for want, g := range map[string]oauth.GoogleServiceAccount{
		"key: it is not":        {Key: []byte("sesame"), Scopes: []string{"a"}},
		"key: its type":         {Key: serviceAccount(t, "type", "authorized_user"), Scopes: []string{"a"}},
		"key: client_email":     {Key: serviceAccount(t, "client_email", ""), Scopes: []string{"a"}},
		"scopes: ":              {Key: serviceAccount(t)},
		"key: private_key: ":    {Key: serviceAccount(t, "private_key", "sesame"), Scopes: []string{"a"}},
		"key: token_url: it wo": {Key: serviceAccount(t, "token_uri", "http://evil.example.com/"), Scopes: []string{"a"}},
	} {
		if _, err := g.Source(); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("Source() = %v, want %q", err, want)
		}
	}
}

func gitHub(t *testing.T, issuer *oauthtest.Server) oauth.GitHubApp {
	t.Helper()
	return oauth.GitHubApp{AppID: "Iv1.abc", InstallationID: "42", PrivateKey: pemOf(t, keyOf("RSA")), Transport: issuer.Transport()}
}

func newGitHub() *oauthtest.Server {
	return oauthtest.New(oauthtest.Config{Apps: []oauthtest.App{{ID: "Iv1.abc", Installation: "42", Key: keyOf("RSA").Public()}}})
}

func TestAGitHubAppGetsTokensOfItsInstallation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newGitHub()
		s := sourceOf(t, gitHub(t, issuer))
		first, second := fetch(t, s), fetch(t, s)
		if !issuer.Valid(first.Token.Reveal()) || !issuer.Valid(second.Token.Reveal()) || first.Lifetime != time.Hour || first.Doubt != "" {
			t.Errorf("%+v", first)
		}
		if s.Description().Repeat != coordinator.RepeatKeeps {
			t.Errorf("%+v", s.Description())
		}
		// The life is right although the clocks differ.
		issuer.Tune(func(k *oauthtest.Knobs) { k.ClockAhead = oauthtest.Duration(5 * time.Minute) })
		if r := fetch(t, s); r.Lifetime != time.Hour {
			t.Errorf("life %v", r.Lifetime)
		}
		issuer.Tune(func(k *oauthtest.Knobs) { k.ClockAhead, k.ExpiresIn = 0, "missing" })
		if r := fetch(t, s); r.Lifetime != 10*time.Minute || r.Doubt == "" {
			t.Errorf("without expires_at: %v %q", r.Lifetime, r.Doubt)
		}
		issuer.Tune(func(k *oauthtest.Knobs) { k.ClockAhead, k.Echo = oauthtest.Duration(time.Hour), true })
		f := refused(t, s)
		if f.Kind != coordinator.FailedRefused || f.Code != "401" || !strings.Contains(f.Message, "1h0m0s behind") || strings.Contains(everything(f), "eyJ") {
			t.Errorf("%v", f)
		}
	})
}

func TestGitHubsRefusalsAreClassified(t *testing.T) {
	reset := time.Now().Add(20 * time.Minute)
	for _, c := range []struct {
		status int
		header []string
		kind   coordinator.FailureKind
		least  time.Duration
	}{
		{401, nil, coordinator.FailedRefused, 0},
		{403, nil, coordinator.FailedRefused, 0},
		{404, nil, coordinator.FailedRefused, 0},
		{422, nil, coordinator.FailedRefused, 0},
		{403, []string{"Retry-After", "90"}, coordinator.FailedLater, 90 * time.Second},
		{403, []string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", fmt.Sprint(reset.Unix())}, coordinator.FailedLater, 19 * time.Minute},
		{429, nil, coordinator.FailedLater, time.Minute},
		{500, nil, coordinator.FailedUnknown, 0},
		{502, nil, coordinator.FailedUnknown, 0},
		{503, nil, coordinator.FailedBusy, 0},
		{200, nil, coordinator.FailedUnknown, 0},
	} {
		app := gitHub(t, newGitHub())
		app.Transport = answering(c.status, "application/json", `{"message":"Bad credentials"}`, c.header...)
		f := refused(t, sourceOf(t, app))
		if f.Kind != c.kind || f.RetryIn < c.least || f.RetryIn > c.least+time.Minute {
			t.Errorf("%d %v: %s in %v, want %s in %v", c.status, c.header, f.Kind, f.RetryIn, c.kind, c.least)
		}
	}
}

func TestWhatAGitHubAppLacksIsNamed(t *testing.T) {
	for want, change := range map[string]func(*oauth.GitHubApp){
		"app_id: ":          func(a *oauth.GitHubApp) { a.AppID = "" },
		"installation_id: ": func(a *oauth.GitHubApp) { a.InstallationID = "../7" },
		"private_key: it":   func(a *oauth.GitHubApp) { a.PrivateKey = nil },
		"private_key: the":  func(a *oauth.GitHubApp) { a.PrivateKey = pemOf(t, keyOf("P-256")) },
		"api_base: ":        func(a *oauth.GitHubApp) { a.APIBase = "http://ghe.example.com/api/v3" },
	} {
		app := gitHub(t, newGitHub())
		change(&app)
		if _, err := app.Source(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Source() = %v, want %q", err, want)
		}
	}
}

func TestAGitHubTokenCanBeNarrowed(t *testing.T) {
	app := gitHub(t, newGitHub())
	app.Repositories, app.Permissions, app.APIBase = []string{"one"}, map[string]string{"contents": "read"}, "https://ghe.example.com/api/v3/"
	var body, address string
	app.Transport = roundTripper(func(req *http.Request) (*http.Response, error) {
		b := make([]byte, 200)
		n, _ := req.Body.Read(b)
		body, address = string(b[:n]), req.URL.String()
		return answering(201, "application/json", `{"token":"ghs_x","expires_at":"2006-01-02T16:04:05Z"}`, "Date", "Mon, 02 Jan 2006 15:04:05 GMT").RoundTrip(req)
	})
	if r := fetch(t, sourceOf(t, app)); r.Lifetime != time.Hour {
		t.Errorf("%+v", r)
	}
	if body != `{"repositories":["one"],"permissions":{"contents":"read"}}` || address != "https://ghe.example.com/api/v3/app/installations/42/access_tokens" {
		t.Errorf("%s to %s", body, address)
	}
}
