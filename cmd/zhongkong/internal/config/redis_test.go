package config_test

import (
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
)

func TestSealIsRequiredUnlessItIsSaidOtherwise(t *testing.T) {
	for name, test := range map[string]struct {
		yaml       string
		flags, env map[string]string
		want       string
	}{
		"no key":      {"appid: wx1\n", nil, nil, ""},
		"a key":       {"seal_key_file: k\n", nil, nil, config.SealRequire},
		"a field":     {"seal_key_file: k\nseal: prefer\n", nil, nil, config.SealPrefer},
		"a variable":  {"seal_key_file: k\nseal: prefer\n", nil, map[string]string{"ZHONGKONG_SEAL": "allow"}, config.SealAllow},
		"a flag":      {"seal_key_file: k\n", map[string]string{"seal": "require"}, map[string]string{"ZHONGKONG_SEAL": "allow"}, config.SealRequire},
		"all by flag": {"", map[string]string{"seal": "prefer", "seal_key_file": "k"}, nil, config.SealPrefer},
	} {
		t.Run(name, func(t *testing.T) {
			if c := mustLoad(t, test.yaml, test.flags, test.env); c.Seal != test.want {
				t.Errorf("Seal = %q, want %q", c.Seal, test.want)
			}
		})
	}
}

func TestTLSToRedisIsFlagVariableAndFieldAlike(t *testing.T) {
	c := mustLoad(t, "redis: rediss://h:1\nredis_ca: a\nredis_cert: b\nredis_key: c\n",
		map[string]string{"redis_ca": "flag"}, map[string]string{"ZHONGKONG_REDIS_CERT": "variable"})
	if c.RedisCA != "flag" || c.RedisCert != "variable" || c.RedisKey != "c" {
		t.Errorf("got %q %q %q", c.RedisCA, c.RedisCert, c.RedisKey)
	}
}

func TestWhatCannotBeMeantOfSealingAndTLSIsRefused(t *testing.T) {
	for name, test := range map[string]struct{ yaml, want string }{
		"a seal without keys":        {"seal: prefer\n", "zk.yaml:1: seal needs keys: give seal_key_file"},
		"a seal that is none":        {"seal_key_file: k\nseal: maybe\n", `zk.yaml:2: seal: "maybe": write require, prefer or allow`},
		"a certificate without key":  {"redis: rediss://h:1\nredis_cert: c\n", "redis_cert and redis_key belong together"},
		"a key without certificate":  {"redis: rediss://h:1\nredis_key: k\n", "redis_cert and redis_key belong together"},
		"an authority without TLS":   {"redis: redis://:hunter2@h:1\nredis_ca: a\n", "zk.yaml:1) begins with redis://: write rediss://"},
		"a certificate on a socket":  {"redis: unix:///run/r.sock\nredis_cert: c\nredis_key: k\n", "begins with unix://"},
		"an authority without Redis": {"redis_ca: a\n", "give --redis rediss://HOST:PORT too"},
		"an authority for nothing":   {"redis: rediss://h:1?skip_verify=true\nredis_ca: a\n", "skip_verify=true: remove that"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, test.yaml, nil, nil)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("Load() = %v, want %q", err, test.want)
			}
		})
	}
}

func TestAServerWhoseCertificateIsNotCheckedIsWarnedOf(t *testing.T) {
	for query, want := range map[string]bool{"": false, "?skip_verify=false": false, "?skip_verify=true": true, "?skip_verify=1": true} {
		c := mustLoad(t, "redis: rediss://:hunter2@h:1"+query+"\n", nil, nil)
		warned := strings.Contains(strings.Join(c.Warnings, "\n"), "--redis-ca")
		if warned != want || strings.Contains(strings.Join(c.Warnings, "\n"), "hunter2") {
			t.Errorf("%s: warnings %q", query, c.Warnings)
		}
	}
}

func TestSealingAndTLSChangeAtTheNextStart(t *testing.T) {
	old := mustLoad(t, "redis: rediss://h:1\nseal_key_file: k\n", nil, nil)
	next := mustLoad(t, "redis: rediss://h:1\nseal_key_file: k\nseal: prefer\nredis_ca: a\nredis_cert: c\nredis_key: k\n", nil, nil)
	if got := strings.Join(next.Fixed(old), " "); got != "redis_ca redis_cert redis_key seal" {
		t.Errorf("Fixed() = %s", got)
	}
}
