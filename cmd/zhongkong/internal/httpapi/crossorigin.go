package httpapi

import (
	"net/http"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/header"
)

// isNavigation reports whether a person follows a link to the page, as opposed to
// a page that embeds it. The browser shows where it went, so only a person can
// try a password this way.
func isNavigation(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	into := header.First(r.Header["Sec-Fetch-Dest"])
	return header.First(r.Header["Sec-Fetch-Mode"]) == "navigate" && (into == "document" || into == "")
}

// reasonCrossOrigin is the reason in the audit line.
const reasonCrossOrigin = "the request came from another site's page"

var problemCrossOrigin = problem{http.StatusForbidden, "cross_origin", "requests from other sites' pages are refused", 0}
