package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestCallersKnownByATokenOnlyAreLimitedByAddress(t *testing.T) {
	hold, entered := make(chan struct{}), make(chan struct{}, 8)
	upstream := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			entered <- struct{}{}
			<-hold
		}
	}))
	account := &fixed{}
	s := newStage(t, weChatRoute(t, upstream), account, func(c *Config) { c.Limits = Limits{Each: 1} })
	s.cfg.Tokens.Seen(appID, account.token())
	call := func(path, from string) string {
		req := httptest.NewRequest(http.MethodGet, "/proxy/wx"+path+"?access_token="+account.text(), nil)
		req.RemoteAddr = from
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		return w.Body.String()
	}
	done := make(chan struct{})
	go func() { // ends when hold is closed
		defer close(done)
		call("/held", "192.0.2.1:1000")
	}()
	<-entered
	if got := call("/x", "192.0.2.1:1001"); !strings.Contains(got, "45011") {
		t.Errorf("the same address: %s", got)
	}
	if got := call("/x", "192.0.2.2:1000"); got != "" {
		t.Errorf("another address: %s", got)
	}
	close(hold)
	<-done
	if !strings.Contains(s.logged.String(), `caller=(token)`) {
		t.Errorf("the audit lines have no caller:\n%s", s.logged)
	}
	callWith(s, "GET", "/proxy/wx/x?access_token=a-guess", "")
	callWith(s, "GET", "/proxy/wx/sns/auth?access_token=of-a-user", "")
	for line := range strings.Lines(s.logged.String()) {
		if (strings.Contains(line, "refused") || strings.Contains(line, "/sns/auth")) && strings.Contains(line, "caller=") {
			t.Errorf("it has no caller: %s", line)
		}
	}
}

// timed is a client's connection whose deadline for reading can be looked at.
type timed struct {
	*httptest.ResponseRecorder
	deadlines []time.Time
}

func (c *timed) SetReadDeadline(t time.Time) error {
	c.deadlines = append(c.deadlines, t)
	return nil
}

func TestABodyHasADeadlineFromItsFirstByte(t *testing.T) {
	s := newStage(t, weChatRoute(t, serve(t, http.HandlerFunc(echo))), &fixed{}, nil)
	for path, header := range map[string]string{"/sns/userinfo": "", "/x": basic} {
		req := httptest.NewRequest(http.MethodPost, "/proxy/wx"+path, nil)
		w := &timed{ResponseRecorder: httptest.NewRecorder()}
		var first int
		req.Body, req.ContentLength = io.NopCloser(readerFunc(func([]byte) (int, error) {
			first = len(w.deadlines)
			return 0, io.EOF
		})), -1
		if header != "" {
			req.Header.Set("Authorization", header)
		}
		s.ServeHTTP(w, req)
		if first != 1 || len(w.deadlines) != 2 || time.Until(w.deadlines[0]) > clientStall || !w.deadlines[1].IsZero() {
			t.Errorf("%s: %d deadlines before the first byte, %v", path, first, w.deadlines)
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestTheBodyOfACallWithoutACallerIsShort(t *testing.T) {
	s := newStage(t, weChatRoute(t, serve(t, http.HandlerFunc(echo))), &fixed{}, nil)
	front := serve(t, s)
	for size, want := range map[int]int{maxUnprovedBody: 200, maxUnprovedBody + 1: 413} {
		for _, chunked := range []bool{false, true} {
			var body io.Reader = strings.NewReader(strings.Repeat("a", size))
			if chunked {
				body = struct{ io.Reader }{body}
			}
			resp, err := http.Post(front+"/proxy/wx/sns/userinfo?access_token=of-a-user", "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%d bytes, chunked %v: status %d, want %d", size, chunked, resp.StatusCode, want)
			}
		}
	}
}
