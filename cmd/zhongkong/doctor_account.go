package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/page"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

func (x checks) accountChecks(ctx context.Context) {
	account, configured := x.cfg.Account(x.account)
	mayRefresh := configured && x.cfg.Refreshing(account)
	states, err := x.store.Load(ctx, x.account)
	switch {
	case errors.Is(err, redisstore.ErrDenied):
		x.fail("token", "see rights", "%v", err)
		return
	case err != nil:
		x.fail("token", "", "%v", err)
		return
	}
	state := states[0]
	if err := x.checkKnown(ctx, state); err != nil {
		x.fail("token", "give the NAME of an account that is there, or configure this one", "%v", err)
		return
	}
	if x.unusable(ctx, state, account) {
		return
	}
	usable := x.grant(ctx, state, account)
	ready := mayRefresh && x.parent(ctx, account) && x.credential(ctx, account, state) && usable
	if !state.Record.Usable() && ready {
		state = x.firstToken(ctx, state)
	}
	notTried := ""
	if !configured {
		notTried = "the account is not configured here"
	}
	h := x.hold(ctx, state)
	x.token(ctx, state, account, notTried, h)
	x.sealing(ctx, state)
	x.schedule(state, account, x.plan(x.account), h)
	x.lastFailure(state, account, mayRefresh)
	x.openAttempts(state, h)
	x.conflicts(ctx, state, account, mayRefresh)
	x.budget(state)
}

// unusable reports whether the data of the account in Redis cannot be used. The grant may be
// sealed with the same key that is missing.
func (x checks) unusable(ctx context.Context, state coordinator.State, a config.Account) bool {
	fix := ""
	if errors.Is(state.Err, coordinator.ErrSealed) {
		fix = x.unsealFix(ctx)
	}
	if state.Err != nil {
		x.fail("token", fix, "%v", state.Err)
		if grantOf(state, a) != nil {
			x.grantSealing(ctx)
		}
	}
	return state.Err != nil
}

// members checks the accounts that live on the configured ones and appear by themselves,
// by what Redis has of them: there may be thousands, too many for calls to the issuer.
func (x checks) members(ctx context.Context) {
	configured := len(x.cfg.Accounts)
	x.addMembers(ctx)
	names := x.configuredNames()[configured:]
	if len(names) == 0 {
		return
	}
	states, err := x.store.Load(ctx, names...)
	if err != nil {
		x.fail("members", "", "%v", err)
		return
	}
	accounts, err := x.accountStates(ctx, states)
	if err != nil {
		x.fail("members", "", "%v", err)
		return
	}
	for i, state := range states {
		x.account = state.Account
		account, _ := x.cfg.Account(x.account)
		if x.unusable(ctx, state, account) {
			continue
		}
		x.grant(ctx, state, account)
		h := holdOf(state, accounts[i], account.Limits)
		x.token(ctx, state, account, "only the accounts of the configuration are", h)
		x.sealing(ctx, state)
		x.schedule(state, account, x.plan(x.account), h)
		x.lastFailure(state, account, false)
	}
}

// hold returns what keeps every process from refreshing the account.
func (x checks) hold(ctx context.Context, state coordinator.State) *hold {
	accounts, err := x.accountStates(ctx, []coordinator.State{state})
	if err != nil { // its parent cannot be read, which other checks say
		accounts = []wire.Account{x.accountState(state)}
	}
	return holdOf(state, accounts[0], x.plan(state.Account).limits)
}

const firstTokenWait = 15 * time.Second

// firstToken refreshes the account, which is due anyway, and returns the state
// afterwards. A call that is under way then goes on beside the other checks, which have
// only a minute together; doctor waits for it at its end.
func (x checks) firstToken(ctx context.Context, before coordinator.State) coordinator.State {
	zk, err := x.coordinator(x.account)
	if err == nil {
		a, _ := zk.Account(x.account)
		wait, cancel := context.WithTimeout(ctx, firstTokenWait)
		defer cancel()
		_, err = a.Current(wait)
		if drainWithin(drainMoment, zk) != nil {
			x.undrained = append(x.undrained, zk)
		}
	}
	if err != nil {
		x.fail("refresh", "", "there was no token, and getting one failed: %v", err)
	} else {
		x.ok("refresh", "there was no token; one was fetched and stored")
	}
	states, err := x.store.Load(ctx, x.account)
	if err != nil {
		return before
	}
	return states[0]
}

