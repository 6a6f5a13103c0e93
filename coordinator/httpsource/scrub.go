package httpsource

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

// MaxMessage is how many characters OneLine keeps.
const MaxMessage = 300

// OneLine makes an issuer's message fit for a log: one line of at most MaxMessage
// printable characters. It does not remove secrets: call Scrub first.
func OneLine(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if utf8.RuneCountInString(s) > MaxMessage {
		s = string([]rune(s)[:MaxMessage]) + "..."
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	return strings.TrimSpace(s)
}

// shortestSecret is the length below which Scrub ignores a secret: a test's secret of
// one letter would make messages unreadable. Real ones have many more characters.
const shortestSecret = 4

// Scrub removes secrets from s, in the forms in which a URL or an echoing server may
// show them, and the user and password from any URL. It ignores secrets of fewer than
// 4 bytes.
func Scrub(s string, secrets ...string) string {
	for _, secret := range secrets {
		if len(secret) < shortestSecret {
			continue
		}
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
			s = strings.ReplaceAll(s, form, "[redacted]")
		}
	}
	if strings.Contains(s, "://") && strings.Contains(s, "@") {
		s = regexp.MustCompile(`://[^/@\s]*@`).ReplaceAllString(s, "://[redacted]@")
	}
	return s
}

// CleanError returns err without the URL that a *url.Error carries, without the
// secrets, and without what net/http quotes of a malformed answer, which may be a
// token. If any of these are deeper in err, the result has only the cleaned text and
// does not unwrap to err; its Timeout method still tells what err's does.
func CleanError(err error, secrets ...string) error {
	for {
		var withURL *url.Error
		if !errors.As(err, &withURL) {
			break
		}
		err = withURL.Err
	}
	text := err.Error()
	if clean := Scrub(withoutQuotes(text), secrets...); clean != text {
		return &scrubbedError{text: clean, timeout: isTimeout(err)}
	}
	return err
}

// withoutQuotes cuts off what an error of net/http quotes of an answer.
func withoutQuotes(text string) string {
	if !strings.Contains(text, "transport connection broken") && !strings.Contains(text, "malformed") {
		return text
	}
	kept, _, quotes := strings.Cut(text, `"`)
	if !quotes {
		return text
	}
	return strings.TrimSpace(kept)
}

// scrubbedError replaces an error whose text contained a secret.
type scrubbedError struct {
	text    string
	timeout bool
}

func (e *scrubbedError) Error() string { return e.text }

// Timeout is that of the error it replaces.
func (e *scrubbedError) Timeout() bool { return e.timeout }

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// Printable reports whether s is visible ASCII throughout, as every token, secret and
// identifier of an issuer is.
func Printable(s string) bool { return source.Printable(s) }
