package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
)

// tokens is an account whose tokens are token-1, token-2 and so on.
type tokens struct {
	n      int
	last   bool // there is no other token
	failed error
}

func (a *tokens) Token(context.Context) (coordinator.Token, error) {
	return coordinator.NewToken("token-" + string(rune('1'+a.n))), a.failed
}

func (a *tokens) Invalidate(ctx context.Context, rejected coordinator.Token) (coordinator.Snapshot, error) {
	if current, _ := a.Token(ctx); !a.last && current.Equal(rejected) {
		a.n++
	}
	t, err := a.Token(ctx)
	return coordinator.Snapshot{Record: coordinator.Record{Token: t}}, err
}

// server takes token-2 only, and echoes the body.
type server struct {
	got       []string // host, authorization, body
	challenge string
	status    int
}

func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	body := ""
	if req.Body != nil {
		b, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		body = string(b)
		_ = req.Body.Close()
	}
	s.got = append(s.got, req.URL.Host+" "+req.Header.Get("Authorization")+" "+body)
	status := http.StatusOK
	if req.Header.Get("Authorization") != "Bearer token-2" {
		status = http.StatusUnauthorized
		if s.status != 0 {
			status = s.status
		}
	}
	return answering(status, "text/plain", "body: "+body, "WWW-Authenticate", s.challenge).RoundTrip(req)
}

func send(t *testing.T, rt http.RoundTripper, url string, body io.Reader) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer of the caller")
	resp, err := rt.RoundTrip(req)
	if req.Header.Get("Authorization") != "Bearer of the caller" {
		t.Error("the caller's request was changed")
	}
	return resp, err
}

const api = "https://api.example.com/v1"

func TestARejectedTokenIsReportedAndTheRequestRepeatedOnce(t *testing.T) {
	for name, c := range map[string]struct {
		body      io.Reader
		challenge string
		status    int
		account   tokens
		calls     int
		want      int
	}{
		"no body":                 {nil, "", 0, tokens{}, 2, 200},
		"a body with GetBody":     {strings.NewReader("hello"), `Bearer error="invalid_token"`, 0, tokens{}, 2, 200},
		"a stream":                {io.MultiReader(strings.NewReader("hello")), `Bearer realm="x",error=invalid_token`, 0, tokens{}, 2, 200},
		"a long stream":           {io.MultiReader(strings.NewReader(strings.Repeat("x", 300<<10))), "", 0, tokens{}, 1, 401},
		"no other token":          {nil, "", 0, tokens{last: true}, 1, 401},
		"a scope":                 {nil, `Bearer error="insufficient_scope", scope="a"`, 0, tokens{}, 1, 401},
		"a description that lies": {nil, `Bearer error_description="error=x", error="invalid_token"`, 0, tokens{}, 2, 200},
		"forbidden":               {nil, "", 403, tokens{}, 1, 403},
		"the next is refused too": {nil, "", 0, tokens{n: 4}, 2, 401},
	} {
		t.Run(name, func(t *testing.T) {
			s := &server{challenge: c.challenge, status: c.status}
			resp, err := send(t, &oauth.Transport{Account: &c.account, Base: s, Hosts: []string{"api.example.com"}}, api, c.body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.want || len(s.got) != c.calls {
				t.Errorf("status %d after %d calls, want %d after %d", resp.StatusCode, len(s.got), c.want, c.calls)
			}
			if len(s.got) == 2 && strings.HasSuffix(s.got[0], "hello") != strings.HasSuffix(s.got[1], "hello") {
				t.Errorf("bodies: %q", s.got)
			}
			if text, err := io.ReadAll(resp.Body); err != nil || !strings.HasPrefix(string(text), "body: ") {
				t.Errorf("the answer is %q, %v", text, err)
			}
		})
	}
}

// endless is an account that always has another token.
type endless struct{ reports int }

func (e *endless) Token(context.Context) (coordinator.Token, error) {
	return coordinator.NewToken(fmt.Sprint("token-", e.reports)), nil
}

func (e *endless) Invalidate(ctx context.Context, _ coordinator.Token) (coordinator.Snapshot, error) {
	e.reports++
	t, err := e.Token(ctx)
	return coordinator.Snapshot{Record: coordinator.Record{Token: t}}, err
}

func TestAHostThatRejectsEveryTokenCostsFewTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "good.example.com" {
				return answering(200, "", "").RoundTrip(req)
			}
			return answering(401, "", "").RoundTrip(req)
		})
		account := &endless{}
		rt := &oauth.Transport{Account: account, Base: base, Hosts: []string{"*.example.com"}}
		begin := time.Now()
		for time.Since(begin) < time.Hour {
			for _, address := range []string{api, "https://good.example.com/"} {
				if _, err := send(t, rt, address, nil); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
		}
		if account.reports < 10 || account.reports > 15 {
			t.Errorf("%d reports in an hour", account.reports)
		}
		time.Sleep(5 * time.Minute)
		before := account.reports
		rejectOne := roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("Authorization") == fmt.Sprint("Bearer token-", before) {
				return answering(401, "", "").RoundTrip(req)
			}
			return answering(200, "", "").RoundTrip(req)
		})
		rt.Base = rejectOne
		for range 2 {
			if resp, err := send(t, rt, api, nil); err != nil || resp.StatusCode != 200 {
				t.Errorf("a token that really died: %v, %v", resp, err)
			}
			before++
		}
	})
}

