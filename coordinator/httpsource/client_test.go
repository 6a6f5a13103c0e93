package httpsource_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

// silent hides what a transport reports to httptrace.
type silent func(*http.Request) (*http.Response, error)

func (s silent) RoundTrip(req *http.Request) (*http.Response, error) { return s(req) }

func failing(err error) http.RoundTripper {
	return silent(func(*http.Request) (*http.Response, error) { return nil, err })
}

func do(t *testing.T, c *httpsource.Client, url string) (*httpsource.Response, *httpsource.Error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Do(req, 10)
	var failed *httpsource.Error
	if err != nil && !errors.As(err, &failed) {
		t.Fatalf("Do() = %v, want an *Error", err)
	}
	return answer, failed
}

func TestAFailureIsUnknownUnlessTheRequestCannotHaveBeenSent(t *testing.T) {
	var calls atomic.Int64
	answers := func(h http.HandlerFunc) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { calls.Add(1); h(w, r) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	real := httpsource.NewClient(nil, time.Second)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	secure.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	for name, c := range map[string]struct {
		client  *httpsource.Client
		url     string
		sent    bool
		timeout bool
		calls   int64
	}{
		"nobody listens": {real, "http://127.0.0.1:1", false, false, 0},
		"the server hangs up": {real, answers(func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		}), true, false, 1},
		"the server does not answer": {real, answers(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), true, true, 1},
		"the body breaks off": {real, answers(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "abc")
		}), true, false, 1},
		"the server misses the client's certificate": {httpsource.NewClient(secure.Client().Transport, 0), secure.URL, false, false, 0},
		"a transport of their own was refused its certificate": {
			httpsource.NewClient(failing(&net.OpError{Op: "remote error", Err: tls.AlertError(42)}), 0), "http://x", false, false, 0,
		},
		"a transport of their own got another alert": { // an internal error
			httpsource.NewClient(failing(&net.OpError{Op: "remote error", Err: tls.AlertError(80)}), 0), "http://x", true, false, 0,
		},
		"a transport of their own could not dial": {
			httpsource.NewClient(failing(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), 0), "http://x", false, false, 0,
		},
		"a transport of their own lost the connection": {
			httpsource.NewClient(failing(io.ErrUnexpectedEOF), 0), "http://x", true, false, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := calls.Load()
			_, failed := do(t, c.client, c.url)
			if failed == nil {
				t.Fatal("Do() = nil, want an error")
			}
			if failed.Sent != c.sent || failed.Timeout != c.timeout {
				t.Errorf("Sent = %v, Timeout = %v (%v); want %v, %v", failed.Sent, failed.Timeout, failed, c.sent, c.timeout)
			}
			want := coordinator.FailedBusy
			if c.sent {
				want = coordinator.FailedUnknown
			}
			if f := failed.Failure(); f.Kind != want || (f.Calls == 1) != c.sent {
				t.Errorf("Failure() = %v with %d calls, want %v", f.Kind, f.Calls, want)
			}
			if got := calls.Load() - before; got != c.calls {
				t.Errorf("the issuer was asked %d times, want %d", got, c.calls)
			}
		})
	}
}

func TestNoRedirectIsFollowedAndNoBodyReadWithoutBound(t *testing.T) {
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusFound)
		fmt.Fprint(w, "0123456789ABCDEF")
	}))
	defer s.Close()
	shared := &http.Transport{}
	defer shared.CloseIdleConnections()
	for range 3 {
		answer, failed := do(t, httpsource.NewClient(shared, 0), s.URL)
		if failed != nil || answer.Status != http.StatusFound || string(answer.Body) != "0123456789" {
			t.Errorf("Do() = %v, %v", answer, failed)
		}
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
}

func TestARequestNamesItsSenderUnlessItDoesSoItself(t *testing.T) {
	var got []string
	c := httpsource.NewClient(silent(func(req *http.Request) (*http.Response, error) {
		got = req.Header["User-Agent"]
		return &http.Response{Body: http.NoBody}, nil
	}), 0)
	for _, test := range []struct {
		header http.Header
		want   string
	}{{nil, "zhongkong"}, {http.Header{"User-Agent": {"theirs"}}, "theirs"}} {
		req := httptest.NewRequest(http.MethodGet, "http://x", nil)
		req.Header = test.header
		if _, err := c.Do(req, 0); err != nil || len(got) != 1 || got[0] != test.want {
			t.Errorf("Do() with the header %v sent the User-Agent %q, %v; want %q", test.header, got, err, test.want)
		}
		if len(req.Header) != len(test.header) {
			t.Errorf("Do() changed the request's header: %v", req.Header)
		}
	}
}
