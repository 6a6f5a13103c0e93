package main

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

const (
	platformID     = "wxplatform00000001"
	platformSecret = "f1e2d3c4b5a697887766554433221100"
	pushToken      = "a-token-of-the-callback"
	pushKey        = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	nextPushKey    = "4Ma3YBrSBbX2aez8MJpXGBne5LSDwgGqHbhM9WPYIws"
)

// withPlatform is the bench with a third-party platform. Its pushes go to serve as soon
// as pushTo has been called.
func (b *bench) withPlatform() *bench {
	err := b.wechat.AddComponent(wechattest.Component{
		AppID: platformID, Secret: platformSecret, Token: pushToken, EncodingAESKey: pushKey, URL: "http://127.0.0.1:1/",
	})
	if err != nil {
		b.t.Fatal(err)
	}
	line, _ := b.sealKey()
	return b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_SEAL_KEY_FILE", b.file("seal.keys", line),
		"S", platformSecret, "T", pushToken, "K", pushKey, "N", nextPushKey,
		"ZHONGKONG_CONFIG", b.file("zk.yaml", platformConfig("K, previous_encoding_aes_key_env: N")))
}

func platformConfig(keys string) string {
	return "accounts:\n- {name: tp, source: wechat_platform, appid: " + platformID + ", secret_env: S, callback_token_env: T, encoding_aes_key_env: " + keys +
		", tickets: [jsapi], pages: [m.example.com]}\n"
}

// pushTo has WeChat push to a serve until the test ends.
func (b *bench) pushTo(d *daemonRun) {
	b.t.Helper()
	if err := b.wechat.SetURL(platformID, d.url+"/callback/tp", nil); err != nil {
		b.t.Fatal(err)
	}
	if err := b.wechat.PushTicket(platformID); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	transport := &http.Transport{DisableKeepAlives: true}
	var pushing sync.WaitGroup
	pushing.Go(func() { b.wechat.RunPushes(ctx, transport) })
	b.t.Cleanup(func() { cancel(); pushing.Wait() })
}

func (b *bench) authorize(appID string) {
	b.t.Helper()
	if _, err := b.wechat.Authorize(platformID, appID); err != nil {
		b.t.Fatal(err)
	}
}

// serves waits until a daemon serves the token of an account that WeChat accepts now.
func (d *daemonRun) serves(account string) {
	d.b.t.Helper()
	d.b.eventually("a live token of "+account, func() bool {
		_, body := d.get("/v1/tokens/" + account + "?wait=0s")
		_, token, _ := strings.Cut(body, `"access_token":"`)
		token, _, _ = strings.Cut(token, `"`)
		return d.b.wechat.Accepts(token, d.b.wechat.Now())
	})
}

func TestServeKeepsTheAuthorizersOfAPlatform(t *testing.T) {
	b := newBench(t).withPlatform()
	d := b.serve()
	b.pushTo(d)
	d.serves("tp")
	b.authorize("wxauthorizer000001")
	b.authorize("wxauthorizer000002")
	d.serves("wxauthorizer000001")
	d.serves("wxauthorizer000001.jsapi")
	d.serves("wxauthorizer000002")
	if status, body := d.get("/v1/jssdk/wxauthorizer000001?url=https%3A%2F%2Fm.example.com%2F"); status != http.StatusOK || !strings.Contains(body, `"appId":"wxauthorizer000001"`) {
		t.Errorf("/v1/jssdk = %d %s", status, body)
	}
	other := b.serve() // has them from the store
	other.serves("wxauthorizer000002.jsapi")

	b.authorize("wxauthorizer000001") // again: its tokens are dead
	d.serves("wxauthorizer000001")
	if err := b.wechat.Unauthorize(platformID, "wxauthorizer000002"); err != nil {
		t.Fatal(err)
	}
	b.eventually("the account to go", func() bool {
		status, _ := d.get("/v1/tokens/wxauthorizer000002")
		return status == http.StatusNotFound
	})
	for _, p := range b.wechat.Pushes() {
		if p.InfoType != wechattest.VerifyTicket && p.Answered.IsZero() {
			t.Errorf("not answered: %+v", p)
		}
	}
	out := d.stop()
	for _, hidden := range []string{platformSecret, pushToken, pushKey, "ticket@@@", "refreshtoken@@@", "queryauthcode@@@"} {
		if strings.Contains(out.stderr, hidden) {
			t.Errorf("the log has %s", hidden)
		}
	}
}

