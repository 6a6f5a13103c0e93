package main

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
)

// This file decides which store a process uses, so that a real AppSecret and the
// simulator's tokens never share one by accident.

// sandboxSuffix ends the prefix of the keys of a simulator's tokens in a Redis that
// is also used for real ones.
const sandboxSuffix = "-sandbox"

type storePlace struct {
	embedded bool   // a Redis in this process
	url      string // "": the default, unless embedded
	prefix   string
}

func chooseStore(cfg *config.Config, sandboxed bool) (storePlace, error) {
	p := storePlace{url: cfg.Redis, prefix: cfg.Prefix}
	forSandbox := strings.HasSuffix(cfg.Prefix, sandboxSuffix)
	switch {
	case forSandbox && !sandboxed && cfg.Refreshes():
		return p, usagef("the prefix %s belongs to `serve --sandbox` (it ends in %s), but a real secret was given: choose another --prefix",
			cfg.Prefix, sandboxSuffix)
	case cfg.Redis != "" && cfg.EmbeddedRedis:
		return p, usagef("%s and %s: serve can use only one Redis: remove one of the two", cfg.Where("embedded_redis"), cfg.Where("redis"))
	case cfg.Redis != "" && sandboxed && !forSandbox:
		p.prefix += sandboxSuffix
	case cfg.Redis != "":
	case sandboxed || cfg.EmbeddedRedis:
		p.embedded = true
	case cfg.Refreshes():
		return p, usagef("no Redis was given: all processes with this AppSecret must share one, or they end each other's tokens\n" +
			"--redis URL (ZHONGKONG_REDIS, redis: in the configuration) names it;\n" +
			"--embedded-redis runs one in this process, if no other machine has this AppSecret;\n" +
			"--sandbox tries everything without an account")
	}
	return p, nil
}

// keepSecretsFromSandbox drops the secrets of a process that uses a simulator's
// keys, because they are for the real WeChat. The process becomes a reader.
func (s *session) keepSecretsFromSandbox() {
	if !strings.HasSuffix(s.cfg.Prefix, sandboxSuffix) || !s.cfg.Refreshes() {
		return
	}
	s.cfg.DropSecrets()
	fmt.Fprintf(s.stderr, "note: the prefix %s belongs to `serve --sandbox`, so the AppSecret is not used\n", s.cfg.Prefix)
}

// tryCommand returns a command for another terminal that shows a token of this
// process, whatever variables are set there. note says what to fill in.
func (d *daemon) tryCommand() (command, note string) {
	words := []string{d.self}
	option := func(name, value, otherwise string) {
		if value != otherwise || d.env("ZHONGKONG_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))) != "" {
			words = append(words, "--"+name, shellWord(value))
		}
	}
	address := d.url
	if u, err := url.Parse(d.url); err != nil || u.User != nil || u.Query().Has("password") {
		address, note = "URL", ", with the same URL as here"
	}
	option("redis", address, defaultRedis)
	option("redis-ca", d.cfg.RedisCA, "")
	option("redis-cert", d.cfg.RedisCert, "")
	option("redis-key", d.cfg.RedisKey, "")
	option("prefix", d.prefix, config.DefaultPrefix)
	option("seal-key-file", d.cfg.SealKeyFile, "")
	if d.cfg.Seal != config.SealRequire {
		option("seal", d.cfg.Seal, "")
	}
	words = append(words, "show")
	if accounts := d.zk.Accounts(); len(accounts) > 1 {
		words = append(words, shellWord(accounts[0].Name()))
	}
	return strings.Join(words, " "), note
}

// shellWord quotes s, if necessary, so that a shell reads it as one word.
func shellWord(s string) string {
	if s == "" || strings.ContainsFunc(s, needsQuotes) {
		return quote(s)
	}
	return s
}

// needsQuotes reports whether a shell may take the character for something else. It is no
// regular expression, because every command looks at the word by which it was called.
func needsQuotes(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_./:,@%+=-", r)
}
