package main

import (
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
)

func TestTheStatusOfAGrantIsOnePhrase(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for want, s := range map[string]*coordinator.GrantSummary{
		"-":                      nil,
		"good":                   {Condition: coordinator.GrantGood},
		"none":                   {Condition: coordinator.GrantNone},
		"presented":              {Condition: coordinator.GrantPresented, DoubtAt: now.Add(time.Minute)},
		"doubt for 5m00s":        {Condition: coordinator.GrantPresented, DoubtAt: now.Add(-5 * time.Minute)},
		"dead for 2h00m":         {Condition: coordinator.GrantGood, DeadAt: now.Add(-2 * time.Hour), EndsAt: now.Add(-2 * time.Hour)},
		"good, ends in 40d0h":    {Condition: coordinator.GrantGood, EndsAt: now.Add(960 * time.Hour)},
		"good, idle end in 5d0h": {Condition: coordinator.GrantGood, EndsAt: now.Add(960 * time.Hour), IdleUntil: now.Add(120 * time.Hour)},
		"good, ends in 11h00m":   {Condition: coordinator.GrantGood, DeadAt: now.Add(11 * time.Hour), Received: true},
	} {
		if got := grantCell(wire.NewGrant(s, now), now); got != want {
			t.Errorf("%+v: %q, want %q", s, got, want)
		}
	}
	state := coordinator.State{Account: "crm", Now: now, Grant: &coordinator.GrantSummary{Condition: coordinator.GrantDead}}
	row := statusRow(state, wire.NewAccount(state, time.Hour, coordinator.Limits{PerDay: 100}), plan{time.Hour, coordinator.Limits{PerDay: 100}, true})
	if want := (&coordinator.GrantError{Condition: coordinator.GrantDead}).Error(); row[len(row)-1] != want {
		t.Errorf("what is wrong: %q, want %q", row[len(row)-1], want)
	}
	state.Grant = &coordinator.GrantSummary{Condition: coordinator.GrantPresented, DoubtAt: now.Add(time.Minute)}
	row = statusRow(state, wire.NewAccount(state, time.Hour, coordinator.Limits{PerDay: 100}), plan{time.Hour, coordinator.Limits{PerDay: 100}, true})
	if got := row[len(row)-1]; !strings.Contains(got, "answer is awaited") {
		t.Errorf("while an answer is awaited: %q", got)
	}
	x := checks{session: &session{cfg: new(config.Config)}, account: "crm", findings: &[]finding{}}
	x.token(t.Context(), state, config.Account{}, "", x.hold(t.Context(), state))
	finds(t, map[string]finding{"token": (*x.findings)[0]}, "token", resultWarn, "answer is awaited")
}
