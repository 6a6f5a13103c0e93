package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// serve starts the daemon on a free port and waits until it answers.
func (b *bench) serve(args ...string) *daemonRun {
	b.t.Helper()
	r := b.start(context.Background(), "", append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	r.says("accounts:")
	found := regexp.MustCompile(`http://(127\.0\.0\.1:\d+), Redis at ([^ ,]+)`).FindStringSubmatch(r.stderr.String())
	if found == nil {
		b.t.Fatalf("serve does not say where it is:\n%s", r.stderr.String())
	}
	return &daemonRun{running: r, url: "http://" + found[1], redis: "redis://" + found[2]}
}

// daemonRun is a serve in this process.
type daemonRun struct {
	*running
	url   string
	redis string
}

// get returns an answer's status and body.
func (d *daemonRun) get(path string) (int, string) {
	d.b.t.Helper()
	req, err := http.NewRequestWithContext(d.b.t.Context(), http.MethodGet, d.url+path, http.NoBody)
	if err != nil {
		d.b.t.Fatal(err)
	}
	req.SetBasicAuth(opsName, opsPassword)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		d.b.t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	return resp.StatusCode, string(body)
}

func (d *daemonRun) ready() {
	d.b.t.Helper()
	d.b.eventually("a token of every account", func() bool { status, _ := d.get("/readyz?all"); return status == http.StatusOK })
}

func TestServeRefreshesAndAnswers(t *testing.T) {
	b := newBench(t)
	d := b.serve()
	d.ready()
	if status, _ := d.get("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz = %d", status)
	}
	if got, want := b.reader().must("show"), b.wechat.Issued()[0].Token+"\n"; got != want {
		t.Errorf("show = %q, want %q", got, want)
	}
	if fresh := b.reader().must("refresh"); fresh != b.wechat.Issued()[1].Token+"\n" {
		t.Errorf("a reader's refresh = %q", fresh)
	}
	first, _, _ := strings.Cut(d.stderr.String(), "\n")
	if !strings.Contains(first, d.url) || !strings.Contains(first, appID+" (refresher)") {
		t.Errorf("the first line is %q, want address, accounts and roles", first)
	}
	if out := d.stop(); out.code != exitDone || out.stdout != "" {
		t.Errorf("serve = %d, %q", out.code, out.stdout)
	}
}

func TestServeIsNotReadyWithoutATokenAndSaysWhy(t *testing.T) {
	b := newBench(t).with("ZHONGKONG_SECRET", "ffffffffffffffffffffffffffffffff")
	d := b.serve()
	b.eventually("/readyz to say why", func() bool {
		status, body := d.get("/readyz?all")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "40125")
	})
	if status, _ := d.get("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz = %d", status)
	}
}

func TestServeStartsWithoutRedisAndCatchesUp(t *testing.T) {
	b := newBench(t)
	l, err := net.Listen("tcp", "127.0.0.1:0") // a server that never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := b.with("ZHONGKONG_REDIS", "redis://"+l.Addr().String()).serve()
	if status, _ := d.get("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz = %d, want 503", status)
	}
	if n := b.calls(); n != 0 {
		t.Errorf("%d calls without a store", n)
	}
	if out := d.stop(); out.code != exitDone {
		t.Errorf("serve = %d\n%s", out.code, out.stderr)
	}
}

