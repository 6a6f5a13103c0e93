package oauth

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

// Grant is what a Source asks the token endpoint with. Users write these values in
// configuration files.
type Grant string

// The grants.
const (
	ClientCredentials Grant = "client_credentials" // RFC 6749, section 4.4
	JWTBearer         Grant = "jwt_bearer"         // RFC 7523, section 2.1
	RefreshToken      Grant = "refresh_token"      // RFC 6749, section 6: a person has consented, see Login
)

// ClientAuth is how a Source proves to the token endpoint who it is. A Source uses the
// configured way only: to try another one after a refusal would be a second request,
// and many issuers count the failed one against the client. Users write these values
// in configuration files.
type ClientAuth string

// The ways of client authentication.
const (
	Basic         ClientAuth = "basic"           // client_secret_basic: RFC 6749, section 2.3.1
	Post          ClientAuth = "post"            // client_secret_post: the secret is in the body
	PrivateKeyJWT ClientAuth = "private_key_jwt" // RFC 7523, section 2.2
	MTLS          ClientAuth = "mtls"            // tls_client_auth, self_signed_tls_client_auth: RFC 8705
	NoAuth        ClientAuth = "none"            // for JWTBearer, whose assertion is the proof, and for public clients of RefreshToken
)

// Config describes a Source that asks a token endpoint.
type Config struct {
	// Profile is the name of one of Profiles, whose values stand for those that are left
	// empty here. Empty: none.
	Profile string

	// TokenURL is the token endpoint. It must be https, but for loopback and private
	// addresses and host names of local networks.
	TokenURL string

	// Grant is ClientCredentials if empty.
	Grant Grant

	ClientID     string
	ClientSecret string // for Basic and Post

	// ClientAuth is Basic if empty, and NoAuth for a JWTBearer without ClientSecret. A
	// public client, which has only a RefreshToken, has NoAuth.
	ClientAuth ClientAuth

	// PrivateKey signs the assertions of PrivateKeyJWT and JWTBearer: a PEM file
	// (PKCS #1, PKCS #8, SEC 1) or a JSON Web Key. RSA, ECDSA and Ed25519.
	PrivateKey []byte

	// KeyID is the assertions' kid. Empty: the one in a JSON Web Key, or none.
	KeyID string

	// Algorithm is the assertions' alg. Empty: the one in a JSON Web Key, else RS256
	// for an RSA key (which can do PS256 as well), ES256, ES384 or ES512 by an ECDSA
	// key's curve, or EdDSA.
	Algorithm string

	// AssertionAudience is the assertions' aud: the issuer's name, if it wants that.
	// Empty: TokenURL.
	AssertionAudience string

	// Certificate and CertificateKey are the PEM files of the client's certificate
	// with its chain and of its key, for MTLS. They are read again for each request,
	// so that they can be replaced while the source is in use.
	Certificate, CertificateKey string

	// Issuer and Subject are iss and sub of a JWTBearer assertion. Issuer is ClientID
	// if empty; without Subject there is no sub. Claims are further claims, which take
	// precedence.
	Issuer, Subject string
	Claims          map[string]any

	// Replay is what the issuer does with a refresh token that was presented before:
	// "never" (or empty, without a profile), "free" or for how long it answers it again,
	// such as "30s". Too long a time can cost the grant, too short a one only calls.
	Replay string

	// AuthURL and DeviceURL are the endpoints at which a Login asks the person, and
	// RedirectURL is where the answer goes; see Login.
	AuthURL, DeviceURL, RedirectURL string

	// Scopes are those that are asked for: of a RefreshToken, by Login.
	Scopes   []string
	Audience string // the parameter audience, which some issuers want

	// Params are further parameters of each request, also of those of a Login. The address
	// that the person opens has only those whose names do not say that they are secret. A
	// grant_type in them replaces client_credentials, for issuers with a word of their own.
	Params url.Values

	// Lifetime is how long a token lives if the issuer does not say. Zero: it is taken
	// to live for 10 minutes, and each such answer is logged as doubtful.
	Lifetime time.Duration

	// Repeat is what a repeated request does to the token issued before: "keeps" (it
	// lives on), "same" (the same token comes again) or "kills". Empty: "keeps", as
	// with most issuers.
	Repeat string

	// Transport makes the calls. An *http.Transport is cloned, and the clone does not
	// use keep-alive. Any other implementation must never repeat a request by itself,
	// and does not do for MTLS. Nil: the source has its own, which honours the
	// environment's proxy settings.
	Transport http.RoundTripper

	// ConnectTimeout limits dialling and the TLS handshake, each, if Transport is nil;
	// zero: 3 s. Timeout limits one request as a whole, in addition to Fetch's context;
	// zero: 10 s. There is no such limit for a RefreshToken: what it may have used up is
	// waited for until the context ends.
	ConnectTimeout, Timeout time.Duration

	assertionLife time.Duration // of a JWTBearer assertion; zero: assertionLife
	vendor        string        // for Format and the fingerprint; "": none
	profile       Profile       // that Profile names
}

