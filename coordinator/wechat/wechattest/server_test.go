package wechattest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

const (
	appID  = wechattest.DefaultAppID
	secret = wechattest.DefaultSecret
	base   = "https://api.weixin.qq.com"
)

// answer is everything that an answer may hold.
type answer struct {
	Token     string          `json:"access_token"`
	ExpiresIn int             `json:"expires_in"`
	Code      int             `json:"errcode"`
	Message   string          `json:"errmsg"`
	Ticket    string          `json:"ticket"`
	Quota     map[string]int  `json:"quota"`
	Request   json.RawMessage `json:"request"`
}

// caller makes calls to one server.
type caller struct {
	t      *testing.T
	client *http.Client
	base   string
}

func in(t *testing.T, s *wechattest.Server) caller {
	t.Helper()
	return caller{t, s.Client(), base}
}

func (c caller) do(method, path, body string) answer {
	c.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, reader)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		return answer{Code: resp.StatusCode * 1000}
	}
	var a answer
	if err := json.Unmarshal(raw, &a); err != nil {
		c.t.Fatalf("%s: %v in %q", path, err, raw)
	}
	if a.Token != "" && strings.Contains(string(raw), "errcode") {
		c.t.Errorf("a token came with an errcode: %s", raw)
	}
	return a
}

func (c caller) token() answer {
	c.t.Helper()
	return c.do(http.MethodGet, "/cgi-bin/token?grant_type=client_credential&appid="+appID+"&secret="+secret, "")
}

func (c caller) stable(force string) answer {
	c.t.Helper()
	return c.do(http.MethodPost, "/cgi-bin/stable_token",
		`{"grant_type":"client_credential","appid":"`+appID+`","secret":"`+secret+`","force_refresh":`+force+`}`)
}

// code is the errcode that a business call with this token gets.
func (c caller) code(token string) int {
	c.t.Helper()
	return c.do(http.MethodGet, "/cgi-bin/user/get?access_token="+token, "").Code
}

// inBubble runs a test on virtual time.
func inBubble(t *testing.T, name string, test func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

func tuned(change func(*wechattest.Knobs)) *wechattest.Server {
	k := wechattest.DefaultKnobs()
	change(&k)
	return wechattest.New(wechattest.Config{Knobs: &k})
}

func TestClassicTokensDieAsWeChatsDo(t *testing.T) {
	inBubble(t, "a superseded one after 5 minutes", func(t *testing.T) {
		c := in(t, wechattest.New(wechattest.Config{}))
		first := c.token()
		second := c.token()
		if first.Token == second.Token || second.ExpiresIn != 7200 {
			t.Fatal("a call does not mint")
		}
		time.Sleep(5*time.Minute - time.Millisecond)
		if code := c.code(first.Token); code != 0 {
			t.Errorf("within the overlap: %d", code)
		}
		time.Sleep(time.Millisecond)
		if code := c.code(first.Token); code != 40001 {
			t.Errorf("after the overlap: %d, want 40001", code)
		}
		if code := c.code(second.Token); code != 0 {
			t.Errorf("the current one: %d", code)
		}
	})
	inBubble(t, "the one before that at once", func(t *testing.T) {
		c := in(t, wechattest.New(wechattest.Config{}))
		first, second, third := c.token(), c.token(), c.token()
		if a, b, d := c.code(first.Token), c.code(second.Token), c.code(third.Token); a != 40001 || b != 0 || d != 0 {
			t.Errorf("codes %d, %d, %d, want 40001, 0, 0", a, b, d)
		}
	})
	inBubble(t, "an old one by its age with 42001", func(t *testing.T) {
		c := in(t, wechattest.New(wechattest.Config{}))
		first := c.token()
		time.Sleep(2*time.Hour - time.Millisecond)
		if code := c.code(first.Token); code != 0 {
			t.Errorf("just before its end: %d", code)
		}
		time.Sleep(time.Millisecond)
		if code := c.code(first.Token); code != 42001 {
			t.Errorf("after its end: %d, want 42001", code)
		}
	})
	inBubble(t, "as the knobs say", func(t *testing.T) {
		c := in(t, tuned(func(k *wechattest.Knobs) { k.GraceGenerations = wechattest.AllGenerations }))
		first := c.token()
		c.token()
		c.token()
		if code := c.code(first.Token); code != 0 {
			t.Errorf("all generations: %d", code)
		}
		c = in(t, tuned(func(k *wechattest.Knobs) { k.GraceGenerations = 0 }))
		first = c.token()
		c.token()
		if code := c.code(first.Token); code != 40001 {
			t.Errorf("no generation: %d", code)
		}
		s := tuned(func(k *wechattest.Knobs) { k.DeadOrder = wechattest.SupersededFirst })
		c = in(t, s)
		first = c.token()
		c.token()
		time.Sleep(3 * time.Hour)
		if code := c.code(first.Token); code != 40001 {
			t.Errorf("superseded first: %d", code)
		}
	})
	t.Run("unknown ones and none", func(t *testing.T) {
		c := in(t, wechattest.New(wechattest.Config{}))
		if a, b := c.code("90_nonsense"), c.code(""); a != 40001 || b != 41001 {
			t.Errorf("codes %d, %d, want 40001, 41001", a, b)
		}
	})
	t.Run("killed ones", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{})
		c := in(t, s)
		first := c.token()
		killed, ok := s.KillEarly(appID, wechattest.ClassicChain)
		if !ok || killed.Token != first.Token || c.code(first.Token) != 40001 {
			t.Errorf("killed %v, code %d", ok, c.code(first.Token))
		}
		if _, ok := s.KillEarly(appID, wechattest.ClassicChain); ok {
			t.Error("killed twice")
		}
	})
}

