package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// parsed is the value that parse reads into a field.
func parsed[T any](field func(*Config) *T, parse func(string) (T, error)) value {
	return value{apply: func(c *Config, v string) error {
		t, err := parse(v)
		if err == nil {
			*field(c) = t
		}
		return err
	}, get: func(c *Config) any { return *field(c) }}
}

// of returns the value with the kind that the file must have.
func (v value) of(k kind) value {
	v.kind = k
	return v
}

func text(field func(*Config) *string) value    { return parsed(field, parseText) }
func address(field func(*Config) *string) value { return parsed(field, parseAddress) }
func truth(field func(*Config) *bool) value     { return parsed(field, parseTruth).of(kindTruth) }

func duration(field func(*Config) *time.Duration) value {
	return parsed(field, ParseDuration).of(kindDuration)
}

func count(field func(*Config) *int, least int) value {
	return parsed(field, countFrom(least)).of(kindCount)
}

func parseText(v string) (string, error) { return strings.TrimSpace(v), nil }

// ParseDuration parses a positive duration. Its errors say how to write one.
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

// parseDelay parses a duration that may be 0.
func parseDelay(v string) (time.Duration, error) {
	if d, err := time.ParseDuration(strings.TrimSpace(v)); err == nil && d == 0 {
		return 0, nil
	}
	return ParseDuration(v)
}

func parseTruth(v string) (bool, error) {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, fmt.Errorf("%q is neither true nor false", v)
	}
	return b, nil
}

// oneOf is the value that is one of a few words.
func oneOf(field func(*Config) *string, words ...string) value {
	v := parsed(field, func(v string) (string, error) { return v, checkWord(v, words) })
	v.choices = words
	return v
}

func checkWord(v string, words []string) error {
	if slices.Contains(words, v) {
		return nil
	}
	last := len(words) - 1
	return fmt.Errorf("%q: write %s or %s", v, strings.Join(words[:last], ", "), words[last])
}

func countFrom(least int) func(string) (int, error) {
	return func(v string) (int, error) { return parseCount(v, least) }
}

// parseCount parses a whole number in decimal digits, which _ may separate as in
// YAML. It refuses leading zeros, because some parsers read such a number as octal.
func parseCount(v string, least int) (int, error) {
	if digits := strings.TrimLeft(v, "+-"); len(digits) > 1 && digits[0] == '0' {
		return 0, fmt.Errorf("%q begins with 0: write it in decimal digits, without leading zeros", v)
	}
	n, err := strconv.Atoi(strings.ReplaceAll(strings.TrimSpace(v), "_", ""))
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a whole number", v)
	case n < least:
		return 0, fmt.Errorf("%d: it must be %d or more", n, least)
	}
	return n, nil
}

func parseAddress(v string) (string, error) {
	_, port, err := net.SplitHostPort(v)
	if err != nil {
		return "", fmt.Errorf("%q is not an address: write HOST:PORT, such as 127.0.0.1:8080 or :8080", v)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", fmt.Errorf("%q: the port must be a number from 0 to 65535", v)
	}
	return v, nil
}

// parseRedis checks only the form of the URL; the store reads its parameters. The URL
// may contain a password, so the error repeats no part of it.
func parseRedis(v string) (string, error) {
	v = strings.TrimSpace(v)
	if v == "" {
		return "", nil
	}
	u, err := url.Parse(v)
	if err != nil || u.Host == "" && u.Scheme != "unix" || isCutPassword(u) {
		return "", errors.New("is not a Redis URL: write redis://[USER:PASSWORD@]HOST:PORT[/DB], or rediss:// for TLS " +
			"(in the password % is written %25, / %2F, ? %3F, # %23 and @ %40)")
	}
	switch u.Scheme {
	case "redis", "rediss", "unix":
		return v, nil
	}
	return "", fmt.Errorf("%s:// is not a Redis URL: write redis://, rediss:// (TLS) or unix://", u.Scheme)
}

var database = pattern(`^/?\d*/?$`)

// isCutPassword reports whether the part after the host cannot belong there: then it
// is the rest of a password that was not escaped. The client would take its beginning
// for a port and repeat it in its errors.
func isCutPassword(u *url.URL) bool {
	bare := func(parameter string) bool { return !strings.Contains(parameter, "=") }
	return u.Fragment != "" ||
		u.RawQuery != "" && slices.ContainsFunc(strings.Split(u.RawQuery, "&"), bare) ||
		u.Scheme != "unix" && !database(u.Path)
}

func parsePrefix(v string) (string, error) {
	if strings.ContainsAny(v, "{} \t\r\n*?[]\\") {
		return "", fmt.Errorf("%q: use letters, digits and - _ . : only", v)
	}
	return v, nil
}

func logLevel(field func(*Config) *slog.Level) value {
	v := parsed(field, parseLogLevel)
	v.choices = logLevels
	return v
}

var logLevels = []string{"debug", "info", "warn", "error"}

func parseLogLevel(v string) (slog.Level, error) {
	level, ok := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "warning": slog.LevelWarn, "error": slog.LevelError,
	}[strings.ToLower(v)]
	if !ok {
		return 0, checkWord(v, logLevels)
	}
	return level, nil
}

func parseSource(v string) (string, error) {
	if _, ok := sources.Find(v); !ok {
		return "", checkWord(v, sources.Names())
	}
	return v, nil
}

func checkAPIBase(v string) (string, error) {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", errors.New("is not a web address: write http:// or https:// and a host, such as " + wechat.DefaultBaseURL)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("must be scheme, host and path only")
	}
	return strings.TrimRight(v, "/"), nil
}
