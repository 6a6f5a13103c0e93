//go:build unix

package e2e_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2/clientcredentials"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/httpsource/httpsourcetest"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
	"github.com/zhongkong/zhongkong/coordinator/wecom"
	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

// sourceRow is a source in the table of all sources: how a process of a fleet makes it,
// and the issuer that it asks.
type sourceRow struct {
	name   string
	repeat coordinator.Repeat // what a repeated call does, by which the fleet is judged
	forces bool               // though RepeatSame, a report brings another token in place of a living one
	tls    bool               // the issuer asks for the client's certificate

	// source and parent make the sources of the account and of its parent, in each
	// process. Without a parent, parent is nil.
	source, parent func(b base) (coordinator.Source, error)

	// issuer makes the simulator, in the process of the test.
	issuer func(k keyPair) issuer
}

// issuer is a simulator with one account.
type issuer struct {
	http.Handler
	path  string // of the calls for the account's token
	end   func() error
	lives func(token string) bool
	wrong func() []string // how the calls differed from what is documented; nil: it does not say
}

// base is what a process must know to make a source.
type base struct {
	url string // of the issuer
	dir string // the keys, see keyPair
}

// patience is the time that a source waits for an answer: the tests hold some back.
const patience = 30 * time.Second

// sourceRows returns a row for each kind of source and for each preset.
func sourceRows() []sourceRow {
	rows := append(wechatRows(), wecomRows()...)
	rows = append(rows, oauthRows()...)
	for _, p := range httpsource.Presets() {
		rows = append(rows, presetRow(p))
	}
	return rows
}

func wechatRows() []sourceRow {
	token := func(kind wechat.Kind) func(b base) (coordinator.Source, error) {
		return func(b base) (coordinator.Source, error) {
			return wechat.Config{AppID: appID, Secret: secret, Kind: kind, BaseURL: b.url, Timeout: patience}.Source()
		}
	}
	ticket := func(kind wechat.TicketType) func(b base) (coordinator.Source, error) {
		return func(b base) (coordinator.Source, error) {
			return wechat.TicketConfig{Type: kind, BaseURL: b.url, Timeout: patience}.Source()
		}
	}
	simulator := func(path string, chain wechattest.Chain) func(keyPair) issuer {
		return func(keyPair) issuer {
			s := wechattest.New(wechattest.Config{})
			return issuer{Handler: s, path: path, lives: func(token string) bool { return s.Accepts(token, s.Now()) }, end: func() error {
				if _, ok := s.KillEarly(appID, chain); !ok {
					return errors.New("there was no token")
				}
				return nil
			}}
		}
	}
	const pathTicket = "/cgi-bin/ticket/getticket"
	return []sourceRow{
		{name: "token", repeat: coordinator.RepeatKills, source: token(wechat.Classic), issuer: simulator("/cgi-bin/token", wechattest.ClassicChain)},
		{
			name: "stable_token", repeat: coordinator.RepeatSame, forces: true, source: token(wechat.Stable),
			issuer: simulator("/cgi-bin/stable_token", wechattest.StableChain),
		},
		{
			name: "jsapi_ticket", repeat: coordinator.RepeatSame, source: ticket(wechat.JSAPI), parent: token(wechat.Classic),
			issuer: simulator(pathTicket, wechattest.JSAPIChain),
		},
		{
			name: "wx_card_ticket", repeat: coordinator.RepeatSame, source: ticket(wechat.WXCard), parent: token(wechat.Stable),
			issuer: simulator(pathTicket, wechattest.CardChain),
		},
	}
}