func TestStableTokensFollowTheirRules(t *testing.T) {
	inBubble(t, "the same until 5 minutes are left", func(t *testing.T) {
		c := in(t, wechattest.New(wechattest.Config{}))
		first := c.stable("false")
		time.Sleep(6899 * time.Second)
		if again := c.stable("false"); again.Token != first.Token || again.ExpiresIn != 301 {
			t.Errorf("with 301 s left: same %v, expires_in %d", again.Token == first.Token, again.ExpiresIn)
		}
		time.Sleep(time.Second)
		second := c.stable("false")
		if second.Token == first.Token || second.ExpiresIn != 7200 {
			t.Errorf("with 300 s left: same %v, expires_in %d", second.Token == first.Token, second.ExpiresIn)
		}
		if code := c.code(first.Token); code != 0 {
			t.Errorf("the old one: %d", code)
		}
		time.Sleep(300 * time.Second)
		if code := c.code(first.Token); code != 42001 {
			t.Errorf("the old one, 5 minutes later: %d", code)
		}
	})
	inBubble(t, "forced every 30 s at most", func(t *testing.T) {
		c := in(t, wechattest.New(wechattest.Config{}))
		leaked := c.stable("false")
		first := c.stable("true")
		if first.Token == leaked.Token {
			t.Error("forcing does not mint")
		}
		time.Sleep(10 * time.Second)
		if again := c.stable("true"); again.Token != first.Token {
			t.Error("forced within 30 s, it minted")
		}
		time.Sleep(20 * time.Second)
		if again := c.stable("true"); again.Token == first.Token {
			t.Error("forced after 30 s, it did not mint")
		}
		// WeChat's leak drill: two forced refreshes end a leaked token at once.
		if code := c.code(leaked.Token); code != 40001 {
			t.Errorf("the leaked token: %d", code)
		}
	})
	inBubble(t, "forced 20 times a day at most", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{})
		c := in(t, s)
		for n := range 20 {
			if a := c.stable("true"); a.Code != 0 {
				t.Fatalf("forced refresh %d: %d", n+1, a.Code)
			}
			time.Sleep(31 * time.Second)
		}
		if a := c.stable("true"); a.Code != 45009 {
			t.Errorf("the 21st: %+v", a)
		}
		if a := c.stable("false"); a.Code != 0 {
			t.Errorf("the normal mode: %+v", a)
		}
		if err := s.Tune(func(k *wechattest.Knobs) { k.ForceQuotaBlocksNormal = true }); err != nil {
			t.Fatal(err)
		}
		if a := c.stable("false"); a.Code != 45009 {
			t.Errorf("the normal mode, blocked: %+v", a)
		}
		time.Sleep(24 * time.Hour)
		if a := c.stable("true"); a.Code != 0 {
			t.Errorf("the next day: %+v", a)
		}
	})
	t.Run("apart from the classic ones", func(t *testing.T) {
		c := in(t, wechattest.New(wechattest.Config{}))
		stable := c.stable("false")
		for range 3 {
			c.token()
		}
		if code := c.code(stable.Token); code != 0 {
			t.Errorf("after three classic tokens: %d", code)
		}
	})
	inBubble(t, "also with a short life", func(t *testing.T) {
		c := in(t, tuned(func(k *wechattest.Knobs) { k.TokenTTL = time.Minute }))
		first := c.stable("false")
		time.Sleep(29 * time.Second)
		if again := c.stable("false"); again.Token != first.Token {
			t.Error("minted in the first half of its life")
		}
	})
}

