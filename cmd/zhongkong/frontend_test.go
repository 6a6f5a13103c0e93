package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// send sends a request as a caller, NAME:PASSWORD, and returns the status and
// the fields of the answer.
func (d *daemonRun) send(who, method, path, body string) (int, map[string]any) {
	d.b.t.Helper()
	req, err := http.NewRequestWithContext(d.b.t.Context(), method, d.url+path, strings.NewReader(body))
	if err != nil {
		d.b.t.Fatal(err)
	}
	if name, password, ok := strings.Cut(who, ":"); ok {
		req.SetBasicAuth(name, password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.b.t.Error(err)
		return 0, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.b.t.Error(err)
	}
	var fields map[string]any
	_ = json.Unmarshal(text, &fields) // not all answers are JSON
	return resp.StatusCode, fields
}

// held is the answer to a request that waited.
type held struct {
	status int
	fields map[string]any
	at     time.Time
}

// longPoll has a caller wait for the token after the present one.
func (d *daemonRun) longPoll(who string) <-chan held {
	d.b.t.Helper()
	answered := make(chan held, 1)
	_, present := d.send(who, "GET", "/v1/tokens/"+appID, "")
	path := fmt.Sprintf("/v1/tokens/%s?after=%.0f&wait=60s", appID, present["generation"])
	go func() {
		status, fields := d.send(who, "GET", path, "")
		answered <- held{status, fields, time.Now()}
	}()
	return answered
}

// holding waits until so many requests wait.
func (d *daemonRun) holding(n int) {
	d.b.t.Helper()
	want := fmt.Sprintf("\nzhongkong_http_holding %d\n", n)
	d.b.eventually("long polls to be open", func() bool { _, metrics := d.get("/metrics"); return strings.Contains(metrics, want) })
}

const ops = opsName + ":" + opsPassword

// fleetOf returns two servers on one Redis that both have the first token.
func fleetOf(b *bench) (one, two *daemonRun) {
	one, two = b.serve(), b.serve()
	one.ready()
	two.ready()
	return one, two
}

func TestReportsOverTwoServersAreOneCall(t *testing.T) {
	b := newBench(t)
	one, two := fleetOf(b)
	dead, before := b.wechat.Issued()[0].Token, b.calls()
	var wg sync.WaitGroup
	for n := range 400 {
		d := one
		if n%2 == 1 {
			d = two
		}
		wg.Go(func() {
			status, got := d.send(ops, "POST", "/v1/tokens/"+appID+"/refresh", fmt.Sprintf(`{"if_token":%q}`, dead))
			if token := got["access_token"]; status != http.StatusOK || token == dead || token == nil {
				t.Errorf("%d, want a new token", status)
			}
		})
	}
	wg.Wait()
	if n := b.calls() - before; n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

func TestADeadTokenIsReplacedWhenAnSDKAsksAgain(t *testing.T) {
	b := newBench(t)
	d := b.serve()
	d.ready()
	path := "/cgi-bin/token?grant_type=client_credential&appid=" + appID + "&secret=" + ops
	ask := func() string {
		_, got := d.send("", "GET", path, "")
		token, _ := got["access_token"].(string)
		return token
	}
	dead := ask()
	b.wechat.KillEarly(appID, wechattest.ClassicChain)
	b.eventually("a token that works", func() bool { return b.wechat.Accepts(ask(), b.wechat.Now()) })
	if n := b.calls(); n != 2 {
		t.Errorf("%d calls for tokens, want 2", n)
	}
	if history := b.must("history"); !strings.Contains(history, "(asked again)") || strings.Contains(history, dead) {
		t.Errorf("the history does not name who asked again: %s", history)
	}
}

func TestARefreshAnswersWhoWaitsAtAnotherServer(t *testing.T) {
	b := newBench(t)
	one, two := fleetOf(b)
	soonest := time.Hour
	for range 5 { // the machine may be busy with something else
		soonest = min(soonest, b.heldFor(one, two))
	}
	if soonest > 50*time.Millisecond {
		t.Errorf("who waits was answered %v after the commit, want within 50ms", soonest)
	}
}

// heldFor has one server refresh while a request is held at the other, and
// returns how long after the answer to the first the second came.
func (b *bench) heldFor(one, two *daemonRun) time.Duration {
	b.t.Helper()
	held := two.longPoll(ops)
	two.holding(1)
	_, forced := one.send(ops, "POST", "/v1/tokens/"+appID+"/refresh", "")
	committed := time.Now()
	got := <-held
	if token := got.fields["access_token"]; token == nil || token != forced["access_token"] {
		b.t.Error("it got another token")
	}
	return got.at.Sub(committed)
}

func TestRequestsAreAnsweredWhileRedisIsAway(t *testing.T) {
	server := redistest.Start(t)
	b := newBench(t).with("ZHONGKONG_REDIS", server.URL())
	d := b.serve()
	d.ready()
	stale := func() any {
		status, record := d.send(ops, "GET", "/v1/tokens/"+appID, "")
		if status != http.StatusOK {
			t.Errorf("status %d, want 200", status)
		}
		return record["stale"]
	}
	if got := stale(); got != false {
		t.Errorf("stale is %v with Redis there", got)
	}
	server.Kill()
	b.eventually("the record to be stale", func() bool { return stale() == true })
	server.Restart(t)
	back := time.Now()
	b.eventually("the record not to be stale", func() bool { return stale() == false })
	if took := time.Since(back); took > 2*time.Second {
		t.Errorf("stale for %v after Redis was back, want at most 2s", took)
	}
	if n := b.calls(); n != 1 {
		t.Errorf("%d calls, want the first one alone", n)
	}
}

func TestCallersOfTheConfiguration(t *testing.T) {
	hash, err := auth.Hash("narrow-password")
	if err != nil {
		t.Fatal(err)
	}
	const accounts = "accounts:\n- {appid: " + appID + ", secret_env: S}\n- {appid: wxother}\n"
	user := "users:\n- {name: narrow, password: '" + hash + "', accounts: [" + appID + "]}\n"
	b := newBench(t)
	path := b.file("zk.yaml", accounts+user)
	b = b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", secret, "ZHONGKONG_CONFIG", path)
	d := b.serve()
	b.eventually("a token", func() bool { status, _ := d.send(ops, "GET", "/v1/tokens/"+appID, ""); return status == http.StatusOK })
	const narrow = "narrow:narrow-password"
	for _, c := range []struct {
		who, method, path string
		want              int
	}{
		{narrow, "GET", "/v1/tokens/" + appID, 200}, {narrow, "POST", "/v1/tokens/" + appID + "/refresh", 403},
		{narrow, "GET", "/v1/tokens/wxother", 403}, {narrow, "GET", "/v1/tokens/wxnone", 403}, {narrow, "GET", "/metrics", 403},
		{"narrow:wrong", "GET", "/v1/tokens/" + appID, 401}, {"", "GET", "/v1/tokens/" + appID, 401}, {"", "GET", "/", 401},
		{appID + ":" + secret, "GET", "/v1/tokens/" + appID, 401}, {ops, "GET", "/metrics", 200}, {"", "GET", "/metrics", 401},
	} {
		if status, _ := d.send(c.who, c.method, c.path, ""); status != c.want {
			t.Errorf("%s %s as %q: %d, want %d", c.method, c.path, c.who, status, c.want)
		}
	}
	d.says("caller refused")

	if err := os.WriteFile(path, []byte(accounts), 0o600); err != nil {
		t.Fatal(err)
	}
	b.hup()
	b.eventually("the caller to be gone", func() bool {
		status, _ := d.send(narrow, "GET", "/v1/tokens/"+appID, "")
		return status == http.StatusUnauthorized
	})
	if status, _ := d.send(ops, "GET", "/v1/tokens/"+appID, ""); status != http.StatusOK {
		t.Errorf("the caller of the command line: %d", status)
	}
}

func TestWithoutAUserOneIsGeneratedAndPrintedOnce(t *testing.T) {
	d := newBench(t).with(envUsers, "").serve()
	d.says("was generated for this run")
	found := regexp.MustCompile(`name zhongkong, password (\S+)\n`).FindAllStringSubmatch(d.stderr.String(), -1)
	if len(found) != 1 {
		t.Fatalf("the key is said %d times", len(found))
	}
	d.b.eventually("a token", func() bool {
		status, _ := d.send("zhongkong:"+found[0][1], "GET", "/v1/tokens/"+appID, "")
		return status == http.StatusOK
	})
	if status, _ := d.send("zhongkong:guess", "GET", "/v1/tokens/"+appID, ""); status != http.StatusUnauthorized {
		t.Errorf("another key: %d, want 401", status)
	}
}

func TestServeRefusesToBeReadByEverybody(t *testing.T) {
	b := newBench(t)
	b.fails(exitUsage, "--plaintext-ok", "serve", "--listen", "0.0.0.0:0")
	b.fails(exitUsage, "tls_cert and tls_key", "serve", "--listen", "127.0.0.1:0", "--tls-cert", "x")
	b.fails(exitUsage, "--tls-cert", "serve", "--listen", "127.0.0.1:0", "--tls-cert", "/none", "--tls-key", "/none")
	b.with(envUsers, "no-colon").fails(exitUsage, "no colon", "serve", "--listen", "127.0.0.1:0")
	r := b.start(context.Background(), "", "serve", "--listen", "0.0.0.0:0", "--plaintext-ok")
	r.says("accounts:")
}

func TestADatagramGetsTheToken(t *testing.T) {
	key := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	b := newBench(t)
	path := b.file("zk.yaml", "accounts:\n- {appid: "+appID+", secret_env: S}\nusers:\n- {name: box, udp_key: '"+key+"', accounts: ["+appID+"]}\n")
	b = b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", secret, "ZHONGKONG_CONFIG", path)
	d := b.serve("--udp", "127.0.0.1:0")
	d.ready()
	d.says("Datagrams are answered at")
	addr := regexp.MustCompile(`Datagrams are answered at (\S+)\.`).FindStringSubmatch(d.stderr.String())[1]
	if _, _, err := net.SplitHostPort(addr); err != nil {
		t.Fatal(err)
	}
	asking := b.with("ZHONGKONG_CONFIG", "", "ZHONGKONG_REDIS", "", "ZHONGKONG_USER", "box", "ZHONGKONG_UDP_KEY", key)
	if got, want := asking.must("ask", "--udp", addr, appID), b.wechat.Issued()[0].Token+"\n"; got != want {
		t.Errorf("ask = %q, want %q", got, want)
	}
	if _, body := d.get("/metrics"); !strings.Contains(body, `zhongkong_datagrams_total{outcome="answered"} 1`) {
		t.Error("it is not counted")
	}
}

func TestSealedTokensAreReadWithTheKeyOnly(t *testing.T) {
	b := newBench(t)
	keys := b.file("seal.keys", b.must("keygen"))
	sealed := b.with("ZHONGKONG_SEAL_KEY_FILE", keys)
	d := sealed.serve()
	d.ready()
	want := b.wechat.Issued()[0].Token
	if _, got := d.send(ops, "GET", "/v1/tokens/"+appID, ""); got["access_token"] != want {
		t.Error("HTTP does not answer the token")
	}
	if got := sealed.reader().must("show", appID); got != want+"\n" {
		t.Errorf("show = %q", got)
	}
	for name, other := range map[string]*bench{
		"no key": b.reader(), "another key": b.reader().with("ZHONGKONG_SEAL_KEY_FILE", b.file("other.keys", b.must("keygen"))),
	} {
		out := other.run("show", appID)
		if out.code == exitDone || out.stdout != "" || strings.Contains(out.stderr, "eyJ") {
			t.Errorf("%s: show = %d, %q, %q: want a clear error", name, out.code, out.stdout, out.stderr)
		}
	}
	b.with("ZHONGKONG_SEAL_KEY_FILE", b.file("bad.keys", "k:short\n")).fails(exitUsage, "--seal-key-file", "show")
}
