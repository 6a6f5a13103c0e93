package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

func TestACallThatBreaksIsLoggedWithItsEnd(t *testing.T) {
	for ended, act := range map[string]func(s *stage, cancel func(), conn io.Closer){
		"upstream_cut": func(_ *stage, _ func(), conn io.Closer) { _ = conn.Close() },
		"gone":         func(_ *stage, cancel func(), _ io.Closer) { cancel() },
		"revoked":      func(s *stage, _ func(), _ io.Closer) { s.remove("sdk") },
	} {
		conns := make(chan io.Closer, 1)
		upstream := serveRaw(t, func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
			conns <- conn
		})
		s := newStage(t, routeTo(t, upstream, "bearer"), &fixed{}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, serve(t, s)+"/proxy/crm/x", nil)
		req.Header.Set("Authorization", basic)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		conn := <-conns
		act(s, cancel, conn)
		if text, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: a whole answer: %s", ended, text)
		}
		eventually(t, "the audit line of "+ended, func() bool { return strings.Contains(s.logged.String(), "ended="+ended) })
		eventually(t, "the end of the call", func() bool { return s.slots.InUse() == 0 })
		_, _ = resp.Body.Close(), conn.Close()
		cancel()
		for _, words := range []string{"msg=call ", "route=crm", "caller=sdk", "status=200"} {
			if !strings.Contains(s.logged.String(), words) {
				t.Errorf("%s: the log has no %s:\n%s", ended, words, s.logged)
			}
		}
		cut := map[string]uint64{"upstream_cut": 1, "revoked": 1}[ended]
		if got := s.Stats()[0]; got.Calls != 1 || got.Cut != cut || strings.Contains(s.logged.String(), "ReverseProxy") {
			t.Errorf("%s: %+v\n%s", ended, got, s.logged)
		}
	}
}

func TestACallersBrokenBodyIsItsOwnFault(t *testing.T) {
	upstream := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	for _, route := range []Route{routeTo(t, upstream, "bearer"), weChatRoute(t, upstream)} {
		s := newStage(t, route, &fixed{}, nil)
		answer := raw(t, serve(t, s), "POST /proxy/"+route.Name+"/x HTTP/1.1\r\nHost: x\r\nAuthorization: "+basic+
			"\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\nbody\r\nno length\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 400 ") || !strings.Contains(answer, "bad_request") {
			t.Errorf("%s: %s", route.Name, answer)
		}
		if got := s.Stats()[0]; got.Malformed != 1 || got.Failed != 0 {
			t.Errorf("%s: %+v", route.Name, got)
		}
	}
}
