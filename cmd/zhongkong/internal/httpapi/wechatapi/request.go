// Package wechatapi reads requests for a token as WeChat's SDKs send them, and
// writes answers as WeChat does.
package wechatapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi/formdata"
)

// The paths of the token endpoints, two of WeChat's and one of WeCom's.
const (
	PathToken       = "/cgi-bin/token"
	PathStableToken = "/cgi-bin/stable_token"
	PathCorpToken   = "/cgi-bin/gettoken"
)

// Request is a request for a token. A field that is missing or malformed is
// empty.
type Request struct {
	GrantType    string `json:"grant_type"`
	AppID        string `json:"appid"`
	Secret       string `json:"secret"`
	ForceRefresh Bool   `json:"force_refresh"`

	secrets []string // what the secret can mean
}

// Bool is a boolean that some clients send as a string or a number. Anything
// that is not true is false.
type Bool bool

// UnmarshalJSON implements json.Unmarshaler. It never fails.
func (b *Bool) UnmarshalJSON(text []byte) error {
	parsed, _ := strconv.ParseBool(strings.Trim(string(text), `"`))
	*b = Bool(parsed)
	return nil
}

// ParseBody reads a JSON object or a form, whatever the Content-Type says: SDKs
// send JSON under several.
func ParseBody(body []byte) Request {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\ufeff")))
	if !bytes.HasPrefix(body, []byte("{")) {
		return ParseQuery(string(body))
	}
	var r Request
	if json.Unmarshal(body, &r) != nil {
		return Request{}
	}
	r.secrets = []string{r.Secret}
	return r
}

// ParseQuery reads a query string or an urlencoded form.
func ParseQuery(query string) Request {
	f, err := formdata.Parse(query)
	if err != nil {
		return Request{}
	}
	force, _ := strconv.ParseBool(f.Get("force_refresh"))
	return Request{GrantType: f.Get("grant_type"), AppID: f.Get("appid"), ForceRefresh: Bool(force)}.withSecret(f, "secret")
}

// ParseWeCom reads the query string or form of WeCom's gettoken: AppID is the corpid,
// and Secret the corpsecret.
func ParseWeCom(query []byte) Request {
	f, err := formdata.Parse(string(query))
	if err != nil {
		return Request{}
	}
	return Request{AppID: f.Get("corpid")}.withSecret(f, "corpsecret")
}

// withSecret returns r with the secret in a field.
func (r Request) withSecret(f formdata.Fields, field string) Request {
	if r.Secret = f.Get(field); r.Secret != "" {
		r.secrets = formdata.Decodings(f[field][0])
	}
	return r
}

// CheckWeCom is Check for a request to WeCom.
func (r Request) CheckWeCom() *Error {
	switch {
	case r.AppID == "":
		return &Error{codeNoAppID, "corpid missing", http.StatusBadRequest}
	case r.Secret == "":
		return &Error{codeNoSecret, "corpsecret missing", http.StatusUnauthorized}
	}
	return nil
}

// Check returns what is wrong with a request, in the order of WeChat's own
// checks; nil if nothing is.
func (r Request) Check() *Error {
	switch {
	case r.AppID == "":
		return &Error{codeNoAppID, "appid missing", http.StatusBadRequest}
	case r.Secret == "":
		return &Error{codeNoSecret, "appsecret missing", http.StatusUnauthorized}
	case r.GrantType != "client_credential":
		return &Error{codeGrantType, "invalid grant_type", http.StatusBadRequest}
	}
	return nil
}

// Credentials returns the caller's name and password that the secret can mean,
// the likeliest first; nil if it has the form of none.
func (r Request) Credentials() []auth.Credentials {
	var all []auth.Credentials
	for _, secret := range r.secrets {
		if c, ok := auth.FromSecret(secret); ok {
			all = append(all, c)
		}
	}
	return all
}
