package wechat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

// Kind is the endpoint that a Source uses. The tokens of the two endpoints are
// independent of each other.
type Kind string

// The kinds. Users write these values in flags and configuration files.
const (
	Classic Kind = "token"        // GET /cgi-bin/token: each call issues a token and invalidates the previous one
	Stable  Kind = "stable_token" // POST /cgi-bin/stable_token: returns the same token until it has 5 minutes left
)

// WeChat's hosts.
const (
	DefaultBaseURL  = "https://api.weixin.qq.com"  // the nearest access point
	DisasterBaseURL = "https://api2.weixin.qq.com" // WeChat's stand-by for it, meant for Config.Fallbacks
)

const (
	defaultConnectTimeout = 2 * time.Second
	classicTimeout        = 10 * time.Second
	stableTimeout         = 4 * time.Second
)

// Config describes a Source.
type Config struct {
	AppID  string
	Secret string

	// Kind is Classic if empty.
	Kind Kind

	// BaseURL is DefaultBaseURL if empty. Set it for a sandbox, a regional host or
	// a reverse proxy. It may have a path.
	BaseURL string

	// Fallbacks are tried in order when a host cannot be connected to. After a call
	// whose outcome is unknown, only Stable's normal mode tries the next host; see
	// the package documentation. None by default.
	Fallbacks []string

	// Transport makes the calls. If nil, the source has its own, which honours the
	// environment's proxy settings. An *http.Transport is cloned, and the clone
	// does not use keep-alive. Any other implementation must never repeat a request
	// by itself.
	Transport http.RoundTripper

	// ConnectTimeout limits dialling and the TLS handshake, each, if Transport is
	// nil or an *http.Transport. Zero means 2 s.
	ConnectTimeout time.Duration

	// Timeout limits one request as a whole, in addition to Fetch's context. Zero
	// means 10 s for Classic, where giving up early may lose an issued token, and
	// 4 s for Stable, where asking again is harmless.
	Timeout time.Duration
}

// Format prints the configuration without the secret, whatever the verb.
func (c Config) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "wechat.Config{%s %s %s}", c.AppID, c.Kind, c.BaseURL)
}

// MarshalText returns what Format prints, for encoding/json and log/slog.
func (c Config) MarshalText() ([]byte, error) { return fmt.Append(nil, c), nil }

// Source fetches the tokens of one WeChat account. It is safe for concurrent use.
type Source struct {
	appID, secret string
	kind          Kind
	service       service

	invalid error // why the Config is invalid; Fetch returns it
}

var (
	_ coordinator.Source       = (*Source)(nil)
	_ coordinator.Credentialed = (*Source)(nil)
)

// NewSource returns a source that uses GET /cgi-bin/token. Fetch reports invalid
// arguments as a refusal; Config.Source reports them at once.
func NewSource(appID, secret string) *Source {
	s, _ := build(Config{AppID: appID, Secret: secret, Kind: Classic})
	return s
}

// Source validates c and returns the source that it describes. It makes no call.
func (c Config) Source() (*Source, error) {
	s, err := build(c)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// build always returns a Source. If it also returns an error, Fetch reports that
// error.
func build(c Config) (*Source, error) {
	s := &Source{appID: c.AppID, secret: c.Secret, kind: c.kind()}
	s.service, s.invalid = c.service()
	s.invalid = errors.Join(c.validate(), s.invalid)
	return s, s.invalid
}

func (c Config) service() (service, error) {
	bases, err := c.bases()
	return service{bases, httpsource.NewClient(c.Transport, cmp.Or(max(c.ConnectTimeout, 0), defaultConnectTimeout)), c.timeout()}, err
}

func (c Config) kind() Kind { return cmp.Or(c.Kind, Classic) }

func (c Config) timeout() time.Duration {
	usual := classicTimeout
	if c.kind() == Stable {
		usual = stableTimeout
	}
	return cmp.Or(max(c.Timeout, 0), usual)
}

func (c Config) bases() ([]string, error) {
	urls := append([]string{cmp.Or(c.BaseURL, DefaultBaseURL)}, c.Fallbacks...)
	for i, u := range urls {
		base, err := source.BaseURL(u, DefaultBaseURL)
		if err != nil {
			return nil, fmt.Errorf("wechat: the base URL %w", err)
		}
		urls[i] = base
	}
	return urls, nil
}

func (c Config) validate() error {
	switch {
	case c.AppID == "":
		return errors.New("wechat: no AppID")
	case !httpsource.Printable(c.AppID):
		return errors.New("wechat: the AppID holds a blank, a control or a non-ASCII character")
	case c.Secret == "":
		return errors.New("wechat: no AppSecret")
	case !httpsource.Printable(c.Secret):
		return errors.New("wechat: the AppSecret holds a blank, a line break or a non-ASCII character")
	case c.kind() != Classic && c.kind() != Stable:
		return fmt.Errorf("wechat: unknown kind of source %q: it must be %q or %q", c.Kind, Classic, Stable)
	}
	return nil
}

// Credential returns a fingerprint of the AppID and the secret. It has 32 bits, too
// few to find a secret of 128 bits by.
func (s *Source) Credential() string { return source.Fingerprint(s.secret, s.appID) }

// Format prints the source without its secret, whatever the verb.
func (s *Source) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "wechat.Source(%s %s)", s.appID, s.kind)
}

// Fetch implements [coordinator.Source]. It blocks for at most three requests. Its
// errors are *coordinator.FetchError and contain neither the secret nor a token; the
// errcode that WeChat answered is in them as an *Error.
func (s *Source) Fetch(ctx context.Context, req coordinator.FetchRequest) (coordinator.FetchResult, error) {
	if s.invalid != nil {
		return coordinator.FetchResult{}, &coordinator.FetchError{
			Kind: coordinator.FailedRefused, Message: s.invalid.Error(), Err: s.invalid,
		}
	}
	f := s.service.fetch(Classify, req, s.secret)
	if s.kind == Stable {
		return s.fetchStable(ctx, f, req.Reason)
	}
	return s.fetchClassic(ctx, f)
}
