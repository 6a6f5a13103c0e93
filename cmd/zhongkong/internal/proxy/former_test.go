package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// archive is a Former that counts what it is asked.
type archive struct {
	mu    sync.Mutex
	ages  map[string]time.Duration
	added []string
	asked int
	err   error
	slow  time.Duration
}

func (a *archive) Add(_ context.Context, account, token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.added = append(a.added, account+" "+token)
}

func (a *archive) Age(_ context.Context, _, token string) (time.Duration, bool, error) {
	time.Sleep(a.slow)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	age, found := a.ages[token]
	return age, found, a.err
}

// archived is a stage with a WeChat route to an upstream that is not reached.
func archived(t *testing.T, a *archive) *stage {
	t.Helper()
	return newStage(t, weChatRoute(t, "http://upstream.invalid"), &fixed{}, func(c *Config) {
		c.Tokens = NewTokens(c.Routes, a)
		c.Base = reply(`{"errcode":0}`)
	})
}

// reply is an upstream that always answers the same.
type reply string

func (r reply) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	_, _ = w.WriteString(string(r))
	resp := w.Result()
	resp.Request = req
	return resp, nil
}

func (s *stage) takes(token, from string) bool {
	req := httptest.NewRequest(http.MethodGet, "/proxy/wx/cgi-bin/x?access_token="+token, http.NoBody)
	req.RemoteAddr = from
	w := httptest.NewRecorder()
	s.ServeHTTP(w, req)
	return !strings.Contains(w.Body.String(), "40001")
}

func TestATokenThatOthersKnewIsAskedForOnceAndForgottenInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &archive{ages: map[string]time.Duration{"older": time.Hour}, slow: time.Millisecond}
		s := archived(t, a)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if !s.takes("older", "192.0.2.1:1") {
					t.Error("a former token is refused")
				}
			})
		}
		all.Wait()
		if a.asked != 1 {
			t.Errorf("asked %d times, want once", a.asked)
		}
		synctest.Wait()
		if len(a.added) == 0 || a.added[0] != appID+" "+(&fixed{}).text() || len(a.added) > 1 {
			t.Errorf("%d tokens were added, want the current one", len(a.added))
		}
		a.ages = nil
		time.Sleep(3*time.Hour - time.Minute)
		if !s.takes("older", "192.0.2.1:1") {
			t.Error("refused before its end")
		}
		time.Sleep(2 * time.Minute)
		if s.takes("older", "192.0.2.1:1") {
			t.Error("accepted after its end")
		}
	})
}

func TestGuessesCostFewLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &archive{ages: map[string]time.Duration{"older": 0}}
		s := archived(t, a)
		for i := range 500 {
			if s.takes(fmt.Sprint("guess-", i), "192.0.2.1:1") {
				t.Fatal("a guess passes")
			}
		}
		if a.asked != maxLookupsOfSource {
			t.Errorf("one address: asked %d times, want %d", a.asked, maxLookupsOfSource)
		}
		if !s.takes("older", "192.0.2.2:1") {
			t.Error("guesses from one address have locked out another")
		}
		for i := range 500 {
			s.takes(fmt.Sprint("guess-", i), fmt.Sprintf("198.51.%d.%d:1", i/256, i%256))
		}
		if a.asked != maxLookups {
			t.Errorf("all addresses: asked %d times, want %d", a.asked, maxLookups)
		}
		time.Sleep(time.Second)
		a.err = errors.New("away")
		before := a.asked
		if s.takes("guess", "192.0.2.1:1") || a.asked != before+1 {
			t.Error("nothing is asked a second later, or a guess passes without an answer")
		}
	})
}

func TestAPasswordIsNotLookedUpAsAToken(t *testing.T) {
	a := &archive{}
	s := newStage(t, routeTo(t, "http://upstream.invalid", "bearer"), &fixed{}, func(c *Config) {
		c.Tokens, c.Base = NewTokens(c.Routes, a), reply("{}")
	})
	req := httptest.NewRequest(http.MethodGet, "/proxy/crm/x", http.NoBody)
	req.Header.Set("Authorization", "Bearer sdk~"+userKey)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, req)
	if w.Code != http.StatusOK || a.asked != 0 {
		t.Errorf("%d, asked %d times", w.Code, a.asked)
	}
}
