package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// rewrite replaces a file's content.
func (b *bench) rewrite(path, content string) {
	b.t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func TestASecretFileIsReadAgainWithoutAConfigurationFile(t *testing.T) {
	b := newBench(t)
	path := b.file("secret", wrongSecret)
	d := b.with("ZHONGKONG_SECRET", "", "ZHONGKONG_SECRET_FILE", path).serve()
	d.says("40125")

	b.rewrite(path, secret+"\n")
	d.says(`msg="secret read again" account=` + appID + " changed=true")
	d.ready()

	b.rewrite(path, "")
	d.says("secret_file: " + path + " is empty")
	d.says("the new configuration is refused, the old one stays")
	if fresh := b.reader().must("refresh"); fresh != b.wechat.Issued()[1].Token+"\n" {
		t.Errorf("refresh with the old secret = %q", fresh)
	}

	b.rewrite(path, secret)
	b.hup()
	d.says(`msg="secret read again" account=` + appID + " changed=false")
	if out := d.stop(); strings.Contains(out.stderr, "no configuration file") {
		t.Errorf("SIGHUP says that there is nothing to read:\n%s", out.stderr)
	}
}

func TestARefusedConfigurationIsReadAgainWhenTheFilesThatItNamesAreThere(t *testing.T) {
	hash, err := auth.Hash("narrow-password")
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	if err := b.wechat.AddAccount(wechattest.Account{AppID: "wx2", Secret: secret}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const first = "accounts:\n- {appid: " + appID + ", secret_env: S}\n"
	path := b.file("zk.yaml", first)
	d := b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", secret, "ZHONGKONG_CONFIG", path).serve()
	d.ready()
	refused := func() int { return strings.Count(d.stderr.String(), "the new configuration is refused") }

	b.rewrite(path, "users_file: "+dir+"/users.yaml\n"+first+"- {appid: wx2, secret_file: "+dir+"/secret}\n")
	b.eventually("the configuration to be refused", func() bool { return refused() == 1 })
	b.rewrite(dir+"/secret", secret)
	b.eventually("the configuration without users to be refused", func() bool { return refused() == 2 })
	b.rewrite(dir+"/users.yaml", "- {name: a, password: '"+hash+"', accounts: '*'}\n")
	d.says("accounts_added=1 accounts_changed=0 accounts_removed=0 users_added=1")
	d.ready()
	b.rewrite(dir+"/secret", wrongSecret)
	d.says("account=wx2 changed=true")
	b.eventually("the configuration to be read the second time", func() bool {
		return strings.Count(d.stderr.String(), "configuration read again") == 2
	})
}

// TestAReloadRefusesWhatTheStartRefuses: the settings that were fixed at the start count,
// whatever the new configuration says of them.
func TestAReloadRefusesWhatTheStartRefuses(t *testing.T) {
	hash, err := auth.Hash("narrow-password")
	if err != nil {
		t.Fatal(err)
	}
	whole := newBench(t)
	const (
		reader    = "- {appid: " + appID + "}\n"
		refresher = "- {appid: " + appID + ", secret_env: S}\n"
		grant     = reader + "- {name: crm, source: oauth2, grant: refresh_token, token_url: 'https://id.example.com/token', client_id: c, client_secret_env: S}\n"
	)
	user := "users:\n- {name: a, password: '" + hash + "', accounts: '*'}\n"
	keys := whole.file("seal.keys", strings.TrimSpace(whole.must("keygen"))+"\n")
	for name, c := range map[string]struct {
		b             *bench
		accounts      string
		other         string // what would allow it at a start
		want, setting string
	}{
		"a secret without a Redis":          {whole.nowhere(), refresher, "redis: " + sharedRedis.URL() + "\n", "no Redis was given", "redis"},
		"a secret and a simulator's tokens": {whole.with("ZHONGKONG_PREFIX", ""), refresher, "prefix: t-real\n", "belongs to `serve --sandbox`", "prefix"},
		"a grant that could not be sealed":  {whole, grant, "seal_key_file: " + keys + "\n", "needs seal_key_file", "seal_key_file"},
	} {
		t.Run(name, func(t *testing.T) {
			prefix := ""
			if c.setting == "prefix" {
				prefix = "prefix: " + whole.env["ZHONGKONG_PREFIX"] + "-sandbox\n"
			}
			b := *c.b
			b.t = t
			path := b.file("zk.yaml", prefix+"accounts:\n"+reader)
			d := b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", secret, "ZHONGKONG_CONFIG", path).serve()
			b.rewrite(path, prefix+user+"accounts:\n"+c.accounts)
			b.hup()
			d.says("the new configuration is refused")
			b.rewrite(path, c.other+user+"accounts:\n"+c.accounts)
			b.hup()
			d.says("These settings take effect at the next start: " + c.setting)
			out := d.stop()
			if n := strings.Count(out.stderr, c.want); n < 2 {
				t.Errorf("it says %d times %q, want it for each of the two:\n%s", n, c.want, out.stderr)
			}
			if strings.Contains(out.stderr, "configuration read again") || b.calls() > 0 {
				t.Errorf("the new configuration is in use: %d calls\n%s", b.calls(), out.stderr)
			}
		})
	}
}

// TestARefusedReloadLeavesTheSimulatorAsItIs: its accounts go on with the tokens that they have.
func TestARefusedReloadLeavesTheSimulatorAsItIs(t *testing.T) {
	hash, err := auth.Hash("narrow-password")
	if err != nil {
		t.Fatal(err)
	}
	const (
		before = "accounts:\n- {name: push, source: http, preset: feishu_tenant, app_id: i, app_secret_env: S}\n"
		after  = "accounts:\n- {name: push, source: http, preset: getui, app_id: i, app_key: k, master_secret_env: S}\n"
	)
	for name, c := range map[string]struct{ refused, why string }{
		"a user that is given twice":     {after + "users:\n- {name: " + opsName + ", password: '" + hash + "', accounts: '*'}\n", "is also given by --user"},
		"an account that it cannot play": {after + "- {name: m, source: oauth2, token_url: 'https://id.example.com/token', client_id: c, client_auth: mtls, certificate: CERT, certificate_key: KEY}\n", "the simulator has no TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t).with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_API_BASE", "", "S", secret)
			cert, key := b.certificate("client.example")
			path := b.file("zk.yaml", before)
			d := b.with("ZHONGKONG_CONFIG", path).serve("--sandbox")
			d.ready()
			b.rewrite(path, strings.NewReplacer("CERT", cert, "KEY", key).Replace(c.refused))
			b.hup()
			d.says(c.why)
			if status, fields := d.send(ops, "POST", "/v1/tokens/push/refresh", ""); status != http.StatusOK {
				t.Errorf("a refresh after the refused reload: %d %v", status, fields)
			}
			b.rewrite(path, after)
			b.hup()
			d.says("accounts_added=0 accounts_changed=1 accounts_removed=0")
			d.ready()
		})
	}
}

