package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// WeChat's codes for what can be wrong with a request for a token.
const (
	codeBusy        = -1
	codeGrantType   = 40002
	codeAppID       = 40013
	codeSecret      = 40125
	codeNoAppID     = 41002
	codeNoSecret    = 41004
	codeRequirePost = 43002
	codeDayQuota    = 45009
	codeMinuteQuota = 45011
	codeRequireGet  = 43001
	codeNotAllowed  = 48001
	codeNoSuchURL   = 40066
)

// The paths that SDKs ask.
const (
	pathToken       = "/cgi-bin/token"
	pathStableToken = "/cgi-bin/stable_token"
)

// trouble is an error as WeChat has them: HTTP 200, and only the code tells.
type trouble struct {
	code    int
	message string
	counts  int // the status it would have elsewhere; metrics have it
}

// question is what an SDK asks with.
type question struct {
	GrantType    string `json:"grant_type"`
	AppID        string `json:"appid"`
	Secret       string `json:"secret"`
	ForceRefresh yes    `json:"force_refresh"`

	readings []string // of the secret; nil: it can only be read as it is
}

// yes is a truth that some write as text or as a number.
type yes bool

// UnmarshalJSON takes what it does not know for false.
func (y *yes) UnmarshalJSON(text []byte) error {
	b, _ := strconv.ParseBool(strings.Trim(string(text), `"`))
	*y = yes(b)
	return nil
}

// dropInToken answers GET /cgi-bin/token. WeChat takes the fields from the
// query string only; a body is taken too.
func (a *API) dropInToken(w http.ResponseWriter, r *request) int {
	q := questionOf(r.URL.RawQuery)
	if r.Method == http.MethodPost {
		body, err := a.read(w, r)
		if err != nil {
			return a.dropInFail(w, r, err)
		}
		if r.URL.RawQuery == "" {
			q = questionIn(body)
		}
	}
	return a.dropIn(w, r, q)
}

// dropInStable answers POST /cgi-bin/stable_token.
func (a *API) dropInStable(w http.ResponseWriter, r *request) int {
	body, err := a.read(w, r)
	if err != nil {
		return a.dropInFail(w, r, err)
	}
	return a.dropIn(w, r, questionIn(body))
}

// questionIn reads a body, whatever the Content-Type says: SDKs send JSON under
// several.
func questionIn(body []byte) question {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\ufeff")))
	if !bytes.HasPrefix(body, []byte("{")) {
		return questionOf(string(body))
	}
	var q question
	if json.Unmarshal(body, &q) != nil {
		return question{} // what is not understood is missing
	}
	return q
}

// questionOf reads a query string or a form.
func questionOf(query string) question {
	f, err := parseFields(query)
	if err != nil {
		return question{}
	}
	force, _ := strconv.ParseBool(f.get("force_refresh"))
	q := question{GrantType: f.get("grant_type"), AppID: f.get("appid"), Secret: f.get("secret"), ForceRefresh: yes(force)}
	if q.Secret != "" {
		q.readings = readings(f["secret"][0])
	}
	return q
}

// misdirectedSDK is what an SDK is told whose path or method is none of ours.
func misdirectedSDK(e *endpoint) trouble {
	switch e.path {
	case pathToken:
		return trouble{codeRequireGet, "require GET method", http.StatusMethodNotAllowed}
	case pathStableToken:
		return trouble{codeRequirePost, "require POST method", http.StatusMethodNotAllowed}
	}
	return trouble{codeNoSuchURL, "invalid url, " + e.words, http.StatusNotFound}
}

// requirePost answers GET /cgi-bin/stable_token.
func requirePost(w http.ResponseWriter, _ *request) int {
	return answerTrouble(w, trouble{codeRequirePost, "require POST method", http.StatusMethodNotAllowed})
}

// dropIn answers in the order of WeChat's own checks, but that the account is
// only looked at when the caller is proved.
func (a *API) dropIn(w http.ResponseWriter, r *request, q question) int {
	if q.readings == nil {
		q.readings = []string{q.Secret}
	}
	credentials := secretReadings(q.readings)
	switch {
	case q.AppID == "":
		return answerTrouble(w, trouble{codeNoAppID, "appid missing", http.StatusBadRequest})
	case q.Secret == "":
		return answerTrouble(w, trouble{codeNoSecret, "appsecret missing", http.StatusUnauthorized})
	case q.GrantType != "client_credential":
		return answerTrouble(w, trouble{codeGrantType, "invalid grant_type", http.StatusBadRequest})
	case len(credentials) == 0:
		a.refuse(r, "", "secret is not NAME:PASSWORD or NAME~PASSWORD")
		return answerTrouble(w, trouble{codeSecret, "invalid appsecret", http.StatusUnauthorized})
	}
	if err := a.prove(r, credentials...); err != nil {
		return a.dropInFail(w, r, err)
	}
	account, refused := a.permit(r, q.AppID)
	if refused != nil {
		return answerTrouble(w, trouble{codeAppID, "invalid appid", refused.status})
	}
	s, err := a.dropInSnapshot(r, account, bool(q.ForceRefresh))
	if err != nil {
		return a.dropInFail(w, r, err)
	}
	if s.Stale {
		a.counts.stale.Add(1)
	}
	d := a.desks.of(account, a.zk.Accounts)
	with := d.encode(s)
	expiresIn := with.useForBy(r.caller.Told())
	d.checker.answered(r.caller, with.generation, time.Duration(expiresIn)*time.Second)
	return answerDropIn(w, with, expiresIn)
}

