package main

import (
	"context"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
)

func (p program) refreshCommand() *cli.Command {
	return &cli.Command{
		Name:      "refresh",
		Usage:     "force a new token and print it",
		ArgsUsage: "[NAME]",
		Description: `The issuer ends the previous token within minutes; all processes of Zhongkong have
the new one at once. With --if-token, a token that is no longer current causes no
refresh: the current one is printed.`,
		Flags: append(tokenFlags(), newValueFlag("if-token", "T", "",
			"refresh only if T is still current; - reads T from stdin, where no process list shows it [$"+envIfToken+"]")),
		Action: p.refresh,
	}
}

const envIfToken = "ZHONGKONG_IF_TOKEN"

func (p program) refresh(c *cli.Context) error {
	format, err := formatOf(c)
	if err != nil {
		return err
	}
	rejected, err := p.rejectedToken(c)
	if err != nil {
		return err
	}
	return p.awaiting(c, c.Args().Slice(), func(ctx context.Context, s *session, name string) error {
		ctx = coordinator.WithCaller(ctx, whoRuns()+" (cli)")
		return s.useFrom(name, func(a *coordinator.Account) (coordinator.Snapshot, error) {
			if rejected.IsZero() {
				return a.Refresh(ctx)
			}
			return a.Invalidate(ctx, rejected)
		}, func(r wire.Token) error { return format.print(p, r) })
	})
}

// whoRuns returns the user of this process, for the log of the account.
func whoRuns() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "uid " + strconv.Itoa(os.Getuid())
}

// rejectedToken returns the token of --if-token, or the zero Token.
func (p program) rejectedToken(c *cli.Context) (coordinator.Token, error) {
	given, from := c.String("if-token"), "--if-token"
	switch {
	case !c.IsSet("if-token"):
		if given, from = p.env(envIfToken), envIfToken; given == "" {
			return coordinator.Token{}, nil
		}
	case given == "-":
		line, err := p.readLine(c.Context)
		if err != nil {
			return coordinator.Token{}, err
		}
		given, from = line, "stdin"
	}
	token := coordinator.NewToken(strings.TrimSpace(given))
	if token.IsZero() {
		return token, usagef("--if-token: the token from %s is empty", from)
	}
	return token, nil
}
