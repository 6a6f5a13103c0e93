package httpapi

import (
	"net/http"
	"net/url"
)

// isCrossOrigin reports whether a browser sent the request for a page of another
// site. Without this check, a few images in such a page with wrong passwords in
// their URLs would lock out all callers on the machine of a person who looks at
// the page. Programs send none of these headers.
//
// Over plain HTTP beyond loopback a browser sends Origin at most, and not for
// images.
func isCrossOrigin(r *http.Request) bool {
	switch first(r.Header["Sec-Fetch-Site"]) {
	case "same-origin", "none": // none: a person typed the address
		return false
	case "":
		origin := first(r.Header["Origin"])
		if origin == "" {
			return false
		}
		u, err := url.Parse(origin)
		return err != nil || u.Host != r.Host
	}
	return true
}

// isNavigation reports whether a person follows a link to the page, as opposed to
// a page that embeds it. The browser shows where it went, so only a person can
// try a password this way.
func isNavigation(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	into := first(r.Header["Sec-Fetch-Dest"])
	return first(r.Header["Sec-Fetch-Mode"]) == "navigate" && (into == "document" || into == "")
}

// reasonCrossOrigin is the reason in the audit line.
const reasonCrossOrigin = "the request came from another site's page"

var problemCrossOrigin = problem{http.StatusForbidden, "cross_origin", "requests from other sites' pages are refused", 0}
