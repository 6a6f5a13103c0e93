package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/page"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// overdue is an account whose refresh was due an hour ago, and has a token for another.
func overdue(now time.Time) coordinator.State {
	record := coordinator.Record{
		Token: coordinator.NewToken("t"), Generation: 7, IssuedAt: now.Add(-2 * time.Hour), ExpiresAt: now.Add(time.Hour + time.Minute),
		RefreshAt: now.Add(-time.Hour), TTL: time.Hour,
	}
	return coordinator.State{Account: "crm", Now: now, Record: record}
}

// judged returns what status prints of the account and what doctor finds, by check.
func judged(state coordinator.State, account config.Account) (row []string, found map[string]finding) {
	plan := plan{every: time.Hour, limits: account.Limits, known: true}
	a := plan.account(state)
	a.Grant = grantOf(state, account)
	if a.Parent = account.Of; a.Parent != "" {
		a.ParentError = coordinator.ErrNoToken.Error()
	}
	x := checks{session: &session{cfg: new(config.Config)}, account: state.Account, findings: &[]finding{}}
	h := holdOf(state, a, plan.limits)
	x.token(context.Background(), state, account, "only read", h)
	x.schedule(state, account, plan, h)
	x.openAttempts(state, h)
	found = map[string]finding{}
	for _, f := range *x.findings {
		found[f.Check] = f
	}
	return statusRow(state, a, plan), found
}

func TestWhatKeepsEveryProcessFromARefreshIsNoMissingProcess(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	failed := &coordinator.Failure{Kind: coordinator.FailedUnknown, Message: "no answer", At: now.Add(-time.Hour), InARow: 1, RetryAt: now.Add(-50 * time.Minute)}
	lost := []time.Time{now.Add(-time.Hour)}
	received := config.Account{Grant: coordinator.GrantRules{Needed: true, Received: true}}
	for name, c := range map[string]struct {
		change  func(*coordinator.State)
		account config.Account
		words   string // "": a process is missing
	}{
		"nothing":          {func(*coordinator.State) {}, config.Account{}, ""},
		"a failure of old": {func(s *coordinator.State) { s.Failure, s.Open = failed, lost }, config.Account{}, ""},
		"calls are left":   {func(s *coordinator.State) { s.CallsToday = 29 }, config.Account{Limits: coordinator.Limits{PerDay: 30}}, ""},
		"the calls of the day are made": {func(s *coordinator.State) { s.CallsToday, s.Open = 30, lost },
			config.Account{Limits: coordinator.Limits{PerDay: 30}}, "30 of 30 calls today: no process may call until midnight (UTC+8)"},
		"those of a period are made": {func(s *coordinator.State) { s.CallsToday, s.Failure = 31, failed },
			config.Account{Limits: coordinator.Limits{PerDay: 30, Window: time.Hour}}, "31 of 30 calls in 1h00m: no process may call until the next period"},
		"the grant is in doubt": {func(s *coordinator.State) {
			s.Grant, s.Failure, s.Open = &coordinator.GrantSummary{Condition: coordinator.GrantPresented, DoubtAt: now.Add(-time.Minute)}, failed, lost
		}, config.Account{}, "is tried once more shortly before the access token ends"},
		"the grant is in doubt, and the token has ended": {func(s *coordinator.State) {
			s.Grant, s.Record = &coordinator.GrantSummary{Condition: coordinator.GrantDoubt}, coordinator.Record{}
		}, config.Account{}, ""},
		"nothing was ever pushed": {func(*coordinator.State) {}, received, "waiting for the token that the issuer pushes"},
		"nothing that was pushed is valid": {func(s *coordinator.State) {
			s.Grant = &coordinator.GrantSummary{Condition: coordinator.GrantGood, Received: true, DeadAt: now.Add(-time.Hour)}
		}, config.Account{}, "waiting for the token that the issuer pushes"},
		"the parent has no token": {func(s *coordinator.State) { s.Open = lost }, config.Account{Of: "platform"}, "waits for platform: "},
		"an answer is awaited": {func(s *coordinator.State) {
			s.Grant = &coordinator.GrantSummary{Condition: coordinator.GrantPresented, DoubtAt: now.Add(time.Minute)}
		}, config.Account{}, awaitedWords},
	} {
		t.Run(name, func(t *testing.T) {
			state := overdue(now)
			c.change(&state)
			row, found := judged(state, c.account)
			trouble := row[len(row)-1]
			if c.words == "" {
				if !state.Record.Usable() { // what is wrong with the grant goes first in status
					finds(t, found, "token", resultFail, "start a process")
					return
				}
				if !strings.Contains(trouble, "start zhongkong serve") {
					t.Errorf("status: %q", trouble)
				}
				finds(t, found, "schedule", resultFail, "start a process")
				return
			}
			if !strings.Contains(trouble, c.words) {
				t.Errorf("status: %q, want %q", trouble, c.words)
			}
			finds(t, found, "schedule", resultWarn, c.words)
			for check, f := range found {
				if strings.Contains(f.Detail+f.Fix, "start a process") || strings.Contains(f.Detail, "no process refreshes") {
					t.Errorf("%s: %s -> %s", check, f.Detail, f.Fix)
				}
			}
		})
	}
}

