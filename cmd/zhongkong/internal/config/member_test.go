package config_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
)

const oneSuite = "seal_key_file: keys\naccounts:\n- {name: tools, source: wecom_suite, suite_id: ww1, secret_env: S, callback_token: t, " +
	"encoding_aes_key: jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C, tickets: [corp, agent], pages: [www.example.com], label: Tools"

func TestMembersHaveTicketsAndPagesOfTheirAccount(t *testing.T) {
	c := mustLoad(t, oneSuite+"}\n", nil, vars)
	if len(c.Accounts) != 1 {
		t.Fatalf("%d accounts, want the suite alone: the tickets are those of its corps", len(c.Accounts))
	}
	suite, _ := c.Account("tools")
	accounts, err := c.Members(suite, "ww1.wwcorp")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range accounts {
		names = append(names, a.Name+" "+a.Source)
	}
	want := []string{"ww1.wwcorp wecom_suite_corp", "ww1.wwcorp.corp wecom_jsapi_ticket", "ww1.wwcorp.agent wecom_agent_ticket"}
	if !slices.Equal(names, want) {
		t.Errorf("the accounts of a corp are %q, want %q", names, want)
	}
	corp := accounts[0]
	if corp.Text("corpid") != "wwcorp" || corp.Of != "tools" || corp.Label != "Tools" || corp.Pages[0] != "www.example.com" || corp.RefreshEvery != 2*time.Hour {
		t.Errorf("the corp's account is %+v", corp)
	}
	with := c.With(accounts)
	if _, there := with.Account("ww1.wwcorp.agent"); !there || len(c.Accounts) != 1 {
		t.Error("With() has changed the configuration, or has not added the accounts to the copy")
	}
	custom := mustLoad(t, strings.Replace(oneSuite, "suite_id: ww1", "suite_id: dk1", 1)+"}\n", nil, vars)
	template, _ := custom.Account("tools")
	if accounts, err = custom.Members(template, "dk1.wwcorp"); err != nil || accounts[0].Source != sources.WeComCustomApp {
		t.Errorf("the account of a corp of a template is %+v, %v", accounts, err)
	}
}

func TestTheNameOfANamedAuthorizerIsNotAnothers(t *testing.T) {
	const platform = "seal_key_file: keys\naccounts:\n- {name: tp, source: wechat_platform, appid: wx0, secret_env: S, callback_token: t, " +
		"encoding_aes_key: jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C, tickets: [jsapi], authorizers: "
	for yaml, want := range map[string]string{
		platform + "[wx1]}\n- {name: wx1, secret_env: S}\n": `zk.yaml:4: account "wx1" has the name of one that appears by itself, because of account "tp": ` +
			"give that one another name, and this one as its AppID (name: OTHER, appid: wx1)",
		platform + "[wx1]}\n- {name: wx1.jsapi, source: oauth2, client_id: c, client_secret_env: S, token_url: \"https://x.example.com/\"}\n": `account "wx1.jsapi" has the name of one`,
		oneSuite + ", authorizers: [wwcorp]}\n- {name: ww1.wwcorp, source: wecom, corpid: wwcorp, secret_env: S}\n":                           `account "ww1.wwcorp" has the name of one`,
		platform + "[wx1]}\n- {name: shop, appid: wx1, secret_env: S}\n- {name: wx1.card, secret_env: S}\n":                                   "",
		platform + "'*'}\n- {name: wx1, secret_env: S}\n":                                                                                     "",
	} {
		_, err := load(t, yaml, nil, vars)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s\nLoad() = %v\nwant %q", yaml, err, want)
		}
	}
}

func TestCallersMayBeGivenMembersThatAreNotThereYet(t *testing.T) {
	user := func(account string) string {
		return oneSuite + "}\nusers:\n- {name: portal, password: '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g', accounts: [" + account + "]}\n"
	}
	mustLoad(t, user("ww1.wwcorp"), nil, vars)
	if _, err := load(t, user("ww2.wwcorp"), nil, vars); err == nil || !strings.Contains(err.Error(), "not among the accounts") {
		t.Errorf("Load() with the corp of another suite = %v", err)
	}
}

func TestTheAuthorizersThatGetAccountsAreAListOrAll(t *testing.T) {
	for given, want := range map[string][]string{"": nil, `, authorizers: "*"`: nil, ", authorizers: [wwa, wwb]": {"wwa", "wwb"}} {
		a, _ := mustLoad(t, oneSuite+given+"}\n", nil, vars).Account("tools")
		if got := sources.Authorizers(a.Values()); !slices.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("authorizers%s are %q, want %q", given, got, want)
		}
	}
}
