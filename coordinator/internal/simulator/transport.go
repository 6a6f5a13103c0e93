// Package simulator has what the simulated issuers have in common.
package simulator

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
)

// MaxRequest is the number of bytes that are read of a request's body.
const MaxRequest = 1 << 20

// Transport is an http.RoundTripper whose calls to any host go to Handler without a
// socket, so that it works in a testing/synctest bubble. A request whose context has
// ended is not sent. If the caller gives up, the handler goes on, as in a server. One
// that ends by Reset or Refuse breaks the connection.
type Transport struct {
	Handler http.Handler
	From    string // the RemoteAddr of the requests, without a port
	Waits   bool   // for the handler to end also if the caller gives up
}

// RoundTrip implements http.RoundTripper.
func (t Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	served, err := t.served(req)
	if err != nil {
		return nil, err
	}
	done := make(chan *recorder, 1)
	go func() { // ends when the handler does
		w := &recorder{header: make(http.Header)}
		w.serve(t.Handler, served)
		done <- w
	}()
	select {
	case w := <-done:
		return w.response(req)
	case <-req.Context().Done():
		if t.Waits {
			<-done
		}
		return nil, context.Cause(req.Context())
	}
}

// served returns the request as a server gets it.
func (t Transport) served(req *http.Request) (*http.Request, error) {
	var body []byte
	if req.Body != nil {
		defer func() { _ = req.Body.Close() }()
		var err error
		if body, err = io.ReadAll(io.LimitReader(req.Body, MaxRequest+1)); err != nil {
			return nil, err
		}
	}
	if req.Context().Err() != nil {
		return nil, dialError(context.Cause(req.Context()))
	}
	served := req.Clone(req.Context())
	if len(body) > 0 && req.ContentLength != int64(len(body)) {
		served.TransferEncoding = []string{"chunked"}
	}
	served.Method = cmp.Or(served.Method, http.MethodGet)
	served.Host = cmp.Or(served.Host, req.URL.Host)
	served.Body, served.RequestURI, served.RemoteAddr = io.NopCloser(bytes.NewReader(body)), req.URL.RequestURI(), t.From
	return served, nil
}

// Refuse ends a handler as if there had been no connection. Over HTTP it is Reset.
func Refuse(w http.ResponseWriter) {
	if w, ok := w.(*recorder); ok {
		w.refused = true
	}
	Reset(w)
}

// Reset breaks the connection, by a TCP reset where possible, and ends the handler.
func Reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

// Truncate sends the first half of a body whose length is announced, and breaks the
// connection.
func Truncate(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body[:len(body)/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler) // a reset would lose the half
}

// recorder is an http.ResponseWriter in memory.
type recorder struct {
	header           http.Header
	status           int // 0: no answer has begun
	body             bytes.Buffer
	aborted, refused bool
}

// serve runs the handler.
func (w *recorder) serve(h http.Handler, r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			w.aborted = true
		}
	}()
	h.ServeHTTP(w, r)
	w.WriteHeader(http.StatusOK)
}

// response returns what the client gets.
func (w *recorder) response(req *http.Request) (*http.Response, error) {
	switch {
	case w.refused:
		return nil, dialError(syscall.ECONNREFUSED)
	case w.status == 0:
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	body, length := io.Reader(&w.body), int64(w.body.Len())
	if w.aborted {
		body = io.MultiReader(body, broken{})
		length = -1
		if announced, err := strconv.ParseInt(w.header.Get("Content-Length"), 10, 64); err == nil {
			length = announced
		}
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(body), ContentLength: length, Request: req,
	}, nil
}

func dialError(cause error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: cause} }

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// broken is the rest of a body that breaks off.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
