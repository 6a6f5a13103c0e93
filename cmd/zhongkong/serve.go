package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/metrics"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/tokenfile"
	"github.com/zhongkong/zhongkong/coordinator"
)

func serveFlags() []cli.Flag {
	var flags []cli.Flag
	for _, s := range config.Settings() {
		if s.ForServe {
			flags = append(flags, settingFlag(s))
		}
	}
	return append(flags,
		newValueFlag("user", "NAME:PASSWORD", "", "a caller of all accounts, with the refresh right, for trials; separate several by commas [$"+envUsers+"]"),
		newSwitchFlag("sandbox", "issue tokens from a built-in WeChat simulator: no account needed"))
}

func (p program) serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "run the daemon: refreshes on schedule, answers HTTP",
		Description: `Run any number of them on one Redis: one refreshes, all have the token.

All processes with the AppSecret of an account must share one Redis, so a serve that
has a secret refuses to start without --redis. --embedded-redis runs a Redis in this
process, if no other machine has the secret; --sandbox does so for a trial. With both
--sandbox and --redis, the tokens are stored under a prefix that ends in -sandbox, and
no configured secret is used.

On SIGHUP, and when the configuration or a file that it names changes, serve reads them
again: accounts, users, files, secrets, seal keys, certificate.

HTTP callers need a name and a password: users: in the configuration, --users-file,
--user, or else one user that is generated and printed.

On SIGTERM, /readyz is 503 for --drain-delay, then the port closes, and the result of a
call to the issuer that is under way is stored. Before a SIGKILL, allow --drain-delay and
15 seconds more (with grants 55, and 115 without grants.spool). serve asks systemd for
that time itself. A second SIGTERM ends the process at once.`,
		Flags:  serveFlags(),
		Action: p.serve,
	}
}

func (p program) serve(c *cli.Context) error {
	s, err := p.configured(c, p.input(c))
	if err != nil {
		return err
	}
	return s.runDaemon(func() error {
		b := built()
		d := &daemon{session: s, input: p.input(c), metrics: metrics.New(metrics.Build{Version: b.version, Commit: b.commit, Date: b.date})}
		defer d.close()
		if err := d.newFrontend(c.String("user")); err != nil {
			return err
		}
		if err := d.prepare(c.Bool("sandbox")); err != nil {
			return err
		}
		return d.run(c.Context)
	})
}

type daemon struct {
	*session
	input   config.Input // read again at each reload
	metrics *metrics.Metrics

	zk         *coordinator.Coordinator
	listener   net.Listener
	members    *members
	tokenFiles *tokenfile.Set
	frontend
	profiler *profiler // nil: none
}

var errNoAccount = usagef("no account: give --appid and --secret-file (or --config FILE), or try it with --sandbox")

// prepare opens everything that run needs, so that every error at the start comes
// before the first call to the issuer.
func (d *daemon) prepare(sandboxed bool) error {
	at, err := chooseStore(d.cfg, sandboxed)
	if err != nil {
		return err
	}
	if sandboxed {
		if err := d.startSandbox(sandboxAddr, "127.0.0.1:0"); err != nil {
			return err
		}
	}
	if len(d.cfg.Accounts) == 0 {
		return d.lacksAccounts()
	}
	if unsealed := d.cfg.Unsealed(); len(unsealed) > 0 && !sandboxed {
		return &configError{errors.Join(unsealed...)}
	}
	if d.listener, err = listen(d.cfg.Listen, "--listen"); err != nil {
		return err
	}
	if d.profiler, err = openProfiler(d.cfg.Pprof, d.log); err != nil {
		return err
	}
	if at.embedded {
		if d.embedded, err = startEmbeddedRedis(d.embeddedRedis); err != nil {
			return err
		}
		at.url = "redis://" + d.embedded.Addr()
	}
	if err := d.open(at.url, at.prefix); err != nil {
		return err
	}
	cfg := d.coordinatorConfig()
	cfg.Observe = d.observe
	for _, a := range d.cfg.Accounts {
		account, err := newAccountConfig(a, d.cfg.Refreshing(a))
		if err != nil {
			return err
		}
		cfg.Accounts = append(cfg.Accounts, account)
	}
	if err := d.openGrantDirs(); err != nil { // also without an account that has a grant: a reload may add one
		return err
	}
	d.grantDirs.keepGrants(&cfg.Spool, &cfg.Copy)
	if d.zk, err = newCoordinator(cfg); err != nil {
		return err
	}
	d.members = newMembers(d)
	d.tokenFiles = tokenfile.NewSet(d.zk, d.log)
	d.tokenFiles.Configure(d.cfg.TokenFiles)
	d.metrics.FollowFiles(d.tokenFiles.Stats)
	d.metrics.Follow(d.zk)
	d.metrics.FollowStore(d.store.Stats)
	d.metrics.FollowLog(d.queue.Dropped)
	return d.openFrontend()
}

// shutdownGrace is how long requests under way may take after SIGTERM.
const shutdownGrace = 15 * time.Second

// stopTime returns how long it may take to end after the drain delay.
func (d *daemon) stopTime() time.Duration { return max(shutdownGrace, d.zk.StopTime()) }

