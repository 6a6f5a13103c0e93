package httpapi

import (
	"strconv"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator"
)

// recordAt is a record of a two-hour token at an age, to be replaced at another.
func recordAt(age, replaced time.Duration) coordinator.Record {
	issued := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := coordinator.Record{IssuedAt: issued, ExpiresAt: issued.Add(2 * time.Hour)}
	r.TTL = r.Lifetime() - coordinator.Margin(r.Lifetime()) - age
	if replaced > 0 {
		r.RefreshAt = issued.Add(replaced)
	}
	return r
}

func TestNoCallerIsToldToKeepATokenBeyondItsPlannedDeath(t *testing.T) {
	now := time.Now()
	for _, replaced := range []time.Duration{time.Minute, 7 * time.Minute, 20 * time.Minute, time.Hour, 100 * time.Minute} {
		for age := time.Duration(0); age < 119*time.Minute; age += 13 * time.Second {
			status := coordinator.Status{NextRefresh: now.Add(replaced - age + 2*time.Second)} // it looks a little later
			got, want := useFor(status, recordAt(age, replaced), now, overlap), max(replaced-age, 0)+overlap
			if got != want {
				t.Fatalf("replaced after %v, age %v: %v, want %v", replaced, age, got, want)
			}
		}
	}
}

func TestWhatIsToldFollowsWhatIsKnown(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		status coordinator.Status
		record coordinator.Record
		want   time.Duration
	}{
		"a record of an older version": {coordinator.Status{NextRefresh: now.Add(30 * time.Minute)}, recordAt(0, 0), 35 * time.Minute},
		"a plan of another process":    {coordinator.Status{NextRefresh: now.Add(time.Hour)}, recordAt(10*time.Minute, 20*time.Minute), 15 * time.Minute},
		"a refresh that is late":       {coordinator.Status{NextRefresh: now.Add(-time.Hour)}, recordAt(100*time.Minute, time.Hour), overlap},
		"a call under way":             {coordinator.Status{NextRefresh: now.Add(time.Hour), OpenAttempts: 1}, recordAt(0, time.Hour), overlap},
		"nothing known but its end":    {coordinator.Status{}, recordAt(0, 0), 2*time.Hour - 30*time.Second + overlap},
	} {
		if got := useFor(test.status, test.record, now, overlap); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

func TestCallersAreToldWithinTheirBounds(t *testing.T) {
	users := []auth.User{
		{Name: "plain", Password: "p"},
		{Name: "brief", Password: "p", Told: auth.Told{Max: 4 * time.Minute}},
		{Name: "long", Password: "p", Told: auth.Told{Min: 90 * time.Minute}},
		{Name: "longer", Password: "p", Told: auth.Told{Min: 9 * time.Hour}},
	}
	for i := range users {
		users[i].Accounts = []string{wxa}
	}
	gate, err := auth.New(users)
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, func(c *Config) { c.Callers = gate })
	for name, want := range map[string]int{"plain": 3900, "brief": 240, "long": 5400, "longer": 7170} {
		who := name + ":p"
		caller, _ := gate.Find(name)
		for what, told := range map[string]any{
			"use_for":               s.ask(who, "GET", "/v1/tokens/"+wxa, "").field("use_for"),
			"use_for after waiting": s.ask(who, "GET", "/v1/tokens/"+wxa+"?after=0&wait=1s", "").field("use_for"),
			"use_for by datagram":   reply{body: string(s.api.Answer(caller, wxa))}.field("use_for"),
			"expires_in":            s.ask("", "GET", tokenQuery(wxa, who), "").field("expires_in"),
		} {
			text, _ := told.(string)
			if got, err := strconv.Atoi(text); err != nil || got > want || got < want-60 {
				t.Errorf("%s of %s = %v, want %d or a little less", what, name, told, want)
			}
		}
	}
}

func TestNoTokenEndpointSaysThatATokenLivesForZeroSeconds(t *testing.T) {
	const short = "short:short-password"
	gate, err := auth.New([]auth.User{
		{Name: "short", Password: "short-password", Accounts: []string{wxa, wxb}, Told: auth.Told{Max: time.Millisecond}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b := newBook(t)
	b.held["held"], _ = gate.Find("short")
	s := newStage(t, b.use, func(c *Config) { c.Callers = gate })
	for path, body := range map[string]string{
		tokenQuery(wxa, short):                                   "",
		"/cgi-bin/stable_token":                                  stableBody(wxa, short, false),
		"/cgi-bin/gettoken?corpid=ww1&corpsecret=" + short:       "",
		"/cgi-bin/ticket/getticket?type=jsapi&access_token=held": "",
		componentPath: componentBody(short),
		authorizerPath + "?component_access_token=held": authorizerBody(short),
		suitePath:                             suiteBody(short),
		corpPath + "?suite_access_token=held": corpBody(short),
		"/oauth2/" + wxa + "/token":           oauthForm(short, ""),
	} {
		r := s.ask("", "POST", path, body)
		if r.field("expires_in") != "1" {
			t.Errorf("%s: %d %s: clients keep a token with expires_in 0 for ever", path, r.status, r.body)
		}
	}
}