func TestTokenCallsAreCheckedInOrder(t *testing.T) {
	platform := wechattest.Account{AppID: "wxplatform", Secret: secret, Product: wechattest.Platform}
	for _, tt := range []struct {
		name, query string
		do          func(*wechattest.Server) error
		code        int
	}{
		{"nothing", "", nil, 41002},
		{"a fake AppID without anything else", "appid=wxfake", nil, 40013},
		{"a platform's AppID", "appid=wxplatform", nil, 61024},
		{"no secret", "appid=" + appID, nil, 41004},
		{"no grant_type", "appid=" + appID + "&secret=x", nil, 40002},
		{"a banned account", good("wrong"), func(s *wechattest.Server) error { return s.Ban(appID, 50004) }, 50004},
		{"a frozen secret", good("wrong"), func(s *wechattest.Server) error { return s.Freeze(appID) }, 40243},
		{"a wrong secret from a wrong address", good("wrong"), func(s *wechattest.Server) error { return s.SetWhitelist(appID, []string{}) }, 40125},
		{"a wrong address", good(secret), func(s *wechattest.Server) error { return s.SetWhitelist(appID, []string{"10.0.0.1"}) }, 40164},
		{"a whitelisted address at risk", good(secret), func(s *wechattest.Server) error {
			return errors.Join(s.SetWhitelist(appID, []string{"127.0.0.0/8"}), s.SetRisk(appID, "127.0.0.1", 89503))
		}, 0},
		{"an address at risk", good(secret), func(s *wechattest.Server) error { return s.SetRisk(appID, "127.0.0.1", 89503) }, 89503},
		{"an approved address", good(secret), func(s *wechattest.Server) error {
			return errors.Join(s.SetRisk(appID, "127.0.0.1", 89503), s.SetRisk(appID, "127.0.0.1", 0))
		}, 0},
		{"thawed", good(secret), func(s *wechattest.Server) error { return errors.Join(s.Freeze(appID), s.Unfreeze(appID)) }, 0},
		{"the address first", good("wrong"), func(s *wechattest.Server) error {
			return errors.Join(s.SetWhitelist(appID, []string{}), s.Tune(func(k *wechattest.Knobs) { k.CheckOrder = wechattest.IPFirst }))
		}, 40164},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := wechattest.New(wechattest.Config{Accounts: []wechattest.Account{{AppID: appID, Secret: secret}, platform}})
			if tt.do != nil {
				if err := tt.do(s); err != nil {
					t.Fatal(err)
				}
			}
			if a := in(t, s).do(http.MethodGet, "/cgi-bin/token?"+tt.query, ""); a.Code != tt.code {
				t.Errorf("errcode %d (%s), want %d", a.Code, a.Message, tt.code)
			}
		})
	}
	c := in(t, wechattest.New(wechattest.Config{}))
	if a := c.do(http.MethodGet, "/cgi-bin/stable_token?"+good(secret), ""); a.Code != 43002 {
		t.Errorf("GET stable_token: %d", a.Code)
	}
	if a := c.do(http.MethodPost, "/cgi-bin/stable_token", "appid=x"); a.Code != 41002 {
		t.Errorf("stable_token with a form: %d", a.Code)
	}
	if a := c.do(http.MethodGet, "/nonsense", ""); a.Code != 404000 {
		t.Errorf("unknown path: %d", a.Code)
	}
}