func wecomRows() []sourceRow {
	const corp = wecomtest.DefaultCorpID
	source := func(c wecom.Config) func(b base) (coordinator.Source, error) {
		return func(b base) (coordinator.Source, error) {
			c.BaseURL, c.Timeout = b.url, patience
			return c.Source()
		}
	}
	simulator := func(path string, end func(s *wecomtest.Server) error) func(keyPair) issuer {
		return func(keyPair) issuer {
			s := wecomtest.New(wecomtest.Config{})
			return issuer{Handler: s, path: path, lives: s.Valid, end: func() error { return end(s) }}
		}
	}
	app := source(wecom.Config{CorpID: corp, Secret: wecomtest.DefaultSecret})
	return []sourceRow{
		{
			name: "wecom", repeat: coordinator.RepeatSame, source: app,
			issuer: simulator("/cgi-bin/gettoken", func(s *wecomtest.Server) error { return s.EndToken(corp, wecomtest.DefaultApp) }),
		},
		{
			name: "wecom_provider", repeat: coordinator.RepeatSame,
			source: source(wecom.Config{Kind: wecom.Provider, CorpID: corp, Secret: wecomtest.DefaultProviderSecret}),
			issuer: simulator("/cgi-bin/service/get_provider_token", func(s *wecomtest.Server) error { return s.EndProviderToken(corp) }),
		},
		{
			name: "wecom_jsapi_ticket", repeat: coordinator.RepeatSame, source: source(wecom.Config{Kind: wecom.JSAPITicket}), parent: app,
			issuer: simulator("/cgi-bin/get_jsapi_ticket", func(s *wecomtest.Server) error { return s.EndTicket(corp, "") }),
		},
		{
			name: "wecom_agent_ticket", repeat: coordinator.RepeatSame, source: source(wecom.Config{Kind: wecom.AgentTicket}), parent: app,
			issuer: simulator("/cgi-bin/ticket/get", func(s *wecomtest.Server) error { return s.EndTicket(corp, wecomtest.DefaultApp) }),
		},
	}
}

// The client of the OAuth2 issuers, and an installation of a GitHub App.
const (
	clientID, clientSecret = "client-0123456789", "client-secret-of-the-fleet"
	githubApp, installed   = "Iv1.abc", "42"
	pathOAuth              = "/oauth2/token"
)

func oauthRows() []sourceRow {
	simulator := func(path, repeat string) func(k keyPair) issuer {
		return func(k keyPair) issuer {
			client := oauthtest.Client{ID: clientID, Secret: clientSecret, Key: k.public, Certificate: k.certificate}
			app := oauthtest.App{ID: githubApp, Installation: installed, Key: k.public}
			s := oauthtest.New(oauthtest.Config{Clients: []oauthtest.Client{client}, Apps: []oauthtest.App{app}, Knobs: oauthtest.Knobs{Repeat: repeat}})
			return issuer{Handler: s, path: path, lives: s.Valid, end: func() error {
				if s.Revoke("") == 0 {
					return errors.New("there was no token")
				}
				return nil
			}}
		}
	}
	row := func(name string, change func(c *oauth.Config, b base) error) sourceRow {
		return sourceRow{
			name: "oauth2 " + name, repeat: coordinator.RepeatKeeps, issuer: simulator(pathOAuth, ""),
			source: func(b base) (coordinator.Source, error) {
				c := oauth.Config{TokenURL: b.url + pathOAuth, ClientID: clientID, Timeout: patience}
				if err := change(&c, b); err != nil {
					return nil, err
				}
				return c.Source()
			},
		}
	}
	repeating := func(word string, kind coordinator.Repeat) sourceRow {
		r := row("that "+word, func(c *oauth.Config, _ base) error { c.ClientSecret, c.Repeat = clientSecret, word; return nil })
		r.repeat, r.issuer = kind, simulator(pathOAuth, word)
		return r
	}
	mtls := row("mtls", func(c *oauth.Config, b base) (err error) {
		c.ClientAuth, c.Certificate, c.CertificateKey = oauth.MTLS, b.file(certificateFile), b.file(keyFile)
		c.Transport, err = b.trusting()
		return err
	})
	mtls.tls = true
	return []sourceRow{
		row("basic", func(c *oauth.Config, _ base) error { c.ClientSecret = clientSecret; return nil }),
		row("post", func(c *oauth.Config, _ base) error {
			c.ClientAuth, c.ClientSecret = oauth.Post, clientSecret
			return nil
		}),
		row("private_key_jwt", func(c *oauth.Config, b base) (err error) {
			c.ClientAuth = oauth.PrivateKeyJWT
			c.PrivateKey, err = os.ReadFile(b.file(keyFile))
			return err
		}),
		mtls,
		row("jwt_bearer", func(c *oauth.Config, b base) (err error) {
			c.Grant, c.Subject = oauth.JWTBearer, "person@example.com"
			c.PrivateKey, err = os.ReadFile(b.file(keyFile))
			return err
		}),
		repeating("kills", coordinator.RepeatKills),
		repeating("same", coordinator.RepeatSame),
		{
			name: "x/oauth2", repeat: coordinator.RepeatKeeps, issuer: simulator(pathOAuth, ""),
			source: func(b base) (coordinator.Source, error) {
				theirs := &clientcredentials.Config{ClientID: clientID, ClientSecret: clientSecret, TokenURL: b.url + pathOAuth}
				return oauth.FromTokenSource(theirs.TokenSource), nil
			},
		},
		{
			name: "github_app", repeat: coordinator.RepeatKeeps, issuer: simulator("/app/installations/"+installed+"/access_tokens", ""),
			source: func(b base) (coordinator.Source, error) {
				key, err := os.ReadFile(b.file(keyFile))
				if err != nil {
					return nil, err
				}
				return oauth.GitHubApp{AppID: githubApp, InstallationID: installed, PrivateKey: key, APIBase: b.url}.Source()
			},
		},
		{
			name: "google_service_account", repeat: coordinator.RepeatKeeps, issuer: simulator(pathOAuth, ""),
			source: func(b base) (coordinator.Source, error) {
				key, err := os.ReadFile(b.file(keyFile))
				if err != nil {
					return nil, err
				}
				file, err := json.Marshal(map[string]string{
					"type": "service_account", "client_email": clientID, "private_key": string(key), "token_uri": b.url + pathOAuth,
				})
				if err != nil {
					return nil, err
				}
				return oauth.GoogleServiceAccount{Key: file, Scopes: []string{"https://www.googleapis.com/auth/pubsub"}}.Source()
			},
		},
	}
}

