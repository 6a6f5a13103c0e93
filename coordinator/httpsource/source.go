package httpsource

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

const (
	defaultConnectTimeout = 2 * time.Second
	defaultTimeout        = 10 * time.Second

	// rolloverSlack delays a call a little, because one just before the rollover would
	// return the old token.
	rolloverSlack = 2 * time.Second

	// minRefreshIn prevents a loop of calls if a token comes with less life than the
	// rollover leaves.
	minRefreshIn = 30 * time.Second
)

// Config describes a Source: an issuer, and the values of its parameters.
type Config struct {
	// Preset is the name of one of Presets; "": Issuer describes the issuer.
	Preset string
	Issuer *Issuer

	// Parameters are the values of the issuer's parameters, secrets among them.
	Parameters map[string]string

	// BaseURL replaces the scheme and the host of the issuer's URLs and stands before
	// their paths: a sandbox, a relay. "": the issuer's own. It is https, or http to a host
	// of this machine or of a local network.
	BaseURL string

	// Transport makes the calls; see NewClient.
	Transport http.RoundTripper

	// ConnectTimeout limits dialling and the TLS handshake, each, if Transport is nil.
	// Zero means 2 s.
	ConnectTimeout time.Duration

	// Timeout limits a request as a whole, in addition to Fetch's context. Zero means
	// 10 s.
	Timeout time.Duration
}

// Format prints the configuration without its parameters, whatever the verb.
func (c Config) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "httpsource.Config{%s %s}", c.Preset, c.BaseURL)
}

// MarshalText returns what Format prints, for encoding/json and log/slog.
func (c Config) MarshalText() ([]byte, error) { return fmt.Append(nil, c), nil }

// Source fetches the tokens of one account from an issuer that is described by data.
// It is safe for concurrent use.
type Source struct {
	issuer  *Issuer
	values  map[string]string // of the parameters
	secrets []string
	base    *url.URL // nil: the issuer's own
	client  *Client
	timeout time.Duration
}

var (
	_ coordinator.Source       = (*Source)(nil)
	_ coordinator.Credentialed = (*Source)(nil)
	_ coordinator.Described    = (*Source)(nil)
)

// Source validates c and returns the source that it describes. It makes no call. Its
// errors name the wrong field or parameter and quote no value of a secret.
func (c Config) Source() (*Source, error) {
	issuer, err := c.issuer()
	if err != nil {
		return nil, fmt.Errorf("httpsource: %w", err)
	}
	s := &Source{issuer: issuer, timeout: cmp.Or(c.Timeout, defaultTimeout)}
	s.client = NewClient(c.Transport, cmp.Or(c.ConnectTimeout, defaultConnectTimeout))
	wrong := s.takeParameters(c.Parameters)
	if c.BaseURL != "" {
		u, err := url.Parse(c.BaseURL)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
			wrong = append(wrong, errors.New("the base URL must look like https://host, without user, query or fragment"))
		case u.Scheme == "http" && !source.IsLocal(u.Hostname()):
			wrong = append(wrong, errors.New("the base URL would send the secret unencrypted: use https"))
		}
		s.base = u
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("httpsource: %w", errors.Join(wrong...))
	}
	if _, err := s.request(context.Background(), ""); err != nil {
		return nil, fmt.Errorf("httpsource: %w", err)
	}
	return s, nil
}

func (c Config) issuer() (*Issuer, error) {
	if c.Preset != "" {
		if c.Issuer != nil {
			return nil, errors.New("name a preset or describe the issuer, not both")
		}
		preset, ok := PresetNamed(c.Preset)
		if !ok {
			return nil, fmt.Errorf("preset: there is no %q: see the list of presets", c.Preset)
		}
		return preset.Issuer, nil
	}
	if c.Issuer == nil {
		return nil, errors.New("preset: is missing: name one, or describe the issuer")
	}
	return c.Issuer, c.Issuer.Validate()
}

// takeParameters stores the values and returns what is wrong with them.
func (s *Source) takeParameters(given map[string]string) []error {
	var wrong []error
	s.values = make(map[string]string, len(s.issuer.Parameters))
	for _, p := range s.issuer.Parameters {
		value := cmp.Or(given[p.Name], p.Default)
		switch {
		case value == "":
			wrong = append(wrong, fmt.Errorf("%s: is missing", p.Name))
		case !Printable(value):
			wrong = append(wrong, fmt.Errorf("%s: holds a blank, a line break or a non-ASCII character", p.Name))
		case p.Secret:
			s.secrets = append(s.secrets, value)
		}
		s.values[p.Name] = value
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, known := s.values[name]; !known {
			wrong = append(wrong, fmt.Errorf("%s: the issuer has no such parameter", name))
		}
	}
	return wrong
}

// Issuer returns the description. It must not be changed.
func (s *Source) Issuer() *Issuer { return s.issuer }

// Description implements [coordinator.Described].
func (s *Source) Description() coordinator.Description { return s.issuer.Description() }

// Credential returns a fingerprint of the parameters. It has 32 bits, too few to find
// a secret by.
func (s *Source) Credential() string {
	identity := []string{s.issuer.Request.URL}
	for _, p := range s.issuer.Parameters {
		if !p.Secret {
			identity = append(identity, s.values[p.Name])
		}
	}
	return source.Fingerprint(strings.Join(s.secrets, "\x00"), identity...)
}

// Format prints the source without its parameters, whatever the verb.
func (s *Source) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "httpsource.Source(%s)", s.issuer.Title)
}

// request makes the call for a token.
func (s *Source) request(ctx context.Context, parent string) (*http.Request, error) {
	return s.issuer.Request.build(ctx, s.base, s.templateValues(parent))
}

func (s *Source) templateValues(parent string) map[string]string {
	values := clockValues(time.Now())
	maps.Copy(values, s.values)
	values[parentToken] = parent
	return values
}

// Fetch implements [coordinator.Source]. It makes one request, which may take
// Config.Timeout. Its errors are *coordinator.FetchError and hold neither a secret nor
// a token.
func (s *Source) Fetch(ctx context.Context, ask coordinator.FetchRequest) (coordinator.FetchResult, error) {
	if ctx.Err() != nil {
		return coordinator.FetchResult{}, &coordinator.FetchError{Kind: coordinator.FailedBusy, Message: context.Cause(ctx).Error()}
	}
	f := &fetch{source: s, ask: ask}
	f.secrets = append(slices.Clone(s.secrets), ask.Current.Reveal(), ask.Parent.Token.Reveal())
	req, err := s.request(ctx, ask.Parent.Token.Reveal())
	if err != nil {
		return coordinator.FetchResult{}, &coordinator.FetchError{Kind: coordinator.FailedRefused, Message: err.Error()}
	}
	f.endpoint = req.URL.Host + req.URL.Path
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	answer, err := s.client.Do(req.WithContext(ctx), MaxBody+1)
	if failed, ok := errors.AsType[*Error](err); ok && (answer == nil || !s.issuer.complete(answer)) {
		return coordinator.FetchResult{}, f.unanswered(failed)
	}
	return f.outcome(answer)
}

// complete reports whether the answer tells the outcome of the call although the
// connection broke before its end.
func (i *Issuer) complete(r *Response) bool {
	got := i.read(r)
	return got.token != "" || got.code != ""
}

// Use returns how business calls carry the token; its Base is an address, not a
// template.
func (s *Source) Use() Use {
	use := s.issuer.Use
	if use.Base != "" {
		if base, err := address(use.Base, s.base, s.templateValues("")); err == nil {
			use.Base = base.String()
		}
	}
	return use
}
