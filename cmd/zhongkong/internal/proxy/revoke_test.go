package proxy

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

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
