package httpapi

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/accesslog"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/header"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi/wechatapi"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/proxy"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/requestid"
)

// API is the http.Handler of the whole HTTP interface. It starts no goroutine by
// itself. What a request starts ends with the request, or with Stop.
type API struct {
	*app
	router
}

// New returns an API.
func New(cfg Config) *API {
	a := &API{app: newApp(cfg)}
	a.addRoutes()
	return a
}

type methods = map[string]handler

func (a *API) addRoutes() {
	a.routes = make(map[string]*endpoint)
	a.token = a.add("/v1/tokens/{name}", private, methods{http.MethodGet: a.getToken})
	a.refresh = a.add("/v1/tokens/{name}/refresh", private, methods{http.MethodPost: a.postRefresh})
	a.add("/v1/accounts", private, methods{http.MethodGet: a.getAccounts})
	a.add("/v1/accounts/{name}", private, methods{http.MethodGet: a.getAccount})
	a.add("/v1/grants/{name}", private, methods{http.MethodGet: a.getGrant, http.MethodPut: a.putGrant})
	a.add("/v1/events", private, methods{http.MethodGet: a.getEvents})
	a.form = a.add("/GetToken", byHandler, methods{http.MethodPost: a.postGetToken})
	a.form.hint = "use POST, with the name and the password in the body: addresses are kept in logs"
	a.add(wechatapi.PathToken, byHandler, methods{http.MethodGet: a.dropInToken, http.MethodPost: a.dropInToken}).weChat = true
	a.add(wechatapi.PathStableToken, byHandler, methods{http.MethodPost: a.dropInStable, http.MethodGet: requirePost}).weChat = true
	a.add(wechatapi.PathCorpToken, byHandler, methods{http.MethodGet: a.dropInWeCom, http.MethodPost: a.dropInWeCom}).weChat = true
	for _, t := range ticketEndpoints {
		handle := a.dropInTicket(t)
		a.add(t.path, byHandler, methods{http.MethodGet: handle, http.MethodPost: handle}).weChat = true
	}
	for _, e := range exchangeEndpoints {
		a.add(e.Path, byHandler, methods{http.MethodPost: a.dropInExchange(e)}).weChat = true
	}
	a.add("/oauth2/token", byHandler, methods{http.MethodPost: a.postOAuth}).oauth = true
	a.add("/oauth2/{name}/token", byHandler, methods{http.MethodPost: a.postOAuth}).oauth = true
	a.add(metadataPath, public, methods{http.MethodGet: getMetadata})
	a.add(metadataPath+"/oauth2/{name}", public, methods{http.MethodGet: getMetadata})
	a.add("/v1/jssdk/{name}", private, methods{http.MethodGet: a.getSignature})
	a.add("/callback/{name}", public, methods{http.MethodGet: a.takeCallback, http.MethodPost: a.takeCallback})
	a.add("/healthz", public, methods{http.MethodGet: getHealth})
	a.add("/readyz", public, methods{http.MethodGet: a.getReady})
	if a.metrics != nil {
		to := private
		if a.metricsOpen {
			to = public
		}
		a.add("/metrics", to, methods{http.MethodGet: a.getMetrics})
	}
	a.add("/openapi.yaml", private, methods{http.MethodGet: getDescription})
	a.add("/", private, methods{http.MethodGet: a.getPage, http.MethodPost: a.postPage}).linked = true
	a.add("/accounts/{name}", private, methods{http.MethodGet: a.getPage, http.MethodPost: a.postPage}).linked = true
	a.add("/logout", byHandler, methods{http.MethodGet: a.getLogout})
	for _, file := range a.page.Files() { // public, because browsers ask without credentials first
		a.add("/"+file, public, methods{http.MethodGet: a.pageFile(file)})
	}
	a.addUnknown()
	a.allocate()
}

// add adds an endpoint, whose path may have a {name}.
func (a *API) add(path string, to access, m methods) *endpoint {
	e := a.newEndpoint(path, to, m)
	if strings.Contains(path, nameInPath) {
		e.parts = strings.Split(path, "/")[1:]
		a.named = append(a.named, e)
	} else {
		a.routes[path] = e
	}
	return e
}

