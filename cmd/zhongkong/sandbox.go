package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

const sandboxAddr = "127.0.0.1:9090"

func (p program) sandboxCommand() *cli.Command {
	return &cli.Command{
		Name:  "sandbox",
		Usage: "run the simulator of WeChat and the other issuers alone: issues tokens and revokes them",
		Description: `It has the configured accounts, or else one of its own. Point any client of WeChat at
it with --api-base; WeCom is at /wecom, OAuth2 at /oauth2/token, and the issuer of an
account with source http at /http/NAME. Its behaviour as WeChat can be changed over HTTP
while it runs:

   curl http://127.0.0.1:9090/sandbox/knobs     what can be tuned
   curl http://127.0.0.1:9090/sandbox/          which requests there are

As OAuth2 it has the same at /oauth2/sandbox/: what is done with refresh tokens, and
which were presented when. At /oauth2/authorize a person consents by herself. What platforms and suites are pushed goes
to the address of serve (--listen in the configuration); WeCom's suites are controlled at
/wecom/sandbox/.`,
		Flags:  []cli.Flag{newValueFlag("listen", "ADDR", sandboxAddr, "where to listen")},
		Action: p.runSandbox,
	}
}

func (p program) runSandbox(c *cli.Context) error {
	// Here --listen is the simulator's address, not that of serve.
	in := p.input(c)
	delete(in.Flags, "listen")
	s, err := p.configured(c, in)
	if err != nil {
		return err
	}
	return s.runDaemon(func() error { return s.simulate(c.Context, c.String("listen")) })
}

// simulate runs the simulator until ctx ends.
func (s *session) simulate(ctx context.Context, address string) error {
	l, err := listen(address, "--listen")
	if err != nil {
		return err
	}
	w, err := newSandboxServer(l, s.log)
	if err != nil {
		return err
	}
	defer w.close()
	w.callbackBase = "http://" + s.cfg.Listen
	if err := w.serveAccounts(s.cfg); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var pushing sync.WaitGroup
	defer pushing.Wait()
	defer stop()
	pushing.Go(func() { w.push(ctx, nil) }) // ends with ctx
	var names []string
	for _, a := range s.cfg.Accounts {
		names = append(names, cmp.Or(a.AppID(), a.Name))
	}
	fmt.Fprintf(s.stderr, "zhongkong: a WeChat simulator at %s, accounts: %s\n", w.url(), list(names))
	if w.made {
		fmt.Fprintf(s.stderr, "Try: export ZHONGKONG_API_BASE=%s ZHONGKONG_APPID=%s ZHONGKONG_SECRET=%s\n"+
			"The secret is valid only in this simulator.\n", w.url(), wechattest.DefaultAppID, wechattest.DefaultSecret)
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-w.failed:
		return fmt.Errorf("serve the simulator: %w", err)
	}
}

type sandboxServer struct {
	wechat       *wechattest.Server
	wecom        *wecomtest.Server
	oauth        *oauthtest.Server
	http         *http.Server
	addr         net.Addr
	callbackBase string                       // where pushes go; "": to target, in this process
	target       atomic.Pointer[http.Handler] // nil until it is ready

	failed chan error // receives why it stopped by itself; closed at the end

	made    bool              // it has an account of its own
	secrets map[string]string // of the accounts it has, by AppID
	corps   []wecomtest.Corp
	keys    map[string]testKey // by account
	clients map[string]string  // account, by the id of its OAuth2 client

	consents map[string]string // client ids, by account; see consentInSandbox

	mu      sync.Mutex         // guards vendors, which a reload changes while requests are served
	vendors map[string]*vendor // by account
}

// newSandboxServer serves a simulator without accounts on l.
func newSandboxServer(l net.Listener, log *slog.Logger) (*sandboxServer, error) {
	s, err := newSandboxIssuers(l.Addr())
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	s.failed = make(chan error, 1)
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() { // ends at close, which waits for it
		defer close(s.failed)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- err
		}
	}()
	return s, nil
}

// newSandboxIssuers returns a simulator without accounts that nobody can call yet.
func newSandboxIssuers(addr net.Addr) (*sandboxServer, error) {
	w, err := wechattest.Open(wechattest.Config{})
	if err != nil {
		return nil, err
	}
	return &sandboxServer{
		wechat:  w,
		wecom:   wecomtest.New(wecomtest.Config{}),
		oauth:   oauthtest.New(oauthtest.Config{}),
		addr:    addr,
		secrets: map[string]string{},
		keys:    map[string]testKey{},
		clients: map[string]string{},
		vendors: map[string]*vendor{},

		consents: map[string]string{},
	}, nil
}

// startSandbox makes a simulator in this process the issuer of every configured account.
// It takes the first address that is free: no client needs to know it.
func (s *session) startSandbox(addresses ...string) error {
	var l net.Listener
	var err error
	for _, address := range addresses {
		if l, err = listen(address, "the simulator's address"); err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	s.sandboxed = true
	if s.sandbox, err = newSandboxServer(l, s.log); err != nil {
		return err
	}
	return s.sandbox.replaceIssuers(s.cfg)
}

// replaceIssuers makes the simulator the issuer of the configured accounts, with its own
// secrets in place of theirs.
func (s *sandboxServer) replaceIssuers(cfg *config.Config) error {
	cfg.DropSecrets()
	return s.serveAccounts(cfg)
}

// tryIssuers returns why replaceIssuers would fail. It changes neither the simulator nor
// cfg: another simulator, which nobody calls, gets the accounts.
func (s *sandboxServer) tryIssuers(cfg *config.Config) error {
	trial, err := newSandboxIssuers(s.addr)
	if err != nil {
		return err
	}
	defer trial.wechat.Close()
	trial.keys = s.keys // each is made once
	tried := *cfg
	return trial.replaceIssuers(&tried)
}

// serveAccounts adds the accounts of a configuration to the simulator and points them
// at it. A configuration without an account gets the simulator's own, an account
// without a secret the simulator's secret.
func (s *sandboxServer) serveAccounts(cfg *config.Config) error {
	accounts := slices.Clone(cfg.Accounts)
	if s.made = len(accounts) == 0; s.made {
		accounts = []config.Account{config.NewAccount(wechattest.DefaultAppID, cfg)}
	}
	for i := range accounts {
		if err := s.serveAccount(&accounts[i]); err != nil {
			return fmt.Errorf("sandbox: account %q: %w", accounts[i].Name, err)
		}
	}
	cfg.SetAccounts(accounts)
	return nil
}

// serveWeChat adds a WeChat account to the simulator.
func (s *sandboxServer) serveWeChat(a *config.Account) error {
	a.APIBase = s.url()
	secret, appID := a.Secret("secret").Reveal(), a.AppID()
	if secret == "" {
		secret = wechattest.DefaultSecret
		*a = a.WithSecrets(map[string]config.Secret{"secret": config.NewSecret(secret)})
	}
	switch before, known := s.secrets[appID]; {
	case before == secret:
		return nil
	case known:
		if err := s.wechat.SetSecret(appID, secret); err != nil {
			return err
		}
	default:
		if err := s.wechat.AddAccount(wechattest.Account{AppID: appID, Secret: secret}); err != nil {
			return err
		}
	}
	s.secrets[appID] = secret
	return nil
}

func (s *sandboxServer) url() string { return "http://" + s.addr.String() }

func (s *sandboxServer) close() {
	s.wechat.Close() // ends calls that hang
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	for range s.failed { // wait until the server has ended
	}
}
