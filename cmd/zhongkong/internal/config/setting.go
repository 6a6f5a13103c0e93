package config

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Setting is a value that the file, the environment and the command line can
// give alike.
type Setting struct {
	Key   string // in the file; a dot is before the name of a field in a group
	Usage string
	Arg   string // placeholder in the help

	Default   string // what holds if it is not given; "": nothing, or Otherwise
	Otherwise string // likewise, where that has to be said in words

	ForServe bool // only matters to the daemon, whose command has the flag
	Reloads  bool // a change in the file is taken over by a serve that runs

	kind  kind
	group string // settings of which only one may be given
	value
}

// value is where a setting is kept. The zero value: nowhere.
type value struct {
	apply func(*Config, string) error
	get   func(*Config) any // nil: it is kept in the accounts
}

// Flag is the setting's name on the command line.
func (s Setting) Flag() string { return strings.NewReplacer("_", "-", ".", "-").Replace(s.Key) }

// Env is the variable that gives the setting.
func (s Setting) Env() string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(s.Key, ".", "_"))
}

// Truth reports whether the setting is a switch.
func (s Setting) Truth() bool { return s.kind == kindTruth }

// Help is the setting's line in the help.
func (s Setting) Help() string {
	if without := cmp.Or(s.Default, s.Otherwise); without != "" {
		return s.Usage + " (default " + without + ")"
	}
	return s.Usage
}

// groupSecret are the settings that give the secret of the lone account.
const groupSecret = "secret"

// kind is what the file must hold.
type kind int

const (
	kindText kind = iota
	kindDuration
	kindTruth
	kindCount
)

// Settings lists every setting, in the order people want to read them. The
// reference page in docs/ is made of it.
func Settings() []Setting {
	all := append(storeSettings(), accountSettings()...)
	for _, s := range append(answerSettings(), serveSettings()...) {
		s.ForServe = true
		all = append(all, s)
	}
	return all
}

func storeSettings() []Setting {
	return []Setting{
		{Key: "redis", Arg: "URL", Otherwise: "redis://127.0.0.1:6379; serve with a secret needs one of --redis, --embedded-redis and --sandbox",
			value: value{applyRedis, func(c *Config) any { return c.Redis }},
			Usage: "go-redis URL; addr= in it: a cluster, master_name=: Sentinel"},
		{Key: "redis_ca", Arg: "F", Otherwise: "the system's", value: text(func(c *Config) *string { return &c.RedisCA }),
			Usage: "authorities of the Redis server's certificate (rediss://), in PEM; read at the start"},
		{Key: "redis_cert", Arg: "F", value: text(func(c *Config) *string { return &c.RedisCert }),
			Usage: "client certificate for Redis, in PEM; read again for each connection"},
		{Key: "redis_key", Arg: "F", value: text(func(c *Config) *string { return &c.RedisKey }), Usage: "its key"},
		{Key: "prefix", Arg: "P", Default: DefaultPrefix, value: value{applyPrefix, func(c *Config) any { return c.Prefix }}, Usage: "prefix of every key in Redis"},
		{Key: "seal_key_file", Arg: "F", value: text(func(c *Config) *string { return &c.SealKeyFile }),
			Usage: "keys that seal tokens in Redis, the first of them; see keygen. The file is read again when it changes"},
		{Key: "seal", Arg: "MODE", Otherwise: "require with a key file", value: value{applySeal, func(c *Config) any { return c.Seal }},
			Usage: "require, prefer (reads tokens that are not sealed, too) or allow (and seals none yet); see keygen"},
		{Key: "config", Arg: "FILE", Usage: "YAML file: accounts, users, everything the flags say"},
		{Key: "log_level", Arg: "LEVEL", Default: "info", value: value{applyLogLevel, func(c *Config) any { return c.LogLevel }}, Usage: "debug, info, warn or error"},
		{Key: "log_format", Arg: "FORMAT", Default: FormatText, value: value{applyLogFormat, func(c *Config) any { return c.LogFormat }}, Usage: "text or json; logs go to stderr"},
	}
}

func accountSettings() []Setting {
	return []Setting{
		{Key: "appid", Arg: "ID", Reloads: true, value: lonely(func(c *Config) *string { return &c.lone.appID }), Usage: "the account, when there is no config file"},
		{Key: "secret", Arg: "S", Reloads: true, group: groupSecret, value: lonely(func(c *Config) *string { return &c.lone.secret }),
			Usage: "its AppSecret; better --secret-file or the variable, process lists show arguments"},
		{Key: "secret_file", Arg: "F", Reloads: true, group: groupSecret, value: lonely(func(c *Config) *string { return &c.lone.secretFile }),
			Usage: "file with its AppSecret; without one this process is a reader. The file is read again when it changes"},
		{Key: "source", Arg: "KIND", Otherwise: KindToken, Reloads: true, value: value{apply: applySource}, Usage: "token or stable_token"},
		{Key: "api_base", Arg: "URL", Otherwise: DefaultAPIBase, Reloads: true, value: value{apply: applyAPIBase}, Usage: "where WeChat answers"},
	}
}

