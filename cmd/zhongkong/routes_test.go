package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logtest"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/phantom"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/proxy"
)

// configOf reads a configuration.
func configOf(t *testing.T, text string) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "zk.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Load(config.Input{Env: func(name string) string { return map[string]string{"ZHONGKONG_CONFIG": file}[name] }})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestOnlyRoutesThatPutAWeChatTokenElsewhereAreForeign(t *testing.T) {
	cfg := configOf(t, `accounts:
  - {appid: wx1, secret: s1}
  - {name: crm, source: oauth2, token_url: "https://id.example.com/token", client_id: c, client_secret: s2}
routes:
  - {name: own, account: wx1}
  - {name: mirror, account: wx1, to: "https://mirror.example.com"}
  - {name: elsewhere, account: wx1, to: "https://api.example.com", put: bearer}
  - {name: crm, account: crm, to: "https://api.example.com", put: bearer}
`)
	for _, r := range cfg.Routes {
		if got, err := newRoute(cfg, r); err != nil || got.Foreign != (r.Name == "elsewhere") {
			t.Errorf("%s: Foreign = %v, %v", r.Name, got.Foreign, err)
		}
	}
	if len(cfg.Routes) != 4 {
		t.Errorf("%d routes", len(cfg.Routes))
	}
}

// TestRoutesOfTheFamilySpeakAsWeChatDoes: each kind of account with the errcodes of its API.
func TestRoutesOfTheFamilySpeakAsWeChatDoes(t *testing.T) {
	const key = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	cfg := configOf(t, `accounts:
  - {name: token, appid: wx1, secret: s1}
  - {name: stable_token, appid: wx1, source: stable_token, secret: s1}
  - {name: wechat_platform, source: wechat_platform, appid: wx2, secret: s2, callback_token: t1, encoding_aes_key: `+key+`}
  - {name: wecom, source: wecom, corpid: ww1, secret: s3}
  - {name: wecom_provider, source: wecom_provider, corpid: ww1, secret: s4}
  - {name: wecom_suite, source: wecom_suite, suite_id: ww2, secret: s5, callback_token: t2, encoding_aes_key: `+key+`}
`)
	for name, want := range map[string]struct {
		unknown  int
		rejected []int
		host     string
	}{
		"token":           {40001, []int{40001, 40014, 42001}, "api.weixin.qq.com"},
		"stable_token":    {40001, []int{40001, 40014, 42001}, "api.weixin.qq.com"},
		"wechat_platform": {40001, []int{40001, 40014, 42001, 42006, 61014}, "api.weixin.qq.com"},
		"wecom":           {40014, []int{40001, 40014, 42001}, "qyapi.weixin.qq.com"},
		"wecom_provider":  {40082, []int{40014, 40082, 42001, 42009}, "qyapi.weixin.qq.com"},
		"wecom_suite":     {40082, []int{40014, 40082, 42001, 42009}, "qyapi.weixin.qq.com"},
	} {
		got, err := newRoute(cfg, config.Route{Name: "r", Account: name})
		if err != nil || got.UnknownToken != want.unknown || got.To.Host != want.host || got.RejectsToken == nil || got.Foreign {
			t.Errorf("%s: %+v, %v", name, got, err)
			continue
		}
		var rejected []int
		for code := -1; code < 100_000; code++ {
			if got.RejectsToken(code) {
				rejected = append(rejected, code)
			}
		}
		if !slices.Equal(rejected, want.rejected) {
			t.Errorf("%s: %v rejects its token, want %v", name, rejected, want.rejected)
		}
	}
}

