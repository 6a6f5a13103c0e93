package sources

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
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
			Chain:    chainOfOAuth2,
			NoSecret: func(v Values) bool { return v.Text["grant"] == "refresh_token" && v.Text["client_auth"] == "none" },
			Fields: []Field{
				{Key: "token_url", Usage: "the token endpoint (default that of profile)"},
				{Key: "grant", Usage: "client_credentials (default), refresh_token (a person consents by zhongkong login) or jwt_bearer"},
				{Key: "profile", Usage: "what is known of an issuer, with grant refresh_token: its addresses, and what it does with refresh tokens: " + ProfileNames(", ")},
				{Key: "replay", Usage: "what presenting a used refresh token does: never (refused, or the grant is revoked; default without a profile), free (it is not used up) or for how long it is answered again, such as 30s"},
				{Key: "auth_url", Usage: "the authorization endpoint, for zhongkong login (default that of profile)"},
				{Key: "device_url", Usage: "the device authorization endpoint, for zhongkong login --device (default that of profile)"},
				{Key: "redirect", Usage: "where the issuer sends the person who has logged in: an http address of this machine, or one whose URL is then typed in (default /callback at a free port of 127.0.0.1)"},
				{Key: "client_id", Usage: "the client's id"},
				{Key: "client_secret", Usage: "its secret", Form: Secret},
				{Key: "client_auth", Usage: "basic (default, unless profile says otherwise), post, private_key_jwt or mtls; none with grant refresh_token, for a public client"},
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
				{Key: "params", Usage: "further parameters of each request, also of those of a login", Form: Map},
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

// ProfileNames returns the names of the profiles of OAuth2 issuers.
func ProfileNames(separator string) string {
	var names []string
	for _, p := range oauth.Profiles() {
		names = append(names, p.Name)
	}
	return strings.Join(names, separator)
}

// chainOfOAuth2 identifies the tokens of one client. Those of a person's grant are in no
// other account.
func chainOfOAuth2(v Values) string {
	c, err := OAuth2Config(v)
	if err != nil || c.Repeat != "kills" || c.Grant == oauth.RefreshToken {
		return ""
	}
	return fmt.Sprintf("%s %q", OAuth2, []string{
		c.TokenURL, string(c.Grant), c.ClientID, c.Issuer, c.Subject, strings.Join(c.Scopes, " "), c.Audience, c.Params.Encode(), fmt.Sprint(c.Claims),
	})
}

func makeOAuth2(v Values) (coordinator.Source, error) {
	c, err := OAuth2Config(v)
	if err != nil {
		return nil, err
	}
	return c.Source()
}

// OAuth2Config returns the configuration of an account with source oauth2.
func OAuth2Config(v Values) (oauth.Config, error) {
	c := oauth.Config{
		Profile: v.Text["profile"], Replay: v.Text["replay"],
		AuthURL: v.Text["auth_url"], DeviceURL: v.Text["device_url"], RedirectURL: v.Text["redirect"],
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
	if p, _ := oauth.ProfileNamed(c.Profile); c.TokenURL == "" && p.TokenURL == "" {
		return c, errors.New("token_url is missing: the token endpoint")
	}
	if life := v.Text["lifetime"]; life != "" {
		var err error
		if c.Lifetime, err = time.ParseDuration(life); err != nil || c.Lifetime <= 0 {
			return c, fmt.Errorf("lifetime: %q is not a duration: write a number with a unit, such as 30m", life)
		}
	}
	return c, nil
}

func makeGitHubApp(v Values) (coordinator.Source, error) {
	return oauth.GitHubApp{
		AppID: v.Text["app_id"], InstallationID: v.Text["installation_id"], PrivateKey: []byte(v.Text["private_key"]),
		Repositories: v.List["repositories"], Permissions: v.Map["permissions"], APIBase: v.APIBase,
	}.Source()
}