func TestNoRefreshIsAnnouncedBeforeCallsAreLeft(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC) // four hours before WeChat's midnight
	for name, c := range map[string]struct {
		limits         coordinator.Limits
		calls          int
		ends           time.Duration // of the token
		next           string
		trouble        string
		result, detail string // of doctor's schedule
	}{
		"calls are left": {coordinator.Limits{PerDay: 30}, 29, time.Hour, "in 30m", "-", resultOK, "due in 30m"},
		"the calls of the day are made": {coordinator.Limits{PerDay: 30}, 30, time.Hour,
			"in 4h00m", "30 of 30 calls today: no process may call until midnight (UTC+8)", resultFail, "the token ends in 1h00m, but no process may refresh it for 4h00m"},
		"and the token outlives the day": {coordinator.Limits{PerDay: 30}, 30, 5 * time.Hour,
			"in 4h00m", "30 of 30 calls today", resultOK, "due in 4h00m, when calls are left again"},
		"the next period begins before the next refresh": {coordinator.Limits{PerDay: 1, Window: 10 * time.Minute}, 1, time.Hour,
			"in 30m", "-", resultOK, "due in 30m"},
		"the next period begins after it": {coordinator.Limits{PerDay: 1, Window: 5 * time.Hour}, 1, 5 * time.Hour,
			"in 4h00m", "1 of 1 calls in 5h00m", resultOK, "due in 4h00m"},
	} {
		t.Run(name, func(t *testing.T) {
			state := overdue(now)
			state.Record.ExpiresAt, state.Record.TTL = now.Add(c.ends), c.ends
			state.Record.RefreshAt = now.Add(30 * time.Minute)
			state.CallsToday = c.calls
			row, found := judged(state, config.Account{Limits: c.limits})
			if !strings.HasPrefix(row[5], c.next) || !strings.HasPrefix(row[len(row)-1], c.trouble) {
				t.Errorf("NEXT %q, LAST ERROR %q; want %q and %q", row[5], row[len(row)-1], c.next, c.trouble)
			}
			finds(t, found, "schedule", c.result, c.detail)
		})
	}
}

func TestAReaderDoesNotMissAProcessThatMayNotCall(t *testing.T) {
	now := time.Now()
	grant := func(c coordinator.GrantCondition, received bool) *coordinator.GrantSummary {
		return &coordinator.GrantSummary{Condition: c, Received: received}
	}
	for name, c := range map[string]struct {
		change func(*coordinator.Status)
		missed bool
	}{
		"nothing":                       {func(*coordinator.Status) {}, true},
		"no token":                      {func(s *coordinator.Status) { s.Record = coordinator.Record{} }, true},
		"calls are left":                {func(s *coordinator.Status) { s.CallsToday = 29 }, true},
		"the calls of the day are made": {func(s *coordinator.Status) { s.CallsToday = 30 }, false},
		"no token, and doubt": {func(s *coordinator.Status) {
			s.Record, s.Grant = coordinator.Record{}, grant(coordinator.GrantDoubt, false)
		}, true},
		"no token, and an answer is awaited": {func(s *coordinator.Status) {
			s.Record, s.Grant = coordinator.Record{}, grant(coordinator.GrantPresented, false)
		}, false},
		"no token, and nothing was pushed": {func(s *coordinator.Status) {
			s.Record, s.Grant = coordinator.Record{}, grant(coordinator.GrantNone, true)
		}, false},
		"no token, and what was pushed has ended": {func(s *coordinator.Status) {
			s.Record, s.Grant = coordinator.Record{}, grant(coordinator.GrantDead, true)
		}, false},
	} {
		s := coordinator.Status{Name: "crm", Role: coordinator.Reader, LastRead: true, Record: overdue(now).Record,
			NextRefresh: now.Add(-time.Hour), Limits: coordinator.Limits{PerDay: 30}}
		c.change(&s)
		if page.Unattended(s, nil, now) != c.missed {
			t.Errorf("%s: missed %v, want %v", name, !c.missed, c.missed)
		}
	}
}

func TestAReaderMissesNoProcessForAChildOfAnAccountWithoutAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk, err := coordinator.New(coordinator.Config{
			Store: memstore.New().Instance("reader"), Accounts: []coordinator.AccountConfig{{Name: "platform"}, {Name: "shop", Parent: "platform"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = zk.Run(t.Context()) }() // ends with the bubble
		time.Sleep(time.Minute)
		d := &daemon{session: &session{}, zk: zk}
		if missed := d.unattended(); !slices.Equal(missed, []string{"platform"}) {
			t.Errorf("missed for %v", missed)
		}
	})
}