func TestRoutesKnowWhereAnIssuersAPITakesTheTokenAndHowItRejectsOne(t *testing.T) {
	const key = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	cfg := configOf(t, `accounts:
  - {name: platform, source: wechat_platform, appid: wx2, secret: s2, callback_token: t1, encoding_aes_key: `+key+`}
  - {name: provider, source: wecom_provider, corpid: ww1, secret: s4}
  - {name: suite, source: wecom_suite, suite_id: ww2, secret: s5, callback_token: t2, encoding_aes_key: `+key+`}
  - {name: app, source: wecom, corpid: ww1, secret: s3}
  - {name: baidu, source: http, preset: baidu, client_id: c, client_secret: s6}
`)
	for _, c := range []struct {
		route  config.Route
		put    string
		also   string
		issuer bool
	}{
		{config.Route{Account: "platform"}, "query component_access_token", "access_token", false},
		{config.Route{Account: "platform", To: "https://x.example.com", Put: "query component_access_token"}, "query component_access_token", "", false},
		{config.Route{Account: "provider"}, "query provider_access_token", "access_token", false},
		{config.Route{Account: "suite"}, "query suite_access_token", "access_token", false},
		{config.Route{Account: "app"}, "query access_token", "", false},
		{config.Route{Account: "baidu"}, "query access_token", "", true},
		{config.Route{Account: "baidu", To: "https://x.example.com"}, "query access_token", "", true},
		{config.Route{Account: "baidu", To: "https://x.example.com", Put: "bearer"}, "bearer", "", false},
	} {
		put, err := proxy.ParsePlace(c.put)
		if err != nil {
			t.Fatal(err)
		}
		got, err := newRoute(cfg, c.route)
		if err != nil || got.Put != put.Or(c.also) || (got.Issuer != nil) != c.issuer {
			t.Errorf("%+v: %+v, %v", c.route, got, err)
		}
	}
}

func TestALoginAtTheRootIsForAWeChatAccountWithItsAppSecretIfThereIsOne(t *testing.T) {
	cfg := configOf(t, `accounts:
  - {name: crm, source: oauth2, appid: wx1, token_url: "https://id.example.com/token", client_id: c, client_secret: s2}
  - {name: corp, source: wecom, corpid: ww1, appid: wx1, secret: s3}
  - {name: reader, appid: wx1}
  - {name: stable, appid: wx1, source: stable_token, secret: s1}
  - {name: wx2}
  - {name: wx3, source: wechat_platform, secret: s4, callback_token: t1, encoding_aes_key: abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG}
`)
	d := &daemon{}
	d.current.Store(cfg)
	for appID, want := range map[string]string{"wx1": "stable reader", "wx2": "wx2", "wx3": "wx3", "ww1": "", "c": "", "": ""} {
		var got []string
		for _, of := range d.loginRoutes(appID) {
			got = append(got, of.Account)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %v, want %s", appID, got, want)
		}
	}
}

