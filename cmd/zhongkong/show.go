package main

import (
	"context"
	"errors"
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
   zhongkong show --format header | curl -H @- https://api.example.com/...
   eval "$(zhongkong show --format env)"     # sets $` + tokenVariable + `

With --sandbox everything that a token takes runs in this process: a WeChat simulator
that issues it, and a Redis that keeps it. No account, secret or Redis that is
configured is used, and the real WeChat does not know the token.`,
		Flags: append(tokenFlags(),
			newSwitchFlag("sandbox", "a token of a built-in WeChat simulator: no account and no Redis needed")),
		Action: p.show,
	}
}

func tokenFlags() []cli.Flag {
	return append([]cli.Flag{waitFlag()}, formatFlags()...)
}

func waitFlag() cli.Flag { return newValueFlag("wait", "D", "10s", "how long to wait for a token") }

func (p program) show(c *cli.Context) error {
	format, err := formatOf(c)
	if err != nil {
		return err
	}
	return p.awaiting(c, c.Args().Slice(), func(ctx context.Context, s *session, name string) error {
		return s.useCurrent(ctx, name, func(r wire.Token) error { return format.print(p, r) })
	})
}

// useCurrent calls use with the record of an account's token. It waits for one if there
// is none.
func (s *session) useCurrent(ctx context.Context, name string, use func(wire.Token) error) error {
	// Usually there is a token, and one read suffices.
	began := time.Now()
	states, err := s.once.Load(ctx, name)
	if err != nil {
		return s.withAdvice(err)
	}
	if r := states[0].Record; r.Usable() {
		return use(wire.NewToken(name, coordinator.Snapshot{Record: r}, began))
	}
	return s.useFrom(name, func(a *coordinator.Account) (coordinator.Snapshot, error) { return a.Current(ctx) }, use)
}

// awaiting calls f with the account that args name, and a context that ends after --wait.
func (p program) awaiting(c *cli.Context, args []string, f func(ctx context.Context, s *session, name string) error) error {
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
	name, err := s.awaitedAccount(ctx, s.cfg, args)
	if err != nil {
		return err
	}
	return f(ctx, s, name)
}

// useFrom calls use with the record that f gets from an account.
func (s *session) useFrom(name string, f func(*coordinator.Account) (coordinator.Snapshot, error), use func(wire.Token) error) error {
	err := s.withAccount(name, func(a *coordinator.Account) error {
		snapshot, err := f(a)
		if err != nil {
			return err
		}
		return use(wire.NewToken(name, snapshot, time.Now()))
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

// withAccount runs f with an account of a new coordinator. It returns when a call to
// the source that f caused has ended and its token is stored.
func (s *session) withAccount(name string, f func(*coordinator.Account) error) error {
	zk, err := s.coordinator(name)
	if err != nil {
		return err
	}
	a, _ := zk.Account(name)
	err = f(a)
	if derr := s.drain(zk); derr != nil && !errors.Is(err, context.Canceled) {
		err = errors.Join(err, derr)
	}
	return err
}
