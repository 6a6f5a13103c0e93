package wechattest

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Errcodes that the server answers without a fault.
const (
	codeBusy               = -1
	codeBadCredential      = 40001
	codeBadGrantType       = 40002
	codeUnknownAppID       = 40013
	codeBadType            = 40097 // of getticket, not confirmed
	codeBadSecret          = 40125
	codeNotWhitelisted     = 40164
	codeSecretFrozen       = 40243
	codeNoToken            = 41001
	codeNoAppID            = 41002
	codeNoSecret           = 41004
	codeNoCode             = 41008
	codeExpired            = 42001
	codeNeedPOST           = 43002
	codeDailyQuota         = 45009
	codeMinuteQuota        = 45011
	codeBadData            = 47001
	codeNoMoreClears       = 48006
	codeNotAuthorized      = 61003
	codeComponentAddress   = 61004
	codeOldVerifyTicket    = 61005
	codeBadVerifyTicket    = 61006
	codeBadAuthCode        = 61009
	codeOldAuthCode        = 61010
	codeNoComponent        = 61011
	codeNeedComponentToken = 61014
	codeNeedAccountToken   = 61015
	codeBadRefreshToken    = 61023
	codePlatformAccount    = 61024
	codeNoSuchRID          = 76001
	codeBadRID             = 76002
	codeForeignRID         = 76003
	codeNoSuchPath         = 76021
	codeBadPath            = 76022
)

// plainWords returns the errmsgs without their suffix. The real ones of 40243, 50007
// and 8950x are not known; these are invented.
func plainWords() map[int]string {
	return map[int]string{
		codeBusy:               "system error",
		codeBadCredential:      "invalid credential, access_token is invalid or not latest",
		codeBadGrantType:       "invalid grant_type",
		codeUnknownAppID:       "invalid appid",
		40014:                  "invalid access_token",
		codeBadType:            "invalid args",
		codeBadSecret:          "invalid appsecret",
		codeSecretFrozen:       "appsecret is frozen",
		codeNoToken:            "access_token missing",
		codeNoAppID:            "appid missing",
		codeNoSecret:           "appsecret missing",
		codeNoCode:             "missing code",
		codeExpired:            "access_token expired",
		codeNeedPOST:           "require POST method",
		43003:                  "require https",
		codeMinuteQuota:        "api minute-quota reach limit, must slower, retry next minute",
		codeBadData:            "data format error",
		48001:                  "api unauthorized",
		48004:                  "api forbidden for irregularities",
		codeNoMoreClears:       "forbid to clear quota because of reaching the limit",
		50004:                  "user not allow to use accesstoken, maybe for punishment",
		50007:                  "account is frozen",
		codeNotAuthorized:      "component is not authorized by this account",
		codeOldVerifyTicket:    "component ticket is expired",
		codeBadVerifyTicket:    "component ticket is invalid",
		codeBadAuthCode:        "code is invalid",
		codeOldAuthCode:        "code is expired",
		codeNoComponent:        "invalid component",
		codeNeedComponentToken: "must use component token for component api",
		codeNeedAccountToken:   "must use biz account token for not component api",
		codeBadRefreshToken:    "refresh_token is invalid",
		codePlatformAccount:    "must use api(api_component_token) to get token for component acct",
		codeNoSuchRID:          "rid not found",
		codeBadRID:             "rid is error",
		codeForeignRID:         "could not query this rid,no permission",
		codeNoSuchPath:         "cgi_path not found, please check",
		codeBadPath:            "could not use this cgi_path,no permission",
		89501:                  "this ip is waiting for the administrator's confirmation",
		89502:                  "this ip is waiting for the administrator's confirmation",
		89503:                  "this ip needs the administrator's confirmation",
		89504:                  "this ip is waiting for the administrator's confirmation",
		89505:                  "this ip is waiting for the administrator's confirmation",
		89506:                  "the administrator refused this ip, retry after 24 hours",
		89507:                  "the administrator refused this ip, retry after 1 hour",
	}
}

const advertisement = ", could get access_token by getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r"

// errmsg returns the errmsg of an errcode in the wording of the era. The caller holds
// s.mu.
func (s *Server) errmsg(r *request, code int) string {
	words, ok := plainWords()[code]
	switch {
	case code == codeNotWhitelisted:
		words = s.notInWhitelist(r.from)
	case code == codeComponentAddress:
		words = "access clientip is not registered requestIP: " + r.from
	case code == codeDailyQuota && s.knobs.Era == EraHint2017:
		words = "api freq out of limit"
	case code == codeDailyQuota:
		words = "reach max api daily quota limit"
	case !ok:
		words = "error"
	}
	switch {
	case s.knobs.Era == EraHint2017:
		return fmt.Sprintf("%s hint: [%s]", words, s.randomHint())
	case s.knobs.Era == EraCurrent && (code == codeBadCredential || code == codeDailyQuota && r.path == pathToken):
		words += advertisement
	}
	return words + " rid: " + r.rid
}

func (s *Server) notInWhitelist(from string) string {
	a, err := netip.ParseAddr(from)
	if err != nil || !a.Unmap().Is4() || s.knobs.Era == EraHint2017 {
		return "invalid ip " + from + ", not in whitelist"
	}
	v4 := a.Unmap().String()
	return "invalid ip " + v4 + " ipv6 ::ffff:" + v4 + ", not in whitelist"
}

func (s *Server) randomHint() string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	var b strings.Builder
	for range 6 {
		b.WriteByte(letters[s.random.IntN(len(letters))])
	}
	return fmt.Sprintf("%s%08d", b.String(), s.random.IntN(1e8))
}

// newRID returns an id for a request as WeChat does: the time and 62 random bits.
func (s *Server) newRID(r *request) string {
	return fmt.Sprintf("%08x-%08x-%08x", uint32(r.now.Unix()), s.random.Int32(), s.random.Int32())
}

// chinaStandardTime is the time zone of WeChat's day.
func chinaStandardTime() *time.Location { return time.FixedZone("UTC+8", 8*60*60) }
