package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
)

const oneUser = "appid: wx1\nusers:\n- {name: a, password: $h, accounts: '*', "

func TestYAMLMeansWhatItSays(t *testing.T) {
	for name, test := range map[string]struct {
		yaml string
		ok   func(c *config.Config) bool
	}{
		"True of a user":            {oneUser + "refresh: True}\n", func(c *config.Config) bool { return c.Users[0].Refresh }},
		"TRUE of a user":            {oneUser + "refresh: TRUE}\n", func(c *config.Config) bool { return c.Users[0].Refresh }},
		"False of a user":           {oneUser + "refresh: False}\n", func(c *config.Config) bool { return !c.Users[0].Refresh }},
		"True of a setting":         {"appid: wx1\nplaintext_ok: True\n", func(c *config.Config) bool { return c.PlaintextOK }},
		"a tagged truth":            {"appid: wx1\nplaintext_ok: !!bool \"true\"\n", func(c *config.Config) bool { return c.PlaintextOK }},
		"a tagged text":             {"appid: !!str 123\n", func(c *config.Config) bool { return c.Accounts[0].AppID() == "123" }},
		"a number in quotes":        {"appid: '123'\n", func(c *config.Config) bool { return c.Accounts[0].AppID() == "123" }},
		"yes as a text":             {"appid: yes\n", func(c *config.Config) bool { return c.Accounts[0].AppID() == "yes" }},
		"digits with separators":    {"appid: wx1\nbudget: {per_day: 1_500}\n", func(c *config.Config) bool { return c.Budget.PerDay == 1500 }},
		"a fraction of an hour":     {"appid: wx1\nrefresh_every: 0.5h\n", func(c *config.Config) bool { return c.RefreshEvery == 30*time.Minute }},
		"a duration in quotes":      {"appid: wx1\nrefresh_every: \"20m\"\n", func(c *config.Config) bool { return c.RefreshEvery == 20*time.Minute }},
		"a tab behind a colon":      {"appid:\twx1\n", func(c *config.Config) bool { return c.Accounts[0].AppID() == "wx1" }},
		"a BOM":                     {"\ufeffappid: wx1\n", func(c *config.Config) bool { return c.Accounts[0].AppID() == "wx1" }},
		"UTF-16":                    {"\xff\xfea\x00p\x00p\x00i\x00d\x00:\x00 \x00w\x00x\x001\x00\n\x00", func(c *config.Config) bool { return c.Accounts[0].AppID() == "wx1" }},
		"line ends of Windows":      {"appid: wx1\r\nprefix: p\r\n", func(c *config.Config) bool { return c.Prefix == "p" }},
		"the marks of one document": {"---\nappid: wx1\n...\n", func(c *config.Config) bool { return c.Accounts[0].AppID() == "wx1" }},
		"nothing in a second one":   {"appid: wx1\n---\n# the end\n", func(c *config.Config) bool { return c.Accounts[0].AppID() == "wx1" }},
		"an alias of a value":       {"prefix: &p one\ninstance: *p\nappid: wx1\n", func(c *config.Config) bool { return c.Instance == "one" }},
		"an alias of a group":       {"accounts:\n- {appid: wx1, limits: &l {per_day: 99}}\n- {appid: wx2, limits: *l}\n", func(c *config.Config) bool { return c.Accounts[1].Limits.PerDay == 99 }},
		"an alias of a list":        {"accounts: [{appid: wx1}]\nusers:\n- {name: a, password: $h, accounts: &x [wx1]}\n- {name: b, password: $h, accounts: *x}\n", func(c *config.Config) bool { return c.Users[1].Accounts[0] == "wx1" }},
		"a block of one line":       {"appid: wx1\nsecret: |\n  " + appSecret + "\n", func(c *config.Config) bool { return c.Accounts[0].Secret("secret").Reveal() == appSecret }},
		"escapes in double quotes":  {"appid: \"wx\\x31\"\n", func(c *config.Config) bool { return c.Accounts[0].AppID() == "wx1" }},
		"a # inside of a word":      {"appid: wx#1\n", func(c *config.Config) bool { return c.Accounts[0].AppID() == "wx#1" }},
		"a delay of nothing":        {"appid: wx1\ndrain_delay: 0s\n", func(c *config.Config) bool { return c.DrainDelay == 0 }},
		"what a user is told": {oneUser + "told: 4m, told_at_least: 1m}\n", func(c *config.Config) bool {
			return c.Users[0].Told == 4*time.Minute && c.Users[0].ToldAtLeast == time.Minute
		}},
		"the reserve of less calls":  {"appid: wx1\nbudget: {per_day: 100}\n", func(c *config.Config) bool { return c.Budget.Reserve == 10 }},
		"a reserve beside the calls": {"appid: wx1\nbudget: {per_day: 100, reserve: 50}\n", func(c *config.Config) bool { return c.Budget.Reserve == 50 }},
	} {
		t.Run(name, func(t *testing.T) {
			if c := mustLoad(t, test.yaml, nil, nil); !test.ok(c) {
				t.Errorf("%q is read as something else", test.yaml)
			}
		})
	}
}

