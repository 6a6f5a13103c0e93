// Package oauth2test gets tokens from Ory Fosite, an OAuth2 server of another project. It
// is a module of its own, so that Fosite does not become a dependency of the product.
package oauth2test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/storage"
	"golang.org/x/crypto/bcrypt"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
)

const (
	clientID = "service"
	secret   = "a secret: 100% + more & such/"
)

// issuer is an unmodified Ory Fosite.
type issuer struct {
	*httptest.Server
	provider fosite.OAuth2Provider
	store    *storage.MemoryStore
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{store: storage.NewMemoryStore()}
	i.Server = httptest.NewServer(i)
	t.Cleanup(i.Close)
	i.provider = compose.Compose(&fosite.Config{
		AccessTokenLifespan: time.Hour, RefreshTokenLifespan: 24 * time.Hour, EnforcePKCE: true, GlobalSecret: []byte("0123456789abcdef0123456789abcdef"), TokenURL: i.tokenURL(),
		GrantTypeJWTBearerCanSkipClientAuth: true, GrantTypeJWTBearerMaxDuration: time.Hour,
	}, i.store, compose.NewOAuth2HMACStrategy(&fosite.Config{GlobalSecret: []byte("0123456789abcdef0123456789abcdef")}),
		compose.OAuth2ClientCredentialsGrantFactory, compose.RFC7523AssertionGrantFactory, compose.OAuth2TokenIntrospectionFactory,
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2RefreshTokenGrantFactory, compose.OAuth2PKCEFactory)
	return i
}

func (i *issuer) tokenURL() string { return i.URL + "/token" }

// ServeHTTP is the example of Fosite's documentation.
func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if r.URL.Path == "/api" {
		token := fosite.AccessTokenFromRequest(r)
		if _, _, err := i.provider.IntrospectToken(ctx, token, fosite.AccessToken, new(session)); err != nil {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
		return
	}
	if r.URL.Path == "/authorize" {
		i.consent(w, r)
		return
	}
	ask, err := i.provider.NewAccessRequest(ctx, r, new(session))
	if err != nil {
		i.provider.WriteAccessError(ctx, w, ask, err)
		return
	}
	for _, scope := range ask.GetRequestedScopes() {
		ask.GrantScope(scope)
	}
	answer, err := i.provider.NewAccessResponse(ctx, ask)
	if err != nil {
		i.provider.WriteAccessError(ctx, w, ask, err)
		return
	}
	i.provider.WriteAccessResponse(ctx, w, ask, answer)
}

// session is Fosite's with what the JWT bearer grant wants.
type session struct{ fosite.DefaultSession }

func (s *session) Clone() fosite.Session {
	return &session{*s.DefaultSession.Clone().(*fosite.DefaultSession)}
}

func (s *session) SetSubject(subject string) { s.Subject = subject }

func (i *issuer) add(client *fosite.DefaultOpenIDConnectClient) {
	client.ID, client.GrantTypes, client.Scopes = clientID, []string{"client_credentials"}, []string{"read", "write"}
	i.store.Clients[clientID] = client
}

func pemOf(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func keySet(public any, alg string) *jose.JSONWebKeySet {
	return &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: public, KeyID: "k1", Algorithm: alg, Use: "sig"}}}
}

// configs returns a configuration for each way that the issuer knows, and prepares the
// issuer for it.
func configs(t *testing.T, i *issuer) map[string]func() oauth.Config {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(secret), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	base := oauth.Config{TokenURL: i.tokenURL(), ClientID: clientID, Scopes: []string{"read", "write"}}
	withSecret := func(auth oauth.ClientAuth, method string) func() oauth.Config {
		return func() oauth.Config {
			i.add(&fosite.DefaultOpenIDConnectClient{
				DefaultClient: &fosite.DefaultClient{Secret: hash}, TokenEndpointAuthMethod: method,
			})
			c := base
			c.ClientAuth, c.ClientSecret = auth, secret
			return c
		}
	}
	withKey := func(private, public any, alg string) func() oauth.Config {
		return func() oauth.Config {
			i.add(&fosite.DefaultOpenIDConnectClient{
				DefaultClient: &fosite.DefaultClient{}, TokenEndpointAuthMethod: "private_key_jwt",
				TokenEndpointAuthSigningAlgorithm: alg, JSONWebKeys: keySet(public, alg),
			})
			c := base
			c.ClientAuth, c.PrivateKey, c.KeyID, c.Algorithm = oauth.PrivateKeyJWT, pemOf(t, private), "k1", alg
			return c
		}
	}
	return map[string]func() oauth.Config{
		"basic":                  withSecret(oauth.Basic, "client_secret_basic"),
		"post":                   withSecret(oauth.Post, "client_secret_post"),
		"private_key_jwt, RS256": withKey(rsaKey, rsaKey.Public(), "RS256"),
		"private_key_jwt, PS256": withKey(rsaKey, rsaKey.Public(), "PS256"),
		"private_key_jwt, ES256": withKey(ecKey, ecKey.Public(), "ES256"),
		"jwt_bearer": func() oauth.Config {
			i.store.IssuerPublicKeys["app"] = storage.IssuerPublicKeys{Issuer: "app", KeysBySub: map[string]storage.SubjectPublicKeys{
				"user": {Subject: "user", Keys: map[string]storage.PublicKeyScopes{
					"k1": {Key: &keySet(rsaKey.Public(), "RS256").Keys[0], Scopes: base.Scopes},
				}},
			}}
			return oauth.Config{
				TokenURL: i.tokenURL(), Grant: oauth.JWTBearer, Issuer: "app", Subject: "user", PrivateKey: pemOf(t, rsaKey), KeyID: "k1",
				Scopes: base.Scopes,
			}
		},
	}
}

