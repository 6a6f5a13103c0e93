package wechat

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Error is an errcode that WeChat answered.
type Error struct {
	Code    int
	Message string // errmsg made fit for a log: one line, at most 300 characters, without secret and token
	RID     string // WeChat's id of the request, for its console; "" if none
	Status  int    // the HTTP status, nearly always 200

	// Address is the source address of the request as WeChat saw it, "" except with
	// 40164. It is the address to put on the IP whitelist.
	Address string
}

// Error returns the code and WeChat's message.
func (e *Error) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("errcode %d", e.Code)
	}
	return fmt.Sprintf("errcode %d: %s", e.Code, e.Message)
}

// SeenAddress returns the Address of an *Error in err's tree, if it has one.
func SeenAddress(err error) (string, bool) {
	var e *Error
	if errors.As(err, &e) && e.Address != "" {
		return e.Address, true
	}
	return "", false
}

func newError(code int, message string, status int) *Error {
	e := &Error{Code: code, Message: oneLine(message), Status: status}
	if m := ridPattern().FindStringSubmatch(message); m != nil {
		e.RID = m[1]
	}
	if code == codeNotListed {
		e.Address = seenAddress(message)
	}
	return e
}

// text returns WeChat's message, or the class's meaning if there is none, and what
// to do.
func (e *Error) text(c Class) string {
	words := e.Message
	if words == "" {
		words = c.Meaning
	}
	if c.Hint == "" {
		return words
	}
	return words + "; " + c.Hint
}

// seenAddress finds the address in the errmsg of a 40164, whose format has changed
// over the years: "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist rid: ..".
func seenAddress(message string) string {
	m := addressPattern().FindStringSubmatch(message)
	for _, candidate := range m[min(1, len(m)):] {
		if a, err := netip.ParseAddr(candidate); err == nil {
			return a.Unmap().String()
		}
	}
	return ""
}

func addressPattern() *regexp.Regexp {
	return regexp.MustCompile(`invalid ip (\S+?)(?: ipv6 (\S+?))?, not in whitelist`)
}

func ridPattern() *regexp.Regexp {
	return regexp.MustCompile(`\brid: ([0-9a-fA-F]+-[0-9a-fA-F]+-[0-9a-fA-F]+)`)
}

// maxMessage is how many characters of a foreign message go into logs.
const maxMessage = 300

// oneLine makes a foreign message fit for a log line.
func oneLine(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if utf8.RuneCountInString(s) > maxMessage {
		s = string([]rune(s)[:maxMessage]) + "..."
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	return strings.TrimSpace(s)
}

// shortestSecret is the length below which scrub ignores a secret: a test's secret of
// one letter would make messages unreadable. Real ones have 32 characters or more.
const shortestSecret = 4

// scrub removes secrets from s, in the forms in which a URL or an echoing server may
// show them, and the user and password from any URL.
func scrub(s string, secrets ...string) string {
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

// cleanError returns err without the URL that a *url.Error carries, without the
// secrets, and without what net/http quotes of a malformed answer, which may be a
// token. If any of these are deeper in err, the result has only the cleaned text and
// does not unwrap to err.
func cleanError(err error, secrets ...string) error {
	for {
		var withURL *url.Error
		if !errors.As(err, &withURL) {
			break
		}
		err = withURL.Err
	}
	text := err.Error()
	if clean := scrub(withoutQuotes(text), secrets...); clean != text {
		return &scrubbedError{text: clean, timeout: errorIsTimeout(err)}
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

func errorIsTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
