package wecomtest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

const (
	corp     = "wwcorp"
	sales    = "1000002"
	contacts = "contacts"
)

// two is a corp with two apps, the second without an agentid, and another corp.
func two() wecomtest.Config {
	return wecomtest.Config{Corps: []wecomtest.Corp{
		{CorpID: corp, ProviderSecret: "provider-secret", Apps: []wecomtest.App{
			{Name: sales, AgentID: 1000002, Secret: "sales-secret"},
			{Name: contacts, Secret: "contacts-secret"},
		}},
		{CorpID: "wwother", Apps: []wecomtest.App{{Name: "x", AgentID: 7, Secret: "other-secret"}}},
	}}
}

// client calls a server from an address.
type client struct {
	t    *testing.T
	http http.RoundTripper
}

func from(t *testing.T, s *wecomtest.Server, address string) client {
	return client{t, s.TransportFrom(address)}
}

type answer struct {
	Code     int    `json:"errcode"`
	Message  string `json:"errmsg"`
	Token    string `json:"access_token"`
	Ticket   string `json:"ticket"`
	Provider string `json:"provider_access_token"`
	Life     int    `json:"expires_in"`
	raw      string
}

func (c client) get(path string) answer { return c.do(http.MethodGet, path, "") }

func (c client) do(method, path, body string) answer {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, "https://qyapi.weixin.qq.com"+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := c.http.RoundTrip(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	read, err := io.ReadAll(resp.Body)
	a := answer{raw: string(read)}
	if err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal(read, &a) != nil {
		c.t.Fatalf("%s: status %d, %q, %v", path, resp.StatusCode, read, err)
	}
	return a
}

func (c client) token(secret string) answer {
	c.t.Helper()
	return c.get("/cgi-bin/gettoken?corpid=" + corp + "&corpsecret=" + secret)
}

func (c client) code(want int, path string) {
	c.t.Helper()
	if a := c.get(path); a.Code != want {
		c.t.Errorf("%s: %s, want %d", path, a.raw, want)
	}
}

func tune(t *testing.T, s *wecomtest.Server, change func(*wecomtest.Knobs)) {
	t.Helper()
	if err := s.Tune(change); err != nil {
		t.Fatal(err)
	}
}

func TestATokenIsTheSameUntilItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := wecomtest.New(two())
		c := from(t, s, "10.0.0.1")
		first := c.token("sales-secret")
		if first.Life != 7200 || first.Message != "ok" || !strings.Contains(first.raw, `"errcode":0`) {
			t.Errorf("gettoken: %s", first.raw)
		}
		time.Sleep(time.Hour)
		if again := c.token("sales-secret"); again.Token != first.Token || again.Life != 3600 {
			t.Errorf("an hour later: another one, or a life of %d", again.Life)
		}
		tune(t, s, func(k *wecomtest.Knobs) { k.AlwaysWhole = true })
		if again := c.token("sales-secret"); again.Token != first.Token || again.Life != 7200 {
			t.Errorf("with AlwaysWhole: another one, or a life of %d", again.Life)
		}
		s.Advance(time.Hour)
		next := c.token("sales-secret")
		if next.Token == first.Token || s.Valid(first.Token) || !s.Valid(next.Token) {
			t.Error("after 2 hours the token is the same")
		}
		c.code(42001, "/cgi-bin/getcallbackip?access_token="+first.Token)
		tune(t, s, func(k *wecomtest.Knobs) { k.ExpiredAs = 40014 })
		c.code(40014, "/cgi-bin/getcallbackip?access_token="+first.Token)
		if err := s.EndToken(corp, sales); err != nil {
			t.Fatal(err)
		}
		c.code(40014, "/cgi-bin/getcallbackip?access_token="+next.Token)
		if third := c.token("sales-secret"); third.Token == next.Token || third.Life != 7200 {
			t.Error("a token that ended early is answered again")
		}
	})
}

