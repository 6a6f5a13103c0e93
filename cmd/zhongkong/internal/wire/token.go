package wire

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Token is the record of a token: the answer of GET /v1/tokens/{name} and of a
// datagram, and the output of show, refresh and ask with --json.
//
// Two members are absent where they are not known. Only a server tells UseFor,
// because only a server knows its schedule and what the caller's configuration
// allows. Only a process that reads Redis itself tells IssuedBy; a server does
// not tell its callers which processes there are.
//
// It prints as "[token record]": it holds the token itself.
type Token struct {
	Name        string            `json:"name"`
	AccessToken string            `json:"access_token"`
	Generation  coordinator.Fence `json:"generation"`
	IssuedAt    Time              `json:"issued_at"`
	ExpiresAt   Time              `json:"expires_at"`
	ExpiresIn   int64             `json:"expires_in"`          // seconds for which the token is served, a margin subtracted
	UseFor      *int64            `json:"use_for,omitempty"`   // seconds for which it may be used before asking again
	IssuedBy    string            `json:"issued_by,omitempty"` // the instance that fetched it
	Stale       bool              `json:"stale"`               // true: it may have been replaced
	Attributes  map[string]string `json:"attributes,omitempty"`
}

// NewToken returns the record of an account's token whose TTL was read at the
// given time. UseFor is absent.
func NewToken(name string, s coordinator.Snapshot, at time.Time) Token {
	return Token{
		Name:        name,
		AccessToken: s.Token.Reveal(),
		Generation:  s.Generation,
		IssuedAt:    Time{s.IssuedAt},
		ExpiresAt:   Time{s.ExpiresAt},
		ExpiresIn:   max(int64((s.TTL-time.Since(at))/time.Second), 0),
		IssuedBy:    s.IssuedBy,
		Stale:       s.Stale,
		Attributes:  s.Attributes,
	}
}

// Check refuses a token with a character that is not graphic, or that is not UTF-8, which
// no issuer sends: it could control the terminal or add a header to a script's request. The
// error does not contain the token.
func (t Token) Check() error {
	foreign := func(r rune) bool { return !unicode.IsGraphic(r) }
	if !utf8.ValidString(t.AccessToken) || strings.ContainsFunc(t.AccessToken, foreign) {
		return errors.New("the token in Redis has control characters, so it was not written by Zhongkong: find the program that writes to Redis, then run zhongkong refresh")
	}
	return nil
}

// String returns "[token record]".
func (Token) String() string { return "[token record]" }

// Format prints String for every verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// LogValue is String, for log/slog.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }
