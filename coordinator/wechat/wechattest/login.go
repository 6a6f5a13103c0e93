package wechattest

import (
	"crypto/sha256"
	"encoding/base64"
	"time"
)

const (
	pathSession = "/sns/jscode2session"
	pathWeb     = "/sns/oauth2/access_token"
)

// userTokenLife is how long a user's token from web login is valid.
const userTokenLife = 2 * time.Hour

// login checks the parameters of a login. It returns the user's OpenID, which follows
// from the code, or an errcode. Every code is accepted any number of times.
func (s *Server) login(r *request, code string) (openID string, refused int) {
	a, known := s.accounts[r.query.Get("appid")]
	switch secret := r.query.Get("secret"); {
	case r.query.Get("appid") == "":
		return "", codeNoAppID
	case !known:
		return "", codeUnknownAppID
	case secret == "":
		return "", codeNoSecret
	case r.query.Get("grant_type") != "authorization_code":
		return "", codeBadGrantType
	case !a.hasSecret(secret):
		return "", codeBadSecret
	case code == "":
		return "", codeNoCode
	}
	sum := sha256.Sum256([]byte(a.AppID + " " + code))
	const length = 27 // with the o
	return "o" + base64.RawURLEncoding.EncodeToString(sum[:])[:length], 0
}

// session is the login of a mini-program's user.
func (s *Server) session(r *request) reply {
	openID, code := s.login(r, r.query.Get("js_code"))
	if code != 0 {
		return s.refuse(r, code)
	}
	const bytes = 16 // an AES key
	return s.json(r, struct {
		SessionKey string `json:"session_key"`
		OpenID     string `json:"openid"`
	}{base64.StdEncoding.EncodeToString([]byte(s.randomHex(bytes / 2))), openID})
}

// webLogin is the login of a web page's user. No endpoint here takes the user's token.
func (s *Server) webLogin(r *request) reply {
	openID, code := s.login(r, r.query.Get("code"))
	if code != 0 {
		return s.refuse(r, code)
	}
	const half = 43 // of a token
	return s.json(r, struct {
		tokenBody
		RefreshToken string `json:"refresh_token"`
		OpenID       string `json:"openid"`
		Scope        string `json:"scope"`
	}{tokenBody{s.randomHex(half), int(userTokenLife / time.Second)}, s.randomHex(half), openID, "snsapi_base"})
}
