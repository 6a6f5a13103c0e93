package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/phantom"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/proxy"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator"
)

// routes are the routes of a daemon, with what they need of it.
type routes struct {
	*proxy.Proxy
	tokens   *proxy.Tokens
	phantoms phantoms

	opened []proxy.Route // what was made of each route of the configuration at the start
}

// routeListener is the address of one route.
type routeListener struct {
	net.Listener
	name string
}

// openRoutes makes the routes and opens their addresses. It needs the coordinator.
func (d *daemon) openRoutes() error {
	all, err := newRoutes(d.cfg)
	if err != nil {
		return &configError{err}
	}
	d.routes = &routes{
		tokens: proxy.NewTokens(all, formerTokens{d}), phantoms: phantoms{d: d, made: map[string]*accountPhantoms{}},
		opened: all,
	}
	d.routes.tokens.Remember(parents(d.cfg)...)
	p, err := proxy.New(proxy.Config{
		Routes: all, Callers: d.auth, Tokens: d.routes.tokens, Phantoms: d.routes.phantoms.of, Logger: d.log, Login: d.loginRoutes,
		Account: func(name string) (proxy.Account, bool) {
			a, ok := d.zk.Account(name)
			return a, ok
		},
		TokenEndpoint: func(w http.ResponseWriter, r *http.Request, account string) { d.api.ServeRoute(w, r, account) },
		Secret: func(account string) (string, string, bool) {
			a, ok := d.current.Load().Account(account)
			secret := a.Secret("secret")
			return a.AppID(), secret.Reveal(), ok && !secret.IsZero()
		},
	})
	if err != nil {
		return &configError{err}
	}
	d.routes.Proxy = p
	d.metrics.FollowRoutes(p.Stats)
	for _, r := range d.cfg.Routes {
		if r.Listen == "" {
			continue
		}
		l, err := listen(r.Listen, fmt.Sprintf("routes (%s).listen", r.Name))
		if err != nil {
			return err
		}
		d.routeListeners = append(d.routeListeners, routeListener{l, r.Name})
		if err := exposureOf(d.cfg).CheckExposure(l.Addr()); err != nil {
			return usagef("routes (%s).listen %s: %v", r.Name, r.Listen, err)
		}
	}
	return nil
}

// loginRoutes returns the routes to the API of the WeChat accounts with an AppID. Those
// whose AppSecret is here come first.
func (d *daemon) loginRoutes(appID string) []proxy.Route {
	var first, then []proxy.Route
	for _, a := range d.current.Load().Accounts {
		kind := a.Kind()
		if _, of := kind.Field("appid"); !of || kind.RejectsToken == nil || appID == "" || a.AppID() != appID {
			continue
		}
		of, err := proxy.WeChatRoute("", a.Name, a.APIBase)
		switch {
		case err != nil: // its base was checked
		case a.Secret("secret").IsZero():
			then = append(then, of)
		default:
			first = append(first, of)
		}
	}
	return append(first, then...)
}

// newRoutes returns the routes of a configuration. The error joins all that is wrong
// with them.
func newRoutes(cfg *config.Config) ([]proxy.Route, error) {
	var all []proxy.Route
	var problems []error
	for _, r := range cfg.Routes {
		made, err := newRoute(cfg, r)
		if err == nil {
			err = made.Check()
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("routes (%s).%w", r.Name, err))
		}
		all = append(all, made)
	}
	return all, errors.Join(problems...)
}

func newRoute(cfg *config.Config, r config.Route) (proxy.Route, error) {
	account, ok := cfg.Account(r.Account)
	if !ok {
		return proxy.Route{}, fmt.Errorf("account: %q is not among the accounts", r.Account)
	}
	made := proxy.Route{Name: r.Name, Account: r.Account}
	kind, put, to := account.Kind(), "", ""
	if kind.Put != nil {
		put, to = kind.Put(account.Values())
	}
	switch {
	case kind.RejectsToken == nil && account.Source == sources.HTTP && r.Put == "":
		made.Issuer, _ = sources.Issuer(account.Values()) // which was checked
	case kind.RejectsToken == nil:
	case r.Put == "":
		made.RejectsToken, made.UnknownToken = kind.RejectsToken, kind.UnknownToken
	default: // it is not the issuer's API that expects the token elsewhere
		made.Foreign, to = true, ""
	}
	put, to = cmp.Or(r.Put, put), cmp.Or(r.To, to)
	if put == "" || to == "" {
		return proxy.Route{}, fmt.Errorf("put, to: give both: where the API expects the token of a %s account is not known", account.Source)
	}
	var err error
	if made.To, err = url.Parse(to); err != nil {
		return proxy.Route{}, fmt.Errorf("to: is not a URL")
	}
	if made.Put, err = proxy.ParsePlace(put); r.Put == "" {
		made.Put = made.Put.Or(kind.PutAlso)
	}
	return made, err
}

