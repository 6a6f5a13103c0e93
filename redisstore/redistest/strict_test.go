package redistest_test

import (
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

func TestStrictRefusesWhatClusterProxiesRefuse(t *testing.T) {
	for script, want := range map[string]string{
		`return redis.call('GET', KEYS[1])`: "",
		`local t = redis.call("TIME")
			redis.call('PUBLISH', ARGV[1], t[1])
			return redis.pcall('HMGET', KEYS[2], 'a', f(1, {2}))`: "",
		`return 1`: "",
		`local key = KEYS[1] return redis.call('GET', key)`:      "should be passed using the KEYS array",
		`return redis.call('GET', KEYS[1] .. 'x')`:               "should not be in expression",
		`return redis.call('GET', KEYS[i])`:                      "should not be in expression",
		`return redis.call('KEYS')`:                              "should be passed using the KEYS array",
		`return redis.call('GET', KEYS[3])`:                      "undeclared key KEYS[3] of 2",
		`return redis.call(ARGV[1], KEYS[1])`:                    "single literal string",
		`return redis.call('GET' .. '', KEYS[1])`:                "single literal string",
		`return redis.call('SET', KEYS[1], redis.call('TIME'))`:  "nested",
		`return redis.call('ZREM', KEYS[1], unpack(ARGV))`:       "unpack",
		`redis.call('SET', KEYS[1], ')') redis.call('GET', 'x')`: "should be passed using the KEYS array",
	} {
		got := redistest.Strict([]string{"EVAL", script, "2", "p:{a}:x", "p:{a}:y"})
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("Strict(%s) = %q, want %q", script, got, want)
		}
	}
	for want, command := range map[string][]string{
		"":                  {"evalsha", "0123", "2", "p:{a}:x", "p:{a}:y"},
		"in same slot":      {"evalsha", "0123", "2", "p:{a}:x", "p:{b}:x"},
		"negative or zero":  {"eval", "return 1", "0"},
		"the KEYS array":    {"script", "load", "return redis.call('GET', 'x')"},
		"literal string":    {"eval", "return redis.call(x", "1", "k"},
		"passed using the ": {"eval", "return redis.call('GET'", "1", "k"},
	} {
		if got := redistest.Strict(command); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("Strict(%q) = %q, want %q", command, got, want)
		}
	}
}
