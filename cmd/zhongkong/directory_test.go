package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// issuers is a configuration with an account of WeChat and two apps of one corp.
const issuers = `
accounts:
- {name: shop, appid: wx8acdb7df5beb68fd, tickets: [jsapi, wx_card], pages: [m.example.com]}
- {name: sales, source: wecom, corpid: ww1, agentid: '1000002', tickets: [corp, agent], pages: [w.example.com]}
- {name: contacts, source: wecom, corpid: ww1}
- {name: dk4asffe99e54c0f4c, source: wecom_suite, corpid: ww0000000000000001}
routes:
- {name: app, account: sales}
- {name: api, account: contacts, to: 'https://api.example.com', put: bearer}
users:
- {name: ops, password: '%[1]s', accounts: '*', refresh: true}
- {name: one, password: '%[1]s', accounts: [sales]}
- {name: veil, password: '%[1]s', accounts: [shop], phantom: true}
`

// asked is the members of an answer of d to a caller without an Authorization header.
func (d *daemonRun) asked(path string) map[string]any {
	d.b.t.Helper()
	resp, err := http.Get(d.url + path)
	if err != nil {
		d.b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		d.b.t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(body, &members); err != nil {
		d.b.t.Fatalf("GET %.40s: %s", path, body)
	}
	http.DefaultClient.CloseIdleConnections()
	return members
}

func serveIssuers(t *testing.T) *daemonRun {
	t.Helper()
	b := newBench(t)
	hash := strings.TrimSpace(b.feed(opsPassword, "passwd").stdout)
	path := b.file("zk.yaml", fmt.Sprintf(issuers, hash))
	d := b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_USERS", "", "ZHONGKONG_API_BASE", "", "ZHONGKONG_CONFIG", path).
		serve("--sandbox")
	d.ready()
	return d
}

func (d *daemonRun) current(account string) string {
	d.b.t.Helper()
	_, record := d.send(opsName+":"+opsPassword, "GET", "/v1/tokens/"+account, "")
	return fmt.Sprint(record["access_token"])
}

func TestTicketsAreAnsweredForTheTokensThatWereGiven(t *testing.T) {
	d := serveIssuers(t)
	token := d.current("shop")
	ticket := func(token, kind string) map[string]any {
		return d.asked("/cgi-bin/ticket/getticket?access_token=" + url.QueryEscape(token) + "&type=" + kind)
	}
	if got := ticket(token, "jsapi"); got["ticket"] != d.current("shop.jsapi") || got["errcode"] != 0.0 {
		t.Errorf("jsapi: %v", got)
	}
	if got := ticket(token, "wx_card"); got["ticket"] != d.current("shop.wx_card") {
		t.Errorf("wx_card: %v", got)
	}
	phantom := d.asked("/cgi-bin/token?grant_type=client_credential&appid=wx8acdb7df5beb68fd&secret=veil~" + opsPassword)["access_token"]
	if got := ticket(fmt.Sprint(phantom), "jsapi"); !strings.HasPrefix(fmt.Sprint(phantom), "zk_") || got["ticket"] != d.current("shop.jsapi") {
		t.Errorf("the phantom %v: %v", phantom, got)
	}
	d.send(opsName+":"+opsPassword, "POST", "/v1/tokens/shop/refresh", "")
	if got := ticket(token, "jsapi"); got["ticket"] != d.current("shop.jsapi") {
		t.Errorf("with an older token: %v", got)
	}
	for _, bad := range []string{"never-issued", "zk_forged", d.current("contacts"), d.current("shop.jsapi")} {
		if got := ticket(bad, "jsapi"); got["errcode"] != 40001.0 {
			t.Errorf("with another token: %v", got)
		}
	}
	if got := d.asked("/cgi-bin/get_jsapi_ticket?access_token=" + d.current("sales")); got["ticket"] != d.current("sales.corp") {
		t.Errorf("the corp's: %v", got)
	}
	if got := d.asked("/cgi-bin/ticket/get?type=agent_config&access_token=" + d.current("sales")); got["ticket"] != d.current("sales.agent") {
		t.Errorf("the app's: %v", got)
	}
	if got := ticket(d.current("sales"), "jsapi"); got["errcode"] != 48001.0 {
		t.Errorf("WeChat's ticket of an app of WeCom: %v", got)
	}
}

func TestAppsOfACorpAreToldApart(t *testing.T) {
	d := serveIssuers(t)
	app := func(corpID, who string) map[string]any {
		return d.asked("/cgi-bin/gettoken?corpid=" + corpID + "&corpsecret=" + who + "~" + opsPassword)
	}
	for corpID, who := range map[string]string{"ww1": "one", "sales": "ops"} {
		if got := app(corpID, who); got["access_token"] != d.current("sales") || got["errcode"] != 0.0 {
			t.Errorf("%s as %s: %v", corpID, who, got)
		}
	}
	if got := d.asked("/proxy/app/cgi-bin/gettoken?corpid=sales&corpsecret=ops~" + opsPassword); got["access_token"] != d.current("sales") {
		t.Errorf("at a route: %v", got)
	}
	if got := app("contacts", "ops"); got["access_token"] != d.current("contacts") {
		t.Errorf("contacts: %v", got)
	}
	if got := app("ww1", "ops"); got["errcode"] != 40013.0 || !strings.Contains(fmt.Sprint(got["errmsg"]), "sales, contacts") {
		t.Errorf("a corp with two apps: %v", got)
	}
	if got := app("contacts", "one"); got["errcode"] != 40013.0 {
		t.Errorf("an app of somebody else: %v", got)
	}
	const custom = "dk4asffe99e54c0f4c." + sandboxCorp // a custom app of a template
	d.b.eventually("the corp of the custom app to be known", func() bool {
		token := app(sandboxCorp, "ops")["access_token"]
		return token != nil && token == d.current(custom)
	})
}

func TestPagesAreSignedWithTheTicketOfTheirAccount(t *testing.T) {
	d := serveIssuers(t)
	for _, c := range []struct {
		account, page string
		status        int
		appID         string
	}{
		{"shop", "https://m.example.com/", 200, appID},
		{"shop.jsapi", "https://m.example.com/", 200, appID},
		{"shop.wx_card", "https://m.example.com/", 404, ""},
		{"shop", "https://w.example.com/", 403, ""},
		{"sales", "https://w.example.com/", 200, "ww1"},
		{"sales.agent", "https://w.example.com/", 200, "ww1"},
		{"contacts", "https://w.example.com/", 404, ""},
	} {
		status, body := d.get("/v1/jssdk/" + c.account + "?url=" + url.QueryEscape(c.page))
		var signed struct{ AppID string }
		_ = json.Unmarshal([]byte(body), &signed)
		if status != c.status || signed.AppID != c.appID || strings.Contains(body, d.current("shop.jsapi")) {
			t.Errorf("%s for %s: %d %s, want %d", c.account, c.page, status, body, c.status)
		}
	}
}

func TestTheStandardTokenEndpointHasEveryAccount(t *testing.T) {
	d := serveIssuers(t)
	for path, account := range map[string]string{
		"/oauth2/shop/token": "shop", "/oauth2/sales/token": "sales", "/oauth2/shop.jsapi/token": "shop.jsapi",
		"/proxy/api/oauth2/token": "contacts", // the route's own
	} {
		resp, err := http.PostForm(d.url+path, url.Values{
			"grant_type": {"client_credentials"}, "client_id": {opsName}, "client_secret": {opsPassword},
		})
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		err = json.NewDecoder(resp.Body).Decode(&got)
		_ = resp.Body.Close()
		if err != nil || got["access_token"] != d.current(account) || got["scope"] != account {
			t.Errorf("%s: %v, %v", path, got, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
