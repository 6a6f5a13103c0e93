package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

const (
	oneWeChat = "accounts:\n- {name: wx1, secret_env: S}\n"
	oneApp    = "accounts:\n- {name: work, source: wecom, corpid: ww1, secret_env: S}\n"
	oneClient = "accounts:\n- {name: crm, source: oauth2, client_id: c, client_secret_env: S, token_url: \"https://login.example.com/token\""
)

// vars has a secret for secret_env: S.
var vars = map[string]string{"S": appSecret}

func TestAccountsOfAnySourceAreRead(t *testing.T) {
	c := mustLoad(t, oneApp+
		"- {name: wx1, secret_env: S, tickets: [jsapi, wx_card], pages: [www.example.com], label: Shop}\n"+
		"- {name: ticket, source: wecom_agent_ticket, of: work, refresh_every: 5m}\n"+
		"- {name: push, source: http, preset: getui, app_id: i, app_key: k, master_secret_env: S}\n"+
		"- {name: feishu, source: http, preset: feishu_tenant, app_id: cli_1, app_secret_env: S, limits: {per_day: 50, window: 10m}}\n"+
		"- {name: fticket, source: http, preset: feishu_jsapi_ticket, of: feishu}\n", nil, vars)
	for name, want := range map[string]func(a config.Account) bool{
		"wx1.jsapi": func(a config.Account) bool {
			return a.Source == "jsapi_ticket" && a.Of == "wx1" && a.Pages[0] == "www.example.com" && a.Label == "Shop" && a.RefreshEvery == 9*time.Minute
		},
		"wx1.wx_card": func(a config.Account) bool { return a.Source == "wx_card_ticket" && a.APIBase == wechat.DefaultBaseURL },
		"ticket":      func(a config.Account) bool { return a.RefreshEvery == 5*time.Minute && !a.HasSecret() },
		"push":        func(a config.Account) bool { return a.Limits.PerDay == 100 && a.Limits.Window == time.Minute },
		"feishu":      func(a config.Account) bool { return a.Limits.PerDay == 50 && a.Limits.Window == 10*time.Minute },
		"fticket":     func(a config.Account) bool { return a.Of == "feishu" },
	} {
		a, ok := c.Account(name)
		if !ok || !c.Refreshing(a) || !want(a) {
			t.Errorf("%s: %v %+v", name, ok, a)
		}
	}
	place := map[string]int{}
	for i, a := range c.Accounts {
		if place[a.Name] = i; a.Of != "" && place[a.Of] == 0 && c.Accounts[0].Name != a.Of {
			t.Errorf("%s comes before its parent %s", a.Name, a.Of)
		}
	}
}