func TestSIGTERMFinishesAndStoresTheCallUnderWay(t *testing.T) {
	b := newBench(t)
	b.inject(wechattest.Fault{Kind: wechattest.FaultSlow, Phase: wechattest.After, Delay: wechattest.Seconds(time.Second), Times: 1})
	d := b.serve()
	b.eventually("the call", func() bool { return len(b.wechat.Issued()) == 1 })
	if out := d.stop(); out.code != exitDone {
		t.Fatalf("serve = %d\n%s", out.code, out.stderr)
	}
	if got, want := b.reader().must("show", appID), b.wechat.Issued()[0].Token+"\n"; got != want {
		t.Errorf("show after the drain = %q, want %q", got, want)
	}
	if n := b.calls(); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

func TestTheDrainDelayLetsOthersSeeTheEndComing(t *testing.T) {
	d := newBench(t).serve("--drain-delay", "2s")
	d.ready()
	began := time.Now()
	d.cancel() // as SIGTERM would
	d.b.eventually("/readyz to say so", func() bool {
		status, body := d.get("/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "draining")
	})
	if status, body := d.get("/v1/tokens/" + appID); status != http.StatusOK {
		t.Errorf("while it drains a token is answered %d %s", status, body)
	}
	d.says("draining: /readyz is 503")
	if out := d.wait(); out.code != exitDone {
		t.Errorf("serve = %d\n%s", out.code, out.stderr)
	}
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("the port was closed after %v, want 2s at least", took)
	}
}

func TestServeRunsAnEmbeddedRedisAndSaysWhatThatMeans(t *testing.T) {
	b := newBench(t).with("ZHONGKONG_REDIS", "", "ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_API_BASE", "")
	d := b.serve("--sandbox")
	d.says("for the programs of this one machine")
	d.says("a WeChat simulator at http://")
	d.ready()
	other := b.with("ZHONGKONG_REDIS", d.redis)
	if token := strings.TrimSpace(other.must("show")); len(token) < 100 {
		t.Errorf("show = %q", token)
	}
	if fresh := other.must("refresh"); fresh != other.must("show") {
		t.Error("show is not what refresh printed")
	}
	if out := other.must("status"); !strings.Contains(out, wechattest.DefaultAppID) {
		t.Errorf("status =\n%s", out)
	}
	if out := other.must("history"); !strings.Contains(out, "forced") {
		t.Errorf("history =\n%s", out)
	}
	if out := other.run("doctor"); out.code != exitDone {
		t.Errorf("doctor = %d\n%s", out.code, out.stdout)
	}
}

func TestServeSaysWhatToPassWhenAPortIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := newBench(t)
	b.fails(exitUsage, "such as --listen 127.0.0.1:0", "serve", "--listen", l.Addr().String())
	if _, err := startEmbeddedRedis(l.Addr().String()); err == nil || !strings.Contains(err.Error(), "pass --redis redis://"+l.Addr().String()) {
		t.Errorf("startEmbeddedRedis() = %v", err)
	}
	b.reader().fails(exitUsage, "try it with --sandbox", "serve", "--listen", "127.0.0.1:0")
}

func TestAChangedFileAddsChangesAndRemovesAccounts(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"wxa", "wxb"} {
		if err := b.wechat.AddAccount(wechattest.Account{AppID: name, Secret: secret}); err != nil {
			t.Fatal(err)
		}
	}
	path := b.file("zk.yaml", "accounts:\n- {appid: wxa, secret_env: S}\n")
	write := func(content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b = b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", secret, "WRONG", "ffffffffffffffffffffffffffffffff", "ZHONGKONG_CONFIG", path)
	d := b.serve()
	d.ready()

	write("accounts:\n- {appid: wxa, secret_env: S}\n- {appid: wxb, secret_env: WRONG}\n")
	d.says("accounts_added=1 accounts_changed=0 accounts_removed=0")
	b.eventually("wxb to be refused", func() bool {
		_, body := d.get("/readyz?all")
		return strings.Contains(body, `"wxb"`) && strings.Contains(body, "40125")
	})

	// The others by a signal, which does not wait for the next look.
	hup := func(content string) {
		write(content)
		b.hup()
	}
	hup("accounts:\n- {appid: wxa, secret_env: S}\n- {appid: wxb, secret_env: S, colour: red}\n")
	d.says("accounts[1].colour: unknown field")
	if _, body := d.get("/readyz?all"); !strings.Contains(body, "wxb") {
		t.Errorf("the refused configuration changed something: %s", body)
	}

	hup("accounts:\n- {appid: wxa, secret_env: S}\n- {appid: wxb, secret_env: S}\nlisten: 127.0.0.1:1\n")
	d.says("accounts_added=0 accounts_changed=1 accounts_removed=0")
	d.ready() // the corrected secret is tried at once

	hup("accounts:\n- {appid: wxb, secret_env: S}\nlisten: 127.0.0.1:1\n")
	d.says("accounts_added=0 accounts_changed=0 accounts_removed=1")
	if _, body := d.get("/metrics"); strings.Contains(body, `account="wxa"}`) {
		t.Error("the removed account is still there")
	}
	if strings.Count(d.stderr.String(), "take effect at the next start") != 0 {
		t.Error("a setting that the command line overrides was said to have changed")
	}
}

func TestSandboxServesAWeChat(t *testing.T) {
	b := newBench(t)
	r := b.reader().start(context.Background(), "", "sandbox", "--listen", "127.0.0.1:0")
	r.says("The secret is valid only in this simulator")
	base := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(r.stderr.String())
	if token := b.with("ZHONGKONG_API_BASE", base).must("show"); len(token) < 100 {
		t.Errorf("show = %q", token)
	}
	r.cancel()
	<-r.done
	if r.code != exitDone {
		t.Errorf("sandbox = %d\n%s", r.code, r.stderr.String())
	}
}
