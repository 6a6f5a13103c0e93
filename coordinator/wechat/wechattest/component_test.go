package wechattest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	platformID     = "wxplatform00000001"
	platformSecret = "f1e2d3c4b5a697887766554433221100"
	platformToken  = "pamtest"
	firstKey       = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	secondKey      = "4Ma3YBrSBbX2aez8MJpXGBne5LSDwgGqHbhM9WPYIws"
)

func testComponent() Component {
	return Component{AppID: platformID, Secret: platformSecret, Token: platformToken, EncodingAESKey: firstKey}
}

// posted is the answer to a call of a platform's interface.
type posted struct {
	Code      int    `json:"errcode"`
	Message   string `json:"errmsg"`
	Component string `json:"component_access_token"`
	PreAuth   string `json:"pre_auth_code"`
	Access    string `json:"authorizer_access_token"`
	Refresh   string `json:"authorizer_refresh_token"`
	ExpiresIn int    `json:"expires_in"`
	Ticket    string `json:"ticket"`
	Info      struct {
		AppID   string `json:"authorizer_appid"`
		Access  string `json:"authorizer_access_token"`
		Refresh string `json:"authorizer_refresh_token"`
	} `json:"authorization_info"`
	Total int `json:"total_count"`
	List  []struct {
		AppID   string `json:"authorizer_appid"`
		Refresh string `json:"refresh_token"`
	} `json:"list"`
}

// platform calls the interfaces of a component.
type platform struct {
	*testing.T
	*Server
	from, token string
}

func newPlatform(t *testing.T) *platform {
	s := New(Config{Components: []Component{testComponent()}, Seed: 1})
	p := &platform{T: t, Server: s, from: "127.0.0.1"}
	p.token = p.componentToken().Component
	return p
}

func (p *platform) post(path string, body map[string]any) posted {
	p.Helper()
	body["component_appid"] = platformID
	data, _ := json.Marshal(body)
	address := "https://api.weixin.qq.com" + path + "?component_access_token=" + p.token
	client := http.Client{Transport: p.TransportFrom(p.from)}
	resp, err := client.Post(address, "application/json", bytes.NewReader(data))
	if err != nil {
		p.Fatal(err)
	}
	var out posted
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		p.Fatal(err)
	}
	return out
}

func (p *platform) componentToken() posted {
	p.Helper()
	ticket, err := p.IssueTicket(platformID)
	if err != nil {
		p.Fatal(err)
	}
	return p.post(pathComponentToken, map[string]any{"component_appsecret": platformSecret, "component_verify_ticket": ticket})
}

func (p *platform) authorize(appID string) string {
	p.Helper()
	a, err := p.Authorize(platformID, appID)
	if err != nil {
		p.Fatal(err)
	}
	return a.Code
}

func (p *platform) query(code string) posted {
	p.Helper()
	return p.post(pathQueryAuth, map[string]any{"authorization_code": code})
}

func (p *platform) refresh(appID, token string) posted {
	p.Helper()
	return p.post(pathAuthorizerToken, map[string]any{"authorizer_appid": appID, "authorizer_refresh_token": token})
}

func (p *platform) business(token string) int {
	p.Helper()
	resp, err := p.Client().Get("https://api.weixin.qq.com/cgi-bin/get_api_domain_ip?access_token=" + token)
	if err != nil {
		p.Fatal(err)
	}
	var out posted
	_ = json.NewDecoder(resp.Body).Decode(&out)
	return out.Code
}

func (p *platform) want(what string, got, want int) {
	p.Helper()
	if got != want {
		p.Errorf("%s: errcode %d, want %d", what, got, want)
	}
}

func TestAComponentTokenNeedsAVerifyTicketOfTheLast12Hours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		ask := func(secret, ticket string) posted {
			return p.post(pathComponentToken, map[string]any{"component_appsecret": secret, "component_verify_ticket": ticket})
		}
		old, _ := p.IssueTicket(platformID)
		p.Advance(12*time.Hour - time.Second)
		if got := ask(platformSecret, old); got.Component == "" || got.ExpiresIn != 7200 {
			t.Errorf("with a ticket just before its end = %+v", got)
		}
		p.Advance(time.Second)
		p.want("a ticket at its end", ask(platformSecret, old).Code, codeOldVerifyTicket)
		p.want("an unknown ticket", ask(platformSecret, "ticket@@@x").Code, codeBadVerifyTicket)
		p.want("no ticket", ask(platformSecret, "").Code, codeBadVerifyTicket)
		fresh, _ := p.IssueTicket(platformID)
		p.want("a wrong secret", ask("x", fresh).Code, codeNoComponent)
		p.want("no secret", ask("", fresh).Code, codeNoSecret)
		if err := p.SetWhitelist(platformID, []string{"10.0.0.1"}); err != nil {
			t.Fatal(err)
		}
		got := ask("x", "x")
		p.want("an address that is not listed", got.Code, codeComponentAddress)
		if !strings.Contains(got.Message, "requestIP: 127.0.0.1") {
			t.Errorf("errmsg = %q", got.Message)
		}
	})
}

