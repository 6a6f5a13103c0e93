package config

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator"
)

// resolve fills in the accounts' defaults and reads the secrets.
func (c *Config) resolve(in Input, p *problems) {
	c.readUsersFile(p)
	c.resolveLone(p)
	c.resolveAccounts(in, p)
	c.lone = lone{}
}

// resolveLone makes the account of the flags or the top level an element of the
// list.
func (c *Config) resolveLone(p *problems) {
	if c.isRefused("appid", "secret", "secret_file", "secret_env", "accounts") {
		return
	}
	secret := ""
	for _, key := range []string{"secret", "secret_file", "secret_env"} {
		if c.Given(key) {
			if secret != "" {
				p.addf("%s and %s both give the secret: remove one of them", c.Where(secret), c.Where(key))
				return
			}
			secret = key
		}
	}
	switch {
	case !c.Given("appid") && secret == "":
		return
	case len(c.Accounts) > 0 && c.Given("appid"):
		p.addf("%s: the accounts are listed at %s: add this one there, or remove one of the two", c.Where("appid"), c.Where("accounts"))
		return
	case len(c.Accounts) > 0 && rank(c.Where(secret)) == 1:
		return // an account's secret_env may name the variable
	case len(c.Accounts) > 0:
		p.addf("%s: the accounts are listed at %s: move the secret to its account", c.Where(secret), c.Where("accounts"))
		return
	case !c.Given("appid"):
		p.addf("%s: a secret without an account: give --appid too (or ZHONGKONG_APPID, or appid in the file)", c.Where(secret))
		return
	}
	a := newAccount(c.Where("appid"))
	a.values.Text["appid"] = c.lone.appID
	a.form.secrets["secret"] = secretForms{c.lone.secret, c.lone.secretFile, c.lone.secretEnv}
	c.Accounts = []Account{a}
}

func overlay(base, given coordinator.Limits) coordinator.Limits {
	if given.PerDay != unset {
		base.PerDay = given.PerDay
		base.Reserve = min(max(1, min(base.Reserve, given.PerDay/10)), given.PerDay-1)
	}
	if given.Reserve != unset {
		base.Reserve = given.Reserve
	}
	base.Window, base.DayBegins = cmp.Or(given.Window, base.Window), cmp.Or(given.DayBegins, base.DayBegins)
	if given.MinInterval != unset {
		base.MinInterval = given.MinInterval
	}
	return base
}

func (c *Config) check(p *problems) {
	c.checkTimes(p)
	c.checkRedis(p)
	named := c.checkAccounts(p)
	c.checkMembers(p)
	for _, u := range c.Users {
		for _, name := range u.Accounts {
			if name != "*" && named != nil && named[name] == "" && !c.mayAppear(name) {
				p.addf("%s: %s.accounts: %q is not among the accounts: they are %s", u.where, u.path, name, c.names())
			}
		}
	}
	c.checkRoutes(named, p)
	c.checkTokenFiles(named, p)
	c.checkGrants(p)
	c.checkPhantoms(p)
	if c.isRefused("tls_cert", "tls_key", "client_ca") {
		return
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		p.addf("tls_cert and tls_key belong together: give both")
	}
	if c.ClientCA != "" && c.TLSCert == "" {
		p.addf("%s: client_ca needs TLS: give tls_cert and tls_key too", c.Where("client_ca"))
	}
}

// keyRemedy is how to get a key file.
const keyRemedy = "write what `zhongkong keygen` prints to a file, and give it as seal_key_file"

// GrantDirs yields the key and the path of each directory for grants that is given.
func (c *Config) GrantDirs() iter.Seq2[string, string] {
	return func(yield func(key, dir string) bool) {
		if c.GrantSpool != "" && !yield("grants.spool", c.GrantSpool) {
			return
		}
		if c.GrantCopy != "" {
			yield("grants.copy", c.GrantCopy)
		}
	}
}

// confirmable is the shortest lock_life in which a Redis that syncs each second confirms
// that a grant is presented: a second until it is synced and one until a replica reports
// that, and what is sent before and after.
const confirmable = 2500 * time.Millisecond