func TestAReloadWarnsOfWhatAGrantLacks(t *testing.T) {
	b := newBench(t)
	keys := b.file("seal.keys", strings.TrimSpace(b.must("keygen"))+"\n")
	const reader = "accounts:\n- {appid: " + appID + "}\n"
	path := b.file("zk.yaml", reader)
	d := b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", secret, "ZHONGKONG_CONFIG", path, "ZHONGKONG_SEAL_KEY_FILE", keys).serve()
	b.rewrite(path, "grants: {spool: "+t.TempDir()+"}\n"+reader+
		"- {name: crm, source: oauth2, grant: refresh_token, token_url: 'https://id.example.com/token', client_id: c, client_secret_env: S}\n")
	b.hup()
	d.says("accounts_added=1")
	for _, want := range []string{"grants.spool is not set", "grants.copy is not set"} {
		if !strings.Contains(d.stderr.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, d.stderr.String())
		}
	}
}

func TestSealKeysAreReadAgainWhenTheirFileChanges(t *testing.T) {
	b := newBench(t)
	old, next := strings.TrimSpace(b.must("keygen")), strings.TrimSpace(b.must("keygen"))
	kid := func(line string) string { name, _, _ := strings.Cut(line, ":"); return name }
	path := b.file("seal.keys", old+"\n")
	b = b.with("ZHONGKONG_SEAL_KEY_FILE", path)
	d := b.serve()
	d.ready()

	b.rewrite(path, old+"\n"+next+"\n")
	d.says("seal keys read again: writes with " + kid(old) + ", reads " + kid(old) + ", " + kid(next))
	b.rewrite(path, next+"\n"+old+"\n")
	d.says("seal keys read again: writes with " + kid(next) + ", reads " + kid(next) + ", " + kid(old))
	b.rewrite(path, "k:short\n")
	d.says("the new seal keys are refused, the old ones stay")
	d.send(ops, "POST", "/v1/tokens/"+appID+"/refresh", "")

	onlyNext := b.with("ZHONGKONG_SEAL_KEY_FILE", b.file("next.keys", next)).reader()
	if got, want := onlyNext.must("show"), b.wechat.Issued()[1].Token+"\n"; got != want {
		t.Errorf("show with the new key alone = %q, want %q", got, want)
	}
	for _, line := range []string{old, next} {
		if _, key, _ := strings.Cut(line, ":"); strings.Contains(d.stderr.String(), key) {
			t.Error("the log holds a key")
		}
	}
}