func TestOtherHostsDoNotGetTheToken(t *testing.T) {
	hosts := []string{"api.example.com", "*.example.org", "http://10.0.0.7:8080", "box:8443"}
	for address, want := range map[string]bool{
		"https://api.example.com/": true, "https://API.example.com/": true, "http://api.example.com/": false, "https://api.example.com:444/": false,
		"https://a.b.example.org/": true, "https://example.org/": false, "https://evilexample.org/": false, "https://x.example.com/": false,
		"http://10.0.0.7:8080/": true, "https://10.0.0.7:8080/": true, "https://box:8443/": true, "https://box/": false,
	} {
		s := &server{}
		_, err := send(t, &oauth.Transport{Account: &tokens{n: 1}, Base: s, Hosts: hosts}, address, nil)
		if got := err == nil && len(s.got) == 1; got != want {
			t.Errorf("%s: %v, %v", address, s.got, err)
		}
	}
	if _, err := send(t, &oauth.Transport{Account: &tokens{}, Base: &server{}}, api, nil); err == nil {
		t.Error("without Hosts the token is sent")
	}
}

func TestARedirectToAnotherHostGoesWithoutTheToken(t *testing.T) {
	var got []string
	base := roundTripper(func(req *http.Request) (*http.Response, error) {
		got = append(got, req.URL.Host+" "+req.Header.Get("Authorization"))
		if req.URL.Path == "/v1" {
			return answering(302, "", "", "Location", "https://evil.example.net/").RoundTrip(req)
		}
		return answering(401, "", "").RoundTrip(req)
	})
	client := &http.Client{Transport: &oauth.Transport{
		Account: &tokens{}, Base: base, Hosts: []string{"api.example.com", "evil.example.net"},
	}}
	resp, err := client.Get(api)
	if err != nil || resp.StatusCode != 401 {
		t.Fatal(resp, err)
	}
	if len(got) != 2 || got[0] != "api.example.com Bearer token-1" || got[1] != "evil.example.net " {
		t.Errorf("%q", got)
	}
}

func TestErrorsOfATransportHoldNoToken(t *testing.T) {
	base := roundTripper(func(req *http.Request) (*http.Response, error) {
		return nil, errors.New("cannot send " + req.Header.Get("Authorization"))
	})
	_, err := send(t, &oauth.Transport{Account: &tokens{}, Base: base, Hosts: []string{"api.example.com"}}, api, nil)
	if err == nil || strings.Contains(err.Error(), "token-1") {
		t.Errorf("%v", err)
	}
	none := errors.New("no token")
	if _, err := send(t, &oauth.Transport{Account: &tokens{failed: none}, Hosts: []string{"api.example.com"}}, api, nil); !errors.Is(err, none) {
		t.Errorf("%v", err)
	}
}
