package oauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

// captured returns the form of the one request that c makes.
func captured(t *testing.T, c oauth.Config) (form url.Values, header http.Header) {
	t.Helper()
	c.Transport = roundTripper(func(req *http.Request) (*http.Response, error) {
		if err := req.ParseForm(); err != nil {
			t.Error(err)
		}
		form, header = req.PostForm, req.Header
		return answering(200, "application/json", `{"access_token":"tok","expires_in":60}`).RoundTrip(req)
	})
	fetch(t, sourceOf(t, c))
	return form, header
}

// part decodes the header (0) or the claims (1) of an assertion.
func part(t *testing.T, assertion string, i int) map[string]any {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(assertion, ".")[i])
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAnAssertionIsSignedAsTheKeySays(t *testing.T) {
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(keyOf("RSA").(*rsa.PrivateKey))})
	der, err := x509.MarshalECPrivateKey(keyOf("P-256").(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	sec1 := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	jwk, err := jose.JSONWebKey{Key: keyOf("RSA"), KeyID: "in-the-key", Algorithm: "PS256"}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key       []byte
		algorithm string
		alg, kid  string
		public    crypto.PublicKey
	}{
		"RSA, PKCS 8":     {pemOf(t, keyOf("RSA")), "", "RS256", "", keyOf("RSA").Public()},
		"RSA, PKCS 1":     {pkcs1, "", "RS256", "", keyOf("RSA").Public()},
		"RSA as PS256":    {pkcs1, "PS256", "PS256", "", keyOf("RSA").Public()},
		"a JSON Web Key":  {jwk, "", "PS256", "in-the-key", keyOf("RSA").Public()},
		"P-256, SEC 1":    {sec1, "", "ES256", "", keyOf("P-256").Public()},
		"P-384, PKCS 8":   {pemOf(t, keyOf("P-384")), "", "ES384", "", keyOf("P-384").Public()},
		"Ed25519, PKCS 8": {pemOf(t, keyOf("Ed25519")), "", "EdDSA", "", keyOf("Ed25519").Public()},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := oauth.Config{TokenURL: tokenURL, ClientID: "c", ClientAuth: oauth.PrivateKeyJWT, PrivateKey: c.key, Algorithm: c.algorithm}
			form, _ := captured(t, cfg)
			head := part(t, form.Get("client_assertion"), 0)
			if kid, _ := head["kid"].(string); head["alg"] != c.alg || kid != c.kid {
				t.Errorf("header %v, want alg %s, kid %q", head, c.alg, c.kid)
			}
			issuer := newIssuer(oauthtest.Client{ID: "c", Key: c.public})
			cfg.Transport = issuer.Transport()
			fetch(t, sourceOf(t, cfg))
		})
	}
}

func TestAnAssertionIsForOneRequestOfOneClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := oauth.Config{TokenURL: tokenURL, ClientID: "c", ClientAuth: oauth.PrivateKeyJWT, PrivateKey: pemOf(t, keyOf("P-256")), KeyID: "k"}
		form, header := captured(t, cfg)
		if form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || header.Get("Authorization") != "" {
			t.Errorf("form %v, header %v", form, header)
		}
		claims := part(t, form.Get("client_assertion"), 1)
		now := float64(time.Now().Unix())
		if claims["iss"] != "c" || claims["sub"] != "c" || claims["aud"] != tokenURL || claims["iat"] != now-30 {
			t.Errorf("claims %v", claims)
		}
		if left := claims["exp"].(float64) - now; left <= 0 || left > 300 {
			t.Errorf("it is good for %v s", left)
		}
		if kid := part(t, form.Get("client_assertion"), 0)["kid"]; kid != "k" {
			t.Errorf("kid %v", kid)
		}
		cfg.AssertionAudience = "https://issuer.example.com"
		form, _ = captured(t, cfg)
		other := part(t, form.Get("client_assertion"), 1)
		if other["aud"] != "https://issuer.example.com" || other["jti"] == claims["jti"] || len(other["jti"].(string)) < 20 {
			t.Errorf("claims %v after %v", other, claims)
		}
	})
}

