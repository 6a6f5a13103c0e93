package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// findings runs doctor and returns what it found, by check; of several the
// worst.
func (b *bench) findings(wantCode int, args ...string) map[string]finding {
	b.t.Helper()
	r := b.run(append([]string{"doctor", "--json"}, args...)...)
	if r.code != wantCode {
		b.t.Fatalf("doctor = %d, want %d\n%s%s", r.code, wantCode, r.stdout, r.stderr)
	}
	var list []finding
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		b.t.Fatal(err)
	}
	worst := map[string]finding{}
	for _, f := range list {
		if old, found := worst[f.Check]; !found || old.Result == resultOK || f.Result == resultFail {
			worst[f.Check] = f
		}
	}
	return worst
}

// finds fails the test unless the check ended so, with these words.
func finds(t *testing.T, all map[string]finding, check, result, words string) {
	t.Helper()
	f, found := all[check]
	if !found || f.Result != result || !strings.Contains(f.Detail+" "+f.Fix, words) {
		t.Errorf("%s = %+v, want %s and %q", check, f, result, words)
	}
}

func TestDoctorFindsNothingWrongWithAGoodDeployment(t *testing.T) {
	b := newBench(t)
	b.must("show")
	calls := b.calls()
	all := b.findings(exitDone)
	for check, f := range all {
		if f.Result != resultOK {
			t.Errorf("%s = %+v, want ok", check, f)
		}
	}
	for _, check := range []string{"configuration", "redis", "version", "eviction", "replication", "clock", "rights", "secret", "token", "schedule", "conflicts", "budget"} {
		if _, done := all[check]; !done {
			t.Errorf("%s was not checked", check)
		}
	}
	if n := b.calls(); n != calls {
		t.Errorf("doctor minted %d classic tokens", n-calls)
	}
	text := b.must("doctor")
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "ok  ") {
			t.Errorf("a line without its result: %q", line)
		}
	}
}

func TestDoctorNamesThePlaceInTheUsersFile(t *testing.T) {
	b := newBench(t)
	path := b.file("users.yaml", "\n- {name: app, password: $x, accounts: '*'}\n")
	finds(t, b.with("ZHONGKONG_USERS_FILE", path).findings(exitOther), "configuration", resultFail, path+`:2: user "app": password: is not`)
	b.rewrite(path, "\n- {namee: app}\n")
	b.with("ZHONGKONG_USERS_FILE", path).fails(exitUsage, path+":2: users[0].namee: unknown field", "doctor")
}

func TestDoctorSaysThatNobodyKnowsANamedAccount(t *testing.T) {
	b := newBench(t)
	b.must("show")
	all := b.findings(exitOther, "wx-nope")
	finds(t, all, "token", resultFail, `no account "wx-nope" is configured, and Redis at `)
	finds(t, all, "token", resultFail, "it has "+appID)
	finds(t, all, "token", resultFail, "give the NAME of an account that is there")
	if f, found := all["budget"]; found {
		t.Errorf("budget = %+v", f)
	}
}

func TestDoctorHoldsTheRefusalOfAnotherSecretAgainstNone(t *testing.T) {
	b := newBench(t)
	b.must("show")
	wrong := b.with("ZHONGKONG_SECRET", wrongSecret)
	wrong.fails(exitRefused, "40125", "refresh")
	finds(t, b.findings(exitDone), "last call", resultOK, "the issuer refused another AppSecret than the one here")
	finds(t, wrong.findings(exitOther), "last call", resultWarn, "1 in a row: 40125")
}