func TestEveryCallForAComponentTokenIssuesOneAndIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		first := p.token
		if p.token = p.componentToken().Component; p.token == first {
			t.Fatal("the second call answered the same token")
		}
		list := func(token string) int {
			p.token = token
			return p.post(pathAuthorizerList, map[string]any{"offset": 0, "count": 500}).Code
		}
		second := p.token
		time.Sleep(299 * time.Second)
		p.want("the former token, in its grace", list(first), 0)
		time.Sleep(time.Second)
		p.want("the former token, after it", list(first), codeBadCredential)
		p.want("the current token", list(second), 0)
		p.want("a component token for the interface of an account", p.business(second), codeNeedAccountToken)
		if err := p.Tune(func(k *Knobs) { k.DailyComponent = 3 }); err != nil {
			t.Fatal(err)
		}
		p.componentToken()
		p.want("the fourth of three calls a day", p.componentToken().Code, codeDailyQuota)
		day := dayOf(p.Now())
		if got := p.DailyCalls(platformID, pathComponentToken)[day]; got != 4 {
			t.Errorf("DailyCalls() = %d, want 4", got)
		}
		if got := p.post(pathComponentClear, map[string]any{"appid": platformID, "appsecret": platformSecret}); got.Code != 0 {
			t.Errorf("clear_quota/v2 = %+v", got)
		}
		p.want("after the reset", p.componentToken().Code, 0)
	})
}

func TestAnAuthorizationIsExchangedOnceAndListedWithItsTokenOnlyThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		if got := p.post(pathPreAuthCode, map[string]any{}); got.PreAuth == "" || got.ExpiresIn != 600 {
			t.Errorf("api_create_preauthcode = %+v", got)
		}
		code := p.authorize("wxa")
		list := func() posted { return p.post(pathAuthorizerList, map[string]any{"offset": 0, "count": 500}) }
		if got := list(); got.Total != 1 || got.List[0].Refresh != "" {
			t.Errorf("the list before the exchange = %+v", got)
		}
		p.want("an unknown code", p.query("x").Code, codeBadAuthCode)
		info := p.query(code).Info
		if info.AppID != "wxa" || info.Access == "" || info.Refresh == "" {
			t.Fatalf("api_query_auth = %+v", info)
		}
		p.want("the code again", p.query(code).Code, codeBadAuthCode)
		if got := list(); got.List[0].Refresh != info.Refresh {
			t.Errorf("the list after the exchange = %+v", got)
		}
		p.want("a list of 501", p.post(pathAuthorizerList, map[string]any{"count": 501}).Code, codeBadType)
		p.want("the token", p.business(info.Access), 0)
		got := p.refresh("wxa", info.Refresh)
		if got.Refresh != info.Refresh || got.Access == info.Access || got.ExpiresIn != 7200 {
			t.Errorf("api_authorizer_token = %+v", got)
		}
		p.want("a wrong refresh token", p.refresh("wxa", "x").Code, codeBadRefreshToken)
		p.want("another account", p.refresh("wxb", "x").Code, codeNotAuthorized)
		if ticket := p.ticket(got.Access); ticket.Ticket == "" {
			t.Errorf("getticket with the authorizer's token = %+v", ticket)
		}
		time.Sleep(300 * time.Second)
		p.want("the former token, after its grace", p.business(info.Access), codeBadCredential)
		late := p.authorize("wxc")
		time.Sleep(time.Hour)
		p.token = p.componentToken().Component
		p.want("a code after an hour", p.query(late).Code, codeOldAuthCode)
		account := p.token
		p.token = got.Access
		p.want("an account's token for the interface of a platform", p.query("x").Code, codeNeedComponentToken)
		p.token = account
	})
}

func (p *platform) ticket(token string) posted {
	resp, err := p.Client().Get("https://api.weixin.qq.com/cgi-bin/ticket/getticket?type=jsapi&access_token=" + token)
	if err != nil {
		p.Fatal(err)
	}
	var out posted
	_ = json.NewDecoder(resp.Body).Decode(&out)
	return out
}

func TestAuthorizingAgainEndsTheTokensOfBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		before := p.query(p.authorize("wxa")).Info
		code := p.authorize("wxa")
		p.want("the token of before", p.business(before.Access), codeBadCredential)
		p.want("the refresh token of before", p.refresh("wxa", before.Refresh).Code, codeBadRefreshToken)
		after := p.query(code).Info
		if after.Refresh == before.Refresh {
			t.Error("the refresh token is the same")
		}
		if live := p.Authorizers(platformID)[0].Live; len(live) != 1 || live[0].Token != after.Access {
			t.Errorf("live tokens: %+v", live)
		}
		if err := p.Unauthorize(platformID, "wxa"); err != nil {
			t.Fatal(err)
		}
		p.want("the token after unauthorized", p.business(after.Access), codeBadCredential)
		p.want("the refresh token after unauthorized", p.refresh("wxa", after.Refresh).Code, codeNotAuthorized)
		if got := p.post(pathAuthorizerList, map[string]any{"count": 1}); got.Total != 0 {
			t.Errorf("the list = %+v", got)
		}
		var types []string
		for _, push := range p.Pushes() {
			types = append(types, push.InfoType)
		}
		if want := []string{"authorized", "updateauthorized", "unauthorized"}; !slices.Equal(types, want) {
			t.Errorf("pushed: %q, want %q", types, want)
		}
	})
}

func TestARefreshTokenRotatesIfAskedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		if err := p.Tune(func(k *Knobs) { k.RefreshTokenRotates = true }); err != nil {
			t.Fatal(err)
		}
		first := p.query(p.authorize("wxa")).Info.Refresh
		second := p.refresh("wxa", first).Refresh
		if second == first {
			t.Fatal("the refresh token is the same")
		}
		p.want("the former one, in its grace", p.refresh("wxa", first).Code, 0)
		time.Sleep(300 * time.Second)
		p.want("the former one, after it", p.refresh("wxa", first).Code, codeBadRefreshToken)
		p.want("the current one", p.refresh("wxa", second).Code, 0)
	})
}
