package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/accesslog"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/requestid"
)

// secretEndpoint is one of WeChat's that takes the AppSecret.
type secretEndpoint struct {
	id, secret string // names of the parameters
	refresh    bool   // the caller must have the right to force a refresh
}

// secretEndpoints are by path in lower case. They are all of WeChat's documented API
// that take an AppSecret or component_secret, but for those that issue tokens: these
// are in tokenEndpoints. /sns/oauth2/refresh_token and /sns/auth take none (see
// isUsers); /sns/component/jscode2session and /sns/oauth2/component/* take a
// component_access_token in place of one, and are calls like any other.
var secretEndpoints = map[string]secretEndpoint{
	"/sns/oauth2/access_token":                 {"appid", "secret", false},
	"/sns/jscode2session":                      {"appid", "secret", false},
	"/cgi-bin/clear_quota/v2":                  {"appid", "appsecret", true},
	"/cgi-bin/component/clear_quota/v2":        {"component_appid", "appsecret", true},
	"/cgi-bin/component/api_start_push_ticket": {"component_appid", "component_secret", false},
}

// tokenEndpoints issue tokens. To let them pass would replace the token that
// everybody else uses.
var tokenEndpoints = map[string]bool{
	"/cgi-bin/token":                          true,
	"/cgi-bin/stable_token":                   true,
	"/cgi-bin/gettoken":                       true,
	"/cgi-bin/component/api_component_token":  true,
	"/cgi-bin/component/api_authorizer_token": true,
	"/cgi-bin/service/get_provider_token":     true,
	"/cgi-bin/service/get_suite_token":        true,
	"/cgi-bin/service/get_corp_token":         true,
}

// clearsQuota reports whether an endpoint, in lower case, that takes a token resets the
// account's quota of calls, or that of one API, which it may some times a month. It needs
// the right to force a refresh, as the ones do that take the AppSecret.
func clearsQuota(path string) bool {
	switch path {
	case "/cgi-bin/clear_quota", "/cgi-bin/component/clear_quota", "/cgi-bin/openapi/quota/clear":
		return true
	}
	return false
}

// isUsers reports whether the access_token of an endpoint, in lower case, is a user's, which web
// login gave out, and not the account's. It proves itself to WeChat, and nothing
// of ours is put in. Anyone may make these calls without this server.
func isUsers(path string) bool {
	switch path {
	case "/sns/userinfo", "/sns/auth", "/sns/oauth2/refresh_token":
		return true
	}
	return false
}

// maxLogin bounds the body of a call that takes the AppSecret.
const maxLogin = 16 << 10

// parameters are those of a call, wherever they are.
type parameters struct {
	query string
	form  string                     // of a body that is a form
	json  map[string]json.RawMessage // of a body that is JSON
	body  bool                       // there is one
}

// ServeLogin answers a call at the server's root that takes the AppSecret: its appid, and
// if several accounts have that, its caller, say which account it is for. It is counted as
// of the route "/".
func (p *Proxy) ServeLogin(w http.ResponseWriter, req *http.Request) {
	read, err := readParameters(w, req)
	path := loginPath(req.URL.Path)
	e := secretEndpoints[path]
	appID := ""
	if err == nil {
		appID = read.get(e.id)
	}
	var caller auth.Caller
	refused, bad := refuseForm(req)
	if !bad {
		caller, refused = p.proveLogin(req, e, read, err)
	}
	of, account := p.loginRoute(appID, caller)
	r := newRoute(p, of)
	counts, _ := p.atRoot.LoadOrStore(account, r.counts)
	r.Name, r.counts, r.logged = "/", counts.(*counters), account
	accesslog.Of(w).At(path)
	accesslog.Of(w).Through(r.Name, account)
	if bad {
		r.counts.malformed.Add(1)
		r.respond(w, refused)
		return
	}
	c := &call{route: r, path: path, query: req.URL.RawQuery, in: req, id: requestid.Assign(w, req), caller: caller}
	r.login(w, req, c, e, read, refused)
}

// loginRoute returns the route for a caller's calls at the root, and the account to count
// and to log them for: none for an unknown appid, which may be a secret in the wrong place.
func (p *Proxy) loginRoute(appID string, caller auth.Caller) (of Route, account string) {
	known := p.cfg.Login(appID)
	for _, of := range known {
		if caller.May(of.Account) {
			return of, of.Account
		}
	}
	if len(known) > 0 {
		return known[0], known[0].Account
	}
	of, _ = WeChatRoute("", appID, "") // a caller must not learn which accounts there are
	return of, ""
}

// IsLogin reports whether ServeLogin answers at a path.
func IsLogin(path string) bool {
	_, ok := secretEndpoints[loginPath(path)]
	return ok
}

// loginPath returns a path without repeated slashes and those at its end, of which base URLs
// that end with a slash are the cause.
func loginPath(path string) string {
	if strings.HasSuffix(path, "/") || strings.Contains(path, "//") {
		return "/" + strings.Join(strings.FieldsFunc(path, func(r rune) bool { return r == '/' }), "/")
	}
	return path
}

