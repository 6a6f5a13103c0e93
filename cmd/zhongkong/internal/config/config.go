// Package config makes one checked configuration of the command line, the
// environment and a YAML file, in that order of precedence.
//
// Every problem is reported at once, each with the place it was found in, the
// name of the field and what to write instead. No error holds a secret.
package config

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Config is what a command works with. Load makes it; once it is used nothing
// changes it.
type Config struct {
	File string // the YAML file, "" if there is none

	Redis    string // go-redis URL, "" if none was given
	Prefix   string
	Instance string // this process's name in Redis, "" to make one up
	Replicas int    // that confirm a token; -1: what suits the URL

	EmbeddedRedis bool // serve runs a Redis of its own

	Listen       string
	RefreshEvery time.Duration
	LockTTL      time.Duration
	FetchTimeout time.Duration
	Budget       coordinator.Limits

	LogLevel  slog.Level
	LogFormat string // FormatText or FormatJSON

	TLSCert     string
	TLSKey      string
	ClientCA    string
	PlaintextOK bool
	MetricsOpen bool // without credentials
	UDP         string
	SealKeyFile string
	DrainDelay  time.Duration // between SIGTERM and the port's closing
	Seal        string        // SealRequire, SealPrefer or SealAllow; "" without a key file

	RedisCA, RedisCert, RedisKey string // PEM files for TLS to Redis

	Accounts []Account
	Users    []User

	// Warnings are for a person to read; nothing in them stops the program.
	Warnings []string

	lone    lone               // the account that has no list around it
	budget  coordinator.Limits // what was given of it
	forms   []accountForm      // beside Accounts, until checked
	userAt  []string           // beside Users: where each was written
	files   []string           // what was read
	index   map[string]int     // name :: place in Accounts
	origins map[string]string  // setting's key :: where it was given
	refused map[string]bool    // setting's key :: it was given, and could not be taken
	unread  bool               // the file could not be taken at all
}

// The log formats.
const (
	FormatText = "text"
	FormatJSON = "json"
)

// The kinds of source, as people name them.
const (
	KindToken       = "token"
	KindStableToken = "stable_token"
)

// DefaultPrefix is the prefix of every key in Redis unless another is given.
const DefaultPrefix = "zhongkong"

// DefaultAPIBase is where WeChat answers.
const DefaultAPIBase = "https://api.weixin.qq.com"

// Account is one account of the configuration.
type Account struct {
	Name         string // what Redis and callers know it by; the AppID if nothing else was said
	AppID        string
	Label        string // a name for people, "" if it has none
	Secret       Secret // zero: this process is a reader of the account
	Source       string // KindToken or KindStableToken
	APIBase      string
	RefreshEvery time.Duration // resolved
	Limits       coordinator.Limits

	SecretFile string // where Secret was read from; "" if it was given otherwise

	where string // "zk.yaml:12", for errors
}

// Same reports whether a and b ask for the same, wherever they were written.
func (a Account) Same(b Account) bool {
	secret := a.Secret.Reveal() == b.Secret.Reveal()
	a.Secret, b.Secret, a.SecretFile, b.SecretFile, a.where, b.where = Secret{}, Secret{}, "", "", "", ""
	return secret && a == b
}

// User is a caller of the HTTP interface.
type User struct {
	Name     string
	Password Secret   // the hash that `zhongkong passwd` prints
	Accounts []string // names, or "*" alone
	Refresh  bool     // may force a refresh
	UDPKey   Secret   // base64 of 32 bytes, zero if it sends no datagrams

	// For how long it is told to keep a token at most and at least; 0: as it is.
	Told, ToldAtLeast time.Duration
}

// Same reports whether u and v ask for the same.
func (u User) Same(v User) bool {
	return u.Name == v.Name && u.Refresh == v.Refresh && u.Told == v.Told && u.ToldAtLeast == v.ToldAtLeast && slices.Equal(u.Accounts, v.Accounts) &&
		u.Password.Reveal() == v.Password.Reveal() && u.UDPKey.Reveal() == v.UDPKey.Reveal()
}

// lone is an account as flags or top-level keys describe it.
type lone struct {
	appID      string
	secret     string
	secretFile string
	secretEnv  string
	source     string
	apiBase    string
}

// Input is where a configuration comes from.
type Input struct {
	// Flags has the flags that were given, by their key.
	Flags map[string]string

	// Env looks a variable up; one that is empty counts as not set.
	Env func(name string) string

	// Environ lists all variables, as os.Environ does. Nil: none are looked
	// through for names that nothing reads.
	Environ func() []string
}

