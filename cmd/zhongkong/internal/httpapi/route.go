package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/callers"
)

// request is an http.Request with what was found out about it.
type request struct {
	*http.Request
	account string         // the {name} of the path
	caller  callers.Caller // proved, on endpoints that are for callers
}

// answerer answers a request and returns the status it answered with.
type answerer func(w http.ResponseWriter, r *request) int

// endpoint is a path with what may be done there.
type endpoint struct {
	path    string // as the API description has it; the label in metrics
	index   int    // in counts
	allow   string // the methods, for the Allow header
	methods map[string]answerer

	// callersOnly endpoints say nothing, not even 405, to somebody who is
	// not a caller. The others prove callers in their own way, or not.
	callersOnly bool
}

// layRoutes is the table of everything that can be asked.
func (a *API) layRoutes() {
	type methods = map[string]answerer
	a.routes = make(map[string]*endpoint)
	lay := func(path string, callersOnly bool, m methods) *endpoint {
		if m[http.MethodGet] != nil {
			m[http.MethodHead] = m[http.MethodGet]
		}
		e := &endpoint{path: path, index: len(a.counts.endpoints), methods: m, callersOnly: callersOnly}
		for method := range m {
			e.allow += ", " + method
		}
		allowed := strings.Split(strings.TrimPrefix(e.allow, ", "), ", ")
		slices.Sort(allowed)
		e.allow = strings.Join(allowed, ", ")
		a.counts.endpoints = append(a.counts.endpoints, path)
		a.routes[path] = e
		return e
	}
	const forCallers, forAll = true, false
	a.token = lay("/v1/tokens/{name}", forCallers, methods{http.MethodGet: a.getToken})
	a.refresh = lay("/v1/tokens/{name}/refresh", forCallers, methods{http.MethodPost: a.postRefresh})
	lay("/v1/events", forCallers, methods{http.MethodGet: a.getEvents})
	lay("/GetToken", forAll, methods{http.MethodPost: a.postGetToken})
	lay("/cgi-bin/token", forAll, methods{http.MethodGet: a.dropInToken, http.MethodPost: a.dropInToken})
	lay("/cgi-bin/stable_token", forAll, methods{http.MethodPost: a.dropInStable, http.MethodGet: requirePost})
	lay("/healthz", forAll, methods{http.MethodGet: getHealth})
	lay("/readyz", forAll, methods{http.MethodGet: a.getReady})
	if a.metrics != nil {
		lay("/metrics", !a.open, methods{http.MethodGet: a.getMetrics})
	}
	lay("/openapi.yaml", forCallers, methods{http.MethodGet: getDescription})
	lay("/", forCallers, methods{http.MethodGet: a.getPage, http.MethodPost: a.postPage})
	for _, file := range a.page.Files() { // the same for everybody; browsers ask without credentials first
		lay("/"+file, forAll, methods{http.MethodGet: a.getPageFile})
	}
	a.unknown = lay("other", forCallers, nil)
	delete(a.routes, a.token.path)
	delete(a.routes, a.refresh.path)
	delete(a.routes, a.unknown.path)
	a.counts.grow()
}

// route finds the endpoint and the account in the path. A path is taken as it
// is: nothing is cleaned, and nobody is redirected with his query string.
func (a *API) route(u *url.URL) (*endpoint, string) {
	if rest, ok := strings.CutPrefix(u.Path, "/v1/tokens/"); ok {
		return a.routeToken(u, rest)
	}
	if e := a.routes[u.Path]; e != nil && u.RawPath == "" {
		return e, ""
	}
	return a.unknown, ""
}

func (a *API) routeToken(u *url.URL, rest string) (*endpoint, string) {
	if u.RawPath != "" { // an escaped slash is part of a name, not of the path
		raw, ok := strings.CutPrefix(u.RawPath, "/v1/tokens/")
		if !ok {
			return a.unknown, ""
		}
		rest = raw
	}
	name, refresh := strings.CutSuffix(rest, "/refresh")
	if name == "" || strings.Contains(name, "/") {
		return a.unknown, ""
	}
	if u.RawPath != "" {
		unescaped, err := url.PathUnescape(name)
		if err != nil {
			return a.unknown, ""
		}
		name = unescaped
	}
	if refresh {
		return a.refresh, name
	}
	return a.token, name
}

// ServeHTTP answers every request.
func (a *API) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	e, account := a.route(hr.URL)
	r := &request{Request: hr, account: account}
	w.Header()["X-Content-Type-Options"] = nosniff
	if hr.ContentLength != 0 {
		// A body that never comes must not keep the connection. The server
		// sets its own deadline again before the next request.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(a.limits.Slow))
	}
	status := a.serve(w, r, e)
	a.counts.add(e.index, status)
	if status == statusGone {
		panic(http.ErrAbortHandler) // or an empty 200 would go out to whoever is still there
	}
}

func (a *API) serve(w http.ResponseWriter, r *request, e *endpoint) int {
	dropIn := strings.HasPrefix(r.URL.Path, "/cgi-bin/")
	if e.callersOnly && !dropIn {
		if status := a.login(w, r); status != 0 {
			return status
		}
	}
	answer := e.methods[r.Method]
	switch {
	case answer == nil && dropIn:
		return a.misdirected(w, r, e)
	case e == a.unknown:
		return answerProblem(w, problem{http.StatusNotFound, "not_found", "there is nothing at this path", 0})
	case answer == nil:
		w.Header().Set("Allow", e.allow)
		return answerProblem(w, problem{http.StatusMethodNotAllowed, "method_not_allowed", "use " + e.allow, 0})
	}
	// A browser sends the password along wherever a request comes from. Safe
	// methods pass.
	if err := a.origin.Check(r.Request); err != nil {
		a.refuse(r, r.caller.Name(), "the request came from another site's page")
		return answerProblem(w, problem{http.StatusForbidden, "cross_origin", "requests from other sites' pages are refused", 0})
	}
	return answer(w, r)
}