func TestYAMLThatReadersTakeDifferentlyIsRefusedWithWords(t *testing.T) {
	for name, test := range map[string]struct{ yaml, want string }{
		"yes":                       {oneUser + "refresh: yes}\n", "zk.yaml:3: users[0].refresh is text: write true or false (yes, no, on and off are text in YAML 1.2)"},
		"on, of a setting":          {"appid: wx1\nplaintext_ok: on\n", "zk.yaml:2: plaintext_ok is text: write true or false (yes"},
		"a tagged yes":              {oneUser + "refresh: !!bool yes}\n", "zk.yaml:3: users[0].refresh is"},
		"tRUE":                      {oneUser + "refresh: tRUE}\n", "zk.yaml:3: users[0].refresh is text: write true or false"},
		"a truth in quotes":         {oneUser + "refresh: 'true'}\n", "zk.yaml:3: users[0].refresh is text in quotes: write true or false, without the quotes"},
		"1 for true":                {oneUser + "refresh: 1}\n", "zk.yaml:3: users[0].refresh is a number: write true or false"},
		"null for true":             {oneUser + "refresh: null}\n", "zk.yaml:3: users[0].refresh: the value is empty"},
		"a count in quotes":         {"appid: wx1\nreplicas: '1'\n", "zk.yaml:2: replicas is text in quotes: it must be a whole number, without the quotes"},
		"an octal number":           {"appid: wx1\nbudget: {per_day: 0500}\n", `budget.per_day: "0500" begins with 0`},
		"a hexadecimal number":      {"appid: wx1\nbudget: {per_day: 0x500}\n", `budget.per_day: "0x500" begins with 0`},
		"an exponent":               {"appid: wx1\nbudget: {per_day: 1e3}\n", "budget.per_day is a number: it must be a whole number"},
		"a fraction":                {"appid: wx1\nreplicas: 1.0\n", "replicas is a number: it must be a whole number"},
		"an AppID that is a number": {"appid: 1e5\n", "zk.yaml:1: appid is a number: it must be text; put it in quotes"},
		"a secret that is a number": {"appid: wx1\nsecret: 00000000000000000000000000000001\n", "zk.yaml:2: secret is a number: it must be text; put it in quotes"},
		"an infinite secret":        {"appid: wx1\nsecret: .inf\n", "zk.yaml:2: secret is a number"},
		"a date":                    {"appid: 2026-01-02\n", "zk.yaml:1: appid is a date"},
		"a tilde":                   {"appid: ~\n", "zk.yaml:1: appid: the value is empty"},
		"Null":                      {"appid: Null\n", "zk.yaml:1: appid: the value is empty"},
		"a duration without a unit": {"appid: wx1\nrefresh_every: 3600\n", "zk.yaml:2: refresh_every is a number without a unit"},
		"a fraction without a unit": {"appid: wx1\nrefresh_every: 1.5\n", "zk.yaml:2: refresh_every is a number without a unit"},
		"a quoted one without":      {"appid: wx1\nrefresh_every: '3600'\n", `zk.yaml:2: refresh_every: "3600" is not a duration`},
		"minutes and seconds":       {"appid: wx1\nrefresh_every: 20:00\n", `zk.yaml:2: refresh_every: "20:00" is not a duration`},
		"days":                      {"appid: wx1\nrefresh_every: 1d\n", `zk.yaml:2: refresh_every: "1d" is not a duration`},
		"nothing at all":            {"appid: wx1\nrefresh_every: 0s\n", `zk.yaml:2: refresh_every: "0s" must be more than 0`},
		"a delay without a unit":    {"appid: wx1\ndrain_delay: 5\n", "zk.yaml:2: drain_delay is a number without a unit"},
		"a second document":         {"appid: wx1\n---\nappid: wx2\n", "zk.yaml:2: a second document begins after a line of ---"},
		"a YAML directive":          {"%YAML 1.2\n---\nappid: wx1\n", "not valid YAML: a line that begins with %: remove it"},
		"a broken second document":  {"appid: wx1\n---\n[\n", "not valid YAML"},
		"a tab for indentation":     {"accounts:\n\t- appid: wx1\n", "zk.yaml:2: not valid YAML"},
		"a merge":                   {"accounts:\n- &a {appid: wx1}\n- {<<: *a, name: b}\n", "zk.yaml:3: << is not part of YAML 1.2: write the fields out"},
		"a custom tag":              {"appid: !env WX\n", "zk.yaml:1: a value has a tag (a word after !)"},
		"a tag on a list":           {"accounts: !all [{appid: wx1}]\n", "zk.yaml:1: a value has a tag"},
		"binary":                    {"appid: !!binary d3gx\n", "zk.yaml:1: a value has a tag"},
		"an alias of nothing":       {"appid: *\n", "not valid YAML"},
		"a key given twice":         {oneUser + "refresh: true, refresh: false}\n", "zk.yaml:3: users[0].refresh: given before, at line 3"},
		"a group given twice":       {"appid: wx1\nbudget: {per_day: 1}\nbudget: {per_day: 2}\n", "zk.yaml:3: budget: given before, at line 2"},
		"a key of two words":        {"? [a, b]\n: c\nappid: wx1\n", "a field's name must be a word"},
		"a blank in quotes":         {"appid: ' wx1'\n", "zk.yaml:1: appid: the value begins or ends with white space"},
		"a secret of two lines":     {"appid: wx1\nsecret: |\n  one\n  two\n", "zk.yaml:2: secret: the value has several lines"},
		"a secret of two words":     {"appid: wx1\nsecret: one\n  two\n", "secret has more than one word"},
		"a list of one for a text":  {"appid: [wx1]\n", "zk.yaml:1: appid is a list"},
		"a name with a tilde":       {"appid: wx1\nusers:\n- {name: a~b, password: $h, accounts: '*'}\n", "zk.yaml:3: users[0].name must not contain a colon, a tilde or a comma"},
		"told the wrong way round":  {oneUser + "told: 4m, told_at_least: 30m}\n", "zk.yaml:3: users[0]: told (4m0s) must not be below told_at_least (30m0s)"},
		"a delay that is too long":  {"appid: wx1\ndrain_delay: 1h\n", "zk.yaml:2: drain_delay is 1h0m0s: it must be 0s to 10m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, test.yaml, nil, nil)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Load(%q) = %v\nwant %q in it", test.yaml, err, test.want)
			}
		})
	}
}

