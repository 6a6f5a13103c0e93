package wecom_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wecom"
	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

// family is an app with both its tickets.
func family(secret string) []account {
	return []account{
		with("sales", secret),
		{name: "sales.corp", parent: "sales", config: wecom.Config{Kind: wecom.JSAPITicket}},
		{name: "sales.agent", parent: "sales", config: wecom.Config{Kind: wecom.AgentTicket}},
	}
}

// sign takes a ticket as a service does that signs with it, and returns for how long
// WeCom no longer accepts it; 0: it does.
func (f *fleet) sign(m *member, name string, kind wecomtest.Kind, app string) (dead time.Duration) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
	defer cancel()
	ticket, err := m.accounts[name].Token(ctx)
	i, ok := f.sandbox.Lookup(ticket.Reveal())
	if err != nil || !ok || i.Kind != kind || i.App != app {
		f.t.Fatalf("%v: %s is %s of %q: %v, want %s of %q", time.Now(), name, i.Kind, i.App, err, kind, app)
	}
	return max(f.sandbox.Now().Sub(i.DiesAt), 0)
}

// Days of tickets and tokens that WeCom ends early: no page is signed with a ticket
// that was dead for longer than the period of asking, whatever WeCom says of lives.
func TestTicketsAreServedShortlyAfterTheirEndAtMost(t *testing.T) {
	for _, whole := range []bool{false, true} {
		config := twoApps()
		knobs := wecomtest.DefaultKnobs()
		knobs.AlwaysWhole = whole
		config.Knobs = &knobs
		inFleet(t, config, family("sales-secret"), func(t *testing.T, f *fleet) {
			var longest time.Duration
			sign := func(m *member) {
				longest = max(longest,
					f.sign(m, "sales.corp", wecomtest.CorpTicket, ""),
					f.sign(m, "sales.agent", wecomtest.AgentTicket, "sales"))
			}
			const rounds, hours = 6, 6 * 7
			for range rounds {
				f.pass(5*time.Hour+13*time.Minute, sign)
				if err := errors.Join(f.sandbox.EndTicket(corpID, ""), f.sandbox.EndTicket(corpID, "sales")); err != nil {
					t.Fatal(err)
				}
				f.pass(107*time.Minute, sign)
				if err := f.sandbox.EndToken(corpID, "sales"); err != nil { // of which the tickets hear first
					t.Fatal(err)
				}
			}
			f.neverBlocked()
			if longest > 10*time.Minute {
				t.Errorf("a ticket was served %v after its end", longest)
			}
			if tokens, tickets := f.calls(pathToken), f.calls(pathCorp); tokens > 4*hours || tickets > 8*hours || tickets < 6*hours {
				t.Errorf("%d calls for tokens and %d for the corp's ticket in %d hours, want 4 and 8 an hour at most", tokens, tickets, hours)
			}
		})
	}
}

// The secret is wrong: its tickets say so at once, and are not asked for.
func TestTicketsOfARefusedAppAreNotAskedFor(t *testing.T) {
	inFleet(t, twoApps(), family("wrong-secret"), func(t *testing.T, f *fleet) {
		f.pass(10*time.Minute, func(*member) {})
		f.pass(24*time.Hour, func(m *member) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := m.accounts["sales.corp"].Token(ctx); err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("%v: Token of a ticket of a refused app: %v, want the refusal", time.Now(), err)
			}
		})
		f.neverBlocked()
		if n := f.calls(pathCorp) + f.calls(pathAgent); n != 0 {
			t.Errorf("%d calls for tickets without a token", n)
		}
		if all, inAnHour := f.wrongSecrets(); all > 13 || inAnHour > 1 {
			t.Errorf("%d wrong secrets were sent, %d within an hour", all, inAnHour)
		}
	})
}

// A ticket whose call is answered that its parent's token is dead: the parent is asked
// once, and the ticket once more.
func TestATicketHasItsParentReplaced(t *testing.T) {
	for _, code := range []int{40014, 42001} {
		config := twoApps()
		knobs := wecomtest.DefaultKnobs()
		knobs.ExpiredAs = code
		config.Knobs = &knobs
		inFleet(t, config, family("sales-secret"), func(t *testing.T, f *fleet) {
			f.pass(5*time.Minute, func(*member) {})
			tokens, tickets := f.calls(pathToken), f.calls(pathCorp)
			if err := errors.Join(f.sandbox.EndToken(corpID, "sales"), f.sandbox.EndTicket(corpID, "")); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			snapshot, err := f.members[0].accounts["sales.corp"].Refresh(ctx)
			if err != nil || !f.sandbox.Valid(snapshot.Token.Reveal()) {
				t.Fatalf("Refresh = %v", err)
			}
			synctest.Wait()
			if a, b := f.calls(pathToken)-tokens, f.calls(pathCorp)-tickets; a != 1 || b != 2 {
				t.Errorf("%d calls for the token and %d for the ticket, want 1 and 2", a, b)
			}
			for _, m := range f.members {
				if token, err := m.accounts["sales"].Token(ctx); err != nil || !f.sandbox.Valid(token.Reveal()) {
					t.Errorf("the parent's token at %s is dead: %v", m.name, err)
				}
			}
		})
	}
}
