package main

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

// grantState is the state of an account's grant, without its tokens, as grant status
// --json gives it.
type grantState struct {
	Name string `json:"name"`
	*wire.Grant
}

// grantStatus prints the state of grants.
func grantStatus(ctx context.Context, s *session, c *cli.Context, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	states, err := s.loadStates(ctx, args)
	if err != nil {
		return err
	}
	sealed := make([]error, len(states))
	if s.keys != nil {
		inParallel(len(states), func(i int) {
			if _, err := redisadmin.New(s.store).SealedGrant(ctx, states[i].Account); cannotBeOpened(err) {
				sealed[i] = err
			}
		})
	}
	grants := []grantState{}
	rows := [][]string{{"ACCOUNT", "GRANT", "OBTAINED", "UNUSED UNTIL", "ENDS", "WHAT TO DO"}}
	for i, state := range states {
		a, _ := s.cfg.Account(state.Account)
		a.Grant.Needed = a.Grant.Needed || len(args) > 0 // who names an account asks for it
		g := grantOf(state, a)
		if g == nil {
			continue
		}
		condition := string(g.Condition)
		if sealed[i] != nil {
			condition += ", cannot be opened here"
			g.Advice = sealed[i].Error()
		}
		grants = append(grants, grantState{state.Account, g})
		in := func(at wire.Time) string {
			if at.IsZero() {
				return "-"
			}
			return "in " + brief(at.Sub(state.Now))
		}
		obtained := "-"
		if !g.ObtainedAt.IsZero() {
			obtained = brief(max(state.Now.Sub(g.ObtainedAt.Time), time.Duration(0))) + " ago"
		}
		rows = append(rows, []string{state.Account, condition, obtained, in(g.IdleUntil), in(g.EndsAt), dash(g.Advice)})
	}
	if c.Bool("json") {
		return s.printJSON(grants)
	}
	return table(s.stdout, rows)
}
