package proxy

import (
	"net/http"
	"slices"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// verdict is what an answer says of the token that the call was made with.
type verdict int

const (
	accepted verdict = iota
	doubtful         // 401, which may have another cause
	rejected
)

// judge leaves resp, the answer to out, as if nothing had been read.
func (c *call) judge(out *http.Request, resp *http.Response) verdict {
	if c.route.isWeChat() {
		var code int
		if code, c.inMemory = wechat.PeekErrcode(resp); c.route.RejectsToken(code) && !c.route.Put.isBesideAnother(out.URL.RawQuery) {
			return rejected
		}
		return accepted
	}
	var isRejection bool
	if c.route.Issuer != nil {
		isRejection, c.inMemory = c.route.Issuer.PeekRejection(resp)
	}
	switch {
	case isRejection:
		return rejected
	case resp.StatusCode != http.StatusUnauthorized:
		return accepted
	case slices.ContainsFunc(resp.Header.Values("Www-Authenticate"), func(s string) bool { return strings.Contains(s, "invalid_token") }):
		return rejected
	}
	return doubtful
}
