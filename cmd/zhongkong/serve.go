package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/metrics"
	"github.com/zhongkong/zhongkong/coordinator"
)

// serveFlags are those of serve, and of check.
func serveFlags() []cli.Flag {
	var flags []cli.Flag
	for _, s := range config.Settings() {
		if s.ForServe {
			flags = append(flags, settingFlag(s))
		}
	}
	return append(flags,
		newValueFlag("user", "NAME:PASSWORD", "", "a caller with every right, for trying out; commas between several [$"+envUsers+"]"),
		newSwitchFlag("sandbox", "issue tokens from a built-in WeChat simulator: no account needed"))
}

func (p program) serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "the daemon: refreshes on schedule, answers HTTP",
		Description: `Run as many as you like on one Redis: one of them refreshes, all have the token.

All processes with the AppSecret of an account must share one Redis: without
--redis, a serve that has a secret refuses to start. --embedded-redis runs one in
this process, if no other machine has the secret; --sandbox does so to try it.
A --sandbox with a --redis keeps its tokens under a prefix that ends in -sandbox,
and uses no configured secret.
SIGHUP, or a change of the configuration or of a file that it names, is taken over:
accounts, users, secrets, seal keys, certificate.
Whoever asks over HTTP needs a name and a password: users: in the configuration,
--user, or the one that is made up and printed.
SIGTERM drains: /readyz is 503 for --drain-delay, then the port is closed, and a
call to the issuer that is under way is finished and stored: give it --drain-delay
and 15 seconds before a SIGKILL. A second SIGTERM ends at once.`,
		Flags:  serveFlags(),
		Action: p.serve,
	}
}

