// Package tokencall makes HTTP calls with an account's token. The Transports of packages
// wechat and oauth are made of it.
package tokencall

import (
	"context"
	"io"
	"net/http"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

// Account is what a Call needs of a *coordinator.Account.
type Account interface {
	Token(ctx context.Context) (coordinator.Token, error)
	Invalidate(ctx context.Context, rejected coordinator.Token) (coordinator.Snapshot, error)
}

// Call is one call with a token. All fields but Base, Received and Repeated are required.
type Call struct {
	Account Account
	Base    http.RoundTripper // nil: http.DefaultTransport

	// Check returns why the request must not carry a token.
	Check func(req *http.Request) error

	// Put puts the token into a copy of the request.
	Put func(out *http.Request, token coordinator.Token)

	// Rejects reports whether the answer rejects the token.
	Rejects func(resp *http.Response) bool

	// Received is called with the head of each answer and the token of its call.
	Received func(header http.Header, token coordinator.Token)

	// Repeated is called with the answer to a second call.
	Repeated func(resp *http.Response)
}

// RoundTrip makes the call with the account's token, as http.RoundTripper's method does.
// If the answer rejects the token and the body can be sent again, it reports the token
// and repeats the call once with the new one. A request that follows a redirect to
// another host goes out without a token.
func (c *Call) RoundTrip(req *http.Request) (*http.Response, error) {
	if leavesHost(req) {
		return c.base().RoundTrip(req) // the other host must not get the token
	}
	if err := c.Check(req); err != nil {
		closeBody(req)
		return nil, err
	}
	token, err := c.Account.Token(req.Context())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	bodies, err := newBodies(req)
	if err != nil {
		return nil, err
	}
	resp, err := c.try(req, token, bodies.first, bodies.repeat)
	if err != nil || bodies.repeat == nil || !c.Rejects(resp) {
		return resp, err
	}
	next, err := c.Account.Invalidate(req.Context(), token)
	if err != nil || next.Token.IsZero() || next.Token.Equal(token) {
		return resp, nil // the caller gets the server's answer
	}
	body, err := bodies.repeat()
	if err != nil {
		return resp, nil
	}
	_ = resp.Body.Close()
	resp, err = c.try(req, next.Token, body, bodies.repeat)
	if err == nil && c.Repeated != nil {
		c.Repeated(resp)
	}
	return resp, err
}

func (c *Call) base() http.RoundTripper {
	if c.Base != nil {
		return c.Base
	}
	return http.DefaultTransport
}

// leavesHost reports whether an http.Client made req to follow a redirect away from the
// host it was sent to, or away from TLS.
func leavesHost(req *http.Request) bool {
	for r := req; r.Response != nil && r.Response.Request != nil; r = r.Response.Request {
		from := r.Response.Request.URL
		if from.Host != req.URL.Host || from.Scheme == "https" && req.URL.Scheme != "https" {
			return true
		}
	}
	return false
}

// try makes the call with one token. It does not change the request: the token is only
// in the copy that Base gets. The copy has repeat as its GetBody, which net/http needs to
// send a request again that the server has surely not processed.
func (c *Call) try(req *http.Request, token coordinator.Token, body io.ReadCloser, repeat func() (io.ReadCloser, error)) (*http.Response, error) {
	out := req.Clone(req.Context())
	c.Put(out, token)
	if body != nil {
		out.Body, out.GetBody = body, repeat
	}
	if known, ok := body.(knownLength); ok {
		out.ContentLength, out.TransferEncoding = known.length, nil
	}
	resp, err := c.base().RoundTrip(out)
	if err != nil {
		return nil, httpsource.CleanError(err, token.Reveal())
	}
	resp.Request = req
	if c.Received != nil {
		c.Received(resp.Header, token)
	}
	return resp, nil
}
