package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi"
	"github.com/zhongkong/zhongkong/coordinator/grantfile"
)

func (p program) checkCommand() *cli.Command {
	return &cli.Command{
		Name:  "check",
		Usage: "check the configuration and the files it names, without a network",
		Description: `Prints everything that serve would refuse and exits with 2, or exits with 0. It reads
the files of secrets, seal keys and certificates, but uses no network: it calls neither
Redis nor the issuer and opens no port. doctor does that as well.

   zhongkong check --config new.yaml && mv new.yaml /etc/zhongkong/zk.yaml

It takes the options of serve, so that a whole command line can be checked.`,
		Flags:  serveFlags(),
		Action: p.check,
	}
}

func (p program) check(c *cli.Context) error {
	s, err := p.configured(c, p.input(c))
	if err != nil {
		return err
	}
	if problems := s.serveProblems(c.String("user"), c.Bool("sandbox")); len(problems) > 0 {
		return &configError{errors.Join(problems...)}
	}
	refreshers := 0
	for _, a := range s.cfg.Accounts {
		if s.cfg.Refreshing(a) {
			refreshers++
		}
	}
	_, err = fmt.Fprintf(s.stdout, "ok: accounts %d, of which this process refreshes %d; users %d\n", len(s.cfg.Accounts), refreshers, len(s.cfg.Users))
	return err
}

// serveProblems returns everything that serve would refuse in a configuration that
// could be read. given are the users of the command line. It uses no network.
func (s *session) serveProblems(given string, sandboxed bool) []error {
	var all []error
	add := func(err error) {
		if err != nil {
			all = append(all, err)
		}
	}
	at, err := chooseStore(s.cfg, sandboxed)
	add(err)
	if len(s.cfg.Accounts) == 0 && !sandboxed {
		add(s.lacksAccounts())
	}
	for _, a := range s.cfg.Accounts {
		_, wrong := newAccountConfig(a, s.cfg.Refreshing(a))
		add(wrong)
	}
	if !sandboxed {
		all = append(all, s.cfg.Unsealed()...)
	}
	if err == nil {
		trial := *s // this session's own store stays open
		trial.store = nil
		add(trial.open(at.url, at.prefix)) // does not connect
		trial.close()
	}
	for key, dir := range s.cfg.GrantDirs() {
		if err := grantfile.CheckDir(dir); err != nil {
			add(fmt.Errorf("%s: %w", s.cfg.Where(key), err))
		}
	}
	users, err := s.callersGiven(given)
	if err == nil {
		_, err = allCallers(users, s.cfg)
	}
	add(err)
	add(exposureOf(s.cfg).Check())
	if addr := addressOf(s.cfg.Listen); addr != nil {
		if err := exposureOf(s.cfg).CheckExposure(addr); err != nil {
			add(fmt.Errorf("--listen %s: %w", s.cfg.Listen, err))
		}
	}
	if addr := addressOf(s.cfg.Pprof); addr != nil {
		add(checkProfiler(s.cfg.Pprof, addr))
	}
	return append(all, s.routeProblems()...)
}

// lacksAccounts returns why serve refuses a configuration without accounts.
func (s *session) lacksAccounts() error {
	if len(s.cfg.TokenFiles) > 0 {
		return fmt.Errorf("%w; sync needs no account, and takes files: as it is", errNoAccount)
	}
	return errNoAccount
}

// routeProblems returns what serve would refuse in the routes.
func (s *session) routeProblems() []error {
	var all []error
	if _, err := newRoutes(s.cfg); err != nil {
		all = append(all, err)
	}
	for _, r := range s.cfg.Routes {
		if addr := addressOf(r.Listen); addr != nil {
			if err := exposureOf(s.cfg).CheckExposure(addr); err != nil {
				all = append(all, fmt.Errorf("routes (%s).listen %s: %w", r.Name, r.Listen, err))
			}
		}
	}
	return all
}

// exposureOf returns how a serve of this configuration may be reached.
func exposureOf(cfg *config.Config) httpapi.Exposure {
	return httpapi.Exposure{CertFile: cfg.TLSCert, KeyFile: cfg.TLSKey, ClientCAFile: cfg.ClientCA, PlaintextOK: cfg.PlaintextOK}
}

// addressOf returns the address at which a serve would listen, nil if that takes a
// name server.
func addressOf(listen string) net.Addr {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil
	}
	addr := &net.TCPAddr{IP: net.ParseIP(host)}
	addr.Port, _ = strconv.Atoi(port) // its form was checked
	switch host {
	case "":
		addr.IP = net.IPv6unspecified
	case "localhost":
		addr.IP = net.IPv6loopback
	}
	if addr.IP == nil {
		return nil
	}
	return addr
}