// checkGrants reports directories for grants that could not be sealed, because they
// always are, and those that would be lost: at the next start from elsewhere, or both
// with one disk. It warns of a lock_life that may be too short.
func (c *Config) checkGrants(p *problems) {
	for key, dir := range c.GrantDirs() {
		if !filepath.IsAbs(dir) {
			p.addf("%s: %s %q must be an absolute path: another start, from another directory, would not find what is in it", c.Where(key), key, dir)
		}
	}
	if c.GrantSpool != "" && filepath.Clean(c.GrantSpool) == filepath.Clean(c.GrantCopy) {
		p.addf("%s: grants.spool and grants.copy are the same directory: the copy is for the loss of a disk, put it elsewhere", c.Where("grants.copy"))
	}
	if c.LockTTL < confirmable && !c.isRefused("lock_life") && len(c.NeedsGrants()) > 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%s: lock_life is %v: a Redis with appendfsync everysec may not confirm within that time that a grant is presented; "+
			"with grants it should be %v or more", c.Where("lock_life"), c.LockTTL, confirmable))
	}
	if c.SealKeyFile != "" || c.isRefused("seal_key_file") {
		return
	}
	for _, key := range []string{"grants.spool", "grants.copy"} {
		if c.Given(key) {
			p.addf("%s: %s needs seal_key_file, because grants are always sealed: %s", c.Where(key), key, keyRemedy)
		}
	}
}

// Unsealed returns what is wrong with each account whose grant could not be sealed. Load
// does not report it: with --sandbox it does not matter.
func (c *Config) Unsealed() []error {
	var all []error
	for _, a := range c.Accounts {
		if a.Grant.Needed && c.SealKeyFile == "" {
			all = append(all, a.errorf("its grant (a refresh token, say) is always sealed, which needs seal_key_file: %s", keyRemedy))
		}
	}
	return all
}

// checkAccounts returns the place of each account in the file, by name; nil if there
// is none, or one could not be read.
func (c *Config) checkAccounts(p *problems) map[string]string {
	names, issuers := map[string]string{}, map[string]string{}
	c.checkParents(p)
	for i := range c.Accounts {
		faulty := c.Accounts[i].form.faulty
		if !faulty {
			if err := c.describe(&c.Accounts[i]); err != nil {
				p.add(err)
			}
		}
		a := c.Accounts[i]
		if a.Name == "" && faulty {
			c.refused["accounts"] = true
			continue // the fault may be in its name
		}
		if err := CheckName(a.Name); err != nil {
			p.addf("%s: %v", a.where, err)
			continue
		}
		first := names[a.Name]
		if first != "" {
			p.addf("%s: account %q is listed before, at %s: remove one of them", a.where, a.Name, first)
		}
		names[a.Name] = a.where
		if faulty {
			continue
		}
		c.checkLimits(a, p)
		chainOf := a.Kind().Chain
		if chainOf == nil || !a.HasSecret() {
			continue
		}
		chain := chainOf(a.Values())
		if chain == "" {
			continue
		}
		chain += " " + a.Of
		if other := issuers[chain]; other != "" && first == "" {
			used := "AppID"
			if _, inWeCom := a.Kind().Field("corpid"); inWeCom {
				used = "secret" // each is of another app of the corp
			}
			if a.Source == sources.HTTP || a.Source == sources.OAuth2 {
				used = "credential"
			}
			p.addf("%s: account %q: the %s is used with the same source before, at %s: each would end the other's token", a.where, a.Name, used, other)
		}
		issuers[chain] = a.where
	}
	if len(names) == 0 || c.isRefused("accounts") {
		return nil
	}
	return names
}

