package oauth_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator/oauth"
)

func TestAWrongFieldIsNamed(t *testing.T) {
	key := pemOf(t, keyOf("P-256"))
	for want, change := range map[string]func(*oauth.Config){
		"token_url: it is missing":       func(c *oauth.Config) { c.TokenURL = "" },
		"token_url: it must begin":       func(c *oauth.Config) { c.TokenURL = "issuer.example.com/token" },
		"token_url: it must have":        func(c *oauth.Config) { c.TokenURL = "https://user:pass@issuer/token" },
		"token_url: it would send":       func(c *oauth.Config) { c.TokenURL = "http://issuer.example.com/token" },
		"grant: ":                        func(c *oauth.Config) { c.Grant = "password" },
		"client_auth: \"auto\"":          func(c *oauth.Config) { c.ClientAuth = "auto" },
		"client_auth: client_cred":       func(c *oauth.Config) { c.ClientAuth, c.ClientSecret = oauth.NoAuth, "" },
		"client_id: it is missing":       func(c *oauth.Config) { c.ClientID = "" },
		"client_id: it holds":            func(c *oauth.Config) { c.ClientID = "a\n" },
		"client_secret: client_auth bas": func(c *oauth.Config) { c.ClientSecret = "" },
		"client_secret: it holds":        func(c *oauth.Config) { c.ClientSecret = "secret\n" },
		"client_secret: client_auth pri": func(c *oauth.Config) { c.ClientAuth, c.PrivateKey = oauth.PrivateKeyJWT, key },
		"private_key: the assertion":     func(c *oauth.Config) { c.ClientAuth, c.ClientSecret = oauth.PrivateKeyJWT, "" },
		"private_key: neither":           func(c *oauth.Config) { c.Grant, c.PrivateKey = oauth.JWTBearer, []byte("sesame") },
		"private_key: a PEM file": func(c *oauth.Config) {
			c.Grant, c.PrivateKey = oauth.JWTBearer, []byte("-----BEGIN X-----\nAAAA\n-----END X-----\n")
		},
		"private_key: the key does not": func(c *oauth.Config) { c.Grant, c.PrivateKey, c.Algorithm = oauth.JWTBearer, key, "RS256" },
		"private_key: algorithm HS256":  func(c *oauth.Config) { c.Grant, c.PrivateKey, c.Algorithm = oauth.JWTBearer, key, "HS256" },
		"issuer: ": func(c *oauth.Config) {
			c.Grant, c.PrivateKey, c.ClientID, c.ClientSecret = oauth.JWTBearer, key, "", ""
		},
		"certificate: ": func(c *oauth.Config) { c.ClientAuth, c.ClientSecret = oauth.MTLS, "" },
		"certificate: open /nowhere": func(c *oauth.Config) {
			c.ClientAuth, c.ClientSecret, c.Certificate, c.CertificateKey = oauth.MTLS, "", "/nowhere", "/nowhere"
		},
		"params: scope": func(c *oauth.Config) { c.Params = url.Values{"scope": {"x"}} },
		"params: grant_type": func(c *oauth.Config) {
			c.Grant, c.PrivateKey, c.Params = oauth.JWTBearer, key, url.Values{"grant_type": {"x"}}
		},
		"scopes: ":   func(c *oauth.Config) { c.Scopes = []string{"a b"} },
		"repeat: ":   func(c *oauth.Config) { c.Repeat = "sometimes" },
		"lifetime: ": func(c *oauth.Config) { c.Lifetime = -1 },
	} {
		c := configured(newIssuer(), change)
		if s, err := c.Source(); err == nil || s != nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Source() = %v, %v; want an error that begins with %q", s, err, want)
		} else if strings.Contains(err.Error(), "pass@") || strings.Contains(err.Error(), "sesame") {
			t.Errorf("a secret in %v", err)
		}
	}
}

func TestPlainHTTPIsForLocalNetworks(t *testing.T) {
	for address, want := range map[string]bool{
		"http://127.0.0.1:9090/oauth2/token": true, "http://[::1]/t": true, "http://10.1.2.3/t": true, "http://keycloak:8080/t": true,
		"http://keycloak.auth.svc/t": true, "http://keycloak.auth.svc.cluster.local./t": true, "http://8.8.8.8/t": false, "http://example.com/t": false,
		"https://example.com/t": true, "ftp://localhost/t": false, "http:///t": false,
	} {
		c := configured(newIssuer())
		c.TokenURL = address
		if _, err := c.Source(); (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestTheCredentialChangesWithWhatItIsMadeOf(t *testing.T) {
	issuer := newIssuer()
	seen := map[string]int{}
	for i, change := range []func(*oauth.Config){
		func(*oauth.Config) {},
		func(c *oauth.Config) { c.ClientSecret = "another" },
		func(c *oauth.Config) { c.ClientID = "another" },
		func(c *oauth.Config) { c.Scopes = []string{"a"} },
		func(c *oauth.Config) { c.Audience = "a" },
		func(c *oauth.Config) { c.ClientAuth = oauth.Post },
		func(c *oauth.Config) { c.TokenURL += "/v2" },
	} {
		c := configured(issuer, change)
		s := sourceOf(t, c)
		if before, ok := seen[s.Credential()]; ok || len(s.Credential()) != 8 {
			t.Errorf("%d has the credential of %d: %s", i, before, s.Credential())
		}
		seen[s.Credential()] = i
		if again := sourceOf(t, c); again.Credential() != s.Credential() {
			t.Errorf("%d: another credential the second time", i)
		}
	}
}

func TestNothingPrintsASecret(t *testing.T) {
	c := configured(newIssuer())
	for _, v := range []any{
		c, &c, sourceOf(t, c), oauth.GitHubApp{AppID: "1", PrivateKey: []byte(secret)}, oauth.GoogleServiceAccount{Key: []byte(secret)},
	} {
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		for _, text := range []string{fmt.Sprint(v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), fmt.Sprintf("%s %q %x", v, v, v), string(encoded)} {
			if strings.Contains(text, "s3cret") || strings.Contains(text, "733363726574") {
				t.Errorf("%s", text)
			}
		}
	}
}
