package logging_test

import (
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logging"
)

func TestPathHoldsNoCredential(t *testing.T) {
	long := strings.Repeat("k", 41)
	for path, want := range map[string]string{
		"":                                     "",
		"/":                                    "/",
		"/cgi-bin/user/info":                   "/cgi-bin/user/info",
		"/v1/tokens/wx1/":                      "/v1/tokens/wx1/",
		"/cgi-bin/" + long[1:]:                 "/cgi-bin/" + long[1:],
		"/cgi-bin/" + long + "/x":              "/cgi-bin/…/x",
		"/cgi-bin/app~PASSWORD":                "/cgi-bin/…",
		"/app:PASSWORD/x":                      "/…/x",
		"/cgi-bin/app%7EPASSWORD":              "/cgi-bin/…",
		"/cgi-bin/app%257ePASSWORD":            "/cgi-bin/…",
		"/cgi-bin/token?secret=PASSWORD":       "/cgi-bin/token",
		"/cgi-bin/token%3Fsecret=PASSWORD":     "/cgi-bin/token",
		"/cgi-bin/token%253fsecret=PASSWORD/x": "/cgi-bin/token",
		"/cgi-bin/token&secret=PASSWORD":       "/cgi-bin/…",
		"/100%/app~PASSWORD%3":                 "/100%/…",
		strings.Repeat("/abcdefghi", 100):      strings.Repeat("/abcdefghi", 12) + "/…",
	} {
		if got := logging.Path(path); got != want {
			t.Errorf("Path(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestANameThatMayBeACredentialIsNotShown(t *testing.T) {
	for name, want := range map[string]string{
		"":                                 "",
		"portal":                           "portal",
		"wx8acdb7df5beb68fd":               "wx8acdb7df5beb68fd",
		"0123456789abcdef0123456789abcdef": "…",
		strings.Repeat("k", 31):            strings.Repeat("k", 31),
		"app~PASSWORD":                     "…",
		"secret=PASSWORD":                  "…",
	} {
		if got := logging.Claimed(name); got != want {
			t.Errorf("Claimed(%q) = %q, want %q", name, got, want)
		}
	}
}
