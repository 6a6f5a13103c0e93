package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
)

func (p program) watchCommand() *cli.Command {
	return &cli.Command{
		Name:      "watch",
		Usage:     "print each event as it happens",
		ArgsUsage: "[NAME...]",
		Description: `Without names: the configured accounts, or else all in Redis. Events that happen
while Redis is unreachable are not printed later; history has them.`,
		Flags: []cli.Flag{
			newSwitchFlag("json", "print one JSON object a line"),
			newSwitchFlag("all", "also print when a call to the issuer begins, and when a reader requests a token"),
		},
		Action: p.watch,
	}
}

func (p program) watch(c *cli.Context) error {
	s, err := p.session(c)
	if err != nil {
		return err
	}
	defer s.close()
	ask, cancel := context.WithTimeout(c.Context, commandTimeout)
	defer cancel()
	s.addMembers(ask)
	names, err := s.manyAccounts(ask, c.Args().Slice())
	if err != nil {
		return err
	}
	// Read first: a subscription would wait without end for a Redis that is down.
	if _, err := s.store.Load(ask, names[0]); err != nil {
		return s.withAdvice(err)
	}
	ctx, stop := context.WithCancelCause(c.Context)
	defer stop(nil)
	role := coordinator.Reader
	if c.Bool("all") {
		role = coordinator.Refresher
	}
	w := &watcher{session: s, stop: stop, json: c.Bool("json")}
	sub := s.store.Subscribe(w)
	sub.Add(role, names...)
	watched := s.watchFiles()
	var wg sync.WaitGroup
	wg.Go(func() { watched.follow(ctx, w.keysRefused, nil) }) // ends with ctx
	sub.Run(ctx)
	wg.Wait()
	if err := context.Cause(ctx); err != nil && c.Context.Err() == nil {
		return err // stdout is gone
	}
	return nil
}

// watcher prints events. The methods of coordinator.Watcher are called by one goroutine.
type watcher struct {
	*session
	stop     context.CancelCauseFunc
	json     bool
	followed bool // Subscribed has come once
	lost     bool // Subscribed has not come since Lost
}

// keysRefused prints that new seal keys cannot be used: the log is off by default.
func (w *watcher) keysRefused(err error) {
	fmt.Fprintf(w.stderr, "%s: %s\n", sealKeysRefused, escape(err.Error()))
}

func (w *watcher) Subscribed(accounts []string) {
	switch {
	case !w.followed:
		fmt.Fprintf(w.stderr, "watching %s\n", list(accounts))
	case w.lost:
		fmt.Fprintln(w.stderr, "Redis is back; `zhongkong history` shows what happened meanwhile")
	default: // the store wants the account to be read
		fmt.Fprintf(w.stderr, "an event of %s cannot be read; `zhongkong doctor` says why\n", list(accounts))
	}
	w.followed, w.lost = true, false
}

func (w *watcher) Lost(err error) {
	w.lost = true
	fmt.Fprintf(w.stderr, "Redis is unreachable: %s\n", escape(err.Error()))
}

func (w *watcher) Notified(e coordinator.Event) {
	var err error
	if w.json {
		err = w.printJSON(wire.NewEvent(e, time.Now()))
	} else {
		_, err = fmt.Fprintln(w.stdout, eventLine(e, time.Now()))
	}
	if err != nil {
		w.stop(fmt.Errorf("write: %w", err))
	}
}

func eventLine(e coordinator.Event, at time.Time) string {
	r := wire.NewEvent(e, at)
	line := fmt.Sprintf("%s  %-9s  %s", at.Format("15:04:05.000"), r.Type, r.Account)
	add := func(format string, args ...any) { line += "  " + fmt.Sprintf(format, args...) }
	switch e.Kind {
	case coordinator.EventRefreshed, coordinator.EventRestored:
		add("generation %d, lives %s", r.Generation, brief(e.Record.TTL))
		if r.Repeated {
			add("%s", repeatedWords)
		}
	case coordinator.EventFailed:
		add("%s, again in %s", failureWords(r.Code, r.Error), brief(e.RetryIn))
	case coordinator.EventGrant:
		add("%s", r.Grant)
	case coordinator.EventThrottled:
		add("by the %s, again in %s", r.Limit, brief(e.RetryIn))
	case coordinator.EventBegun:
		add("fence %d, for at most %s", r.Fence, brief(e.RetryIn))
	}
	if r.Reason != "" {
		add("(%s)", r.Reason)
	}
	if r.By != "" {
		add("by %s", r.By)
	}
	return escape(line)
}
