package wechat

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

// Account is what Transport needs of a *coordinator.Account.
type Account interface {
	// Token returns the current token. It may block until there is one.
	Token(ctx context.Context) (coordinator.Token, error)

	// Invalidate reports that WeChat rejected a token. It blocks until there is
	// another and returns the current one.
	Invalidate(ctx context.Context, rejected coordinator.Token) (coordinator.Snapshot, error)
}

var _ Account = (*coordinator.Account)(nil)

// Transport is an http.RoundTripper for WeChat's business interfaces. It puts
// the account's token into each request's query as access_token. When WeChat
// rejects the token (40001, 40014 or 42001) it reports exactly that token and
// repeats the call once with the new one, if the body can be sent again: there is
// none, the request has GetBody, or the body has at most 256 KiB. Otherwise, and if
// there is no other token, the caller gets WeChat's answer.
//
// The token is sent only to https://*.weixin.qq.com and to Hosts, and not with a
// redirect to another host. Only Account must be set:
//
//	client := &http.Client{Transport: &wechat.Transport{Account: account}}
type Transport struct {
	Account Account

	// Base makes the calls; nil: http.DefaultTransport.
	Base http.RoundTripper

	// Hosts ("host" or "host:port") are further hosts that may receive the token,
	// even by plain HTTP: a sandbox, a proxy.
	Hosts []string
}

const (
	tokenParameter = "access_token"

	// maxRepeatable is the largest body that is kept in memory for a second call.
	maxRepeatable = 256 << 10
)

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if leavesHost(req) {
		return t.base().RoundTrip(req) // the other host must not get the token
	}
	if err := t.check(req); err != nil {
		closeBody(req)
		return nil, err
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
	if err != nil || !bodies.again() {
		return resp, err
	}
	if rejected, _ := RejectsToken(resp); !rejected {
		return resp, nil
	}
	next, err := t.Account.Invalidate(req.Context(), token)
	if err != nil || next.Token.IsZero() || next.Token.Equal(token) {
		return resp, nil // the caller gets WeChat's answer
	}
	body, err := bodies.repeat()
	if err != nil {
		return resp, nil
	}
	_ = resp.Body.Close()
	return t.try(req, next.Token, body)
}

func (t *Transport) base() http.RoundTripper {
	if t.Base != nil {
		return t.Base
	}
	return http.DefaultTransport
}

// check refuses hosts that must not receive a token.
func (t *Transport) check(req *http.Request) error {
	if slices.Contains(t.Hosts, req.URL.Host) || slices.Contains(t.Hosts, req.URL.Hostname()) {
		return nil
	}
	if !isWeixin(req.URL.Hostname()) {
		return fmt.Errorf("wechat: %s must not receive a token: it is neither a host of WeChat nor listed in Transport.Hosts", req.URL.Host)
	}
	if req.URL.Scheme != "https" {
		return fmt.Errorf("wechat: a token may be sent to %s only by https", req.URL.Host)
	}
	return nil
}

func isWeixin(hostname string) bool {
	hostname = strings.ToLower(hostname)
	return hostname == "weixin.qq.com" || strings.HasSuffix(hostname, ".weixin.qq.com")
}

// leavesHost reports whether an http.Client made req to follow a redirect away
// from the host it was sent to, or away from TLS.
func leavesHost(req *http.Request) bool {
	for r := req; r.Response != nil && r.Response.Request != nil; r = r.Response.Request {
		from := r.Response.Request.URL
		if from.Host != req.URL.Host || from.Scheme == "https" && req.URL.Scheme != "https" {
			return true
		}
	}
	return false
}

// try makes the call with one token. It does not change the request: the token is
// only in the copy that Base gets.
func (t *Transport) try(req *http.Request, token coordinator.Token, body io.ReadCloser) (*http.Response, error) {
	out := req.Clone(req.Context())
	out.URL.RawQuery = withToken(req.URL.RawQuery, token)
	if body != nil {
		out.Body = body
		out.GetBody = nil
	}
	if known, ok := body.(knownLength); ok {
		out.ContentLength = known.length
		out.TransferEncoding = nil
	}
	resp, err := t.base().RoundTrip(out)
	if err != nil {
		return nil, httpsource.CleanError(err, token.Reveal())
	}
	resp.Request = req
	hideToken(resp.Header, token)
	return resp, nil
}

// withToken returns the query with the token in place of any other token.
func withToken(query string, token coordinator.Token) string {
	kept := slices.DeleteFunc(strings.Split(query, "&"), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return pair == "" || name == tokenParameter
	})
	return strings.Join(append(kept, tokenParameter+"="+url.QueryEscape(token.Reveal())), "&")
}

// hideToken removes the token from a redirect that repeats the query: the client
// would send it to the redirect's target and quote it in errors.
func hideToken(header http.Header, token coordinator.Token) {
	location := header.Get("Location")
	if location == "" {
		return
	}
	if u, err := url.Parse(location); err == nil && u.RawQuery != "" {
		q := u.Query()
		if q.Has(tokenParameter) {
			q.Del(tokenParameter)
			u.RawQuery = q.Encode()
			location = u.String()
		}
	}
	header.Set("Location", httpsource.Scrub(location, token.Reveal()))
}
