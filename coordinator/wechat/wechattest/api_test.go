package wechattest_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

func TestQuotas(t *testing.T) {
	inBubble(t, "a day ends at midnight in China", func(t *testing.T) {
		s := tuned(func(k *wechattest.Knobs) { k.DailyToken = 2 })
		c := in(t, s)
		c.token()
		last := c.token()
		if a := c.token(); a.Code != 45009 || !strings.Contains(a.Message, "getStableAccessToken") {
			t.Errorf("the third: %+v", a)
		}
		quota := c.do(http.MethodPost, "/cgi-bin/openapi/quota/get?access_token="+last.Token, `{"cgi_path":"/cgi-bin/token"}`).Quota
		if quota["daily_limit"] != 2 || quota["used"] != 2 || quota["remain"] != 0 {
			t.Errorf("quota/get: %v", quota)
		}
		now := s.Now().In(time.FixedZone("UTC+8", 8*60*60))
		time.Sleep(time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, now.Location()).Sub(now))
		if a := c.token(); a.Code != 0 {
			t.Errorf("after midnight: %+v", a)
		}
	})
	inBubble(t, "ten clears a month", func(t *testing.T) {
		s := tuned(func(k *wechattest.Knobs) { k.DailyToken = 1 })
		c := in(t, s)
		token := c.token().Token
		for n := range 5 {
			if a := c.do(http.MethodPost, "/cgi-bin/clear_quota?access_token="+token, `{"appid":"`+appID+`"}`); a.Code != 0 {
				t.Fatalf("clear %d: %+v", n, a)
			}
			if a := c.do(http.MethodPost, "/cgi-bin/clear_quota/v2?appid="+appID+"&appsecret="+secret, "{}"); a.Code != 0 {
				t.Fatalf("clear %d by secret: %+v", n, a)
			}
			token = c.token().Token
		}
		if a := c.do(http.MethodPost, "/cgi-bin/clear_quota/v2?appid="+appID+"&appsecret="+secret, "{}"); a.Code != 48006 {
			t.Errorf("the eleventh: %+v", a)
		}
		if a := c.do(http.MethodPost, "/cgi-bin/clear_quota?access_token="+token, `{"appid":"wxother"}`); a.Code != 40013 {
			t.Errorf("of another account: %+v", a)
		}
	})
	inBubble(t, "a minute's for stable_token", func(t *testing.T) {
		c := in(t, tuned(func(k *wechattest.Knobs) { k.MinuteStable = 1 }))
		c.stable("false")
		if a := c.stable("false"); a.Code != 45011 {
			t.Errorf("the second: %+v", a)
		}
		time.Sleep(time.Minute)
		if a := c.stable("false"); a.Code != 0 {
			t.Errorf("a minute later: %+v", a)
		}
	})
	t.Run("a test account has less", func(t *testing.T) {
		k := wechattest.DefaultKnobs()
		k.DailyTokenTest = 0
		s := wechattest.New(wechattest.Config{Knobs: &k, Accounts: []wechattest.Account{
			{AppID: appID, Secret: secret, Product: wechattest.TestAccount}, {AppID: "wxown", Secret: secret, DailyToken: 1},
		}})
		if a := in(t, s).token(); a.Code != 45009 {
			t.Errorf("%+v", a)
		}
	})
}

func TestOtherInterfaces(t *testing.T) {
	inBubble(t, "tickets", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{})
		c := in(t, s)
		token := c.token().Token
		first := c.do(http.MethodGet, "/cgi-bin/ticket/getticket?type=jsapi&access_token="+token, "")
		time.Sleep(time.Hour)
		again := c.do(http.MethodGet, "/cgi-bin/ticket/getticket?type=jsapi&access_token="+token, "")
		card := c.do(http.MethodGet, "/cgi-bin/ticket/getticket?type=wx_card&access_token="+token, "")
		if len(first.Ticket) != 86 || again.Ticket != first.Ticket || again.ExpiresIn != 7200 || card.Ticket == first.Ticket {
			t.Errorf("tickets %+v, %+v, %+v", first, again, card)
		}
		if err := s.Tune(func(k *wechattest.Knobs) { k.TicketExpiry = wechattest.TicketDecreasing }); err != nil {
			t.Fatal(err)
		}
		if again := c.do(http.MethodGet, "/cgi-bin/ticket/getticket?type=jsapi&access_token="+token, ""); again.ExpiresIn != 3600 {
			t.Errorf("decreasing: %+v", again)
		}
	})
	t.Run("a request by its rid", func(t *testing.T) {
		c := in(t, wechattest.New(wechattest.Config{}))
		token := c.token().Token
		bad := c.do(http.MethodPost, "/cgi-bin/clear_quota?access_token="+token, `{"appid":"wxother"}`)
		rid := regexp.MustCompile(`rid: (\S+)$`).FindStringSubmatch(bad.Message)
		if rid == nil {
			t.Fatalf("no rid in %q", bad.Message)
		}
		get := func(rid string) answer {
			return c.do(http.MethodPost, "/cgi-bin/openapi/rid/get?access_token="+token, `{"rid":"`+rid+`"}`)
		}
		if a := get(rid[1]); a.Code != 0 || !strings.Contains(string(a.Request), "clear_quota") {
			t.Errorf("%+v", a)
		}
		if a, b := get("00000000-00000000-00000000"), get("x"); a.Code != 76001 || b.Code != 76002 {
			t.Errorf("unknown: %d, malformed: %d", a.Code, b.Code)
		}
	})
	t.Run("quotas of odd paths", func(t *testing.T) {
		c := in(t, wechattest.New(wechattest.Config{}))
		token := c.token().Token
		for path, code := range map[string]int{"/cgi-bin/nonsense": 76021, "/sns/userinfo": 76022, "/cgi-bin/user/get": 0} {
			if a := c.do(http.MethodPost, "/cgi-bin/openapi/quota/get?access_token="+token, `{"cgi_path":"`+path+`"}`); a.Code != code {
				t.Errorf("%s: %+v", path, a)
			}
		}
	})
}

func TestErrmsgsOfEveryEra(t *testing.T) {
	for era, pattern := range map[wechattest.Era]string{
		wechattest.EraCurrent:  `^invalid credential, access_token is invalid or not latest, could get access_token by getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`,
		wechattest.EraRID2020:  `^invalid credential, access_token is invalid or not latest rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`,
		wechattest.EraHint2017: `^invalid credential, access_token is invalid or not latest hint: \[\w{6}\d{8}\]$`,
	} {
		s := tuned(func(k *wechattest.Knobs) { k.Era = era })
		if a := in(t, s).do(http.MethodGet, "/cgi-bin/user/get?access_token=x", ""); !regexp.MustCompile(pattern).MatchString(a.Message) {
			t.Errorf("%s: %q", era, a.Message)
		}
		if err := s.SetWhitelist(appID, []string{}); err != nil {
			t.Fatal(err)
		}
		c := caller{t, &http.Client{Transport: s.TransportFrom("118.190.42.90")}, base}
		if a := c.token(); !strings.HasPrefix(a.Message, "invalid ip 118.190.42.90") || !strings.Contains(a.Message, ", not in whitelist") {
			t.Errorf("%s: %q", era, a.Message)
		}
	}
}
