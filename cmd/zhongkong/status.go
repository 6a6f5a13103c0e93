package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/coordinator"
)

func (p program) statusCommand() *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "how every account is, without tokens",
		ArgsUsage: "[NAME...]",
		Description: `Without names: the configured accounts, or else all in Redis.

NEXT is when the next refresh is due, CALLS the calls to the issuer today (UTC+8)
and the budget, OPEN the calls whose outcome nobody knows yet. LABEL is there if an
account has one.`,
		Flags:  []cli.Flag{newSwitchFlag("json", "one array of objects")},
		Action: p.status,
	}
}

func (p program) status(c *cli.Context) error {
	s, err := p.session(c)
	if err != nil {
		return err
	}
	defer s.close()
	ctx, cancel := context.WithTimeout(c.Context, commandTimeout)
	defer cancel()
	names, err := s.manyAccounts(ctx, c.Args().Slice())
	if err != nil {
		return err
	}
	states, err := s.load(ctx, names...)
	if err != nil {
		return s.explain(err)
	}
	if err := s.known(ctx, states...); err != nil {
		return err
	}
	if c.Bool("json") {
		list := make([]accountStatus, 0, len(states))
		for _, state := range states {
			list = append(list, s.accountStatus(state))
		}
		return s.printJSON(list)
	}
	rows := [][]string{{"ACCOUNT", "LABEL", "GENERATION", "AGE", "TTL", "NEXT", "LOCK", "CALLS", "OPEN", "LAST ERROR"}}
	labelled := false
	for _, state := range states {
		account := s.accountStatus(state)
		rows = append(rows, account.row(state.Now))
		labelled = labelled || account.Label != ""
	}
	if !labelled {
		for i, row := range rows {
			rows[i] = slices.Delete(row, 1, 2)
		}
	}
	return table(s.stdout, rows)
}

// commandTimeout bounds the commands that only read.
const commandTimeout = 10 * time.Second

// accountStatus is one account as status prints it.
type accountStatus struct {
	Name        string            `json:"name"`
	Label       string            `json:"label,omitempty"` // for people
	Generation  coordinator.Fence `json:"generation"`
	IssuedAt    string            `json:"issued_at,omitempty"`
	IssuedBy    string            `json:"issued_by,omitempty"`
	AgeSeconds  float64           `json:"age_seconds"`
	TTLSeconds  float64           `json:"ttl_seconds"`
	NextRefresh string            `json:"next_refresh,omitempty"`
	LockHolder  string            `json:"lock_holder,omitempty"`
	CallsToday  int               `json:"calls_today"`
	CallsPerDay int               `json:"calls_per_day"`
	Open        int               `json:"open_attempts"`
	Overdue     int               `json:"overdue_attempts"`
	Conflicts   int               `json:"conflicts"`
	LastError   *statusError      `json:"last_error,omitempty"`
	Error       string            `json:"error,omitempty"` // why what Redis holds cannot be used

	next      time.Time
	holderTTL time.Duration
}

// statusError is the last failure.
type statusError struct {
	Kind     string `json:"kind"`
	Code     int    `json:"code"`
	Message  string `json:"message"`
	At       string `json:"at"`
	InARow   int    `json:"in_a_row"` // 0: it is over
	RetryAt  string `json:"retry_at,omitempty"`
	happened time.Time
}

func (s *session) accountStatus(state coordinator.State) accountStatus {
	r := state.Record
	account, configured := s.cfg.Account(state.Account)
	if !configured {
		account = config.Account{RefreshEvery: s.cfg.RefreshEvery, Limits: s.cfg.Budget}
	}
	a := accountStatus{
		Name:        state.Account,
		Label:       account.Label,
		Generation:  r.Generation,
		LockHolder:  state.Holder,
		holderTTL:   state.HolderTTL,
		CallsToday:  state.CallsToday,
		CallsPerDay: account.Limits.PerDay,
		Open:        len(state.Open),
		Overdue:     state.Overdue(),
		Conflicts:   state.Conflicts,
		next:        state.NextRefresh(account.RefreshEvery),
	}
	a.NextRefresh = timestamp(a.next)
	if r.Usable() {
		a.IssuedAt, a.IssuedBy = timestamp(r.IssuedAt), r.IssuedBy
		a.AgeSeconds = state.Now.Sub(r.IssuedAt).Seconds()
		a.TTLSeconds = r.TTL.Seconds()
	}
	if state.Err != nil {
		a.Error = state.Err.Error()
	}
	if f := state.Failure; f != nil {
		a.LastError = &statusError{
			Kind: string(f.Kind), Code: f.Code, Message: f.Message,
			At: timestamp(f.At), InARow: f.InARow, happened: f.At,
		}
		if f.InARow > 0 {
			a.LastError.RetryAt = timestamp(f.RetryAt)
		}
	}
	return a
}

// row is the account's line of the table, as of the store's time now.
func (a accountStatus) row(now time.Time) []string {
	generation, age, ttl := "-", "-", "none"
	if a.TTLSeconds > 0 {
		generation = fmt.Sprint(a.Generation)
		age, ttl = brief(seconds(a.AgeSeconds)), brief(seconds(a.TTLSeconds))
	}
	next := "now"
	if in := a.next.Sub(now); in > 0 {
		next = "in " + brief(in)
	}
	lock := "-"
	if a.LockHolder != "" {
		lock = fmt.Sprintf("%s (%s)", a.LockHolder, brief(a.holderTTL))
	}
	open := fmt.Sprint(a.Open)
	if a.Overdue > 0 {
		open = fmt.Sprintf("%d (%d overdue)", a.Open, a.Overdue)
	}
	trouble := a.LastError.words(now)
	if a.Error != "" {
		trouble = a.Error
	}
	return []string{
		a.Name, dash(a.Label), generation, age, ttl, next, lock,
		fmt.Sprintf("%d/%d", a.CallsToday, a.CallsPerDay), open, trouble,
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// words says in one phrase what went wrong and whether it is over.
func (e *statusError) words(now time.Time) string {
	if e == nil {
		return "-"
	}
	text := e.Message
	if e.Code != 0 {
		text = fmt.Sprintf("%d: %s", e.Code, text)
	}
	ago := brief(max(now.Sub(e.happened), 0)) + " ago"
	switch {
	case e.InARow == 0:
		return fmt.Sprintf("%s (%s, over)", text, ago)
	case e.InARow > 1:
		return fmt.Sprintf("%s (%s, %d in a row)", text, ago, e.InARow)
	}
	return fmt.Sprintf("%s (%s)", text, ago)
}
