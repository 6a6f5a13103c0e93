package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// escape makes text from elsewhere (Redis, the issuer, a command line) safe for a
// terminal, as one line: what is not graphic or not UTF-8 is escaped as in a Go
// string. Control characters move the cursor or clear the screen, format characters
// reverse the text that follows.
func escape(s string) string {
	var b strings.Builder
	for rest := s; rest != ""; {
		r, n := utf8.DecodeRuneInString(rest)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, rest[0])
		case unicode.IsGraphic(r):
			b.WriteString(rest[:n])
		case r < ' ' && !strings.ContainsRune("\n\r\t", r):
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
		rest = rest[n:]
	}
	return b.String()
}

// cleanError is another error with its text escaped, in one line.
type cleanError struct{ err error }

func (e *cleanError) Error() string {
	var joined interface{ Unwrap() []error }
	if !errors.As(e.err, &joined) || e.err.Error() != errors.Join(joined.Unwrap()...).Error() {
		return escape(e.err.Error())
	}
	var parts []string
	for _, err := range joined.Unwrap() {
		parts = append(parts, (&cleanError{err}).Error())
	}
	return strings.Join(parts, "; ")
}

func (e *cleanError) Unwrap() error { return e.err }

// jsonWriter passes JSON on and escapes what is not graphic, much of which the
// encoder leaves as it is. The JSON's meaning stays the same.
type jsonWriter struct{ out io.Writer }

func (w jsonWriter) Write(p []byte) (int, error) {
	var b strings.Builder
	for _, r := range string(p) { // the encoder writes valid UTF-8 only
		switch {
		case unicode.IsGraphic(r) || r == '\n':
			b.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		}
	}
	if _, err := io.WriteString(w.out, b.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}
