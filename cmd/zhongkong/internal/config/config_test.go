package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/coordinator"
)

const appSecret = "5f4dcc3b5aa765d61d8327deb882cf99"

// load loads a YAML text (none: "") under flags and variables.
func load(t *testing.T, yaml string, flags, env map[string]string) (*config.Config, error) {
	t.Helper()
	all := map[string]string{}
	for k, v := range flags {
		all[k] = v
	}
	if yaml != "" {
		path := filepath.Join(t.TempDir(), "zk.yaml")
		if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		all["config"] = path
	}
	c, _, err := config.Load(config.Input{Flags: all, Env: func(name string) string { return env[name] }})
	return c, err
}

func mustLoad(t *testing.T, yaml string, flags, env map[string]string) *config.Config {
	t.Helper()
	c, err := load(t, yaml, flags, env)
	if err != nil {
		t.Fatalf("Load() = %v, want no error", err)
	}
	return c
}

func secretFile(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrecedenceIsFlagEnvironmentFileDefault(t *testing.T) {
	yaml := "redis: redis://file:1\nprefix: file\nlisten: 127.0.0.1:1\nappid: wxfile\n"
	env := map[string]string{"ZHONGKONG_REDIS": "redis://env:1", "ZHONGKONG_PREFIX": "env"}
	c := mustLoad(t, yaml, map[string]string{"redis": "redis://flag:1"}, env)
	if c.Redis != "redis://flag:1" || c.Prefix != "env" || c.Listen != "127.0.0.1:1" || c.LogFormat != "text" {
		t.Errorf("got %q %q %q %q, want the flag's, the variable's, the file's and the default",
			c.Redis, c.Prefix, c.Listen, c.LogFormat)
	}
	if len(c.Accounts) != 1 || c.Accounts[0].Name != "wxfile" || !c.Accounts[0].Secret("secret").IsZero() {
		t.Errorf("accounts = %+v, want the reader wxfile", c.Accounts)
	}
}

func TestAccountsInheritWhatTheyLeaveOut(t *testing.T) {
	yaml := `
source: stable_token
api_base: http://127.0.0.1:9090/
refresh_every: 20m
budget: {per_day: 1000, reserve: 50, min_interval: 2s}
accounts:
  - appid: wx1
    secret: ` + appSecret + `
  - name: shop
    appid: wx2
    secret_env: SHOP_SECRET
    source: token
    refresh_every: 30m
    limits: {per_day: 200}
  - appid: wx3
    refresh_every: 24h
    limits: {per_day: 1}
`
	c := mustLoad(t, yaml, nil, map[string]string{"SHOP_SECRET": " " + appSecret + "\n"})
	one, _ := c.Account("wx1")
	two, _ := c.Account("shop")
	if one.Source != "stable_token" || one.APIBase != "http://127.0.0.1:9090" || one.RefreshEvery != 20*time.Minute {
		t.Errorf("wx1 = %+v, want the top level's source, base and interval", one)
	}
	if want := (coordinator.Limits{PerDay: 1000, Reserve: 50, MinInterval: 2 * time.Second}); one.Limits != want {
		t.Errorf("wx1 limits = %+v, want %+v", one.Limits, want)
	}
	if want := (coordinator.Limits{PerDay: 200, Reserve: 20, MinInterval: 2 * time.Second}); two.Limits != want {
		t.Errorf("shop limits = %+v, want %+v", two.Limits, want)
	}
	if three, _ := c.Account("wx3"); three.Limits != (coordinator.Limits{PerDay: 1, MinInterval: 2 * time.Second}) {
		t.Errorf("wx3 limits = %+v, want no reserve of the only call", three.Limits)
	}
	if two.AppID() != "wx2" || two.Source != "token" || two.Secret("secret").Reveal() != appSecret {
		t.Errorf("shop = %+v, want its own appid, source and trimmed secret", two)
	}
}

func TestUsersAreParsed(t *testing.T) {
	yaml := `
appid: wx1
users:
  - name: legacy
    password: $argon2id$v=19$m=1,t=1,p=1$YWJj$YWJj
    accounts: "*"
    refresh: true
  - name: sensor
    udp_key: ` + "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=" + `
    accounts: [wx1]
`
	c := mustLoad(t, yaml, nil, nil)
	if len(c.Users) != 2 || !c.Users[0].Refresh || c.Users[0].Accounts[0] != "*" || c.Users[1].UDPKey.IsZero() {
		t.Errorf("users = %+v, want legacy with all rights and sensor with a key", c.Users)
	}
}

func TestASecretFileIsTrimmedAndItsModeIsWarnedOf(t *testing.T) {
	path := secretFile(t, "\ufeff "+appSecret+"\r\n", 0o644)
	c := mustLoad(t, "", map[string]string{"appid": "wx1", "secret_file": path}, nil)
	if got := c.Accounts[0].Secret("secret").Reveal(); got != appSecret {
		t.Errorf("the secret has %d characters, want %d", len(got), len(appSecret))
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "chmod 600 "+path) {
		t.Errorf("warnings = %q, want one that says chmod 600", c.Warnings)
	}
	c = mustLoad(t, "", map[string]string{"appid": "wx1", "secret_file": secretFile(t, appSecret, 0o640)}, nil)
	if len(c.Warnings) != 0 {
		t.Errorf("warnings = %q, want none", c.Warnings)
	}
}

// The > of Windows PowerShell writes UTF-16. Without a line's end it is one word.
func TestASecretFileInUTF16IsSaidToBeSo(t *testing.T) {
	for _, content := range []string{"\xff\xfes\x00e\x00\r\x00\n\x00", "\xff\xfes\x00e\x00", "\xfe\xff\x00s\x00e", "s\x00e\x00"} {
		path := secretFile(t, content, 0o600)
		for _, yaml := range []string{
			"appid: wx1\nsecret_file: " + path + "\n",
			"accounts:\n- {name: books, source: oauth2, client_id: c, token_url: \"https://login.example.com/t\", private_key_file: " + path + "}\n",
		} {
			if _, err := load(t, yaml, nil, nil); err == nil || !strings.Contains(err.Error(), "_file: "+path+" is in UTF-16, which the > of Windows PowerShell writes: save it as UTF-8") {
				t.Errorf("%q: Load() = %v", content, err)
			}
		}
	}
}

func TestASecretHasNoBlanksHoweverItIsGiven(t *testing.T) {
	for _, value := range []string{"hunter2 hunter3", "hunter2\thunter3"} {
		path := secretFile(t, value, 0o600)
		for given, want := range map[string]string{
			"secret: " + strconv.Quote(value): `account "wx1": secret has more than one word`,
			"secret_file: " + path:            `account "wx1": secret_file: ` + path + " has more than one word",
			"secret_env: S":                   `account "wx1": secret_env: the variable S has more than one word: it must be the secret alone`,
		} {
			_, err := load(t, "accounts:\n- {appid: wx1, "+given+"}\n", nil, map[string]string{"S": value})
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter") {
				t.Errorf("%s: Load() = %v, want %q", given, err, want)
			}
		}
	}
}