func (x checks) token(ctx context.Context, state coordinator.State, a config.Account, notTried string, h *hold) {
	r := state.Record
	switch {
	case r.Usable():
	case awaited(state):
		x.warn("token", h.fix, "there is none yet: %s", h.why)
		return
	case attended(state):
		x.fail("token", "see last call: a process tries and fails", "there is none")
		return
	case h != nil:
		x.fail("token", h.fix, "there is none: %s", h.why)
		return
	default:
		x.fail("token", "start a process with the account's secret: zhongkong serve", "there is none")
		return
	}
	about := fmt.Sprintf("issued %s ago by %s, lives %s", brief(state.Now.Sub(r.IssuedAt)), r.IssuedBy, brief(r.TTL))
	if r.Repeated {
		about += "; " + repeatedWords
	}
	if notTried != "" {
		x.ok("token", "%s (not tried: %s)", about, notTried)
		return
	}
	err := x.probe(ctx, r.Token, a)
	switch {
	case err == nil:
		x.ok("token", "%s; the issuer accepts it", about)
	case errors.Is(err, httpsource.ErrNoProbe):
		x.ok("token", "%s (not tried: there is no call for that)", about)
	case errors.Is(err, sources.ErrRejected) && repeats(a) == coordinator.RepeatKills:
		x.fail("token", otherProgram(a)+" and let it ask here; then: zhongkong refresh "+x.account, "%s; the issuer rejects it: %v", about, err)
	case errors.Is(err, sources.ErrRejected):
		x.fail("token", "zhongkong refresh "+x.account, "%s; the issuer rejects it: %v", about, err)
	default:
		x.warn("token", "check that this machine reaches "+place(a), "%s; could not be tried: %v", about, err)
	}
}

// schedule finds accounts that no process refreshes, or not before their token
// ends.
func (x checks) schedule(state coordinator.State, a config.Account, plan plan, h *hold) {
	in, held := state.NextRefresh(plan.every).Sub(state.Now), plan.heldUntil(state)
	switch {
	case !state.Record.Usable(): // said by token
	case in < -page.LateAfter && attended(state):
		x.fail("schedule", "see last call", "a refresh was due %s ago, and refreshes fail", brief(-in))
	case in < -page.LateAfter && h != nil:
		x.warn("schedule", h.fix, "a refresh was due %s ago: %s", brief(-in), h.why)
	case in < -page.LateAfter:
		x.fail("schedule", "start a process with the account's secret, better two: zhongkong serve", "a refresh was due %s ago, and no process made it", brief(-in))
	case held.Sub(state.Now) > state.Record.TTL:
		x.fail("schedule", "see budget", "the token ends in %s, but no process may refresh it for %s, until calls are left again",
			brief(state.Record.TTL), brief(held.Sub(state.Now)))
	case !held.IsZero():
		x.ok("schedule", "the next refresh is due in %s, when calls are left again", brief(held.Sub(state.Now)))
	case in > state.Record.TTL:
		x.fail("schedule", x.beforeTheEnd(state, a), "the token ends in %s, but the next refresh comes in %s, when the back-off of the last failure ends",
			brief(state.Record.TTL), brief(in))
	default:
		x.ok("schedule", "the next refresh is due in %s", brief(max(in, 0)))
	}
}

func (x checks) beforeTheEnd(state coordinator.State, a config.Account) string {
	fix := "then: zhongkong refresh " + x.account
	if f := state.Failure; f != nil && sources.Hint(a.Source, f.Code) != "" {
		return sources.Hint(a.Source, f.Code) + "; " + fix
	}
	return "see last call; " + fix
}

