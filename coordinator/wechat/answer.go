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
	doubt string // why the life is a guess; "" if it was said
}

// cautiousLife is how long a token counts as living of which the answer does not
// say so. It was issued, and the one before is dying: to throw it away would leave
// none. Asked for again at half of it, the day's calls last.
const cautiousLife = 10 * time.Minute

// grant reads the answer: a token, an errcode (nothing was issued), or an error
// that says what else it is. Such an error does not quote the answer, in which
// a token may be.
//
// A token that can be believed is taken whatever the HTTP status: it was
// issued. It may come with an errcode, since relays have codes of their own;
// then there are both, and the caller knows whether the token is news.
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

// complete reports whether the answer says what became of the call, though
// the connection broke before its end.
func (r reply) complete() bool {
	_, _, err := r.grant()
	return err == nil
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
	if a.code != 0 { // more likely a refusal than a token
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