// ZhongkongBudgetNearlyGone would come each evening.
func TestAScheduleThatNeedsNearlyAllCallsIsWarnedOf(t *testing.T) {
	for yaml, want := range map[string]string{
		"appid: wx1\nbudget: {per_day: 24}\n":                                                "refresh_every (1h0m0s) makes 24 calls a day, per_day allows 24: more than four fifths raise the alert ZhongkongBudgetNearlyGone: refresh less often",
		"appid: wx1\nbudget: {per_day: 29}\n":                                                "makes 24 calls a day, per_day allows 29",
		"appid: wx1\nbudget: {per_day: 30}\n":                                                "",
		"appid: wx1\nrefresh_every: 50s\n":                                                   "makes 1728 calls a day, per_day allows 2000: more than four fifths",
		"appid: wx1\nrefresh_every: 24h\nbudget: {per_day: 3}\n":                             "half of its tokens' life (1h0m0s) makes 24 calls a day, per_day allows 3: raise per_day",
		"appid: wx1\nrefresh_every: 30s\n":                                                   "makes 2880 calls a day, per_day allows 2000: refresh less often",
		"appid: wx1\n":                                                                       "",
		"accounts:\n- {appid: wx1, refresh_every: 10m, limits: {per_day: 7, window: 1h}}\n":  "makes 6 calls in 1h0m0s, per_day allows 7: more",
		"accounts:\n- {appid: wx1, refresh_every: 10m, limits: {per_day: 10, window: 1h}}\n": "",
	} {
		c := mustLoad(t, yaml, nil, nil)
		if got := strings.Join(c.Warnings, "\n"); !strings.Contains(got, want) || len(c.Warnings) > 1 || want == "" && got != "" {
			t.Errorf("%s: warnings %q, want %q", yaml, got, want)
		}
	}
}