// Another server, which has the same secret, made it.
func TestAPhantomOfAReplacedSecretIsOpenedByAServerThatHadUsedNone(t *testing.T) {
	const good, other = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	synctest.Test(t, func(t *testing.T) {
		logged := &logtest.Buffer{}
		d := &daemon{session: &session{log: slog.New(slog.NewTextHandler(logged, nil))}}
		d.routes = &routes{phantoms: phantoms{d: d, made: map[string]*accountPhantoms{}}, opened: []proxy.Route{{Account: "wx1"}}}
		d.members = newMembers(d)
		for _, secret := range []string{good, other, other} {
			d.members.configure(configOf(t, fmt.Sprintf("accounts:\n  - {name: wx1, secret: %s}\n  - {name: wx2, secret: %s}\n", secret, secret)))
		}
		elsewhere, err := phantom.New("wx1", []byte(good))
		if err != nil {
			t.Fatal(err)
		}
		token, err := elsewhere.Make("app", nil, time.Now().Add(phantom.Life-time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.routes.phantoms.of("wx1").Open(token, time.Now()); err != nil {
			t.Error(err)
		}
		if len(d.routes.phantoms.made) != 1 {
			t.Errorf("sealers were made of %d accounts, want of the one that has a route", len(d.routes.phantoms.made))
		}
	})
}

// TestPhantomsOfAReplacedSecretLiveForFourHours: whatever the former secret and the new one
// are, and although nobody asks for a phantom in between.
func TestPhantomsOfAReplacedSecretLiveForFourHours(t *testing.T) {
	const good, other, short = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210", "sh0rt"
	for name, secrets := range map[string][2]string{
		"a good one by a good one":  {good, other},
		"a short one by a good one": {short, other},
		"none by a good one":        {"", other},
		"a good one by a short one": {good, short},
		"a good one by none":        {good, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logged := &logtest.Buffer{}
				d := &daemon{session: &session{log: slog.New(slog.NewTextHandler(logged, nil))}}
				d.routes = &routes{phantoms: phantoms{d: d, made: map[string]*accountPhantoms{}}}
				d.members = newMembers(d)
				configure := func(secret string) {
					t.Helper()
					env := map[string]string{"ZHONGKONG_APPID": "wx1", "ZHONGKONG_SECRET": secret}
					cfg, _, err := config.Load(config.Input{Env: func(name string) string { return env[name] }})
					if err != nil {
						t.Fatal(err)
					}
					d.members.configure(cfg)
				}
				forged := func(s *phantom.Sealer) string { // with a secret that a stranger knows
					t.Helper()
					token, err := s.Make("app", nil, time.Now().Add(time.Hour))
					if err != nil {
						t.Fatal(err)
					}
					return token
				}
				opens := func(token string) bool {
					_, err := d.routes.phantoms.of("wx1").Open(token, time.Now())
					return err == nil
				}
				configure(secrets[0])
				former := d.routes.phantoms.of("wx1")
				warned := strings.Count(logged.String(), "valid in this process only")
				configure(secrets[1])
				if secrets[1] == other {
					elsewhere, err := phantom.New("wx1", []byte(other))
					if err != nil {
						t.Fatal(err)
					}
					if _, err := elsewhere.Open(forged(d.routes.phantoms.of("wx1")), time.Now()); err != nil {
						t.Errorf("a phantom is not valid on another server with the new secret: %v", err)
					}
					if n := strings.Count(logged.String(), "valid in this process only"); n != warned {
						t.Errorf("it warns of the new secret:\n%s", logged)
					}
				}
				time.Sleep(phantom.Life - time.Second)
				if !opens(forged(former)) {
					t.Error("a phantom of the former secret died before its end")
				}
				time.Sleep(time.Second)
				if opens(forged(former)) {
					t.Error("a phantom of the former secret is accepted for ever")
				}
			})
		})
	}
}

// pushServer is an issuer and its API. It tells the tokens of the calls to the API.
func pushServer(t *testing.T, name string) (url string, called func() []string) {
	t.Helper()
	var mu sync.Mutex
	var tokens []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasSuffix(r.URL.Path, "/auth") {
			_, _ = fmt.Fprintf(w, `{"code":0,"data":{"token":"token-of-%s","expire_time":"%d"}}`, name, time.Now().Add(24*time.Hour).UnixMilli())
			return
		}
		tokens = append(tokens, r.Header.Get("Token"))
		_, _ = w.Write([]byte("{}"))
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(tokens) }
}