// Format prints the configuration without secrets, whatever the verb.
func (c Config) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "oauth.Config{%s %s %s}", c.ClientID, c.grant(), place(c.TokenURL))
}

// MarshalText returns what Format prints, for encoding/json and log/slog.
func (c Config) MarshalText() ([]byte, error) { return fmt.Append(nil, c), nil }

const (
	defaultConnectTimeout = 3 * time.Second
	defaultTimeout        = 10 * time.Second
)

// Source validates c and returns the source that it describes. It makes no call. Its
// errors begin with the name of the wrong field in a configuration file.
func (c Config) Source() (*Source, error) {
	r, certificate, err := c.request()
	if err != nil {
		return nil, err
	}
	c = r.config
	repeat, _ := c.repeat()
	return &Source{
		name:        cmp.Or(c.vendor, c.ClientID),
		endpoint:    place(c.TokenURL),
		issuer:      r,
		client:      newClient(c.Transport, c.ConnectTimeout),
		timeout:     c.timeout(),
		credential:  source.Fingerprint(c.ClientSecret+string(c.PrivateKey)+certificate, r.identity()...),
		description: c.describe(repeat),
	}, nil
}

// request returns what c asks the token endpoint, with c as it is complete, and the client's
// certificate for the fingerprint; "": there is none.
func (c Config) request() (r *tokenRequest, certificate string, err error) {
	if c, err = c.complete(); err != nil {
		return nil, "", err
	}
	r = &tokenRequest{config: c}
	if c.signs() {
		if r.signer, err = newSigner(c.PrivateKey, c.KeyID, c.Algorithm); err != nil {
			return nil, "", fmt.Errorf("private_key: %w", err)
		}
	}
	if c.ClientAuth == MTLS {
		r.config.Transport, certificate, err = withCertificate(c)
	}
	return r, certificate, err
}

// complete returns c with its profile and its defaults, if it is valid.
func (c Config) complete() (Config, error) {
	if c.Profile != "" {
		p, known := ProfileNamed(c.Profile)
		if !known {
			return c, fmt.Errorf("profile: %q is unknown: the profiles are %s", c.Profile, profileNames())
		}
		c.profile = p
		c.TokenURL, c.AuthURL, c.DeviceURL = cmp.Or(c.TokenURL, p.TokenURL), cmp.Or(c.AuthURL, p.AuthURL), cmp.Or(c.DeviceURL, p.DeviceURL)
		c.Lifetime = cmp.Or(c.Lifetime, p.Lifetime.Duration())
	}
	if c.Grant == RefreshToken {
		c.Replay = cmp.Or(c.Replay, c.profile.Replay)
	}
	c.Grant, c.ClientAuth = c.grant(), c.clientAuth()
	_, err := c.repeat()
	return c, errors.Join(c.validate(), err)
}

// timeout is that of one request; 0: only the context bounds it.
func (c Config) timeout() time.Duration {
	if c.Grant == RefreshToken {
		return c.Timeout
	}
	return cmp.Or(c.Timeout, defaultTimeout)
}

func (c Config) grant() Grant { return cmp.Or(c.Grant, ClientCredentials) }

func (c Config) clientAuth() ClientAuth {
	switch {
	case c.ClientAuth != "":
		return c.ClientAuth
	case c.grant() == JWTBearer && c.ClientSecret == "":
		return NoAuth
	}
	return cmp.Or(c.profile.ClientAuth, Basic)
}

func (c Config) signs() bool { return c.ClientAuth == PrivateKeyJWT || c.Grant == JWTBearer }

func (c Config) repeat() (coordinator.Repeat, error) {
	switch c.Repeat {
	case "", "keeps":
		return coordinator.RepeatKeeps, nil
	case "same":
		return coordinator.RepeatSame, nil
	case "kills":
		return coordinator.RepeatKills, nil
	}
	return "", fmt.Errorf("repeat: %q is unknown: it must be keeps, same or kills", c.Repeat)
}

