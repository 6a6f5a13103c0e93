package page

import (
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

func withGrant(now time.Time, g coordinator.GrantSummary, record coordinator.Record) card {
	status := coordinator.Status{Name: "crm", Record: record, LastRead: true, Grant: &g}
	if g.Condition == coordinator.GrantDead {
		status.Failure = &coordinator.Failure{InARow: 3, Message: "not called: " + (&coordinator.GrantError{Condition: g.Condition}).Error()}
	}
	return newCard(status, past{}, nil, now)
}

func TestACardSaysWhatTheGrantIsWorth(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		grant  coordinator.GrantSummary
		record coordinator.Record
		state  state
		text   string // the key of what is said about it
	}{
		"good":                   {coordinator.GrantSummary{Condition: coordinator.GrantGood}, live(now), fresh, ""},
		"presented":              {coordinator.GrantSummary{Condition: coordinator.GrantPresented}, live(now), fresh, ""},
		"in doubt":               {coordinator.GrantSummary{Condition: coordinator.GrantDoubt}, live(now), failing, "grant.doubt"},
		"dead":                   {coordinator.GrantSummary{Condition: coordinator.GrantDead}, live(now), failing, "grant.dead"},
		"dead, and no token":     {coordinator.GrantSummary{Condition: coordinator.GrantDead}, coordinator.Record{}, expired, "grant.dead"},
		"never had one":          {coordinator.GrantSummary{Condition: coordinator.GrantNone}, coordinator.Record{}, expired, "grant.none"},
		"waiting for a push":     {coordinator.GrantSummary{Condition: coordinator.GrantNone, Received: true}, coordinator.Record{}, waiting, "grant.pushes"},
		"the pushes have ended":  {coordinator.GrantSummary{Condition: coordinator.GrantDead, Received: true}, live(now), fresh, "grant.pushes"},
		"withdrawn, token lives": {coordinator.GrantSummary{Condition: coordinator.GrantNone}, live(now), failing, "grant.none"},
	} {
		if name == "the pushes have ended" {
			c.state = failing // the failure that follows from it
		}
		got := withGrant(now, c.grant, c.record)
		if got.State != c.state || got.Grant.Trouble != c.text {
			t.Errorf("%s: %s and %q, want %s and %q", name, got.State.key(), got.Grant.Trouble, c.state.key(), c.text)
		}
		for _, w := range languages() {
			if html := renderCard(t, w, got); strings.Contains(html, "{grant") || c.text != "" && !strings.Contains(html, w.Names[c.text+".text"]) {
				t.Errorf("%s, %s: the card lacks a text:\n%s", name, w.Code, html)
			}
		}
		if c.text == "grant.dead" && got.Failure != nil {
			t.Errorf("%s: the failure repeats the text", name)
		}
	}
}

func TestACardSaysWhenTheGrantEnds(t *testing.T) {
	now := time.Now()
	record := live(now.Add(24 * time.Hour)) // the store's clock is a day ahead
	got := withGrant(now, coordinator.GrantSummary{
		Condition: coordinator.GrantGood, IdleUntil: now.Add(3 * 24 * time.Hour), EndsAt: now.Add(30 * 24 * time.Hour),
	}, record)
	ends := got.Grant.Ends
	if len(ends) != 2 || ends[0].Left.Round(time.Hour) != 48*time.Hour || !ends[0].Near || ends[1].Near {
		t.Errorf("ends: %+v, want 2 days, which is near, and 29", ends)
	}
	html := renderCard(t, english, got)
	for _, want := range []string{"ends unless it is used within", ">2d<", "ends in", ">29d<"} {
		if !strings.Contains(html, want) {
			t.Errorf("the card lacks %q:\n%s", want, html)
		}
	}
}

func renderCard(t *testing.T, w words, c card) string {
	t.Helper()
	p := New(Config{Label: func(string) string { return "" }, Source: func(string) string { return "oauth2" }})
	var b strings.Builder
	v := &view{Request: Request{Language: w.Code}, SourceOf: p.cfg.Source}
	if err := p.execute(&b, w.Code, "card", part{v, c}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