func TestAnAccountOnARefreshTokenIsRefreshedAlsoWithoutASecret(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "seal.keys")
	if err := os.WriteFile(keys, []byte(seal.NewLine(time.Now())+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := mustLoad(t, "seal_key_file: "+keys+"\naccounts:\n- {name: books, source: oauth2, grant: refresh_token, profile: xero, client_id: c, client_secret_env: S, scopes: [offline_access]}\n"+
		"- {name: mail, source: oauth2, grant: refresh_token, profile: google, client_id: c, client_secret_env: S2, replay: never}\n"+
		"- {name: cli, source: oauth2, grant: refresh_token, client_auth: none, client_id: c, replay: 30s, token_url: \"https://login.example.com/token\",\n"+
		"   auth_url: \"https://login.example.com/authorize\", device_url: \"https://login.example.com/device\", redirect: \"http://localhost:7000/cb\"}\n",
		nil, map[string]string{"S": appSecret, "S2": "another"})
	for _, name := range []string{"books", "mail", "cli"} {
		a, ok := c.Account(name)
		if !ok || !c.Refreshing(a) || a.RefreshEvery != 24*time.Hour {
			t.Errorf("%s: %v %+v", name, ok, a)
		}
	}
	a, _ := c.Account("cli")
	if a = a.WithSecrets(nil); c.Refreshing(a) {
		t.Error("an account whose secrets are taken away is refreshed")
	}
	if a.Text("redirect") != "http://localhost:7000/cb" || a.Text("device_url") == "" {
		t.Errorf("%+v", a)
	}
}

func TestAChildOfAnAccountWithoutASecretIsOnlyRead(t *testing.T) {
	c := mustLoad(t, "accounts:\n- {name: wx1, tickets: [jsapi]}\n", nil, nil)
	if a, ok := c.Account("wx1.jsapi"); !ok || c.Refreshing(a) {
		t.Errorf("%v %+v", ok, a)
	}
}

func TestWhatIsWrongWithASourceIsNamed(t *testing.T) {
	for name, test := range map[string]struct{ yaml, want string }{
		"an unknown source":                           {"accounts:\n- {name: a, source: wecomm}\n", "zk.yaml:2: accounts[0].source"},
		"a field of another source":                   {"accounts:\n- {name: wx1, secret_env: S, corpid: ww1}\n", "zk.yaml:2: corpid: an account with source token has no such field: remove it, or set source: to one of wecom, wecom_provider"},
		"a field that is written so by other sources": {"accounts:\n- {name: shop, secret_env: S, app_id: wx1}\n", "zk.yaml:2: app_id: an account with source token has no such field: it is called appid"},
		"a secret of another source":                  {oneApp[:len(oneApp)-2] + ", client_secret_env: S}\n", "client_secret: an account with source wecom has no such field"},
		"no corpid":                                   {"accounts:\n- {name: a, source: wecom, secret_env: S}\n", `zk.yaml:2: account "a": corpid is missing`},
		"no token_url":                                {"accounts:\n- {name: a, source: oauth2, client_id: c, client_secret_env: S}\n", `account "a": token_url is missing`},
		"a token_url without TLS":                     {"accounts:\n- {name: a, source: oauth2, client_id: c, client_secret_env: S, token_url: \"http://login.example.com/t\"}\n", `account "a": `},
		"a wrong client_auth":                         {oneClient + ", client_auth: digest}\n", "client_auth"},
		"an unknown profile":                          {oneClient + ", grant: refresh_token, profile: Xero}\n", `account "crm": profile: "Xero" is unknown: the profiles are airlock, `},
		"a replay that is none":                       {oneClient + ", grant: refresh_token, replay: often}\n", `account "crm": replay: "often" must be never, free or`},
		"a replay without refreshes":                  {oneClient + ", replay: free}\n", "replay: grant client_credentials has no refresh tokens"},
		"a wrong lifetime":                            {oneClient + ", lifetime: 30}\n", "lifetime"},
		"no scopes":                                   {"accounts:\n- {name: g, source: google_service_account, key_env: S}\n", `account "g": scopes is missing`},
		"a key that is none":                          {"accounts:\n- {name: g, source: github_app, app_id: '1', installation_id: '2', private_key_env: S}\n", "private_key"},
		"neither preset nor issuer":                   {"accounts:\n- {name: h, source: http, client_secret_env: S}\n", "preset, issuer: give one of the two"},
		"an unknown preset":                           {"accounts:\n- {name: h, source: http, preset: feishu, app_secret_env: S}\n", `preset: "feishu" is not known: write one of `},
		"a parameter that is missing":                 {"accounts:\n- {name: h, source: http, preset: feishu_tenant, app_secret_env: S}\n", "app_id: is missing"},
		"a parameter of another preset":               {"accounts:\n- {name: h, source: http, preset: baidu, client_id: c, client_secret_env: S, app_key: k}\n", "app_key: the issuer has no such parameter"},
		"an issuer with a wrong field":                {"accounts:\n- {name: h, source: http, client_secret_env: S, issuer: {titel: x}}\n", `unknown field "titel"`},
		"a ticket without of":                         {"accounts:\n- {name: t, source: jsapi_ticket}\n", `zk.yaml:2: account "t": of is missing: name the account that the jsapi_ticket belongs to`},
		"a parent that is missing":                    {"accounts:\n- {name: t, source: jsapi_ticket, of: wx9}\n", `account "t": of: "wx9" is not among the accounts: they are t`},
		"a parent of another kind":                    {oneApp + "- {name: t, source: jsapi_ticket, of: work}\n", `of: "work" has source wecom: a jsapi_ticket belongs to an account with source token or stable_token`},
		"a parent of a token":                         {oneWeChat + "- {name: wx2, secret_env: S, of: wx1}\n", "of: an account with source token has no parent: remove it"},
		"a parent of its own":                         {"accounts:\n- {name: h, source: http, preset: feishu_jsapi_ticket, of: h}\n", `account "h": of: goes round in a circle: h, h`},
		"a circle":                                    {"accounts:\n- {name: a, source: http, preset: feishu_jsapi_ticket, of: b}\n- {name: b, source: http, preset: feishu_jsapi_ticket, of: a}\n", `of: goes round in a circle: a, b, a`},
		"a preset that needs a parent":                {"accounts:\n- {name: h, source: http, preset: feishu_jsapi_ticket}\n", "of is missing"},
		"a ticket of another issuer":                  {"accounts:\n- {name: wx1, secret_env: S, tickets: [corp]}\n", `tickets: "corp" is not a ticket of an account with source token: known are jsapi, wx_card`},
		"a ticket where there are none":               {oneClient + ", tickets: [jsapi]}\n", `tickets: "jsapi" is not a ticket of an account with source oauth2: known are none`},
		"a ticket twice":                              {"accounts:\n- {name: wx1, secret_env: S, tickets: [jsapi, jsapi]}\n", `account "wx1.jsapi" is listed before`},
		"a ticket's name that is taken":               {"accounts:\n- {name: wx1, secret_env: S, tickets: [jsapi]}\n- {name: wx1.jsapi, secret_env: S2}\n", `account "wx1.jsapi" is listed before`},
		"api_base where it does nothing":              {oneClient + ", api_base: \"https://x.example.com\"}\n", `account "crm": api_base: an account with source oauth2 has no such field: remove it`},
		"one secret in two accounts":                  {oneApp + "- {name: work2, source: wecom, corpid: ww1, secret_env: S}\n", "the secret is used with the same source before"},
		"one credential in two accounts":              {"accounts:\n- {name: a, source: http, preset: getui, app_id: i, app_key: k, master_secret_env: S}\n- {name: b, source: http, preset: getui, app_id: i, app_key: k, master_secret_env: S}\n", `zk.yaml:3: account "b": the credential is used with the same source before, at `},
		"one client in two accounts":                  {oneClient + ", repeat: kills}\n- {name: crm2" + oneClient[len("accounts:\n- {name: crm"):] + ", repeat: kills}\n", `account "crm2": the credential is used with the same source before`},
		"pages where nothing is signed":               {oneClient + ", pages: [www.example.com]}\n", `account "crm": pages: an account with source oauth2 has no JS-SDK ticket: remove it`},
		"a page instead of a host":                    {"accounts:\n- {name: wx1, secret_env: S, tickets: [jsapi], pages: [\"https://www.example.com/\"]}\n", `account "wx1": pages: `},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, test.yaml, nil, map[string]string{"S": appSecret, "S2": "another"})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Load() = %v\nwant %q", err, test.want)
			}
			if strings.Contains(err.Error(), appSecret) {
				t.Errorf("the error holds the secret: %v", err)
			}
		})
	}
}

