package config

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// Setting is a value that the file, the environment and the command line can all
// give.
type Setting struct {
	Key   string // in the file; GROUP.FIELD for a field of a group
	Usage string
	Arg   string // placeholder in the help

	Default   string // "": none, or Otherwise
	Otherwise string // the default in words, where it is not a value

	ForServe bool // only serve and check have the flag
	Reloads  bool // a running serve applies a change in the file

	forSecret bool // gives the account's secret: a value of higher precedence replaces the other ways
	value
}

// value sets and gets a setting in a Config. The zero value: it is not kept there.
type value struct {
	kind    kind
	apply   func(*Config, string) error
	get     func(*Config) any
	choices []string // all possible values; nil: any that apply accepts
}

// Choices returns the possible values of a setting that has only a few, otherwise nil.
func (s Setting) Choices() []string { return s.choices }

// Flag returns the setting's name on the command line.
func (s Setting) Flag() string {
	return strings.ReplaceAll(strings.ReplaceAll(s.Key, "_", "-"), ".", "-")
}

// Env returns the setting's environment variable.
func (s Setting) Env() string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(s.Key, ".", "_"))
}

// Truth reports whether the setting is a boolean.
func (s Setting) Truth() bool { return s.kind == kindTruth }

// Help returns the setting's line in the help.
func (s Setting) Help() string {
	if without := cmp.Or(s.Default, s.Otherwise); without != "" {
		return s.Usage + " (default " + without + ")"
	}
	return s.Usage
}

// kind is the kind of value that the file must have.
type kind int

const (
	kindText kind = iota
	kindDuration
	kindTruth
	kindCount
)

// Settings returns all settings, in the order of the help and of the reference page in
// docs/, which is generated from them.
func Settings() []Setting { return slices.Clone(settings()) }

var settings = sync.OnceValue(func() []Setting {
	all := append(storeSettings(), accountSettings()...)
	for _, s := range append(answerSettings(), serveSettings()...) {
		s.ForServe = true
		all = append(all, s)
	}
	return all
})

func storeSettings() []Setting {
	return []Setting{
		{Key: "redis", Arg: "URL", Otherwise: "redis://127.0.0.1:6379; serve with a secret needs one of --redis, --embedded-redis and --sandbox",
			value: parsed(func(c *Config) *string { return &c.Redis }, parseRedis),
			Usage: "Redis URL; add addr= for a cluster or master_name= for Sentinel"},
		{Key: "redis_ca", Arg: "F", Otherwise: "the system's", value: text(func(c *Config) *string { return &c.RedisCA }),
			Usage: "PEM file of the authorities for the Redis server's certificate (rediss://); read at the start"},
		{Key: "redis_cert", Arg: "F", value: text(func(c *Config) *string { return &c.RedisCert }),
			Usage: "PEM file of the client certificate for Redis; read again for each connection"},
		{Key: "redis_key", Arg: "F", value: text(func(c *Config) *string { return &c.RedisKey }), Usage: "PEM file of its key"},
		{Key: "prefix", Arg: "P", Default: DefaultPrefix, value: parsed(func(c *Config) *string { return &c.Prefix }, parsePrefix), Usage: "prefix of every key in Redis"},
		{Key: "seal_key_file", Arg: "F", value: text(func(c *Config) *string { return &c.SealKeyFile }),
			Usage: "file of keys that encrypt tokens in Redis: the first encrypts, all decrypt; see keygen. The file is read again when it changes"},
		{Key: "seal", Arg: "MODE", Otherwise: "require with a key file", value: oneOf(func(c *Config) *string { return &c.Seal }, SealRequire, SealPrefer, SealAllow),
			Usage: "require (sealed tokens only), prefer (also reads plain ones) or allow (also reads plain ones, and writes only those); see keygen"},
		{Key: "grants.spool", Arg: "DIR", Otherwise: "none", value: text(func(c *Config) *string { return &c.GrantSpool }),
			Usage: "directory on this machine's disk for new refresh tokens until Redis has them; needs seal_key_file; see grants.md"},
		{Key: "grants.copy", Arg: "DIR", Otherwise: "none", value: text(func(c *Config) *string { return &c.GrantCopy }),
			Usage: "directory for a copy of every grant, from which they are restored when Redis has lost them; processes may share it; needs seal_key_file"},
		{Key: "config", Arg: "FILE", Usage: "YAML file: accounts, users and all other settings"},
		{Key: "log_level", Arg: "LEVEL", Default: "info", value: logLevel(func(c *Config) *slog.Level { return &c.LogLevel }), Usage: "debug, info, warn or error"},
		{Key: "log_format", Arg: "FORMAT", Default: FormatText, value: oneOf(func(c *Config) *string { return &c.LogFormat }, FormatText, FormatJSON), Usage: "text or json; logs go to stderr"},
	}
}

func accountSettings() []Setting {
	return []Setting{
		{Key: "appid", Arg: "ID", Reloads: true, value: text(func(c *Config) *string { return &c.lone.appID }), Usage: "the account, if there is no configuration file"},
		{Key: "secret", Arg: "S", Reloads: true, forSecret: true, value: text(func(c *Config) *string { return &c.lone.secret }),
			Usage: "its AppSecret; prefer --secret-file or the variable, because process lists show arguments"},
		{Key: "secret_file", Arg: "F", Reloads: true, forSecret: true, value: text(func(c *Config) *string { return &c.lone.secretFile }),
			Usage: "file with its AppSecret; without a secret this process only reads tokens. The file is read again when it changes"},
		{Key: "source", Arg: "KIND", Otherwise: sources.Token, Reloads: true, value: oneOf(func(c *Config) *string { return &c.lone.source }, sources.Token, sources.StableToken), Usage: "token or stable_token"},
		{Key: "api_base", Arg: "URL", Otherwise: wechat.DefaultBaseURL, Reloads: true, value: parsed(func(c *Config) *string { return &c.lone.apiBase }, checkAPIBase), Usage: "address of WeChat's API"},
	}
}