func (x checks) lastFailure(state coordinator.State, a config.Account, tried bool) {
	f := state.Failure
	switch {
	case f == nil || f.InARow == 0:
		return
	case refusedAnother(f, a, tried):
		x.ok("last call", "the issuer refused another %s than the one here, which that does not hold up: %s (%s ago)",
			secretName(a), failureWords(f.Code, f.Message), brief(state.Now.Sub(f.At)))
	case f.Kind == coordinator.FailedRefused && !tried:
		x.fail("last call", sources.Hint(a.Source, f.Code), "the issuer refused: %s (%s ago)", failureWords(f.Code, f.Message), brief(state.Now.Sub(f.At)))
	default:
		x.warn("last call", "zhongkong history "+x.account, "failed, %d in a row: %s (%s ago, again in %s)",
			f.InARow, failureWords(f.Code, f.Message), brief(state.Now.Sub(f.At)), brief(max(f.RetryAt.Sub(state.Now), 0)))
	}
}

// refusedAnother reports whether the issuer has refused another secret than that of this process.
// With a grant, or a parent's token, the secret alone does not tell.
func refusedAnother(f *coordinator.Failure, a config.Account, mayRefresh bool) bool {
	if f.Kind != coordinator.FailedRefused || f.Credential == "" || !mayRefresh || a.Grant.Needed || a.Of != "" {
		return false
	}
	cfg, _ := newAccountConfig(a, true) // an error was found before
	source, ok := cfg.Source.(coordinator.Credentialed)
	return ok && source.Credential() != f.Credential
}

func (x checks) openAttempts(state coordinator.State, h *hold) {
	if len(state.Open) == 0 || state.Now.Sub(state.Open[0]) <= page.LateAfter {
		return
	}
	fix, unattended := "start a process with the account's secret", ", and no process refreshes"
	switch {
	case attended(state):
		fix, unattended = "see last call: the next one that succeeds settles them", ""
	case h != nil:
		fix, unattended = h.fix+"; the next call that succeeds settles them", ""
	}
	x.warn("attempts", fix, "%d overdue, the oldest for %s: whether they issued a token is unknown%s",
		state.Overdue(), brief(state.Now.Sub(state.Open[0])), unattended)
}

// conflicts finds out whether a program outside the fleet refreshes the account.
func (x checks) conflicts(ctx context.Context, state coordinator.State, a config.Account, mayRefresh bool) {
	if state.Conflicts == 0 {
		if !mayRefresh || repeats(a) == coordinator.RepeatKills { // otherwise nothing shows them
			x.ok("conflicts", "no outside program was seen to refresh this account")
		}
		return
	}
	fix := otherProgram(a) + " and let it ask here, or reset the " + secretName(a)
	entries, _ := redisadmin.New(x.store).History(ctx, x.account, redisadmin.WholeLog)
	for _, e := range entries {
		ago := state.Now.Sub(e.At)
		if e.Event == "conflict" && ago < page.ConflictFor {
			x.fail("conflicts", fix, "an outside program refreshes this account: seen %d times, last %s ago", state.Conflicts, brief(ago))
			return
		}
	}
	x.warn("conflicts", fix, "an outside program was seen to refresh this account %d times; the log of the last day, as far as it goes back, has none of them", state.Conflicts)
}

func (x checks) budget(state coordinator.State) {
	plan := x.plan(x.account)
	limits := plan.limits
	if !plan.known {
		x.ok("budget", "calls in the present period: %d; the processes that refresh the account know the limit", state.CallsToday)
		return
	}
	when, until := period(limits)
	const fix = "zhongkong history shows which process calls and why; forced refreshes are refused first"
	switch used := state.CallsToday; {
	case spent(state, limits):
		x.fail("budget", "raise per_day of the account's limits, or of budget, if the issuer allows more; "+fix, "%s", spentWords(state, limits))
	case used >= limits.PerDay-limits.Reserve:
		x.fail("budget", fix, "%d of %d calls %s: only the schedule may call until %s", used, limits.PerDay, when, until)
	case used*2 >= limits.PerDay:
		x.warn("budget", fix, "%d of %d calls %s", used, limits.PerDay, when)
	default:
		x.ok("budget", "%d of %d calls %s", used, limits.PerDay, when)
	}
}
