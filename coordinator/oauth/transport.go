package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

// Account is what Transport needs of a *coordinator.Account.
type Account interface {
	// Token returns the current token. It may block until there is one.
	Token(ctx context.Context) (coordinator.Token, error)

	// Invalidate reports that a resource server rejected a token. It blocks until there
	// is another and returns the current one.
	Invalidate(ctx context.Context, rejected coordinator.Token) (coordinator.Snapshot, error)
}

var (
	_ Account        = (*coordinator.Account)(nil)
	_ CurrentAccount = (*coordinator.Account)(nil)
)

// Transport is an http.RoundTripper that puts the account's token into each request's
// Authorization header as a bearer token (RFC 6750). When the answer rejects the token
// (see RejectedToken), it reports exactly that token and repeats the request once with
// the new one, if the body can be sent again: there is none, the request has GetBody,
// or the body has at most 256 KiB. Otherwise, and if there is no other token, the caller
// gets the answer. If the new token is rejected as well, the token is not the reason:
// what that host rejects is then not reported for a minute, if that repeats for up to
// five.
//
// The token is sent only to Hosts, and not with a redirect to another host. Account and
// Hosts must be set:
//
//	client := &http.Client{Transport: &oauth.Transport{Account: account, Hosts: []string{"api.example.com"}}}
type Transport struct {
	Account Account

	// Base makes the calls; nil: http.DefaultTransport.
	Base http.RoundTripper

	// Hosts are those that may receive the token, by https: "api.example.com", with a
	// port if it is not the scheme's, or "*.example.com" for every host below it. One
	// that begins with http:// may be sent to unencrypted: "http://10.0.0.7:8080".
	Hosts []string

	distrust distrust
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if leavesHost(req) {
		return t.base().RoundTrip(req) // the other host must not get the token
	}
	if !t.allowed(req.URL) {
		closeBody(req)
		return nil, fmt.Errorf("oauth: %s://%s must not receive a token: it is not in Transport.Hosts", req.URL.Scheme, req.URL.Host)
	}
	token, err := t.Account.Token(req.Context())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	bodies, err := newBodies(req)
	if err != nil {
		return nil, err
	}
	resp, err := t.try(req, token, bodies.first)
	if err != nil || !bodies.again() || !RejectedToken(resp) || !t.distrust.believed(req.URL.Host) {
		return resp, err
	}
	next, err := t.Account.Invalidate(req.Context(), token)
	if err != nil || next.Token.IsZero() || next.Token.Equal(token) {
		return resp, nil // the caller gets the server's answer
	}
	body, err := bodies.repeat()
	if err != nil {
		return resp, nil
	}
	_ = resp.Body.Close()
	resp, err = t.try(req, next.Token, body)
	if err == nil {
		t.distrust.learn(req.URL.Host, RejectedToken(resp))
	}
	return resp, err
}

func (t *Transport) base() http.RoundTripper {
	if t.Base != nil {
		return t.Base
	}
	return http.DefaultTransport
}

// allowed reports whether u may receive the token.
func (t *Transport) allowed(u *url.URL) bool {
	for _, entry := range t.Hosts {
		entry, plain := strings.CutPrefix(strings.ToLower(entry), "http://")
		if u.Scheme != "https" && (!plain || u.Scheme != "http") {
			continue
		}
		host := strings.ToLower(u.Host)
		if below, ok := strings.CutPrefix(entry, "*."); ok && strings.HasSuffix(host, "."+below) || host == entry {
			return true
		}
	}
	return false
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
// in the copy that Base gets.
func (t *Transport) try(req *http.Request, token coordinator.Token, body io.ReadCloser) (*http.Response, error) {
	out := req.Clone(req.Context())
	out.Header.Set("Authorization", "Bearer "+token.Reveal())
	if body != nil {
		out.Body, out.GetBody = body, nil
	}
	if known, ok := body.(knownLength); ok {
		out.ContentLength, out.TransferEncoding = known.length, nil
	}
	resp, err := t.base().RoundTrip(out)
	if err != nil {
		if text := err.Error(); httpsource.Scrub(text, token.Reveal()) != text {
			err = errors.New(httpsource.Scrub(text, token.Reveal()))
		}
		return nil, err
	}
	resp.Request = req
	return resp, nil
}
