package redisstore

import (
	"strings"
	"time"
)

// decodeRefreshed decodes the notification of a refresh, which every follower of an
// account receives at the same moment. It takes exactly the form in which commit.lua
// writes it, without attributes, and reports false for any other text, which
// encoding/json then decodes.
func decodeRefreshed(payload string) (m message, ok bool) {
	f := form{rest: payload}
	m.Event = "refreshed"
	m.AccessToken = f.text(`{"event":"refreshed","access_token":`)
	m.Generation = f.whole(`,"generation":`)
	m.IssuedAt = f.instant(`,"issued_at":`)
	m.ExpiresAt = f.instant(`,"expires_at":`)
	m.IssuedBy = f.text(`,"issued_by":`)
	m.TTL = int64(f.whole(`,"ttl_ms":`))
	if strings.HasPrefix(f.rest, `,"refresh_at":`) {
		m.RefreshAt = f.instant(`,"refresh_at":`)
	}
	if strings.HasPrefix(f.rest, `,"repeated":`) {
		f.skip(`,"repeated":1`)
		m.Repeated = 1
	}
	m.Reason = f.text(`,"reason":`)
	m.By = f.text(`,"by":`)
	if strings.HasPrefix(f.rest, `,"change":`) {
		m.Change = f.whole(`,"change":"`)
		f.skip(`"`)
	}
	f.skip(`}`)
	if f.other || f.rest != "" {
		return message{}, false
	}
	return m, true
}

// form reads a text whose parts follow each other in a known order. Once the text turns out to
// have another form, nothing more of it is read.
type form struct {
	rest  string
	other bool // the text has another form; what was read of it is worth nothing
}

// skip passes over a part that is always the same.
func (f *form) skip(part string) {
	rest, ok := strings.CutPrefix(f.rest, part)
	f.rest, f.other = rest, f.other || !ok
}

// quoted returns the string that follows the part. A string with an escape or a
// character beyond ASCII is of another form.
func (f *form) quoted(part string) string {
	f.skip(part)
	f.skip(`"`)
	if f.other {
		return ""
	}
	for i := range len(f.rest) {
		switch c := f.rest[i]; {
		case c == '"':
			value := f.rest[:i]
			f.rest = f.rest[i+1:]
			return value
		case c < ' ', c == '\\', c > '~':
			f.other = true
			return ""
		}
	}
	f.other = true
	return ""
}

// text returns a copy of the string that follows the part: the text around it has the
// token, and is not kept in memory for the name of an instance.
func (f *form) text(part string) string { return strings.Clone(f.quoted(part)) }

// instant returns the instant that follows the part.
func (f *form) instant(part string) (t time.Time) {
	text := f.quoted(part)
	f.other = f.other || t.UnmarshalText([]byte(text)) != nil
	return t
}

// whole returns the whole number that follows the part. One of more than 18 digits,
// which an int64 may not hold, is of another form, and so is one that begins with 0.
func (f *form) whole(part string) (n uint64) {
	f.skip(part)
	if f.other {
		return 0
	}
	digits := 0
	for ; digits < len(f.rest) && '0' <= f.rest[digits] && f.rest[digits] <= '9'; digits++ {
		n = 10*n + uint64(f.rest[digits]-'0')
	}
	if digits == 0 || digits > 18 || f.rest[0] == '0' {
		f.other = true
	}
	f.rest = f.rest[digits:]
	return n
}
