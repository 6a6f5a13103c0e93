package main

import (
	"fmt"
	"strings"
	"testing"
)

// routed is a bench whose servers have a route, and an account with a ticket.
func routed(t *testing.T) *bench {
	t.Helper()
	return routedOn(newBench(t), "secret_env: S")
}

// routedOn is b with another field of the account.
func routedOn(b *bench, field string) *bench {
	b.t.Helper()
	path := b.file("zk.yaml", fmt.Sprintf(`
accounts:
- {name: shop, appid: %s, api_base: '%s', tickets: [jsapi], %s}
routes:
- {name: wx, account: shop}
`, appID, b.base, field))
	return b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", secret, "ZHONGKONG_API_BASE", "", "ZHONGKONG_CONFIG", path)
}

func (b *bench) formerKey() string { return b.env["ZHONGKONG_PREFIX"] + ":{shop}:former" }

// accepts reports whether a route and the ticket's endpoint take a token.
func (d *daemonRun) accepts(token string) bool {
	d.b.t.Helper()
	call := d.asked("/proxy/wx/cgi-bin/getcallbackip?access_token=" + token)
	ticket := d.asked("/cgi-bin/ticket/getticket?type=jsapi&access_token=" + token)
	passed := call["ip_list"] != nil
	if passed != (ticket["errcode"] == 0.0) || !passed && call["errcode"] != 40001.0 {
		d.b.t.Errorf("the route answers %v, the ticket's endpoint %v", call["errcode"], ticket["errcode"])
	}
	return passed
}

func TestAFormerTokenPassesAfterARestartAndOnANewServer(t *testing.T) {
	b := routed(t)
	kept := func() int64 { return sharedRedis.MustDo(t, "zcard", b.formerKey()).(int64) }
	ready := func() *daemonRun {
		d := b.serve()
		b.eventually("the tokens", func() bool { return d.current("shop") != "<nil>" && d.current("shop.jsapi") != "<nil>" })
		return d
	}
	one := ready()
	old := one.current("shop")
	one.send(ops, "POST", "/v1/tokens/shop/refresh", "")
	if one.current("shop") == old {
		t.Fatal("the token was not refreshed")
	}
	b.eventually("both tokens to be kept", func() bool { return kept() == 2 })
	if members := fmt.Sprint(sharedRedis.MustDo(t, "zrange", b.formerKey(), 0, -1)); strings.Contains(members, old) {
		t.Error("the token itself is kept")
	}
	if !one.accepts(old) {
		t.Error("the server that gave it out refuses the former token")
	}
	one.stop()

	one = ready()
	two := ready()
	for name, d := range map[string]*daemonRun{"after the restart": one, "on a new server": two} {
		if !d.accepts(old) {
			t.Errorf("the former token is refused %s", name)
		}
		if d.accepts(strings.Repeat("x", len(old))) {
			t.Errorf("a string that was never a token passes %s", name)
		}
	}

	sharedRedis.MustDo(t, "del", b.formerKey())
	if three := ready(); three.accepts(old) {
		t.Error("the former token passes though no server of the fleet tells of it")
	}
	if !two.accepts(old) {
		t.Error("a server that accepted the former token has forgotten it")
	}
}

// A server without the account's secret has no key for the hashes.
func TestAServerWithoutTheSecretKnowsOnlyTheTokensThatItSaw(t *testing.T) {
	b := routed(t)
	d := b.serve()
	b.eventually("the tokens", func() bool { return d.current("shop") != "<nil>" && d.current("shop.jsapi") != "<nil>" })
	old := d.current("shop")
	d.send(ops, "POST", "/v1/tokens/shop/refresh", "")
	b.eventually("both tokens to be kept", func() bool { return sharedRedis.MustDo(t, "zcard", b.formerKey()) == int64(2) })
	kept := fmt.Sprint(sharedRedis.MustDo(t, "zrange", b.formerKey(), 0, -1, "withscores"))
	d.stop()

	without := routedOn(b, "").serve()
	b.eventually("the tokens", func() bool { return without.current("shop") != "<nil>" && without.current("shop.jsapi") != "<nil>" })
	if without.accepts(old) || !without.accepts(without.current("shop")) {
		t.Error("it accepts the former token, or refuses the current one")
	}
	if now := fmt.Sprint(sharedRedis.MustDo(t, "zrange", b.formerKey(), 0, -1, "withscores")); now != kept {
		t.Error("it has changed what is kept")
	}
	if text := without.stop().stderr; strings.Contains(text, "token not") {
		t.Errorf("it complains:\n%s", text)
	}
}
