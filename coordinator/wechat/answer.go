package wechat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

const (
	// maxToken is eight times what WeChat asks clients to reserve.
	maxToken = 4096

	// maxLife bounds expires_in. Any positive life is taken, however short: a
	// token was issued and the one before it dies, so throwing the new one
	// away only makes it worse. More than a year is no life but a broken
	// answer (a time in milliseconds, for one).
	maxLife = 366 * 24 * time.Hour
)

// reply is an HTTP answer, read whole.
type reply struct {
	base   string
	status int
	header http.Header
	body   []byte

	secrets []string // what must not be repeated from the answer
}

// grant is a token as WeChat gave it.
type grant struct {
	token string
	life  time.Duration
}

// grant reads the answer: a token, an errcode (nothing was issued), or an error
// that says what else it is. Such an error does not quote the answer, in which
// a token may be.
func (r reply) grant() (grant, *Error, error) {
	if r.status/100 == 5 {
		return grant{}, nil, fmt.Errorf("HTTP status %d", r.status)
	}
	a, err := parseAnswer(r.body)
	switch {
	case err != nil && r.status != http.StatusOK:
		return grant{}, nil, fmt.Errorf("HTTP status %d", r.status)
	case err != nil:
		return grant{}, nil, err
	case a.code != 0 && a.token != "":
		return grant{}, nil, fmt.Errorf("both a token and %w", &Error{Code: a.code, Status: r.status})
	case a.code != 0 && r.unknowable():
		return grant{}, nil, fmt.Errorf("HTTP status %d and %w", r.status, &Error{Code: a.code, Status: r.status})
	case a.code != 0:
		return grant{}, newError(a.code, scrub(a.message, r.secrets...), r.status), nil
	case r.status != http.StatusOK:
		return grant{}, nil, fmt.Errorf("HTTP status %d", r.status)
	}
	g, err := a.grant()
	return g, nil, err
}

// kind is what is left behind by an answer that is neither a token nor an
// errcode. Redirects, which are not followed, and client errors come from a
// gateway that did not pass the request on.
func (r reply) kind() coordinator.FailureKind {
	switch {
	case r.status == http.StatusTooManyRequests:
		return coordinator.FailedLater
	case r.status/100 == 3, r.status/100 == 4 && !r.unknowable():
		return coordinator.FailedBusy
	default:
		return coordinator.FailedUnknown
	}
}

// unknowable: 408 and 499 say that somebody gave up waiting.
func (r reply) unknowable() bool {
	const clientClosed = 499
	return r.status == http.StatusRequestTimeout || r.status == clientClosed
}

// retryAfter is the wait that a 429 asks for.
func (r reply) retryAfter() time.Duration {
	if r.status != http.StatusTooManyRequests {
		return 0
	}
	seconds, err := strconv.Atoi(r.header.Get("Retry-After"))
	if err != nil || seconds <= 0 {
		return time.Minute
	}
	return min(time.Duration(seconds)*time.Second, time.Hour)
}

// now is the time on WeChat's clock, this machine's if the answer has none.
func (r reply) now() time.Time {
	if t, err := http.ParseTime(r.header.Get("Date")); err == nil {
		return t
	}
	return time.Now()
}

// answer is what a token endpoint's JSON may hold.
type answer struct {
	code      int
	message   string
	token     string
	expiresIn int64
}

var errNoObject = errors.New("something that is not a JSON object")

// parseAnswer reads a JSON object strictly: types must fit, names are compared
// exactly, nothing may follow. The content type is ignored; WeChat's varies.
func parseAnswer(body []byte) (answer, error) {
	switch trimmed := bytes.TrimSpace(body); {
	case len(body) > maxAnswer:
		return answer{}, fmt.Errorf("more than %d bytes", maxAnswer)
	case len(trimmed) == 0:
		return answer{}, errors.New("an empty body")
	case trimmed[0] == '<':
		return answer{}, errors.New("a page instead of JSON")
	case trimmed[0] != '{':
		return answer{}, errNoObject
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return answer{}, errNoObject
	}
	var a answer
	for name, into := range map[string]any{
		"errcode": &a.code, "errmsg": &a.message, "access_token": &a.token, "expires_in": &a.expiresIn,
	} {
		raw, present := fields[name]
		if !present {
			continue
		}
		if err := json.Unmarshal(raw, into); err != nil { // null leaves it as if absent
			return answer{}, fmt.Errorf("JSON whose %s has the wrong type", name)
		}
	}
	return a, nil
}

func (a answer) grant() (grant, error) {
	switch {
	case a.token == "":
		return grant{}, errors.New("neither a token nor an errcode")
	case len(a.token) > maxToken:
		return grant{}, fmt.Errorf("a token of %d characters", len(a.token))
	case !printable(a.token):
		return grant{}, errors.New("a token with blanks, control or non-ASCII characters")
	case a.expiresIn <= 0 || a.expiresIn > int64(maxLife/time.Second):
		return grant{}, fmt.Errorf("a token with expires_in %d", a.expiresIn)
	}
	return grant{token: a.token, life: time.Duration(a.expiresIn) * time.Second}, nil
}

// printable reports whether s is visible ASCII throughout.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// chinaStandardTime is where WeChat's day begins and ends.
func chinaStandardTime() *time.Location { return time.FixedZone("UTC+8", 8*60*60) }

// untilQuotaReset returns how long after now the daily quota is whole again:
// at the next midnight, UTC+8. Just after a midnight the counters may not have
// followed yet, and coming back a day later because of that would be too much.
func untilQuotaReset(now time.Time) time.Duration {
	const settle = 10 * time.Minute
	local := now.In(chinaStandardTime())
	midnight := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, local.Location())
	if local.Sub(midnight) < settle {
		return settle
	}
	return midnight.AddDate(0, 0, 1).Sub(local)
}
