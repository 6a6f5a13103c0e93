package redisstore

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// decode reads a notification. Every follower of an account decodes each of
// them, and ours have a plain form: one flat object, no spaces, no escapes. That
// form is taken apart directly, in a seventh of the time; everything else is
// left to encoding/json, so that nothing is understood differently.
func (m *message) decode(text string) error {
	if m.scan(text) {
		return nil
	}
	*m = message{}
	return json.Unmarshal([]byte(text), m)
}

// scan reports whether text had the plain form and is in m. Strings in m are
// parts of text.
func (m *message) scan(text string) bool {
	rest, ok := strings.CutPrefix(text, "{")
	if !ok {
		return false
	}
	for {
		var name, value string
		if name, rest, ok = plainString(rest); !ok || !strings.HasPrefix(rest, ":") {
			return false
		}
		rest = rest[1:]
		if strings.HasPrefix(rest, `"`) {
			if value, rest, ok = plainString(rest); !ok || !m.setText(name, value) {
				return false
			}
		} else {
			digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
			if value, rest = rest[:digits], rest[digits:]; !m.setNumber(name, value) {
				return false
			}
		}
		switch {
		case rest == "}":
			return true
		case !strings.HasPrefix(rest, ","):
			return false
		}
		rest = rest[1:]
	}
}

// plainString takes a string without escapes off the front.
func plainString(text string) (s, rest string, ok bool) {
	if !strings.HasPrefix(text, `"`) {
		return "", "", false
	}
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return text[1:i], text[i+1:], true
		case c < ' ' || c == '\\' || c >= 0x7f:
			return "", "", false
		}
	}
	return "", "", false
}

func (m *message) setText(name, value string) (ok bool) {
	switch name {
	case "event":
		m.Event = value
	case "asked_by":
		m.AskedBy = value
	case "by":
		m.By = value
	case "reason":
		m.Reason = value
	case "access_token":
		m.AccessToken = value
	case "issued_by":
		m.IssuedBy = value
	case "issued_at":
		m.IssuedAt, ok = plainTime(value)
		return ok
	case "expires_at":
		m.ExpiresAt, ok = plainTime(value)
		return ok
	case "refresh_at":
		m.RefreshAt, ok = plainTime(value)
		return ok
	default:
		return false
	}
	return true
}

func (m *message) setNumber(name, value string) (ok bool) {
	if value == "" || len(value) > 16 || len(value) > 1 && value[0] == '0' {
		return false
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return false
	}
	switch name {
	case "fence":
		m.Fence = uint64(n)
	case "generation":
		m.Generation = uint64(n)
	case "ttl_ms":
		m.TTL = n
	case "deadline_ms":
		m.Deadline = n
	case "retry_ms":
		m.Retry = n
	default:
		return false
	}
	return true
}

// plainTime reads the form in which the scripts write instants.
func plainTime(s string) (time.Time, bool) {
	const form = "2006-01-02T15:04:05.000Z"
	if len(s) != len(form) || s[len(s)-1] != 'Z' || s[19] != '.' {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, s)
	return t, err == nil
}
