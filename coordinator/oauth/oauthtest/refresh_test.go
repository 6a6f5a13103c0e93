package oauthtest_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

// holder presents refresh tokens of a family, and names them as the issuer does.
type holder struct {
	t      *testing.T
	s      *oauthtest.Server
	family string
	values map[string]string // by name
	access map[string]string // the access token that came with a refresh token
	last   map[string]any    // the last answer
}

// newHolder consents, and holds the first refresh token, f1.1.
func newHolder(t *testing.T, knobs oauthtest.RefreshKnobs) *holder {
	t.Helper()
	s := newServer(oauthtest.Knobs{Refresh: knobs})
	name, first := s.Consent("one", "a b")
	return &holder{t: t, s: s, family: name, values: map[string]string{"f1.1": first}, access: map[string]string{}}
}

// present presents a token, and returns what it got: a name, a word, or nothing.
func (h *holder) present(name string) string {
	h.t.Helper()
	_, h.last = ask(h.t, h.s, refreshForm(h.values[name]))
	if word, ok := h.last["error"].(string); ok {
		return word
	}
	value, _ := h.last["refresh_token"].(string)
	got := h.s.NameOf(value)
	h.values[got] = value
	if got != "" && h.access[got] == "" {
		h.access[got] = h.accessToken()
	}
	return got
}

func (h *holder) accessToken() string {
	value, _ := h.last["access_token"].(string)
	return value
}

func refreshForm(value string) string {
	return "grant_type=refresh_token&client_id=one&client_secret=secret+one&refresh_token=" + url.QueryEscape(value)
}

// expect presents tokens, each step is "TOKEN: WHAT IT GETS".
func (h *holder) expect(steps ...string) {
	h.t.Helper()
	for _, step := range steps {
		name, want, _ := strings.Cut(step, ": ")
		if d, err := time.ParseDuration(name); err == nil {
			time.Sleep(d)
			continue
		}
		if got := h.present(name); got != want {
			h.t.Fatalf("%s: got %q, want %q; history %+v", step, got, want, h.s.Presentations(""))
		}
	}
}

// accepts checks which tokens are accepted now.
func (h *holder) accepts(names ...string) {
	h.t.Helper()
	var got []string
	for _, value := range h.s.Accepted(h.family) {
		got = append(got, h.s.NameOf(value))
		if !h.s.Accepts(value) {
			h.t.Errorf("Accepts and Accepted differ about %s", h.s.NameOf(value))
		}
	}
	if !slices.Equal(got, names) {
		h.t.Errorf("accepted are %v, want %v", got, names)
	}
}

