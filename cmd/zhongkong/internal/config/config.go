// Package config reads a configuration from the command line, the environment and a
// YAML file, in that order of precedence, and checks it.
//
// It reports all problems at once, each with its place, the name of the field and what
// to write instead. No error contains a secret.
package config

import (
	"cmp"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/tokenfile"
	"github.com/zhongkong/zhongkong/coordinator"
)

// Config is a configuration that was read and checked. It does not change once it is
// in use.
type Config struct {
	File string // the YAML file, "" if there is none

	Redis    string // Redis URL, "" if none was given
	Prefix   string
	Instance string // this process's name in Redis, "" to generate one
	Replicas int    // that confirm a token; -1: depends on the URL

	EmbeddedRedis bool // serve runs a Redis in its process

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
	AccessLog   bool
	Pprof       string // an address; "": none
	UDP         string
	SealKeyFile string
	DrainDelay  time.Duration // between SIGTERM and the closing of the port
	Seal        string        // SealRequire, SealPrefer or SealAllow; "" without a key file

	RedisCA, RedisCert, RedisKey string // PEM files for TLS to Redis

	GrantSpool, GrantCopy string // directories; "": none

	Accounts  []Account
	Users     []User
	UsersFile string // a file of more users, which are in Users
	Routes    []Route

	TokenFiles []tokenfile.File // that are written for other programs

	// Warnings are problems in spite of which the program runs.
	Warnings []string

	lone        lone               // the account that is not in a list
	budget      coordinator.Limits // the limits that were given
	userAt      map[string]string  // name :: place of the user
	files       Files              // that were read
	tokenFileAt []string           // the place of each of TokenFiles
	index       map[string]int     // name :: index in Accounts
	origins     map[string]string  // setting's key :: where it was given
	refused     map[string]bool    // setting's key :: whether it was given, but wrong
	unread      bool               // the file could not be read, or not all of it
	unparsed    bool               // nothing of the file could be read
}

// The log formats.
const (
	FormatText = "text"
	FormatJSON = "json"
)

// DefaultPrefix is the prefix of every key in Redis unless another is given.
const DefaultPrefix = "zhongkong"

// User is a caller of the HTTP interface.
type User struct {
	Name      string
	Passwords []Secret // the hashes that `zhongkong passwd` prints, of passwords and keys; every one is valid
	Accounts  []string // names, or "*" alone
	Refresh   bool     // may force a refresh
	Grant     bool     // may put in a refresh token
	UDPKey    Secret   // base64 of 32 bytes; zero: it cannot send datagrams
	Phantom   bool     // gets phantoms in place of tokens

	// The longest and the shortest lifetime of a token that it is told; 0: no limit.
	Told, ToldAtLeast time.Duration

	where string // "users.yaml:12", for errors
	path  string // "users[0]" in that file
}

// Where returns the place of the user in its file, for errors.
func (u User) Where() string { return u.where }

// Same reports whether u and v are equal except for their places in files.
func (u User) Same(v User) bool {
	u.where, v.where, u.path, v.path = "", "", "", ""
	return reflect.DeepEqual(u, v)
}

// lone is the account that flags or top-level keys describe.
type lone struct {
	appID      string
	secret     string
	secretFile string
	secretEnv  string
	source     string
	apiBase    string
}

// Input has the sources of a configuration.
type Input struct {
	// Flags has the values of the flags that were given, by the setting's key.
	Flags map[string]string

	// Env looks up a variable. An empty one counts as not set.
	Env func(name string) string

	// Environ lists all variables, as os.Environ does. Nil: CheckVariables finds
	// none.
	Environ func() []string

	// StoreOnly says that nothing is needed but the store: an account whose secret cannot
	// be read here is one that this process does not refresh, and a warning says so.
	StoreOnly bool
}

// Load reads, merges and checks. Its error joins every problem found. It returns the files
// that it has read, or tried to, with an error too: unless one of them changes, the error
// stays.
func Load(in Input) (*Config, Files, error) {
	p := &problems{}
	c := read(in, p)
	if !c.unread { // without the file, most settings would be reported as missing
		c.resolve(in, p)
		c.check(p)
	}
	for i := range c.Accounts {
		c.Accounts[i].form = nil // it contains secrets
	}
	if err := p.err(); err != nil {
		return nil, c.files, err
	}
	return c, c.files, nil
}

