package wecom

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

// Kind is what a Source fetches. Users write these values in configuration files.
type Kind string

// The kinds.
const (
	App         Kind = "wecom"              // GET /cgi-bin/gettoken: the access_token of one app, or of another holder of a secret
	Provider    Kind = "wecom_provider"     // POST /cgi-bin/service/get_provider_token: a service provider's own token
	JSAPITicket Kind = "wecom_jsapi_ticket" // GET /cgi-bin/get_jsapi_ticket: the corp's ticket, for wx.config; a child of any app's token
	AgentTicket Kind = "wecom_agent_ticket" // GET /cgi-bin/ticket/get: an app's ticket, for wx.agentConfig; a child of the same app's token

	// Of a service provider's suites; see Suite.
	SuiteToken Kind = "wecom_suite"      // POST /cgi-bin/service/get_suite_token: presents the suite_ticket that WeCom pushes
	SuiteCorp  Kind = "wecom_suite_corp" // POST /cgi-bin/service/get_corp_token: a corp's token, of its permanent code; a child of the suite's token
	CustomApp  Kind = "wecom_custom_app" // GET /cgi-bin/gettoken: a custom app's (代开发), whose secret is a permanent code
)

// DefaultBaseURL is WeCom's host.
const DefaultBaseURL = "https://qyapi.weixin.qq.com"

const (
	defaultConnectTimeout = 2 * time.Second
	defaultTimeout        = 5 * time.Second // asking again is harmless
)

// Config describes a Source.
type Config struct {
	// Kind is App if empty.
	Kind Kind

	// CorpID and Secret are the credential of an App or a Provider, SuiteID and Secret
	// that of a SuiteToken. A SuiteCorp and a CustomApp have a CorpID, and their grant is
	// the permanent code. Tickets have none of them: they are fetched with the token of
	// AccountConfig.Parent.
	CorpID  string
	SuiteID string
	Secret  string

	// BaseURL is DefaultBaseURL if empty. Set it for a sandbox or a reverse proxy. It
	// may have a path.
	BaseURL string

	// Transport makes the calls. If nil, the source has its own, which honours the
	// environment's proxy settings. An *http.Transport is cloned, and the clone does
	// not use keep-alive. Any other implementation must never repeat a request by
	// itself.
	Transport http.RoundTripper

	// ConnectTimeout limits dialling and the TLS handshake, each, if Transport is nil.
	// Zero means 2 s.
	ConnectTimeout time.Duration

	// Timeout limits one request as a whole, in addition to Fetch's context. Zero
	// means 5 s.
	Timeout time.Duration
}

// Format prints the configuration without the secret, whatever the verb.
func (c Config) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "wecom.Config{%s %s %s}", cmp.Or(c.CorpID, c.SuiteID), c.Kind, c.BaseURL)
}

// MarshalText returns what Format prints, for encoding/json and log/slog.
func (c Config) MarshalText() ([]byte, error) { return fmt.Append(nil, c), nil }

// Source fetches one credential of WeCom. It is safe for concurrent use.
type Source struct {
	kind       Kind
	id, secret string // of the corp, or of the suite
	service    service
	refusal    refusal
}

var (
	_ coordinator.Source       = (*Source)(nil)
	_ coordinator.Credentialed = (*Source)(nil)
	_ coordinator.Described    = (*Source)(nil)
)

// Source validates c and returns the source that it describes. It makes no call. Its
// errors begin with the name of the wrong field, as configuration files have it.
func (c Config) Source() (*Source, error) {
	c.Kind = cmp.Or(c.Kind, App)
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("wecom: %w", err)
	}
	service, err := c.service()
	if err != nil {
		return nil, fmt.Errorf("wecom: %w", err)
	}
	return &Source{kind: c.Kind, id: cmp.Or(c.CorpID, c.SuiteID), secret: c.Secret, service: service}, nil
}

func (c Config) validate() error {
	switch c.Kind {
	case App, Provider:
		return errors.Join(credentialPart("corpid", c.CorpID), credentialPart("secret", c.Secret), without("suite_id", c.SuiteID, c.Kind))
	case SuiteToken:
		return errors.Join(credentialPart("suite_id", c.SuiteID), credentialPart("secret", c.Secret), without("corpid", c.CorpID, c.Kind))
	case SuiteCorp, CustomApp:
		return errors.Join(credentialPart("corpid", c.CorpID), without("secret", c.Secret, c.Kind), without("suite_id", c.SuiteID, c.Kind))
	case JSAPITicket, AgentTicket:
		if c.CorpID != "" || c.Secret != "" || c.SuiteID != "" {
			return fmt.Errorf("corpid, secret: %s has neither: name the account whose ticket it is in \"of\"", c.Kind)
		}
		return nil
	}
	return fmt.Errorf("source: unknown kind %q: it must be %s, %s, %s, %s or %s", c.Kind, App, Provider, JSAPITicket, AgentTicket, SuiteToken)
}

