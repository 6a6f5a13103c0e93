package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// posted is the members of the answer of d to an SDK that posts fields, pairs of names
// and values.
func (d *daemonRun) posted(path string, fields ...string) map[string]any {
	d.b.t.Helper()
	all := make(map[string]string)
	for i := 0; i < len(fields); i += 2 {
		all[fields[i]] = fields[i+1]
	}
	body, err := json.Marshal(all)
	if err != nil {
		d.b.t.Fatal(err)
	}
	_, members := d.send("", "POST", path, string(body))
	return members
}

// The SDKs know a platform and a suite by its ID, and the accounts have other names.
func TestSDKsOfPlatformsAndSuitesGetTheTokensOfTheirMembers(t *testing.T) {
	b := newBench(t)
	line, _ := b.sealKey()
	hash := strings.TrimSpace(b.feed(opsPassword, "passwd").stdout)
	config := `accounts:
- {name: tp, source: wechat_platform, appid: ` + platformID + `}
- {name: suite, source: wecom_suite, suite_id: ` + suiteID + `}
- {name: ` + appID + `}
users:
- {name: ops, password: '` + hash + `', accounts: '*', refresh: true}
- {name: veil, password: '` + hash + `', accounts: '*', phantom: true}
- {name: one, password: '` + hash + `', accounts: [tp, suite]}
`
	d := b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_USERS", "", "ZHONGKONG_API_BASE", "",
		"ZHONGKONG_SEAL_KEY_FILE", b.file("seal.keys", line), "ZHONGKONG_CONFIG", b.file("zk.yaml", config)).serve("--sandbox")
	const (
		componentPath  = "/cgi-bin/component/api_component_token"
		authorizerPath = "/cgi-bin/component/api_authorizer_token?component_access_token="
		suitePath      = "/cgi-bin/service/get_suite_token"
		corpPath       = "/cgi-bin/service/get_corp_token?suite_access_token="
	)
	key := func(who string) string { return who + "~" + opsPassword }
	member, corp := sandboxAuthorizer, suiteID+"."+sandboxCorp
	for _, name := range []string{"tp", "suite", member, corp} {
		b.eventually("a token of "+name, func() bool { return d.token(name) != "" })
	}
	component := func(who, id string) string {
		return fmt.Sprint(d.posted(componentPath, "component_appid", id, "component_appsecret", key(who))["component_access_token"])
	}
	suite := func(who, id string) string {
		return fmt.Sprint(d.posted(suitePath, "suite_id", id, "suite_secret", key(who))["suite_access_token"])
	}
	authorizer := func(who, token, id string) map[string]any {
		return d.posted(authorizerPath+url.QueryEscape(token), "authorizer_appid", id, "authorizer_refresh_token", key(who))
	}
	corpToken := func(who, token, id string) map[string]any {
		return d.posted(corpPath+url.QueryEscape(token), "auth_corpid", id, "permanent_code", key(who))
	}
	for _, id := range []string{platformID, "tp"} {
		if got := component("ops", id); got != d.token("tp") {
			t.Errorf("the platform as %s: %s", id, got)
		}
	}
	for _, id := range []string{suiteID, "suite"} {
		if got := suite("ops", id); got != d.token("suite") {
			t.Errorf("the suite as %s: %s", id, got)
		}
	}
	ofPlatform, ofSuite := d.token("tp"), d.token("suite")
	if got := authorizer("ops", ofPlatform, member); got["authorizer_access_token"] != d.token(member) || got["authorizer_refresh_token"] != key("ops") {
		t.Errorf("the authorizer: %v", got)
	}
	if got := corpToken("ops", ofSuite, sandboxCorp); got["access_token"] != d.token(corp) || got["errcode"] != nil {
		t.Errorf("the corp: %v", got)
	}
	for what, got := range map[string]map[string]any{
		"an authorizer for a phantom": authorizer("veil", component("veil", platformID), member),
		"a corp for a phantom":        corpToken("veil", suite("veil", suiteID), sandboxCorp),
	} {
		if token := fmt.Sprint(got["authorizer_access_token"], got["access_token"]); !strings.Contains(token, "zk_") {
			t.Errorf("%s: %v", what, got)
		}
	}
	d.send(opsName+":"+opsPassword, "POST", "/v1/tokens/tp/refresh", "")
	if got := authorizer("ops", ofPlatform, member); got["authorizer_access_token"] != d.token(member) {
		t.Errorf("with an older token of the platform: %v", got)
	}
	for what, c := range map[string]struct {
		got  map[string]any
		code float64
	}{
		"an authorizer of somebody else":    {authorizer("one", component("one", platformID), member), 61003},
		"an account that is no authorizer":  {authorizer("ops", ofPlatform, appID), 61003},
		"an authorizer by a suite's token":  {authorizer("ops", ofSuite, member), 61003},
		"an authorizer by its own token":    {authorizer("ops", d.token(member), member), 40001},
		"a corp of somebody else":           {corpToken("one", suite("one", suiteID), sandboxCorp), 40084},
		"a corp by a platform's token":      {corpToken("ops", ofPlatform, sandboxCorp), 40084},
		"a corp by a token that is unknown": {corpToken("ops", "never-issued", sandboxCorp), 40082},
		"a suite as a platform":             {d.posted(componentPath, "component_appid", suiteID, "component_appsecret", key("ops")), 61011},
		"a platform as a suite":             {d.posted(suitePath, "suite_id", platformID, "suite_secret", key("ops")), 40083},
	} {
		if c.got["errcode"] != c.code {
			t.Errorf("%s: %v, want %v", what, c.got, c.code)
		}
	}
}
