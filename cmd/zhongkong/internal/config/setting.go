package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Setting is a value that the file, the environment and the command line can
// give alike.
type Setting struct {
	Key   string // in the file
	Usage string
	Arg   string // placeholder in the help

	kind  kind
	group string // settings of which only one may be given
	apply func(*Config, string) error
}

// Flag is the setting's name on the command line.
func (s Setting) Flag() string { return strings.ReplaceAll(s.Key, "_", "-") }

// Env is the variable that gives the setting.
func (s Setting) Env() string { return variablePrefix + strings.ToUpper(s.Key) }

// Truth reports whether the setting is a switch.
func (s Setting) Truth() bool { return s.kind == kindTruth }

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

// Settings lists every setting, in the order people want to read them.
func Settings() []Setting {
	return append(append(storeSettings(), accountSettings()...), serveSettings()...)
}

func storeSettings() []Setting {
	return []Setting{
		{Key: "redis", Arg: "URL", apply: applyRedis,
			Usage: "go-redis URL; addr= in it: a cluster, master_name=: Sentinel (default redis://127.0.0.1:6379; serve with a secret needs one of --redis, --embedded-redis and --sandbox)"},
		{Key: "prefix", Arg: "P", apply: applyPrefix, Usage: "prefix of every key in Redis (default zhongkong)"},
		{Key: "seal_key_file", Arg: "F", Usage: "keys that seal tokens in Redis, the first of them; see keygen", apply: text(func(c *Config) *string { return &c.SealKeyFile })},
		{Key: "config", Arg: "FILE", Usage: "YAML file: accounts, users, everything the flags say"},
		{Key: "log_level", Arg: "LEVEL", apply: applyLogLevel, Usage: "debug, info, warn or error (default info)"},
		{Key: "log_format", Arg: "FORMAT", apply: applyLogFormat, Usage: "text or json; logs go to stderr (default text)"},
	}
}

func accountSettings() []Setting {
	return []Setting{
		{Key: "appid", Arg: "ID", Usage: "the account, when there is no config file", apply: text(func(c *Config) *string { return &c.lone.appID })},
		{Key: "secret", Arg: "S", group: groupSecret, Usage: "its AppSecret; better --secret-file or the variable, process lists show arguments", apply: text(func(c *Config) *string { return &c.lone.secret })},
		{Key: "secret_file", Arg: "F", group: groupSecret, Usage: "file with its AppSecret; without one this process is a reader", apply: text(func(c *Config) *string { return &c.lone.secretFile })},
		{Key: "source", Arg: "KIND", apply: applySource, Usage: "token or stable_token (default token)"},
		{Key: "api_base", Arg: "URL", apply: applyAPIBase, Usage: "where WeChat answers (default " + DefaultAPIBase + ")"},
	}
}

// serveSettings only matter to the daemon; its command has the flags.
func serveSettings() []Setting {
	return []Setting{
		{Key: "embedded_redis", Arg: "true", kind: kindTruth, apply: truth(func(c *Config) *bool { return &c.EmbeddedRedis }), Usage: "run a Redis inside this process, at 127.0.0.1:6379: for programs of this machine only; it and the tokens in it end with the process"},
		{Key: "listen", Arg: "ADDR", apply: address(func(c *Config) *string { return &c.Listen }), Usage: "where to answer HTTP (default 127.0.0.1:8080)"},
		{Key: "refresh_every", Arg: "D", kind: kindDuration, apply: duration(func(c *Config) *time.Duration { return &c.RefreshEvery }), Usage: "refresh at least this often (default 1h)"},
		{Key: "instance", Arg: "NAME", apply: text(func(c *Config) *string { return &c.Instance }), Usage: "this process's name in Redis (default made of the host's name, the process id and some chance)"},
		{Key: "replicas", Arg: "N", kind: kindCount, apply: count(func(c *Config) *int { return &c.Replicas }), Usage: "how many replicas confirm a new token (default 1 if the URL names a cluster or sentinels, else 0)"},
		{Key: "lock_life", Arg: "D", kind: kindDuration, apply: duration(func(c *Config) *time.Duration { return &c.LockLife }), Usage: "how long a killed process keeps the others waiting (default 3s)"},
		{Key: "fetch_timeout", Arg: "D", kind: kindDuration, apply: duration(func(c *Config) *time.Duration { return &c.FetchTimeout }), Usage: "how long a call to the issuer may take (default 10s)"},
		{Key: "tls_cert", Arg: "F", Usage: "certificate in PEM: answers are HTTPS; read again when it changes", apply: text(func(c *Config) *string { return &c.TLSCert })},
		{Key: "tls_key", Arg: "F", Usage: "its key", apply: text(func(c *Config) *string { return &c.TLSKey })},
		{Key: "client_ca", Arg: "F", Usage: "authorities of client certificates: every client needs one, besides name and password", apply: text(func(c *Config) *string { return &c.ClientCA })},
		{Key: "plaintext_ok", Arg: "true", kind: kindTruth, apply: truth(func(c *Config) *bool { return &c.PlaintextOK }), Usage: "answer plain HTTP beyond this machine: something in front of it does TLS"},
		{Key: "metrics_open", Arg: "true", kind: kindTruth, apply: truth(func(c *Config) *bool { return &c.MetricsOpen }), Usage: "/metrics needs no name and password"},
		{Key: "udp", Arg: "ADDR", apply: address(func(c *Config) *string { return &c.UDP }), Usage: "where to answer datagrams; their keys are in users: of the configuration (default nowhere)"},
	}
}

