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
(UTC+8, or by the issuer's limits) and the budget (only with the account's secret or limit in
the configuration), OPEN the number of calls whose result is not known yet. LABEL and GRANT
are shown if an account has one. GRANT is what the refresh token is worth (good, presented: a
refresh is under way, doubt: it may be used up, dead or none: a person has to log in), and
when it ends.`,
		Flags:  []cli.Flag{newSwitchFlag("json", "print a JSON array")},
		Action: p.bounded(commandTimeout, status),
	}
}

func status(ctx context.Context, s *session, c *cli.Context) error {
	states, err := s.loadStates(ctx, c.Args().Slice())
	if err != nil {
		return err
	}
	accounts, err := s.accountStates(ctx, states)
	if err != nil {
		return s.withAdvice(err)
	}
	if c.Bool("json") {
		return s.printJSON(accounts)
	}
	rows := [][]string{{"ACCOUNT", "LABEL", "GENERATION", "AGE", "TTL", "NEXT", "LOCK", "CALLS", "OPEN", "GRANT", "LAST ERROR"}}
	labelled, granted := false, false
	for i, state := range states {
		rows = append(rows, statusRow(state, accounts[i], s.plan(state.Account)))
		labelled, granted = labelled || accounts[i].Label != "", granted || accounts[i].Grant != nil
	}
	if !granted {
		rows = withoutColumn(rows, "GRANT")
	}
	if !labelled {
		rows = withoutColumn(rows, "LABEL")
	}
	return table(s.stdout, rows)
}

func withoutColumn(rows [][]string, name string) [][]string {
	at := slices.Index(rows[0], name)
	for i, row := range rows {
		rows[i] = slices.Delete(row, at, at+1)
	}
	return rows
}

// accountStates returns the accounts' states as status shows them. It reads the states
// of parents that are not among them.
func (s *session) accountStates(ctx context.Context, states []coordinator.State) ([]wire.Account, error) {
	known := map[string]coordinator.State{}
	for _, state := range states {
		known[state.Account] = state
	}
	accounts := make([]wire.Account, 0, len(states))
	var parents []string
	for _, state := range states {
		a := s.accountState(state)
		accounts = append(accounts, a)
		if _, read := known[a.Parent]; a.Parent != "" && !read {
			parents = append(parents, a.Parent)
		}
	}
	if len(parents) > 0 {
		slices.Sort(parents)
		read, err := s.store.Load(ctx, slices.Compact(parents)...)
		if err != nil {
			return nil, err
		}
		for _, state := range read {
			known[state.Account] = state
		}
	}
	for i, a := range accounts {
		if a.Parent != "" {
			accounts[i].ParentError = lacks(known[a.Parent])
		}
	}
	return accounts, nil
}

// lacks returns why an account has no token, "" if it has one.
func lacks(state coordinator.State) string {
	switch f := state.Failure; {
	case state.Record.Usable():
		return ""
	case state.Err != nil:
		return state.Err.Error()
	case f != nil && f.InARow > 0:
		return fmt.Sprintf("%s %s", f.Kind, failureWords(f.Code, f.Message))
	}
	return coordinator.ErrNoToken.Error()
}

// accountState returns the account's state, except for what its parent lacks.
func (s *session) accountState(state coordinator.State) wire.Account {
	account, _ := s.cfg.Account(state.Account)
	a := s.plan(state.Account).account(state)
	a.Grant = grantOf(state, account)
	a.Label, a.Parent = account.Label, account.Of
	return a
}

// plan returns by what an account is refreshed, as far as this process knows.
func (s *session) plan(account string) plan {
	a, configured := s.cfg.Account(account)
	if !configured {
		return plan{every: s.cfg.RefreshEvery, limits: s.cfg.Budget}
	}
	return plan{every: a.RefreshEvery, limits: a.Limits, known: s.cfg.LimitsKnown(a)}
}

// grantOf returns what an account's grant is worth; nil: it has none and needs none.
func grantOf(state coordinator.State, a config.Account) *wire.Grant {
	summary := state.Grant
	if summary == nil && a.Grant.Needed {
		summary = &coordinator.GrantSummary{Condition: coordinator.GrantNone, Received: a.Grant.Received}
	}
	return wire.NewGrant(summary, state.Now)
}

// statusRow returns what status prints of an account.
func statusRow(state coordinator.State, a wire.Account, plan plan) []string {
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
	case a.ParentError != "":
		trouble = holdOf(state, a, plan.limits).why
	case a.Grant != nil && a.Grant.Advice != "" && (trouble == "-" || a.Grant.NeedsConsent()):
		trouble = a.Grant.Advice
	case awaited(state):
		if trouble == "-" {
			trouble = awaitedWords
		}
	case !plan.heldUntil(state).IsZero():
		trouble = spentWords(state, plan.limits)
	case unattended(state, a.NextRefresh.Time):
		if h := holdOf(state, a, plan.limits); h != nil {
			trouble = h.why
			break
		}
		trouble = "no process with the account's secret answers: start zhongkong serve"
	case a.Repeated && trouble == "-":
		trouble = repeatedWords
	}
	calls := fmt.Sprint(a.CallsToday)
	if plan.known {
		calls += fmt.Sprintf("/%d", a.CallsPerDay)
	}
	if plan.known && a.CallsWindow > 0 {
		calls += " in " + brief(time.Duration(a.CallsWindow*float64(time.Second)))
	}
	return []string{
		a.Name, dash(a.Label), generation, age, ttl, next, lock,
		calls, open, grantCell(a.Grant, state.Now), trouble,
	}
}

// grantCell returns what a grant is worth and its next end in one phrase.
func grantCell(g *wire.Grant, now time.Time) string {
	if g == nil {
		return "-"
	}
	text := string(g.Condition)
	if g.NeedsAttention() {
		if !g.Since.IsZero() {
			text += " for " + brief(max(now.Sub(g.Since.Time), 0))
		}
		return text
	}
	how, next := "", time.Time{}
	g.Ends(func(end string, at time.Time) {
		if next.IsZero() || at.Before(next) {
			how, next = end, at
		}
	})
	left := brief(max(next.Sub(now), 0))
	switch {
	case next.IsZero():
		return text
	case how == wire.EndsIdle:
		return text + ", idle end in " + left
	}
	return text + ", ends in " + left
}

// failureCell returns a failure in one phrase, and whether it is over.
func failureCell(e *wire.Failure, now time.Time) string {
	if e == nil {
		return "-"
	}
	text := failureWords(e.Code, e.Message)
	ago := brief(max(now.Sub(e.At.Time), 0)) + " ago"
	switch {
	case e.InARow == 0:
		return fmt.Sprintf("%s (%s, over)", text, ago)
	case e.InARow > 1:
		return fmt.Sprintf("%s (%s, %d in a row)", text, ago, e.InARow)
	}
	return fmt.Sprintf("%s (%s)", text, ago)
}
