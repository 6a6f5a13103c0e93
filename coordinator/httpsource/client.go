package httpsource

import (
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync/atomic"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Client sends each request exactly once. It follows no redirect. It is safe for
// concurrent use. NewClient makes one.
type Client struct {
	transport http.RoundTripper
	traced    bool // transport is sure to report connections to httptrace
}

// NewClient returns a client that sends through rt. An *http.Transport is cloned,
// and the clone uses each connection once, by HTTP/1.1, so that there is none on
// which net/http would repeat a request. Nil: a transport with the proxy of the
// environment whose connecting and TLS handshake may take connectTimeout each
// (0: no bound but the request's context). Any other RoundTripper is used as it
// is and must not repeat requests by itself.
func NewClient(rt http.RoundTripper, connectTimeout time.Duration) *Client {
	var t *http.Transport
	switch rt := rt.(type) {
	case nil:
		t = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: connectTimeout}).DialContext,
			TLSHandshakeTimeout: connectTimeout,
		}
	case *http.Transport:
		t = rt.Clone()
		withoutHTTP2(t)
	default:
		return &Client{transport: rt}
	}
	t.DisableKeepAlives = true
	t.DisableCompression = true // net/http would lose an answer that is not what its Content-Encoding says
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	return &Client{transport: t, traced: true}
}

// withoutHTTP2 removes what a transport that was used before it was cloned has
// prepared for HTTP/2, which it would offer to servers otherwise.
func withoutHTTP2(t *http.Transport) {
	t.TLSNextProto = make(map[string]func(string, *tls.Conn) http.RoundTripper)
	if t.TLSClientConfig != nil {
		t.TLSClientConfig.NextProtos = slices.DeleteFunc(t.TLSClientConfig.NextProtos, func(p string) bool { return p == "h2" })
	}
}

// UserAgent is how a Client's requests name their sender, unless they do it themselves.
const UserAgent = "zhongkong"

// Do sends req and reads at most maxBody bytes of the answer's body. The error,
// if any, is an *Error. If the answer breaks off, Do returns both: what was read
// may be complete all the same. Bound the call by req's context.
func (c *Client) Do(req *http.Request, maxBody int64) (*Response, error) {
	var connected, answered atomic.Bool
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn:              func(httptrace.GotConnInfo) { connected.Store(true) },
		GotFirstResponseByte: func() { answered.Store(true) },
	})
	header := http.Header{"User-Agent": {UserAgent}}
	maps.Copy(header, req.Header)
	req = req.WithContext(ctx)
	req.Header = header
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		unsent := !connected.Load() && (c.traced || neverConnected(err)) || !answered.Load() && certificateRefused(err)
		return nil, &Error{Sent: !unsent, Timeout: ctx.Err() != nil || isTimeout(err), Err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	answer := &Response{Status: resp.StatusCode, Header: resp.Header, Body: body}
	if err != nil {
		return answer, &Error{Sent: true, Timeout: ctx.Err() != nil || isTimeout(err), Err: err}
	}
	return answer, nil
}

// Error is a request without a complete answer.
type Error struct {
	Sent    bool  // the issuer may have read the request
	Timeout bool  // it may still be under way: its context ended, or a time-out
	Err     error // the cause; may hold what the RoundTripper puts there
}

// Error returns the text of Err.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Failure returns e as a Source's Fetch returns it. The message is e's text as CleanError
// leaves it: without the secrets, should a RoundTripper or a proxy put them there.
func (e *Error) Failure(secrets ...string) *coordinator.FetchError {
	clean := *e
	clean.Err = CleanError(e.Err, secrets...)
	failure := &coordinator.FetchError{Kind: coordinator.FailedBusy, Message: clean.Error(), Err: &clean}
	if e.Sent {
		failure.Kind, failure.Calls = coordinator.FailedUnknown, 1
	}
	return failure
}

// neverConnected reports whether err proves that no connection was made, for
// transports that do not report connections.
func neverConnected(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op == "dial" || op.Op == "proxyconnect" || op.Op == "socks connect"
	}
	var dns *net.DNSError
	return errors.As(err, &dns)
}

// certificateRefused reports whether err is the alert of a server that does not accept the
// client's certificate, or misses one. By TLS 1.3 the client has finished the handshake
// and sent the request before the server looks at the certificate, and a server that
// refuses it reads no request.
func certificateRefused(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" {
		return false
	}
	// The error in op is of a type that crypto/tls does not export, with the text of this one.
	return slices.ContainsFunc([]tls.AlertError{
		42,  // bad_certificate
		43,  // unsupported_certificate
		44,  // certificate_revoked
		45,  // certificate_expired
		46,  // certificate_unknown
		48,  // unknown_ca
		49,  // access_denied
		116, // certificate_required
	}, func(alert tls.AlertError) bool { return op.Err.Error() == alert.Error() })
}
