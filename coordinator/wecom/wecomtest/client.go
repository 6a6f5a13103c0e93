package wecomtest

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"syscall"
)

// defaultFrom is the source address of in-process calls.
const defaultFrom = "127.0.0.1"

// Transport returns a transport whose calls to any host go to the server, without a
// socket.
func (s *Server) Transport() http.RoundTripper { return s.TransportFrom(defaultFrom) }

// TransportFrom is Transport with a source address.
func (s *Server) TransportFrom(address string) http.RoundTripper { return inProcess{s, address} }

// inProcess carries requests to a Server.
type inProcess struct {
	server *Server
	from   string
}

// RoundTrip implements http.RoundTripper.
func (t inProcess) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	if req.Body == nil {
		req = req.Clone(req.Context())
		req.Body = http.NoBody
	}
	defer func() { _ = req.Body.Close() }()
	if req.Context().Err() != nil {
		return nil, dialError(context.Cause(req.Context()))
	}
	if t.server.takeDial(req.URL.Path) {
		return nil, dialError(syscall.ECONNREFUSED)
	}
	served := req.Clone(req.Context())
	served.RemoteAddr = net.JoinHostPort(t.from, "40000")
	defer func() {
		if broken := recover(); broken != nil {
			if broken != http.ErrAbortHandler { //nolint:errorlint // a panic's value, compared as net/http does
				panic(broken)
			}
			resp, err = nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
		}
	}()
	w := &recorder{header: make(http.Header)}
	t.server.ServeHTTP(w, served)
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(bytes.NewReader(w.body.Bytes())), ContentLength: int64(w.body.Len()), Request: req,
	}, nil
}

func dialError(cause error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: cause} }

// takeDial uses up a fault that keeps a connection from being made.
func (s *Server) takeDial(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.Path == "" || f.Path == path {
			return f.Dial && s.fault(path) != nil
		}
	}
	return false
}

// recorder is the ResponseWriter of a call in process.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) WriteHeader(status int)      { w.status = status }
func (w *recorder) Write(p []byte) (int, error) { return w.body.Write(p) }