func TestAppsAreApart(t *testing.T) {
	s := wecomtest.New(two())
	c := from(t, s, "10.0.0.1")
	one, other := c.token("sales-secret").Token, c.token("contacts-secret").Token
	if one == other {
		t.Fatal("two apps have one token")
	}
	c.code(0, "/cgi-bin/agent/get?agentid=1000002&access_token="+one)
	c.code(301002, "/cgi-bin/agent/get?agentid=1000002&access_token="+other)
	if a := c.do(http.MethodPost, "/cgi-bin/message/send?access_token="+other, `{"agentid":1000002}`); a.Code != 301002 {
		t.Errorf("message/send: %s", a.raw)
	}
	c.code(40014, "/cgi-bin/agent/get?access_token=garbage")
	c.code(41001, "/cgi-bin/agent/get")
	if i, ok := s.Lookup(other); !ok || i.App != contacts || i.CorpID != corp || i.Kind != wecomtest.AccessToken {
		t.Errorf("Lookup = %+v", i)
	}
	if err := s.SetSecret(corp, sales, "sales-secret-2"); err != nil {
		t.Fatal(err)
	}
	if s.Valid(one) || !s.Valid(other) || c.token("sales-secret").Code != 40001 || c.token("sales-secret-2").Code != 0 {
		t.Error("a reset of a secret ends the app's token, and no other")
	}
	if err := s.SetDisabled(corp, contacts, true); err != nil {
		t.Fatal(err)
	}
	if a := c.token("contacts-secret"); a.Code != 50003 {
		t.Errorf("disabled: %s", a.raw)
	}
}

func TestParametersAreCheckedInOrder(t *testing.T) {
	c := from(t, wecomtest.New(two()), "10.0.0.1")
	c.code(41004, "/cgi-bin/gettoken")
	c.code(41002, "/cgi-bin/gettoken?corpsecret=x")
	c.code(40013, "/cgi-bin/gettoken?corpid=x&corpsecret=sales-secret")
	c.code(40091, "/cgi-bin/gettoken?corpid="+corp+"&corpsecret=other-secret")
	a := c.token("x")
	text := regexp.MustCompile(`^invalid credential, hint: \[\d{25}\], from ip: 10\.0\.0\.1, more info at https://open\.work\.weixin\.qq\.com/devtool/query\?e=40001$`)
	if a.Code != 40001 || !text.MatchString(a.Message) || !strings.Contains(a.raw, `"access_token":""`) {
		t.Errorf("a wrong secret: %s", a.raw)
	}
}

func TestWrongSecretsBlockTheAddressForAllApps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := wecomtest.New(two())
		bad, good := from(t, s, "10.0.0.1"), from(t, s, "10.0.0.2")
		for range 10 { // four within any hour
			if a := bad.token("x"); a.Code != 40001 {
				t.Fatalf("a wrong secret: %s", a.raw)
			}
			time.Sleep(15*time.Minute + time.Second)
		}
		bad.token("x")
		bad.token("x")
		if until, blocked := s.BlockedUntil("10.0.0.1"); !blocked || until.Sub(s.Now()) != time.Hour {
			t.Errorf("after 5 wrong secrets within an hour: blocked until %v", until)
		}
		for _, secret := range []string{"sales-secret", "contacts-secret", "x"} {
			if a := bad.token(secret); a.Code != 45009 {
				t.Errorf("%s during the block: %s", secret, a.raw)
			}
		}
		if a := bad.do(http.MethodPost, "/cgi-bin/service/get_provider_token", `{"corpid":"wwcorp","provider_secret":"provider-secret"}`); a.Code != 45009 {
			t.Errorf("a provider during the block: %s", a.raw)
		}
		if a := good.token("sales-secret"); a.Code != 0 {
			t.Errorf("from another address: %s", a.raw)
		}
		time.Sleep(time.Hour)
		if a := bad.token("sales-secret"); a.Code != 0 {
			t.Errorf("an hour later: %s", a.raw)
		}
	})
}