// checkTimes validates the times and limits of the whole configuration. The rules
// are the coordinator's, with tighter bounds where a larger value is a mistake.
func (c *Config) checkTimes(p *problems) {
	times := coordinator.Config{LockTTL: c.LockTTL, FetchTimeout: c.FetchTimeout}
	if c.isRefused("lock_life") { // take one that allows every fetch_timeout
		times.LockTTL = time.Minute
	}
	c.coordinatorProblems(p, "", times)
	within := func(key string, v, least, most time.Duration, why string) {
		if v < least || v > most {
			p.addf("%s: %s is %v: it must be %v to %v: %s", c.Where(key), key, v, least, most, why)
		}
	}
	within("refresh_every", c.RefreshEvery, time.Second, 24*time.Hour, "WeChat's tokens live two hours and its calls are counted")
	within("drain_delay", c.DrainDelay, 0, 10*time.Minute, "load balancers notice a 503 within that")
}

// coordinatorProblems adds what the coordinator refuses in cfg, with the settings'
// names. where is the place to name; "": that of the setting that the problem is
// about.
func (c *Config) coordinatorProblems(p *problems, where string, cfg coordinator.Config) {
	cfg.Store = struct{ coordinator.Store }{} // Validate does not use it
	err := cfg.Validate()
	if err == nil {
		return
	}
	for line := range strings.Lines(settingNames.Replace(err.Error())) {
		line = strings.TrimSuffix(line, "\n")
		key, _, _ := strings.Cut(line, " ")
		p.addf("%s: %s", cmp.Or(where, c.Where(key)), line)
	}
}

// settingNames are the settings that fill the fields of coordinator.Config.
var settingNames = strings.NewReplacer(
	"LockTTL", "lock_life", "FetchTimeout", "fetch_timeout", "RefreshEvery", "refresh_every",
	"it must be 0 to less than Limits.PerDay", "it must be 1 to less than per_day", // 0 is a field that is not set
	"Limits.PerDay", "per_day", "Limits.Reserve", "reserve", "Limits.MinInterval", "min_interval",
)

// checkLimits checks an account's limits against each other and its schedule.
func (c *Config) checkLimits(a Account, p *problems) {
	// A token is replaced at half of its life at the latest. WeChat's and WeCom's live two hours.
	const halfLife = time.Hour
	l := a.Limits
	c.coordinatorProblems(p, fmt.Sprintf("%s: account %q", a.where, a.Name), coordinator.Config{RefreshEvery: a.RefreshEvery, Limits: l})
	if l.MinInterval > time.Hour {
		p.add(a.errorf("min_interval is %v: it must be at most 1h, or reports of a rejected token would wait for it", l.MinInterval))
	}
	if a.RefreshEvery < time.Second { // reported already
		return
	}
	if a.RefreshEvery > 24*time.Hour {
		p.add(a.errorf("refresh_every is %v: it must be at most 24h", a.RefreshEvery))
		return
	}
	window, each := l.Window, fmt.Sprintf("in %v", l.Window)
	if window == 0 {
		window, each = 24*time.Hour, "a day"
	}
	every, because, remedy := a.RefreshEvery, "refresh_every", "refresh less often or raise per_day"
	sooner := every > halfLife && a.Kind().RejectsToken != nil
	if sooner {
		every, because, remedy = halfLife, "half of its tokens' life", "raise per_day"
	}
	needed := int(window / every)
	makes := a.errorf("%s (%v) makes %d calls %s, per_day allows %d", because, every, needed, each, l.PerDay).Error()
	switch tried := l.PerDay == coordinator.DefaultLimits().PerDay && !c.Given("budget.per_day"); { // harmless for a short trial
	case needed > l.PerDay && !tried && !sooner:
		p.addf("%s: %s", makes, remedy)
	case needed > l.PerDay:
		c.Warnings = append(c.Warnings, makes+": "+remedy)
	case 5*needed > 4*l.PerDay:
		c.Warnings = append(c.Warnings, makes+": more than four fifths raise the alert ZhongkongBudgetNearlyGone: "+remedy)
	}
}

// CheckName reports what is wrong with an account's name.
func CheckName(name string) error {
	if name == "" {
		return errors.New("appid is missing: every account needs one")
	}
	if err := coordinator.ValidateName(name); err != nil {
		return fmt.Errorf("account %.40q: %w", name, err)
	}
	return nil
}

func (c *Config) names() string {
	var names []string
	for _, a := range c.Accounts {
		names = append(names, a.Name)
	}
	return strings.Join(names, ", ")
}
