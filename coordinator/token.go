package coordinator

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// redacted is what a Token prints as, however it is printed.
const redacted = "[token]"

// Token is an access token that does not show itself: every way of printing,
// logging or encoding it yields "[token]", also when it is a field of
// something else. Reveal is the only way to the characters, so that a search
// for Reveal finds every place a token can leave the process.
//
// The zero Token is no token. Compare with Equal, not with ==.
type Token struct {
	// A pointer, because fmt prints the unexported fields of a caller's
	// struct without asking their methods: it then prints an address.
	value *string
}

// NewToken returns the token with the given characters. NewToken("") is the
// zero Token.
func NewToken(s string) Token {
	if s == "" {
		return Token{}
	}
	return Token{&s}
}

// Reveal returns the token's characters, "" for the zero Token.
func (t Token) Reveal() string {
	if t.value == nil {
		return ""
	}
	return *t.value
}

// IsZero reports whether t is no token.
func (t Token) IsZero() bool { return t.value == nil }

// Equal reports whether two tokens have the same characters, in a time that
// does not depend on where they differ.
func (t Token) Equal(u Token) bool {
	return subtle.ConstantTimeCompare([]byte(t.Reveal()), []byte(u.Reveal())) == 1
}

// String returns "[token]", or "" for the zero Token.
func (t Token) String() string {
	if t.IsZero() {
		return ""
	}
	return redacted
}

// GoString is String, for %#v.
func (t Token) GoString() string { return t.String() }

// Format prints String for every verb, %x and %d included.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// LogValue is String, for log/slog.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText is String, for encoding/json and its like.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }
