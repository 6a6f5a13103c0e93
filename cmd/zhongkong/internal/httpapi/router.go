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
	path    string   // as in openapi.yaml; the label in metrics
	parts   []string // of a path with a {name}
	index   int      // in counts
	allow   string   // the Allow header
	methods map[string]handler
	access  access

	weChat bool   // errors have WeChat's shape
	oauth  bool   // errors have the shape of RFC 6749
	linked bool   // pages of other sites may link to it
	hint   string // the message of 404 and 405
}

// nameInPath stands for the {name} in an endpoint's path.
const nameInPath = "{name}"

type router struct {
	routes  map[string]*endpoint // by path, those without a {name}
	named   []*endpoint          // those with one
	token   *endpoint            // /v1/tokens/{name}
	refresh *endpoint            // /v1/tokens/{name}/refresh
	form    *endpoint            // /GetToken

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
	if e, name := t.ofName(parts); e != nil {
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

// ofName returns the endpoint of a path with a {name}, and the name; nil: it has none.
func (t *router) ofName(parts []string) (*endpoint, string) {
	for _, e := range t.named {
		if name, ok := e.match(parts); ok {
			return e, name
		}
	}
	if len(parts) > 2 && parts[0] == "v1" && parts[1] == "tokens" {
		return t.unknown, ""
	}
	return nil, ""
}

// match returns what the parts of a path have in the place of the endpoint's {name}; false if
// they are of another path.
func (e *endpoint) match(parts []string) (name string, ok bool) {
	if len(parts) != len(e.parts) {
		return "", false
	}
	for i, part := range e.parts {
		switch part {
		case nameInPath:
			name = parts[i]
		case parts[i]:
		default:
			return "", false
		}
	}
	return name, true
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
