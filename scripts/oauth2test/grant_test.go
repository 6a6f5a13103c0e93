package oauth2test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ory/fosite"
	"golang.org/x/crypto/bcrypt"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
)

const redirect = "http://127.0.0.1:7777/callback"

// consent is Fosite's authorization endpoint, where the person consents at once.
func (i *issuer) consent(w http.ResponseWriter, r *http.Request) {
	ask, err := i.provider.NewAuthorizeRequest(r.Context(), r)
	if err != nil {
		i.provider.WriteAuthorizeError(r.Context(), w, ask, err)
		return
	}
	for _, scope := range ask.GetRequestedScopes() {
		ask.GrantScope(scope)
	}
	answer, err := i.provider.NewAuthorizeResponse(r.Context(), ask, &session{fosite.DefaultSession{Subject: "a person"}})
	if err != nil {
		i.provider.WriteAuthorizeError(r.Context(), w, ask, err)
		return
	}
	i.provider.WriteAuthorizeResponse(r.Context(), w, ask, answer)
}

// grantConfig returns an account that lives on a refresh token, and registers its client.
func (i *issuer) grantConfig(t *testing.T) oauth.Config {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(secret), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	i.store.Clients[clientID] = &fosite.DefaultOpenIDConnectClient{
		DefaultClient: &fosite.DefaultClient{
			ID: clientID, Secret: hash, GrantTypes: []string{"authorization_code", "refresh_token"}, ResponseTypes: []string{"code"},
			Scopes: []string{"read", "offline_access"}, RedirectURIs: []string{"http://127.0.0.1/callback"},
		},
		TokenEndpointAuthMethod: "client_secret_basic",
	}
	return oauth.Config{
		TokenURL: i.tokenURL(), AuthURL: i.URL + "/authorize", Grant: oauth.RefreshToken, Profile: "hydra",
		ClientID: clientID, ClientSecret: secret, Scopes: []string{"read", "offline_access"},
	}
}

// login gets a consent as `zhongkong login` does.
func login(t *testing.T, config oauth.Config) coordinator.Consent {
	t.Helper()
	l, err := config.Login()
	if err != nil {
		t.Fatal(err)
	}
	request, err := l.Code(redirect)
	if err != nil {
		t.Fatal(err)
	}
	consent, err := request.Redeem(t.Context(), browse(t, request.URL))
	if err != nil {
		t.Fatal(err)
	}
	return consent
}

// browse opens an address as a browser does, and returns the query with which the person
// is sent back.
func browse(t *testing.T, address string) url.Values {
	t.Helper()
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := browser.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	to, err := resp.Location()
	if err != nil || !strings.HasPrefix(to.String(), redirect+"?") {
		t.Fatalf("sent to %v, %v", to, err)
	}
	return to.Query()
}

// present presents a refresh token.
func present(t *testing.T, source coordinator.Source, token coordinator.Token) (coordinator.FetchResult, *coordinator.FetchError) {
	t.Helper()
	r, err := source.Fetch(t.Context(), coordinator.FetchRequest{
		Grant: coordinator.GrantToken{Token: token}, SendBefore: time.Now().Add(10 * time.Second),
	})
	var f *coordinator.FetchError
	if err != nil && !errors.As(err, &f) {
		t.Fatal(err)
	}
	return r, f
}

func TestFositeRotatesOurRefreshTokens(t *testing.T) {
	i := newIssuer(t)
	config := i.grantConfig(t)
	source, err := config.Source()
	if err != nil {
		t.Fatal(err)
	}
	tokens := []coordinator.Token{login(t, config).Token}
	var last coordinator.FetchResult
	for range 3 {
		r, failed := present(t, source, tokens[len(tokens)-1])
		if failed != nil {
			t.Fatal(failed)
		}
		if _, _, err := i.provider.IntrospectToken(t.Context(), r.Token.Reveal(), fosite.AccessToken, new(session)); err != nil {
			t.Errorf("the token is not one of the issuer: %v", err)
		}
		if r.Grant.IsZero() || r.Grant.Equal(tokens[len(tokens)-1]) || r.Lifetime < 59*time.Minute || r.Doubt != "" {
			t.Errorf("%+v", r)
		}
		tokens, last = append(tokens, r.Grant), r
	}
	// A used one is reuse, which revokes the whole grant, access tokens as well.
	for _, token := range []coordinator.Token{tokens[1], tokens[3]} {
		if _, failed := present(t, source, token); failed == nil || failed.Kind != coordinator.FailedGrant || failed.Code != "invalid_grant" ||
			strings.Contains(failed.Error(), token.Reveal()) {
			t.Errorf("%v", failed)
		}
	}
	if _, _, err := i.provider.IntrospectToken(t.Context(), last.Token.Reveal(), fosite.AccessToken, new(session)); err == nil {
		t.Error("the access token has outlived its grant")
	}
	// A person can always consent again.
	if _, failed := present(t, source, login(t, config).Token); failed != nil {
		t.Error(failed)
	}
}

func TestFositesRefusalsBeforeTheGrantUseNothingUp(t *testing.T) {
	i := newIssuer(t)
	config := i.grantConfig(t)
	token := login(t, config).Token
	wrong := config
	wrong.ClientSecret = "wrong one"
	source, err := wrong.Source()
	if err != nil {
		t.Fatal(err)
	}
	if _, failed := present(t, source, token); failed == nil || failed.Kind != coordinator.FailedRefused || failed.Code != "invalid_client" {
		t.Errorf("%v", failed)
	}
	if source, err = config.Source(); err != nil {
		t.Fatal(err)
	}
	if _, failed := present(t, source, token); failed != nil {
		t.Errorf("the token was used up: %v", failed)
	}
}