// Listener returns the address at which a serve of this configuration listens, and its
// certificate ("": plain HTTP). It ignores problems, because a running serve keeps the
// configuration that it has, unless they leave the address unknown.
func Listener(in Input) (address, certFile string, err error) {
	p := &problems{}
	c := read(in, p)
	if (c.unparsed || c.isRefused("listen")) && !c.Given("listen") {
		return "", "", p.err()
	}
	return c.Listen, c.TLSCert, nil
}

// unset marks a limit that was not given: 0 is a value.
const unset = -1

func noLimits() coordinator.Limits {
	return coordinator.Limits{PerDay: unset, Reserve: unset, MinInterval: unset}
}

func read(in Input, p *problems) *Config {
	c := &Config{Replicas: -1, budget: noLimits(), userAt: map[string]string{}, files: Files{}, origins: map[string]string{}, refused: map[string]bool{}}
	for _, s := range Settings() {
		if s.Default != "" {
			_ = s.apply(c, s.Default) // a test covers them all
		}
	}
	c.File = cmp.Or(in.Flags["config"], in.Env("ZHONGKONG_CONFIG"))
	if c.File != "" {
		c.files.add(c.File)
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

// Refreshes reports whether this process has an account's secret, and so fetches
// tokens.
func (c *Config) Refreshes() bool {
	return slices.ContainsFunc(c.Accounts, Account.HasSecret)
}

// NeedsGrants returns the names of the accounts whose source presents a grant, of those
// that this process refreshes.
func (c *Config) NeedsGrants() []string {
	var names []string
	for _, a := range c.Accounts {
		if a.Grant.Needed {
			names = append(names, a.Name)
		}
	}
	return names
}

// SetAccounts replaces the accounts. It must not be called once the configuration is in
// use.
func (c *Config) SetAccounts(accounts []Account) {
	c.Accounts = accounts
	c.indexAccounts()
	for i := range accounts {
		_ = c.describe(&accounts[i]) // Load has reported what is wrong
	}
}

// DropSecrets takes their secrets from the accounts. It must not be called once the
// configuration is in use.
func (c *Config) DropSecrets() {
	accounts := slices.Clone(c.Accounts)
	for i := range accounts {
		accounts[i] = accounts[i].WithSecrets(nil)
	}
	c.SetAccounts(accounts)
}

func (c *Config) indexAccounts() {
	c.index = make(map[string]int, len(c.Accounts))
	for i, a := range c.Accounts {
		c.index[a.Name] = i
	}
}

// Fixed returns the settings that differ between c and old and take effect only at a
// start.
func (c *Config) Fixed(old *Config) []string {
	var names []string
	for _, s := range Settings() {
		if s.get != nil && !s.Reloads && s.get(c) != s.get(old) {
			names = append(names, s.Key)
		}
	}
	if !slices.EqualFunc(c.Routes, old.Routes, Route.same) {
		names = append(names, "routes")
	}
	return names
}

// Given reports whether a setting was given; otherwise it has its default.
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
			p.addf("--%s: the value is empty: remove the flag or give it a value", s.Flag())
			continue
		}
		c.set(s, v, "--"+s.Flag(), p)
	}
	if _, given := in.Flags["secret"]; given {
		c.Warnings = append(c.Warnings, "--secret: every user of this machine can read it in the process list; use --secret-file or ZHONGKONG_SECRET")
	}
}

// set applies one value. origin is the place to name in errors.
func (c *Config) set(s Setting, value, origin string, p *problems) {
	if s.apply == nil {
		return
	}
	if err := s.apply(c, value); err != nil {
		c.refused[s.Key] = true
		p.addf("%s: %v", origin, err)
		return
	}
	if s.forSecret {
		c.forgetSecrets(rank(origin))
	}
	c.origins[s.Key] = origin
}

// forgetSecrets drops the ways of giving the secret with a lower precedence.
func (c *Config) forgetSecrets(precedence int) {
	for key, field := range map[string]*string{
		"secret": &c.lone.secret, "secret_file": &c.lone.secretFile, "secret_env": &c.lone.secretEnv,
	} {
		if c.origins[key] != "" && rank(c.origins[key]) < precedence {
			*field = ""
			delete(c.origins, key)
		}
	}
}

// rank returns the precedence of an origin: file, environment, flag.
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

// isRefused reports whether one of the settings was given, but wrong: then problems
// that follow from it need not be reported.
func (c *Config) isRefused(keys ...string) bool {
	return slices.ContainsFunc(keys, func(key string) bool { return c.refused[key] })
}

// Where returns the place at which a setting was given, for errors.
func (c *Config) Where(key string) string {
	if o := c.origins[key]; o != "" {
		return o
	}
	return fmt.Sprintf("%s (default)", key)
}
