package oauthtest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

const base = "https://issuer.test"

func newServer(knobs oauthtest.Knobs) *oauthtest.Server {
	return oauthtest.New(oauthtest.Config{
		Clients: []oauthtest.Client{{ID: "one", Secret: "secret one", Scopes: []string{"a", "b"}}, {ID: "two", Secret: "secret two"}},
		Knobs:   knobs,
	})
}

// do makes a request and returns the status and the JSON that came.
func do(t *testing.T, s *oauthtest.Server, method, path, body string, header ...string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.Transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	_ = json.Unmarshal(text, &m) // not everything is an object
	return resp.StatusCode, m
}

// ask asks the token endpoint with a form.
func ask(t *testing.T, s *oauthtest.Server, form string, header ...string) (int, map[string]any) {
	t.Helper()
	return do(t, s, http.MethodPost, "/oauth2/token", form, append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...)
}

const one = "grant_type=client_credentials&client_id=one&client_secret=secret+one"

// token gets a token for client one.
func token(t *testing.T, s *oauthtest.Server) string {
	t.Helper()
	status, m := ask(t, s, one)
	value, _ := m["access_token"].(string)
	if status != http.StatusOK || value == "" {
		t.Fatalf("%d %v", status, m)
	}
	return value
}

func TestRequestsAreCheckedAsTheRFCsSay(t *testing.T) {
	basic := func(id, secret string) []string {
		req := http.Request{Header: http.Header{}}
		req.SetBasicAuth(id, secret)
		return []string{"Authorization", req.Header.Get("Authorization")}
	}
	for name, c := range map[string]struct {
		form   string
		header []string
		status int
		word   string
	}{
		"post":                      {one, nil, 200, ""},
		"basic":                     {"grant_type=client_credentials", basic("one", "secret+one"), 200, ""},
		"basic, not encoded":        {"grant_type=client_credentials", basic("one", "%zz"), 401, "invalid_client"},
		"both":                      {one, basic("one", "secret+one"), 400, "invalid_request"},
		"two clients":               {"grant_type=client_credentials&client_id=two", basic("one", "secret+one"), 400, "invalid_request"},
		"a wrong secret":            {"grant_type=client_credentials&client_id=one&client_secret=no", nil, 401, "invalid_client"},
		"an unknown client":         {"grant_type=client_credentials&client_id=no&client_secret=no", nil, 401, "invalid_client"},
		"no proof":                  {"grant_type=client_credentials&client_id=one", nil, 401, "invalid_client"},
		"no client":                 {"grant_type=client_credentials", nil, 401, "invalid_client"},
		"an unknown grant":          {"grant_type=password&client_id=one&client_secret=secret+one", nil, 400, "unsupported_grant_type"},
		"a scope":                   {one + "&scope=a+b", nil, 200, ""},
		"a foreign scope":           {one + "&scope=c", nil, 400, "invalid_scope"},
		"a parameter twice":         {one + "&scope=a&scope=b", nil, 400, "invalid_request"},
		"JSON":                      {`{}`, []string{"Content-Type", "application/json"}, 400, "invalid_request"},
		"an assertion that is none": {"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=x", nil, 400, "invalid_grant"},
		"a client's that is none":   {"grant_type=client_credentials&client_id=one&client_assertion=x&client_assertion_type=y", nil, 400, "invalid_request"},
	} {
		s := newServer(oauthtest.Knobs{})
		status, m := ask(t, s, c.form, c.header...)
		if word, _ := m["error"].(string); status != c.status || word != c.word {
			t.Errorf("%s: %d %v, want %d %s", name, status, m, c.status, c.word)
		}
		if calls := s.Calls(); len(calls) != 1 || calls[0].Status != c.status || calls[0].Error != c.word {
			t.Errorf("%s: recorded as %+v", name, calls)
		}
	}
	if status, _ := do(t, newServer(oauthtest.Knobs{}), http.MethodGet, "/oauth2/token", ""); status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", status)
	}
}

func TestARepeatedCallDoesWhatTheKnobSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(oauthtest.Knobs{})
		if first, second := token(t, s), token(t, s); first == second || !s.Valid(first) || !s.Valid(second) {
			t.Error("keeps: not two live tokens")
		}
		s = newServer(oauthtest.Knobs{Repeat: "same"})
		first := token(t, s)
		time.Sleep(time.Minute)
		if _, m := ask(t, s, one); m["access_token"] != first || m["expires_in"] != 3540.0 {
			t.Errorf("same: %v", m)
		}
		time.Sleep(time.Hour)
		if token(t, s) == first || s.Valid(first) {
			t.Error("same: beyond its end")
		}
		s = newServer(oauthtest.Knobs{Repeat: "kills", Overlap: oauthtest.Duration(time.Minute)})
		first = token(t, s)
		second := token(t, s)
		if _, other := ask(t, s, "grant_type=client_credentials&client_id=two&client_secret=secret+two"); other["access_token"] == nil {
			t.Error("another client gets nothing")
		}
		if !s.Valid(first) || !s.Valid(second) {
			t.Error("kills: within the overlap")
		}
		time.Sleep(time.Minute)
		if s.Valid(first) || !s.Valid(second) {
			t.Error("kills: after the overlap")
		}
	})
}

