package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
)

// request is an http.Request with what was found out about it.
type request struct {
	*http.Request
	account string      // the {name} of the path
	caller  auth.Caller // proved, on endpoints that are for callers
}

// answerer answers a request and returns the status it answered with.
type answerer func(w http.ResponseWriter, r *request) int

// access says when an endpoint proves callers.
type access int

const (
	// forAll endpoints tell everybody the same, or prove callers only if
	// there are credentials.
	forAll access = iota
	// byItself is an endpoint that finds the credentials where its clients
	// put them.
	byItself
	// forCallers endpoints say nothing, not even 405, to somebody who is not
	// a caller.
	forCallers
)

// endpoint is a path with what may be done there.
type endpoint struct {
	path    string // as the API description has it; the label in metrics
	index   int    // in counts
	allow   string // the methods, for the Allow header
	methods map[string]answerer
	access  access

	weChat bool   // its errors have WeChat's shape
	linked bool   // people come to it by links of other sites' pages
	words  string // told to those whom no method answers
}

// layRoutes is the table of everything that can be asked.
func (a *API) layRoutes() {
	type methods = map[string]answerer
	a.routes = make(map[string]*endpoint)
	lay := func(path string, to access, m methods) *endpoint {
		if m[http.MethodGet] != nil {
			m[http.MethodHead] = m[http.MethodGet]
		}
		e := &endpoint{path: path, index: len(a.counts.endpoints), methods: m, access: to}
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
	a.token = lay("/v1/tokens/{name}", forCallers, methods{http.MethodGet: a.getToken})
	a.refresh = lay("/v1/tokens/{name}/refresh", forCallers, methods{http.MethodPost: a.postRefresh})
	lay("/v1/events", forCallers, methods{http.MethodGet: a.getEvents})
	a.form = lay("/GetToken", byItself, methods{http.MethodPost: a.postGetToken})
	a.form.words = "use POST, with the name and the password in the body: addresses are kept in logs"
	lay(pathToken, byItself, methods{http.MethodGet: a.dropInToken, http.MethodPost: a.dropInToken}).weChat = true
	lay(pathStableToken, byItself, methods{http.MethodPost: a.dropInStable, http.MethodGet: requirePost}).weChat = true
	lay("/healthz", forAll, methods{http.MethodGet: getHealth})
	lay("/readyz", forAll, methods{http.MethodGet: a.getReady})
	if a.metrics != nil {
		lay("/metrics", a.accessToMetrics(), methods{http.MethodGet: a.getMetrics})
	}
	lay("/openapi.yaml", forCallers, methods{http.MethodGet: getDescription})
	lay("/", forCallers, methods{http.MethodGet: a.getPage, http.MethodPost: a.postPage}).linked = true
	a.one = lay("/accounts/{name}", forCallers, methods{http.MethodGet: a.getPage, http.MethodPost: a.postPage})
	a.one.linked = true
	lay("/logout", byItself, methods{http.MethodGet: a.getLogout})
	for _, file := range a.page.Files() { // the same for everybody; browsers ask without credentials first
		lay("/"+file, forAll, methods{http.MethodGet: a.pageFile(file)})
	}
	a.layUnknown(lay("other", forCallers, nil))
	delete(a.routes, a.token.path)
	delete(a.routes, a.refresh.path)
	delete(a.routes, a.one.path)
	delete(a.routes, a.unknown.path)
	a.counts.grow()
}

func (a *API) accessToMetrics() access {
	if a.open {
		return forAll
	}
	return forCallers
}

// layUnknown makes the endpoints of paths that are none of ours: one for each
// kind of client, all counted as one.
func (a *API) layUnknown(unknown *endpoint) {
	kind := func(weChat bool, words string) *endpoint {
		e := *unknown
		e.access, e.weChat, e.words = byItself, weChat, words
		return &e
	}
	a.unknown = unknown
	a.unknown.words = "there is nothing at this path; if a proxy adds or removes a prefix, set it right: " +
		"a token is at /v1/tokens/NAME, this interface's description at /openapi.yaml"
	a.business = kind(true, "only tokens are issued here: business calls go to WeChat itself")
	a.prefixed = kind(true, "there is something before /cgi-bin/ in the path: take it off, in the base URL or in the proxy")
	a.shortened = kind(true, "the path has to begin with /cgi-bin/: put that into the base URL, or have the proxy leave it there")
	a.prefixedForm = kind(false, "there is something before /GetToken in the path: take it off, in the URL or in the proxy")
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
	// Before the credentials: a browser sends those that it knows along
	// wherever a request comes from, and a page may try any.
	if e.access != forAll && fromAnotherSite(r.Request) && (!e.linked || !followsLink(r.Request)) {
		return a.refuseSite(w, r, e)
	}
	if e.access == forCallers {
		if status := a.login(w, r); status != 0 {
			return status
		}
	}
	if answer := e.methods[r.Method]; answer != nil {
		return answer(w, r)
	}
	return misdirected(w, e)
}

// misdirected answers what no method of an endpoint does.
func misdirected(w http.ResponseWriter, e *endpoint) int {
	switch {
	case e.weChat:
		return answerTrouble(w, misdirectedSDK(e))
	case e.methods == nil:
		return answerProblem(w, problem{http.StatusNotFound, "not_found", e.words, 0})
	}
	w.Header().Set("Allow", e.allow)
	words := e.words
	if words == "" {
		words = "use " + e.allow
	}
	return answerProblem(w, problem{http.StatusMethodNotAllowed, "method_not_allowed", words, 0})
}