func TestEveryTextAboutTheRotationOfAKeyWaitsBeforeTheOldOneIsRemoved(t *testing.T) {
	page := func(name string) string {
		content, err := os.ReadFile(filepath.Join("docs", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	english := []string{"at the bottom", "to the top", "refreshed", "doctor", "remove the old line"}
	chinese := []string{"末尾", "移到第一行", "刷新", "doctor", "删除旧"}
	for name, c := range map[string]struct {
		text  string
		steps []string
	}{
		"the help of keygen": {newBench(t).must("keygen", "--help"), english},
		"security.md":        {page("security.md"), english},
		"security.zh-CN.md":  {page("security.zh-CN.md"), chinese},
		"grants.md":          {page("grants.md"), english},
		"grants.zh-CN.md":    {page("grants.zh-CN.md"), chinese},
	} {
		_, rest, _ := strings.Cut(c.text, c.steps[0])
		for _, step := range c.steps[1:] {
			_, after, found := strings.Cut(rest, step)
			if !found {
				t.Errorf("%s: after %q there is no %q", name, c.steps, step)
				break
			}
			rest = after
		}
	}
}

func TestAReloadCountsUsersAndComparesWithWhatRuns(t *testing.T) {
	hash, err := auth.Hash("narrow-password")
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	base := "accounts:\n- {appid: " + appID + ", secret_env: S}\n"
	user := func(name, rights string) string {
		return "- {name: " + name + ", password: '" + hash + "', accounts: '*'" + rights + "}\n"
	}
	path := b.file("zk.yaml", base)
	d := b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", secret, "ZHONGKONG_CONFIG", path).serve()
	change := func(content, want string) {
		t.Helper()
		b.rewrite(path, base+content)
		b.hup()
		d.says(want)
	}
	const next = "these settings take effect at the next start"
	warned := func() int { return strings.Count(d.stderr.String(), next) }

	change("users:\n"+user("a", "")+user("b", ""), "users_added=2 users_changed=0 users_removed=0")
	change("users:\n"+user("a", ", refresh: true")+user("c", ""), "users_added=1 users_changed=1 users_removed=1")
	change("lock_life: 4s\nusers:\n"+user("a", ""), "users_added=0 users_changed=1 users_removed=1")
	if n := warned(); n != 1 || !regexp.MustCompile(next+`" settings=\[lock_life\]`).MatchString(d.stderr.String()) {
		t.Errorf("%d warnings of what takes effect at the next start, want one of lock_life", n)
	}
	change("", "users_added=0 users_changed=0 users_removed=1")
	if n := warned(); n != 1 {
		t.Error("a setting that was changed back is warned of")
	}
}

func TestAPasswordOfTheUsersFileIsReplacedWithoutAGap(t *testing.T) {
	hashes := map[string]string{}
	for _, password := range []string{"old-password", "new-password"} {
		hash, err := auth.Hash(password)
		if err != nil {
			t.Fatal(err)
		}
		hashes[password] = "'" + hash + "'"
	}
	older, newer := hashes["old-password"], hashes["new-password"]
	b := newBench(t)
	user := func(hashes string) string { return "- {name: app, password: " + hashes + ", accounts: '*'}\n" }
	path := b.file("users.yaml", user(older))
	d := b.with("ZHONGKONG_USERS_FILE", path).serve() // beside ZHONGKONG_USERS
	d.ready()
	valid := func(password string, want bool) {
		t.Helper()
		status, _ := d.send("app:"+password, "GET", "/v1/tokens/"+appID, "")
		if got := status == http.StatusOK; got != want || !got && status != http.StatusUnauthorized {
			t.Errorf("%s: %d, want it valid: %v", password, status, want)
		}
	}
	reloads := 0
	change := func(content string) {
		t.Helper()
		reloads++
		b.rewrite(path, content)
		b.eventually("the users to be read again", func() bool { return strings.Count(d.stderr.String(), "users_changed=1") == reloads })
	}
	valid("old-password", true)
	valid("new-password", false)

	held := d.longPoll("app:old-password")
	d.holding(1)

	change(user("[" + older + ", " + newer + "]"))
	valid("old-password", true)
	valid("new-password", true)
	d.holding(1)
	stays := d.longPoll("app:new-password")
	d.holding(2)

	b.rewrite(path, user("["+older+", x]"))
	d.says(path + ":1: users[0].password[1] is not a hash")
	valid("new-password", true)

	change(user(newer))
	if got := <-held; got.status != http.StatusUnauthorized {
		t.Errorf("the long poll with the removed password = %d, want 401", got.status)
	}
	valid("old-password", false)
	valid("new-password", true)
	d.send(ops, "POST", "/v1/tokens/"+appID+"/refresh", "")
	if got := <-stays; got.status != http.StatusOK {
		t.Errorf("the long poll with the new password = %d, want 200", got.status)
	}
}

func TestLabelsAreOnThePageAndReloaded(t *testing.T) {
	b := newBench(t)
	config := func(label string) string {
		return "accounts:\n- {name: shop, appid: " + appID + ", secret_env: S, label: '" + label + "'}\n"
	}
	path := b.file("zk.yaml", config("商城 <1>"))
	d := b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", secret, "ZHONGKONG_CONFIG", path).serve()
	d.ready()
	has := func(label string) {
		t.Helper()
		want := `<span class="label">` + label + " · " + appID + "</span>"
		for _, page := range []string{"/", "/accounts/shop"} {
			if _, html := d.get(page); !strings.Contains(html, want) {
				t.Errorf("%s does not have %s", page, want)
			}
		}
	}
	has("商城 &lt;1&gt;")

	b.rewrite(path, config("Shop"))
	b.hup()
	d.says("accounts_added=0 accounts_changed=1 accounts_removed=0")
	has("Shop")
	if calls := len(b.wechat.Issued()); calls != 1 {
		t.Errorf("a new label made %d calls to the issuer", calls-1)
	}
}

func TestAReloadKeepsParentsForAsLongAsTheirChildren(t *testing.T) {
	b := newBench(t)
	if err := b.wechat.AddAccount(wechattest.Account{AppID: "wx2", Secret: secret}); err != nil {
		t.Fatal(err)
	}
	const wx1, wx2 = "- {name: wx1, appid: " + appID + ", secret_env: S}\n", "- {name: wx2, secret_env: S}\n"
	child := func(parent string) string { return "- {name: ticket, source: jsapi_ticket, of: " + parent + "}\n" }
	path := b.file("zk.yaml", "accounts:\n"+wx1)
	d := b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", secret, "ZHONGKONG_CONFIG", path).serve()
	d.ready()
	counted := map[string]int{}
	change := func(accounts, want string) {
		t.Helper()
		b.rewrite(path, "accounts:\n"+accounts)
		b.hup()
		counted[want]++
		b.eventually("the reload: "+want, func() bool { return strings.Count(d.stderr.String(), want) >= counted[want] })
		d.ready()
	}
	parentOf := func(name string) string {
		t.Helper()
		_, fields := d.send(ops, "GET", "/v1/accounts/"+name, "")
		if fields["parent_error"] != nil {
			t.Errorf("%s: %v", name, fields["parent_error"])
		}
		parent, _ := fields["parent"].(string)
		return parent
	}

	change(child("wx2")+wx1+wx2, "accounts_added=2 accounts_changed=0 accounts_removed=0")
	if parent := parentOf("ticket"); parent != "wx2" {
		t.Errorf("the child was added with parent %q", parent)
	}
	change(child("wx1")+wx1+wx2, "accounts_added=0 accounts_changed=1 accounts_removed=0")
	if parent := parentOf("ticket"); parent != "wx1" {
		t.Errorf("the child's parent is %q, want wx1", parent)
	}
	change(child("wx1")+"- {name: wx1, appid: "+appID+", secret_env: S, refresh_every: 50m}\n"+wx2, "accounts_added=0 accounts_changed=1 accounts_removed=0")
	if parent := parentOf("ticket"); parent != "wx1" {
		t.Errorf("after a change of the parent, the child's parent is %q, want wx1", parent)
	}
	change(wx2, "accounts_added=0 accounts_changed=0 accounts_removed=2")
	if _, fields := d.send(ops, "GET", "/v1/accounts/wx1", ""); fields["error"] != "unknown_account" {
		t.Errorf("the removed parent is still there: %v", fields)
	}
	if out := d.stop(); strings.Contains(out.stderr, "an account cannot be removed") || strings.Contains(out.stderr, "an account is refused") {
		t.Errorf("a reload failed:\n%s", out.stderr)
	}
}

func TestAParentThatGetsASecretLetsItsChildBeRefreshed(t *testing.T) {
	b := newBench(t)
	ticket := "accounts:\n- {name: wx1, appid: " + appID + ", tickets: [jsapi]"
	path := b.file("zk.yaml", ticket+"}\n")
	d := b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", secret, "ZHONGKONG_CONFIG", path).serve()
	d.says("wx1.jsapi (reader)")
	b.rewrite(path, ticket+", secret_env: S}\n")
	b.hup()
	d.ready()
	if _, fields := d.send(ops, "GET", "/v1/accounts/wx1.jsapi", ""); fields["generation"] == 0.0 {
		t.Errorf("the child has no token: %v", fields)
	}
}

func TestNewLimitsAndPeriodsAreTakenOverWithoutAGap(t *testing.T) {
	b := newBench(t)
	account := func(more string) string { return "accounts:\n- {appid: " + appID + ", secret_env: S" + more + "}\n" }
	path := b.file("zk.yaml", account(""))
	d := b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", secret, "ZHONGKONG_CONFIG", path).serve()
	d.ready()
	const at = "/v1/tokens/" + appID
	held := d.longPoll(ops)
	d.holding(1)

	stop := make(chan struct{})
	var asking sync.WaitGroup
	for range 2 {
		asking.Go(func() { // ends with stop
			for {
				select {
				case <-stop:
					return
				default:
				}
				if status, fields := d.send(ops, "GET", at, ""); status != http.StatusOK {
					t.Errorf("a request during the reloads = %d %v, want 200", status, fields["error"])
					return
				}
			}
		})
	}
	for i := range 20 {
		b.rewrite(path, account(fmt.Sprintf(", refresh_every: %dm, limits: {per_day: %d}", 30+i, 1000+i)))
		b.hup()
		b.eventually("the reload", func() bool {
			return strings.Count(d.stderr.String(), "accounts_added=0 accounts_changed=1 accounts_removed=0") == i+1
		})
	}
	close(stop)
	asking.Wait()
	select {
	case got := <-held:
		t.Errorf("the long poll ended with %d during the reloads", got.status)
		return
	default:
	}
	if calls := len(b.wechat.Issued()); calls != 1 {
		t.Errorf("the reloads made %d calls to the issuer", calls-1)
	}
	d.send(ops, "POST", at+"/refresh", "")
	if got := <-held; got.status != http.StatusOK {
		t.Errorf("the long poll that was open during the reloads = %d, want 200", got.status)
	}

	// Two calls were made today; one is not reserved for the schedule.
	b.rewrite(path, account(", limits: {per_day: 30, reserve: 29}"))
	b.hup()
	b.eventually("the last reload", func() bool { return strings.Count(d.stderr.String(), "accounts_changed=1") == 21 })
	if status, fields := d.send(ops, "POST", at+"/refresh", ""); status != http.StatusTooManyRequests {
		t.Errorf("a refresh beyond the new limit = %d %v, want 429", status, fields)
	}
	if status, _ := d.send(ops, "GET", at, ""); status != http.StatusOK {
		t.Errorf("the token beyond the new limit = %d, want 200", status)
	}
}
