package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

// withChild is the bench with the account wx1 and its ticket wx1.jsapi.
func (b *bench) withChild() *bench {
	return b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", secret, "ZHONGKONG_CONFIG",
		b.file("zk.yaml", "accounts:\n- {name: wx1, appid: "+appID+", secret_env: S, tickets: [jsapi], pages: [www.example.com]}\n"))
}

// withWeCom is the bench with an app of WeCom and its ticket of the corp.
func (b *bench) withWeCom(secret string) (*bench, *wecomtest.Server) {
	w := wecomtest.New(wecomtest.Config{})
	server := httptest.NewServer(w)
	b.t.Cleanup(server.Close)
	return b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", secret, "ZHONGKONG_CONFIG",
		b.file("zk.yaml", "accounts:\n- {name: work, source: wecom, corpid: "+wecomtest.DefaultCorpID+", secret_env: S, api_base: \""+server.URL+"\", tickets: [corp]}\n")), w
}

func TestAChildIsShownWithItsParent(t *testing.T) {
	b := newBench(t).withChild()
	if out := b.must("status"); !strings.Contains(out, "waits for wx1: coordinator: no token") {
		t.Errorf("status before there is a token:\n%s", out)
	}
	b.inject(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 40125})
	b.fails(exitRefused, "40125", "show", "wx1")
	if out := b.must("status", "wx1.jsapi"); !strings.Contains(out, "waits for wx1: refused 40125: ") {
		t.Errorf("status of a child whose parent is refused:\n%s", out)
	}
	var list []wire.Account
	if err := json.Unmarshal([]byte(b.must("status", "--json", "wx1.jsapi")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Parent != "wx1" || !strings.HasPrefix(list[0].ParentError, "refused 40125: ") {
		t.Errorf("status --json = %+v", list)
	}
}

func TestACommandFetchesATokenForAChild(t *testing.T) {
	b := newBench(t).withChild()
	ticket := strings.TrimSpace(b.must("show", "wx1.jsapi"))
	if ticket == "" || ticket == strings.TrimSpace(b.must("show", "wx1")) {
		t.Errorf("show printed %q for the ticket", ticket)
	}
	if again := b.must("show", "wx1.jsapi"); strings.TrimSpace(again) != ticket {
		t.Errorf("the ticket was %q, and is %q", ticket, again)
	}
	if out := b.must("status"); strings.Contains(out, "waits for") {
		t.Errorf("status of a child with a token:\n%s", out)
	}
}

func TestARepeatedValueIsSaid(t *testing.T) {
	b := newBench(t).withChild()
	ticket := b.must("show", "wx1.jsapi")
	if again := b.must("refresh", "wx1.jsapi"); again != ticket {
		t.Fatalf("the simulator did not repeat the ticket: %q, then %q", ticket, again)
	}
	for _, command := range []string{"status", "history"} {
		if out := b.must(command, "wx1.jsapi"); !strings.Contains(out, repeatedWords) {
			t.Errorf("%s:\n%s", command, out)
		}
	}
}

func TestDoctorChecksAChildAsWhatItIs(t *testing.T) {
	b := newBench(t).withChild()
	all := b.findings(exitOther, "wx1.jsapi")
	finds(t, all, "parent", resultFail, "zhongkong doctor wx1")
	if _, tried := all["source"]; tried {
		t.Errorf("the issuer was asked without the parent's token: %+v", all["source"])
	}
	b.findings(exitDone) // fetches both tokens
	all = b.findings(exitDone, "wx1.jsapi")
	finds(t, all, "parent", resultOK, "wx1 has a token")
	finds(t, all, "source", resultOK, "accepts the token of wx1")
	finds(t, all, "token", resultOK, "the issuer accepts it")
	if _, done := all["conflicts"]; done {
		t.Error("doctor claims to have seen no conflicts, which nothing would show")
	}
}

func TestDoctorChecksAnAccountOfAnotherIssuer(t *testing.T) {
	t.Run("a good one", func(t *testing.T) {
		b, _ := newBench(t).withWeCom(wecomtest.DefaultSecret)
		b.findings(exitDone)
		all := b.findings(exitDone, "work")
		finds(t, all, "secret", resultOK, "accepts the secret")
		finds(t, all, "token", resultOK, "the issuer accepts it")
	})
	t.Run("a wrong secret is sent once", func(t *testing.T) {
		b, w := newBench(t).withWeCom("wrong")
		b.fails(exitRefused, "40001", "show", "work")
		calls := len(w.Calls())
		all := b.findings(exitOther, "work")
		finds(t, all, "secret", resultFail, "the WeCom console")
		if strings.Contains(all["secret"].Detail+all["secret"].Fix, "AppSecret") {
			t.Errorf("advice for WeChat: %+v", all["secret"])
		}
		if n := len(w.Calls()); n != calls {
			t.Errorf("doctor sent the wrong secret %d times more", n-calls)
		}
	})
	t.Run("an address that is blocked", func(t *testing.T) {
		b, w := newBench(t).withWeCom("wrong")
		if err := w.Tune(func(k *wecomtest.Knobs) { k.WrongSecrets = 1 }); err != nil {
			t.Fatal(err)
		}
		b.run("show", "work", "--wait", "1s")
		right := b.with("S", wecomtest.DefaultSecret)
		right.run("show", "work", "--wait", "1s")
		calls := len(w.Calls())
		finds(t, right.findings(exitOther, "work"), "secret", resultWarn, "not tried: the issuer demands to wait")
		if n := len(w.Calls()); n != calls {
			t.Errorf("doctor called %d times while the address is blocked", n-calls)
		}
	})
	t.Run("a call that would end the token", func(t *testing.T) {
		b := newBench(t)
		getui := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"code":20001,"msg":"params error"}`))
		}))
		t.Cleanup(getui.Close)
		b = b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", "s", "ZHONGKONG_CONFIG",
			b.file("zk.yaml", "accounts:\n- {name: push, source: http, preset: getui, app_id: a, app_key: k, master_secret_env: S, api_base: \""+getui.URL+"\"}\n"))
		all := b.findings(exitOther)
		finds(t, all, "secret", resultOK, "not tried: a call would end the current token")
		finds(t, all, "budget", resultOK, "of 100 calls in 1m")
		if out := b.must("status"); !strings.Contains(out, "/100 in 1m") {
			t.Errorf("status of a budget in a window:\n%s", out)
		}
	})
}

func TestAThrottledRefreshHasAdviceWhateverTheWindow(t *testing.T) {
	for _, limit := range []coordinator.Limit{coordinator.LimitBudget, coordinator.LimitWindow} {
		err := (&session{cfg: &config.Config{}}).withAdvice(&coordinator.ThrottledError{Limit: limit, RetryIn: 2 * time.Minute})
		if !strings.Contains(err.Error(), "reserved for it") {
			t.Errorf("%s: %v", limit, err)
		}
	}
}

func TestADescribedIssuerAnswersAsDescribed(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for unit, want := range map[string]int64{"": 7200, "at_seconds": 1_800_007_200, "at_ms": 1_800_007_200_000} {
		d := &describedIssuer{issuer: &httpsource.Issuer{Repeat: "same", Rollover: httpsource.Duration(time.Hour), Answer: httpsource.Answer{
			Token: "data.token", Life: httpsource.Life{Field: "data.ends", Unit: unit}, Code: "code", Success: []httpsource.Value{"0"},
			Attributes: map[string]string{"region": "region"},
		}}}
		first := d.answer(now)
		data, _ := first["data"].(map[string]any)
		if first["code"] != httpsource.Value("0") || first["region"] == nil || data["ends"] != want || data["token"] == "" {
			t.Errorf("unit %q: %v", unit, first)
		}
		token := func(later time.Duration) any { return d.answer(now.Add(later))["data"].(map[string]any)["token"] }
		if token(time.Minute) != data["token"] {
			t.Errorf("unit %q: a repeated call brought another token", unit)
		}
		if token(90*time.Minute) == data["token"] {
			t.Errorf("unit %q: the token did not change at the rollover", unit)
		}
	}
}
