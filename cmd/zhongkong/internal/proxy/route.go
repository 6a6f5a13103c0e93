package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/accesslog"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/header"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logging"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/requestid"
)

const (
	tokenWithin   = 2 * time.Second  // some SDKs give up after three
	refreshWithin = 10 * time.Second // for the token after a rejected one
	answerWithin  = time.Minute      // between a request and the head of its answer
	clientStall   = 30 * time.Second // for a client to send or take some of a body
	answerStall   = 5 * time.Minute  // for an upstream to send some of a body
)

// route is a Route at work.
type route struct {
	Route
	p      *Proxy
	base   string                // escaped path of To, without a slash at its end
	proxy  httputil.ReverseProxy // what those of the calls have in common
	last   atomic.Pointer[hidden]
	counts *counters
	quiets [rejected + 1]quiet // by verdict
	logged string              // the account in log lines: "" if only a client named it
}

func newRoute(p *Proxy, of Route) *route {
	return &route{
		Route: of, p: p, base: strings.TrimRight(of.To.EscapedPath(), "/"), counts: &counters{}, logged: of.Account,
		proxy: httputil.ReverseProxy{
			Rewrite: asItIs, BufferPool: &buffers, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), // see finish
		},
	}
}

// hidden are the secrets of the token that a route put in last.
type hidden struct {
	token string
	secrets
}

func (r *route) secretsOf(token string) secrets {
	last := r.last.Load()
	if last == nil || last.token != token {
		last = &hidden{token, secretsOf(token)}
		r.last.Store(last)
	}
	return last.secrets
}

// call is a request on its way through a route.
type call struct {
	route   *route
	caller  auth.Caller // see prove
	path    string      // escaped, below the route
	prefix  string      // of the route's paths here
	query   string
	byToken bool    // a real token proved the caller, which has no name
	plain   bool    // no token is put in
	hide    secrets // what the answer must not show
	in      *http.Request
	id      string // see requestid
	began   time.Time

	answeredBy *url.URL // of the upstream, once it has answered
	head       http.Header
	inMemory   bool         // the answer's body is
	expects    atomic.Int64 // see expectBody

	handling sync.Mutex // guards ended
	ended    bool       // the handler has, see whileHandled

	// Here, so that a call is one allocation.
	proxy    httputil.ReverseProxy
	paced    paced
	upload   upload
	download download
	wait     late // for the token
}

// isUnproved reports whether only a user's token proves the call, to WeChat.
func (c *call) isUnproved() bool { return c.plain && c.caller.Name() == "" }

// endpoint is the one of all calls to routes, for the log.
const endpoint = "/proxy/{route}"

// serve answers a request for the escaped path below the route.
func (r *route) serve(w http.ResponseWriter, req *http.Request, escaped, prefix string) {
	accesslog.Of(w).At(endpoint)
	accesslog.Of(w).Through(r.Name, r.Account)
	if p, bad := refuseForm(req); bad {
		r.counts.malformed.Add(1)
		r.respond(w, p)
		return
	}
	path, err := r.path(escaped)
	if err != nil {
		r.counts.malformed.Add(1)
		r.respond(w, problem{http.StatusBadRequest, "bad_request", codeURL, "invalid url: " + err.Error(), 0})
		return
	}
	lower := strings.ToLower(path) // WeChat does not care
	if at := r.tokenEndpoint(lower); at != "" {
		r.answerToken(w, req, at)
		return
	}
	c := &call{route: r, path: path, prefix: prefix, query: req.URL.RawQuery, in: req, id: requestid.Assign(w, req)}
	if r.isWeChat() {
		if e, ok := secretEndpoints[lower]; ok {
			p, err := readParameters(w, req)
			var refused problem
			c.caller, refused = r.p.proveLogin(req, e, p, err)
			r.login(w, req, c, e, p, refused)
			return
		}
		c.query = withoutParameters(c.query, "secret", "appsecret")
		c.plain = isUsers(lower)
	}
	var p problem
	if c.caller, p = r.prove(req, c.plain); p.code != "" {
		c.refuse(w, p)
		return
	}
	if r.isWeChat() && clearsQuota(lower) && !c.caller.MayRefresh(r.Account) {
		c.refuse(w, problemRefresh)
		return
	}
	if c.isUnproved() {
		if err := readUnproved(w, req); err != nil {
			r.counts.malformed.Add(1)
			r.respond(w, problemOfCall(&bodyError{err}))
			return
		}
	} else {
		c.byToken = c.caller.Name() == ""
		auth.ProvedOtherwise(req.Context())
	}
	r.pass(w, req, c)
}