func TestASecretOnTheCommandLineIsWarnedOf(t *testing.T) {
	c := mustLoad(t, "", map[string]string{"appid": "wx1", "secret": appSecret}, nil)
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "process list") {
		t.Errorf("warnings = %q, want one about process lists", c.Warnings)
	}
}

func TestANearerSecretReplacesTheOthers(t *testing.T) {
	yaml := "appid: wx1\nsecret_env: NOWHERE\n"
	c := mustLoad(t, yaml, nil, map[string]string{"ZHONGKONG_SECRET": "other"})
	if c.Accounts[0].Secret("secret").Reveal() != "other" {
		t.Error("the variable did not replace the file's secret_env")
	}
	path := secretFile(t, appSecret, 0o600)
	c = mustLoad(t, "", map[string]string{"appid": "wx1", "secret_file": path}, map[string]string{"ZHONGKONG_SECRET": "other"})
	if c.Accounts[0].Secret("secret").Reveal() != appSecret {
		t.Error("--secret-file did not replace ZHONGKONG_SECRET")
	}
}

func TestNoFormattingShowsASecret(t *testing.T) {
	c := mustLoad(t, "accounts:\n  - {appid: wx1, secret: "+appSecret+"}\n", nil, nil)
	type wrapped struct{ inner config.Account }
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if out := fmt.Sprintf(verb+verb+verb, c.Accounts[0], *c, wrapped{c.Accounts[0]}); strings.Contains(out, appSecret) {
			t.Errorf("%s shows the secret: %s", verb, out)
		}
	}
}

func TestSameIgnoresTheLineAndSeesTheSecret(t *testing.T) {
	first := mustLoad(t, "appid: wx1\nsecret: a\n", nil, nil).Accounts[0]
	moved := mustLoad(t, "\n\nappid: wx1\nsecret: a\n", nil, nil).Accounts[0]
	changed := mustLoad(t, "appid: wx1\nsecret: b\n", nil, nil).Accounts[0]
	if !first.Same(moved) || first.Same(changed) {
		t.Errorf("Same: moved %v, changed %v; want true, false", first.Same(moved), first.Same(changed))
	}
}

