package wechat_test

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// TestOverSockets makes sure of what only real connections show.
func TestOverSockets(t *testing.T) {
	sandbox := wechattest.New(wechattest.Config{})
	base := sandbox.Start(t)
	open := func(t *testing.T, c wechat.Config) *wechat.Source {
		t.Helper()
		c.AppID, c.Secret = appID, secret
		s, err := c.Source()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, kind := range []wechat.Kind{wechat.Classic, wechat.Stable} {
		s := open(t, wechat.Config{Kind: kind, BaseURL: base + "/"})
		if issue := fetch(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonMissing}); issue.Calls != 1 {
			t.Errorf("%s: Calls = %d", kind, issue.Calls)
		}
		inject(t, sandbox, wechattest.Fault{Kind: wechattest.FaultReset, Times: 1})
		if issue := fetch(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonMissing}); issue.Calls != 2 {
			t.Errorf("%s: after a reset: Calls = %d", kind, issue.Calls)
		}
		inject(t, sandbox, wechattest.Fault{Kind: wechattest.FaultTruncated, Times: 2})
		if failure := failing(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonMissing}); failure.Kind != coordinator.FailedUnknown {
			t.Errorf("%s: truncated: %+v", kind, failure)
		}
	}
	t.Run("connection refused", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = listener.Close()
		refusing := "http://" + listener.Addr().String()
		failure := failing(t, open(t, wechat.Config{BaseURL: refusing}), coordinator.FetchRequest{})
		if failure.Kind != coordinator.FailedBusy || failure.Calls != 0 {
			t.Errorf("failure = %+v, want busy without a call", failure)
		}
		fetch(t, open(t, wechat.Config{BaseURL: refusing, Fallbacks: []string{base}}), coordinator.FetchRequest{})
	})
	t.Run("an unknown certificate", func(t *testing.T) {
		var calls atomic.Int32
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		defer server.Close()
		failure := failing(t, open(t, wechat.Config{BaseURL: server.URL}), coordinator.FetchRequest{})
		if failure.Kind != coordinator.FailedBusy || failure.Calls != 0 || calls.Load() != 0 {
			t.Errorf("failure = %+v, want busy without a call", failure)
		}
	})
	t.Run("a redirect", func(t *testing.T) {
		var followed atomic.Int32
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/stolen" {
				followed.Add(1)
			}
			http.Redirect(w, r, "/stolen?"+r.URL.RawQuery, http.StatusTemporaryRedirect)
		}))
		defer server.Close()
		for _, kind := range []wechat.Kind{wechat.Classic, wechat.Stable} {
			failure := failing(t, open(t, wechat.Config{Kind: kind, BaseURL: server.URL}), coordinator.FetchRequest{})
			if failure.Kind != coordinator.FailedBusy || followed.Load() != 0 {
				t.Errorf("failure = %+v, followed %d", failure, followed.Load())
			}
		}
	})
	t.Run("something that is no HTTP", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { // ends when the listener is closed
			defer close(done)
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = io.WriteString(conn, `{"access_token":"90_token","expires_in":7200}`+"\r\n\r\n")
				_ = conn.Close()
			}
		}()
		failure := failing(t, open(t, wechat.Config{BaseURL: "http://" + listener.Addr().String()}), coordinator.FetchRequest{})
		if failure.Kind != coordinator.FailedUnknown || failure.Calls != 2 || !strings.Contains(failure.Message, "malformed") {
			t.Errorf("failure = %+v, want unknown after 2 calls", failure)
		}
		_ = listener.Close()
		<-done
	})
	t.Run("HTTP/2 is not spoken", func(t *testing.T) {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != 1 && strings.HasPrefix(r.URL.Path, "/cgi-bin/") {
				t.Errorf("called by %s", r.Proto)
			}
			_, _ = io.WriteString(w, `{"access_token":"90_x","expires_in":7200}`)
		}))
		server.EnableHTTP2 = true
		server.StartTLS()
		defer server.Close()
		warm, err := server.Client().Get(server.URL) // makes the transport ready for HTTP/2
		if err == nil {
			_ = warm.Body.Close()
		}
		fetch(t, open(t, wechat.Config{BaseURL: server.URL, Transport: server.Client().Transport}), coordinator.FetchRequest{})
	})
	t.Run("no connection is used twice", func(t *testing.T) {
		seen := make(map[string]bool)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if seen[r.RemoteAddr] {
				t.Errorf("%s was used again", r.RemoteAddr)
			}
			seen[r.RemoteAddr] = true
			_, _ = io.WriteString(w, `{"access_token":"90_x","expires_in":7200}`)
		}))
		defer server.Close()
		s := open(t, wechat.Config{BaseURL: server.URL, Transport: http.DefaultTransport})
		for range 3 {
			fetch(t, s, coordinator.FetchRequest{})
		}
	})
}