func (r *route) path(escaped string) (string, error) {
	if r.isWeChat() {
		return weChatPath(escaped)
	}
	return cleanPath(escaped)
}

// refuseForm refuses requests that are no calls to a route, from any client.
func refuseForm(req *http.Request) (problem, bool) {
	switch {
	case req.Method == http.MethodConnect, req.URL.IsAbs(), req.URL.Host != "":
		return problemConnect, true
	case req.Method == http.MethodTrace, !strings.HasPrefix(req.URL.Path, "/"):
		return problemMethod, true
	case len(req.Header[authorization]) > 1:
		return problemTwice, true
	case header.IsCrossOrigin(req):
		return problemSite, true
	}
	offered := req.Header["Upgrade"] // as the server has made the names canonical
	for _, protocol := range offered {
		if !strings.EqualFold(strings.TrimSpace(protocol), "h2c") {
			return problemUpgrade, true
		}
	}
	if offered != nil { // h2c, as Java's client does: HTTP/1.1 may ignore it
		req.Header.Del("Upgrade")
	}
	return problem{}, false
}

// tokenEndpoint returns the path at which this server answers what a client asks
// the upstream's token endpoint, "" if the path, in lower case, is none.
func (r *route) tokenEndpoint(path string) string {
	switch {
	case r.isWeChat() && tokenEndpoints[path]:
		return path
	case !r.isWeChat() && path == "/oauth2/token":
		return "/oauth2/" + url.PathEscape(r.Account) + "/token"
	}
	return ""
}

func (r *route) answerToken(w http.ResponseWriter, req *http.Request, at string) {
	r.counts.tokenAsked.Add(1)
	if r.p.cfg.TokenEndpoint == nil {
		r.respond(w, problem{http.StatusNotFound, "not_found", codeURL, "no tokens are given out here", 0})
		return
	}
	asked := req.Clone(req.Context())
	asked.URL.Path, _ = url.PathUnescape(at)
	asked.URL.RawPath = at
	asked.RequestURI = at
	r.p.cfg.TokenEndpoint(w, asked, r.Account)
}

// pass passes a call on.
func (r *route) pass(w http.ResponseWriter, req *http.Request, c *call) {
	accesslog.Of(w).By(c.caller.Name())
	at := c.slot()
	if !r.p.acquire(at) {
		r.counts.limited.Add(1)
		c.log(slog.LevelWarn, "call failed", slog.String("why", problemFull.code))
		r.respond(w, problemFull)
		return
	}
	defer r.p.release(at)
	c.began = time.Now()
	c.paced.begin(w, c)
	c.proxy = r.proxy
	c.proxy.Transport, c.proxy.ErrorHandler = c, c.fail
	// ReverseProxy looks for each hop-by-hop header, copies each value and parses the
	// media type, both ways: a third of its work. So it sees no header, but the call
	// takes them over itself.
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	defer c.watch(ctx, cancel).Stop()
	seen := req.WithContext(ctx)
	seen.Header = nil
	defer c.finish() // also when ReverseProxy panics, to end the client's connection
	c.proxy.ServeHTTP(&c.paced, seen)
}

// finish counts and logs how a call ended.
func (c *call) finish() {
	c.handling.Lock()
	c.ended = true
	c.handling.Unlock()
	c.paced.beginWrite() // of what net/http still holds
	r, how := c.route, c.ending()
	if c.answeredBy != nil && (how == "upstream_cut" || how == "revoked") {
		r.counts.cut.Add(1)
		c.log(slog.LevelWarn, "call failed", slog.String("why", how))
	}
	if r.p.log.Enabled(c.in.Context(), slog.LevelDebug) {
		c.log(slog.LevelDebug, "call", slog.Int("status", c.paced.status), slog.String("ended", how),
			slog.Float64("took_seconds", time.Since(c.began).Round(time.Microsecond).Seconds()))
	}
}