// Google is one of those that refuse an assertion of the future.
func TestAnAssertionIsAcceptedThoughTheClockIsALittleFast(t *testing.T) {
	key := keyOf("RSA")
	client := oauth.Config{TokenURL: tokenURL, ClientID: "c", ClientAuth: oauth.PrivateKeyJWT, PrivateKey: pemOf(t, key)}
	bearer := oauth.Config{TokenURL: tokenURL, Grant: oauth.JWTBearer, Issuer: "c", PrivateKey: pemOf(t, key)}
	for _, c := range []oauth.Config{client, bearer} {
		for off, accepted := range map[time.Duration]bool{-31 * time.Second: false, -30 * time.Second: true, 0: true, 3 * time.Minute: true} {
			synctest.Test(t, func(t *testing.T) {
				issuer := newIssuer(oauthtest.Client{ID: "c", Key: key.Public()})
				issuer.Tune(func(k *oauthtest.Knobs) { k.ClockAhead = oauthtest.Duration(off) })
				c.Transport = issuer.Transport()
				if _, err := sourceOf(t, c).Fetch(t.Context(), coordinator.FetchRequest{}); (err == nil) != accepted {
					t.Errorf("%s, the issuer's clock is ahead by %v: %v", c.Grant, off, err)
				}
			})
		}
	}
	google := oauth.GoogleServiceAccount{Key: serviceAccount(t), Scopes: []string{"a"}}
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(oauthtest.Client{ID: account, Key: key.Public()})
		issuer.Tune(func(k *oauthtest.Knobs) { k.ClockAhead = oauthtest.Duration(-30 * time.Second) })
		google.Transport = issuer.Transport()
		fetch(t, sourceOf(t, google))
	})
}

func TestAnIssuerTakesEitherAudienceAndNoAssertionTwice(t *testing.T) {
	key := keyOf("P-256")
	issuer := oauthtest.New(oauthtest.Config{Clients: []oauthtest.Client{{ID: "c", Key: key.Public()}}, Audience: "https://issuer.example.com"})
	cfg := oauth.Config{TokenURL: tokenURL, ClientID: "c", ClientAuth: oauth.PrivateKeyJWT, PrivateKey: pemOf(t, key), Transport: issuer.Transport()}
	fetch(t, sourceOf(t, cfg))
	cfg.AssertionAudience = "https://issuer.example.com"
	fetch(t, sourceOf(t, cfg))
	cfg.AssertionAudience = "https://another.example.com"
	if f := refused(t, sourceOf(t, cfg)); f.Code != "invalid_client" {
		t.Errorf("a foreign audience: %v", f)
	}

	cfg.AssertionAudience, cfg.Transport = "", nil
	form, header := captured(t, cfg)
	for i, want := range []int{200, 401} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tokenURL, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		resp, err := issuer.Transport().RoundTrip(req)
		if err != nil || resp.StatusCode != want {
			t.Errorf("use %d: %v, %v", i+1, resp, err)
		}
	}
}

func TestAJWTBearerGrantNeedsNoClient(t *testing.T) {
	key := keyOf("RSA")
	issuer := newIssuer(oauthtest.Client{ID: "app", Key: key.Public()})
	cfg := oauth.Config{
		TokenURL: tokenURL, Grant: oauth.JWTBearer, Issuer: "app", Subject: "user@example.com", PrivateKey: pemOf(t, key),
		Claims: map[string]any{"box_sub_type": "enterprise"}, Scopes: []string{"api"}, Transport: issuer.Transport(),
	}
	if r := fetch(t, sourceOf(t, cfg)); !issuer.Valid(r.Token.Reveal()) {
		t.Errorf("Fetch() = %+v", r)
	}
	cfg.Transport = nil
	form, _ := captured(t, cfg)
	claims := part(t, form.Get("assertion"), 1)
	if form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || form.Has("client_id") || form.Get("scope") != "api" {
		t.Errorf("form %v", form)
	}
	if claims["sub"] != "user@example.com" || claims["box_sub_type"] != "enterprise" || claims["aud"] != tokenURL {
		t.Errorf("claims %v", claims)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cfg.PrivateKey, cfg.Transport = pemOf(t, other), issuer.Transport()
	if f := refused(t, sourceOf(t, cfg)); f.Code != "invalid_grant" || f.Kind != coordinator.FailedRefused {
		t.Errorf("another key: %v", f)
	}
}

func TestFurtherParametersAreSent(t *testing.T) {
	form, _ := captured(t, oauth.Config{
		TokenURL: tokenURL + "?tenant=7", ClientID: "c", ClientSecret: "s", ClientAuth: oauth.Post, Audience: "https://api.example.com",
		Params: url.Values{"grant_type": {"account_credentials"}, "resource": {"a", "b"}},
	})
	if form.Get("grant_type") != "account_credentials" || len(form["resource"]) != 2 || form.Get("audience") != "https://api.example.com" ||
		form.Get("client_id") != "c" || form.Get("client_secret") != "s" || form.Has("scope") {
		t.Errorf("form %v", form)
	}
}
