package wechattest_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
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

// send makes one request and returns the status and the body of the answer.
func (c caller) send(method, path, body string) (status int, raw []byte) {
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
	if raw, err = io.ReadAll(resp.Body); err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, raw
}

// do makes a call of WeChat's. The code of an HTTP error is its status times 1000.
func (c caller) do(method, path, body string) answer {
	c.t.Helper()
	status, raw := c.send(method, path, body)
	if status != http.StatusOK {
		return answer{Code: status * 1000}
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
