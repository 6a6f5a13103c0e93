package httpsource_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

func TestScrubTakesOutEveryFormOfASecret(t *testing.T) {
	const secret = "a/b+c=d e"
	for _, text := range []string{
		"x " + secret + " y", "?secret=a%2Fb%2Bc%3Dd+e&x", "/a%2Fb+c=d%20e/",
	} {
		if got := httpsource.Scrub(text, "", secret); !strings.Contains(got, "[redacted]") {
			t.Errorf("Scrub(%q) = %q", text, got)
		}
	}
	if got := httpsource.Scrub(`invalid proxy address "http://user:pass@proxy:1"`); strings.Contains(got, "pass") {
		t.Errorf("the proxy's password stays: %s", got)
	}
	if got := httpsource.Scrub("a message", "a"); got != "a message" {
		t.Errorf("a secret of one letter: %s", got)
	}
	if got := fmt.Sprint(httpsource.CleanError(fmt.Errorf("x: %s", secret), secret)); strings.Contains(got, secret) {
		t.Errorf("CleanError = %s", got)
	}
}

func TestCleanErrorQuotesNeitherTheURLNorTheAnswer(t *testing.T) {
	cause := &url.Error{Op: "Get", URL: "http://issuer/?secret=sesame", Err: context.DeadlineExceeded}
	if got := httpsource.CleanError(fmt.Errorf("send: %w", cause)); !errors.Is(got, context.DeadlineExceeded) || strings.Contains(got.Error(), "sesame") {
		t.Errorf("CleanError = %v", got)
	}
	got := httpsource.CleanError(errors.New(`net/http: malformed HTTP response "the-token"`))
	if got.Error() != "net/http: malformed HTTP response" {
		t.Errorf("CleanError = %v", got)
	}
	var timeout interface{ Timeout() bool }
	got = httpsource.CleanError(&url.Error{Err: fmt.Errorf("to sesame: %w", context.DeadlineExceeded)}, "sesame")
	if !errors.As(got, &timeout) || !timeout.Timeout() {
		t.Errorf("CleanError = %v, want it to tell that it is a time-out", got)
	}
}

func TestOneLineFitsForALog(t *testing.T) {
	for text, want := range map[string]string{
		" invalid\r\n\x1b[31mappid\x00 ":    "invalid   [31mappid",
		"\xff\xfe":                          "?",
		strings.Repeat("系", 301):            strings.Repeat("系", 300) + "...",
		strings.Repeat("x", 300) + "\n\xff": strings.Repeat("x", 300) + "...",
	} {
		if got := httpsource.OneLine(text); got != want {
			t.Errorf("OneLine(%.20q) = %q, want %q", text, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]bool{"": true, "t-g1_~!": true, "a b": false, "a\n": false, "é": false, "\x7f": false} {
		if got := httpsource.Printable(text); got != want {
			t.Errorf("Printable(%q) = %v", text, got)
		}
	}
}
