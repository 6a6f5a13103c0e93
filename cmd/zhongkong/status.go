package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
)

func (p program) statusCommand() *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "show the state of every account (no tokens)",
		ArgsUsage: "[NAME...]",
		Description: `Without names: the configured accounts, or else all in Redis.

NEXT is when the next refresh is due, CALLS the number of calls to the issuer today
(UTC+8) and the budget, OPEN the number of calls whose result is not known yet. LABEL
is shown if an account has one.`,
		Flags:  []cli.Flag{newSwitchFlag("json", "print a JSON array")},
		Action: p.bounded(commandTimeout, status),
	}
}

func status(ctx context.Context, s *session, c *cli.Context) error {
	names, err := s.manyAccounts(ctx, c.Args().Slice())
	if err != nil {
		return err
	}
	states, err := s.store.Load(ctx, names...)
	if err != nil {
		return s.withAdvice(err)
	}
	if err := s.checkKnown(ctx, states...); err != nil {
		return err
	}
	if c.Bool("json") {
		list := make([]wire.Account, 0, len(states))
		for _, state := range states {
			list = append(list, s.accountState(state))
		}
		return s.printJSON(list)
	}
	rows := [][]string{{"ACCOUNT", "LABEL", "GENERATION", "AGE", "TTL", "NEXT", "LOCK", "CALLS", "OPEN", "LAST ERROR"}}
	labelled := false
	for _, state := range states {
		account := s.accountState(state)
		rows = append(rows, statusRow(state, account))
		labelled = labelled || account.Label != ""
	}
	if !labelled {
		for i, row := range rows {
			rows[i] = slices.Delete(row, 1, 2)
		}
	}
	return table(s.stdout, rows)
}

// accountState returns the account's state as status shows it.
func (s *session) accountState(state coordinator.State) wire.Account {
	account, configured := s.cfg.Account(state.Account)
	if !configured {
		account = config.Account{RefreshEvery: s.cfg.RefreshEvery, Limits: s.cfg.Budget}
	}
	a := wire.NewAccount(state, account.RefreshEvery, account.Limits.PerDay)
	a.Label = account.Label
	return a
}

func statusRow(state coordinator.State, a wire.Account) []string {
	generation, age, ttl := "-", "-", "none"
	if r := state.Record; r.Usable() {
		generation = fmt.Sprint(a.Generation)
		age, ttl = brief(state.Now.Sub(r.IssuedAt)), brief(r.TTL)
	}
	next := "now"
	if in := a.NextRefresh.Sub(state.Now); in > 0 {
		next = "in " + brief(in)
	}
	lock := "-"
	if a.LockHolder != "" {
		lock = fmt.Sprintf("%s (%s)", a.LockHolder, brief(state.HolderTTL))
	}
	open := fmt.Sprint(a.Open)
	if overdue := state.Overdue(); overdue > 0 {
		open = fmt.Sprintf("%d (%d overdue)", a.Open, overdue)
	}
	trouble := failureCell(a.LastError, state.Now)
	switch {
	case a.Error != "":
		trouble = a.Error
	case unattended(state, a.NextRefresh.Time):
		trouble = "no process with the AppSecret answers: start zhongkong serve"
	}
	return []string{
		a.Name, dash(a.Label), generation, age, ttl, next, lock,
		fmt.Sprintf("%d/%d", a.CallsToday, a.CallsPerDay), open, trouble,
	}
}

// failureCell returns a failure in one phrase, and whether it is over.
func failureCell(e *wire.Failure, now time.Time) string {
	if e == nil {
		return "-"
	}
	text := e.Message
	if e.Code != "" {
		text = fmt.Sprintf("%s: %s", e.Code, text)
	}
	ago := brief(max(now.Sub(e.At.Time), 0)) + " ago"
	switch {
	case e.InARow == 0:
		return fmt.Sprintf("%s (%s, over)", text, ago)
	case e.InARow > 1:
		return fmt.Sprintf("%s (%s, %d in a row)", text, ago, e.InARow)
	}
	return fmt.Sprintf("%s (%s)", text, ago)
}