// The push of the authorization does not arrive.
func TestAnAuthorizationCodeIsPutInByThePlatformsOwnPage(t *testing.T) {
	b := newBench(t).withPlatform()
	b.rewrite(b.env["ZHONGKONG_CONFIG"], platformConfig("K")+"users:\n"+portalUser("[tp]"))
	d := b.serve()
	b.pushTo(d)
	b.eventually("a token of the platform", func() bool { return d.token("tp") != "" })
	if _, err := b.wechat.InjectPush(wechattest.PushFault{Kind: wechattest.PushDrop, InfoType: "authorized"}); err != nil {
		t.Fatal(err)
	}
	a, err := b.wechat.Authorize(platformID, "wxauthorizer000001")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the page may hand it on again
		if status := d.put("tp", `{"auth_code":"`+a.Code+`"}`); status != http.StatusNoContent {
			t.Fatalf("PUT = %d", status)
		}
	}
	d.serves("wxauthorizer000001")
	if status := d.put("tp", `{"refresh_token":"x"}`); status != http.StatusConflict {
		t.Errorf("PUT of a refresh token = %d", status)
	}
}

func TestAnAuthorizerWithTheNameOfAnAccountIsNamed(t *testing.T) {
	b := newBench(t).withPlatform()
	b.rewrite(b.env["ZHONGKONG_CONFIG"], platformConfig("K")+"- {name: wxauthorizer000001, secret_env: T}\n")
	d := b.serve()
	b.pushTo(d)
	b.authorize("wxauthorizer000001")
	d.says("give that one another name, and this one as its AppID (name: OTHER, appid: wxauthorizer000001)")
}

func TestEveryCommandSaysThatAPlatformWaitsForItsFirstPush(t *testing.T) {
	b := newBench(t).withPlatform()
	for _, command := range [][]string{{"status", "tp"}, {"grant", "status", "tp"}, {"doctor", "tp"}} {
		out := b.run(command...).stdout
		if !strings.Contains(out, "push") || strings.Contains(out, "zhongkong login") {
			t.Errorf("%v:\n%s", command, out)
		}
	}
}

func TestServeTakesAChangedKeyWithoutARestart(t *testing.T) {
	b := newBench(t).withPlatform()
	path := b.env["ZHONGKONG_CONFIG"]
	d := b.serve()
	b.pushTo(d)
	d.serves("tp")
	b.authorize("wxauthorizer000001")
	d.serves("wxauthorizer000001")
	b.rewrite(path, platformConfig("N, previous_encoding_aes_key_env: K"))
	b.hup()
	d.says("configuration read again")
	if err := b.wechat.ChangeKey(platformID, nextPushKey); err != nil {
		t.Fatal(err)
	}
	if _, err := b.wechat.InjectPush(wechattest.PushFault{Kind: wechattest.PushPreviousKey, Times: 1}); err != nil {
		t.Fatal(err)
	}
	b.authorize("wxauthorizer000001")
	d.serves("wxauthorizer000001")
	b.authorize("wxauthorizer000002")
	d.serves("wxauthorizer000002")
}

func TestTheSandboxPlaysAPlatform(t *testing.T) {
	b := newBench(t)
	line, _ := b.sealKey()
	b = b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_SEAL_KEY_FILE", b.file("seal.keys", line),
		"ZHONGKONG_CONFIG", b.file("zk.yaml", "accounts:\n- {name: tp, source: wechat_platform, appid: "+platformID+"}\n"))
	d := b.serve("--sandbox")
	b.eventually("a token of the authorizer", func() bool {
		status, _ := d.get("/v1/tokens/" + sandboxAuthorizer + "?wait=0s")
		return status == http.StatusOK
	})
}

func TestDoctorTriesTheSecretOfAPlatform(t *testing.T) {
	b := newBench(t).withPlatform()
	says := func(words string) {
		t.Helper()
		if out := b.run("doctor", "tp"); !strings.Contains(out.stdout+out.stderr, words) {
			t.Errorf("doctor does not say %q:\n%s%s", words, out.stdout, out.stderr)
		}
	}
	says("accepts the secret and this address")
	if err := b.wechat.SetWhitelist(platformID, []string{"10.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	says("the issuer sees this machine as 127.0.0.1")
	if err := b.wechat.SetWhitelist(platformID, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.wechat.SetSecret(platformID, "another"); err != nil {
		t.Fatal(err)
	}
	says("61011")
}
