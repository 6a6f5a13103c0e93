package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are pipes, so that a bubble can hold both ends.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.accepted <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accepted:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// serveInBubble serves a handler with the timeouts of the daemon, by one version of HTTP.
func serveInBubble(t *testing.T, h http.Handler, major int) (*pipes, *http.Client) {
	t.Helper()
	var protocols http.Protocols
	protocols.SetHTTP1(major == 1)
	protocols.SetUnencryptedHTTP2(major == 2)
	at := &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: h, WriteTimeout: 75 * time.Second, ReadHeaderTimeout: 5 * time.Second, Protocols: &protocols}
	go func() { _ = server.Serve(at) }() // ends with Close
	client := &http.Transport{DialContext: at.dial, Protocols: &protocols}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		_ = server.Close()
	})
	return at, &http.Client{Transport: client}
}

// streaming is an upstream whose answers have a body, which is written by the test.
func streaming(body io.ReadCloser) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return nil, err
			}
		}
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: body, ContentLength: -1, Request: r}, nil
	}
}

// TestASilentStreamIsNotCut: neither while nothing is sent for longer than clientStall and
// the server's own timeout, nor if it ends after that without another word.
func TestASilentStreamIsNotCut(t *testing.T) {
	for _, major := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			reader, writer := io.Pipe()
			s := newStage(t, routeTo(t, "http://api.test", "bearer"), &fixed{}, func(c *Config) { c.Base = streaming(reader) })
			_, client := serveInBubble(t, s, major)
			go func() {
				for _, silence := range []time.Duration{5 * time.Second, 35 * time.Second, 2 * time.Minute} {
					time.Sleep(silence)
					_, _ = writer.Write([]byte("data: x\n\n"))
				}
				time.Sleep(2 * time.Minute)
				_ = writer.Close()
			}()
			req, _ := http.NewRequest(http.MethodGet, "http://zk.test/proxy/crm/x", nil)
			resp := answerTo(t, client, req)
			if text, err := io.ReadAll(resp.Body); err != nil || len(text) != 27 || resp.ProtoMajor != major {
				t.Errorf("%s: %q, %v", resp.Proto, text, err)
			}
		})
	}
}

// answerTo sends a request of a caller, and returns the head of its answer. The body is closed
// when the test ends.
func answerTo(t *testing.T, client *http.Client, req *http.Request) *http.Response {
	t.Helper()
	req.Header.Set("Authorization", basic)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// TestAnUploadThatWaitsForItsUpstreamIsNotCut: nobody reads for longer than clientStall.
func TestAnUploadThatWaitsForItsUpstreamIsNotCut(t *testing.T) {
	for _, major := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			slow := roundTripper(func(r *http.Request) (*http.Response, error) {
				_, _ = io.CopyN(io.Discard, r.Body, 10)
				time.Sleep(2 * time.Minute)
				n, err := io.Copy(io.Discard, r.Body)
				if err != nil {
					return nil, err
				}
				return &http.Response{StatusCode: 200, Body: io.NopCloser(&zeros{n}), ContentLength: n, Request: r}, nil
			})
			s := newStage(t, routeTo(t, "http://api.test", "bearer"), &fixed{}, func(c *Config) { c.Base = slow })
			_, client := serveInBubble(t, s, major)
			req, _ := http.NewRequest(http.MethodPost, "http://zk.test/proxy/crm/x", io.NopCloser(&zeros{maxRepeatable + 1}))
			req.ContentLength = maxRepeatable + 1
			resp := answerTo(t, client, req)
			if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != maxRepeatable+1-10 || resp.StatusCode != 200 {
				t.Errorf("%s: %d, %d bytes, %v", resp.Proto, resp.StatusCode, n, err)
			}
		})
	}
}

// TestAClientThatTakesNothingIsGivenUp: the call and the connection's stream end.
func TestAClientThatTakesNothingIsGivenUp(t *testing.T) {
	for _, major := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			const n = 1 << 40
			endless := roundTripper(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Body: io.NopCloser(&zeros{n}), ContentLength: n, Request: r}, nil
			})
			began, ended := time.Now(), make(chan time.Duration, 1)
			s := newStage(t, routeTo(t, "http://api.test", "bearer"), &fixed{}, func(c *Config) { c.Base = endless })
			_, client := serveInBubble(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() { ended <- time.Since(began); panic(recover()) }()
				s.ServeHTTP(w, r)
			}), major)
			req, _ := http.NewRequest(http.MethodGet, "http://zk.test/proxy/crm/x", nil)
			resp := answerTo(t, client, req)
			// The server's own timeout is in force over HTTP/1 for the first second.
			if took, most := <-ended, 75*time.Second; took > most || took < clientStall || s.slots.InUse() != 0 {
				t.Errorf("%s: after %v", resp.Proto, took)
			}
		})
	}
}