func TestAnAccountStaysAsItWasWhenAReloadChangesWhereTheTokenOfARouteBelongs(t *testing.T) {
	first, calledFirst := pushServer(t, "first")
	second, calledSecond := pushServer(t, "second")
	own, calledOwn := pushServer(t, "own")
	b := newBench(t).with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_API_BASE", "", "S", secret)
	yaml := func(base, label string) string {
		return "accounts:\n- {name: push, source: http, preset: getui, app_id: a, app_key: k, master_secret_env: S, api_base: '" + base + "', label: " + label + "}\n" +
			"routes:\n- {name: api, account: push}\n- {name: own, account: push, to: '" + own + "', put: header token}\n"
	}
	path := b.file("zk.yaml", yaml(first, "one"))
	d := b.with("ZHONGKONG_CONFIG", path).serve()
	d.ready()
	call := func(route string) {
		t.Helper()
		if status, fields := d.send(ops, "GET", "/proxy/"+route+"/x", ""); status != http.StatusOK {
			t.Errorf("a call of %s: %d %v", route, status, fields)
		}
	}
	reload := func(text string) {
		t.Helper()
		read := func() int { return strings.Count(d.stderr.String(), "configuration read again") }
		before := read()
		b.rewrite(path, text)
		b.eventually("the configuration to be read again", func() bool { return read() > before })
	}
	call("api")
	reload(yaml(first, "two"))
	reload(yaml(second, "three"))
	d.says("stays as it was until the next start")
	if status, fields := d.send(ops, "POST", "/v1/tokens/push/refresh", ""); status != http.StatusOK || fields["access_token"] != "token-of-first" {
		t.Errorf("a refresh: %d %v", status, fields)
	}
	call("api")
	call("own")
	reload("accounts:\n- {name: other, source: http, preset: getui, app_id: a, app_key: k, master_secret_env: S, api_base: '" + first + "'}\n" +
		"routes:\n- {name: api, account: other}\n")
	reload(yaml(second, "four")) // the account comes back
	if status, fields := d.send(ops, "POST", "/v1/tokens/push/refresh", ""); status != http.StatusOK || fields["access_token"] != "token-of-first" {
		t.Errorf("a refresh of the account that has come back: %d %v", status, fields)
	}
	call("api")
	if got := calledFirst(); len(got) != 3 || slices.Contains(got, "token-of-second") || len(calledSecond()) > 0 || len(calledOwn()) != 1 {
		t.Errorf("the first API got %v, the second %v, the route's own %v", got, calledSecond(), calledOwn())
	}
	if n := strings.Count(d.stderr.String(), "stays as it was"); n != 2 {
		t.Errorf("it is said %d times", n)
	}
}

// The AppSecret may be replaced with the same edit, or while the change of the base waits.
func TestASecretIsTakenOverThoughTheBaseOfARouteStays(t *testing.T) {
	first, _ := pushServer(t, "first")
	second, calledSecond := pushServer(t, "second")
	b := newBench(t).with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_API_BASE", "")
	file := b.file("secret", "the-former-secret")
	yaml := func(base string) string {
		return "accounts:\n- {name: push, source: http, preset: getui, app_id: a, app_key: k, master_secret_file: " + file + ", api_base: '" + base + "'}\n" +
			"routes:\n- {name: api, account: push}\n"
	}
	path := b.file("zk.yaml", yaml(first))
	d := b.with("ZHONGKONG_CONFIG", path).serve()
	d.ready()
	b.rewrite(path, yaml(second))
	d.says("stays as it was until the next start")
	b.rewrite(file, "the-later-secret")
	d.says("secret read again")
	if status, fields := d.send(ops, "POST", "/v1/tokens/push/refresh", ""); status != http.StatusOK || fields["access_token"] != "token-of-first" {
		t.Errorf("a refresh: %d %v", status, fields)
	}
	if len(calledSecond()) > 0 {
		t.Errorf("the second API got %v", calledSecond())
	}
}

func TestAReloadOfTheSimulatorsAccountsKeepsNoneAsItWas(t *testing.T) {
	b := newBench(t).with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_API_BASE", "", "S", secret)
	const yaml = "accounts:\n- {name: push, source: http, preset: getui, app_id: a, app_key: k, master_secret_env: S}\n- {name: wx1, secret_env: S}\n" +
		"routes:\n- {name: api, account: push}\n- {name: wx, account: wx1}\n"
	path := b.file("zk.yaml", yaml)
	d := b.with("ZHONGKONG_CONFIG", path).serve("--sandbox")
	d.ready()
	b.rewrite(path, yaml+"- {name: later, account: wx1}\n")
	d.says("configuration read again")
	if strings.Contains(d.stderr.String(), "stays as it was") {
		t.Errorf("an account stays as it was:\n%s", d.stderr.String())
	}
}
