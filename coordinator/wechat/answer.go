package wechat

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

const (
	// maxToken bounds what is stored and served as a token. WeChat asks clients to
	// reserve 512 bytes; relays that issue tokens of their own have been seen with
	// JWTs of 8 KiB and more.
	maxToken = 32 << 10

	// maxLife bounds expires_in. Any positive lifetime is accepted, however
	// short: a token was issued and invalidates the previous one, so discarding
	// it would leave none. More than a year means a broken answer, such as a
	// time in milliseconds.
	maxLife = 366 * 24 * time.Hour
)

// reply is an HTTP response that was read completely.
type reply struct {
	httpsource.Response
	base   string
	member member

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
	a, err := parseAnswer(r.member, r.Body)
	g, doubt := a.grant()
	var said *Error
	if a.code != 0 {
		said = newError(a.code, httpsource.Scrub(a.message, r.secrets...), r.Status)
	}
	switch {
	case err == nil && doubt == nil:
		return g, said, nil
	case r.Status/100 == 5:
		return grant{}, nil, fmt.Errorf("HTTP status %d", r.Status)
	case said != nil && r.GaveUp():
		return grant{}, nil, fmt.Errorf("HTTP status %d and %w", r.Status, &Error{Code: a.code, Status: r.Status})
	case said != nil:
		return grant{}, said, nil
	case r.Status != http.StatusOK:
		return grant{}, nil, fmt.Errorf("HTTP status %d", r.Status)
	}
	return grant{}, nil, cmp.Or(err, doubt)
}

// complete reports whether the answer tells the outcome of the call although the
// connection broke before its end.
func (r reply) complete() bool {
	_, _, err := r.grant()
	return err == nil
}

func (a answer) grant() (grant, error) {
	noun := a.member.noun()
	switch {
	case a.token == "" && a.wrong[a.member] != nil:
		return grant{}, a.wrong[a.member]
	case a.token == "":
		return grant{}, fmt.Errorf("neither a %s nor an errcode", noun)
	case len(a.token) > maxToken:
		return grant{}, fmt.Errorf("a %s of %d characters", noun, len(a.token))
	case !httpsource.Printable(a.token):
		return grant{}, fmt.Errorf("a %s with blanks, control or non-ASCII characters", noun)
	case a.life > 0:
		return grant{token: a.token, life: a.life}, nil
	}
	doubt := cmp.Or(a.wrong[expiresIn], fmt.Errorf("a %s without expires_in", noun))
	if a.code != 0 { // more likely an error than a token
		return grant{}, doubt
	}
	return grant{token: a.token, life: cautiousLife, doubt: doubt.Error()}, nil
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
