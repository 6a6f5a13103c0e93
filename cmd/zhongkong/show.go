package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
)

func (p program) showCommand() *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "print the current token, alone on stdout",
		ArgsUsage: "[NAME]",
		Description: `Waits for a token if there is none. With the account's secret it fetches one itself if
no other process does; without the secret it requests one from the processes that have
it.

   curl "https://api.weixin.qq.com/...?access_token=$(zhongkong show)"

With --sandbox everything that a token takes runs in this process: a WeChat simulator
that issues it, and a Redis that keeps it. No account, secret or Redis that is
configured is used, and the real WeChat does not know the token.`,
		Flags: append(tokenFlags(),
			newSwitchFlag("sandbox", "a token of a built-in WeChat simulator: no account and no Redis needed")),
		Action: p.show,
	}
}

func tokenFlags() []cli.Flag {
	return []cli.Flag{
		newValueFlag("wait", "D", "10s", "how long to wait for a token"),
		newSwitchFlag("json", "print the whole record as JSON"),
	}
}

func (p program) show(c *cli.Context) error {
	return p.awaiting(c, func(ctx context.Context, s *session, name string) error {
		// Usually there is a token, and one read suffices.
		began := time.Now()
		states, err := s.store.Load(ctx, name)
		if err != nil {
			return s.withAdvice(err)
		}
		if r := states[0].Record; r.Usable() {
			return s.printRecord(c, name, coordinator.Snapshot{Record: r}, began)
		}
		return s.printFrom(c, name, func(a *coordinator.Account) (coordinator.Snapshot, error) { return a.Current(ctx) })
	})
}

// awaiting calls f with the account that the command is for, and a context that ends
// after --wait.
func (p program) awaiting(c *cli.Context, f func(ctx context.Context, s *session, name string) error) error {
	s, err := p.session(c)
	if err != nil {
		return err
	}
	defer s.close()
	ctx, cancel, err := waiting(c)
	if err != nil {
		return err
	}
	defer cancel()
	name, err := s.awaitedAccount(ctx, c.Args().Slice())
	if err != nil {
		return err
	}
	return f(ctx, s, name)
}

// printFrom prints the token that f gets from an account.
func (s *session) printFrom(c *cli.Context, name string, f func(*coordinator.Account) (coordinator.Snapshot, error)) error {
	err := s.withAccount(name, func(a *coordinator.Account) error {
		snapshot, err := f(a)
		if err != nil {
			return err
		}
		return s.printRecord(c, name, snapshot, time.Now())
	})
	return s.withoutToken(name, err)
}

func waiting(c *cli.Context) (context.Context, context.CancelFunc, error) {
	d, err := config.ParseDuration(c.String("wait"))
	if err != nil {
		return nil, nil, usagef("--wait: %v", err)
	}
	ctx, cancel := context.WithTimeout(c.Context, d)
	return ctx, cancel, nil
}

// printRecord prints the token, or with --json the record, whose TTL was
// measured at the given time.
func (s *session) printRecord(c *cli.Context, name string, r coordinator.Snapshot, at time.Time) error {
	if !c.Bool("json") {
		return s.printToken(r.Token)
	}
	return s.printJSON(wire.NewToken(name, r, at))
}

// printToken prints a token alone. It refuses one with a control character, which no
// issuer sends: it could control the terminal or add a header to a script's request.
func (p program) printToken(t coordinator.Token) error {
	text := t.Reveal()
	if escape(text) != text {
		return errors.New("the token in Redis has control characters, so it was not written by Zhongkong: find the program that writes to Redis, then run zhongkong refresh")
	}
	_, err := fmt.Fprintln(p.stdout, text)
	return err
}

// withAccount runs f with an account of a new coordinator. It returns when a call to
// the source that f caused has ended and its token is stored.
func (s *session) withAccount(name string, f func(*coordinator.Account) error) error {
	zk, err := s.coordinator(name)
	if err != nil {
		return err
	}
	a, _ := zk.Account(name)
	err = f(a)

	// Returning now could lose a token that the source has issued.
	drain, cancel := context.WithTimeout(context.Background(), s.cfg.FetchTimeout+drainGrace)
	defer cancel()
	if derr := zk.Drain(drain); derr != nil && !errors.Is(err, context.Canceled) {
		err = errors.Join(err, fmt.Errorf("a call to the source is still under way: %w", derr))
	}
	return err
}

// drainGrace is how long it may take to store a token after the source's answer.
const drainGrace = 10 * time.Second
