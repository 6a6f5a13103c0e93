package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

func (p program) historyCommand() *cli.Command {
	return &cli.Command{
		Name:        "history",
		Usage:       "show the log of an account, newest first (no tokens)",
		ArgsUsage:   "[NAME]",
		Description: "Redis keeps about the last 5000 entries of all accounts together; a cluster about the last 50 of each account.",
		Flags: []cli.Flag{
			newValueFlag("n", "N", "20", "at most N entries; 0: all"),
			newSwitchFlag("json", "print a JSON array"),
		},
		Action: p.bounded(commandTimeout, history),
	}
}

func history(ctx context.Context, s *session, c *cli.Context) error {
	n, err := strconv.Atoi(c.String("n"))
	switch {
	case err != nil || n < 0:
		return usagef("-n: %q is not a number of entries: write 0 or more", c.String("n"))
	case n == 0:
		n = redisadmin.WholeLog
	}
	name, err := s.oneAccount(ctx, s.cfg, c.Args().Slice())
	if err != nil {
		return err
	}
	entries, err := redisadmin.New(s.store).History(ctx, name, n)
	if err != nil {
		return s.withAdvice(err)
	}
	if len(entries) == 0 {
		if states, err := s.store.Load(ctx, name); err == nil {
			if err := s.checkKnown(ctx, states...); err != nil {
				return err
			}
		}
	}
	if c.Bool("json") {
		list := make([]wire.LogEntry, 0, len(entries))
		for _, e := range entries {
			list = append(list, wire.NewLogEntry(e))
		}
		return s.printJSON(list)
	}
	rows := [][]string{{"TIME", "EVENT", "REASON", "ASKED BY", "BY", "TOOK", "FENCE", "DETAIL"}}
	for _, e := range entries {
		took := "-"
		if e.Took > 0 {
			took = brief(e.Took)
		}
		rows = append(rows, []string{
			e.At.Local().Format("2006-01-02 15:04:05.000"), e.Event, dash(string(e.Reason)), dash(e.AskedBy), dash(e.By),
			took, fmt.Sprint(e.Fence), dash(entryDetail(e)),
		})
	}
	return table(s.stdout, rows)
}

// repeatedWords say that Record.Repeated is set.
const repeatedWords = "the issuer repeated the token that was to be replaced"

// entryDetail returns what the other columns do not say.
func entryDetail(e redisadmin.Entry) string {
	switch e.Event {
	case "refreshed":
		detail := "lives " + brief(e.Life)
		if e.Repeated {
			detail += ", " + repeatedWords
		}
		return detail
	case "failed":
		detail := failureWords(e.Code, e.Error)
		if e.Retry > 0 {
			detail += " (again in " + brief(e.Retry) + ")"
		}
		return detail
	case "superseded":
		return fmt.Sprintf("not stored: attempt %d had begun", e.Newer)
	case "conflict":
		return "an outside program fetched a token for this account"
	case "reported":
		return fmt.Sprintf("the issuer rejected token %d", e.Seen)
	case "restored":
		return "restored after Redis lost it, lives " + brief(e.Life)
	case "consented":
		return "a new grant was put in, or the old one withdrawn"
	case "grant-restored":
		return "the grant was restored after Redis lost it"
	}
	return ""
}