// whileHandled calls do unless the handler has ended: by then the connection's deadlines
// are the next request's, and net/http panics if one of a stream is set. A transport may
// read a body for longer than that.
func (c *call) whileHandled(do func(*http.ResponseController)) bool {
	c.handling.Lock()
	defer c.handling.Unlock()
	if !c.ended {
		do(http.NewResponseController(c.paced.ResponseWriter))
	}
	return !c.ended
}

// ending says how a call ended.
func (c *call) ending() string {
	switch {
	case c.answeredBy != nil && !c.download.broken && !c.paced.broken:
		return "whole"
	case c.caller.IsRevoked():
		return "revoked"
	case c.in.Context().Err() != nil, c.paced.broken:
		return "gone"
	case c.answeredBy == nil:
		return "unanswered"
	}
	return "upstream_cut"
}

var errRevoked = errors.New("the caller was removed or changed")

// isGone reports whether the client has gone. In a server it panics then, or an empty 200
// would go out to a client that has only closed its side for writing.
func (c *call) isGone() bool {
	if c.in.Context().Err() == nil {
		return false
	}
	c.route.counts.gone.Add(1)
	if c.in.Context().Value(http.ServerContextKey) != nil {
		panic(http.ErrAbortHandler)
	}
	return true
}

// fail answers a call that the upstream did not answer.
func (c *call) fail(w http.ResponseWriter, _ *http.Request, err error) {
	r := c.route
	if c.isGone() {
		return
	}
	p := problemOfCall(err)
	switch {
	case c.caller.IsRevoked():
		p = problemRevoked
	case p.code != problemLong.code && c.upload.broken.Load():
		p = problemBody
	}
	switch p.code {
	case problemNoToken.code:
		r.counts.noToken.Add(1)
	case problemBody.code, problemLong.code:
		r.counts.malformed.Add(1)
	default:
		r.counts.failed.Add(1)
	}
	c.log(slog.LevelWarn, "call failed", slog.String("why", p.code))
	r.respond(w, p)
}

// refuse answers a caller that was not proved.
func (c *call) refuse(w http.ResponseWriter, p problem) {
	r := c.route
	if c.isGone() {
		return
	}
	r.counts.refused.Add(1)
	c.log(slog.LevelWarn, "caller refused", slog.String("why", p.code))
	r.respond(w, p)
}

// log writes an audit line. It has the path of WeChat's API, which names an
// endpoint; those of other APIs may hold what is private.
func (c *call) log(level slog.Level, event string, more ...slog.Attr) {
	r, req := c.route, c.in
	if !r.p.log.Enabled(context.Background(), level) {
		return
	}
	line := append(make([]slog.Attr, 0, 6+len(more)),
		slog.String("route", r.Name), slog.String("account", r.logged),
		slog.String("from", req.RemoteAddr), slog.String("method", logging.Short(req.Method)))
	switch name := c.caller.Name(); {
	case name != "":
		line = append(line, slog.String("caller", name))
	case c.byToken:
		line = append(line, slog.String("caller", "(token)"))
	}
	if r.isWeChat() {
		line = append(line, slog.String("path", logging.Path(c.path)))
	}
	r.p.log.LogAttrs(requestid.With(context.Background(), c.id), level, event, append(line, more...)...)
}

// buffers are what bodies are copied through.
var buffers bufferPool

type bufferPool struct{ pool sync.Pool }

type buffer [32 << 10]byte

func (b *bufferPool) Get() []byte {
	if buf, ok := b.pool.Get().(*buffer); ok {
		return buf[:]
	}
	return new(buffer)[:]
}

func (b *bufferPool) Put(buf []byte) { b.pool.Put((*buffer)(buf)) }