func (p program) serve(c *cli.Context) error {
	if c.Args().Present() {
		return usagef("serve takes no names: got %s", strings.Join(c.Args().Slice(), " "))
	}
	s, err := p.configured(c, p.input(c))
	if err != nil {
		return err
	}
	return s.runDaemon(func() error {
		d := &daemon{session: s, started: s.cfg, input: p.input(c), metrics: metrics.New(version())}
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

// daemon is a running serve.
type daemon struct {
	*session
	started *config.Config // what of it cannot change runs until the end
	input   config.Input   // read again at a reload
	metrics *metrics.Metrics

	zk       *coordinator.Coordinator
	listener net.Listener
	frontend
	embedded *embeddedRedis // nil: a real one
	sandbox  *sandboxServer // nil: the issuer is a real one
}

var errNoAccount = usagef("no account: give --appid and --secret-file (or --config FILE), or try it with --sandbox")

// prepare takes everything that can be taken already, so that all that can be
// wrong from the start is said before the first call to the issuer.
func (d *daemon) prepare(sandboxed bool) error {
	at, err := chooseStore(d.cfg, sandboxed)
	if err != nil {
		return err
	}
	if sandboxed {
		l, err := listenForSandbox()
		if err != nil {
			return err
		}
		if d.sandbox, err = startSandbox(l, d.log); err != nil {
			return err
		}
		if err := d.sandbox.replaceWeChat(d.cfg); err != nil {
			return err
		}
	}
	if len(d.cfg.Accounts) == 0 {
		return errNoAccount
	}
	if d.listener, err = listen(d.cfg.Listen, "--listen"); err != nil {
		return err
	}
	if at.embedded {
		if d.embedded, err = startEmbeddedRedis(d.embeddedRedis); err != nil {
			return err
		}
		at.url = d.embedded.url()
	}
	if err := d.open(at.url, at.prefix); err != nil {
		return err
	}
	cfg := d.coordinatorConfig()
	cfg.Observe = d.observe
	for _, a := range d.cfg.Accounts {
		account, err := newAccountConfig(a)
		if err != nil {
			return err
		}
		cfg.Accounts = append(cfg.Accounts, account)
	}
	if d.zk, err = newCoordinator(cfg); err != nil {
		return err
	}
	d.metrics.Follow(d.zk)
	d.metrics.FollowLog(d.queue.Dropped)
	return d.openFrontend()
}

// shutdownGrace is how long answers under way may take after SIGTERM.
const shutdownGrace = 15 * time.Second

// ballast is memory that is never touched, so that it never becomes resident.
// It counts as part of the heap: the collector runs when that much was
// allocated anew. What a daemon keeps alive is so little (3 MB) that it ran a
// hundred times a second under load, for a tenth of each request's CPU. A higher
// GOGC would do the same, and multiply what ten thousand waiting requests keep.
const heapFloor = 16 << 20

// run serves until signalled ends and the drain delay is over, and then until
// everything that was begun is done.
func (d *daemon) run(signalled context.Context) error {
	untouched := make([]byte, heapFloor)
	defer runtime.KeepAlive(untouched)
	d.announce()
	ctx, stop := context.WithCancelCause(context.WithoutCancel(signalled))
	defer stop(nil)
	defer context.AfterFunc(signalled, func() {
		d.drain(ctx)
		stop(context.Canceled)
	})()
	context.AfterFunc(ctx, func() { d.log.Info("stopping: calls under way are finished first; a second signal ends at once") })

	var wg sync.WaitGroup
	wg.Go(func() { // ends when the listener is closed, by Shutdown
		if err := d.web.Serve(d.listener); err != nil {
			stop(err)
		}
	})
	wg.Go(func() { // ends with ctx
		if err := d.serveDatagrams(ctx); err != nil {
			stop(err)
		}
	})
	wg.Go(func() { d.followFiles(ctx) })     // ends with ctx
	wg.Go(func() { d.watchAttendance(ctx) }) // ends with ctx
	wg.Go(func() {                           // ends after ctx, when the answers under way are written
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		_ = d.web.Shutdown(grace) // what had no answer in time is cut off
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

// drain leaves the port open for a while, so that whatever sends requests here
// sees in /readyz that this process is about to end before it is gone.
func (d *daemon) drain(ctx context.Context) {
	delay := d.started.DrainDelay
	if delay == 0 {
		return
	}
	d.api.Drain()
	d.log.Info("draining: /readyz is 503, everything else is answered; a second signal ends at once", "for", delay)
	select {
	case <-time.After(delay):
	case <-ctx.Done():
	}
}

// announce says what this process is, before anything else: in the log, and to
// a person if the log is not for programs.
func (d *daemon) announce() {
	var accounts []string
	for _, a := range d.zk.Accounts() {
		accounts = append(accounts, fmt.Sprintf("%s (%s)", a.Name(), a.Role()))
	}
	url := fmt.Sprintf("%s://%s", d.web.Scheme(), d.listener.Addr())
	if d.cfg.LogFormat != config.FormatJSON {
		d.printAnnouncement(url, list(accounts))
	}
	d.log.Info("serving", "version", version(), "url", url, "redis", d.where(), "prefix", d.prefix, "embedded_redis", d.embedded != nil,
		"sandbox", d.sandbox != nil, "accounts", list(accounts))
	d.announceFrontend()
}

// tell is the announcement for a person.
func (d *daemon) printAnnouncement(url, accounts string) {
	redis := d.where()
	if d.embedded != nil {
		redis += " (embedded)"
	}
	fmt.Fprintf(d.stderr, "zhongkong: %s, Redis at %s, accounts: %s\n", url, redis, accounts)
	if d.embedded != nil {
		fmt.Fprintf(d.stderr, "An embedded Redis runs at %s: for the programs of this one machine.\n"+
			"It ends with this process, and the tokens in it with it; start a Redis and pass --redis to keep them.\n", d.embedded.addr())
	}
	if d.sandbox != nil {
		d.announceSandbox()
	}
}

func (d *daemon) announceSandbox() {
	fmt.Fprintf(d.stderr, "--sandbox: a WeChat simulator at %s issues the tokens; the real WeChat does not know them.\n", d.sandbox.url())
	if d.embedded == nil {
		fmt.Fprintf(d.stderr, "They are kept in Redis under the prefix %s, apart from real ones; no configured secret is used.\n", d.prefix)
	}
	command, note := d.tryCommand()
	fmt.Fprintf(d.stderr, "Try in another terminal%s: %s\n", note, command)
}

func (d *daemon) close() {
	if d.listener != nil {
		_ = d.listener.Close() // closed already, unless run was never reached
	}
	if d.udp != nil {
		_ = d.udp.Close() // likewise
	}
	d.session.close()
	if d.embedded != nil {
		d.embedded.close()
	}
	if d.sandbox != nil {
		d.sandbox.close()
	}
}

// listen opens a TCP port; option is what to name when it is taken.
func listen(address, option string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return l, nil
	case isInUse(err):
		return nil, usagef("%s is taken by another process: pass another address, such as %s 127.0.0.1:0 for any free port", address, option)
	}
	return nil, usagef("%s %s: %v", option, address, cause(err))
}