func TestProblemsNameThePlaceTheFieldAndTheFix(t *testing.T) {
	for name, test := range map[string]struct {
		yaml string
		want []string
	}{
		"an unknown key":                  {"appid: wx1\nrefesh_every: 1h\n", []string{"zk.yaml:2: refesh_every: unknown field: did you mean refresh_every?"}},
		"an unknown key far from any":     {"accounts:\n  - appid: wx1\n    colour: red\n", []string{"zk.yaml:3: accounts[0].colour: unknown field: known are agentid, algorithm, api_base"}},
		"a duplicate key":                 {"appid: wx1\nprefix: a\nprefix: b\n", []string{"zk.yaml:3: prefix: given before, at line 2"}},
		"a number for a duration":         {"appid: wx1\nrefresh_every: 60\n", []string{"zk.yaml:2: refresh_every is a number without a unit", "90s"}},
		"words for a duration":            {"appid: wx1\nrefresh_every: often\n", []string{`zk.yaml:2: refresh_every: "often" is not a duration`}},
		"a number for a text":             {"appid: 12\n", []string{"zk.yaml:1: appid is a number: it must be text; put it in quotes"}},
		"a list for a text":               {"appid: [wx1]\n", []string{"zk.yaml:1: appid is a list: it must be text"}},
		"a group for the list":            {"accounts:\n  appid: wx1\n", []string{"zk.yaml:2: accounts is a group of fields: it must be a list"}},
		"a text for a switch":             {"appid: wx1\nplaintext_ok: maybe\n", []string{"zk.yaml:2: plaintext_ok is text: write true or false"}},
		"an empty value":                  {"appid:\n", []string{"zk.yaml:1: appid: the value is empty: write text or remove the field"}},
		"an empty file":                   {"# nothing\n", []string{"zk.yaml: the file is empty"}},
		"an empty list":                   {"accounts: []\n", []string{"zk.yaml:1: accounts: the list is empty"}},
		"broken YAML":                     {"appid: wx1\n\tprefix: a\n", []string{"zk.yaml:2: not valid YAML"}},
		"a duplicate account":             {"accounts:\n- appid: wx1\n- appid: wx1\n", []string{`zk.yaml:3: account "wx1" is listed before`, "zk.yaml:2"}},
		"one chain under two names":       {"accounts:\n- {appid: wx1, secret: s}\n- {appid: wx1, name: b, secret: s}\n", []string{`zk.yaml:3: account "b": the AppID is used with the same source before`, "zk.yaml:2"}},
		"an account without a name":       {"accounts:\n- secret: s\n", []string{"zk.yaml:2: appid is missing"}},
		"a name that breaks keys":         {"accounts:\n- appid: 'wx{1}'\n", []string{`zk.yaml:2: account "wx{1}": the name must not hold '{'`}},
		"two secrets":                     {"accounts:\n- {appid: wx1, secret: a, secret_env: B}\n", []string{"zk.yaml:2", "one of secret, secret_file and secret_env"}},
		"a variable that is not set":      {"accounts:\n- {appid: wx1, secret_env: NOT_SET}\n", []string{"zk.yaml:2", "secret_env: the variable NOT_SET is not set"}},
		"a secret in place of its file":   {"accounts:\n- {appid: wx1, secret_file: 00112233445566778899aabbccddeeff}\n", []string{"zk.yaml:2", "not repeated because it may be the secret"}},
		"a secret file that is not there": {"accounts:\n- {appid: wx1, secret_file: /nowhere/s}\n", []string{"zk.yaml:2", "secret_file: cannot read /nowhere/s: no such file"}},
		"a source that does not exist":    {"appid: wx1\nsource: tokens\n", []string{`zk.yaml:2: source: "tokens": write token or stable_token`}},
		"a base that is no address":       {"appid: wx1\napi_base: api.weixin.qq.com\n", []string{"zk.yaml:2: api_base: is not a web address"}},
		"a lock that lives too long":      {"appid: wx1\nlock_life: 5m\n", []string{"zk.yaml:2: lock_life is 5m0s: it must be 1s to 1m"}},
		"a deadline that is too short":    {"appid: wx1\nfetch_timeout: 5ms\n", []string{"zk.yaml:2: fetch_timeout is 5ms: it must be 100ms to 1m"}},
		"a lock below the deadline":       {"appid: wx1\nlock_life: 1s\nfetch_timeout: 1m\n", []string{"zk.yaml:2: lock_life (1s) is too far below the fetch deadline", "raise lock_life to 6s or lower fetch_timeout to 10s"}},
		"a reserve that eats the budget":  {"appid: wx1\nbudget: {per_day: 100, reserve: 100}\n", []string{"account \"wx1\": reserve is 100: it must be 1 to less than per_day (100)"}},
		"a reserve of nothing":            {"appid: wx1\nbudget: {per_day: 100, reserve: 0}\n", []string{"zk.yaml:2: budget.reserve: 0: it must be 1 or more"}},
		"a file in GBK":                   {"appid: wx1\n# \xd6\xd0\n", []string{"zk.yaml:2: not in UTF-8: save the file as UTF-8"}},
		"a budget the schedule exceeds":   {"appid: wx1\nrefresh_every: 1m\nbudget: {per_day: 200, reserve: 1}\n", []string{"refresh_every (1m0s) makes 1440 calls a day, per_day allows 200"}},
		"a budget of nothing":             {"appid: wx1\nbudget: {per_day: 0}\n", []string{"zk.yaml:2: budget.per_day: 0: it must be 1 or more"}},
		"a password that is no hash":      {"appid: wx1\nusers:\n- {name: a, password: hunter2, accounts: '*'}\n", []string{"zk.yaml:3: users[0].password is not a hash", "zhongkong passwd"}},
		"a missing password and more":     {"appid: wx1\nusers:\n- {name: a, nonsense: 1}\n", []string{"nonsense: unknown field", "users[0].password is missing"}},
		"a short datagram key":            {"appid: wx1\nusers:\n- {name: a, udp_key: YWJj, accounts: '*'}\n", []string{"zk.yaml:3: users[0].udp_key is base64 of 3 bytes instead of 32"}},
		"a user of an unknown account":    {"appid: wx1\nusers:\n- {name: a, password: $h, accounts: [wx2]}\n", []string{`zk.yaml:3: users[0].accounts: "wx2" is not among the accounts: they are wx1`}},
		"a certificate without its key":   {"appid: wx1\ntls_cert: a.pem\n", []string{"tls_cert and tls_key belong together"}},
		"a Redis URL that is none":        {"appid: wx1\nredis: localhost:6379\n", []string{"zk.yaml:2: redis: is not a Redis URL"}},
		"a secret beside a list":          {"secret: s\naccounts:\n- appid: wx1\n", []string{"move the secret to its account", "zk.yaml:3"}},
		"an account beside a list":        {"appid: wx0\naccounts:\n- appid: wx1\n", []string{"zk.yaml:1: the accounts are listed at"}},
		"a secret without an account":     {"secret: s\n", []string{"zk.yaml:1: a secret without an account: give --appid"}},
		"several problems at once":        {"appid: 12\nprefix:\nlog_level: loud\n", []string{"zk.yaml:1: appid", "zk.yaml:2: prefix", "zk.yaml:3: log_level"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, test.yaml, nil, nil)
			if err == nil {
				t.Fatal("Load() = nil, want an error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Load() = %v\nwant %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("Load() = %v: it repeats the password", err)
			}
		})
	}
}

