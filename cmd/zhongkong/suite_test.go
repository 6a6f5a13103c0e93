package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logtest"
	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

const (
	suiteID      = "ww4asffe99e54c0f4c"
	suiteSecret  = "the-secret-of-the-suite"
	suiteToken   = "QDG6eK"
	suiteKey     = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"
	nextSuiteKey = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	suiteCorp    = suiteID + ".wwtenant"
)

// suiteConfig is a configuration with a suite. more are lines of the suite.
func suiteConfig(api, key string, more ...string) string {
	return "accounts:\n- name: " + suiteID + "\n  source: wecom_suite\n  api_base: \"" + api + "\"\n  secret: " + suiteSecret + "\n" +
		"  callback_token: " + suiteToken + "\n  encoding_aes_key: " + key + "\n" + strings.Join(more, "")
}

// withSuite is the bench with a suite, WeCom, its address and the configuration's file.
func (b *bench) withSuite(more ...string) (with *bench, w *wecomtest.Server, api, path string) {
	b.t.Helper()
	w = wecomtest.New(wecomtest.Config{Suites: []wecomtest.Suite{{SuiteID: suiteID, Secret: suiteSecret}}})
	server := httptest.NewServer(w)
	b.t.Cleanup(server.Close)
	path = b.file("zk.yaml", suiteConfig(server.URL, suiteKey, more...))
	return b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_API_BASE", "", "ZHONGKONG_CONFIG", path,
		"ZHONGKONG_SEAL_KEY_FILE", b.file("seal.keys", b.must("keygen"))), w, server.URL, path
}

// pushSuiteTo has WeCom push to a daemon until the test ends, once the callback URL has proved
// itself.
func (b *bench) pushSuiteTo(d *daemonRun, w *wecomtest.Server) {
	b.t.Helper()
	b.eventually("the callback URL to prove itself", func() bool { return setCallback(d, w, suiteKey) == nil })
	ctx, stop := context.WithCancel(context.Background())
	var pushing sync.WaitGroup
	pushing.Go(func() { w.Run(ctx) })
	b.t.Cleanup(func() { stop(); pushing.Wait() })
}

func setCallback(d *daemonRun, w *wecomtest.Server, key string) error {
	return w.SetCallback(d.b.t.Context(), suiteID, wecomtest.Callback{URL: d.url + "/callback/" + suiteID, Token: suiteToken, AESKey: key})
}

// token returns an account's token as HTTP answers it, "" if there is none.
func (d *daemonRun) token(account string) string {
	d.b.t.Helper()
	var record struct {
		Token string `json:"access_token"`
	}
	code, body := d.get("/v1/tokens/" + account)
	if code != http.StatusOK || json.Unmarshal([]byte(body), &record) != nil {
		return ""
	}
	return record.Token
}

func TestTheCorpsOfASuiteAppearAndGo(t *testing.T) {
	b, w, _, _ := newBench(t).withSuite("  tickets: [corp]\n  pages: [www.example.com]\n")
	d := b.serve()
	b.pushSuiteTo(d, w)
	if _, err := w.Install(suiteID, "wwtenant"); err != nil {
		t.Fatal(err)
	}
	installed := time.Now()
	for _, name := range []string{suiteID, suiteCorp, suiteCorp + ".corp"} {
		b.eventually("a token of "+name, func() bool { return w.Valid(d.token(name)) })
	}
	b.eventually("a signature", func() bool {
		code, body := d.get("/v1/jssdk/" + suiteCorp + "?url=https%3A%2F%2Fwww.example.com%2F")
		return code == http.StatusOK && strings.Contains(body, `"appId":"wwtenant"`)
	})
	if out := b.must("status"); !strings.Contains(out, suiteCorp+".corp") {
		t.Errorf("status does not show the corp's ticket:\n%s", out)
	}
	// Events have seconds, and of two in the same one nobody knows which was first.
	b.eventually("another second", func() bool { return time.Now().Unix() > installed.Unix() })
	if err := w.Cancel(suiteID, "wwtenant"); err != nil {
		t.Fatal(err)
	}
	b.eventually("the corp to go", func() bool { code, _ := d.get("/v1/tokens/" + suiteCorp); return code == http.StatusNotFound })
	if code, _ := d.get("/v1/tokens/" + suiteCorp + ".corp"); code != http.StatusNotFound {
		t.Errorf("its ticket = %d", code)
	}
}

