package httpapi

import (
	"net/http"
	"net/url"
)

// fromAnotherSite reports whether a browser sent the request for a page of
// another site, which anybody may have written. Without this, a few images of
// such a page with wrong passwords in their addresses would lock out all
// callers of the machine it is looked at. Programs send none of these headers.
//
// A browser that talks to plain HTTP beyond loopback sends Origin at most, and
// not for images.
func fromAnotherSite(r *http.Request) bool {
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

// followsLink reports whether a person goes to the page, as opposed to a page
// that loads it into itself. The browser shows where it went, so that it takes
// a person to try a password in this way.
func followsLink(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	into := first(r.Header["Sec-Fetch-Dest"])
	return first(r.Header["Sec-Fetch-Mode"]) == "navigate" && (into == "document" || into == "")
}

var problemSite = problem{http.StatusForbidden, "cross_origin", "requests from other sites' pages are refused", 0}

// refuseSite answers a request from another site's page.
func (a *API) refuseSite(w http.ResponseWriter, r *request, e *endpoint) int {
	a.refuse(r, "", "the request came from another site's page")
	if e.weChat {
		return answerTrouble(w, trouble{codeNotAllowed, "api unauthorized, " + problemSite.message, problemSite.status})
	}
	return answerProblem(w, problemSite)
}