// describe returns what is known of an issuer of the given kind. A token is replaced at
// half of its life or after 12 hours; where that answers the same one, the issuer is
// asked every 10 minutes, lest one that it replaced early stays in use. The calls
// suffice for tokens that live for 20 seconds. A resource server may answer 401 to a
// token that is not at fault, so demanded refreshes are some seconds apart.
func describe(repeat coordinator.Repeat) coordinator.Description {
	d := coordinator.Description{
		Repeat:       repeat,
		Limits:       coordinator.Limits{PerDay: 10000, Reserve: 1000, MinInterval: 5 * time.Second},
		RefreshEvery: 12 * time.Hour,
	}
	if repeat == coordinator.RepeatSame {
		d.Limits.MinInterval, d.RefreshEvery = 30*time.Second, 10*time.Minute
	}
	return d
}

func (c Config) validate() error {
	errs := []error{checkURL("token_url", c.TokenURL)}
	for field, address := range map[string]string{"auth_url": c.AuthURL, "device_url": c.DeviceURL, "redirect": c.RedirectURL} {
		if address != "" {
			errs = append(errs, checkURL(field, address))
		}
	}
	_, replay := ParseReplay(c.Replay)
	return errors.Join(append(errs, c.validateGrant(), replay, c.validateClient(), c.validateParams())...)
}

func (c Config) validateGrant() error {
	switch {
	case !slices.Contains([]Grant{ClientCredentials, RefreshToken, JWTBearer}, c.Grant):
		return fmt.Errorf("grant: %q is unknown: it must be %s, %s or %s", c.Grant, ClientCredentials, RefreshToken, JWTBearer)
	case c.Grant != RefreshToken && c.Replay != "":
		return fmt.Errorf("replay: grant %s has no refresh tokens: remove it, or set grant: %s", c.Grant, RefreshToken)
	case c.Grant == JWTBearer && c.Issuer == "" && c.ClientID == "" && c.Claims["iss"] == nil:
		return errors.New("issuer: the assertion needs one: set it, or client_id")
	case c.signs() && len(c.PrivateKey) == 0:
		return errors.New("private_key: the assertion needs one")
	case c.Lifetime < 0 || c.Lifetime > coordinator.MaxLifetime:
		return fmt.Errorf("lifetime: %v is not 0 to %v", c.Lifetime, coordinator.MaxLifetime)
	}
	return nil
}

func (c Config) validateClient() error {
	secret := c.ClientAuth == Basic || c.ClientAuth == Post
	switch {
	case !slices.Contains([]ClientAuth{Basic, Post, PrivateKeyJWT, MTLS, NoAuth}, c.ClientAuth):
		return fmt.Errorf("client_auth: %q is unknown: it must be %s, %s, %s, %s or %s", c.ClientAuth, Basic, Post, PrivateKeyJWT, MTLS, NoAuth)
	case c.ClientAuth == NoAuth && c.Grant == ClientCredentials:
		return fmt.Errorf("client_auth: %s needs a proof of who the client is", c.Grant)
	case c.ClientAuth == NoAuth && c.ClientID == "" && c.Grant == JWTBearer:
		return nil
	case c.ClientID == "":
		return errors.New("client_id: it is missing")
	case !vschar(c.ClientID):
		return errors.New("client_id: it holds a control or a non-ASCII character")
	case secret && c.ClientSecret == "":
		return fmt.Errorf("client_secret: client_auth %s needs one", c.ClientAuth)
	case !vschar(c.ClientSecret):
		return errors.New("client_secret: it holds a line break, a control or a non-ASCII character")
	case !secret && c.ClientSecret != "":
		return fmt.Errorf("client_secret: client_auth %s does not use it: remove one of them", c.ClientAuth)
	case (c.ClientAuth == MTLS) != (c.Certificate != "") || (c.Certificate == "") != (c.CertificateKey == ""):
		return errors.New("certificate: client_auth mtls needs certificate and certificate_key, and only it uses them")
	}
	return nil
}

func (c Config) validateParams() error {
	for name := range c.Params {
		switch name {
		case "client_id", "client_secret", "client_assertion", "client_assertion_type", "assertion", "scope", "refresh_token", "audience":
			return fmt.Errorf("params: %s has a field of its own, or is not for this grant", name)
		case "grant_type":
			if c.Grant != ClientCredentials {
				return fmt.Errorf("params: grant_type must not be set with grant %s", c.Grant)
			}
		}
	}
	for _, scope := range c.Scopes {
		if scope == "" || !httpsource.Printable(scope) {
			return fmt.Errorf("scopes: %q is not one scope", scope)
		}
	}
	return nil
}

// vschar reports whether s is printable ASCII, as RFC 6749 wants identifiers and
// secrets.
func vschar(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
