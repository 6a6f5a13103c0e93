package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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

// TestOneAddressDoesNotTakeTheUsersCallsOfEverybody: neither by calls that last, nor by
// bodies that do not come.
func TestOneAddressDoesNotTakeTheUsersCallsOfEverybody(t *testing.T) {
	hold, entered := make(chan struct{}), make(chan struct{}, maxUnproved)
	upstream := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("held") {
			entered <- struct{}{}
			<-hold
		}
	}))
	s := newStage(t, weChatRoute(t, upstream), &fixed{}, nil)
	call := func(query, from string, body io.Reader) string {
		req := httptest.NewRequest(http.MethodPost, "/proxy/wx/sns/userinfo?access_token=of-a-user"+query, body)
		req.RemoteAddr = from
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		return w.Body.String()
	}
	var calls sync.WaitGroup
	var writers []io.Closer
	for range maxUnproved {
		reading := make(chan struct{})
		body, writer := io.Pipe()
		writers = append(writers, writer)
		var once sync.Once
		calls.Go(func() {
			call("", "192.0.2.1:1000", io.MultiReader(readerFunc(func([]byte) (int, error) { once.Do(func() { close(reading) }); return 0, io.EOF }), body))
		})
		<-reading
	}
	for range maxUnprovedOfSource {
		calls.Go(func() { call("&held", "192.0.2.1:1001", nil) })
		<-entered
	}
	if got := call("", "192.0.2.1:1002", nil); !strings.Contains(got, "45011") {
		t.Errorf("the same address: %q", got)
	}
	if got := call("", "192.0.2.2:1000", nil); got != "" {
		t.Errorf("another address: %q", got)
	}
	for i := maxUnprovedOfSource; i < maxUnproved; i++ {
		from := fmt.Sprintf("198.51.100.%d:1000", i)
		calls.Go(func() { call("&held", from, nil) })
		<-entered
	}
	if got := call("", "192.0.2.2:1000", nil); !strings.Contains(got, "45011") {
		t.Errorf("all of them: %q", got)
	}
	close(hold)
	for _, w := range writers {
		_ = w.Close()
	}
	calls.Wait()
	if n := s.slots.InUse() + s.unproved.InUse(); n != 0 {
		t.Errorf("%d under way", n)
	}
}

// An application server logs its users in, and then asks who they are with their tokens.
func TestTheUsersCallsOfAKnownAddressAreLimitedAsThoseOfACaller(t *testing.T) {
	const n = maxUnproved + 8
	hold, entered := make(chan struct{}), make(chan struct{}, n)
	s := newStage(t, weChatRoute(t, ""), &fixed{}, func(c *Config) {
		c.Limits.Each = n
		c.Base = saying(func(r *http.Request) string {
			if r.URL.Path == "/sns/userinfo" {
				entered <- struct{}{}
				<-hold
			}
			return "{}"
		})
	})
	call := func(path, from string) string {
		req := httptest.NewRequest(http.MethodGet, "/proxy/wx"+path, nil)
		req.RemoteAddr = from
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		return w.Body.String()
	}
	const login, who = "/sns/oauth2/access_token?appid=" + appID + "&code=C&secret=sdk~" + userKey, "/sns/userinfo?openid=o&access_token=of-a-user"
	call(login, "192.0.2.1:1000")
	var calls sync.WaitGroup
	for range n {
		calls.Go(func() { // ends when hold is closed
			if got := call(who, "192.0.2.1:1001"); got != "{}" {
				t.Errorf("%s", got)
				entered <- struct{}{}
			}
		})
	}
	for range n {
		<-entered
	}
	if got := call(who, "192.0.2.1:1001"); !strings.Contains(got, "45011") {
		t.Errorf("one more: %s", got)
	}
	if !strings.Contains(s.logged.String(), "why=too_many_calls") {
		t.Errorf("the log does not say it: %s", s.logged)
	}
	close(hold)
	calls.Wait()
	if n := s.slots.InUse() + s.unproved.InUse(); n != 0 {
		t.Errorf("%d under way", n)
	}
}

func TestAnAddressIsKnownForAWhileOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k knownSources
		at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }
		k.note(at(0))
		time.Sleep(knownFor)
		if !k.has(at(0)) || k.has(at(1)) {
			t.Error("it is not known, or another is")
		}
		time.Sleep(time.Second)
		if k.has(at(0)) {
			t.Error("it is still known")
		}
		for i := range maxKnown + 1 {
			k.note(at(i))
		}
		if !k.has(at(maxKnown)) || len(k.seen) > maxKnown {
			t.Errorf("%d are known, the newest among them: %v", len(k.seen), k.has(at(maxKnown)))
		}
	})
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
		if first == 0 || time.Until(w.deadlines[first-1]) > clientStall || w.deadlines[first-1].IsZero() || !w.deadlines[len(w.deadlines)-1].IsZero() {
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
			text, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || resp.StatusCode != want || want == 413 && !strings.Contains(string(text), "longer than 4 KiB") {
				t.Errorf("%d bytes, chunked %v: status %d, want %d: %s", size, chunked, resp.StatusCode, want, text)
			}
		}
	}
}
