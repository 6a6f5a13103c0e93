package wechat

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

// member is the name of a member of an answer's object.
type member string

const (
	accessToken member = "access_token"
	theTicket   member = "ticket"
	expiresIn   member = "expires_in"
	errcode     member = "errcode"

	componentToken    member = "component_access_token"
	authorizerToken   member = "authorizer_access_token"
	refreshToken      member = "authorizer_refresh_token"
	authorizerAppID   member = "authorizer_appid"
	authorizationInfo member = "authorization_info" // an object with the three before it
)

// noun is what messages call the token that comes under this name.
func (m member) noun() string {
	if m == accessToken {
		return "token"
	}
	return string(m)
}

// answer is the content of an answer as far as it concerns tokens.
type answer struct {
	member  member // the token's
	code    int
	message string
	token   string
	life    time.Duration // 0: missing or implausible
	refresh string        // of an authorizer's token
	owner   string        // the AppID of the authorizer, if the answer names it

	wrong map[member]error // members that are present but invalid
}

// parseAnswer reads an answer that a relay may have re-encoded: numbers as strings or
// with a fraction, null for missing members, duplicate names, a byte order mark,
// gzip that was not requested. It ignores the content type, which varies even
// without a relay.
//
// Text around the object is ignored if the object has a token or an errcode. A token
// is accepted even from a truncated or malformed object: it was issued and has
// invalidated the previous one. An errcode is accepted only from a complete object,
// since digits of it may be missing otherwise.
func parseAnswer(token member, body []byte) (answer, error) {
	body, tooLong := source.Plain(body, httpsource.MaxBody)
	a, err := answer{}, errors.New("nothing")
	for _, text := range source.Objects(body, string(token), string(errcode)) {
		if a, err = readObject(token, text); a.token != "" || err == nil && a.code != 0 {
			return a, nil
		}
	}
	switch {
	case tooLong != nil && err != nil:
		return answer{}, tooLong
	case len(body) == 0, body[0] != '{':
		return answer{}, source.NoObject(body)
	case err != nil:
		return answer{}, err
	}
	return a, a.wrong[errcode]
}

// readObject reads the object that text begins with and ignores what follows. Of a
// truncated or malformed object it returns the readable part and an error.
func readObject(token member, text []byte) (answer, error) {
	a := answer{member: token, wrong: make(map[member]error)}
	err := source.ReadObject(text, func(name string, value json.RawMessage) { a.set(member(name), value) })
	return a, err
}

// set stores one member. Names are case-sensitive. Of a duplicate name the last valid
// value counts, as for most readers of JSON.
func (a *answer) set(name member, value json.RawMessage) {
	switch name {
	case errcode:
		a.setCode(value)
	case "errmsg":
		if text, _ := source.Text(value); text != "" {
			a.message = text
		}
	case a.member:
		a.setToken(value)
	case expiresIn:
		a.setLife(value)
	case refreshToken:
		a.refresh, _ = source.Text(value)
	case authorizerAppID:
		a.owner, _ = source.Text(value)
	case authorizationInfo:
		a.setInfo(value)
	}
}

func (a *answer) setToken(value json.RawMessage) {
	text, ok := source.Text(value)
	if text != "" {
		a.token = text
	} else if !ok && string(value) != "null" {
		a.wrong[a.member] = fmt.Errorf("a %s that is not a string", a.member.noun())
	}
}

// setInfo takes the members of the object within the answer of api_query_auth.
func (a *answer) setInfo(value json.RawMessage) {
	if value[0] != '{' {
		return
	}
	info, _ := readObject(a.member, value) // well-formed, as it was read as a value
	a.token, a.life, a.refresh, a.owner = info.token, info.life, info.refresh, info.owner
	maps.Copy(a.wrong, info.wrong)
}

func (a *answer) setCode(value json.RawMessage) {
	switch number, present, err := source.Number(value); {
	case !present:
	case err != nil || number != math.Trunc(number) || math.Abs(number) > math.MaxInt32:
		a.wrong[errcode] = errors.New("an errcode that is not a whole number")
	default:
		a.code = int(number)
		delete(a.wrong, errcode)
	}
}

func (a *answer) setLife(value json.RawMessage) {
	seconds, present, err := source.Number(value)
	seconds = max(0, min(seconds, 2*maxLife.Seconds())) // a Duration holds it
	switch life := time.Duration(seconds * float64(time.Second)); {
	case !present:
	case err != nil:
		a.wrong[expiresIn] = errors.New("a " + a.member.noun() + " whose expires_in is not a number")
	case life <= 0:
		a.wrong[expiresIn] = errors.New("a " + a.member.noun() + " whose expires_in is not positive")
	case life > maxLife:
		a.wrong[expiresIn] = fmt.Errorf("a %s whose expires_in is above %d days", a.member.noun(), maxLife/(24*time.Hour))
	default:
		a.life = life
	}
}
