package wechat

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

// maxLife bounds expires_in. Any positive lifetime is accepted, however short: a token
// was issued and invalidates the previous one, so discarding it would leave none. More
// than a year means a broken answer, such as a time in milliseconds.
const maxLife = 366 * 24 * time.Hour

// reply is an HTTP response that was read completely.
type reply struct {
	httpsource.Response
	base   string
	member member

	secrets []string // must not be quoted from the answer
}

// issued is a token as WeChat gave it.
type issued struct {
	token string
	life  time.Duration
	doubt string // why life is a guess; "" if the answer has it

	refresh string // the refresh token that came with an authorizer's token; "": none
	owner   string // the AppID of the authorizer, if the answer names it
}

// issued reads the answer: a token, an errcode (nothing was issued), or an error
// that describes anything else. The error does not quote the answer, which may
// contain a token.
//
// A plausible token is accepted whatever the HTTP status: it was issued. An errcode
// may accompany it, since relays have codes of their own; then issued returns both,
// and the caller decides by whether the token is new.
func (r reply) issued() (issued, *Error, error) {
	a, err := parseAnswer(r.member, r.Body)
	g, doubt := a.issued()
	var said *Error
	if a.code != 0 {
		said = newError(a.code, httpsource.Scrub(a.message, r.secrets...), r.Status)
	}
	switch {
	case err == nil && doubt == nil:
		return g, said, nil
	case err == nil && said == nil && r.Status == http.StatusOK && errors.Is(doubt, errNoPermission):
		return g, nil, doubt
	case r.Status/100 == 5:
		return issued{}, nil, fmt.Errorf("HTTP status %d", r.Status)
	case said != nil && r.GaveUp():
		return issued{}, nil, fmt.Errorf("HTTP status %d and %w", r.Status, &Error{Code: a.code, Status: r.Status})
	case said != nil:
		return issued{}, said, nil
	case r.Status != http.StatusOK:
		return issued{}, nil, fmt.Errorf("HTTP status %d", r.Status)
	}
	return issued{}, nil, cmp.Or(err, doubt)
}

// complete reports whether the answer tells the outcome of the call although the
// connection broke before its end.
func (r reply) complete() bool {
	_, _, err := r.issued()
	return err == nil
}

// errNoPermission says that an authorization comes without a token of the authorizer's: WeChat
// gives none for an account without API permissions. It may give a refresh token.
var errNoPermission = errors.New("the account has no API permissions")

func (a answer) issued() (issued, error) {
	noun := a.member.noun()
	unusable := source.CheckToken("a "+noun, a.token)
	switch {
	case a.token == "" && a.wrong[a.member] != nil:
		return issued{}, a.wrong[a.member]
	case a.token == "" && a.owner != "":
		return issued{refresh: a.refreshToken(), owner: a.owner}, errNoPermission
	case a.token == "":
		return issued{}, fmt.Errorf("neither a %s nor an errcode", noun)
	case unusable != nil:
		return issued{}, unusable
	case a.life > 0:
		return issued{token: a.token, life: a.life, refresh: a.refreshToken(), owner: a.owner}, nil
	}
	doubt := cmp.Or(a.wrong[expiresIn], fmt.Errorf("a %s without expires_in", noun))
	if a.code != 0 { // more likely an error than a token
		return issued{}, doubt
	}
	return issued{token: a.token, life: source.CautiousLife, doubt: doubt.Error(), refresh: a.refreshToken(), owner: a.owner}, nil
}

// refreshToken returns the refresh token, "" if there is none that can be stored.
func (a answer) refreshToken() string {
	if source.CheckToken("", a.refresh) != nil {
		return ""
	}
	return a.refresh
}