func TestAPartOfASecretThatBecameANameIsNotRepeated(t *testing.T) {
	for _, yaml := range []string{
		"appid: wx1\nusers: [{name: a, password: $argon2id$v=19$m=65536,t=2,p=1$hunter2, accounts: '*'}]\n",
		"accounts: [{appid: wx1, secret: x,hunter2}]\n",
	} {
		_, err := load(t, yaml, nil, nil)
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "in quotes if that has a comma") {
			t.Errorf("Load() = %v", err)
		}
	}
}

func TestAllProblemsAreSaidAtOnce(t *testing.T) {
	_, err := load(t, `prefix: [a]
lock_life: 5m
accounts:
- {appid: wx1, secret: a, secret_env: B}
- {appid: wx1}
- {name: wx3, refresh_every: 5}
users:
- {name: a, password: $h, accounts: [wx9], refresh: yes}
- {name: a, password: hunter2, accounts: '*'}
tls_cert: c.pem
`, map[string]string{"listen": "8080"}, map[string]string{"ZHONGKONG_LOG_LEVEL": "loud"})
	if err == nil {
		t.Fatal("Load() = nil")
	}
	for _, want := range []string{
		"zk.yaml:1: prefix is a list", "zk.yaml:2: lock_life", "zk.yaml:4: account \"wx1\": give one of secret", "zk.yaml:5: account \"wx1\" is listed before",
		"zk.yaml:6: accounts[2].refresh_every is a number without a unit", `zk.yaml:8: users[0].accounts: "wx9" is not among the accounts: they are wx1, wx1, wx3`,
		"zk.yaml:8: users[0].refresh is text", "zk.yaml:9: users[1].name", "zk.yaml:9: users[1].password is not a hash",
		"tls_cert and tls_key belong together", "--listen", "ZHONGKONG_LOG_LEVEL",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Load() = %v\nwant %q in it", err, want)
		}
	}
}

