package wechat

import (
	"cmp"
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

	// maxLife bounds expires_in. Any positive lifetime is accepted, however
	// short: a token was issued and invalidates the previous one, so discarding
	// it would leave none. More than a year means a broken answer, such as a
	// time in milliseconds.
	maxLife = 366 * 24 * time.Hour
)

// reply is an HTTP response that was read completely.
type reply struct {
	base   string
	status int
	header http.Header
	body   []byte

	secrets []string // must not be quoted from the answer
}

// grant is a token as WeChat gave it.
type grant struct {
	token string
	life  time.Duration
	doubt string // why life is a guess; "" if the answer has it
}

// cautiousLife is the assumed lifetime of a token that came without one. The token
// is used because it was issued and invalidates the previous one. Refreshed at half
// this lifetime, the day's quota of calls suffices.
const cautiousLife = 10 * time.Minute

// grant reads the answer: a token, an errcode (nothing was issued), or an error
// that describes anything else. The error does not quote the answer, which may
// contain a token.
//
// A plausible token is accepted whatever the HTTP status: it was issued. An errcode
// may accompany it, since relays have codes of their own; then grant returns both,
// and the caller decides by whether the token is new.
func (r reply) grant() (grant, *Error, error) {
	a, err := parseAnswer(r.body)
	g, doubt := a.grant()
	var said *Error
	if a.code != 0 {
		said = newError(a.code, scrub(a.message, r.secrets...), r.status)
	}
	switch {
	case err == nil && doubt == nil:
		return g, said, nil
	case r.status/100 == 5:
		return grant{}, nil, fmt.Errorf("HTTP status %d", r.status)
	case said != nil && r.unknowable():
		return grant{}, nil, fmt.Errorf("HTTP status %d and %w", r.status, &Error{Code: a.code, Status: r.status})
	case said != nil:
		return grant{}, said, nil
	case r.status != http.StatusOK:
		return grant{}, nil, fmt.Errorf("HTTP status %d", r.status)
	}
	return grant{}, nil, cmp.Or(err, doubt)
}

// complete reports whether the answer tells the outcome of the call although the
// connection broke before its end.
func (r reply) complete() bool {
	_, _, err := r.grant()
	return err == nil
}

// kind classifies an answer that is neither a token nor an errcode. Redirects,
// which are not followed, and client errors come from a gateway that did not pass
// the request on.
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

// unknowable reports a status with which a gateway gave up waiting: WeChat may have
// received the request.
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

// now is the time by WeChat's clock, or by this machine's if the answer has no Date.
func (r reply) now() time.Time {
	if t, err := http.ParseTime(r.header.Get("Date")); err == nil {
		return t
	}
	return time.Now()
}

func (a answer) grant() (grant, error) {
	switch {
	case a.token == "" && a.wrong[tokenParameter] != nil:
		return grant{}, a.wrong[tokenParameter]
	case a.token == "":
		return grant{}, errors.New("neither a token nor an errcode")
	case len(a.token) > maxToken:
		return grant{}, fmt.Errorf("a token of %d characters", len(a.token))
	case !printable(a.token):
		return grant{}, errors.New("a token with blanks, control or non-ASCII characters")
	case a.life > 0:
		return grant{token: a.token, life: a.life}, nil
	}
	doubt := cmp.Or(a.wrong["expires_in"], errors.New("a token without expires_in"))
	if a.code != 0 { // more likely an error than a token
		return grant{}, doubt
	}
	return grant{token: a.token, life: cautiousLife, doubt: doubt.Error()}, nil
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

// untilQuotaReset returns the time from now until the daily quota is reset, at the
// next midnight, UTC+8. Just after midnight, WeChat's counters may not have been
// reset yet; then it returns a few minutes instead of a day.
func untilQuotaReset(now time.Time) time.Duration {
	const settle = 10 * time.Minute
	local := now.In(chinaStandardTime())
	midnight := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, local.Location())
	if local.Sub(midnight) < settle {
		return settle
	}
	return midnight.AddDate(0, 0, 1).Sub(local)
}
