package httpapi

import (
	"net/url"
	"slices"
	"strings"
)

// route finds the endpoint and the account in the path. Nothing is redirected:
// the query string may hold a password.
func (a *API) route(u *url.URL) (*endpoint, string) {
	if u.RawPath == "" {
		if rest, ok := strings.CutPrefix(u.Path, "/v1/tokens/"); ok {
			name, refresh := strings.CutSuffix(rest, "/refresh")
			switch {
			case name == "" || strings.Contains(name, "/"):
			case refresh:
				return a.refresh, name
			default:
				return a.token, name
			}
		} else if e := a.routes[u.Path]; e != nil {
			return e, ""
		}
	}
	return a.interpret(u)
}

// interpret finds what a path means that is not exactly one of ours: base URLs
// end in a slash or do not, and clients escape more or less. An escaped slash
// is part of a name, not of the path.
func (a *API) interpret(u *url.URL) (*endpoint, string) {
	parts, ok := split(u)
	if !ok {
		return a.unknown, ""
	}
	if len(parts) >= 3 && parts[0] == "v1" && parts[1] == "tokens" {
		switch {
		case len(parts) == 3:
			return a.token, parts[2]
		case len(parts) == 4 && parts[3] == "refresh":
			return a.refresh, parts[2]
		}
		return a.unknown, ""
	}
	if len(parts) == 2 && parts[0] == "accounts" {
		return a.one, parts[1]
	}
	if slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(part, "/") }) {
		return a.unknown, ""
	}
	if len(parts) == 1 && isForm(parts[0]) {
		return a.form, ""
	}
	if e := a.routes["/"+strings.Join(parts, "/")]; e != nil {
		return e, ""
	}
	return a.misplaced(parts, u.RawQuery), ""
}

// split returns the parts of a path between its slashes, without empty ones.
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

// isForm reports whether a part of a path is /GetToken, which its clients
// write in any case.
func isForm(part string) bool { return strings.EqualFold(part, "GetToken") }

// misplaced is the endpoint that tells whoever asks at a path that is none of
// ours, in a form that he can read, what is wrong with it: mostly a proxy
// added or removed a prefix.
func (a *API) misplaced(parts []string, query string) *endpoint {
	at := slices.IndexFunc(parts, func(part string) bool { return strings.EqualFold(part, "cgi-bin") })
	last := ""
	if len(parts) > 0 {
		last = parts[len(parts)-1]
	}
	switch {
	case at > 0:
		return a.prefixed
	case at < 0 && (last == "stable_token" || last == "token" && strings.Contains(query, "grant_type=client_credential")):
		return a.shortened
	case at == 0 || strings.Contains(query, "access_token="):
		return a.business
	case isForm(last):
		return a.prefixedForm
	}
	return a.unknown
}
