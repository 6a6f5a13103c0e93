package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/accesslog"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/inflight"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/phantom"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// Account is where a route gets tokens and reports rejected ones. A
// *coordinator.Account is one.
type Account interface {
	Token(ctx context.Context) (coordinator.Token, error)
	Peek() (coordinator.Snapshot, bool)
	Invalidate(ctx context.Context, rejected coordinator.Token) (coordinator.Snapshot, error)
}

var _ Account = (*coordinator.Account)(nil)

// Route is one upstream with the token of one account.
type Route struct {
	Name    string
	Account string
	To      *url.URL // its path is put before each request's
	Put     Place

	// RejectsToken reports whether an errcode rejects the token of the call. The
	// upstream speaks as WeChat does then: errors are errcodes, and there are endpoints
	// that take the AppSecret or a user's token. Nil: it does not.
	RejectsToken func(errcode int) bool

	// UnknownToken is the errcode with which such an upstream refuses a token that it
	// does not know.
	UnknownToken int

	// Issuer knows the answers by which the upstream rejects the token of a call besides
	// by status 401; nil: there are none. It is for upstreams without RejectsToken.
	Issuer *httpsource.Issuer

	// Foreign says that the upstream is not the token's issuer, so that its 401 does
	// not mean that the issuer would reject the token: it is not reported.
	Foreign bool
}

// WeChatRoute returns the route of a WeChat account. base is the API's base URL,
// empty for wechat.DefaultBaseURL.
func WeChatRoute(name, account, base string) (Route, error) {
	to, err := url.Parse(cmp.Or(base, wechat.DefaultBaseURL))
	if err != nil {
		return Route{}, errors.New("the API's base is not a URL")
	}
	return Route{
		Name: name, Account: account, To: to, Put: Place{kind: inQuery, name: "access_token"},
		RejectsToken: wechat.IsTokenRejected, UnknownToken: codeCredential,
	}, nil
}

// isWeChat reports whether the upstream speaks as WeChat does.
func (r Route) isWeChat() bool { return r.RejectsToken != nil }

// Config is what a Proxy is made of. Routes, Callers, Account and Tokens are
// required.
type Config struct {
	Routes  []Route
	Callers *auth.Authenticator
	Tokens  *Tokens

	// Account returns a route's account, false while there is none.
	Account func(name string) (Account, bool)

	// Phantoms returns what opens the phantoms of an account, nil if there are
	// none. Nil: there are none of any.
	Phantoms func(account string) *phantom.Sealer

	// TokenEndpoint answers questions for tokens that come to a route, with the
	// path they have at the server's root (/cgi-bin/token,
	// /oauth2/ACCOUNT/token), and the account of the route. Nil: they are refused.
	TokenEndpoint func(w http.ResponseWriter, r *http.Request, account string)

	// Secret returns the AppID and the AppSecret of a WeChat account, false if
	// this server does not have them. Nil: it has none.
	Secret func(account string) (appID, secret string, ok bool)

	// Login returns the routes, which need not be among Routes, for calls of
	// ServeLogin with this AppID: one for each account that has it, the preferred one
	// first. ServeLogin requires it.
	Login func(appID string) []Route

	// Base makes the calls. Nil: a transport of its own. It must not decompress
	// answers, follow redirects or repeat calls that may have been carried out.
	Base http.RoundTripper

	Limits Limits

	// Logger gets callers that were refused (Warn), rejected tokens and calls
	// with the AppSecret (Info), failures of upstreams (Warn), and each call
	// (Debug). Nil: nothing is logged.
	Logger *slog.Logger
}

// Proxy is the http.Handler of all routes, at /proxy/{route}/. It starts nothing.
type Proxy struct {
	cfg    Config
	routes map[string]*route
	order  []*route
	atRoot sync.Map // account, "" for unknown ones :: *counters of ServeLogin
	log    *slog.Logger

	slots    *inflight.Limiter[slot]
	unproved *inflight.Limiter[string] // by account
	known    knownSources
}