func good(secret string) string {
	return "grant_type=client_credential&appid=" + appID + "&secret=" + secret
}

func TestAChunkedPostGets412(t *testing.T) {
	s := wechattest.New(wechattest.Config{})
	for _, c := range []caller{in(t, s), {t, http.DefaultClient, s.Start(t)}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.base+"/cgi-bin/stable_token", io.MultiReader(strings.NewReader("{}")))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusPreconditionFailed {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
}

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

func TestWhitelistEditsTakeTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tuned(func(k *wechattest.Knobs) { k.WhitelistDelay = 5 * time.Minute })
		c := in(t, s)
		if err := s.SetWhitelist(appID, []string{"10.0.0.0/8"}); err != nil {
			t.Fatal(err)
		}
		if a := c.token(); a.Code != 0 {
			t.Errorf("at once: %+v", a)
		}
		time.Sleep(5 * time.Minute)
		if a := c.token(); a.Code != 40164 {
			t.Errorf("after the delay: %+v", a)
		}
		if err := s.SetWhitelist(appID, []string{"10.0.0.300"}); err == nil {
			t.Error("nonsense was taken for an address")
		}
	})
}

func TestTruth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := wechattest.New(wechattest.Config{})
		c := in(t, s)
		begin := s.Now()
		first := c.token()
		time.Sleep(time.Minute)
		if at, ok := s.DeadSince(first.Token); !ok || !at.Equal(begin.Add(2*time.Hour)) {
			t.Errorf("alone: dead since %v, %v", at, ok)
		}
		second, err := s.Rogue(appID, wechattest.ClassicChain)
		if err != nil {
			t.Fatal(err)
		}
		at, ok := s.DeadSince(first.Token)
		if want := begin.Add(6 * time.Minute); !ok || !at.Equal(want) {
			t.Errorf("superseded: dead since %v, want %v", at, want)
		}
		if !s.Accepts(first.Token, at.Add(-1)) || s.Accepts(first.Token, at) || s.Accepts(first.Token, begin.Add(-1)) {
			t.Error("Accepts does not agree with DeadSince")
		}
		if last, ok := s.LastIssued(appID); !ok || last.Token != second.Token || last.Seq != 2 {
			t.Errorf("LastIssued = %+v", last)
		}
		stable := c.stable("false")
		if last, _ := s.LastIssuedOn(appID, wechattest.ClassicChain); last.Token != second.Token {
			t.Error("LastIssuedOn mixes the chains up")
		}
		if i, ok := s.Lookup(second.SHA256()); !ok || i.Token != second.Token {
			t.Error("a token is not found by its hash")
		}
		if _, ok := s.DeadSince("90_unknown"); ok {
			t.Error("the death of an unknown token is known")
		}
		calls, issued := s.Calls(), s.Issued()
		if len(calls) != 3 || len(issued) != 3 || issued[2].Token != stable.Token {
			t.Fatalf("%d calls, %d tokens", len(calls), len(issued))
		}
		if i := issued[0]; !i.Delivered || i.From != "127.0.0.1" || i.Call != 1 || !i.Finished.Equal(begin) || i.Cause != wechattest.CauseSuperseded {
			t.Errorf("the first token: %+v", i)
		}
		s.Reset()
		if len(s.Calls()) != 0 || len(s.Issued()) != 0 || c.code(stable.Token) != 40001 {
			t.Error("Reset forgets too little")
		}
	})
}

func TestHistoryIsBounded(t *testing.T) {
	s := wechattest.New(wechattest.Config{History: 10})
	c := in(t, s)
	for range 100 {
		c.token()
	}
	if n, m := len(s.Issued()), len(s.Calls()); n > 10 || n < 5 || m > 10 || m < 5 {
		t.Errorf("%d tokens and %d calls are kept", n, m)
	}
	if last, _ := s.LastIssued(appID); last.Seq != 100 || c.code(last.Token) != 0 {
		t.Errorf("the newest is gone: %+v", last)
	}
}