// TestABodyThatDoesNotComeIsGivenUp: a call that is not made is answered, although net/http
// reads what is left of a body before it sends an answer; any other ends with its connection.
func TestABodyThatDoesNotComeIsGivenUp(t *testing.T) {
	const known = "Authorization: " + basic + "\r\n"
	reading := roundTripper(func(r *http.Request) (*http.Response, error) {
		_, err := io.Copy(io.Discard, r.Body)
		return nil, err
	})
	for _, c := range []struct {
		path, head string
		account    Account
		want       string
	}{
		{"unknown/x", "", nil, "404"},
		{"crm/x", "", nil, "401"},
		{"crm/x", known, waiting{}, "503"},
		{"crm/x", known, &fixed{}, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, routeTo(t, "http://api.test", "bearer"), c.account, func(c *Config) { c.Base = reading })
			at, _ := serveInBubble(t, s, 1)
			conn, err := at.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			began := time.Now()
			go func() {
				_, _ = io.WriteString(conn, "POST /proxy/"+c.path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n"+c.head+"\r\n")
			}()
			line, _ := bufio.NewReader(conn).ReadString('\n')
			if _, status, _ := strings.Cut(line, " "); !strings.HasPrefix(status, c.want) || (c.want == "") != (line == "") || time.Since(began) > clientStall {
				t.Errorf("%s %s: %q after %v", c.path, c.head, line, time.Since(began))
			}
			synctest.Wait()
			if n := s.slots.InUse(); n != 0 {
				t.Errorf("%s %s: %d under way", c.path, c.head, n)
			}
		})
	}
}

// TestABodyThatDoesNotComeByHTTP2IsGivenUp, too.
func TestABodyThatDoesNotComeByHTTP2IsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, routeTo(t, "http://api.test", "bearer"), &fixed{}, nil)
		_, client := serveInBubble(t, s, 2)
		body, writer := io.Pipe()
		defer func() { _ = writer.Close() }()
		req, _ := http.NewRequest(http.MethodPost, "http://zk.test/proxy/crm/x", body)
		req.ContentLength = 10
		began := time.Now()
		resp := answerTo(t, client, req)
		if took := time.Since(began); took != clientStall || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%d after %v", resp.StatusCode, took)
		}
	})
}

// TestNoEmpty200AnswersARefusedCall: a client that has closed its side for writing still
// reads.
func TestNoEmpty200AnswersARefusedCall(t *testing.T) {
	s := newStage(t, routeTo(t, "http://api.test", "bearer"), &fixed{}, nil)
	answer := raw(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		cancel() // as net/http does when the client closes
		s.ServeHTTP(w, r.WithContext(ctx))
	})), "GET /proxy/crm/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if got := s.Stats()[0]; answer != "" || got.Gone != 1 {
		t.Errorf("%q, %+v", answer, got)
	}
}

// TestAnAnswerAfterA1xxHasARequestID: ReverseProxy empties the header with each 1xx.
func TestAnAnswerAfterA1xxHasARequestID(t *testing.T) {
	upstream := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		if r.URL.Path == "/own" {
			w.Header().Set("X-Request-Id", "of-the-upstream")
		}
	}))
	s := newStage(t, routeTo(t, upstream, "bearer"), &fixed{}, nil)
	front := serve(t, s)
	for path, want := range map[string]string{"/x": "mine", "/own": "of-the-upstream"} {
		resp, _ := ask(t, "GET", front+"/proxy/crm"+path, "", "Authorization: "+basic, "X-Request-Id: mine")
		if got := resp.Header.Values("X-Request-Id"); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %s", path, got, want)
		}
	}
}

// TestATransportMayReadABodyForLongerThanTheCallLasts: as net/http's does if the answer
// comes before the body's end, over HTTP/2 above all, where net/http does not wait for it.
func TestATransportMayReadABodyForLongerThanTheCallLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		early := roundTripper(func(r *http.Request) (*http.Response, error) {
			go func() { _, _ = io.Copy(io.Discard, r.Body) }() // ends with the handler
			return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
		})
		s := newStage(t, routeTo(t, "http://api.test", "bearer"), &fixed{}, func(c *Config) { c.Base = early })
		_, client := serveInBubble(t, s, 2)
		body, writer := io.Pipe()
		defer func() { _ = writer.Close() }()
		req, _ := http.NewRequest(http.MethodPost, "http://zk.test/proxy/crm/x", body)
		resp := answerTo(t, client, req)
		_ = resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%s: %s", resp.Proto, resp.Status)
		}
	})
}
