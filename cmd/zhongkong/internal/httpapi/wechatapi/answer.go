package wechatapi

import (
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
	codeAppID       = 40013 // WeCom: of a corpid
	codeNoSuchURL   = 40066
	codeType        = 40097
	codeSecret      = 40125
	codeNoToken     = 41001
	codeNoAppID     = 41002
	codeNoSecret    = 41004
	codeRequireGet  = 43001
	codeRequirePost = 43002
	codeDayQuota    = 45009
	codeMinuteQuota = 45011
	codeNotAllowed  = 48001

	// Of third-party platforms and suites.
	codeSuiteSecret     = 40080
	codeSuiteToken      = 40082
	codeSuiteID         = 40083
	codePermanentCode   = 40084
	codeNoSuiteID       = 41021
	codeNoSuiteToken    = 41022
	codeNoSuiteSecret   = 41024
	codeNoPermanentCode = 41025
	codeNotAuthorized   = 61003
	codeComponent       = 61011
	codeRefreshToken    = 61023

	// CodeRejected is WeChat's for a token that it does not accept, and WeCom's for a
	// wrong corpsecret.
	CodeRejected = 40001
	// CodeInvalidToken is WeCom's for a token that it does not accept.
	CodeInvalidToken = 40014
)

// Error is an error as WeChat answers it: with HTTP 200, and a code in the body.
type Error struct {
	Code    int
	Message string
	Status  int // the HTTP status elsewhere; metrics have it
}

func (e *Error) Error() string { return fmt.Sprintf("%d: %s", e.Code, e.Message) }

// InvalidSecret is the error for a wrong name or password.
func InvalidSecret() *Error { return &Error{codeSecret, "invalid appsecret", http.StatusUnauthorized} }

// InvalidAppID is the error for an account that does not exist (404), or that
// the caller may not have (403).
func InvalidAppID(status int) *Error { return &Error{codeAppID, "invalid appid", status} }

// AmbiguousAppID is the error for an AppID of several of the caller's accounts.
func AmbiguousAppID(accounts []string) *Error {
	return &Error{codeAppID, "invalid appid, the caller has several accounts with it: set the appid of the SDK to the name of one: " +
		strings.Join(accounts, ", "), http.StatusBadRequest}
}

// InvalidCorpSecret is WeCom's error for a wrong name or password.
func InvalidCorpSecret() *Error {
	return &Error{CodeRejected, "invalid credential", http.StatusUnauthorized}
}

// InvalidCorpID is WeCom's error for a corpid that does not name one account of the
// caller.
func InvalidCorpID(status int, why string) *Error {
	return &Error{codeAppID, "invalid corpid, " + why, status}
}

// InvalidToken is the error for a token that is not known, with the issuer's code for
// one: clients then ask for another.
func InvalidToken(code int) *Error {
	return &Error{code, "invalid credential, access_token is invalid or not latest", http.StatusUnauthorized}
}

// NoToken is the error for a request without the token that proves its caller.
func NoToken() *Error { return &Error{codeNoToken, "access_token missing", http.StatusUnauthorized} }

// InvalidType is the error for an unknown type of ticket.
func InvalidType() *Error {
	return &Error{codeType, "invalid args, unknown type", http.StatusBadRequest}
}

// NotAllowed is the error for a missing right.
func NotAllowed(why string) *Error {
	return &Error{codeNotAllowed, "api unauthorized, " + why, http.StatusForbidden}
}

// NoSuchURL is the error for a path that is no endpoint.
func NoSuchURL(why string) *Error {
	return &Error{codeNoSuchURL, "invalid url, " + why, http.StatusNotFound}
}

// WrongMethod is the error for a method that an endpoint does not have.
func WrongMethod(path string) *Error {
	if path == PathToken {
		return &Error{codeRequireGet, "require GET method", http.StatusMethodNotAllowed}
	}
	return &Error{codeRequirePost, "require POST method", http.StatusMethodNotAllowed}
}

// ErrorFor returns the error that makes an SDK do the right thing about err,
// which is answered elsewhere with an HTTP status, a message and, if retry is
// positive, Retry-After. The issuer's own codes are passed on unless the SDK
// would take them for a mistake of its own.
func ErrorFor(err error, status int, message string, retry time.Duration) *Error {
	switch status {
	case http.StatusUnauthorized:
		return InvalidSecret()
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return &Error{codeNoAppID, "appid missing, " + message, status}
	case http.StatusTooManyRequests:
		if retry > time.Hour {
			return &Error{codeDayQuota, "reach max api daily quota limit, " + message, status}
		}
		return &Error{codeMinuteQuota, "api minute-quota reach limit, must slower, retry next minute, " + message, status}
	}
	if refused, ok := errors.AsType[*coordinator.RefusedError](err); ok {
		if code, ok := refused.Code.Number(); ok && isPassedOn(code) {
			return &Error{code, refused.Message, status}
		}
	}
	return &Error{codeBusy, "system error, " + message, status}
}

func isPassedOn(code int) bool {
	switch code {
	case 0, codeBusy, CodeRejected, codeGrantType, codeAppID, codeSecret, codeNoAppID, codeNoSecret, codeRequirePost,
		codeSuiteSecret, codeSuiteToken, codeSuiteID, codePermanentCode, codeComponent, codeRefreshToken:
		return false
	}
	return true
}

// WriteError writes an error and returns its Status.
func WriteError(w http.ResponseWriter, e *Error) int {
	message := e.Message
	if !strings.Contains(message, " rid: ") { // the issuer's messages have one
		message += " rid: " + rid(time.Now())
	}
	body, _ := json.Marshal(struct { // cannot fail
		Code    int    `json:"errcode"`
		Message string `json:"errmsg"`
	}{e.Code, message})
	write(w, body)
	return e.Status
}

// WriteToken writes a token, given as a JSON string, and the seconds for which
// the client may keep it. It returns the status.
func WriteToken(w http.ResponseWriter, quoted []byte, expiresIn int64) int {
	return writeValue(w, `{"access_token":`, quoted, expiresIn)
}

// WriteCorpToken is WriteToken in WeCom's form.
func WriteCorpToken(w http.ResponseWriter, quoted []byte, expiresIn int64) int {
	return writeValue(w, `{"errcode":0,"errmsg":"ok","access_token":`, quoted, expiresIn)
}

// WriteTicket is WriteToken for a ticket, which WeChat and WeCom answer alike.
func WriteTicket(w http.ResponseWriter, quoted []byte, expiresIn int64) int {
	return writeValue(w, `{"errcode":0,"errmsg":"ok","ticket":`, quoted, expiresIn)
}

func writeValue(w http.ResponseWriter, before string, quoted []byte, expiresIn int64) int {
	body := make([]byte, 0, len(before)+len(quoted)+32)
	body = append(append(body, before...), quoted...)
	body = strconv.AppendInt(append(body, `,"expires_in":`...), expiresIn, 10)
	write(w, append(body, '}'))
	return http.StatusOK
}

func write(w http.ResponseWriter, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // fails if the client has gone
}

// rid makes the request ID that ends the message of each of WeChat's errors: the
// time and two numbers.
func rid(now time.Time) string {
	return fmt.Sprintf("%08x-%08x-%08x", uint32(now.Unix()), rand.Uint32()>>1, rand.Uint32()>>1)
}