// keepRouted replaces those accounts of next whose tokens, or AppSecret, belong elsewhere
// than where the routes of this process put them. The account stays as it is until the next
// start, as the route does; so no token goes to a host that it is not for. If only its api_base
// has changed, that stays, and what else has changed is taken over, such as its secret. It
// returns their names. With --sandbox all belong to the simulator.
func (d *daemon) keepRouted(next *config.Config) (kept []string) {
	if d.sandbox != nil {
		return nil
	}
	for i, r := range d.started.Routes {
		leads := func() bool {
			made, err := newRoute(next, r)
			return err == nil && made.LeadsTo(d.routes.opened[i])
		}
		account, ok := next.Account(r.Account)
		if !ok || leads() {
			continue
		}
		before, ok := d.cfg.Account(r.Account)
		if !ok { // a reload has removed it, and this one adds it again
			before, _ = d.started.Account(r.Account)
		}
		account.APIBase = before.APIBase
		if replaceAccount(next, account); !leads() {
			replaceAccount(next, before)
		}
		if !slices.Contains(kept, r.Account) {
			kept = append(kept, r.Account)
		}
	}
	return kept
}

// replaceAccount replaces an account of a configuration that is not in use yet.
func replaceAccount(cfg *config.Config, by config.Account) {
	accounts := slices.Clone(cfg.Accounts)
	accounts[slices.IndexFunc(accounts, func(a config.Account) bool { return a.Name == by.Name })] = by
	cfg.SetAccounts(accounts)
}

// Given remembers that a caller was given a token.
func (r *routes) Given(account, caller string, token coordinator.Token) {
	r.tokens.Given(account, caller, token)
}

// Phantom returns a new phantom of an account for a caller.
func (r *routes) Phantom(account string, caller auth.Caller) (string, error) {
	return r.phantoms.of(account).Make(caller.Name(), caller.Verifier(), time.Now().Add(phantom.Life))
}

// observe remembers the tokens that an observation tells of.
func (r *routes) observe(o coordinator.Observation) {
	if o.Event != nil {
		r.tokens.Seen(o.Account, o.Event.Record.Token)
	}
}

// keepFormer has the sealers that secretsChanged replaces, also of accounts of which this
// process has seen no phantom: others made some. It is called before the configuration is
// replaced. former is the present one, nil for none.
func (r *routes) keepFormer(former *config.Config) {
	if former == nil {
		return
	}
	routed := parents(former)
	for _, of := range r.opened {
		routed = append(routed, of.Account)
	}
	for _, account := range routed {
		a, _ := former.Account(account)
		r.phantoms.madeOf(account, a.MainSecret())
	}
}

// phantoms makes and opens the phantoms of all accounts.
type phantoms struct {
	d *daemon

	mu   sync.Mutex // guards what follows
	made map[string]*accountPhantoms
}

// accountPhantoms are those of an account under its present secret, and under those that
// were replaced while phantoms of them live.
type accountPhantoms struct {
	secret config.Secret // the present one; zero: none
	sealer *phantom.Sealer
}

// of returns the sealer of an account.
func (p *phantoms) of(account string) *phantom.Sealer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.made[account] == nil {
		a, _ := p.d.current.Load().Account(account)
		p.made[account] = &accountPhantoms{a.MainSecret(), p.newSealer(account, a.MainSecret())}
	}
	return p.made[account].sealer
}

// madeOf makes the sealer of an account with that secret, unless there is one, or other
// processes cannot have made phantoms with it.
func (p *phantoms) madeOf(account string, secret config.Secret) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.made[account] == nil && len(secret.Reveal()) >= phantom.MinSecret {
		p.made[account] = &accountPhantoms{secret, p.newSealer(account, secret)}
	}
}

// secretsChanged is called when another configuration has become current, and not when a
// request comes next: a former secret, which may have been replaced because it is known
// to a stranger, is not accepted for longer than its phantoms live.
func (p *phantoms) secretsChanged() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for account, known := range p.made {
		a, configured := p.d.current.Load().Account(account)
		switch secret := a.MainSecret(); {
		case !configured:
			delete(p.made, account)
		case secret.Reveal() != known.secret.Reveal():
			p.made[account] = &accountPhantoms{secret, p.newSealer(account, secret).Replacing(known.sealer, time.Now())}
		}
	}
}

// newSealer returns a sealer whose key is derived from the account's secret, so that all
// servers with it open the same phantoms.
func (p *phantoms) newSealer(account string, secret config.Secret) *phantom.Sealer {
	sealer, err := phantom.New(account, []byte(secret.Reveal()))
	if err != nil { // no secret, or a short one
		p.d.log.Warn("phantoms of this account are valid in this process only: it has no secret of at least 16 bytes to derive their key from",
			"account", account)
		sealer, _ = phantom.New(account, phantom.Fresh()) // of a key that is long enough
	}
	return sealer
}

// announceRoutes says where the routes are.
func (d *daemon) announceRoutes() {
	base := fmt.Sprintf("%s://%s", d.web.Scheme(), d.listener.Addr())
	own := map[string]string{}
	for _, l := range d.routeListeners {
		own[l.name] = fmt.Sprintf("%s://%s", d.web.Scheme(), l.Addr())
	}
	for _, r := range d.cfg.Routes {
		at := base + "/proxy/" + r.Name
		if own[r.Name] != "" {
			at += " and " + own[r.Name]
		}
		if d.cfg.LogFormat == config.FormatJSON {
			d.log.Info("route", "route", r.Name, "account", r.Account, "url", at)
			continue
		}
		fmt.Fprintf(d.stderr, "Route %s: %s, with the token of %s put in.\n", r.Name, at, r.Account)
	}
}
