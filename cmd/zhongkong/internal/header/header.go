// Package header reads what the header of a request says.
package header

import (
	"net/http"
	"net/url"
)

// First returns the first value of a field that was looked up by its canonical name, which
// avoids the conversion of [http.Header.Get].
func First(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// IsCrossOrigin reports whether a browser sent the request for a page of another
// site. Without this check, a few images in such a page with wrong passwords in
// their URLs would lock out all callers on the machine of a person who looks at
// the page. Programs send none of these fields.
//
// Over plain HTTP beyond loopback a browser sends Origin at most, and not for
// images.
func IsCrossOrigin(r *http.Request) bool {
	switch First(r.Header["Sec-Fetch-Site"]) {
	case "same-origin", "none": // none: a person typed the address
		return false
	case "":
		origin := First(r.Header["Origin"])
		if origin == "" {
			return false
		}
		u, err := url.Parse(origin)
		return err != nil || u.Host != r.Host
	}
	return true
}