func TestRefreshTokensDoWhatTheKnobsSay(t *testing.T) {
	for name, c := range map[string]struct {
		knobs   oauthtest.RefreshKnobs
		steps   []string
		accepts []string
	}{
		"a used one is refused": {
			oauthtest.RefreshKnobs{},
			[]string{"f1.1: f1.2", "f1.1: invalid_grant", "f1.2: f1.3"}, []string{"f1.3"},
		},
		"a used one ends the family": {
			oauthtest.RefreshKnobs{Reuse: "kills"},
			[]string{"f1.1: f1.2", "f1.1: invalid_grant", "f1.2: invalid_grant"}, nil,
		},
		"an unknown one ends nothing": {
			oauthtest.RefreshKnobs{Reuse: "kills"},
			[]string{"f9.9: invalid_grant", "f1.1: f1.2"}, []string{"f1.2"},
		},
		"a fixed one stays": {
			oauthtest.RefreshKnobs{Rotation: "fixed"},
			[]string{"f1.1: f1.1", "f1.1: f1.1"}, []string{"f1.1"},
		},
		"a silent one stays, and none comes": {
			oauthtest.RefreshKnobs{Rotation: "silent"},
			[]string{"f1.1: ", "f1.1: "}, []string{"f1.1"},
		},
		"a young one comes again": {
			oauthtest.RefreshKnobs{RotateAfter: hours(24)},
			[]string{"f1.1: f1.1", "23h", "f1.1: f1.1", "1h", "f1.1: f1.2", "f1.1: invalid_grant"}, []string{"f1.2"},
		},
		"free: each is accepted always": {
			oauthtest.RefreshKnobs{Replay: "free"},
			[]string{"f1.1: f1.2", "f1.2: f1.3", "1000h", "f1.1: f1.2"}, []string{"f1.1", "f1.2", "f1.3"},
		},
		"window: the same pair": {
			oauthtest.RefreshKnobs{Replay: "30s", Reuse: "kills"},
			[]string{"f1.1: f1.2", "29s", "f1.1: f1.2", "f1.2: f1.3", "f1.1: f1.2", "1s", "f1.1: invalid_grant"}, nil,
		},
		"window: siblings": {
			oauthtest.RefreshKnobs{Replay: "30s", ReplayBrings: "sibling"},
			[]string{"f1.1: f1.2", "29s", "f1.1: f1.3", "30s", "f1.1: invalid_grant"}, []string{"f1.2", "f1.3"},
		},
		"window: of several siblings only the newest": {
			oauthtest.RefreshKnobs{Replay: "30s", ReplayBrings: "sibling", Siblings: "newest"},
			[]string{"f1.1: f1.2", "f1.1: f1.3", "f1.2: invalid_grant", "30s"}, []string{"f1.3"},
		},
		"window: only the immediately previous": {
			oauthtest.RefreshKnobs{Replay: "1h", Replayable: "previous", Reuse: "kills"},
			[]string{"f1.1: f1.2", "f1.1: f1.2", "f1.2: f1.3", "f1.1: invalid_grant"}, nil,
		},
		"window: until the successor is used": {
			oauthtest.RefreshKnobs{Replay: "10s", ReplayFrom: "successor"},
			[]string{"f1.1: f1.2", "1000h", "f1.1: f1.2", "f1.2: f1.3", "9s", "f1.1: f1.2", "1s", "f1.1: invalid_grant"}, []string{"f1.2", "f1.3"},
		},
		"idle": {
			oauthtest.RefreshKnobs{Idle: hours(2)},
			[]string{"119m", "f1.1: f1.2", "119m", "f1.2: f1.3", "2h", "f1.3: invalid_grant"}, nil,
		},
		"idle: a fixed one lives by its use": {
			oauthtest.RefreshKnobs{Idle: hours(2), Rotation: "fixed"},
			[]string{"119m", "f1.1: f1.1", "119m", "f1.1: f1.1"}, []string{"f1.1"},
		},
		"idle is no reuse": {
			oauthtest.RefreshKnobs{Idle: hours(2), Reuse: "kills_all", Replay: "free"},
			[]string{"f1.1: f1.2", "2h", "f1.2: invalid_grant", "f1.1: f1.2"}, []string{"f1.1"},
		},
		"hard end": {
			oauthtest.RefreshKnobs{Hard: hours(3), Replay: "free"},
			[]string{"2h", "f1.1: f1.2", "59m", "f1.2: f1.3", "1m", "f1.3: invalid_grant", "f1.1: invalid_grant"}, nil,
		},
		"not too early": {
			oauthtest.RefreshKnobs{Earliest: oauthtest.Duration(570 * time.Second)},
			[]string{"f1.1: f1.2", "569s", "f1.2: access_denied", "1s", "f1.2: f1.3"}, []string{"f1.3"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHolder(t, c.knobs)
				h.expect(c.steps...)
				h.accepts(c.accepts...)
			})
		})
	}
}

func hours(n int) oauthtest.Duration { return oauthtest.Duration(time.Duration(n) * time.Hour) }

func TestTheSamePairIsTheSameWithItsAccessToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHolder(t, oauthtest.RefreshKnobs{Replay: "free"})
		h.expect("f1.1: f1.2")
		first := h.accessToken()
		h.expect("10m", "f1.1: f1.2")
		if h.accessToken() != first || h.last["expires_in"] != 3000.0 {
			t.Errorf("another access token, or a wrong life: %v", h.last["expires_in"])
		}
		h.expect("1h", "f1.1: f1.2")
		if h.accessToken() == first || !h.s.Valid(h.accessToken()) {
			t.Error("the access token that has ended came again")
		}
	})
}

func TestAWindowMayBeginWithTheUseOfTheAccessToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHolder(t, oauthtest.RefreshKnobs{Replay: "10s", ReplayFrom: "used"})
		h.expect("f1.1: f1.2", "30m", "f1.1: f1.2")
		if status, _ := do(t, h.s, http.MethodGet, "/oauth2/resource", "", "Authorization", "Bearer "+h.accessToken()); status != 200 {
			t.Fatalf("the resource answers %d", status)
		}
		h.expect("9s", "f1.1: f1.2", "1s", "f1.1: invalid_grant")
	})
}

func TestReuseMayEndTheAccessTokens(t *testing.T) {
	for reuse, lives := range map[string]bool{"": true, "kills": true, "kills_all": false} {
		h := newHolder(t, oauthtest.RefreshKnobs{Reuse: reuse})
		_, other := ask(t, h.s, one)
		h.expect("f1.1: f1.2", "f1.1: invalid_grant")
		if h.s.Valid(h.access["f1.2"]) != lives || !h.s.Valid(fmt.Sprint(other["access_token"])) {
			t.Errorf("%q: the family's access token lives: %v; want %v, and that of others lives", reuse, !lives, lives)
		}
		if f := h.s.Family("f1"); reuse != "" && (f.Dead != "reuse of f1.1" || f.Died.IsZero()) {
			t.Errorf("%q: %+v", reuse, f)
		}
	}
}

func TestARefreshMayEndTheAccessTokenBefore(t *testing.T) {
	h := newHolder(t, oauthtest.RefreshKnobs{})
	h.s.Tune(func(k *oauthtest.Knobs) { k.Repeat = "kills" })
	_, other := h.s.Consent("one", "a b")
	h.values["f2.1"] = other
	h.expect("f1.1: f1.2", "f2.1: f2.2", "f1.2: f1.3")
	if h.s.Valid(h.access["f1.2"]) || !h.s.Valid(h.access["f1.3"]) || !h.s.Valid(h.access["f2.2"]) {
		t.Error("not the family's earlier access token alone has ended")
	}
}