// New returns a Proxy. Its error names the route and the field.
func New(cfg Config) (*Proxy, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Base == nil {
		cfg.Base = transport()
	}
	cfg.Limits = cfg.Limits.withDefaults()
	p := &Proxy{
		cfg: cfg, routes: make(map[string]*route, len(cfg.Routes)), log: cfg.Logger,
		slots: inflight.New[slot](cfg.Limits.All), unproved: inflight.New[string](cfg.Limits.All),
	}
	for i, r := range cfg.Routes {
		if err := r.Check(); err != nil {
			return nil, fmt.Errorf("routes[%d] (%s).%w", i, r.Name, err)
		}
		if p.routes[r.Name] != nil {
			return nil, fmt.Errorf("routes[%d] (%s).name: is given twice: names must differ", i, r.Name)
		}
		made := newRoute(p, r)
		p.routes[r.Name] = made
		p.order = append(p.order, made)
	}
	return p, nil
}

// LeadsTo reports whether r has the upstream of o, which expects the token in the same
// place and rejects it in the same way. Their names and accounts may differ.
func (r Route) LeadsTo(o Route) bool {
	return r.To.String() == o.To.String() && r.Put == o.Put && r.Foreign == o.Foreign && r.isWeChat() == o.isWeChat() && r.UnknownToken == o.UnknownToken &&
		r.Issuer.RejectsAs(o.Issuer)
}

// CheckName reports what is wrong with a route's name, which is part of paths.
func CheckName(name string) error {
	if name == "" || strings.ContainsFunc(name, isForeign) || strings.Trim(name, ".") == "" {
		return errors.New("must consist of letters, digits, - _ . ~")
	}
	return nil
}

// Check reports what is wrong with a route. Its error begins with the field's name.
func (r Route) Check() error {
	switch {
	case CheckName(r.Name) != nil:
		return fmt.Errorf("name: %w", CheckName(r.Name))
	case r.Account == "":
		return errors.New("account: is missing")
	case r.To == nil || r.To.Scheme != "https" && r.To.Scheme != "http" || r.To.Host == "":
		return errors.New("to: must be an http or https URL")
	case r.To.User != nil || r.To.RawQuery != "" || r.To.Fragment != "":
		return errors.New("to: must not hold a user, a query or a fragment")
	case r.Put.kind == nowhere:
		return errors.New("put: is missing")
	}
	if _, err := cleanPath(r.To.EscapedPath()); err != nil {
		return fmt.Errorf("to: %w", err)
	}
	return nil
}

// transport returns the one that all routes share, so that the upstream sees one
// client.
func transport() *http.Transport {
	const connect = 5 * time.Second
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: connect, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    connect,
		ResponseHeaderTimeout:  answerWithin,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        50 * time.Second,
		MaxIdleConnsPerHost:    256,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // bodies pass as they are
		ReadBufferSize:         16 << 10,
		WriteBufferSize:        16 << 10,
	}
}

// ServeHTTP answers what comes to /proxy/{route}/.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	boundBody(w, req)
	name, rest, ok := splitRoute(req.URL.EscapedPath())
	r := p.routes[name]
	if !ok || r == nil {
		accesslog.Of(w).At(endpoint)
		r.respond(w, problemRoute)
		return
	}
	r.serve(w, req, rest, "/proxy/"+name)
}

// Route returns the handler of a route that has an address of its own, where it
// is at the root. Nil: there is no such route.
func (p *Proxy) Route(name string) http.Handler {
	r := p.routes[name]
	if r == nil {
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		boundBody(w, req)
		r.serve(w, req, req.URL.EscapedPath(), "")
	})
}

// Stats returns the counters of each route, in the order of the configuration, and
// those of ServeLogin, for each account that it was called for, as of the route "/".
func (p *Proxy) Stats() []Stats {
	all := make([]Stats, 0, len(p.order))
	for _, r := range p.order {
		all = append(all, r.counts.snapshot(r.Name, r.Account))
	}
	p.atRoot.Range(func(account, counts any) bool {
		all = append(all, counts.(*counters).snapshot("/", account.(string)))
		return true
	})
	return all
}