// run serves until signalled ends and the drain delay is over, and then finishes what
// is under way.
func (d *daemon) run(signalled context.Context) error {
	defer d.setCollector()()
	watched := d.watchFiles()
	d.announce()
	ctx, stop := context.WithCancelCause(context.WithoutCancel(signalled))
	defer stop(nil)
	d.tellManager(systemd.SdNotifyReady)
	defer context.AfterFunc(signalled, func() {
		d.tellManagerOfTheStop()
		d.drain(ctx)
		stop(context.Canceled)
	})()
	context.AfterFunc(ctx, func() {
		d.log.Info("stopping: calls under way are finished first; a second signal ends at once", "within_seconds", d.stopTime().Seconds())
	})

	var wg sync.WaitGroup
	wg.Go(func() { // ends when the listener is closed, by Shutdown
		if err := d.web.Serve(d.listener); err != nil {
			stop(err)
		}
	})
	for _, l := range d.routeListeners {
		wg.Go(func() { // likewise
			if err := d.web.ServeHandler(l, d.routes.Route(l.name)); err != nil {
				stop(err)
			}
		})
	}
	wg.Go(func() { // ends with ctx
		if err := d.serveDatagrams(ctx); err != nil {
			stop(err)
		}
	})
	wg.Go(func() { d.feedWatchdog(ctx) }) // ends with ctx
	wg.Go(func() {                        // ends with ctx
		d.consentInSandbox(ctx) // before a reload can
		watched.follow(ctx, d.logRefusedKeys, d.reloadChanged)
	})
	wg.Go(func() { d.watchAttendance(ctx) }) // ends with ctx
	wg.Go(func() { d.tokenFiles.Run(ctx) })  // ends with ctx, when a write that has begun is done
	wg.Go(func() { d.members.run(ctx) })     // ends after ctx, when what is under way is stored
	wg.Go(func() {                           // ends after ctx, when the responses under way are written
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		_ = d.web.Shutdown(grace) // closes what is not finished in time
	})
	if err := d.zk.Run(ctx); err != nil {
		stop(err)
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	d.log.Info("stopped")
	return nil
}

// drain keeps the port open for the drain delay, so that load balancers see in
// /readyz that this process is about to end.
func (d *daemon) drain(ctx context.Context) {
	delay := d.started.DrainDelay
	if delay == 0 {
		return
	}
	d.api.Drain()
	d.log.Info("draining: /readyz is 503, other requests are answered; a second signal ends at once", "delay_seconds", delay.Seconds())
	pause(ctx, delay)
}

// announce says what this process is: in the log, and in plain text unless the log
// is JSON.
func (d *daemon) announce() {
	var accounts []string
	for _, a := range d.zk.Accounts() {
		accounts = append(accounts, fmt.Sprintf("%s (%s)", a.Name(), a.Role()))
	}
	url := fmt.Sprintf("%s://%s", d.web.Scheme(), d.listener.Addr())
	if d.cfg.LogFormat != config.FormatJSON {
		d.printAnnouncement(url, list(accounts))
	}
	b := built()
	d.log.Info("serving", "version", b.version, "commit", b.commit, "commit_date", b.date, "url", url, "redis", d.where(), "prefix", d.prefix, "embedded_redis", d.embedded != nil,
		"sandbox", d.sandbox != nil, "accounts", list(accounts))
	if len(d.cfg.TokenFiles) > 0 && d.sandbox != nil {
		d.log.Warn("--sandbox: the token files get tokens of the simulator")
	}
	d.warnOfGrants(d.cfg)
	d.announceRoutes()
	d.announceFrontend()
	d.logSealKeys()
}

func (d *daemon) printAnnouncement(url, accounts string) {
	redis := d.where()
	if d.embedded != nil {
		redis += " (embedded)"
	}
	fmt.Fprintf(d.stderr, "zhongkong: %s, Redis at %s, accounts: %s\n", url, redis, accounts)
	if d.embedded != nil {
		fmt.Fprintf(d.stderr, "An embedded Redis runs at %s, for the programs of this one machine.\n"+
			"It and the tokens in it end with this process; to keep them, start a Redis and pass --redis.\n", d.embedded.Addr())
	}
	if d.sandbox != nil {
		d.announceSandbox()
	}
}

func (d *daemon) announceSandbox() {
	fmt.Fprintf(d.stderr, "--sandbox: a WeChat simulator at %s issues the tokens; the real WeChat does not know them.\n", d.sandbox.url())
	if d.embedded == nil {
		fmt.Fprintf(d.stderr, "They are stored in Redis under the prefix %s, apart from real ones; no configured secret is used.\n", d.prefix)
	}
	command, note := d.tryCommand()
	fmt.Fprintf(d.stderr, "Try in another terminal%s: %s\n", note, command)
}

func (d *daemon) close() {
	if d.listener != nil {
		_ = d.listener.Close() // run has closed it, if it was reached
	}
	for _, l := range d.routeListeners {
		_ = l.Close() // likewise
	}
	if d.udp != nil {
		_ = d.udp.Close() // likewise
	}
	d.session.close()
	d.profiler.close()
}

// listen opens a TCP port. option is the option to name in errors.
func listen(address, option string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return l, nil
	case isInUse(err):
		free := "127.0.0.1:0"
		if strings.HasPrefix(option, "--") {
			free = option + " " + free
		}
		return nil, usagef("%s %s: is in use by another process: choose another address, such as %s for any free port", option, address, free)
	}
	return nil, usagef("%s %s: %v", option, address, cause(err))
}
