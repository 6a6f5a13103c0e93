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

func text(field func(*Config) *string) value {
	v := lonely(field)
	v.get = func(c *Config) any { return *field(c) }
	return v
}

// lonely is a text of the lone account.
func lonely(field func(*Config) *string) value {
	return value{apply: func(c *Config, v string) error {
		*field(c) = strings.TrimSpace(v)
		return nil
	}}
}

func duration(field func(*Config) *time.Duration) value {
	return value{func(c *Config, v string) error {
		d, err := ParseDuration(v)
		if err == nil {
			*field(c) = d
		}
		return err
	}, func(c *Config) any { return *field(c) }}
}

// delay is a duration that may be 0.
func delay(field func(*Config) *time.Duration) value {
	v := duration(field)
	positive := v.apply
	v.apply = func(c *Config, text string) error {
		if d, err := time.ParseDuration(strings.TrimSpace(text)); err == nil && d == 0 {
			*field(c) = 0
			return nil
		}
		return positive(c, text)
	}
	return v
}

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

func truth(field func(*Config) *bool) value {
	return value{func(c *Config, v string) error {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", v)
		}
		*field(c) = b
		return nil
	}, func(c *Config) any { return *field(c) }}
}

func count(field func(*Config) *int, least int) value {
	return value{func(c *Config, v string) error {
		n, err := parseCount(v, least)
		if err == nil {
			*field(c) = n
		}
		return err
	}, func(c *Config) any { return *field(c) }}
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

func address(field func(*Config) *string) value {
	return value{func(c *Config, v string) error {
		_, port, err := net.SplitHostPort(v)
		if err != nil {
			return fmt.Errorf("%q is not an address: write HOST:PORT, such as 127.0.0.1:8080 or :8080", v)
		}
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			return fmt.Errorf("%q: the port must be a number from 0 to 65535", v)
		}
		*field(c) = v
		return nil
	}, func(c *Config) any { return *field(c) }}
}

// applyRedis checks only the form of the URL; the store reads its parameters. The URL
// may contain a password, so the error repeats no part of it.
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

// isCutPassword reports whether the part after the host cannot belong there: then it
// is the rest of a password that was not escaped. The client would take its beginning
// for a port and repeat it in its errors.
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
