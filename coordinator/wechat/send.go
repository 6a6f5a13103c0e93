package wechat

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// maxAnswer bounds what is read of an answer. A token answer has a few hundred
// bytes; what does not begin within these is not one.
const maxAnswer = 64 << 10

// sendError is a request that was not answered.
type sendError struct {
	sent    bool // it may have reached WeChat
	timeout bool // it may still be under way
	err     error
}

func (e *sendError) Error() string { return e.err.Error() }
func (e *sendError) Unwrap() error { return e.err }

// quietTransport returns a transport that makes exactly one request for each
// it is given, and whether it surely reports connections to httptrace.
//
// net/http repeats a GET by itself when a connection it used before turns out
// to be broken, without telling anybody: with /cgi-bin/token that can be a
// second token. It has nothing to repeat on when no connection is used twice.
func quietTransport(rt http.RoundTripper, connectTimeout time.Duration) (http.RoundTripper, bool) {
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
		return rt, false
	}
	t.DisableKeepAlives = true
	t.DisableCompression = true // net/http would lose an answer that is not what its Content-Encoding says
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	return t, true
}

// withoutHTTP2 takes back what a transport that was used before it was cloned
// has prepared for HTTP/2, which it would offer to servers otherwise.
func withoutHTTP2(t *http.Transport) {
	t.TLSNextProto = make(map[string]func(string, *tls.Conn) http.RoundTripper)
	if t.TLSClientConfig != nil {
		t.TLSClientConfig.NextProtos = slices.DeleteFunc(t.TLSClientConfig.NextProtos, func(p string) bool { return p == "h2" })
	}
}

// send makes one request. It calls the transport directly: an http.Client
// would follow redirects, with the secret, and put the URL into its errors.
func (s *Source) send(ctx context.Context, base string, m mode) (reply, *sendError) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var connected atomic.Bool
	req, err := s.request(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	}), base, m)
	if err != nil {
		return reply{}, &sendError{err: err}
	}
	resp, err := s.transport.RoundTrip(req)
	if err != nil {
		unsent := !connected.Load() && (s.traced || neverConnected(err))
		return reply{}, &sendError{sent: !unsent, timeout: isTimeout(ctx, err), err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	r := reply{base: base, status: resp.StatusCode, header: resp.Header, body: body}
	if err != nil && !r.complete() {
		return reply{}, &sendError{sent: true, timeout: isTimeout(ctx, err), err: err}
	}
	return r, nil
}

func (s *Source) request(ctx context.Context, base string, m mode) (*http.Request, error) {
	const grantType = "client_credential"
	if m == classic {
		query := url.Values{"grant_type": {grantType}, "appid": {s.appID}, "secret": {s.secret}}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+m.path()+"?"+query.Encode(), nil)
		if err != nil {
			return nil, errors.New("the request cannot be made") // err holds the URL
		}
		req.Header.Set("User-Agent", userAgent)
		return req, nil
	}
	body, err := json.Marshal(struct {
		GrantType    string `json:"grant_type"`
		AppID        string `json:"appid"`
		Secret       string `json:"secret"`
		ForceRefresh bool   `json:"force_refresh"`
	}{grantType, s.appID, s.secret, m == forced})
	if err != nil {
		return nil, errors.New("the request cannot be made")
	}
	// A bytes.Reader gives the request its Content-Length: WeChat's gateway
	// answers a chunked one with an empty 412.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+m.path(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}

const userAgent = "zhongkong"

func (m mode) path() string {
	if m == classic {
		return "/cgi-bin/token"
	}
	return "/cgi-bin/stable_token"
}

// endpoint names where a request of this mode goes, for messages.
func (s *Source) endpoint(m mode, base string) string {
	if _, host, ok := strings.Cut(base, "://"); ok {
		base = host
	}
	return base + m.path()
}

// neverConnected reports whether err surely says that no connection was made,
// for transports that do not report connections.
func neverConnected(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op == "dial" || op.Op == "proxyconnect" || op.Op == "socks connect"
	}
	var dns *net.DNSError
	return errors.As(err, &dns)
}

func isTimeout(ctx context.Context, err error) bool {
	var ne net.Error
	return ctx.Err() != nil || errors.As(err, &ne) && ne.Timeout()
}