func text(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		*field(c) = strings.TrimSpace(v)
		return nil
	}
}

func duration(field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, v string) error {
		d, err := ParseDuration(v)
		if err == nil {
			*field(c) = d
		}
		return err
	}
}

// ParseDuration parses a positive duration and says how to write one.
func ParseDuration(v string) (time.Duration, error) {
	d, err := time.ParseDuration(strings.TrimSpace(v))
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: write a number with a unit, such as 90s, 20m or 1h", v)
	}
	if d <= 0 {
		return 0, fmt.Errorf("%q must be more than 0", v)
	}
	return d, nil
}

func truth(field func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, v string) error {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", v)
		}
		*field(c) = b
		return nil
	}
}

func count(field func(*Config) *int) func(*Config, string) error {
	return func(c *Config, v string) error {
		n, err := parseCount(v, 0)
		if err == nil {
			*field(c) = n
		}
		return err
	}
}

// parseCount parses a whole number, in which _ may separate digits as in YAML.
func parseCount(v string, least int) (int, error) {
	n, err := strconv.Atoi(strings.ReplaceAll(strings.TrimSpace(v), "_", ""))
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a whole number", v)
	case n < least:
		return 0, fmt.Errorf("%d: it must be %d or more", n, least)
	}
	return n, nil
}

func address(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		_, port, err := net.SplitHostPort(v)
		if err != nil {
			return fmt.Errorf("%q is not an address: write HOST:PORT, such as 127.0.0.1:8080 or :8080", v)
		}
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			return fmt.Errorf("%q: the port must be a number from 0 to 65535", v)
		}
		*field(c) = v
		return nil
	}
}

// applyRedis checks only the form; the store reads the URL's parameters. The
// URL may hold a password, so nothing of it is repeated in the error.
func applyRedis(c *Config, v string) error {
	v = strings.TrimSpace(v)
	if v == "" {
		c.Redis = ""
		return nil
	}
	u, err := url.Parse(v)
	if err != nil || u.Host == "" && u.Scheme != "unix" || isCutPassword(u) {
		return errors.New("is not a Redis URL: write redis://[USER:PASSWORD@]HOST:PORT[/DB], or rediss:// for TLS " +
			"(in the password % is written %25, / %2F, ? %3F, # %23 and @ %40)")
	}
	switch u.Scheme {
	case "redis", "rediss", "unix":
		c.Redis = v
		return nil
	}
	return fmt.Errorf("%s:// is not a Redis URL: write redis://, rediss:// (TLS) or unix://", u.Scheme)
}

var database = regexp.MustCompile(`^/?\d*/?$`)

// isCutPassword reports whether what stands behind the host cannot stand there:
// it is the rest of a password that was not escaped, which the client would
// repeat in its errors, having taken the beginning for a port.
func isCutPassword(u *url.URL) bool {
	bare := func(parameter string) bool { return !strings.Contains(parameter, "=") }
	return u.Fragment != "" ||
		u.RawQuery != "" && slices.ContainsFunc(strings.Split(u.RawQuery, "&"), bare) ||
		u.Scheme != "unix" && !database.MatchString(u.Path)
}

func applyPrefix(c *Config, v string) error {
	if strings.ContainsAny(v, "{} \t\r\n*?[]\\") {
		return fmt.Errorf("%q: use letters, digits and - _ . : only", v)
	}
	c.Prefix = v
	return nil
}

func applyLogLevel(c *Config, v string) error {
	switch strings.ToLower(v) {
	case "debug":
		c.LogLevel = slog.LevelDebug
	case "info":
		c.LogLevel = slog.LevelInfo
	case "warn", "warning":
		c.LogLevel = slog.LevelWarn
	case "error":
		c.LogLevel = slog.LevelError
	default:
		return fmt.Errorf("%q: write debug, info, warn or error", v)
	}
	return nil
}

func applyLogFormat(c *Config, v string) error {
	if v != FormatText && v != FormatJSON {
		return fmt.Errorf("%q: write text or json", v)
	}
	c.LogFormat = v
	return nil
}

func applySource(c *Config, v string) error {
	if err := checkSource(v); err != nil {
		return err
	}
	c.lone.source = v
	return nil
}

func checkSource(v string) error {
	if v != KindToken && v != KindStableToken {
		return fmt.Errorf("%q: write token or stable_token", v)
	}
	return nil
}

func applyAPIBase(c *Config, v string) error {
	base, err := checkAPIBase(v)
	c.lone.apiBase = base
	return err
}

func checkAPIBase(v string) (string, error) {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", errors.New("is not a web address: write http:// or https:// and a host, such as " + DefaultAPIBase)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("must be scheme, host and path only")
	}
	return strings.TrimRight(v, "/"), nil
}