func (a *API) newEndpoint(path string, to access, m methods) *endpoint {
	if m[http.MethodGet] != nil {
		m[http.MethodHead] = m[http.MethodGet]
	}
	var allowed []string
	for method := range m {
		allowed = append(allowed, method)
	}
	slices.Sort(allowed)
	e := &endpoint{path: path, index: len(a.endpoints), methods: m, access: to, allow: strings.Join(allowed, ", ")}
	a.endpoints = append(a.endpoints, path)
	return e
}

// addUnknown adds the endpoints of unknown paths. They are counted as one.
func (a *API) addUnknown() {
	a.unknown = a.newEndpoint("other", private, nil)
	a.unknown.hint = "there is nothing at this path; if a proxy adds or removes a prefix, set it right: " +
		"a token is at /v1/tokens/NAME, this interface's description at /openapi.yaml"
	variant := func(weChat bool, hint string) *endpoint {
		e := *a.unknown
		e.access, e.weChat, e.hint = byHandler, weChat, hint
		return &e
	}
	a.business = variant(true, "only tokens and tickets are issued here: business calls go to WeChat itself")
	a.prefixed = variant(true, "there is something before /cgi-bin/ in the path: take it off, in the base URL or in the proxy")
	a.shortened = variant(true, "the path has to begin with /cgi-bin/: put that into the base URL, or have the proxy leave it there")
	a.prefixedForm = variant(false, "there is something before /GetToken in the path: take it off, in the URL or in the proxy")
}

// ServeHTTP answers every request.
func (a *API) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	id := requestid.Assign(w, hr)
	if a.proxy != nil && isProxied(hr.URL) { // it bounds bodies and moves deadlines itself
		a.proxy.ServeHTTP(w, hr)
		return
	}
	if a.proxy != nil && proxy.IsLogin(hr.URL.Path) {
		a.proxy.ServeLogin(w, hr)
		return
	}
	e, account := a.route(hr.URL)
	r := &request{Request: hr, account: account, maxBody: a.limits.Body, id: id, entry: accesslog.Of(w)}
	r.entry.At(e.path)
	w.Header()["X-Content-Type-Options"] = nosniff
	if hr.ContentLength != 0 {
		// A body that never arrives must not keep the connection. The server
		// sets its own deadline again before the next request.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(a.limits.Slow))
	}
	status := a.serve(w, r, e)
	r.entry.By(r.caller.Name())
	a.answered(e.index, status)
	if status == statusGone {
		panic(http.ErrAbortHandler) // otherwise the server would send an empty 200
	}
}

func (a *API) serve(w http.ResponseWriter, r *request, e *endpoint) int {
	// Before authentication, because a browser attaches the credentials that it
	// knows to any request, and another site's page can try passwords.
	if e.access != public && header.IsCrossOrigin(r.Request) && (!e.linked || !isNavigation(r.Request)) {
		a.refuse(r, "", reasonCrossOrigin)
		if e.weChat {
			return wechatapi.WriteError(w, wechatapi.NotAllowed(problemCrossOrigin.message))
		}
		if e.oauth {
			return writeOAuthError(w, oauthInvalidRequest, problemCrossOrigin)
		}
		return writeProblem(w, problemCrossOrigin)
	}
	if e.access == private {
		if err := a.login(r); err != nil {
			return a.failPage(w, r, err)
		}
	}
	if handle := e.methods[r.Method]; handle != nil {
		return handle(w, r)
	}
	return noSuchMethod(w, e)
}

// noSuchMethod answers 404 for an unknown path and 405 for any other.
func noSuchMethod(w http.ResponseWriter, e *endpoint) int {
	switch {
	case e.weChat && e.methods != nil:
		return wechatapi.WriteError(w, wechatapi.WrongMethod(e.path))
	case e.weChat:
		return wechatapi.WriteError(w, wechatapi.NoSuchURL(e.hint))
	case e.methods == nil:
		return writeProblem(w, problem{http.StatusNotFound, "not_found", e.hint, 0})
	}
	w.Header().Set("Allow", e.allow)
	p := problem{http.StatusMethodNotAllowed, "method_not_allowed", cmp.Or(e.hint, "use "+e.allow), 0}
	if e.oauth {
		return writeOAuthError(w, oauthInvalidRequest, p)
	}
	return writeProblem(w, p)
}
