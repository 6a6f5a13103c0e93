package wechatapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi/formdata"
)

// Exchange is an endpoint to which an SDK posts an ID and a secret as JSON, and which
// issues the token of a third-party platform or a suite, or of a member of one: an
// account that authorized the platform, or a corp that installed the suite.
type Exchange struct {
	Path string

	id, secret string   // the names of the fields
	token      []string // the names of the parameter with the platform's token; nil: the platform's token is what is asked for
	before     string   // an answer begins with it
	echo       string   // the field in which an answer repeats the secret; "": in none

	noID, noSecret, noToken          wording
	wrongID, wrongSecret, wrongToken wording
}

// wording is an error of an issuer.
type wording struct {
	code    int
	message string
}

func (w wording) with(status int) *Error { return &Error{w.code, w.message, status} }

// Exchanges are the endpoints of platforms, WeChat's, and of suites, WeCom's, each first
// the one that issues the platform's own token.
var (
	ComponentToken = Exchange{
		Path: "/cgi-bin/component/api_component_token", id: "component_appid", secret: "component_appsecret",
		before:      `{"component_access_token":`,
		noID:        wording{codeNoAppID, "component_appid missing"},
		noSecret:    wording{codeNoSecret, "component_appsecret missing"},
		wrongID:     wording{codeComponent, "invalid component"},
		wrongSecret: wording{codeComponent, "invalid component"},
	}
	AuthorizerToken = Exchange{
		Path: "/cgi-bin/component/api_authorizer_token", id: "authorizer_appid", secret: "authorizer_refresh_token",
		token: []string{"component_access_token", "access_token"}, before: `{"authorizer_access_token":`, echo: "authorizer_refresh_token",
		noID:        wording{codeNoAppID, "authorizer_appid missing"},
		noSecret:    wording{codeRefreshToken, "refresh_token is invalid"},
		noToken:     wording{codeNoToken, "access_token missing"},
		wrongID:     wording{codeNotAuthorized, "component is not authorized by this account"},
		wrongSecret: wording{codeRefreshToken, "refresh_token is invalid"},
		wrongToken:  wording{CodeRejected, "invalid credential, access_token is invalid or not latest"},
	}
	SuiteToken = Exchange{
		Path: "/cgi-bin/service/get_suite_token", id: "suite_id", secret: "suite_secret",
		before:      `{"errcode":0,"errmsg":"ok","suite_access_token":`,
		noID:        wording{codeNoSuiteID, "suite_id missing"},
		noSecret:    wording{codeNoSuiteSecret, "suite_secret missing"},
		wrongID:     wording{codeSuiteID, "invalid suite_id"},
		wrongSecret: wording{codeSuiteSecret, "invalid suite_secret"},
	}
	// CorpToken answers without an errcode, as WeCom does.
	CorpToken = Exchange{
		Path: "/cgi-bin/service/get_corp_token", id: "auth_corpid", secret: "permanent_code",
		token: []string{"suite_access_token"}, before: `{"access_token":`,
		noID:        wording{codeNoAppID, "corpid missing"},
		noSecret:    wording{codeNoPermanentCode, "permanent_code missing"},
		noToken:     wording{codeNoSuiteToken, "suite_access_token missing"},
		wrongID:     wording{codePermanentCode, "invalid permanent_code"},
		wrongSecret: wording{codePermanentCode, "invalid permanent_code"},
		wrongToken:  wording{codeSuiteToken, "invalid suite_acccess_token or provider_access_token"}, // sic
	}
)

// OfMember reports whether the endpoint issues the tokens of members.
func (e Exchange) OfMember() bool { return e.token != nil }

// WrongID is the error for an account that does not exist, or that the caller may not
// have.
func (e Exchange) WrongID() *Error { return e.wrongID.with(http.StatusForbidden) }

// WrongSecret is the error for a wrong name or password.
func (e Exchange) WrongSecret() *Error { return e.wrongSecret.with(http.StatusUnauthorized) }

// WrongToken is the error for a platform's token that is not known: clients then ask for
// another.
func (e Exchange) WrongToken() *Error { return e.wrongToken.with(http.StatusUnauthorized) }

// Asked is what an SDK sends to an Exchange. What is missing or malformed is empty.
type Asked struct {
	Token string // the platform's, which says whose member is asked for
	ID    string

	secret string
}

// Parse reads the query string and the body of a request.
func (e Exchange) Parse(query string, body []byte) Asked {
	var q Asked
	if f, err := formdata.Parse(query); err == nil {
		if i := slices.IndexFunc(e.token, func(name string) bool { return f.Get(name) != "" }); i >= 0 {
			q.Token = f.Get(e.token[i])
		}
	}
	var fields map[string]any
	if json.Unmarshal(bytes.TrimPrefix(body, []byte("\ufeff")), &fields) == nil {
		q.ID, _ = fields[e.id].(string)
		q.secret, _ = fields[e.secret].(string)
	}
	return q
}

// Check returns what a request lacks, in the order of the issuer's checks; nil if it
// lacks nothing.
func (e Exchange) Check(q Asked) *Error {
	switch {
	case e.OfMember() && q.Token == "":
		return e.noToken.with(http.StatusUnauthorized)
	case q.ID == "":
		return e.noID.with(http.StatusBadRequest)
	case q.secret == "":
		return e.noSecret.with(http.StatusUnauthorized)
	}
	return nil
}

// Credentials returns the caller's name and password, which stand where the secret is;
// false if the secret does not have their form.
func (q Asked) Credentials() (auth.Credentials, bool) { return auth.FromSecret(q.secret) }

// Write answers q with a token, given as a JSON string, and the seconds for which the
// client may keep it. It returns the status. An SDK keeps the refresh token that comes
// with a token, so the answer repeats what the SDK sent in its place.
func (e Exchange) Write(w http.ResponseWriter, q Asked, quoted []byte, expiresIn int64) int {
	if e.echo == "" {
		return writeValue(w, e.before, quoted, expiresIn)
	}
	sent, _ := json.Marshal(q.secret) // cannot fail
	body := slices.Concat([]byte(e.before), quoted, []byte(`,"expires_in":`+strconv.FormatInt(expiresIn, 10)+`,"`+e.echo+`":`), sent, []byte("}"))
	write(w, body)
	return http.StatusOK
}
