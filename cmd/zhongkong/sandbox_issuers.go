package main

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator/httpsource/httpsourcetest"
	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

// Where the simulator has issuers besides WeChat, which is at its root.
const (
	sandboxWeCom = "/wecom"
	sandboxHTTP  = "/http/" // and the account's name
)

// ServeHTTP passes a request to the issuer that it is for.
func (s *sandboxServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, sandboxWeCom+"/"):
		http.StripPrefix(sandboxWeCom, s.wecom).ServeHTTP(w, r)
	case strings.HasPrefix(path, "/oauth2/"), strings.HasPrefix(path, "/app/installations/"):
		s.oauth.ServeHTTP(w, r)
	case strings.HasPrefix(path, sandboxHTTP):
		name, _, _ := strings.Cut(strings.TrimPrefix(path, sandboxHTTP), "/")
		if vendor := s.vendor(name); vendor != nil {
			http.StripPrefix(sandboxHTTP+name, vendor).ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	default:
		s.wechat.ServeHTTP(w, r)
	}
}

// vendor plays the issuer of an account with source http.
type vendor struct {
	http.Handler
	valid  func(token string) bool
	played string // the preset or the description that it plays
}

func (s *sandboxServer) vendor(account string) *vendor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vendors[account]
}

// lives reports whether a token of an account is valid, which a child presents.
func (s *sandboxServer) lives(account, token string) bool {
	if v := s.vendor(account); v != nil {
		return v.valid(token)
	}
	return s.oauth.Valid(token)
}

// serveAccount adds an account to the simulator of its issuer and points it there. An
// account without a secret gets one that is valid only there.
func (s *sandboxServer) serveAccount(a *config.Account) error {
	switch a.Source {
	case sources.Token, sources.StableToken:
		return s.serveWeChat(a)
	case sources.JSAPITicket, sources.WXCardTicket:
		a.APIBase = s.url()
	case sources.WeCom, sources.WeComProvider:
		return s.serveWeCom(a)
	case sources.WeComJSAPITicket, sources.WeComAgentTicket:
		a.APIBase = s.url() + sandboxWeCom
	case sources.WeChatPlatform:
		return s.servePlatform(a)
	case sources.WeComSuite:
		return s.serveSuite(a)
	case sources.HTTP:
		return s.serveVendor(a)
	default:
		return s.serveOAuth(a)
	}
	return nil
}

// secretOf returns an account's secret, which is made up if it has none.
func secretOf(a *config.Account, field string) string {
	if given := a.Secret(field); !given.IsZero() {
		return given.Reveal()
	}
	made := "sandbox-secret-of-" + a.Name
	*a = a.WithSecrets(map[string]config.Secret{field: config.NewSecret(made)})
	return made
}

func (s *sandboxServer) serveWeCom(a *config.Account) error {
	a.APIBase = s.url() + sandboxWeCom
	secret, id := secretOf(a, "secret"), a.Text("corpid")
	at := slices.IndexFunc(s.corps, func(c wecomtest.Corp) bool { return c.CorpID == id })
	if at < 0 {
		at, s.corps = len(s.corps), append(s.corps, wecomtest.Corp{CorpID: id})
	}
	corp := &s.corps[at]
	if a.Source == sources.WeComProvider {
		if corp.ProviderSecret == secret {
			return nil
		}
		corp.ProviderSecret = secret
		return s.wecom.AddCorp(*corp)
	}
	agent, _ := strconv.Atoi(a.Text("agentid")) // 0: a secret without an app
	app := wecomtest.App{Name: a.Name, AgentID: agent, Secret: secret}
	known := slices.IndexFunc(corp.Apps, func(o wecomtest.App) bool { return o.Name == app.Name })
	switch {
	case known < 0:
		corp.Apps = append(corp.Apps, app)
	case corp.Apps[known].Secret == secret && corp.Apps[known].AgentID == agent:
		return nil
	default:
		corp.Apps[known] = app
	}
	return s.wecom.AddCorp(*corp)
}