func TestProblemsOfFlagsAndVariablesNameThem(t *testing.T) {
	for name, test := range map[string]struct {
		flags, env map[string]string
		want       string
	}{
		"an unreadable file":    {map[string]string{"config": "/nowhere/zk.yaml"}, nil, "/nowhere/zk.yaml: cannot read the configuration: no such file"},
		"an empty flag":         {map[string]string{"prefix": ""}, nil, "--prefix: the value is empty"},
		"a flag's duration":     {map[string]string{"appid": "wx1", "refresh_every": "5"}, nil, `--refresh-every: "5" is not a duration`},
		"a variable's level":    {nil, map[string]string{"ZHONGKONG_LOG_LEVEL": "loud"}, `ZHONGKONG_LOG_LEVEL: "loud": write debug, info, warn or error`},
		"a URL with a password": {map[string]string{"redis": "redis://:hun%ter2@h:1"}, nil, "--redis: is not a Redis URL"},
		"both secrets":          {map[string]string{"appid": "wx1", "secret": "hunter2", "secret_file": "x"}, nil, "--secret and --secret-file both give the secret"},
		"no appid":              {nil, map[string]string{"ZHONGKONG_SECRET": "hunter2"}, "ZHONGKONG_SECRET: a secret without an account"},
		"an address":            {map[string]string{"listen": "8080"}, nil, `--listen: "8080" is not an address: write HOST:PORT`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, "", test.flags, test.env)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Load() = %v, want %q in it", err, test.want)
			}
			if strings.Contains(err.Error(), "hun") {
				t.Errorf("Load() = %v: it repeats a secret", err)
			}
		})
	}
}