func TestWhatFollowsFromAnotherProblemIsNotSaid(t *testing.T) {
	for name, yaml := range map[string]string{
		"an account whose name is mistyped":      "accounts:\n- {nam: wx1}\n",
		"a user of an account that has no name":  "accounts:\n- {appid: 12}\n- {appid: wx2}\nusers:\n- {name: a, password: $h, accounts: [wx1]}\n",
		"a user of a list that is none":          "accounts: wx1\nusers:\n- {name: a, password: $h, accounts: [wx1]}\n",
		"a secret beside a mistyped list":        "acounts: [{appid: wx1}]\nsecret: s\n",
		"a secret beside an AppID that is wrong": "appid: 12\nsecret: s\n",
		"a key beside a certificate that is not": "appid: wx1\ntls_cert: 12\ntls_key: k\n",
		"a user without a name that can be read": "appid: wx1\nusers:\n- {name: 12, password: $h, accounts: '*'}\n",
		"a reserve of a budget that is wrong":    "accounts:\n- {appid: wx1, limits: {per_day: x, reserve: 3000}}\n",
		"a file that is none":                    "accounts: [\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, yaml, nil, nil)
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("Load() = %v, want the one problem there is", err)
			}
		})
	}
}

func TestWhatOnlyAStartChangesIsKnownFromTheTable(t *testing.T) {
	load := func(yaml string) *config.Config { return mustLoad(t, "appid: wx1\n"+yaml, nil, nil) }
	old := load("")
	for key, yaml := range map[string]string{
		"listen": "listen: :1\nplaintext_ok: true\n", "drain_delay": "drain_delay: 5s\n", "log_level": "log_level: debug\n", "replicas": "replicas: 2\n",
		"udp": "udp: :9\n", "seal_key_file": "seal_key_file: f\n", "prefix": "prefix: p\n", "redis": "redis: redis://h:1\n",
	} {
		if fixed := load(yaml).Fixed(old); len(fixed) == 0 || fixed[len(fixed)-1] != key && fixed[0] != key {
			t.Errorf("%q: Fixed() = %v, want %s in it", yaml, fixed, key)
		}
	}
	if fixed := load("refresh_every: 30m\nbudget: {per_day: 99}\nusers: [{name: a, password: $h, accounts: '*'}]\n").Fixed(old); len(fixed) != 0 {
		t.Errorf("Fixed() = %v, want nothing: all of it is taken over", fixed)
	}
}

func TestTheBudgetCanBeGivenByFlagAndVariable(t *testing.T) {
	c := mustLoad(t, "appid: wx1\nbudget: {reserve: 7}\n", map[string]string{"budget.per_day": "500"}, map[string]string{"ZHONGKONG_BUDGET_MIN_INTERVAL": "3s"})
	if b := c.Accounts[0].Limits; b.PerDay != 500 || b.Reserve != 7 || b.MinInterval != 3*time.Second {
		t.Errorf("limits = %+v, want 500, 7, 3s", b)
	}
}
