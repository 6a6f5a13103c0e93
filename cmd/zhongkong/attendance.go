package main

import (
	"fmt"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/page"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
)

// This file judges by what Redis has of an account whether a process refreshes it.

// attended reports whether a process refreshes the account although a refresh is
// due: after a failed call it waits before the next.
func attended(state coordinator.State) bool {
	f := state.Failure
	return f != nil && f.InARow > 0 && state.Now.Sub(f.RetryAt) < page.LateAfter
}

// awaited reports whether a refresh token was presented, and the answer may still come.
func awaited(state coordinator.State) bool {
	return state.Grant != nil && state.Grant.At(state.Now) == coordinator.GrantPresented
}

const awaitedWords = "the refresh token was presented, and the issuer's answer is awaited"

// unattended reports whether a refresh is due, at next, that no process makes.
func unattended(state coordinator.State, next time.Time) bool {
	late := state.Now.Sub(next) > page.LateAfter || !state.Record.Usable()
	return late && state.Err == nil && !attended(state) && state.Holder == "" && len(state.Open) == state.Overdue()
}

// hold keeps every process from a refresh that is due.
type hold struct{ why, fix string }

// holdOf returns nil if nothing does: where a refresh is late then, no process with the account's
// secret runs.
func holdOf(state coordinator.State, a wire.Account, limits coordinator.Limits) *hold {
	switch g := a.Grant; {
	case a.ParentError != "":
		return &hold{fmt.Sprintf("waits for %s: %s", a.Parent, a.ParentError), "zhongkong doctor " + a.Parent}
	case awaited(state):
		return &hold{awaitedWords, "wait, and see zhongkong grant status " + a.Name}
	case g != nil && g.NeedsAttention() && (g.Pushed || g.Condition == coordinator.GrantDoubt && state.Record.Usable()):
		return &hold{g.Advice, "see grant"}
	case spent(state, limits):
		return &hold{spentWords(state, limits), "see budget"}
	}
	return nil
}

// spent reports whether all calls of the present period of the limits are made.
func spent(state coordinator.State, limits coordinator.Limits) bool {
	return limits.PerDay > 0 && state.CallsToday >= limits.PerDay
}

// plan is by what an account is refreshed.
type plan struct {
	every  time.Duration
	limits coordinator.Limits
	known  bool // what refreshes the account keeps to these limits; otherwise they are a guess
}

// account returns the form of a state, with the next refresh that the calls allow.
func (p plan) account(state coordinator.State) wire.Account {
	a := wire.NewAccount(state, p.every, p.limits)
	if held := p.heldUntil(state); !held.IsZero() {
		a.NextRefresh.Time = held
	}
	return a
}

// heldUntil returns when the next period of the limits begins, if the schedule comes to a refresh
// before that and all calls of the present one are made; otherwise the zero time.
func (p plan) heldUntil(state coordinator.State) time.Time {
	if !p.known || !spent(state, p.limits) {
		return time.Time{}
	}
	length, before := p.limits.Windows()
	now := time.Duration(state.Now.UnixMilli()) * time.Millisecond
	end := state.Now.Add(length - (now+before)%length)
	if !state.NextRefresh(p.every).Before(end) {
		return time.Time{}
	}
	return end
}

func spentWords(state coordinator.State, limits coordinator.Limits) string {
	when, until := period(limits)
	return fmt.Sprintf("%d of %d calls %s: no process may call until %s", state.CallsToday, limits.PerDay, when, until)
}

// period returns in words which period limits are about, and when the next one begins.
func period(limits coordinator.Limits) (when, until string) {
	switch {
	case limits.Budget() == coordinator.LimitWindow:
		return "in " + brief(limits.Window), "the next period of " + brief(limits.Window)
	case !limits.WeChatDays():
		return "today", "the issuer's next day"
	}
	return "today", "midnight (UTC+8)"
}
