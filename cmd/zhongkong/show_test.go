package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

func TestShowPrintsTheTokenAloneAndFetchesItOnce(t *testing.T) {
	b := newBench(t)
	first := b.must("show")
	if want := b.wechat.Issued()[0].Token + "\n"; first != want {
		t.Errorf("show = %q, want %q", first, want)
	}
	if second := b.must("show", appID); second != first {
		t.Errorf("the second show = %q, want %q", second, first)
	}
	if n := b.calls(); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
	if again := b.reader().must("show"); again != first {
		t.Errorf("a reader's show = %q, want %q", again, first)
	}
}

func TestShowJSONIsTheWholeRecord(t *testing.T) {
	b := newBench(t)
	b.must("show")
	for _, args := range [][]string{{"show", "--json"}, {"show", appID, "--json"}} {
		var r wire.Token
		stdout := b.must(args...)
		if err := json.Unmarshal([]byte(stdout), &r); err != nil {
			t.Fatal(err)
		}
		if again, err := json.Marshal(r); err != nil || string(again)+"\n" != stdout {
			t.Errorf("%v prints %s, which is not the form of wire.Token: %s", args, stdout, again)
		}
		if r.Name != appID || r.AccessToken != b.wechat.Issued()[0].Token || r.Generation == 0 || r.IssuedBy == "" || r.Stale {
			t.Errorf("%v = %+v", args, r)
		}
		if r.ExpiresIn < 7100 || r.ExpiresIn > 7200 {
			t.Errorf("expires_in = %d, want nearly 7200", r.ExpiresIn)
		}
		if at, err := time.Parse(time.RFC3339, r.ExpiresAt.String()); err != nil || time.Until(at) > 2*time.Hour {
			t.Errorf("expires_at = %q", r.ExpiresAt)
		}
	}
}

func TestShowSaysWhyThereIsNoToken(t *testing.T) {
	t.Run("a reader without a refresher: 3, within the wait", func(t *testing.T) {
		b := newBench(t)
		began := time.Now()
		b.with("ZHONGKONG_SECRET", "").fails(exitNoToken, "no process with the account's secret answered", "show", "--wait", "300ms")
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it took %v, want about 300ms", took)
		}
	})
	t.Run("a wrong secret: 4, at once", func(t *testing.T) {
		b := newBench(t).with("ZHONGKONG_SECRET", "ffffffffffffffffffffffffffffffff")
		began := time.Now()
		b.fails(exitRefused, "40125", "show")
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v, want less than 1s", took)
		}
		b.fails(exitRefused, "40125", "show") // remembered
		if n := b.calls(); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
	})
	t.Run("no Redis: 5", func(t *testing.T) {
		b := newBench(t)
		b.with("ZHONGKONG_REDIS", "redis://127.0.0.1:1").fails(exitUnreachable, "Check that Redis at 127.0.0.1:1 is up", "show")
		b.with("ZHONGKONG_REDIS", "redis://:hunter2@127.0.0.1:1").fails(exitUnreachable, "127.0.0.1:1", "show")
		if r := b.with("ZHONGKONG_REDIS", "redis://:hunter2@127.0.0.1:1").run("show"); strings.Contains(r.stderr, "hunter2") {
			t.Errorf("Redis's password is shown: %s", r.stderr)
		}
		if n := b.calls(); n != 0 {
			t.Errorf("%d calls without a store, want none", n)
		}
	})
	t.Run("an issuer that answers garbage: 3", func(t *testing.T) {
		b := newBench(t)
		b.inject(wechattest.Fault{Kind: wechattest.FaultHTML, Phase: wechattest.Before})
		b.fails(exitNoToken, "a page instead of JSON", "show", "--wait", "500ms")
	})
	t.Run("garbage does not take a current token away", func(t *testing.T) {
		b := newBench(t)
		token := b.must("show")
		b.inject(wechattest.Fault{Kind: wechattest.FaultEmpty, Phase: wechattest.Before})
		if r := b.run("refresh", "--wait", "1s"); r.code != exitOther {
			t.Errorf("refresh = %d, want %d: %s", r.code, exitOther, r.stderr)
		}
		if got := b.must("show"); got != token {
			t.Errorf("show = %q, want the current token", got)
		}
	})
}

