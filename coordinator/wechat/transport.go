package wechat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator"
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

	// maxPeek is the largest answer that is read to find an errcode. Larger ones
	// are passed on unread.
	maxPeek = 8 << 10
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
	if err != nil || !bodies.again() || !rejected(resp) {
		return resp, err
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
		return nil, cleanError(err, token.Reveal())
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
	header.Set("Location", scrub(location, token.Reveal()))
}

// rejected reports whether the answer is an errcode that rejects the token. The body
// of resp can still be read from its start.
func rejected(resp *http.Response) bool {
	if resp.ContentLength > maxPeek || !mayBeJSON(resp.Header.Get("Content-Type")) {
		return false
	}
	peeked, err := peekObject(resp.Body)
	resp.Body = &rejoined{Reader: io.MultiReader(bytes.NewReader(peeked), failing{err}, resp.Body), Closer: resp.Body}
	if !errors.Is(err, io.EOF) {
		return false // too long, not an object, or cut off: not an errcode
	}
	a, err := parseAnswer(peeked)
	return err == nil && IsTokenRejected(a.code)
}

// mayBeJSON reports whether an answer of this content type may be an errcode. WeChat
// sends JSON as text/plain as well. Binary types are not read.
func mayBeJSON(contentType string) bool {
	media, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	media = strings.TrimSpace(media)
	return media == "" || strings.HasPrefix(media, "text/") ||
		strings.HasSuffix(media, "json") || strings.HasSuffix(media, "javascript")
}

// peekObject reads r as long as the data may be a short JSON object, compressed or
// not. The error is io.EOF if it read everything, nil if there may be more.
func peekObject(r io.Reader) ([]byte, error) {
	buf := make([]byte, 0, 1024)
	for len(buf) < maxPeek {
		buf = slices.Grow(buf, 512)
		n, err := r.Read(buf[len(buf):min(cap(buf), maxPeek)])
		buf = buf[:len(buf)+n]
		if err != nil {
			return buf, err
		}
		if !mayBeObject(buf) {
			return buf, nil
		}
	}
	return buf, nil
}

// mayBeObject reports whether parseAnswer may find an errcode in an answer with this
// beginning.
func mayBeObject(begin []byte) bool {
	for _, mark := range [][]byte{gzipMagic(), byteOrderMark()} {
		if bytes.HasPrefix(mark, bytes.TrimSpace(begin)) { // only a part of the mark has arrived
			return true
		}
	}
	rest := withoutMark(begin)
	return len(rest) == 0 || rest[0] == '{' || bytes.HasPrefix(begin, gzipMagic())
}

// rejoined is a body whose beginning has been read.
type rejoined struct {
	io.Reader
	io.Closer
}

// failing returns the error that peeking met. Without one it is at its end, so that
// the body follows.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}