func TestQuotasBlockForTheirWindow(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*wecomtest.Knobs)
		last time.Duration
	}{
		{"minute", func(k *wecomtest.Knobs) { k.CorpMinute = 3 }, time.Minute},
		{"hour", func(k *wecomtest.Knobs) { k.IPHour = 3 }, time.Hour},
		{"day", func(k *wecomtest.Knobs) { k.CorpDay = 3 }, 16 * time.Hour}, // it is 8:00 in China
	} {
		synctest.Test(t, func(t *testing.T) {
			s := wecomtest.New(two())
			tune(t, s, tt.set)
			tune(t, s, func(k *wecomtest.Knobs) { k.TextNamesWindow = true })
			c := from(t, s, "10.0.0.1")
			for range 3 {
				if a := c.token("sales-secret"); a.Code != 0 {
					t.Fatalf("%s: %s", tt.name, a.raw)
				}
			}
			if a := c.token("sales-secret"); a.Code != 45009 || !strings.Contains(a.Message, tt.name) {
				t.Errorf("%s: %s", tt.name, a.raw)
			}
			time.Sleep(tt.last - time.Second)
			if a := c.token("sales-secret"); a.Code != 45009 {
				t.Errorf("%s, a second before its end: %s", tt.name, a.raw)
			}
			time.Sleep(time.Second)
			if a := c.token("sales-secret"); a.Code != 0 {
				t.Errorf("%s, at its end: %s", tt.name, a.raw)
			}
		})
	}
}

func TestTickets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := wecomtest.New(two())
		tune(t, s, func(k *wecomtest.Knobs) { k.TicketAppHour, k.TicketCorpHour = 6, 10 })
		c := from(t, s, "10.0.0.1")
		one, other := c.token("sales-secret").Token, c.token("contacts-secret").Token
		corpTicket := c.get("/cgi-bin/get_jsapi_ticket?access_token=" + one)
		if len(corpTicket.Ticket) != 86 || corpTicket.Life != 7200 || corpTicket.Message != "ok" {
			t.Errorf("get_jsapi_ticket: %s", corpTicket.raw)
		}
		if a := c.get("/cgi-bin/get_jsapi_ticket?access_token=" + other); a.Ticket != corpTicket.Ticket {
			t.Error("the corp's ticket differs by app")
		}
		agent := c.get("/cgi-bin/ticket/get?type=agent_config&access_token=" + one)
		if agent.Ticket == "" || agent.Ticket == corpTicket.Ticket {
			t.Errorf("ticket/get: %s", agent.raw)
		}
		c.code(40093, "/cgi-bin/ticket/get?type=agent_config&access_token="+other) // no app
		c.code(40093, "/cgi-bin/ticket/get?access_token="+one)
		c.code(40014, "/cgi-bin/ticket/get?type=agent_config&access_token=x")
		c.code(41001, "/cgi-bin/get_jsapi_ticket")
		if err := s.EndTicket(corp, sales); err != nil {
			t.Fatal(err)
		}
		if a := c.get("/cgi-bin/ticket/get?type=agent_config&access_token=" + one); a.Ticket == agent.Ticket || s.Valid(agent.Ticket) || !s.Valid(a.Ticket) {
			t.Error("a ticket that ended early is answered again")
		}
		for range 10 { // of each kind of ticket apart
			c.get("/cgi-bin/get_jsapi_ticket?access_token=" + one)
		}
		c.code(45009, "/cgi-bin/get_jsapi_ticket?access_token="+one)
		c.code(0, "/cgi-bin/ticket/get?type=agent_config&access_token="+one)
		time.Sleep(time.Hour)
		c.code(0, "/cgi-bin/get_jsapi_ticket?access_token="+one)
	})
}

func TestATicketOutlivesItsReplacementByTheKnob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := wecomtest.New(two())
		tune(t, s, func(k *wecomtest.Knobs) { k.TicketOverlap, k.TicketFollowsToken = 10*time.Minute, true })
		c := from(t, s, "10.0.0.1")
		ticket := func() string {
			return c.get("/cgi-bin/get_jsapi_ticket?access_token=" + c.token("sales-secret").Token).Ticket
		}
		first := ticket()
		time.Sleep(2 * time.Hour)
		if second := ticket(); second == first || s.Valid(first) {
			t.Error("a new token leaves the ticket, against the knob")
		}
		tune(t, s, func(k *wecomtest.Knobs) { k.TicketFollowsToken = false })
		second := ticket()
		time.Sleep(2 * time.Hour)
		if third := ticket(); third == second || !s.Valid(second) {
			t.Error("a ticket does not live on when it is replaced, against the knob")
		}
	})
}

