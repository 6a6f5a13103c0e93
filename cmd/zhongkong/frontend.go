package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/datagram"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/events"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

// envUsers has callers for trials and for containers, separated by commas.
const envUsers = "ZHONGKONG_USERS"

// frontend is what answers callers: HTTP, and datagrams if an address for them is
// configured.
type frontend struct {
	flagUsers []auth.User // from --user or the variable
	ephemeral *auth.User  // generated for this run; nil: users are configured

	auth   *auth.Authenticator
	events *events.Hub
	api    *httpapi.API
	web    *httpapi.Server
	udp    *net.UDPConn // nil: no datagrams

	routes         *routes
	routeListeners []routeListener

	// current is the configuration as requests see it, with the accounts that have
	// appeared by themselves. The daemon's own cfg is for the goroutine that reloads it.
	current atomic.Pointer[config.Config]
}

// newFrontend reads the callers.
func (d *daemon) newFrontend(given string) error {
	d.events = events.New()
	var err error
	if d.flagUsers, err = d.callersGiven(given); err != nil {
		return err
	}
	users, err := allCallers(d.flagUsers, d.cfg)
	if err != nil {
		return &configError{err}
	}
	if len(users) == 0 {
		u := auth.EphemeralUser()
		d.ephemeral, users = &u, []auth.User{u}
	}
	if d.auth, err = auth.New(users); err != nil {
		return &configError{err}
	}
	return nil
}

// callersGiven returns the callers of the command line, or else of the variable.
func (s *session) callersGiven(given string) ([]auth.User, error) {
	var users []auth.User
	for one := range strings.SplitSeq(cmp.Or(given, s.env(envUsers)), ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		u, err := auth.ParseUser(one)
		if err != nil {
			return nil, usagef("--user (%s): %v", envUsers, err)
		}
		users = append(users, u)
	}
	return users, nil
}

// allCallers returns the callers of the command line and of a configuration. The
// error joins all that is wrong with them.
func allCallers(given []auth.User, cfg *config.Config) ([]auth.User, error) {
	all, names := slices.Clone(given), map[string]bool{}
	var problems []error
	for i, u := range given {
		if names[u.Name] {
			problems = append(problems, fmt.Errorf("--user (%s): user %d (%q) is given twice: names must differ", envUsers, i+1, u.Name))
		}
		names[u.Name] = true
	}
	for _, u := range cfg.Users {
		caller, err := newCaller(u)
		if err == nil && names[u.Name] {
			err = fmt.Errorf("is also given by --user (%s): names must differ", envUsers)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: user %q: %w", u.Where(), u.Name, err))
		}
		all = append(all, caller)
	}
	return all, errors.Join(problems...)
}

// newCaller returns a caller of the configuration. The error begins with the field's
// name.
func newCaller(u config.User) (auth.User, error) {
	caller := auth.User{Name: u.Name, Accounts: u.Accounts, Refresh: u.Refresh, Grant: u.Grant, Phantom: u.Phantom,
		Told: auth.Told{Max: u.Told, Min: u.ToldAtLeast}}
	for _, hash := range u.Passwords {
		caller.PasswordHashes = append(caller.PasswordHashes, hash.Reveal())
	}
	if !u.UDPKey.IsZero() {
		caller.UDPKey, _ = base64.StdEncoding.DecodeString(u.UDPKey.Reveal()) // config has decoded it before
	}
	return caller, auth.Check(caller)
}

// openFrontend makes the servers. It needs the coordinator.
func (d *daemon) openFrontend() error {
	exposure := exposureOf(d.cfg)
	if err := exposure.CheckExposure(d.listener.Addr()); err != nil {
		return usagef("--listen %s: %v", d.cfg.Listen, err)
	}
	d.members.publish()
	if err := d.openRoutes(); err != nil {
		return err
	}
	d.api = httpapi.New(httpapi.Config{
		Coordinator: d.zk, Callers: d.auth, Proxy: d.routes, Directory: directory{d},
		Events: d.events, History: redisadmin.New(d.store),
		Metrics: d.metrics, MetricsOpen: d.cfg.MetricsOpen,
		Instance: d.store.Instance(), Version: built().String(), Logger: d.log,
	})
	var err error
	if d.web, err = httpapi.NewServer(d.api, exposure, d.log); err != nil {
		return &configError{err}
	}
	if d.cfg.AccessLog {
		d.web.LogRequests(d.log)
	}
	d.metrics.FollowHTTP(d.api, d.web)
	if d.cfg.UDP == "" {
		return nil
	}
	addr, err := net.ResolveUDPAddr("udp", d.cfg.UDP)
	if err == nil {
		d.udp, err = net.ListenUDP("udp", addr)
	}
	if err != nil {
		return usagef("--udp %s: %v", d.cfg.UDP, cause(err))
	}
	return nil
}

// tokenOf returns an account's current token, the zero Token if there is none.
func (d *daemon) tokenOf(name string) coordinator.Token {
	if account, ok := d.zk.Account(name); ok {
		if s, ok := account.Peek(); ok {
			return s.Token
		}
	}
	return coordinator.Token{}
}

// observe passes on what the coordinator does to the metrics and the event hub.
func (d *daemon) observe(o coordinator.Observation) {
	d.metrics.Observe(o)
	d.events.Observe(o)
	if d.routes != nil {
		d.routes.observe(o)
	}
}

// serveDatagrams answers datagrams until ctx ends.
func (d *daemon) serveDatagrams(ctx context.Context) error {
	if d.udp == nil {
		return nil
	}
	return datagram.NewServer(datagram.Config{
		Callers: d.auth, Answerer: d.api, Logger: d.log,
		Observe: func(o datagram.Outcome) { d.metrics.Datagram(string(o)) },
	}).Serve(ctx, d.udp)
}

// announceFrontend prints where datagrams are answered, and the user that was
// generated for this run.
func (d *daemon) announceFrontend() {
	if d.udp != nil {
		if d.cfg.LogFormat == config.FormatJSON {
			d.log.Info("datagrams are answered", "address", d.udp.LocalAddr().String())
		} else {
			fmt.Fprintf(d.stderr, "Datagrams are answered at %s.\n", d.udp.LocalAddr())
		}
		if !slices.ContainsFunc(d.cfg.Users, func(u config.User) bool { return !u.UDPKey.IsZero() }) {
			d.log.Warn("no user has a udp_key, so no datagram can be answered: set one in users: of the configuration")
		}
	}
	if u := d.ephemeral; u != nil {
		url := fmt.Sprintf("%s://%s", d.web.Scheme(), d.listener.Addr())
		fmt.Fprintf(d.stderr, "No user is configured, so one was generated for this run: name %s, password %s\n"+
			"Try: curl -u %s:%s %s/v1/tokens/%s   or open %s in a browser.\n",
			u.Name, u.Password, u.Name, u.Password, url, d.zk.Accounts()[0].Name(), url)
	}
}

// reloadUsers applies the callers of a new configuration. An error changes
// nothing.
func (d *daemon) reloadUsers(next *config.Config) error {
	users, err := allCallers(d.flagUsers, next)
	if err != nil {
		return err
	}
	if len(users) == 0 {
		if d.ephemeral == nil { // the removed users must lose access
			u := auth.EphemeralUser()
			d.ephemeral = &u
			d.log.Warn("the new configuration has no users: no caller can log in until it has")
		}
		users = []auth.User{*d.ephemeral}
	}
	return d.auth.SetUsers(users)
}
