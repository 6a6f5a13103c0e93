package sources

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
)

// The kinds of OAuth2.
const (
	OAuth2               = "oauth2"
	GitHubApp            = "github_app"
	GoogleServiceAccount = "google_service_account"
)

func oauth2() []Kind {
	hint := func(code coordinator.Code) string { return oauth.Classify(code, http.StatusBadRequest).Hint }
	return []Kind{
		{
			Name: OAuth2, Usage: "access tokens of any OAuth2 issuer (RFC 6749)", Hint: hint, Make: makeOAuth2,
			Fields: []Field{
				{Key: "token_url", Usage: "the token endpoint", Required: true},
				{Key: "grant", Usage: "client_credentials (default) or jwt_bearer"},
				{Key: "client_id", Usage: "the client's id"},
				{Key: "client_secret", Usage: "its secret", Form: Secret},
				{Key: "client_auth", Usage: "basic (default), post, private_key_jwt or mtls"},
				{Key: "private_key", Usage: "the key that signs assertions: PEM or JWK", Form: Key},
				{Key: "key_id", Usage: "the assertions' kid"},
				{Key: "algorithm", Usage: "the assertions' alg (default by the key)"},
				{Key: "assertion_audience", Usage: "the assertions' aud (default token_url)"},
				{Key: "certificate", Usage: "PEM file of the client certificate, for mtls; read for each request"},
				{Key: "certificate_key", Usage: "PEM file of its key", Form: File},
				{Key: "issuer_id", Usage: "iss of a jwt_bearer assertion (default client_id)"},
				{Key: "subject", Usage: "sub of a jwt_bearer assertion, or the user on whose behalf a Google service account acts"},
				{Key: "claims", Usage: "further claims of the assertion", Form: Map},
				{Key: "scopes", Usage: "the scopes to ask for", Form: List},
				{Key: "audience", Usage: "the parameter audience"},
				{Key: "params", Usage: "further parameters of the request", Form: Map},
				{Key: "lifetime", Usage: "how long a token lives if the issuer does not say (default 10m)"},
				{Key: "repeat", Usage: "what a repeated call does to the token before: keeps (default), same or kills"},
			},
		},
		{
			Name: GitHubApp, Usage: "installation tokens of a GitHub App", APIBase: "https://api.github.com", Hint: hint, Make: makeGitHubApp,
			Put: func(v Values) (string, string) { return "bearer", v.APIBase },
			Fields: []Field{
				{Key: "app_id", Usage: "the app's id", Required: true},
				{Key: "installation_id", Usage: "the installation's id", Required: true},
				{Key: "private_key", Form: Key, Required: true},
				{Key: "repositories", Usage: "the repositories that the token is for (default all)", Form: List},
				{Key: "permissions", Usage: "what the token may do (default all that the installation may)", Form: Map},
			},
		},
		{
			Name: GoogleServiceAccount, Usage: "access tokens of a Google service account", Hint: hint,
			Make: func(v Values) (coordinator.Source, error) {
				return oauth.GoogleServiceAccount{Key: []byte(v.Text["key"]), Scopes: v.List["scopes"], Subject: v.Text["subject"]}.Source()
			},
			Fields: []Field{
				{Key: "key", Usage: "the JSON file of the key", Form: Key, Required: true},
				{Key: "scopes", Form: List, Required: true},
				{Key: "subject"},
			},
		},
	}
}

func makeOAuth2(v Values) (coordinator.Source, error) {
	c := oauth.Config{
		TokenURL: v.Text["token_url"], Grant: oauth.Grant(v.Text["grant"]),
		ClientID: v.Text["client_id"], ClientSecret: v.Text["client_secret"], ClientAuth: oauth.ClientAuth(v.Text["client_auth"]),
		PrivateKey: []byte(v.Text["private_key"]), KeyID: v.Text["key_id"], Algorithm: v.Text["algorithm"], AssertionAudience: v.Text["assertion_audience"],
		Certificate: v.Text["certificate"], CertificateKey: v.Text["certificate_key"],
		Issuer: v.Text["issuer_id"], Subject: v.Text["subject"], Claims: map[string]any{},
		Scopes: v.List["scopes"], Audience: v.Text["audience"], Params: url.Values{}, Repeat: v.Text["repeat"],
	}
	for name, value := range v.Map["claims"] {
		c.Claims[name] = value
	}
	for name, value := range v.Map["params"] {
		c.Params.Set(name, value)
	}
	var wrong error
	if life := v.Text["lifetime"]; life != "" {
		var err error
		if c.Lifetime, err = time.ParseDuration(life); err != nil || c.Lifetime <= 0 {
			wrong = fmt.Errorf("lifetime: %q is not a duration: write a number with a unit, such as 30m", life)
		}
	}
	s, err := c.Source()
	if err = errors.Join(wrong, err); err != nil {
		return nil, err
	}
	return s, nil
}

func makeGitHubApp(v Values) (coordinator.Source, error) {
	return oauth.GitHubApp{
		AppID: v.Text["app_id"], InstallationID: v.Text["installation_id"], PrivateKey: []byte(v.Text["private_key"]),
		Repositories: v.List["repositories"], Permissions: v.Map["permissions"], APIBase: v.APIBase,
	}.Source()
}