func TestFositeIssuesOurTokens(t *testing.T) {
	i := newIssuer(t)
	for name, config := range configs(t, i) {
		t.Run(name, func(t *testing.T) {
			source, err := config().Source()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for range 2 { // an assertion that is used twice would be refused
				r, err := source.Fetch(t.Context(), coordinator.FetchRequest{})
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := i.provider.IntrospectToken(t.Context(), r.Token.Reveal(), fosite.AccessToken, new(session)); err != nil {
					t.Errorf("the token is not one of the issuer: %v", err)
				}
				if r.Lifetime < 59*time.Minute || r.Lifetime > time.Hour || r.Doubt != "" || !strings.EqualFold(r.Attributes["token_type"], "bearer") {
					t.Errorf("%+v", r)
				}
				if scope := strings.Fields(r.Attributes["scope"]); !slices.Contains(scope, "write") {
					t.Errorf("scope %q", scope)
				}
				got = append(got, r.Token.Reveal())
			}
			if got[0] == got[1] {
				t.Error("the same token twice")
			}
		})
	}
}

func TestFositesRefusalsAreUnderstood(t *testing.T) {
	i := newIssuer(t)
	basic := configs(t, i)["basic"]
	for want, change := range map[coordinator.Code]func(*oauth.Config){
		"invalid_client": func(c *oauth.Config) { c.ClientSecret = "wrong one" },
		"invalid_scope":  func(c *oauth.Config) { c.Scopes = []string{"admin"} },
	} {
		c := basic()
		change(&c)
		source, err := c.Source()
		if err != nil {
			t.Fatal(err)
		}
		_, err = source.Fetch(t.Context(), coordinator.FetchRequest{})
		var f *coordinator.FetchError
		if !errors.As(err, &f) || f.Kind != coordinator.FailedRefused || f.Code != want || strings.Contains(err.Error(), "wrong one") {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestAServiceOnFositeLivesThroughADeadToken(t *testing.T) {
	i := newIssuer(t)
	source, err := configs(t, i)["private_key_jwt, ES256"]().Source()
	if err != nil {
		t.Fatal(err)
	}
	c, err := coordinator.New(coordinator.Config{Store: memstore.New(), Accounts: []coordinator.AccountConfig{{
		Name: "crm", Source: source, Limits: coordinator.Limits{MinInterval: time.Nanosecond},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	account, _ := c.Account("crm")
	client := &http.Client{Transport: &oauth.Transport{Account: account, Hosts: []string{"http://" + strings.TrimPrefix(i.URL, "http://")}}}
	for range 3 {
		resp, err := client.Get(i.URL + "/api")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("status %d", resp.StatusCode)
		}
		i.revoke(t, account)
	}
}

// revoke makes the issuer forget the account's token.
func (i *issuer) revoke(t *testing.T, account *coordinator.Account) {
	t.Helper()
	token, err := account.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var strategy oauth2.AccessTokenStrategy = compose.NewOAuth2HMACStrategy(&fosite.Config{GlobalSecret: []byte("0123456789abcdef0123456789abcdef")})
	if err := i.store.DeleteAccessTokenSession(context.Background(), strategy.AccessTokenSignature(context.Background(), token.Reveal())); err != nil {
		t.Fatal(err)
	}
}