func TestAnAppIDAndAnAppSecretThatAreSwappedAreSaidToBeSo(t *testing.T) {
	const id = "wx8acdb7df5beb68fd"
	swapped := "the AppID has the form of an AppSecret, and is not repeated because it may be one: an AppID begins with wx"
	for yaml, want := range map[string]string{
		"appid: " + appSecret + "\nsecret: " + id + "\n":                                                     swapped,
		"appid: " + appSecret + "\nsecret_file: /nowhere\n":                                                  swapped,
		"accounts:\n- {appid: " + appSecret + ", secret: " + id + ", tickets: [jsapi]}\n":                    swapped,
		"accounts:\n- {name: " + appSecret + ", source: stable_token}\n":                                     swapped,
		"accounts:\n- {name: shop, appid: " + appSecret + "}\nfiles:\n- {account: shop, path: /run/token}\n": swapped,
		"accounts:\n- {name: shop, appid: " + id + ", secret: " + id + "}\n":                                 `account "shop": the secret has the form of an AppID: put the AppSecret there`,
	} {
		_, err := load(t, yaml, nil, nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), appSecret) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: Load() = %v, want %q alone", yaml, err, want)
		}
	}
	mustLoad(t, "accounts:\n- {name: "+id+", secret: "+appSecret+"}\n", nil, nil)
}

func TestAFieldThatIsWrongIsNotSaidToBeMissingToo(t *testing.T) {
	_, err := load(t, "appid: wx1\nusers:\n- {name: a, password: hunter2, accounts: '*'}\n", nil, nil)
	if err == nil || strings.Contains(err.Error(), "missing") {
		t.Errorf("Load() = %v, want the one problem there is", err)
	}
}

func TestBrokenYAMLNeverShowsASecret(t *testing.T) {
	for _, yaml := range []string{
		"secret: *hunter2\n", "secret: 'hunter2\n", "secret: \"hunter2\\q\"\n", "secret: hunter2: x\n",
		"secret: !hunter2 x\n", "secret: @hunter2\n", "secret: %hunter2\n", "hunter2\n", "- hunter2\n", "secret: [hunter2\n", "secret: {hunter2: }\n",
	} {
		_, err := load(t, yaml, nil, nil)
		if err == nil {
			t.Errorf("Load(%q) = nil, want an error", yaml)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Load(%q) = %v: it repeats the secret", yaml, err)
		}
	}
}

// FuzzLoad checks that no file makes Load panic.
func FuzzLoad(f *testing.F) {
	f.Add("accounts:\n- &a {appid: wx1, secret: s}\n- *a\n")
	f.Add("a: &a [*a]\n")
	f.Add("users: [{name: x, password: $1, accounts: [y]}]\nappid: z\n")
	f.Fuzz(func(t *testing.T, yaml string) {
		if len(yaml) > 10_000 || yaml == "" {
			return
		}
		_, _ = load(t, yaml, nil, nil)
	})
}

func TestEverySettingIsAFlagAVariableAndAField(t *testing.T) {
	for _, s := range config.Settings() {
		if s.Arg == "" || s.Usage == "" {
			t.Errorf("%s has no flag, or no words in the help", s.Key)
		}
		if want := "ZHONGKONG_" + strings.ToUpper(strings.ReplaceAll(s.Key, ".", "_")); s.Env() != want {
			t.Errorf("%s: Env() = %s, want %s", s.Key, s.Env(), want)
		}
	}
	env := map[string]string{
		"ZHONGKONG_INSTANCE": "one", "ZHONGKONG_LOCK_LIFE": "4s", "ZHONGKONG_FETCH_TIMEOUT": "7s", "ZHONGKONG_REPLICAS": "2",
		"ZHONGKONG_TLS_CERT": "c.pem", "ZHONGKONG_TLS_KEY": "k.pem", "ZHONGKONG_CLIENT_CA": "ca.pem", "ZHONGKONG_PLAINTEXT_OK": "true",
		"ZHONGKONG_METRICS_OPEN": "1", "ZHONGKONG_UDP": "127.0.0.1:9091", "ZHONGKONG_EMBEDDED_REDIS": "true",
	}
	c := mustLoad(t, "", nil, env)
	if c.Instance != "one" || c.LockTTL != 4*time.Second || c.FetchTimeout != 7*time.Second || c.Replicas != 2 ||
		c.TLSCert != "c.pem" || c.TLSKey != "k.pem" || c.ClientCA != "ca.pem" || !c.PlaintextOK || !c.MetricsOpen ||
		c.UDP != "127.0.0.1:9091" || !c.EmbeddedRedis {
		t.Errorf("Load() = %+v, want what the variables say", c)
	}
	c = mustLoad(t, "appid: wx1\nreplicas: 1_0\nembedded_redis: true\n", map[string]string{"replicas": "3"}, nil)
	if c.Replicas != 3 || !c.EmbeddedRedis {
		t.Errorf("replicas = %d, embedded_redis = %v, want 3 and true", c.Replicas, c.EmbeddedRedis)
	}
}

