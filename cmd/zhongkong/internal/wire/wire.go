// Package wire defines the JSON that Zhongkong gives to programs and people: the
// token record, events, log entries, account states and errors. The command line
// (--json), the HTTP interface, the event stream and datagrams use these types,
// so one thing has one form wherever it is read.
//
// Only [Token] holds a token.
package wire

import (
	"encoding/json"
	"time"
)

// Time is an instant. Its text is RFC 3339 in UTC with milliseconds, as in Redis; the zero
// Time is the empty string.
type Time struct{ time.Time }

// String returns t as text.
func (t Time) String() string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

// MarshalJSON implements [json.Marshaler].
func (t Time) MarshalJSON() ([]byte, error) { return json.Marshal(t.String()) }

// UnmarshalJSON implements [json.Unmarshaler]. It accepts any RFC 3339 time.
func (t *Time) UnmarshalJSON(text []byte) error {
	if string(text) == `""` {
		*t = Time{}
		return nil
	}
	return t.Time.UnmarshalJSON(text)
}

// seconds are the unit of durations in records, events and account states.
func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// Error says why a request failed.
type Error struct {
	Code    string `json:"error"` // for programs, such as "no_token"
	Message string `json:"message"`
}