func answerSettings() []Setting {
	return []Setting{
		{Key: "embedded_redis", Arg: "true", Default: "false", value: truth(func(c *Config) *bool { return &c.EmbeddedRedis }),
			Usage: "run a Redis inside this process, at 127.0.0.1:6379, for programs of this machine only; it and the tokens in it end with the process"},
		{Key: "listen", Arg: "ADDR", Default: "127.0.0.1:8080", value: address(func(c *Config) *string { return &c.Listen }), Usage: "address of the HTTP interface"},
		{Key: "tls_cert", Arg: "F", value: text(func(c *Config) *string { return &c.TLSCert }), Usage: "PEM file of the server's certificate, which turns HTTPS on; read again when it changes"},
		{Key: "tls_key", Arg: "F", value: text(func(c *Config) *string { return &c.TLSKey }), Usage: "PEM file of its key; read again when it changes"},
		{Key: "client_ca", Arg: "F", value: text(func(c *Config) *string { return &c.ClientCA }),
			Usage: "PEM file of the authorities for client certificates: every client then needs one besides name and password, except for the probes /healthz and /readyz"},
		{Key: "plaintext_ok", Arg: "true", Default: "false", value: truth(func(c *Config) *bool { return &c.PlaintextOK }),
			Usage: "allow plain HTTP beyond this machine, because a proxy in front terminates TLS"},
		{Key: "metrics_open", Arg: "true", Default: "false", value: truth(func(c *Config) *bool { return &c.MetricsOpen }), Usage: "serve /metrics without name and password"},
		{Key: "access_log", Arg: "true", Default: "false", value: truth(func(c *Config) *bool { return &c.AccessLog }),
			Usage: "log one line for each HTTP request, at the level info: caller, account, endpoint, status, size, time; see observability.md"},
		{Key: "pprof", Arg: "ADDR", Otherwise: "none", value: address(func(c *Config) *string { return &c.Pprof }),
			Usage: "loopback address of Go's profiles of this process, without name and password; see observability.md"},
		{Key: "udp", Arg: "ADDR", Otherwise: "none", value: address(func(c *Config) *string { return &c.UDP }), Usage: "address of the datagram interface; the keys are in users: of the configuration"},
		{Key: "users_file", Arg: "F", Reloads: true, value: text(func(c *Config) *string { return &c.UsersFile }),
			Usage: "YAML file with a list of callers in the form of users:, in addition to those there; read again when it changes"},
		{Key: "drain_delay", Arg: "D", Default: "0s", value: parsed(func(c *Config) *time.Duration { return &c.DrainDelay }, parseDelay).of(kindDuration),
			Usage: "how long the port stays open after SIGTERM, with /readyz at 503 and all else answered: as long as a load balancer needs to notice; whatever kills the process has to wait for that and for the call under way, see operate.md"},
	}
}

func serveSettings() []Setting {
	limits := coordinator.DefaultLimits()
	return []Setting{
		{Key: "refresh_every", Arg: "D", Default: "1h", Reloads: true, value: duration(func(c *Config) *time.Duration { return &c.RefreshEvery }),
			Usage: "the longest time between two refreshes; a change applies from the next token on"},
		{Key: "budget.per_day", Arg: "N", Otherwise: strconv.Itoa(limits.PerDay), Reloads: true, value: count(func(c *Config) *int { return &c.budget.PerDay }, 1),
			Usage: "calls to the issuer a day for each account; the default is WeChat's own limit"},
		{Key: "budget.reserve", Arg: "N", Otherwise: fmt.Sprintf("%d, at most a tenth of budget.per_day", limits.Reserve), Reloads: true,
			value: count(func(c *Config) *int { return &c.budget.Reserve }, 1), Usage: "how many of them are reserved for scheduled refreshes, 1 to less than budget.per_day: when only these are left, forced refreshes are refused"},
		{Key: "budget.min_interval", Arg: "D", Otherwise: limits.MinInterval.String(), Reloads: true, value: duration(func(c *Config) *time.Duration { return &c.budget.MinInterval }),
			Usage: "the shortest time between two requested refreshes of an account"},
		{Key: "instance", Arg: "NAME", Otherwise: "host name, process id and a random part", value: text(func(c *Config) *string { return &c.Instance }), Usage: "this process's name in Redis"},
		{Key: "replicas", Arg: "N", Otherwise: "1 if the URL names a cluster or Sentinels, otherwise 0", value: count(func(c *Config) *int { return &c.Replicas }, 0), Usage: "how many replicas must confirm a new token"},
		{Key: "lock_life", Arg: "D", Default: "3s", value: duration(func(c *Config) *time.Duration { return &c.LockTTL }), Usage: "how long the other processes wait after a process was killed in a refresh"},
		{Key: "fetch_timeout", Arg: "D", Default: "10s", value: duration(func(c *Config) *time.Duration { return &c.FetchTimeout }), Usage: "how long a call to the issuer may take"},
	}
}
