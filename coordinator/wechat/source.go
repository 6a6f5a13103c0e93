package wechat

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Kind is which of WeChat's two ways to a token a Source uses. Their tokens
// are independent of each other.
type Kind string

// The kinds. The values are what users write in flags and files.
const (
	Classic Kind = "token"        // GET /cgi-bin/token: each call mints a token and ends the one before
	Stable  Kind = "stable_token" // POST /cgi-bin/stable_token: returns the same token until it has 5 minutes left
)

// WeChat's hosts.
const (
	DefaultBaseURL  = "https://api.weixin.qq.com"  // the nearest access point
	DisasterBaseURL = "https://api2.weixin.qq.com" // WeChat's own stand-in for it, for Config.Fallbacks
)

const (
	defaultConnectTimeout = 2 * time.Second
	classicTimeout        = 10 * time.Second
	stableTimeout         = 4 * time.Second
)

// Config says whom to ask and as whom.
type Config struct {
	AppID  string
	Secret string

	// Kind is Classic if empty.
	Kind Kind

	// BaseURL is DefaultBaseURL if empty. Give another for a sandbox, a
	// region's host or a reverse proxy; a path in it is kept.
	BaseURL string

	// Fallbacks are asked, in order, when a host cannot be connected to.
	// After a call whose outcome is unknown only Stable's normal mode goes to
	// the next host; see the package's documentation. None by default.
	Fallbacks []string

	// Transport makes the calls. Nil: one of the source's own that honours
	// the environment's proxy settings. An *http.Transport is cloned, and the
	// clone does without keep-alive; any other must never repeat a request by
	// itself.
	Transport http.RoundTripper

	// ConnectTimeout bounds dialling and the TLS handshake, each, where the
	// source has its own transport. Zero: 2 s.
	ConnectTimeout time.Duration

	// Timeout bounds one request as a whole, besides Fetch's context. Zero:
	// 10 s for Classic, where giving up early throws away a token that was
	// perhaps issued; 4 s for Stable, where asking again is harmless.
	Timeout time.Duration
}

// Format prints the configuration without the secret, for every verb.
func (c Config) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "wechat.Config{%s %s %s}", c.AppID, c.Kind, c.BaseURL)
}

// MarshalText is Format, for encoding/json and log/slog.
func (c Config) MarshalText() ([]byte, error) { return fmt.Append(nil, c), nil }

// Source gets tokens for one account of the WeChat family. It is safe for
// concurrent use.
type Source struct {
	appID, secret string
	kind          Kind
	bases         []string // the first is the one to ask
	transport     http.RoundTripper
	traced        bool // the transport surely reports when it has a connection
	timeout       time.Duration

	invalid error // what New found wrong; Fetch returns it
}

var (
	_ coordinator.Source       = (*Source)(nil)
	_ coordinator.Credentialed = (*Source)(nil)
)

// NewSource returns the source of an account by GET /cgi-bin/token. Fetch reports
// wrong arguments as a refusal; Config.Source reports them at once.
func NewSource(appID, secret string) *Source {
	s, _ := build(Config{AppID: appID, Secret: secret, Kind: Classic})
	return s
}

// NewStableSource returns the source of an account by POST /cgi-bin/stable_token.
// Fetch reports wrong arguments as a refusal; Config.Source reports them at once.
func NewStableSource(appID, secret string) *Source {
	s, _ := build(Config{AppID: appID, Secret: secret, Kind: Stable})
	return s
}

// Source checks c and returns the source that it describes. It makes no call.
func (c Config) Source() (*Source, error) {
	s, err := build(c)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// build returns a Source in any case; with an error it is one whose Fetch
// says so.
func build(c Config) (*Source, error) {
	s := &Source{
		appID:   c.AppID,
		secret:  c.Secret,
		kind:    c.kind(),
		timeout: c.timeout(),
	}
	s.transport, s.traced = quietTransport(c.Transport, c.connectTimeout())
	s.bases, s.invalid = c.bases()
	s.invalid = errors.Join(c.validate(), s.invalid)
	return s, s.invalid
}

func (c Config) kind() Kind {
	if c.Kind == "" {
		return Classic
	}
	return c.Kind
}

func (c Config) timeout() time.Duration {
	switch {
	case c.Timeout > 0:
		return c.Timeout
	case c.kind() == Stable:
		return stableTimeout
	default:
		return classicTimeout
	}
}

func (c Config) connectTimeout() time.Duration {
	if c.ConnectTimeout > 0 {
		return c.ConnectTimeout
	}
	return defaultConnectTimeout
}

func (c Config) bases() ([]string, error) {
	urls := append([]string{c.BaseURL}, c.Fallbacks...)
	if c.BaseURL == "" {
		urls[0] = DefaultBaseURL
	}
	for i, u := range urls {
		base, err := checkBase(u)
		if err != nil {
			return nil, err
		}
		urls[i] = base
	}
	return urls, nil
}

func (c Config) validate() error {
	switch {
	case c.AppID == "":
		return errors.New("wechat: no AppID")
	case !printable(c.AppID):
		return errors.New("wechat: the AppID holds a blank, a control or a non-ASCII character")
	case c.Secret == "":
		return errors.New("wechat: no AppSecret")
	case !printable(c.Secret):
		return errors.New("wechat: the AppSecret holds a blank, a line break or a non-ASCII character")
	case c.kind() != Classic && c.kind() != Stable:
		return fmt.Errorf("wechat: unknown kind of source %q: it is %q or %q", c.Kind, Classic, Stable)
	}
	return nil
}

// checkBase returns u without a slash at its end. Its errors do not repeat u,
// in which somebody may have put a password.
func checkBase(u string) (string, error) {
	parsed, err := url.Parse(u)
	switch {
	case err != nil:
		return "", errors.New("wechat: the base URL cannot be parsed")
	case parsed.Scheme != "https" && parsed.Scheme != "http" || parsed.Host == "":
		return "", errors.New("wechat: the base URL must look like " + DefaultBaseURL)
	case parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "":
		return "", errors.New("wechat: the base URL must have no user, query or fragment")
	case parsed.Scheme == "http" && isWeixin(parsed.Hostname()):
		return "", errors.New("wechat: the base URL would send the AppSecret unencrypted: use https")
	}
	return strings.TrimRight(u, "/"), nil
}

// Credential returns a fingerprint of the AppID and the secret: 32 bits, of
// which nothing leads back to a secret of 128.
func (s *Source) Credential() string {
	mac := hmac.New(sha256.New, []byte(s.secret))
	_, _ = io.WriteString(mac, "zhongkong credential\x00"+s.appID)
	return hex.EncodeToString(mac.Sum(nil)[:4])
}

// Format prints the source without its secret, for every verb.
func (s *Source) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "wechat.Source(%s %s)", s.appID, s.kind)
}

// Fetch gets a token. Its errors are *coordinator.FetchError and hold neither
// the secret nor a token; what WeChat answered is in them as an *Error.
func (s *Source) Fetch(ctx context.Context, ask coordinator.FetchRequest) (coordinator.FetchResult, error) {
	if s.invalid != nil {
		return coordinator.FetchResult{}, &coordinator.FetchError{
			Kind: coordinator.FailedRefused, Message: s.invalid.Error(), Err: s.invalid,
		}
	}
	f := &fetch{source: s, asked: ask}
	if s.kind == Stable {
		return f.stable(ctx)
	}
	return f.classic(ctx)
}