func TestAProvider(t *testing.T) {
	s := wecomtest.New(two())
	c := from(t, s, "10.0.0.1")
	const path = "/cgi-bin/service/get_provider_token"
	a := c.do(http.MethodPost, path, `{"corpid":"wwcorp","provider_secret":"provider-secret"}`)
	if a.Provider == "" || a.Life != 7200 || strings.Contains(a.raw, "errcode") {
		t.Errorf("get_provider_token: %s", a.raw)
	}
	for body, want := range map[string]int{
		`corpid=wwcorp`: 47001, `{}`: 41004, `{"provider_secret":"x"}`: 41002, `{"corpid":"wwcorp","provider_secret":"x"}`: 40001,
		`{"corpid":"wwother","provider_secret":"x"}`: 40001, `{"corpid":"?","provider_secret":"x"}`: 40013,
	} {
		if got := c.do(http.MethodPost, path, body); got.Code != want {
			t.Errorf("%s: %s, want %d", body, got.raw, want)
		}
	}
	const use = "/cgi-bin/service/corpid_to_opencorpid?provider_access_token="
	c.code(0, use+a.Provider)
	c.code(40082, use+"x")
	c.code(40014, "/cgi-bin/getcallbackip?access_token="+a.Provider)
	if err := s.EndProviderToken(corp); err != nil {
		t.Fatal(err)
	}
	c.code(42009, use+a.Provider)
}

func TestAnAddressMustBeTrusted(t *testing.T) {
	s := wecomtest.New(two())
	if err := s.SetTrusted(corp, sales, []string{"10.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	inside, outside := from(t, s, "10.0.0.1"), from(t, s, "10.0.0.2")
	token := outside.token("sales-secret").Token // is not checked here
	inside.code(0, "/cgi-bin/getcallbackip?access_token="+token)
	outside.code(60020, "/cgi-bin/getcallbackip?access_token="+token)
	outside.code(60020, "/cgi-bin/get_jsapi_ticket?access_token="+token)
	outside.code(40014, "/cgi-bin/getcallbackip?access_token=x") // the token is looked at first
	tune(t, s, func(k *wecomtest.Knobs) { k.TokensCheckIP = true })
	if a := outside.token("sales-secret"); a.Code != 60020 {
		t.Errorf("with TokensCheckIP: %s", a.raw)
	}
}

func TestOverHTTP(t *testing.T) {
	s := wecomtest.New(wecomtest.Config{})
	server := httptest.NewServer(s)
	defer server.Close()
	get := func() (string, error) {
		resp, err := server.Client().Get(fmt.Sprintf("%s/cgi-bin/gettoken?corpid=%s&corpsecret=%s", server.URL, wecomtest.DefaultCorpID, wecomtest.DefaultSecret))
		if err != nil {
			return "", err
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	if body, err := get(); err != nil || !strings.Contains(body, "access_token") {
		t.Errorf("gettoken: %s, %v", body, err)
	}
	s.Inject(wecomtest.Fault{Status: 502, Body: "bad gateway"})
	if body, err := get(); err != nil || body != "bad gateway" {
		t.Errorf("with a fault: %s, %v", body, err)
	}
	if calls := s.Calls(); len(calls) != 2 || calls[0].From != "127.0.0.1" || calls[0].App != wecomtest.DefaultApp {
		t.Errorf("Calls = %+v", calls)
	}
	s.Reset()
	if len(s.Calls()) != 0 || len(s.Issued()) != 0 {
		t.Error("Reset leaves calls or tokens")
	}
}

func TestWrongConfigurationIsSaid(t *testing.T) {
	for _, c := range []wecomtest.Config{
		{Corps: []wecomtest.Corp{{}}},
		{Corps: []wecomtest.Corp{{CorpID: "c", Apps: []wecomtest.App{{Name: "a"}}}}},
		{Corps: []wecomtest.Corp{{CorpID: "c", Apps: []wecomtest.App{{Name: "a", Secret: "s"}, {Name: "b", Secret: "s"}}}}},
		{Knobs: &wecomtest.Knobs{}},
	} {
		if s, err := wecomtest.Open(c); err == nil {
			t.Errorf("Open(%+v) = %v, want an error", c, s)
		}
	}
	if err := wecomtest.New(wecomtest.Config{}).EndToken("?", "?"); err == nil {
		t.Error("EndToken of an unknown app: no error")
	}
}
