package config

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// resolve fills in what accounts left to the defaults and reads the secrets.
func (c *Config) resolve(in Input, p *problems) {
	c.resolveLone(p)
	for i := range c.Accounts {
		a := &c.Accounts[i]
		if a.Name == "" {
			a.Name = a.AppID
		}
		if a.AppID == "" {
			a.AppID = a.Name
		}
		a.Source = firstOf(a.Source, c.lone.source, KindToken)
		a.APIBase = firstOf(a.APIBase, c.lone.apiBase, DefaultAPIBase)
		if a.RefreshEvery == 0 {
			a.RefreshEvery = c.RefreshEvery
		}
		a.Limits = overlay(c.Budget, a.Limits)
		c.resolveSecret(a, c.forms[i].secret, in, p)
	}
	c.lone = lone{}
}

// resolveLone turns the account of the flags or the top level into an element
// of the list.
func (c *Config) resolveLone(p *problems) {
	if c.isRefused("appid", "secret", "secret_file", "secret_env", "accounts") {
		return
	}
	secret := ""
	for _, key := range []string{"secret", "secret_file", "secret_env"} {
		if c.Given(key) {
			if secret != "" {
				p.addf("%s and %s both give the secret: keep one of them", c.Where(secret), c.Where(key))
				return
			}
			secret = key
		}
	}
	switch {
	case !c.Given("appid") && secret == "":
		return
	case len(c.Accounts) > 0 && c.Given("appid"):
		p.addf("%s: the accounts are listed at %s: add this one there, or leave one of the two out", c.Where("appid"), c.Where("accounts"))
		return
	case len(c.Accounts) > 0 && rank(c.Where(secret)) == 1:
		return // a variable that an account's secret_env may name
	case len(c.Accounts) > 0:
		p.addf("%s: whose secret is it? The accounts are listed at %s: put it beside its account", c.Where(secret), c.Where("accounts"))
		return
	case !c.Given("appid"):
		p.addf("%s: a secret without an account: give --appid too (or ZHONGKONG_APPID, or appid in the file)", c.Where(secret))
		return
	}
	c.Accounts = []Account{{AppID: c.lone.appID, where: c.Where("appid"), Limits: noLimits()}}
	c.forms = []accountForm{{secret: secretForms{c.lone.secret, c.lone.secretFile, c.lone.secretEnv}}}
}

func (c *Config) resolveSecret(a *Account, given secretForms, in Input, p *problems) {
	ways := 0
	for _, v := range []string{given.plain, given.file, given.env} {
		if v != "" {
			ways++
		}
	}
	switch {
	case ways > 1:
		p.addf("%s: account %q: give one of secret, secret_file and secret_env", a.where, a.Name)
	case strings.ContainsAny(given.plain, blanks):
		p.addf("%s: account %q: secret: holds more than one word: it must be the secret alone", a.where, a.Name)
	case given.plain != "":
		a.Secret = NewSecret(given.plain)
	case given.env != "":
		v := strings.TrimSpace(in.Env(given.env))
		if v == "" {
			p.addf("%s: account %q: secret_env: the variable %s is not set", a.where, a.Name, given.env)
		}
		a.Secret = NewSecret(v)
	case given.file != "":
		c.files = append(c.files, given.file)
		a.SecretFile = given.file
		secret, warning, err := readSecret(given.file)
		if err != nil {
			p.addf("%s: account %q: secret_file: %v", a.where, a.Name, err)
		}
		if warning != "" {
			c.Warnings = append(c.Warnings, fmt.Sprintf("%s: secret_file: %s", a.where, warning))
		}
		a.Secret = secret
	}
}

// overlay puts the limits that were given over the defaults.
func overlay(base, given coordinator.Limits) coordinator.Limits {
	if given.PerDay != unset {
		base.PerDay = given.PerDay
		base.Reserve = max(1, min(base.Reserve, given.PerDay/10))
	}
	if given.Reserve != unset {
		base.Reserve = given.Reserve
	}
	if given.MinInterval != unset {
		base.MinInterval = given.MinInterval
	}
	return base
}