// forcedPause is WeChat's: a forced refresh within it answers with the token
// that there is.
const forcedPause = 30 * time.Second

var errNoRefresh = errors.New("no refresh right")

func (a *API) dropInSnapshot(r *request, account *coordinator.Account, force bool) (coordinator.Snapshot, error) {
	if force && !a.permitRefresh(r, account.Name()) {
		return coordinator.Snapshot{}, errNoRefresh
	}
	s, err := a.currentForSDK(r, account)
	if err == nil {
		s, err = a.checked(r, account, s)
	}
	if err != nil || !force || s.Age() < forcedPause {
		return s, err
	}
	return a.replace(r, account, coordinator.Token{}, byDropIn)
}

// sdkPatience is how long an SDK without a token is kept waiting. Some give up
// after 3 seconds, and then write the address with its password into their logs.
const sdkPatience = 2 * time.Second

// currentForSDK is current for clients that do not wait long.
func (a *API) currentForSDK(r *request, account *coordinator.Account) (coordinator.Snapshot, error) {
	if s, ok := account.Peek(); ok {
		return s, nil
	}
	if err := a.zk.StoreError(); err != nil {
		return coordinator.Snapshot{}, err // none will come soon
	}
	return a.current(r, account, sdkPatience)
}

func answerDropIn(w http.ResponseWriter, with *answer, expiresIn int64) int {
	body := make([]byte, 0, len(with.quoted)+64)
	body = append(append(body, `{"access_token":`...), with.quoted...)
	body = strconv.AppendInt(append(body, `,"expires_in":`...), expiresIn, 10)
	return writeDropIn(w, append(body, '}'))
}

// dropInFail answers with the code that makes an SDK do the right thing.
func (a *API) dropInFail(w http.ResponseWriter, r *request, err error) int {
	if errors.Is(err, errNoRefresh) {
		return answerTrouble(w, trouble{codeNotAllowed, "api unauthorized, force_refresh needs the refresh right", http.StatusForbidden})
	}
	p := a.explain(r, err)
	if p.status == statusGone {
		return statusGone
	}
	setRetry(w.Header(), p.retry)
	return answerTrouble(w, troubleOf(p, err))
}

// troubleOf says which problem has which code. The issuer's own codes are
// passed on, but not where an SDK would take them for its own fault.
func troubleOf(p problem, err error) trouble {
	var refused *coordinator.RefusedError
	switch p.status {
	case http.StatusUnauthorized:
		return trouble{codeSecret, "invalid appsecret", p.status}
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return trouble{codeNoAppID, "appid missing, " + p.message, p.status}
	case http.StatusTooManyRequests:
		if p.retry > time.Hour {
			return trouble{codeDayQuota, "reach max api daily quota limit, " + p.message, p.status}
		}
		return trouble{codeMinuteQuota, "api minute-quota reach limit, must slower, retry next minute, " + p.message, p.status}
	}
	if errors.As(err, &refused) && passedOn(refused.Code) {
		return trouble{refused.Code, refused.Message, p.status}
	}
	return trouble{codeBusy, "system error, " + p.message, p.status}
}

func passedOn(code int) bool {
	switch code {
	case 0, codeBusy, 40001, codeGrantType, codeAppID, codeSecret, codeNoAppID, codeNoSecret, codeRequirePost:
		return false
	}
	return true
}

func answerTrouble(w http.ResponseWriter, t trouble) int {
	message := t.message
	if !strings.Contains(message, " rid: ") { // the issuer's words have theirs
		message += " rid: " + rid(time.Now())
	}
	body, _ := json.Marshal(struct { // can be encoded
		Code    int    `json:"errcode"`
		Message string `json:"errmsg"`
	}{t.code, message})
	writeDropIn(w, body)
	return t.counts
}

func writeDropIn(w http.ResponseWriter, body []byte) int {
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = typeJSON, noStore
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // the client has gone: nobody to tell
	return http.StatusOK
}

// rid makes what WeChat puts at the end of every error: the time and two
// numbers.
func rid(now time.Time) string {
	return fmt.Sprintf("%08x-%08x-%08x", uint32(now.Unix()), rand.Uint32()>>1, rand.Uint32()>>1)
}