func TestTheResourceTakesLiveTokensOnly(t *testing.T) {
	s := newServer(oauthtest.Knobs{})
	live := token(t, s)
	for header, want := range map[string]int{"": 401, "Bearer no": 401, "Basic " + live: 401, "Bearer " + live: 200} {
		if status, _ := do(t, s, http.MethodPost, "/oauth2/resource", "body", "Authorization", header); status != want {
			t.Errorf("%q: %d", header, status)
		}
	}
	if s.Revoke("two") != 0 || s.Revoke("one") != 1 || s.Valid(live) {
		t.Error("Revoke")
	}
}

func TestExpiresInHasEveryForm(t *testing.T) {
	for form, want := range map[string]any{
		"": 3600.0, "number": 3600.0, "string": "3600", "float": 3600.5, "null": nil, "zero": 0.0, "negative": -1.0, "text": "one hour", "huge": 1e12,
	} {
		if _, m := ask(t, newServer(oauthtest.Knobs{ExpiresIn: form}), one); m["expires_in"] != want {
			t.Errorf("%s: %v", form, m)
		}
	}
	if _, m := ask(t, newServer(oauthtest.Knobs{ExpiresIn: "missing"}), one); len(m) != 2 {
		t.Errorf("missing: %v", m)
	}
}

func TestFaultsSpoilTheAnswersThatTheyName(t *testing.T) {
	s := newServer(oauthtest.Knobs{Echo: true})
	s.Inject(oauthtest.Fault{Kind: "error", Error: "server_error", Status: 500, Times: 2})
	s.Inject(oauthtest.Fault{Kind: "html"})
	s.Inject(oauthtest.Fault{Kind: "redirect"})
	for i, want := range []int{500, 500, 502, 307, 200} {
		status, m := ask(t, s, one)
		if status != want || want == 500 && !strings.Contains(fmt.Sprint(m), "secret one") {
			t.Errorf("call %d: %d %v, want %d", i, status, m, want)
		}
	}
	server := httptest.NewServer(s)
	defer server.Close()
	for kind, want := range map[string]error{"drop": io.EOF, "truncated": io.ErrUnexpectedEOF} {
		s.Inject(oauthtest.Fault{Kind: kind, Issued: true})
		resp, err := http.PostForm(server.URL+"/oauth2/token", url.Values{
			"grant_type": {"client_credentials"}, "client_id": {"one"}, "client_secret": {"secret one"},
		})
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if n := s.Revoke(""); n != 3 {
		t.Errorf("%d tokens were issued, want 3: faults lose answers after the issue", n)
	}
	if s.Inject(oauthtest.Fault{Kind: "empty", Times: -1}); len(s.Faults()) != 1 {
		t.Error("Faults")
	}
	if s.ClearFaults(); len(s.Faults()) != 0 {
		t.Error("ClearFaults")
	}
}

func TestTheControlInterfaceTurnsTheKnobs(t *testing.T) {
	s := newServer(oauthtest.Knobs{})
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"PATCH", "knobs", `{"lifetime":"90s","token_length":16384}`, 200},
		{"PATCH", "knobs", `{"lifetyme":"90s"}`, 400},
		{"PATCH", "knobs", `{"repeat":"sometimes"}`, 400},
		{"PATCH", "knobs", `{"expires_in":"sometimes"}`, 400},
		{"PATCH", "knobs", `{"token_length":-1}`, 400},
		{"GET", "knobs", "", 200},
		{"POST", "faults", `{"kind":"html"}`, 201},
		{"POST", "faults", `{"kind":"none"}`, 400},
		{"POST", "faults", `{"kind":"error","status":99}`, 400},
		{"GET", "faults", "", 200},
		{"DELETE", "faults", "", 204},
		{"POST", "clients", `{"id":"three","secret":"secret three"}`, 201},
		{"POST", "clients", `{"id":3}`, 400},
		{"POST", "revoke?client=one", "", 200},
		{"GET", "calls", "", 200},
		{"GET", "secrets", "", 404},
		{"GET", "", "", 200},
	} {
		if status, m := do(t, s, c.method, "/oauth2/sandbox/"+c.path, c.body); status != c.want {
			t.Errorf("%s %s %s: %d %v, want %d", c.method, c.path, c.body, status, m, c.want)
		}
	}
	if _, m := do(t, s, "GET", "/oauth2/sandbox/", ""); !strings.Contains(fmt.Sprint(m["requests"]), "PATCH /oauth2/sandbox/knobs POST /oauth2/sandbox/clients") {
		t.Errorf("the requests are %v", m["requests"])
	}
	if k := s.Knobs(); time.Duration(k.Lifetime) != 90*time.Second || k.TokenLength != 16384 {
		t.Errorf("%+v", k)
	}
	if _, m := ask(t, s, "grant_type=client_credentials&client_id=three&client_secret=secret+three"); len(fmt.Sprint(m["access_token"])) != 16384 || m["expires_in"] != 90.0 {
		t.Errorf("expires_in %v", m["expires_in"])
	}
}

func TestLatencyEndsWithTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(oauthtest.Knobs{Latency: oauthtest.Duration(3 * time.Second)})
		begin := time.Now()
		token(t, s)
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