func TestFaultsStrikeWhenTheyShould(t *testing.T) {
	t.Run("skip and times", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{})
		if _, err := s.Inject(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: -1, Skip: 1, Times: 2}); err != nil {
			t.Fatal(err)
		}
		c := in(t, s)
		var codes []int
		for range 4 {
			codes = append(codes, c.token().Code)
		}
		if fmt.Sprint(codes) != "[0 -1 -1 0]" {
			t.Errorf("codes %v", codes)
		}
	})
	t.Run("only on their path, account and host", func(t *testing.T) {
		for _, f := range []wechattest.Fault{{Path: "/cgi-bin/stable_token"}, {AppID: "wxother"}, {Host: "api2.weixin.qq.com"}, {Path: "/cgi-bin/user/get"}} {
			s := wechattest.New(wechattest.Config{})
			f.Kind, f.Code = wechattest.FaultErrcode, -1
			if _, err := s.Inject(f); err != nil {
				t.Fatal(err)
			}
			if a := in(t, s).token(); a.Code != 0 {
				t.Errorf("%+v struck", f)
			}
		}
	})
	t.Run("on the account whose token a call carries", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{})
		c := in(t, s)
		token := c.token().Token
		if _, err := s.Inject(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 40001, Path: "*", AppID: appID}); err != nil {
			t.Fatal(err)
		}
		if code := c.code(token); code != 40001 {
			t.Errorf("code %d", code)
		}
	})
	t.Run("by their rate", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{Seed: 1})
		id, err := s.Inject(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: -1, Rate: 0.5})
		if err != nil {
			t.Fatal(err)
		}
		c := in(t, s)
		struck := 0
		for range 200 {
			struck += -c.token().Code
		}
		if struck < 70 || struck > 130 {
			t.Errorf("struck %d of 200", struck)
		}
		s.Clear(id)
		if a := c.token(); a.Code != 0 {
			t.Errorf("cleared: %+v", a)
		}
	})
	t.Run("after the token was issued", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{})
		for n, kind := range []wechattest.FaultKind{wechattest.FaultReset, wechattest.FaultHTML, wechattest.FaultTruncated} {
			for _, phase := range []wechattest.Phase{wechattest.Before, wechattest.After} {
				s.Clear()
				if _, err := s.Inject(wechattest.Fault{Kind: kind, Phase: phase}); err != nil {
					t.Fatal(err)
				}
				resp, err := s.Client().Get(base + "/cgi-bin/token?" + good(secret))
				if err == nil {
					_ = resp.Body.Close()
				}
				last, _ := s.LastIssued(appID)
				if phase == wechattest.After && (last.Seq != n+1 || last.Delivered) {
					t.Errorf("%s: %+v", kind, last)
				}
				if phase == wechattest.Before && last.Seq != n {
					t.Errorf("%s before the call issued a token", kind)
				}
			}
		}
	})
	inBubble(t, "though the caller has given up", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{})
		defer s.Close()
		if _, err := s.Inject(wechattest.Fault{Kind: wechattest.FaultSlow, Delay: wechattest.Seconds(time.Minute)}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/cgi-bin/token?"+good(secret), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Client().Do(req); !errors.Is(err, context.DeadlineExceeded) { //nolint:bodyclose // there is none
			t.Errorf("err = %v", err)
		}
		if _, ok := s.LastIssued(appID); ok {
			t.Error("issued too early")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if last, ok := s.LastIssued(appID); !ok || last.Delivered {
			t.Errorf("the late token: %+v, %v", last, ok)
		}
	})
	t.Run("not when they make no sense", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{})
		for _, f := range []wechattest.Fault{
			{}, {Kind: "nonsense"}, {Kind: wechattest.FaultErrcode}, {Kind: wechattest.FaultSlow}, {Kind: wechattest.FaultStatus},
			{Kind: wechattest.FaultDial, Phase: wechattest.After}, {Kind: wechattest.FaultHTML, Phase: "while"}, {Kind: wechattest.FaultHTML, Rate: 2},
			{Kind: wechattest.FaultHTML, Times: -1}, {Kind: wechattest.FaultHTML, Status: 99},
		} {
			if _, err := s.Inject(f); err == nil {
				t.Errorf("%+v was taken", f)
			}
		}
	})
}

