package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/requestid"
	"github.com/zhongkong/zhongkong/coordinator"
)

// asItIs leaves to RoundTrip what is to be changed.
func asItIs(*httputil.ProxyRequest) {}

// direct makes the upstream's request of the client's. ReverseProxy sees no header of
// either (see pass).
func (c *call) direct(out *http.Request) {
	r, escaped := c.route, c.route.base+c.path
	out.URL.Scheme, out.URL.Host, out.Host = r.To.Scheme, r.To.Host, ""
	out.URL.Path, _ = url.PathUnescape(escaped) // cleanPath has checked it
	out.URL.RawPath = ""
	if len(out.URL.Path) != len(escaped) {
		out.URL.RawPath = escaped
	}
	out.URL.RawQuery = c.query
	out.URL.User, out.URL.Opaque, out.URL.Fragment = nil, "", ""
	connection := c.in.Header["Connection"]
	for name, values := range c.in.Header {
		switch {
		case isOfConnection(name), connection != nil && lists(connection, name):
		case !r.passes(name):
		default:
			out.Header[name] = values
		}
	}
	if te := c.in.Header["Te"]; te != nil && lists(te, "trailers") {
		out.Header.Set("Te", "trailers")
	}
	if c.hidesBodies() {
		out.Header.Set("Accept-Encoding", "identity")
		delete(out.Header, "Range") // part of a secret would not be found
		delete(out.Header, "If-Range")
	}
	if out.Body != nil {
		out.Trailer = r.announced(c.in.Trailer)
		c.upload = upload{ReadCloser: out.Body, call: c, trailer: out.Trailer}
		out.Body = &c.upload
	}
}

// passes reports whether a header or trailer of a client may reach the upstream. Some
// servers read an underscore in its name as a hyphen.
func (r *route) passes(name string) bool {
	if strings.Contains(name, "_") {
		name = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
	}
	return !isPrivate(name) && (r.Put.kind != inHeader || name != r.Put.name) // a call with no token put in has none
}