func TestAccountsWhoseCallsEndNoOthersTokenAreAccepted(t *testing.T) {
	again := func(rest string) string {
		return "- {name: crm2" + oneClient[len("accounts:\n- {name: crm"):] + rest + "}\n"
	}
	mustLoad(t, oneClient+"}\n"+again(""), nil, vars)                                                         // keeps
	mustLoad(t, oneClient+", repeat: kills, scopes: [a]}\n"+again(", repeat: kills, scopes: [b]"), nil, vars) // other tokens
	mustLoad(t, "accounts:\n- {name: a, source: http, preset: baidu, client_id: c, client_secret_env: S}\n"+
		"- {name: b, source: http, preset: baidu, client_id: c, client_secret_env: S}\n", nil, vars)
}

func TestNoFormOfASecretIsInAnError(t *testing.T) {
	const pem = "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\\n-----END PRIVATE KEY-----"
	for _, yaml := range []string{
		"accounts:\n- {name: g, source: github_app, app_id: '1', installation_id: '2', private_key: \"" + pem + "\"}\n",
		"accounts:\n- {name: g, source: google_service_account, scopes: [a], key: '{\"type\": \"service_account\", \"client_email\": \"a@b.c\", \"private_key\": \"" + appSecret + "\"}'}\n",
		"accounts:\n- {name: h, source: http, preset: getui, master_secret: \"" + appSecret + "\"}\n",
		"accounts:\n- {name: h, source: http, preset: getui, master_secret: [" + appSecret + "]}\n",
		"accounts:\n- {name: h, source: oauth2, client_secret: {a: " + appSecret + "}}\n",
		oneClient + ", client_secret: " + appSecret + "}\n",
	} {
		_, err := load(t, yaml, nil, vars)
		if err == nil {
			t.Errorf("%s is accepted", yaml)
			continue
		}
		if strings.Contains(err.Error(), appSecret) || strings.Contains(err.Error(), "MIIEvQIB") {
			t.Errorf("the error holds the secret: %v", err)
		}
	}
}

func TestAccountsTakeEffectWithoutAStart(t *testing.T) {
	before := mustLoad(t, oneWeChat, nil, vars)
	for _, yaml := range []string{
		oneApp, oneWeChat + "- {name: t, source: jsapi_ticket, of: wx1}\n",
		"accounts:\n- {name: wx1, secret_env: S, pages: [a.example.com], tickets: [jsapi], label: x, refresh_every: 30m}\n",
	} {
		if fixed := mustLoad(t, yaml, nil, vars).Fixed(before); len(fixed) > 0 {
			t.Errorf("%s: only at the next start: %v", yaml, fixed)
		}
	}
}