// serveVendor adds an issuer for an account that names a preset or describes an issuer.
// The parameters of a preset become those that its documentation's examples have.
func (s *sandboxServer) serveVendor(a *config.Account) error {
	issuer, err := sources.Issuer(a.Values())
	if err != nil {
		return err
	}
	wire, isPreset := httpsourcetest.WireOf(a.Text("preset"))
	secrets := map[string]config.Secret{}
	for _, p := range issuer.Parameters {
		value, given := wire.Parameters[p.Name]
		switch field, known := a.Kind().Field(p.Name); {
		case known && field.IsSecret():
			secrets[p.Name] = config.NewSecret(cmp.Or(value, a.Secret(p.Name).Reveal(), "sandbox-secret-of-"+a.Name))
		case given:
			*a = a.WithText(p.Name, value)
		}
	}
	played := a.Text("preset") + string(a.Values().Data["issuer"])
	*a = a.WithSecrets(secrets)
	a.APIBase = s.url() + sandboxHTTP + a.Name
	if v := s.vendor(a.Name); v != nil && v.played == played {
		return nil
	}
	next := &vendor{played: played}
	if isPreset {
		parent := a.Of
		server := httpsourcetest.New(httpsourcetest.Config{Wire: wire, ParentLives: func(token string) bool { return s.lives(parent, token) }})
		next.Handler, next.valid = server, server.Valid
	} else {
		described := &describedIssuer{issuer: issuer}
		next.Handler, next.valid = described, described.lives
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vendors[a.Name] = next
	return nil
}

func (s *sandboxServer) serveOAuth(a *config.Account) error {
	endpoint := s.url() + "/oauth2/token"
	idField, signs := "client_id", a.Text("client_auth") == "private_key_jwt" || a.Text("grant") == "jwt_bearer"
	if a.Text("issuer_id") != "" {
		idField = "issuer_id"
	}
	if a.Text("client_auth") == "mtls" {
		return errors.New("client_auth: the simulator has no TLS, so mtls cannot be tried with it")
	}
	if refreshes(a) {
		s.serveGrant(a)
	}
	if a.Source == sources.OAuth2 {
		*a = a.WithText("token_url", endpoint).WithText(idField, s.clientID(a.Name, a.Text(idField)))
	}
	id := a.Text(idField)
	if a.Source == sources.OAuth2 && !signs {
		s.oauth.AddClient(oauthtest.Client{ID: id, Secret: secretOf(a, "client_secret")})
		return nil
	}
	key, err := s.key(a.Name, a.Source != sources.OAuth2)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	field, value := "private_key", key.private
	switch a.Source {
	case sources.GitHubApp:
		a.APIBase = s.url()
		s.oauth.AddApp(oauthtest.App{ID: a.Text("app_id"), Installation: a.Text("installation_id"), Key: key.public})
	case sources.GoogleServiceAccount:
		email := a.Name + "@sandbox.example.com"
		file, err := json.Marshal(map[string]string{
			"type": "service_account", "client_email": email, "private_key_id": "sandbox", "private_key": key.private, "token_uri": endpoint,
		})
		if err != nil {
			return err
		}
		field, value = "key", string(file)
		s.oauth.AddClient(oauthtest.Client{ID: email, Key: key.public})
	default:
		s.oauth.AddClient(oauthtest.Client{ID: id, Key: key.public})
	}
	*a = a.WithSecrets(map[string]config.Secret{field: config.NewSecret(value)})
	return nil
}

// clientID returns the id of an account's client. The simulator is the issuer of all
// accounts, so a second account with an id gets another one.
func (s *sandboxServer) clientID(account, id string) string {
	if s.clients[id] == "" {
		s.clients[id] = account
	}
	if s.clients[id] != account {
		return id + "." + account
	}
	return id
}

// testKey is a key of an account in the simulator.
type testKey struct {
	public  crypto.PublicKey
	private string // PEM
}

// key returns the key of an account, which stays the same until the simulator ends.
func (s *sandboxServer) key(account string, isRSA bool) (testKey, error) {
	if k, ok := s.keys[account]; ok {
		return k, nil
	}
	var key crypto.Signer
	var err error
	if isRSA {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return testKey{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return testKey{}, err
	}
	s.keys[account] = testKey{key.Public(), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))}
	return s.keys[account], nil
}