func TestWhoseTheTokenIsIsChecked(t *testing.T) {
	h := newHolder(t, oauthtest.RefreshKnobs{Reuse: "kills"})
	value := h.values["f1.1"]
	for form, want := range map[string]string{
		"grant_type=refresh_token&client_id=two&client_secret=secret+two&refresh_token=" + value: "invalid_grant",
		"grant_type=refresh_token&client_id=one&client_secret=no&refresh_token=" + value:         "invalid_client",
		"grant_type=refresh_token&client_id=one&refresh_token=" + value:                          "invalid_client",
		"grant_type=refresh_token&refresh_token=" + value:                                        "invalid_client",
		refreshForm(value) + "&scope=a+c":                                                        "invalid_scope",
	} {
		if _, m := ask(t, h.s, form); m["error"] != want {
			t.Errorf("%s: %v, want %s", form, m["error"], want)
		}
	}
	h.accepts("f1.1") // none of these has used it up
	if _, m := ask(t, h.s, refreshForm(value)+"&scope=a"); m["error"] != nil {
		t.Errorf("a part of the scopes: %v", m)
	}
	s := newServer(oauthtest.Knobs{})
	s.AddClient(oauthtest.Client{ID: "public"})
	_, value = s.Consent("public", "")
	if _, m := ask(t, s, "grant_type=refresh_token&client_id=public&refresh_token="+value); m["refresh_token"] == nil {
		t.Errorf("a public client: %v", m)
	}
}

func TestTheRefreshTokensLifeIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, name := range []string{"refresh_token_expires_in", "x_refresh_token_expires_in"} {
			h := newHolder(t, oauthtest.RefreshKnobs{Idle: hours(2), Hard: hours(5), ExpiresInName: name})
			h.expect("1h", "f1.1: f1.2")
			if h.last[name] != 7200.0 {
				t.Errorf("idle: %v", h.last)
			}
			h.expect("1h", "f1.2: f1.3", "90m", "f1.3: f1.4")
			if h.last[name] != 5400.0 {
				t.Errorf("hard: %v", h.last)
			}
		}
		h := newHolder(t, oauthtest.RefreshKnobs{ExpiresInName: "refresh_token_expires_in"})
		if h.expect("f1.1: f1.2"); h.last["refresh_token_expires_in"] != nil {
			t.Errorf("without an end: %v", h.last)
		}
	})
}

func TestRefusalsHaveDialects(t *testing.T) {
	for dialect, want := range map[string]struct {
		status int
		body   string // of a token that is unknown
		spent  string // of one that was used, if the issuer tells them apart
		ended  string // of one that is too old
	}{
		"":           {400, `"error":"invalid_grant"`, "", ""},
		"rfc6749":    {400, `"error":"invalid_grant"`, "", ""},
		"atlassian":  {403, `"error":"invalid_grant"`, `"unauthorized_client","error_description":"refresh_token is invalid"`, ""},
		"databricks": {400, `"invalid_request","error_description":"Refresh token is invalid"`, "", ""},
		"exact":      {401, `"unauthorized_client","error_description":"Old refresh token used."`, "", `"invalid_request","error_description":"The refresh token expired at`},
		"github":     {200, `"error":"bad_refresh_token"`, "", ""},
		"slack":      {200, `"error":"invalid_refresh_token","ok":false`, "", ""},
		"fitbit":     {400, `Refresh token invalid: the-one-that-was-sent.`, "Refresh token invalid: refresh-", "Refresh token invalid: refresh-"},
		"x":          {400, `"invalid_request","error_description":"Value passed for the token was invalid."`, "", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHolder(t, oauthtest.RefreshKnobs{Dialect: dialect, Idle: hours(2)})
			status, m := ask(t, h.s, refreshForm("the-one-that-was-sent"))
			if text := jsonOf(m); status != want.status || !strings.Contains(text, want.body) {
				t.Errorf("%s: %d %s, want %d %s", dialect, status, text, want.status, want.body)
			}
			if h.expect("f1.1: f1.2"); dialect == "slack" && h.last["ok"] != true {
				t.Errorf("Slack: %v", h.last)
			}
			if h.present("f1.1"); !strings.Contains(jsonOf(h.last), cmp.Or(want.spent, want.body)) {
				t.Errorf("%s: a used one: %s", dialect, jsonOf(h.last))
			}
			time.Sleep(2 * time.Hour)
			if h.present("f1.2"); !strings.Contains(jsonOf(h.last), cmp.Or(want.ended, want.body)) {
				t.Errorf("%s: one that is too old: %s", dialect, jsonOf(h.last))
			}
		})
	}
}

func jsonOf(m map[string]any) string {
	text, _ := json.Marshal(m) // of JSON
	return string(text)
}
