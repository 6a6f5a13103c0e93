package proxy

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// leaving is an account whose token comes when a caller has been removed.
type leaving struct {
	fixed
	remove func()
}

func (a *leaving) Token(ctx context.Context) (coordinator.Token, error) {
	a.remove()
	return a.fixed.Token(ctx)
}

func TestACallerRemovedBeforeTheCallIsMadeMakesNone(t *testing.T) {
	account := &leaving{}
	calls := 0
	s := newStage(t, weChatRoute(t, ""), account, func(c *Config) {
		c.Base = roundTripper(func(*http.Request) (*http.Response, error) { calls++; return nil, errors.New("not to be asked") })
		c.Secret = func(string) (string, string, bool) { account.remove(); return appID, "a-secret", true }
	})
	account.remove = func() { s.remove("sdk") }
	for _, target := range []string{users, "/sns/jscode2session?js_code=C&appid=" + appID} {
		if err := s.callers.SetUsers(usersWithout()); err != nil {
			t.Fatal(err)
		}
		w := callWith(s, "GET", "/proxy/wx"+target, "", "Authorization: "+basic)
		if w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), `"error":"revoked"`) || calls != 0 {
			t.Errorf("%s: %d %s, %d calls", target, w.Code, w.Body, calls)
		}
	}
}

func TestACallEndsWithItsCallerWhileTheUpstreamIsSilent(t *testing.T) {
	for _, headFirst := range []bool{false, true} {
		began, ended := make(chan struct{}), make(chan struct{})
		upstream := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if headFirst {
				_ = http.NewResponseController(w).Flush()
			}
			close(began)
			<-r.Context().Done()
			close(ended)
		}))
		s := newStage(t, routeTo(t, upstream, "bearer"), &fixed{}, nil)
		go func() { <-began; s.remove("sdk") }()
		w := callWith(s, "GET", "/proxy/crm/x", "", "Authorization: "+basic)
		if !headFirst && (w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), `"error":"revoked"`)) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Fatal("the upstream's request goes on")
		}
		if s.slots.InUse() != 0 {
			t.Errorf("%d under way", s.slots.InUse())
		}
	}
}
