package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// handler answers a request and returns the status for the counters.
type handler func(w http.ResponseWriter, r *request) int

// access says when the callers of an endpoint are authenticated.
type access int

const (
	// public endpoints answer everyone. Their handlers may read credentials.
	public access = iota
	// byHandler endpoints have their credentials in a place of their own, where
	// the handler finds them.
	byHandler
	// private endpoints answer only callers, also with 405.
	private
)

type endpoint struct {
	path    string // as in openapi.yaml; the label in metrics
	index   int    // in counts
	allow   string // the Allow header
	methods map[string]handler
	access  access

	weChat bool   // errors have WeChat's shape
	oauth  bool   // errors have the shape of RFC 6749
	linked bool   // pages of other sites may link to it
	hint   string // the message of 404 and 405
}

type router struct {
	routes   map[string]*endpoint // by path, those without a {name}
	token    *endpoint            // /v1/tokens/{name}
	refresh  *endpoint            // /v1/tokens/{name}/refresh
	state    *endpoint            // /v1/accounts/{name}
	grant    *endpoint            // /v1/grants/{name}
	jssdk    *endpoint            // /v1/jssdk/{name}
	pushed   *endpoint            // /callback/{name}
	oauth    *endpoint            // /oauth2/{name}/token
	metadata *endpoint            // /.well-known/oauth-authorization-server/oauth2/{name}
	account  *endpoint            // /accounts/{name}
	form     *endpoint            // /GetToken

	// The endpoints of unknown paths, one for each kind of mistake; see unknownFor.
	unknown, business, prefixed, shortened, prefixedForm *endpoint
}

// route returns the endpoint and the {name} of a URL's path.
//
// It is not an http.ServeMux, which answers a path with two slashes with a
// redirect, and a query string with a password must not be sent anywhere else.
// Nor does a ServeMux match /GetToken in any case, or a name that ends in
// /refresh by an escaped slash.
func (t *router) route(u *url.URL) (*endpoint, string) {
	if u.RawPath == "" {
		if rest, ok := strings.CutPrefix(u.Path, "/v1/tokens/"); ok {
			name, refresh := strings.CutSuffix(rest, "/refresh")
			switch {
			case name == "" || strings.Contains(name, "/"):
			case refresh:
				return t.refresh, name
			default:
				return t.token, name
			}
		} else if e := t.routes[u.Path]; e != nil {
			return e, ""
		}
	}
	return t.routeParts(u)
}

// routeParts routes a path that is not spelt exactly as an endpoint: with more
// slashes, or with escapes. An escaped slash is part of a name.
func (t *router) routeParts(u *url.URL) (*endpoint, string) {
	parts, ok := split(u)
	if !ok {
		return t.unknown, ""
	}
	if e, name := t.named(parts); e != nil {
		return e, name
	}
	if slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(part, "/") }) {
		return t.unknown, ""
	}
	if len(parts) == 1 && isForm(parts[0]) {
		return t.form, ""
	}
	if e := t.routes["/"+strings.Join(parts, "/")]; e != nil {
		return e, ""
	}
	return t.unknownFor(parts, u.RawQuery), ""
}

// named returns the endpoint of a path with a {name}, and the name; nil: it has none.
func (t *router) named(parts []string) (*endpoint, string) {
	switch at := func(i int, want string) bool { return parts[i] == want }; len(parts) {
	case 2:
		switch {
		case at(0, "accounts"):
			return t.account, parts[1]
		case at(0, "callback"):
			return t.pushed, parts[1]
		}
	case 3:
		switch {
		case at(0, "v1") && at(1, "tokens"):
			return t.token, parts[2]
		case at(0, "v1") && at(1, "accounts"):
			return t.state, parts[2]
		case at(0, "v1") && at(1, "grants"):
			return t.grant, parts[2]
		case at(0, "v1") && at(1, "jssdk"):
			return t.jssdk, parts[2]
		case at(0, "oauth2") && at(2, "token"):
			return t.oauth, parts[1]
		}
	case 4:
		switch {
		case at(0, "v1") && at(1, "tokens") && at(3, "refresh"):
			return t.refresh, parts[2]
		case at(0, ".well-known") && "/.well-known/"+parts[1] == metadataPath && at(2, "oauth2"):
			return t.metadata, parts[3]
		}
	}
	if len(parts) > 2 && parts[0] == "v1" && parts[1] == "tokens" {
		return t.unknown, ""
	}
	return nil, ""
}

// split returns the unescaped parts of a path between its slashes, without empty
// ones.
func split(u *url.URL) ([]string, bool) {
	path := u.EscapedPath()
	if !strings.HasPrefix(path, "/") { // as in OPTIONS *
		return nil, false
	}
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		if part == "" {
			continue
		}
		unescaped, err := url.PathUnescape(part)
		if err != nil {
			return nil, false
		}
		parts = append(parts, unescaped)
	}
	return parts, true
}

// isForm reports whether a part of a path is GetToken, which clients write in any
// case.
func isForm(part string) bool { return strings.EqualFold(part, "GetToken") }

// unknownFor returns the endpoint that says what is wrong with an unknown path, in
// the form that its client reads. Mostly a proxy has added or removed a prefix.
func (t *router) unknownFor(parts []string, query string) *endpoint {
	at := slices.IndexFunc(parts, func(part string) bool { return strings.EqualFold(part, "cgi-bin") })
	last := ""
	if len(parts) > 0 {
		last = parts[len(parts)-1]
	}
	switch {
	case at > 0:
		return t.prefixed
	case at < 0 && (last == "stable_token" || last == "token" && strings.Contains(query, "grant_type=client_credential")):
		return t.shortened
	case at == 0 || len(parts) > 0 && parts[0] == "sns" || strings.Contains(query, "access_token="):
		return t.business
	case isForm(last):
		return t.prefixedForm
	}
	return t.unknown
}