// Load reads, merges and checks. Its error joins every problem found.
func Load(in Input) (*Config, error) {
	p := &problems{}
	c := read(in, p)
	if !c.unread { // else everything that it says would be missed
		c.resolve(in, p)
		c.check(p)
	}
	c.forms = nil // there are secrets in them
	c.SetAccounts(c.Accounts)
	if err := p.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// Listener returns where a serve of this configuration listens, and its
// certificate ("": plain HTTP). What else is wrong with the configuration does
// not matter: a process that runs lives on with the one it has.
func Listener(in Input) (address, certFile string) {
	c := read(in, &problems{})
	return c.Listen, c.TLSCert
}

// unset marks a limit that was left out: 0 means something.
const unset = -1

func noLimits() coordinator.Limits {
	return coordinator.Limits{PerDay: unset, Reserve: unset, MinInterval: unset}
}

// read reads and merges.
func read(in Input, p *problems) *Config {
	c := &Config{Replicas: -1, budget: noLimits(), origins: map[string]string{}, refused: map[string]bool{}}
	for _, s := range Settings() {
		if s.Default != "" {
			_ = s.apply(c, s.Default) // a test has them all
		}
	}
	c.File = in.Flags["config"]
	if c.File == "" {
		c.File = in.Env("ZHONGKONG_CONFIG")
	}
	if c.File != "" {
		c.files = append(c.files, c.File)
		readFile(c, p)
	}
	c.applyEnv(in, p)
	c.applyFlags(in, p)
	c.Budget = overlay(coordinator.DefaultLimits(), c.budget)
	return c
}

// Account returns the account with the given name.
func (c *Config) Account(name string) (Account, bool) {
	i, found := c.index[name]
	if !found {
		return Account{}, false
	}
	return c.Accounts[i], true
}

// Refreshes reports whether an account's secret is known, so that tokens may be
// fetched.
func (c *Config) Refreshes() bool {
	return slices.ContainsFunc(c.Accounts, func(a Account) bool { return !a.Secret.IsZero() })
}

// SetAccounts replaces the accounts, before the configuration is used.
func (c *Config) SetAccounts(accounts []Account) {
	c.Accounts = accounts
	c.index = make(map[string]int, len(accounts))
	for i, a := range accounts {
		c.index[a.Name] = i
	}
}

// Files returns every file that the configuration was read from.
func (c *Config) Files() []string { return c.files }

// Fixed returns the settings in which c differs from old and that only a start
// can change.
func (c *Config) Fixed(old *Config) []string {
	var names []string
	for _, s := range Settings() {
		if s.get != nil && !s.Reloads && s.get(c) != s.get(old) {
			names = append(names, s.Key)
		}
	}
	return names
}

// Given reports whether a setting was given at all, rather than left to its
// default.
func (c *Config) Given(key string) bool { return c.origins[key] != "" }

func (c *Config) applyEnv(in Input, p *problems) {
	for _, s := range Settings() {
		if v := in.Env(s.Env()); v != "" {
			c.set(s, v, s.Env(), p)
		}
	}
}

func (c *Config) applyFlags(in Input, p *problems) {
	for _, s := range Settings() {
		v, given := in.Flags[s.Key]
		if !given || s.apply == nil {
			continue
		}
		if v == "" && s.Key != "redis" {
			c.refused[s.Key] = true
			p.addf("--%s: the value is empty: leave the flag out or give it one", s.Flag())
			continue
		}
		c.set(s, v, "--"+s.Flag(), p)
	}
	if _, given := in.Flags["secret"]; given {
		c.Warnings = append(c.Warnings, "--secret: every user of this machine can read it in the process list; use --secret-file or ZHONGKONG_SECRET")
	}
}

// set applies one value; origin is the place to name in errors.
func (c *Config) set(s Setting, value, origin string, p *problems) {
	if s.apply == nil {
		return
	}
	if err := s.apply(c, value); err != nil {
		c.refused[s.Key] = true
		p.addf("%s: %v", origin, err)
		return
	}
	// A secret given more nearly replaces the other ways of giving it.
	if s.group == groupSecret {
		c.forgetSecrets(rank(origin))
	}
	c.origins[s.Key] = origin
}

// forgetSecrets drops the ways to the secret that were given further away than
// near.
func (c *Config) forgetSecrets(near int) {
	for key, field := range map[string]*string{
		"secret": &c.lone.secret, "secret_file": &c.lone.secretFile, "secret_env": &c.lone.secretEnv,
	} {
		if c.origins[key] != "" && rank(c.origins[key]) < near {
			*field = ""
			delete(c.origins, key)
		}
	}
}

// rank orders origins: file, environment, flag.
func rank(origin string) int {
	switch {
	case strings.HasPrefix(origin, "--"):
		return 2
	case strings.HasPrefix(origin, variablePrefix):
		return 1
	default:
		return 0
	}
}

// isRefused reports whether one of the settings was given and could not be taken:
// what follows from it need not be said as well.
func (c *Config) isRefused(keys ...string) bool {
	return slices.ContainsFunc(keys, func(key string) bool { return c.refused[key] })
}

// Where names the place a setting was given, or its default.
func (c *Config) Where(key string) string {
	if o := c.origins[key]; o != "" {
		return o
	}
	return fmt.Sprintf("%s (default)", key)
}
