package wechat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

// VerifyTicketLife is for how long WeChat accepts a component_verify_ticket after it has
// pushed it.
const VerifyTicketLife = 12 * time.Hour

// ComponentConfig describes a third-party platform as a client of WeChat.
type ComponentConfig struct {
	AppID  string // of the platform
	Secret string

	// BaseURL, Fallbacks, Transport, ConnectTimeout and Timeout are those of Config; zero
	// means 10 s for Timeout.
	BaseURL        string
	Fallbacks      []string
	Transport      http.RoundTripper
	ConnectTimeout time.Duration
	Timeout        time.Duration
}

// Format prints the configuration without the secret, whatever the verb.
func (c ComponentConfig) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "wechat.ComponentConfig{%s %s}", c.AppID, c.BaseURL)
}

// MarshalText returns what Format prints, for encoding/json and log/slog.
func (c ComponentConfig) MarshalText() ([]byte, error) { return fmt.Append(nil, c), nil }

// ComponentSource fetches the component_access_token of a third-party platform. It
// presents the newest verify ticket of the account's grant, which a [Platform] receives:
// every call issues a token and ends the one before. It is safe for concurrent use.
type ComponentSource struct {
	service       service
	appID, secret string
	pushes        *pushStarter
}

var (
	_ coordinator.Source       = (*ComponentSource)(nil)
	_ coordinator.Credentialed = (*ComponentSource)(nil)
	_ coordinator.Described    = (*ComponentSource)(nil)
)

// Source validates c and returns the source that it describes. It makes no call.
func (c ComponentConfig) Source() (*ComponentSource, error) {
	common := Config{
		AppID: c.AppID, Secret: c.Secret, BaseURL: c.BaseURL, Fallbacks: c.Fallbacks,
		Transport: c.Transport, ConnectTimeout: c.ConnectTimeout, Timeout: c.Timeout,
	}
	service, err := common.service()
	if err := errors.Join(common.validate(), err); err != nil {
		return nil, err
	}
	return &ComponentSource{service: service, appID: c.AppID, secret: c.Secret, pushes: new(pushStarter)}, nil
}

// Credential returns a fingerprint of the AppID and the secret, of 32 bits.
func (s *ComponentSource) Credential() string { return source.Fingerprint(s.secret, s.appID) }

// Format prints the source without its secret, whatever the verb.
func (s *ComponentSource) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "wechat.ComponentSource(%s)", s.appID)
}

// Description implements [coordinator.Described]. The quota is the one that WeChat's
// quota/get was seen to answer.
func (s *ComponentSource) Description() coordinator.Description {
	return coordinator.Description{
		Limits: coordinator.Limits{PerDay: 10_000, Reserve: 1000},
		Grant:  coordinator.GrantRules{Needed: true, Replay: coordinator.ReplayFree, Received: true},
	}
}

// Fetch implements [coordinator.Source]. It blocks for at most three requests. Its errors
// are *coordinator.FetchError and contain neither a secret nor a token; the errcode that
// WeChat answered is in them as an *Error. If WeChat rejects the verify ticket
// (FailedGrant), it has WeChat push another.
func (s *ComponentSource) Fetch(ctx context.Context, req coordinator.FetchRequest) (coordinator.FetchResult, error) {
	ticket := req.Grant.Token
	if ticket.IsZero() {
		return coordinator.FetchResult{}, nothingToPresent("wechat: no verify ticket: WeChat pushes one every 10 minutes")
	}
	f := s.service.fetch(ClassifyComponent, req, s.secret)
	g, err := f.call(ctx, request{path: componentPath + "api_component_token", member: componentToken, body: struct {
		AppID  string `json:"component_appid"`
		Secret string `json:"component_appsecret"`
		Ticket string `json:"component_verify_ticket"`
	}{s.appID, s.secret, ticket.Reveal()}})
	switch {
	case err == nil:
		return f.issue(g), nil
	case err.Kind == coordinator.FailedGrant && s.pushes.due():
		_, _ = s.StartPushes(ctx) // if it fails, the next refresh does it
		err.Calls++
	}
	return coordinator.FetchResult{}, err
}

const componentPath = "/cgi-bin/component/"

func nothingToPresent(text string) *coordinator.FetchError {
	return &coordinator.FetchError{Kind: coordinator.FailedBusy, Message: text, Err: errors.New(text)}
}

// fetch begins a fetch. secret is quoted as little as the tokens.
func (s *service) fetch(classify func(int) Class, req coordinator.FetchRequest, secret string) *fetch {
	return &fetch{
		service:  s,
		current:  req.Current,
		secrets:  []string{secret, req.Parent.Token.Reveal(), req.Current.Reveal(), req.Grant.Token.Reveal()},
		classify: classify,
		before:   req.SendBefore,
	}
}

// componentQuery returns the query of a request with a component_access_token.
func componentQuery(token coordinator.Token) url.Values {
	return url.Values{string(componentToken): {token.Reveal()}}
}

// StartPushes asks WeChat to push verify tickets again if it has stopped. It reports
// whether it had. It blocks for at most three requests.
func (s *ComponentSource) StartPushes(ctx context.Context) (stopped bool, err error) {
	q := request{path: componentPath + "api_start_push_ticket", idempotent: true, body: struct {
		AppID  string `json:"component_appid"`
		Secret string `json:"component_secret"` // not component_appsecret
	}{s.appID, s.secret}}
	f := s.service.fetch(ClassifyComponent, coordinator.FetchRequest{}, s.secret)
	r, failure := f.exchange(ctx, q)
	if failure != nil {
		return false, failure
	}
	said, err := parseAnswer(q.member, r.Body)
	switch {
	case err != nil || r.Status != http.StatusOK:
		return false, f.unclear(q, r, errors.Join(err, fmt.Errorf("HTTP status %d", r.Status)))
	case said.code != 0:
		return false, f.refused(r, newError(said.code, httpsource.Scrub(said.message, s.secret), r.Status))
	}
	return said.message == "ok", nil // otherwise "in a normal state"
}

// pushStarter keeps api_start_push_ticket from being called more often than pushes come.
type pushStarter struct {
	mu   sync.Mutex
	last time.Time
}

// pushInterval is how often WeChat pushes a verify ticket.
const pushInterval = 10 * time.Minute

// due reports whether it may be called, and counts the call.
func (p *pushStarter) due() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !p.last.IsZero() && now.Sub(p.last) < 2*pushInterval {
		return false
	}
	p.last = now
	return true
}