// answerSettings say where and how callers are answered.
func answerSettings() []Setting {
	return []Setting{
		{Key: "embedded_redis", Arg: "true", kind: kindTruth, Default: "false", value: truth(func(c *Config) *bool { return &c.EmbeddedRedis }),
			Usage: "run a Redis inside this process, at 127.0.0.1:6379: for programs of this machine only; it and the tokens in it end with the process"},
		{Key: "listen", Arg: "ADDR", Default: "127.0.0.1:8080", value: address(func(c *Config) *string { return &c.Listen }), Usage: "where to answer HTTP"},
		{Key: "tls_cert", Arg: "F", value: text(func(c *Config) *string { return &c.TLSCert }), Usage: "certificate in PEM: answers are HTTPS; the file is read again when it changes"},
		{Key: "tls_key", Arg: "F", value: text(func(c *Config) *string { return &c.TLSKey }), Usage: "its key; the file is read again when it changes"},
		{Key: "client_ca", Arg: "F", value: text(func(c *Config) *string { return &c.ClientCA }),
			Usage: "authorities of client certificates: every client needs one, besides name and password; only the probes /healthz and /readyz are answered without"},
		{Key: "plaintext_ok", Arg: "true", kind: kindTruth, Default: "false", value: truth(func(c *Config) *bool { return &c.PlaintextOK }),
			Usage: "answer plain HTTP beyond this machine: something in front of it does TLS"},
		{Key: "metrics_open", Arg: "true", kind: kindTruth, Default: "false", value: truth(func(c *Config) *bool { return &c.MetricsOpen }), Usage: "/metrics needs no name and password"},
		{Key: "udp", Arg: "ADDR", Otherwise: "nowhere", value: address(func(c *Config) *string { return &c.UDP }), Usage: "where to answer datagrams; their keys are in users: of the configuration"},
		{Key: "drain_delay", Arg: "D", kind: kindDuration, Default: "0s", value: delay(func(c *Config) *time.Duration { return &c.DrainDelay }),
			Usage: "after SIGTERM /readyz is 503 for so long, and everything else is answered, before the port closes: as long as whatever sends requests here needs to notice"},
	}
}

// serveSettings say when a serve refreshes.
func serveSettings() []Setting {
	limits := coordinator.DefaultLimits()
	return []Setting{
		{Key: "refresh_every", Arg: "D", kind: kindDuration, Default: "1h", Reloads: true, value: duration(func(c *Config) *time.Duration { return &c.RefreshEvery }),
			Usage: "refresh at least this often; a change counts from the next token on"},
		{Key: "budget.per_day", Arg: "N", kind: kindCount, Otherwise: strconv.Itoa(limits.PerDay), Reloads: true, value: value{apply: count(func(c *Config) *int { return &c.budget.PerDay }, 1).apply},
			Usage: "calls to the issuer a day, of each account: WeChat's own limit"},
		{Key: "budget.reserve", Arg: "N", kind: kindCount, Otherwise: fmt.Sprintf("%d, at most a tenth of budget.per_day", limits.Reserve), Reloads: true,
			value: value{apply: count(func(c *Config) *int { return &c.budget.Reserve }, 1).apply}, Usage: "how many of them are kept for the schedule: forced refreshes are refused then"},
		{Key: "budget.min_interval", Arg: "D", kind: kindDuration, Otherwise: limits.MinInterval.String(), Reloads: true, value: value{apply: duration(func(c *Config) *time.Duration { return &c.budget.MinInterval }).apply},
			Usage: "the least time between two refreshes of an account that somebody asked for"},
		{Key: "instance", Arg: "NAME", Otherwise: "made of the host's name, the process id and some chance", value: text(func(c *Config) *string { return &c.Instance }), Usage: "this process's name in Redis"},
		{Key: "replicas", Arg: "N", kind: kindCount, Otherwise: "1 if the URL names a cluster or sentinels, else 0", value: count(func(c *Config) *int { return &c.Replicas }, 0), Usage: "how many replicas confirm a new token"},
		{Key: "lock_life", Arg: "D", kind: kindDuration, Default: "3s", value: duration(func(c *Config) *time.Duration { return &c.LockTTL }), Usage: "how long a killed process keeps the others waiting"},
		{Key: "fetch_timeout", Arg: "D", kind: kindDuration, Default: "10s", value: duration(func(c *Config) *time.Duration { return &c.FetchTimeout }), Usage: "how long a call to the issuer may take"},
	}
}
