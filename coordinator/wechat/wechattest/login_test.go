package wechattest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

func TestLoginTakesTheSecret(t *testing.T) {
	c := in(t, wechattest.New(wechattest.Config{}))
	session := "/sns/jscode2session?grant_type=authorization_code&appid=" + appID
	web := "/sns/oauth2/access_token?grant_type=authorization_code&appid=" + appID
	for _, one := range []struct {
		path string
		code int
	}{
		{session + "&secret=" + secret + "&js_code=c", 0},
		{web + "&secret=" + secret + "&code=c", 0},
		{session + "&secret=wrong&js_code=c", 40125},
		{web + "&secret=wrong&code=c", 40125},
		{session + "&js_code=c", 41004},
		{session + "&secret=" + secret, 41008},
		{strings.Replace(session, appID, "", 1) + "&secret=" + secret, 41002},
		{strings.Replace(session, appID, "wxother", 1) + "&secret=" + secret, 40013},
		{strings.Replace(web, "authorization_code", "client_credential", 1) + "&secret=" + secret + "&code=c", 40002},
	} {
		if a := c.do(http.MethodGet, one.path, ""); a.Code != one.code {
			t.Errorf("%s: %+v, want %d", one.path, a, one.code)
		}
	}
}
