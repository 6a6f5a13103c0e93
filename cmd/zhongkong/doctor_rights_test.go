package main

import (
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// asUser makes a Redis user with these rules and returns a bench that uses it.
func (b *bench) asUser(server *redistest.Server, name string, rules ...string) *bench {
	b.t.Helper()
	return b.with("ZHONGKONG_REDIS", server.AddUser(b.t, name, rules...))
}

// required returns the rules of a role for these accounts.
func (b *bench) required(role coordinator.Role, accounts ...string) []string {
	return redisadmin.RequiredACL(b.env["ZHONGKONG_PREFIX"], role, accounts...)
}

func TestDoctorChecksTheRightsToTheAccountsOfTheConfiguration(t *testing.T) {
	server := redistest.Start(t)
	b := newBench(t)
	b.with("ZHONGKONG_REDIS", server.URL()).must("show")
	base := b.env["ZHONGKONG_PREFIX"] + ":{" + appID + "}:"
	for role, c := range map[coordinator.Role]struct {
		b    *bench
		keys string
	}{
		coordinator.Refresher: {b, "~"},
		coordinator.Reader:    {b.with("ZHONGKONG_SECRET", ""), "%R~"},
	} {
		user, rules := string(role), b.required(role, appID)
		here := c.b.asUser(server, user, append(rules, "+info")...)
		shared := c.keys + b.env["ZHONGKONG_PREFIX"] + ":{}:*"
		all := here.findings(exitDone)
		finds(t, all, "rights", resultWarn, "all rights that a "+user+" needs for "+appID)
		finds(t, all, "rights", resultWarn, "each account is read once a minute")
		finds(t, all, "rights", resultWarn, "ACL SETUSER <user> "+shared)
		server.MustDo(t, "ACL", "SETUSER", user, shared)
		finds(t, here.findings(exitDone), "rights", resultOK, "all rights that a "+user+" needs for "+appID)

		for without, want := range map[string]string{
			"+hmget":                 "ACL SETUSER <user> +hmget",
			"&" + base + "refreshed": "ACL SETUSER <user> &" + base + "refreshed",
		} {
			var left []string
			for _, rule := range rules {
				if rule != without {
					left = append(left, rule)
				}
			}
			f := c.b.asUser(server, user, append(left, "+info")...).findings(exitOther)["rights"]
			if f.Result != resultFail || f.Fix != want {
				t.Errorf("%s without %s: %+v, want %s and %q", role, without, f, resultFail, want)
			}
		}
		other := c.b.asUser(server, user, append(b.required(role, "other"), "+info")...).findings(exitOther)
		finds(t, other, "rights", resultFail, c.keys+b.env["ZHONGKONG_PREFIX"]+":{*}:*")
	}
}

func TestDoctorChecksTheRightsToTheAccountsItIsAskedAbout(t *testing.T) {
	server := redistest.Start(t)
	b := newBench(t)
	b.with("ZHONGKONG_REDIS", server.URL()).must("show")
	here := b.reader().asUser(server, "reader", append(b.required(coordinator.Reader, appID), "+info")...)
	finds(t, here.findings(exitDone, appID), "rights", resultWarn, "needs for "+appID)
	finds(t, here.findings(exitOther), "rights", resultFail, "name them: zhongkong doctor NAME")
}