func TestANameMayBeLeftOutWhenThereIsOneAccount(t *testing.T) {
	b := newBench(t)
	b.reader().fails(exitUsage, "no account is configured and Redis at", "show", "--wait", "200ms")
	b.reader().fails(exitUsage, "no account is configured and Redis at", "status")
	b.must("show")
	b.reader().must("show")
	two := b.file("zk.yaml", "accounts:\n- {appid: "+appID+", secret_env: S}\n- {appid: wxother}\n")
	both := b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", secret, "ZHONGKONG_CONFIG", two)
	both.fails(exitUsage, appID+", wxother", "show")
	both.must("show", appID)
	if err := b.wechat.AddAccount(wechattest.Account{AppID: "wxsecond", Secret: secret}); err != nil {
		t.Fatal(err)
	}
	b.with("ZHONGKONG_APPID", "wxsecond").must("show")
	b.reader().fails(exitUsage, appID+", wxsecond", "show")
	b.fails(exitUsage, "one NAME", "show", "a", "b")
}

func TestRefreshForcesANewToken(t *testing.T) {
	b := newBench(t)
	old := b.must("show")
	fresh := b.must("refresh")
	if fresh == old || fresh != b.wechat.Issued()[1].Token+"\n" {
		t.Errorf("refresh = %q, want the token issued second", fresh)
	}
	if got := b.must("show"); got != fresh {
		t.Errorf("show = %q, want %q", got, fresh)
	}
}

func TestRefreshIfTokenOnlyReplacesTheCurrentOne(t *testing.T) {
	b := newBench(t)
	first := b.must("show")
	second := b.must("refresh", "--if-token", strings.TrimSpace(first))
	if second == first {
		t.Fatal("the report of the current token changed nothing")
	}
	calls := b.calls()
	for name, r := range map[string]ran{
		"an argument": b.run("refresh", "--if-token", strings.TrimSpace(first)),
		"stdin":       b.feed(first, "refresh", "--if-token", "-"),
		"a variable":  b.with(envIfToken, strings.TrimSpace(first)).run("refresh"),
	} {
		if r.code != exitDone || r.stdout != second {
			t.Errorf("a late report by %s = %d %q, want the current token", name, r.code, r.stdout)
		}
	}
	if n := b.calls(); n != calls {
		t.Errorf("late reports caused %d calls", n-calls)
	}
	if r := b.feed("\n", "refresh", "--if-token", "-"); r.code != exitUsage {
		t.Errorf("an empty token = %d, want %d", r.code, exitUsage)
	}
}

func TestRefreshBeyondTheBudgetIsThrottled(t *testing.T) {
	b := newBench(t)
	cfg := b.file("zk.yaml", "budget: {per_day: 30, reserve: 28, min_interval: 1ms}\n")
	b = b.with("ZHONGKONG_CONFIG", cfg)
	b.must("show")
	b.must("refresh")
	b.fails(exitThrottled, "daily budget until", "refresh")
	b.must("show")
}

func TestAnUnknownNameIsReportedAsUnknown(t *testing.T) {
	b := newBench(t)
	b.must("show")
	b = b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "")
	for _, args := range [][]string{
		{"status", "wxnone"}, {"status", appID, "wxnone"}, {"history", "wxnone"}, {"show", "wxnone", "--wait", "200ms"}, {"refresh", "wxnone", "--wait", "200ms"},
	} {
		r := b.fails(exitUsage, `no account "wxnone" is configured, and Redis at `, args...)
		if !strings.Contains(r.stderr, "it has "+appID) || strings.Contains(r.stderr, "context") || r.stdout != "" {
			t.Errorf("%v: %s%s", args, r.stdout, r.stderr)
		}
	}
	b.must("status", appID)
	b.must("history", appID)
}

func TestAWaitThatEndsIsSaidInWords(t *testing.T) {
	r := newBench(t).with("ZHONGKONG_SECRET", "").fails(exitNoToken, "in time: no process with the account's secret answered", "show", "--wait", "200ms")
	if strings.Contains(r.stderr, "context") {
		t.Errorf("it speaks of Go: %s", r.stderr)
	}
}

func TestShowFromTheSandboxNeedsNothing(t *testing.T) {
	b := newBench(t)
	calls := b.calls()
	for name, value := range map[string]string{
		"ZHONGKONG_REDIS": "rediss://127.0.0.1:1", "ZHONGKONG_REDIS_CA": b.file("none.pem", ""), "ZHONGKONG_SECRET": "",
	} {
		b.env[name] = value
	}
	first, second := b.must("show", "--sandbox"), b.must("show", "--sandbox", appID)
	if len(first) < 100 || len(second) < 100 || first == second {
		t.Errorf("show --sandbox prints %q, then %q; want tokens of two simulators", first, second)
	}
	if b.calls() != calls {
		t.Error("it has asked the configured issuer")
	}
}
