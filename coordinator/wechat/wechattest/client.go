package wechattest

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"syscall"
)

// maxRequest is the number of bytes that are read of a request's body.
const maxRequest = 1 << 20

// defaultFrom is the source address of in-process calls.
const defaultFrom = "127.0.0.1"

// Client returns an http.Client whose calls to any host go to the server, without a
// socket.
func (s *Server) Client() *http.Client { return &http.Client{Transport: s.Transport()} }

// Transport is the transport of Client.
func (s *Server) Transport() http.RoundTripper { return inProcess{server: s, from: defaultFrom} }

// TransportFrom is Transport with a source address.
func (s *Server) TransportFrom(address string) http.RoundTripper {
	return inProcess{server: s, from: address}
}

// inProcess carries requests to a Server.
type inProcess struct {
	server *Server
	from   string
}

// RoundTrip implements http.RoundTripper.
func (t inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	body, err := readBody(req)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, dialError(context.Cause(ctx))
	}
	r := &request{
		method:    req.Method,
		path:      req.URL.Path,
		query:     req.URL.Query(),
		body:      body,
		chunked:   len(body) > 0 && req.ContentLength != int64(len(body)),
		host:      req.URL.Host,
		from:      t.from,
		userAgent: req.UserAgent(),
		gone:      ctx.Done(),
	}
	if r.method == "" {
		r.method = http.MethodGet
	}
	done := make(chan reply, 1)
	// Ends by itself, see handle. If the caller gives up, the goroutine continues,
	// as a server does.
	go func() { done <- t.server.handle(r) }()
	select {
	case out := <-done:
		return out.response(req)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func readBody(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	defer func() { _ = req.Body.Close() }()
	return io.ReadAll(io.LimitReader(req.Body, maxRequest))
}

func dialError(cause error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: cause} }

func (out reply) response(req *http.Request) (*http.Response, error) {
	switch out.drop {
	case dropDial:
		return nil, dialError(syscall.ECONNREFUSED)
	case dropReset:
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	var body io.Reader = bytes.NewReader(out.body)
	if out.cut {
		body = io.MultiReader(bytes.NewReader(out.body[:len(out.body)/2]), broken{})
	}
	return &http.Response{
		Status:        http.StatusText(out.status),
		StatusCode:    out.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        out.header,
		Body:          io.NopCloser(body),
		ContentLength: int64(len(out.body)),
		Request:       req,
	}, nil
}

// broken is the end of a truncated body.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