// isPrivate reports whether a header is between the client and this server, or the
// gateways before it.
func isPrivate(name string) bool {
	switch name {
	case authorization, "Cookie", "Referer", "Forwarded", "Http2-Settings", "Proxy-Authorization",
		"X-Real-Ip", "X-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Cf-Connecting-Ipv6", "X-Envoy-External-Address":
		return true
	}
	return slices.ContainsFunc(ofGateways, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// ofGateways begin the names of headers in which gateways say who a client is, some by a
// token: the usual one, and those of AWS, oauth2-proxy, Cloudflare, Google, Azure and nginx.
var ofGateways = []string{
	"X-Forwarded-", "X-Amzn-Oidc-", "X-Auth-Request-", "Cf-Access-", "X-Goog-Iap-", "X-Goog-Authenticated-User-",
	"X-Ms-Token-", "X-Ms-Client-Principal", "X-Ssl-Client-",
}

// hidesBodies reports whether secrets are overwritten in the body of the answer: the
// caller must not have them.
func (c *call) hidesBodies() bool {
	return c.plain && len(c.hide) > 0 || c.caller.Phantom()
}

// RoundTrip makes the upstream's call of the client's request.
func (c *call) RoundTrip(out *http.Request) (*http.Response, error) {
	c.direct(out)
	resp, err := c.exchange(out)
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode == http.StatusSwitchingProtocols:
		_ = resp.Body.Close()
		return nil, errSwitched
	}
	c.route.counts.calls.Add(1)
	c.answeredBy = out.URL
	c.receive(resp)
	c.head, resp.Header = resp.Header, nil // see giveHead
	return resp, nil
}

// exchange puts the token in, and makes the call a second time if the upstream
// rejects it.
func (c *call) exchange(out *http.Request) (*http.Response, error) {
	r := c.route
	var account Account
	var token coordinator.Token
	var err error
	if !c.plain {
		if account, token, err = c.token(out.Context()); err != nil {
			return nil, &tokenError{err}
		}
	}
	again, err := prepare(out, r.isWeChat())
	if err != nil {
		return nil, &bodyError{err}
	}
	if c.plain {
		return c.send(out)
	}
	resp, err := c.try(out, token)
	if err != nil {
		return nil, err
	}
	v := c.judge(out, resp)
	if v == accepted {
		return resp, nil
	}
	q := &r.quiets[v]
	quiet := q.now()
	next, err := c.next(out.Context(), account, token, quiet)
	renewed := err == nil && !next.IsZero() && !next.Equal(token)
	if !quiet && err == nil && !r.Foreign && (!renewed || !again) {
		q.begin() // no second call tells whether the token was the cause
	}
	switch {
	case !renewed:
		return resp, nil // the upstream's answer says more than we could
	case !again:
		r.counts.unrepeatable.Add(1)
		return resp, nil
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 8<<10) // so that the connection can be used again
	_ = resp.Body.Close()
	second := out.Clone(out.Context())
	if out.GetBody != nil {
		second.Body, _ = out.GetBody() // from memory
	}
	r.counts.repeated.Add(1)
	if resp, err = c.try(second, next); err != nil {
		return nil, err
	}
	if c.judge(second, resp) == accepted {
		r.counts.cured.Add(1)
		q.end()
	} else {
		q.begin()
	}
	return resp, nil
}

// token returns the token to put in.
func (c *call) token(ctx context.Context) (Account, coordinator.Token, error) {
	r := c.route
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

// next returns the token after a rejected one: the same one if the issuer answers that
// again, or nobody has replaced it. In a quiet time it reports nothing.
func (c *call) next(ctx context.Context, account Account, token coordinator.Token, quiet bool) (coordinator.Token, error) {
	if !quiet {
		c.route.counts.rejected.Add(1)
		if !c.route.Foreign {
			return c.report(ctx, account, token)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, tokenWithin)
	defer cancel()
	return account.Token(ctx)
}

// report reports a rejected token and returns the current one after that.
func (c *call) report(ctx context.Context, account Account, token coordinator.Token) (coordinator.Token, error) {
	r := c.route
	ctx, cancel := context.WithTimeout(ctx, refreshWithin)
	defer cancel()
	record, err := account.Invalidate(requestid.With(ctx, c.id), token)
	renewed := err == nil && !record.Token.IsZero() && !record.Token.Equal(token)
	c.log(slog.LevelInfo, "the upstream rejected the token", slog.Bool("renewed", renewed))
	if renewed {
		r.p.cfg.Tokens.Seen(r.Account, record.Token)
	}
	return record.Token, err
}

// try makes the call with one token.
func (c *call) try(out *http.Request, token coordinator.Token) (*http.Response, error) {
	c.hide = c.route.secretsOf(token.Reveal())
	c.route.Put.put(out, token.Reveal())
	resp, err := c.send(out)
	c.expectBody() // also while judge looks for an errcode
	return resp, err
}

// send makes the call, unless its caller was removed since it was proved.
func (c *call) send(out *http.Request) (*http.Response, error) {
	if c.caller.IsRevoked() {
		return nil, errRevoked
	}
	return c.route.p.cfg.Base.RoundTrip(out)
}

var errSwitched = errors.New("the upstream switched to another protocol, which was not asked for")

// receive makes c.download of the answer's body.
func (c *call) receive(resp *http.Response) {
	body := io.Reader(resp.Body)
	if c.hidesBodies() && isText(resp.Header) {
		hidden := newMasked(body, c.hide, resp.ContentLength)
		hidden.endsWithConnection = resp.ContentLength < 0 && len(resp.TransferEncoding) == 0 && resp.ProtoMajor < 2
		body = hidden
	}
	c.hide.dropNames(resp.Trailer)
	c.download = download{Reader: body, Closer: resp.Body, call: c, resp: resp}
	resp.Body = &c.download
}

var (
	sandboxed = []string{"sandbox"}
	nosniff   = []string{"nosniff"}
)

// giveHead gives the client what may reach it of the head of the upstream's answer.
func (c *call) giveHead(h http.Header) {
	connection := c.head["Connection"]
	for name, values := range c.head {
		if !isOfConnection(name) && (connection == nil || !lists(connection, name)) {
			h[name] = values
		}
	}
	if h[requestid.Header] == nil { // the answer is after one of a status below 200
		h[requestid.Header] = []string{c.id}
	}
	c.clean(h)
	if !isJSON(h["Content-Type"]) {
		h["Content-Security-Policy"], h["X-Content-Type-Options"] = sandboxed, nosniff
	}
}

// isJSON reports whether no browser takes an answer of this type for a page. Of
// several types it takes the last.
func isJSON(contentType []string) bool {
	if len(contentType) != 1 || strings.Contains(contentType[0], ",") {
		return false
	}
	rest, ok := strings.CutPrefix(contentType[0], "application/json")
	return ok && (rest == "" || rest[0] == ';')
}

// clean takes out of an answer's head what must not reach the client.
func (c *call) clean(h http.Header) {
	c.hide.dropNames(h)
	for name, values := range h {
		switch name {
		case "Set-Cookie", "Strict-Transport-Security", "Alt-Svc", "Clear-Site-Data", "Service-Worker-Allowed",
			"Content-Security-Policy-Report-Only", "Nel", "Report-To", "Reporting-Endpoints", "Accept-Ch", "Critical-Ch":
			delete(h, name)
		case "Location":
			for i := range values {
				if c.answeredBy != nil { // not in an answer of this server
					values[i] = c.route.location(values[i], c.answeredBy, c.prefix)
				}
			}
		}
		c.hide.hideIn(values)
	}
}

// isOfConnection reports whether a header is one of the connection it came by.
func isOfConnection(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// lists reports whether a header's values, which are lists, hold a name.
func lists(values []string, name string) bool {
	for _, names := range values {
		for one := range strings.SplitSeq(names, ",") {
			if strings.EqualFold(strings.TrimSpace(one), name) {
				return true
			}
		}
	}
	return false
}

// quiet is the time in which an answer is not taken for one that rejects the token: an
// upstream that answers so for other reasons would have every call refresh it.
type quiet struct {
	until atomic.Int64 // Unix nanoseconds
	next  atomic.Int64 // how long the next one is
}

const (
	shortestQuiet = 30 * time.Second
	longestQuiet  = 5 * time.Minute
)

func (q *quiet) now() bool { return time.Now().UnixNano() < q.until.Load() }

// begin does nothing while it is quiet: of calls of the same moment, one counts.
func (q *quiet) begin() {
	now, until := time.Now(), q.until.Load()
	if now.UnixNano() < until {
		return
	}
	d := max(time.Duration(q.next.Load()), shortestQuiet)
	if q.until.CompareAndSwap(until, now.Add(d).UnixNano()) {
		q.next.Store(int64(min(2*d, longestQuiet)))
	}
}

func (q *quiet) end() { q.next.Store(0) }
