package httpapi

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// bare is a net/http handler that writes what the API would, and does nothing
// else.
func bare(s *stage) http.Handler {
	state := s.api.accounts.of(s.account(wxa))
	snapshot, _ := s.account(wxa).Peek()
	with := state.cache.encode(snapshot)
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["X-Content-Type-Options"], h["Cache-Control"], h["Etag"] = nosniff, noStore, with.etag
		h["Content-Type"], h["Content-Length"] = typeJSON, with.length
		_, _ = w.Write(with.body)
	})
}

// light is a ResponseWriter that costs as little as one can.
type light struct {
	header http.Header
	n      int
}

func (l *light) Header() http.Header { return l.header }
func (l *light) Write(p []byte) (int, error) {
	l.n += len(p)
	return len(p), nil
}
func (l *light) WriteHeader(int) {}

func (s *stage) handlers() map[string]http.Handler {
	return map[string]http.Handler{"bare": bare(s), "api": s.api}
}

// BenchmarkHandler is the handler alone, without a connection.
func BenchmarkHandler(b *testing.B) {
	s := newStage(b)
	for _, name := range []string{"bare", "api"} {
		h := s.handlers()[name]
		b.Run(name, func(b *testing.B) {
			r := s.request(admin, "GET", "/v1/tokens/"+wxa, "")
			w := &light{header: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header) // as for another request
				h.ServeHTTP(w, r)
			}
		})
	}
}

// BenchmarkLoopback is whole requests over connections that stay open: the
// figure that counts.
func BenchmarkLoopback(b *testing.B) {
	s := newStage(b)
	for _, name := range []string{"bare", "api"} {
		server := httptest.NewServer(s.handlers()[name])
		b.Run(name, func(b *testing.B) {
			rate(b, server.Listener.Addr().String(), max(b.N, 32))
		})
		server.Close()
	}
}

// exchange sends a request n times, one after the other, and reads the
// answers by their length alone.
func exchange(addr, text string, n int) error {
	if n == 0 {
		return nil
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	in := bufio.NewReader(c)
	length := 0
	for i := range n {
		if _, err := c.Write([]byte(text)); err != nil {
			return err
		}
		if i == 0 { // the first answer tells how long all are
			answer, err := http.ReadResponse(in, nil)
			if err != nil || answer.StatusCode != http.StatusOK {
				return fmt.Errorf("first answer: %v %w", answer, err)
			}
			_ = answer.Body.Close()
		}
		if length == 0 && i == 1 {
			if length, err = measure(in); err != nil {
				return err
			}
			continue
		}
		if i > 1 {
			if _, err := in.Discard(length); err != nil {
				return err
			}
		}
	}
	return nil
}

// measure reads one answer and returns its length in bytes.
func measure(in *bufio.Reader) (int, error) {
	n, body := 0, 0
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		n += len(line)
		_, _ = fmt.Sscanf(line, "Content-Length: %d", &body)
		if line == "\r\n" {
			break
		}
	}
	skipped, err := in.Discard(body)
	return n + skipped, err
}
