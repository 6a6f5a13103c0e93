package header

import (
	"net/http/httptest"
	"testing"
)

func TestARequestIsCrossOriginIfABrowserSaysSo(t *testing.T) {
	for _, test := range []struct {
		site, origin string
		want         bool
	}{
		{"", "", false}, // a program
		{"same-origin", "", false},
		{"none", "", false},
		{"same-site", "", true}, // another port or subdomain
		{"cross-site", "", true},
		{"same-origin", "https://other.example", false}, // the more exact one counts
		{"cross-site", "https://tokens.example", true},
		{"", "https://tokens.example", false},
		{"", "https://other.example", true},
		{"", "null", true}, // a sandboxed page
		{"", "https://%", true},
	} {
		r := httptest.NewRequest("GET", "https://tokens.example/", nil)
		if test.site != "" {
			r.Header.Set("Sec-Fetch-Site", test.site)
		}
		if test.origin != "" {
			r.Header.Set("Origin", test.origin)
		}
		if got := IsCrossOrigin(r); got != test.want {
			t.Errorf("Sec-Fetch-Site %q, Origin %q: %t, want %t", test.site, test.origin, got, test.want)
		}
	}
}
