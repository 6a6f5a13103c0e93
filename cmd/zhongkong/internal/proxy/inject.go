package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// rewrite makes the upstream's request of the client's.
func (r *route) rewrite(pr *httputil.ProxyRequest) {
	out, c := pr.Out, callOf(pr.In.Context())
	escaped := r.base + c.path
	out.URL.Scheme, out.URL.Host, out.Host = r.To.Scheme, r.To.Host, ""
	out.URL.Path, _ = url.PathUnescape(escaped) // cleanPath has checked it
	out.URL.RawPath = escaped
	out.URL.RawQuery = c.query
	out.URL.User, out.URL.Opaque, out.URL.Fragment = nil, "", ""
	out.Trailer = c.trailer
	for name := range out.Header {
		if isPrivate(name) {
			delete(out.Header, name)
		}
	}
	if r.Put.kind == inHeader {
		out.Header.Del(r.Put.name) // a call with no token put in has none
	}
	if hidesBodies(c) {
		out.Header.Set("Accept-Encoding", "identity")
	}
}

// isPrivate reports whether a header is between the client and this server.
func isPrivate(name string) bool {
	switch name {
	case authorization, "Cookie", "Referer", "Forwarded", "X-Real-Ip", "Http2-Settings", "Proxy-Authorization":
		return true
	}
	return strings.HasPrefix(name, "X-Forwarded-")
}

// hidesBodies reports whether secrets are overwritten in the body of the answer.
func hidesBodies(c *call) bool { return len(c.hide) > 0 || c.caller != nil && c.caller.Phantom() }

// RoundTrip puts the token in, and makes the call a second time if the upstream
// rejects it.
func (r *route) RoundTrip(out *http.Request) (*http.Response, error) {
	c := callOf(out.Context())
	var account Account
	var token coordinator.Token
	var err error
	if !c.plain {
		if account, token, err = r.token(out.Context(), c); err != nil {
			return nil, &tokenError{err}
		}
	}
	again, err := prepare(out, r.WeChat)
	if err != nil {
		return nil, &bodyError{err}
	}
	if c.plain {
		return r.send(out)
	}
	resp, err := r.try(out, c, token)
	if err != nil {
		return nil, err
	}
	v := r.judge(resp)
	if v == accepted || v == doubtful && r.quiet.now() {
		return resp, nil
	}
	next, ok := r.report(out, c, account, token)
	switch {
	case !ok:
		return resp, nil // the upstream's answer says more than we could
	case !again:
		r.counts.unrepeatable.Add(1)
		return resp, nil
	}
	_, _ = io.CopyN(io.Discard, resp.Body, maxPeek) // so that the connection can be used again
	_ = resp.Body.Close()
	second := out.Clone(out.Context())
	if out.GetBody != nil {
		second.Body, _ = out.GetBody() // from memory
	}
	r.counts.repeated.Add(1)
	if resp, err = r.try(second, c, next); err != nil {
		return nil, err
	}
	switch r.judge(resp) {
	case accepted:
		r.counts.cured.Add(1)
		r.quiet.end()
	case doubtful:
		r.quiet.begin()
	case rejected:
	}
	return resp, nil
}

// token returns the token to put in.
func (r *route) token(ctx context.Context, c *call) (Account, coordinator.Token, error) {
	account, ok := r.p.cfg.Account(r.Account)
	if !ok {
		return nil, coordinator.Token{}, coordinator.ErrUnknownAccount
	}
	c.wait.Context, c.wait.after = ctx, tokenWithin
	defer c.wait.end()
	token, err := account.Token(&c.wait)
	if err != nil {
		return nil, coordinator.Token{}, err
	}
	r.p.cfg.Tokens.Seen(r.Account, token)
	return account, token, nil
}

// report reports a rejected token and returns the next. False: there is none.
func (r *route) report(out *http.Request, c *call, account Account, token coordinator.Token) (coordinator.Token, bool) {
	r.counts.rejected.Add(1)
	ctx, cancel := context.WithTimeout(out.Context(), refreshWithin)
	defer cancel()
	record, err := account.Invalidate(ctx, token)
	renewed := err == nil && !record.Token.IsZero() && !record.Token.Equal(token)
	r.log(c.in, slog.LevelInfo, "the upstream rejected the token", c, slog.Bool("renewed", renewed))
	if !renewed {
		return coordinator.Token{}, false
	}
	r.p.cfg.Tokens.Seen(r.Account, record.Token)
	return record.Token, true
}

// try makes the call with one token.
func (r *route) try(out *http.Request, c *call, token coordinator.Token) (*http.Response, error) {
	c.hide = secretsOf(token.Reveal())
	r.Put.put(out, token.Reveal())
	return r.send(out)
}

// send makes the call.
func (r *route) send(out *http.Request) (*http.Response, error) {
	resp, err := r.p.cfg.Base.RoundTrip(out)
	if err == nil {
		resp.Request = out
	}
	return resp, err
}

var (
	errSwitched = errors.New("the upstream switched to another protocol, which was not asked for")

	sandboxed = []string{"sandbox"}
	nosniff   = []string{"nosniff"}
)

// clean takes out of an answer what must not reach the client.
func (r *route) clean(resp *http.Response) error {
	c := callOf(resp.Request.Context())
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return errSwitched
	}
	h := resp.Header
	for _, name := range [...]string{
		"Set-Cookie", "Strict-Transport-Security", "Alt-Svc", "Clear-Site-Data", "Service-Worker-Allowed",
		"Content-Security-Policy", "Content-Security-Policy-Report-Only", "X-Content-Type-Options",
	} {
		delete(h, name)
	}
	if location := first(h["Location"]); location != "" {
		h.Set("Location", r.location(location, resp.Request.URL, c.prefix, c.hide))
	}
	c.hide.hideIn(h)
	h["Content-Security-Policy"], h["X-Content-Type-Options"] = sandboxed, nosniff
	r.counts.calls.Add(1)
	body := io.Reader(resp.Body)
	if (c.caller != nil && c.caller.Phantom() || c.plain) && len(c.hide) > 0 && isText(h) {
		body = newMasked(body, c.hide, resp.ContentLength)
	}
	d := &c.download
	*d = download{Reader: body, Closer: resp.Body, call: c, resp: resp, count: &r.counts.received}
	if b, ok := resp.Body.(*rejoined); !ok || !b.whole {
		whole := resp.Body
		d.stall = time.AfterFunc(answerStall, func() { _ = whole.Close() }) // ends the Read that waits
	}
	resp.Body = d
	return nil
}

// quiet is the time in which 401 is not taken for a rejected token: an upstream
// that answers so for other reasons would have every call refresh it.
type quiet struct {
	until atomic.Int64 // Unix nanoseconds
	next  atomic.Int64 // how long the next one is
}

const (
	shortestQuiet = 30 * time.Second
	longestQuiet  = 10 * time.Minute
)

func (q *quiet) now() bool { return time.Now().UnixNano() < q.until.Load() }

func (q *quiet) begin() {
	d := max(time.Duration(q.next.Load()), shortestQuiet)
	q.next.Store(int64(min(2*d, longestQuiet)))
	q.until.Store(time.Now().Add(d).UnixNano())
}

func (q *quiet) end() { q.next.Store(0) }
