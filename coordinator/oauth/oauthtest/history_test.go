package oauthtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

func TestAnswersAndRequestsAreLostAndLate(t *testing.T) {
	for name, c := range map[string]struct {
		fault     oauthtest.Fault
		outcome   string // of the presentation, as soon as the client has given up after 5 s
		afterward string // an hour later
		delivered bool
	}{
		"a lost request":            {oauthtest.Fault{Kind: "drop"}, "lost", "lost", false},
		"a lost answer":             {oauthtest.Fault{Kind: "drop", Issued: true}, "rotated", "rotated", false},
		"half of an answer":         {oauthtest.Fault{Kind: "truncated"}, "rotated", "rotated", false},
		"500 after it was used up":  {oauthtest.Fault{Kind: "error", Status: 500, Error: "server_error", Issued: true}, "rotated", "rotated", false},
		"502 after it was used up":  {oauthtest.Fault{Kind: "html", Issued: true}, "rotated", "rotated", false},
		"503 before":                {oauthtest.Fault{Kind: "html", Status: 503}, "lost", "lost", false},
		"an answer within the time": {oauthtest.Fault{Kind: "late", Issued: true, After: seconds(4)}, "rotated", "rotated", true},
		"a late answer":             {oauthtest.Fault{Kind: "late", Issued: true, After: seconds(60)}, "rotated", "rotated", false},
		"a request within the time": {oauthtest.Fault{Kind: "late", After: seconds(4)}, "rotated", "rotated", true},
		"a late request":            {oauthtest.Fault{Kind: "late", After: seconds(60)}, "", "rotated", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHolder(t, oauthtest.RefreshKnobs{})
				h.s.Inject(c.fault)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/oauth2/token", strings.NewReader(refreshForm(h.values["f1.1"])))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				begin := time.Now()
				_, err = h.s.Transport().RoundTrip(req)
				if took := time.Since(begin); took > 5*time.Second || (took == 5*time.Second) != (err != nil && ctx.Err() != nil) {
					t.Errorf("it took %v: %v", took, err)
				}
				outcome := func() (all string, delivered bool) {
					for _, p := range h.s.Presentations("") {
						all, delivered = all+p.Outcome, p.Delivered
					}
					return all, delivered
				}
				if got, _ := outcome(); got != c.outcome {
					t.Errorf("after 5 s: %s", got)
				}
				time.Sleep(time.Hour)
				got, delivered := outcome()
				if got != c.afterward || delivered != c.delivered {
					t.Errorf("after an hour: %s, delivered: %v", got, delivered)
				}
				if calls := h.s.Calls(); len(calls) != 1 {
					t.Errorf("calls: %+v", calls)
				}
				if c.afterward == "rotated" {
					h.accepts("f1.2")
				} else {
					h.accepts("f1.1")
				}
			})
		})
	}
}

func seconds(n int) oauthtest.Duration { return oauthtest.Duration(time.Duration(n) * time.Second) }

func TestEachPresentationIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHolder(t, oauthtest.RefreshKnobs{Replay: "30s", Reuse: "kills"})
		h.expect("1m", "f1.1: f1.2", "f1.1: f1.2", "1m", "f1.1: invalid_grant", "f1.2: invalid_grant")
		var got []string
		for _, p := range h.s.Presentations("f1") {
			got = append(got, fmt.Sprintf("%v %s #%d %s %s %s%s %v", time.Since(p.At), p.Token, p.Time, p.State, p.Outcome, p.Brought, p.Error, p.Delivered))
		}
		want := []string{
			"1m0s f1.1 #1 good rotated f1.2 true", "1m0s f1.1 #2 replay same f1.2 true",
			"0s f1.1 #3 spent refused invalid_grant true", "0s f1.2 #1 dead refused invalid_grant true",
		}
		if !slices.Equal(got, want) {
			t.Errorf("presentations\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		f := h.s.Families()[0]
		if f.Client != "one" || f.Scope != "a b" || f.Dead != "reuse of f1.1" || len(f.Tokens) != 2 ||
			f.Tokens[0].Presented != 3 || f.Tokens[0].Spent.IsZero() || f.Tokens[1].Parent != "f1.1" || f.Tokens[1].Accepted {
			t.Errorf("%+v", f)
		}
		if !h.s.Withdraw("f1") || h.s.Withdraw("f2") || h.s.Family("f1").Dead != "reuse of f1.1" || h.s.Valid(h.access["f1.2"]) {
			t.Error("Withdraw")
		}
	})
}

func TestGrantsAreControlledOverHTTP(t *testing.T) {
	server := httptest.NewServer(newServer(oauthtest.Knobs{}))
	defer server.Close()
	call := func(method, path, body string, want int, into any) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(body, "grant_type") {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != want {
			t.Errorf("%s %s: %d, want %d", method, path, resp.StatusCode, want)
		}
		if into != nil {
			if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
				t.Errorf("%s %s: %v", method, path, err)
			}
		}
	}
	const control = "/oauth2/sandbox/"
	call("PATCH", control+"knobs", `{"refresh":{"replay":"10s","reuse":"kills"},"consent":{"denies":true}}`, 200, nil)
	call("PATCH", control+"knobs", `{"refresh":{"idle":"1h"}}`, 200, nil)
	for _, wrong := range []string{
		`{"rotation":"x"}`, `{"replay":"x"}`, `{"replay":"-1s"}`, `{"replay_from":"x"}`, `{"replay_brings":"x"}`, `{"replayable":"x"}`,
		`{"siblings":"x"}`, `{"reuse":"x"}`, `{"expires_in_name":"x"}`, `{"dialect":"none"}`, `{"x":"x"}`,
	} {
		call("PATCH", control+"knobs", `{"refresh":`+wrong+`}`, 400, nil)
	}
	var knobs oauthtest.Knobs
	if call("GET", control+"knobs", "", 200, &knobs); knobs.Refresh.Replay != "10s" || knobs.Refresh.Idle != hours(1) || !knobs.Consent.Denies {
		t.Errorf("%+v", knobs)
	}
	var consent struct {
		Family       string `json:"family"`
		RefreshToken string `json:"refresh_token"`
	}
	call("POST", control+"consents", `{"client":"one","scope":"a"}`, 201, &consent)
	call("POST", control+"consents", `{"klient":"one"}`, 400, nil)
	call("POST", "/oauth2/token", refreshForm(consent.RefreshToken), 200, nil)
	var families []oauthtest.Family
	if call("GET", control+"families", "", 200, &families); len(families) != 1 || families[0].Name != consent.Family || len(families[0].Tokens) != 2 {
		t.Errorf("%+v", families)
	}
	var presentations []oauthtest.Presentation
	if call("GET", control+"presentations?family=f1", "", 200, &presentations); len(presentations) != 1 || presentations[0].Outcome != "rotated" {
		t.Errorf("%+v", presentations)
	}
	call("DELETE", control+"families/f1", "", 204, nil)
	call("DELETE", control+"families/f2", "", 404, nil)
	call("POST", "/oauth2/token", refreshForm(consent.RefreshToken), 400, nil)
}