func TestKnobsThatStrikeAtRandom(t *testing.T) {
	s := tuned(func(k *wechattest.Knobs) { k.False40001Rate = 1 })
	c := in(t, s)
	if code := c.code(c.token().Token); code != 40001 {
		t.Errorf("false 40001: %d", code)
	}
	c = in(t, tuned(func(k *wechattest.Knobs) { k.MinusOneRate = 1 }))
	if a := c.token(); a.Code != -1 {
		t.Errorf("-1: %+v", a)
	}
	synctest.Test(t, func(t *testing.T) {
		c := in(t, tuned(func(k *wechattest.Knobs) { k.PropagationDelay = time.Second; k.Latency = time.Minute }))
		begin := time.Now()
		token := c.token().Token
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("took %v", took)
		}
		c = in(t, tuned(func(k *wechattest.Knobs) { k.PropagationDelay = time.Second }))
		token = c.token().Token
		if code := c.code(token); code != 40001 {
			t.Errorf("a token that has not spread: %d", code)
		}
		time.Sleep(time.Second)
		if code := c.code(token); code != 0 {
			t.Errorf("a second later: %d", code)
		}
	})
}

func TestTheSameSeedGivesTheSameTokens(t *testing.T) {
	first := in(t, wechattest.New(wechattest.Config{Seed: 7})).token().Token
	if again := in(t, wechattest.New(wechattest.Config{Seed: 7})).token().Token; again != first {
		t.Error("the same seed gave another token")
	}
	if other := in(t, wechattest.New(wechattest.Config{})).token().Token; other == first {
		t.Error("no seed gave the same token")
	}
	if len(first) != 136 || !regexp.MustCompile(`^90_[A-Za-z0-9_-]+$`).MatchString(first) {
		t.Errorf("token %q", first)
	}
}

func TestHostsShareOneState(t *testing.T) {
	s := wechattest.New(wechattest.Config{})
	s.TakeDown("api.weixin.qq.com")
	if _, err := s.Client().Get(base + "/cgi-bin/token?" + good(secret)); err == nil || !strings.Contains(err.Error(), "refused") { //nolint:bodyclose // there is none
		t.Errorf("err = %v", err)
	}
	c := caller{t, s.Client(), "https://api2.weixin.qq.com"}
	token := c.token().Token
	s.BringUp("api.weixin.qq.com")
	if code := in(t, s).code(token); code != 0 {
		t.Errorf("code %d", code)
	}
}

func TestWrongConfigurationIsRefused(t *testing.T) {
	bad := wechattest.DefaultKnobs()
	bad.TokenTTL = 0
	for _, c := range []wechattest.Config{
		{Knobs: &bad},
		{Accounts: []wechattest.Account{{AppID: "wx"}}},
		{Accounts: []wechattest.Account{{AppID: "wx", Secret: "s", Product: "nonsense"}}},
		{Accounts: []wechattest.Account{{AppID: "wx", Secret: "s", Whitelist: []string{"*"}}}},
	} {
		if _, err := wechattest.Open(c); err == nil {
			t.Errorf("Open(%+v) found nothing wrong", c)
		}
	}
	s := wechattest.New(wechattest.Config{})
	if err := s.Tune(func(k *wechattest.Knobs) { k.Era = "1999" }); err == nil || s.Knobs().Era != wechattest.EraCurrent {
		t.Errorf("Tune = %v, era %s", err, s.Knobs().Era)
	}
	for _, err := range []error{
		s.Freeze("wxother"), s.SetRisk(appID, "1.2.3.4", 40001), s.SetSecret(appID, ""),
	} {
		if err == nil {
			t.Error("nonsense was taken")
		}
	}
}

func TestManyCallersAtOnce(t *testing.T) {
	s := wechattest.New(wechattest.Config{})
	defer s.Close()
	if _, err := s.Inject(wechattest.Fault{Kind: wechattest.FaultReset, Rate: 0.2}); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				resp, err := s.Client().Get(base + "/cgi-bin/token?" + good(secret))
				if err == nil {
					_ = resp.Body.Close()
				}
				s.Issued()
				s.Advance(time.Millisecond)
			}
		})
	}
	group.Wait()
	for n, i := range s.Issued() {
		if i.Seq != n+1 {
			t.Fatalf("token %d has the number %d", n+1, i.Seq)
		}
	}
	if n := len(s.Calls()); n != 400 {
		t.Errorf("%d calls", n)
	}
}