func TestAPasswordThatIsNotEscapedIsNotRepeated(t *testing.T) {
	for _, url := range []string{
		"redis://default:7/hunter2@10.9.8.7:6379/0", "redis://default:7?hunter2@10.9.8.7:6379/0", "redis://default:/hunter2@10.9.8.7:6379/0",
		"redis://:57#hunter2@10.9.8.7:6379/0", "redis://a:hun%zzter2@h:1", "rediss://:1/2/hunter2@h:6379",
	} {
		_, err := load(t, "", nil, map[string]string{"ZHONGKONG_REDIS": url})
		if err == nil || !strings.Contains(err.Error(), "%2F") || strings.Contains(err.Error(), "unter2") {
			t.Errorf("%s: Load() = %v", url, err)
		}
	}
	for _, url := range []string{
		"redis://h:1", "redis://h:1/", "redis://u:p%2F%3F%23%40@h:1/15?dial_timeout=1s&addr=h2:1", "unix:///run/redis.sock?db=0",
		"redis://h:1?master_name=m&password=p@q&addr=h2:1", "rediss://[::1]:6379/0",
	} {
		mustLoad(t, "", nil, map[string]string{"ZHONGKONG_REDIS": url})
	}
}

func TestTheListenerIsKnownWhateverElseIsWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zk.yaml")
	if err := os.WriteFile(path, []byte("listen: 127.0.0.1:7\nrefesh: 1\nsecret_file: /nowhere\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"ZHONGKONG_CONFIG": path, "ZHONGKONG_TLS_CERT": "/c.pem", "ZHONGKONG_LOG_LEVEL": "loud"}
	in := config.Input{Env: func(name string) string { return env[name] }}
	if address, cert, err := config.Listener(in); err != nil || address != "127.0.0.1:7" || cert != "/c.pem" {
		t.Errorf("Listener() = %q, %q, %v", address, cert, err)
	}
	for _, text := range []string{"", "listen: [", "listen: here\n", "listen: 8080\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		delete(env, "ZHONGKONG_LISTEN")
		if address, _, err := config.Listener(in); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: Listener() = %q, %v, want what is wrong with the file", text, address, err)
		}
		env["ZHONGKONG_LISTEN"] = "127.0.0.1:8"
		if address, _, err := config.Listener(in); err != nil || address != "127.0.0.1:8" {
			t.Errorf("%q: Listener() = %q, %v, want that of the variable", text, address, err)
		}
	}
}

func TestUsersAreTheSameIfTheyMayTheSame(t *testing.T) {
	load := func(user string) config.User {
		return mustLoad(t, "appid: wx1\nusers:\n- {name: a, "+user+"}\n", nil, nil).Users[0]
	}
	one := load("password: $h, accounts: [wx1]")
	if !one.Same(load("accounts: [wx1], password: $h")) {
		t.Error("the order of the fields makes a difference")
	}
	for _, other := range []string{"password: $i, accounts: [wx1]", "password: [$h, $i], accounts: [wx1]", "password: $h, accounts: '*'", "password: $h, accounts: [wx1], refresh: true"} {
		if one.Same(load(other)) {
			t.Errorf("%s is taken for the same", other)
		}
	}
}