// parentPresets has the preset of the account whose token a preset needs.
var parentPresets = map[string]string{
	"feishu_jsapi_ticket":   "feishu_tenant",
	"dingtalk_jsapi_ticket": "dingtalk_legacy",
}

func presetRow(p httpsource.Preset) sourceRow {
	source := func(preset string) func(b base) (coordinator.Source, error) {
		return func(b base) (coordinator.Source, error) {
			wire, ok := httpsourcetest.WireOf(preset)
			if !ok {
				return nil, fmt.Errorf("httpsourcetest has no Wire of the preset %q", preset)
			}
			return httpsource.Config{Preset: preset, Parameters: wire.Parameters, BaseURL: b.url, Timeout: patience}.Source()
		}
	}
	wire, _ := httpsourcetest.WireOf(p.Name)
	row := sourceRow{name: "preset " + p.Name, repeat: wire.Knobs.Repeat, source: source(p.Name)}
	parent, isChild := parentPresets[p.Name]
	if isChild {
		row.parent = source(parent)
	}
	row.issuer = func(keyPair) issuer {
		c := httpsourcetest.Config{Wire: wire}
		mux := http.NewServeMux()
		if isChild {
			theirs, _ := httpsourcetest.WireOf(parent)
			s := httpsourcetest.New(httpsourcetest.Config{Wire: theirs})
			c.ParentLives = s.Valid
			mux.Handle(pathOf(theirs), s)
		}
		s := httpsourcetest.New(c)
		mux.Handle(pathOf(wire), s)
		return issuer{Handler: mux, path: pathOf(wire), lives: s.Valid, end: func() error { s.Revoke(); return nil }, wrong: s.Complaints}
	}
	return row
}

// pathOf returns where a Wire's calls for tokens go.
func pathOf(w httpsourcetest.Wire) string {
	_, target, _ := strings.Cut(w.Request, " ")
	target, _, _ = strings.Cut(target, "\n")
	for name, value := range w.Parameters {
		target = strings.ReplaceAll(target, "{"+name+"}", value)
	}
	u, err := url.Parse(target)
	if err != nil {
		panic(err) // a Wire is part of the program
	}
	return u.Path
}

// The files of a keyPair, and the certificates of the issuers with TLS.
const (
	keyFile         = "client.key"
	certificateFile = "client.crt"
	issuersFile     = "issuers.crt"
)

func (b base) file(name string) string { return filepath.Join(b.dir, name) }

// trusting returns a transport that trusts the issuers with TLS, and nothing else.
func (b base) trusting() (*http.Transport, error) {
	text, err := os.ReadFile(b.file(issuersFile))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, errors.New(issuersFile + " has no certificate")
	}
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}, nil
}

// keyPair is what all accounts sign with and present. Its private key is in a file only.
type keyPair struct {
	public      crypto.PublicKey
	certificate []byte // DER
}

// newKeyPair makes a key and a certificate for it, and writes both to dir.
func newKeyPair(t *testing.T, dir string) keyPair {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, keyFile), pemOf("PRIVATE KEY", private))
	writeFile(t, filepath.Join(dir, certificateFile), pemOf("CERTIFICATE", certificate))
	return keyPair{key.Public(), certificate}
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