// login passes on a call that takes the AppSecret, unless proveLogin has refused it.
func (r *route) login(w http.ResponseWriter, req *http.Request, c *call, e secretEndpoint, p *parameters, refused problem) {
	r.counts.logins.Add(1)
	switch {
	case refused.status == http.StatusBadRequest:
		r.counts.malformed.Add(1)
		r.respond(w, refused)
		return
	case refused.code != "":
	case !c.caller.May(r.Account):
		refused = problemAccount
	case e.refresh && !c.caller.MayRefresh(r.Account):
		refused = problemRefresh
	}
	if refused.code != "" {
		c.refuse(w, refused)
		return
	}
	appID, secret, ok := "", "", false
	if r.p.cfg.Secret != nil {
		appID, secret, ok = r.p.cfg.Secret(r.Account)
	}
	switch asked := p.get(e.id); {
	case !ok:
		r.respond(w, problem{http.StatusServiceUnavailable, "no_secret", codeNotAllowed,
			"api unauthorized: this server does not have the AppSecret", 0})
		return
	case asked != appID:
		r.respond(w, problem{http.StatusForbidden, "forbidden", codeAppID, "invalid appid: it is not the one of this route", 0})
		return
	}
	p.put(e.secret, secret)
	c.query, c.plain, c.hide = p.query, true, secretsOf(secret)
	c.log(slog.LevelInfo, "call with the AppSecret")
	r.pass(w, p.request(req), c)
}

// proveLogin proves the caller, of whatever accounts, of a call that takes the AppSecret:
// by its own key in the secret's place, or by the Authorization header. It takes the
// parameters that were read, or the error of reading them. The status of its problem is
// 400 if the parameters are wrong.
func (p *Proxy) proveLogin(req *http.Request, e secretEndpoint, read *parameters, err error) (auth.Caller, problem) {
	if err != nil {
		return auth.Caller{}, problem{http.StatusBadRequest, "bad_request", codeNoAppID,
			"appid missing: the body is not a form or a JSON object of at most 16 KiB", 0}
	}
	byHeader, named := auth.FromAuthorization(req.Header.Get(authorization))
	sent, raw := read.raw(e.secret)
	switch {
	case read.get(e.id) == "" && (sent != "" || req.Header.Get(authorization) != ""): // at the root it says which account
		return auth.Caller{}, problem{http.StatusBadRequest, "bad_request", codeNoAppID, e.id + " missing", 0}
	case named:
		return p.authenticate(req, byHeader)
	case sent == "":
		return auth.Caller{}, problem{http.StatusUnauthorized, "unauthorized", codeNoSecret, "appsecret missing", 0}
	}
	var readings []auth.Credentials
	for _, text := range meanings(sent, raw) {
		if c, ok := auth.FromSecret(text); ok {
			readings = append(readings, c)
		}
	}
	if len(readings) == 0 {
		p := problemDenied
		p.message = "invalid appsecret: it must be the caller's NAME:PASSWORD or NAME~PASSWORD"
		return auth.Caller{}, p
	}
	return p.authenticate(req, readings...)
}

// meanings are what a parameter may say, the likeliest first: SDKs that are made
// for hexadecimal secrets paste a password into a URL without escaping it.
func meanings(sent string, escaped bool) []string {
	if !escaped || !strings.ContainsAny(sent, "%+") {
		return []string{sent}
	}
	all := []string{unescaped(sent)}
	if strings.Contains(sent, "+") {
		all = append(all, unescaped(strings.ReplaceAll(sent, "+", "%2B")))
	}
	return append(all, sent)
}

// readParameters reads those of a request, and its body if it has one.
func readParameters(w http.ResponseWriter, req *http.Request) (*parameters, error) {
	p := &parameters{query: req.URL.RawQuery}
	if req.Body == nil || req.Body == http.NoBody || req.ContentLength == 0 {
		return p, nil
	}
	body, err := readShort(w, req, maxLogin)
	if err != nil {
		return nil, err
	}
	p.body = true
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	switch {
	case len(body) == 0:
		p.body = false
	case body[0] == '{':
		return p, json.Unmarshal(body, &p.json)
	case bytes.ContainsAny(body, "\x00\r\n<"):
		return nil, errors.New("neither a form nor JSON")
	default:
		p.form = string(body)
	}
	return p, nil
}

// raw returns a parameter as it was sent, and whether it may be escaped.
func (p *parameters) raw(name string) (value string, escaped bool) {
	for _, fields := range []string{p.query, p.form} {
		for pair := range strings.SplitSeq(fields, "&") {
			if key, value, _ := strings.Cut(pair, "="); isParameter(key, name) && value != "" {
				return value, true
			}
		}
	}
	var text string
	if member := p.json[name]; member != nil && json.Unmarshal(member, &text) == nil {
		return text, false
	}
	return "", false
}

func (p *parameters) get(name string) string {
	value, escaped := p.raw(name)
	if escaped {
		return unescaped(value)
	}
	return value
}

// put puts the AppSecret where the caller's key is, and takes everything away
// that may hold a key or a token of ours.
func (p *parameters) put(name, secret string) {
	inForm := parameter(p.form, name) != ""
	inJSON := p.json[name] != nil
	ours := []string{"secret", "appsecret", "component_secret", "access_token"}
	p.query = withoutParameters(p.query, ours...)
	p.form = withoutParameters(p.form, ours...)
	for _, key := range ours {
		delete(p.json, key)
	}
	switch {
	case inForm:
		p.form = withParameter(p.form, name, secret)
	case inJSON:
		p.json[name], _ = json.Marshal(secret) // a string can be encoded
	default:
		p.query = withParameter(p.query, name, secret)
	}
}

// request returns the request with the body that p has now.
func (p *parameters) request(req *http.Request) *http.Request {
	made := req.WithContext(req.Context())
	if !p.body {
		made.Body, made.ContentLength, made.TransferEncoding = http.NoBody, 0, nil
		return made
	}
	text := []byte(p.form)
	if p.json != nil {
		text, _ = json.Marshal(p.json) // it was read from JSON
	}
	setBody(made, text)
	made.Header = req.Header.Clone()
	made.Header.Del("Content-Length")
	made.Header.Del("Expect")
	return made
}