// WeCom pushes nothing of an installation from the provider's own page.
func TestAnAuthCodeIsPutInByTheProvidersOwnPage(t *testing.T) {
	b, w, api, _ := newBench(t).withSuite("users:\n" + portalUser(suiteID))
	d := b.serve()
	b.pushSuiteTo(d, w)
	b.eventually("a token of the suite", func() bool { return w.Valid(d.token(suiteID)) })
	resp, err := http.Get(api + "/cgi-bin/service/get_pre_auth_code?suite_access_token=" + d.token(suiteID))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		PreAuthCode string `json:"pre_auth_code"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	code, err := w.Redirect(suiteID, "wwtenant", answer.PreAuthCode)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the page may hand it on again
		if status := d.put(suiteID, `{"auth_code":"`+code+`"}`); status != http.StatusNoContent {
			t.Fatalf("PUT = %d", status)
		}
	}
	b.eventually("a token of the corp", func() bool { return w.Valid(d.token(suiteCorp)) })
	if status := d.put(suiteID, `{"refresh_token":"x"}`); status != http.StatusConflict {
		t.Errorf("PUT of a refresh token = %d", status)
	}
}

func TestTheKeyOfACallbackIsChangedWhileServeRuns(t *testing.T) {
	b, w, api, path := newBench(t).withSuite()
	d := b.serve()
	b.pushSuiteTo(d, w)
	if _, err := w.Install(suiteID, "wwtenant"); err != nil {
		t.Fatal(err)
	}
	b.eventually("a token of the corp", func() bool { return w.Valid(d.token(suiteCorp)) })
	if err := setCallback(d, w, nextSuiteKey); err == nil {
		t.Fatal("the callback has proved itself with a key that it does not know")
	}
	b.rewrite(path, suiteConfig(api, nextSuiteKey, "  previous_encoding_aes_key: "+suiteKey+"\n"))
	b.eventually("the new key to be in use", func() bool { return setCallback(d, w, nextSuiteKey) == nil })
	if code, _ := d.get("/v1/tokens/" + suiteCorp); code != http.StatusOK {
		t.Errorf("after the change the corp's token = %d", code)
	}
	if err := w.FaultPushes(suiteID, wecomtest.PushFault{InfoType: "create_auth", PreviousKey: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Install(suiteID, "wwother"); err != nil {
		t.Fatal(err)
	}
	b.eventually("a token of a corp whose event has the old key", func() bool { return w.Valid(d.token(suiteID + ".wwother")) })
	if err := w.Cancel(suiteID, "wwtenant"); err != nil { // known from before the change
		t.Fatal(err)
	}
	b.eventually("the corp to go", func() bool { code, _ := d.get("/v1/tokens/" + suiteCorp); return code == http.StatusNotFound })
}

// The sandbox needs no key file.
func TestTheSandboxPlaysSuites(t *testing.T) {
	b := newBench(t)
	b = b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_API_BASE", "", "ZHONGKONG_CONFIG",
		b.file("zk.yaml", "accounts:\n- {name: "+suiteID+", source: wecom_suite}\n- {name: dk4asffe99e54c0f4c, source: wecom_suite}\n"))
	d := b.serve("--sandbox")
	for _, name := range []string{suiteID, "dk4asffe99e54c0f4c"} {
		b.eventually("a token of "+name, func() bool { return d.token(name) != "" })
		b.eventually("a token of its corp", func() bool { return d.token(name+"."+sandboxCorp) != "" })
	}
}

func TestASuiteIsCheckedBeforeItIsServed(t *testing.T) {
	b, _, _, path := newBench(t).withSuite()
	b.must("check")
	for words, config := range map[string]string{
		"EncodingAESKey has 9 characters":  suiteConfig("http://127.0.0.1:1", "too-short"),
		`tickets: "jsapi" is not a ticket`: suiteConfig("http://127.0.0.1:1", suiteKey, "  tickets: [jsapi]\n"),
		"callback_token is missing":        strings.Replace(suiteConfig("http://127.0.0.1:1", suiteKey), "  callback_token: "+suiteToken+"\n", "", 1),
	} {
		b.rewrite(path, config)
		b.fails(exitUsage, words, "check")
	}
}

func TestEveryListHasTheCorpsOfASuite(t *testing.T) {
	b, _, _, _ := newBench(t).withSuite()
	env := func(name string) string { return b.env[name] }
	cfg, _, err := config.Load(config.Input{Env: env})
	if err != nil {
		t.Fatal(err)
	}
	s := &session{program: program{stderr: &logtest.Buffer{}, env: env}, cfg: cfg}
	if err := s.open(cfg.Redis, cfg.Prefix); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.store.SetGrantMember(t.Context(), suiteID, suiteCorp, true); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"status"}, {"doctor"}, {"grant", "status"}} {
		if out := b.run(command...); !strings.Contains(out.stdout, suiteCorp) {
			t.Errorf("%v has no %s:\n%s%s", command, suiteCorp, out.stdout, out.stderr)
		}
	}
}

func TestDoctorNamesTheKeyOfAMembersToken(t *testing.T) {
	b, w, _, _ := newBench(t).withSuite()
	d := b.serve()
	b.pushSuiteTo(d, w)
	if _, err := w.Install(suiteID, "wwtenant"); err != nil {
		t.Fatal(err)
	}
	b.eventually("a token of the corp", func() bool { return w.Valid(d.token(suiteCorp)) })
	d.stop()
	path := b.env["ZHONGKONG_SEAL_KEY_FILE"]
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sealing := func(lines, check, result, words string) {
		t.Helper()
		b.rewrite(path, lines)
		var found []finding
		out := b.run("doctor", "--json")
		if err := json.Unmarshal([]byte(out.stdout), &found); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(found, func(f finding) bool {
			return f.Account == suiteCorp && f.Check == check && f.Result == result && strings.Contains(f.Detail+f.Fix, words)
		}) {
			t.Errorf("doctor has no %s of %s with %q:\n%s", result, check, words, out.stdout)
		}
	}
	kid, _, _ := strings.Cut(string(old), ":")
	sealing(string(old), "sealing", resultOK, kid)
	sealing(b.must("keygen")+string(old), "sealing", resultWarn, "keep that key")
	sealing(b.must("keygen"), "token", resultFail, `copy the line of the key "`+kid+`"`)
}

func TestDoctorTriesTheSecretOfASuite(t *testing.T) {
	b, w, _, _ := newBench(t).withSuite()
	says := func(words string) {
		t.Helper()
		if out := b.run("doctor", suiteID); !strings.Contains(out.stdout+out.stderr, words) {
			t.Errorf("doctor does not say %q:\n%s%s", words, out.stdout, out.stderr)
		}
	}
	says("accepts the secret and this address")
	if err := w.SetSuiteTrusted(suiteID, []string{"10.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	says("the issuer sees this machine as 127.0.0.1")
	if err := w.SetSuiteTrusted(suiteID, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.SetSuiteSecret(suiteID, "another"); err != nil {
		t.Fatal(err)
	}
	says("40080")
}