func TestDoctorFetchesAFirstToken(t *testing.T) {
	b := newBench(t)
	finds(t, b.findings(exitDone), "refresh", resultOK, "one was fetched")
	if n := b.calls(); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

func TestDoctorFindsWhatIsWrongWithTheAccount(t *testing.T) {
	t.Run("a wrong secret", func(t *testing.T) {
		b := newBench(t)
		b.must("show")
		wrong := b.with("ZHONGKONG_SECRET", "ffffffffffffffffffffffffffffffff")
		finds(t, wrong.findings(exitOther), "secret", resultFail, "40125")
		if r := wrong.run("doctor"); !strings.Contains(r.stdout, "-> set the AppSecret") {
			t.Errorf("doctor does not say what to do:\n%s", r.stdout)
		}
		if n := b.calls(); n != 1 {
			t.Errorf("%d classic calls, want 1", n)
		}
	})
	t.Run("an address that is not on the whitelist", func(t *testing.T) {
		b := newBench(t)
		if err := b.wechat.SetWhitelist(appID, []string{"9.9.9.9"}); err != nil {
			t.Fatal(err)
		}
		b.wechat.Advance(time.Hour) // takes effect by and by
		finds(t, b.findings(exitOther), "whitelist", resultFail, "127.0.0.1")
	})
	t.Run("a token that the issuer rejects, and another program that refreshes", func(t *testing.T) {
		b := newBench(t)
		token := b.must("show")
		for range 2 {
			if _, err := b.wechat.Rogue(appID, wechattest.ClassicChain); err != nil {
				t.Fatal(err)
			}
		}
		finds(t, b.findings(exitOther), "token", resultFail, "rejects")
		b.must("refresh", "--if-token", strings.TrimSpace(token))
		all := b.findings(exitOther)
		finds(t, all, "conflicts", resultFail, "outside program refreshes")
		finds(t, all, "token", resultOK, "accepts")
	})
	t.Run("an account that no process refreshes", func(t *testing.T) {
		b := newBench(t)
		all := b.with("ZHONGKONG_SECRET", "").findings(exitOther)
		finds(t, all, "token", resultFail, "zhongkong serve")
	})
	t.Run("a budget that is used up", func(t *testing.T) {
		b := newBench(t)
		b = b.with("ZHONGKONG_CONFIG", b.file("zk.yaml", "budget: {per_day: 30, reserve: 29}\n"))
		b.must("show")
		finds(t, b.findings(exitOther), "budget", resultFail, "1 of 30")
	})
	t.Run("the budget of an account that is only read here", func(t *testing.T) {
		b := newBench(t)
		b.must("show")
		reader := b.with("ZHONGKONG_SECRET", "")
		finds(t, reader.findings(exitDone), "budget", resultOK, "calls in the present period: 1; the processes that refresh the account know the limit")
		if out := reader.must("status"); strings.Contains(out, "1/2000") {
			t.Errorf("status of a reader:\n%s", out)
		}
		limited := b.with("ZHONGKONG_SECRET", "", "ZHONGKONG_APPID", "", "ZHONGKONG_CONFIG",
			b.file("zk.yaml", "accounts:\n- {name: "+appID+", limits: {per_day: 40}}\n"))
		finds(t, limited.findings(exitDone), "budget", resultOK, "1 of 40 calls today")
		if out := limited.must("status"); !strings.Contains(out, "1/40") {
			t.Errorf("status of a reader whose configuration has the limit:\n%s", out)
		}
	})
	t.Run("a secret that others can read", func(t *testing.T) {
		b := newBench(t)
		b.must("show")
		path := b.file("secret", secret)
		b.must("show", "--secret-file", path)
		chmod(t, path, 0o644)
		finds(t, b.with("ZHONGKONG_SECRET_FILE", path, "ZHONGKONG_SECRET", "").findings(exitDone), "configuration", resultWarn, "chmod 600")
	})
}

func TestDoctorFindsWhatIsWrongWithRedis(t *testing.T) {
	b := newBench(t)
	t.Run("no server", func(t *testing.T) {
		finds(t, b.with("ZHONGKONG_REDIS", "redis://127.0.0.1:1").findings(exitOther), "redis", resultFail, "cannot be reached")
	})
	t.Run("a policy that evicts", func(t *testing.T) {
		server := redistest.Start(t, "--maxmemory 100mb", "--maxmemory-policy volatile-lru")
		finds(t, b.with("ZHONGKONG_REDIS", server.URL()).findings(exitOther), "eviction", resultFail, "noeviction")
	})
	t.Run("rights that are missing", func(t *testing.T) {
		server := redistest.Start(t)
		all := b.asUser(server, "app", "allkeys", "allchannels", "+@all", "-zadd", "-publish").findings(exitOther)
		finds(t, all, "rights", resultFail, "+zadd")
		finds(t, all, "rights", resultFail, "+publish")
		finds(t, b.with("ZHONGKONG_REDIS", "redis://app:wrong@"+server.Addr()).findings(exitOther), "redis", resultFail, "password")
	})
	t.Run("rights that are all missing take one round", func(t *testing.T) {
		server := redistest.Start(t)
		here := b.asUser(server, "app", "+ping", "+info", "~mine:*")
		var command []any
		for word := range strings.FieldsSeq(strings.Replace(here.findings(exitOther)["rights"].Fix, "<user>", "app", 1)) {
			command = append(command, word)
		}
		server.MustDo(t, command...)
		finds(t, here.findings(exitDone), "rights", resultOK, "all rights that a refresher needs")
		if user := fmt.Sprint(server.MustDo(t, "ACL", "GETUSER", "app")); !strings.Contains(user, "+info") || !strings.Contains(user, "~mine:*") {
			t.Errorf("what the user had before is gone: %s", user)
		}
	})
	t.Run("a replica, and a master whose replicas are not waited for", func(t *testing.T) {
		master := redistest.Start(t)
		replica := redistest.Start(t, "--replicaof 127.0.0.1 "+master.Addr()[len("127.0.0.1:"):])
		finds(t, b.with("ZHONGKONG_REDIS", replica.URL()).findings(exitOther), "replication", resultFail, "is a replica")
		here := b.with("ZHONGKONG_REDIS", master.URL())
		b.eventually("the replica to connect", func() bool {
			return strings.Contains(master.MustDo(t, "INFO", "replication").(string), "state=online")
		})
		finds(t, here.findings(exitOther), "replication", resultFail, "replicas: 1")
		waits := here.with("ZHONGKONG_CONFIG", b.file("zk.yaml", "replicas: 1\n"))
		finds(t, waits.findings(exitDone), "replication", resultOK, "waits for 1")
	})
}

// refusing is an address in front of the server at which these commands are refused
// with these words.
func refusing(t *testing.T, server *redistest.Server, words string, commands ...string) string {
	t.Helper()
	return redistest.StartProxy(t, server, func(command []string) string {
		if slices.Contains(commands, strings.ToLower(command[0])) {
			return words
		}
		return ""
	}).URL()
}

func TestDoctorFindsWhatAManagedRedisRefuses(t *testing.T) {
	b := newBench(t)
	server := redistest.Start(t)
	b.with("ZHONGKONG_REDIS", server.URL()).must("show")
	behind := func(words string, commands ...string) *bench {
		return b.with("ZHONGKONG_REDIS", refusing(t, server, words, commands...))
	}
	t.Run("INFO and CONFIG", func(t *testing.T) {
		all := behind("ERR unknown command", "info", "config").findings(exitDone)
		finds(t, all, "version", resultOK, "Redis 7")
		finds(t, all, "eviction", resultWarn, "INFO")
		finds(t, all, "eviction", resultWarn, "maxmemory-policy is noeviction")
	})
	t.Run("INFO and HELLO", func(t *testing.T) {
		all := behind("ERR unknown command", "info", "hello").findings(exitDone)
		finds(t, all, "version", resultWarn, "does not report it")
	})
	t.Run("INFO to this user", func(t *testing.T) {
		all := b.asUser(server, "app", "allkeys", "allchannels", "+@all", "-info").findings(exitDone)
		finds(t, all, "version", resultOK, "Redis 7")
		finds(t, all, "eviction", resultWarn, "+info")
	})
	t.Run("scripts, by a proxy that looks through them", func(t *testing.T) {
		all := behind("ERR bad lua script for redis cluster, redis.call/pcall unsupported redis command publish", "eval", "evalsha").findings(exitOther)
		finds(t, all, "scripts", resultFail, "script_check_enable")
	})
	t.Run("some scripts, to a user of single accounts", func(t *testing.T) {
		server.MustDo(t, "SCRIPT", "FLUSH")
		server.AddUser(t, "one", append(b.required(coordinator.Refresher, "other", appID), "+info")...)
		proxy := redistest.StartProxy(t, server, func(command []string) string {
			if strings.ToLower(command[0]) == "eval" && strings.Contains(command[1], "'HSET'") {
				return "ERR bad lua script for redis cluster"
			}
			return ""
		})
		all := b.with("ZHONGKONG_REDIS", redistest.AsUser(t, proxy.URL(), "one")).findings(exitOther)
		finds(t, all, "scripts", resultFail, "script_check_enable")
	})
	t.Run("scripts with keys that are not declared", func(t *testing.T) {
		all := behind("ERR Error running script: script tried accessing undeclared key", "eval", "evalsha").findings(exitOther)
		finds(t, all, "scripts", resultFail, "--default_lua_flags=allow-undeclared-keys")
	})
	t.Run("scripts", func(t *testing.T) {
		finds(t, behind("ERR unknown command 'eval'", "eval", "evalsha").findings(exitOther), "scripts", resultFail, "allow EVAL and EVALSHA")
	})
	t.Run("transactions", func(t *testing.T) {
		finds(t, behind("ERR unknown command 'multi'", "multi", "exec").findings(exitDone), "transactions", resultWarn, "+eval")
	})
	t.Run("transactions and scripts, to a reader", func(t *testing.T) {
		reader := behind("ERR unknown command 'multi'", "multi", "exec", "eval", "evalsha").with("ZHONGKONG_SECRET", "")
		finds(t, reader.findings(exitOther), "scripts", resultFail, "like transactions, so tokens cannot be read")
	})
	t.Run("subscriptions", func(t *testing.T) {
		finds(t, behind("ERR unknown command 'subscribe'", "subscribe").findings(exitOther), "subscriptions", resultFail, "instead of through the proxy")
	})
	t.Run("WAIT", func(t *testing.T) {
		waits := behind("ERR unknown command 'wait'", "wait").with("ZHONGKONG_CONFIG", b.file("zk.yaml", "replicas: 1\n"))
		finds(t, waits.findings(exitOther), "replication", resultFail, "set replicas: 0")
	})
}