// check validates the relations between values.
func (c *Config) check(p *problems) {
	c.checkTimes(p)
	c.checkRedis(p)
	named := c.checkAccounts(p)
	for i, u := range c.Users {
		for _, name := range u.Accounts {
			if name != "*" && named != nil && named[name] == "" {
				p.addf("%s: users[%d].accounts: %q is not among the accounts: they are %s", c.userAt[i], i, name, c.names())
			}
		}
	}
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

// checkAccounts returns where each of the accounts was written, by name; nil if
// there is none, or one could not be read.
func (c *Config) checkAccounts(p *problems) map[string]string {
	names, issuers := map[string]string{}, map[string]string{}
	for i, a := range c.Accounts {
		faulty := c.forms[i].faulty
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
			p.addf("%s: account %q is listed before, at %s: keep one of them", a.where, a.Name, first)
		}
		names[a.Name] = a.where
		if faulty {
			continue
		}
		c.checkLimits(a, p)
		if a.Secret.IsZero() {
			continue
		}
		// Two names for one chain of tokens would kill each other's.
		chain := a.AppID + " " + a.Source + " " + a.APIBase
		if other := issuers[chain]; other != "" && first == "" {
			p.addf("%s: account %q: the AppID is used with the same source before, at %s: each would kill the other's token", a.where, a.Name, other)
		}
		issuers[chain] = a.where
	}
	if len(names) == 0 || c.isRefused("accounts") {
		return nil
	}
	return names
}

func (c *Config) checkTimes(p *problems) {
	within := func(key string, v, least, most time.Duration, why string) {
		if v < least || v > most {
			p.addf("%s: %s (%v) must be from %v to %v: %s", c.Where(key), key, v, least, most, why)
		}
	}
	within("lock_life", c.LockTTL, time.Second, time.Minute, "it is how long a killed process keeps the others waiting; it is extended while a call lasts")
	within("fetch_timeout", c.FetchTimeout, 100*time.Millisecond, time.Minute, "a source that answers later than this does not answer")
	if c.FetchTimeout > 10*c.LockTTL && !c.isRefused("fetch_timeout", "lock_life") {
		p.addf("%s: lock_life (%v) is too far below the fetch deadline: fetch_timeout (%v) may be ten times as long; "+
			"raise lock_life to %v or lower fetch_timeout to %v",
			c.Where("lock_life"), c.LockTTL, c.FetchTimeout, c.FetchTimeout/10, 10*c.LockTTL)
	}
	within("refresh_every", c.RefreshEvery, time.Second, 24*time.Hour, "WeChat's tokens live two hours and its calls are counted")
	within("drain_delay", c.DrainDelay, 0, 10*time.Minute, "whatever sends requests here has noticed by then")
}

// checkLimits refuses budgets that cannot be kept.
func (c *Config) checkLimits(a Account, p *problems) {
	l := a.Limits
	if l.Reserve >= l.PerDay {
		p.addf("%s: account %q: reserve (%d) must be below per_day (%d): nothing is left for forced refreshes otherwise", a.where, a.Name, l.Reserve, l.PerDay)
	}
	if l.MinInterval > time.Hour {
		p.addf("%s: account %q: min_interval (%v) must be at most 1h: reports of a dead token would wait for it", a.where, a.Name, l.MinInterval)
	}
	if a.RefreshEvery < time.Second || a.RefreshEvery > 24*time.Hour {
		p.addf("%s: account %q: refresh_every (%v) must be from 1s to 24h", a.where, a.Name, a.RefreshEvery)
		return
	}
	if needed := int(24 * time.Hour / a.RefreshEvery); needed > l.PerDay {
		text := fmt.Sprintf("%s: account %q: refresh_every (%v) makes %d calls a day, per_day allows %d: refresh less often or raise per_day",
			a.where, a.Name, a.RefreshEvery, needed, l.PerDay)
		if l.PerDay == defaultBudget.PerDay && !c.Given("budget.per_day") {
			c.Warnings = append(c.Warnings, text) // for trying out: a minute of it is no harm
			return
		}
		p.addf("%s", text)
	}
}

// CheckName reports what is wrong with an account's name.
func CheckName(name string) error {
	if name == "" {
		return errors.New("appid: is missing: every account needs one")
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

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