// without reports a part that a kind does not have.
func without(field, value string, k Kind) error {
	if value != "" {
		return fmt.Errorf("%s: %s has none: remove it", field, k)
	}
	return nil
}

func credentialPart(field, value string) error {
	switch {
	case value == "":
		return fmt.Errorf("%s: missing", field)
	case !httpsource.Printable(value):
		return fmt.Errorf("%s: holds a blank, a line break or a non-ASCII character", field)
	}
	return nil
}

// Credential returns a fingerprint of the corp and the secret, "" for a ticket. It has
// 32 bits, too few to find a secret of 256 bits by.
func (s *Source) Credential() string {
	if s.secret == "" {
		return ""
	}
	return source.Fingerprint(s.secret, s.id)
}

// Format prints the source without its secret, whatever the verb.
func (s *Source) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "wecom.Source(%s)", strings.TrimSpace(s.id+" "+string(s.kind)))
}

const (
	// tokenEvery is how often a token is asked for again. WeCom may end one early, and
	// says then that it is the services' part to find out: they report it. Asking
	// often finds what no service reports.
	tokenEvery = 30 * time.Minute

	// ticketEvery bounds for how long a ticket is served that WeCom replaced early: a
	// service that signs with it is not told that it is dead.
	ticketEvery = 9 * time.Minute

	// suiteEvery is the life of what WeCom gives to suites. To ask for it earlier brings
	// the same value again, and what ends early is found by those who use it: the suite's
	// token by its children, which report it. So a value that was stored serves to its end,
	// also while suite_tickets do not arrive.
	suiteEvery = 2 * time.Hour

	// callsPerHour leaves room to WeCom's 100 an hour for the tickets of an app, and
	// with six accounts of one corp to its 400 an hour for the tickets of a corp.
	callsPerHour, reservedPerHour = 60, 10

	// minInterval is how long an answer is held that brought no other value.
	minInterval = time.Minute
)

// Description implements [coordinator.Described].
func (s *Source) Description() coordinator.Description {
	return coordinator.Description{
		Repeat:       coordinator.RepeatSame,
		Limits:       coordinator.Limits{PerDay: callsPerHour, Window: time.Hour, Reserve: reservedPerHour, MinInterval: minInterval},
		RefreshEvery: s.every(),
		Grant:        s.kind.endpoint().grant,
	}
}

func (s *Source) every() time.Duration {
	switch s.kind {
	case JSAPITicket, AgentTicket:
		return ticketEvery
	case SuiteToken, SuiteCorp, CustomApp:
		return suiteEvery
	default:
		return tokenEvery
	}
}

func (k Kind) isTicket() bool { return k == JSAPITicket || k == AgentTicket }

// Fetch implements [coordinator.Source]. It blocks for one request. Its errors are
// *coordinator.FetchError and contain neither the secret nor a token; the errcode that
// WeCom answered is in them as an *Error. After a wrong secret it answers the same for 2
// hours without a call, whatever the reason; a process that is started anew asks.
func (s *Source) Fetch(ctx context.Context, req coordinator.FetchRequest) (coordinator.FetchResult, error) {
	if err := s.lacks(req); err != nil {
		return coordinator.FetchResult{}, &coordinator.FetchError{Kind: coordinator.FailedRefused, Message: err.Error(), Err: err}
	}
	if err := s.refusal.standing(); err != nil {
		return coordinator.FetchResult{}, err
	}
	a, err := s.service.send(ctx, s.request(req))
	s.refusal.note(err)
	if err != nil {
		return coordinator.FetchResult{}, err
	}
	return s.result(a, req.Current), nil
}

// lacks returns what a request is made without.
func (s *Source) lacks(req coordinator.FetchRequest) error {
	e := s.kind.endpoint()
	switch {
	case s.kind.isTicket() && req.Parent.Token.IsZero():
		return errors.New("wecom: a ticket needs the access_token of an app: set AccountConfig.Parent to that account")
	case e.ofParent != "" && req.Parent.Token.IsZero():
		return errors.New("wecom: a corp's token needs the suite_access_token: set AccountConfig.Parent to the suite's account")
	case e.grant.Needed && req.Grant.Token.IsZero():
		return fmt.Errorf("wecom: %s needs a grant: a suite_ticket or a permanent code", s.kind)
	}
	return nil
}
