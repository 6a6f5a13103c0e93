package main

import (
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

func TestAWrongRedisPasswordIsCalledThatByEveryCommand(t *testing.T) {
	server := redistest.Start(t)
	server.AddUser(t, "app", "allkeys", "allchannels", "+@all")
	server.MustDo(t, "ACL", "SETUSER", "default", "off")
	b := newBench(t)
	for name, url := range map[string]string{
		"a wrong password": "redis://app:hunter2@" + server.Addr(), "no password": "redis://" + server.Addr(),
	} {
		b := b.with("ZHONGKONG_REDIS", url)
		for _, command := range []string{"status", "watch", "history", "show", "refresh"} {
			for _, run := range []ran{
				b.reader().run(command), b.reader().run(command, appID), b.run(command),
			} {
				if run.code != exitUnreachable || !strings.Contains(run.stderr, "check the user and the password of the Redis URL") {
					t.Errorf("%s: %s = %d\n%s", name, command, run.code, run.stderr)
				}
				for _, wrong := range []string{"+scan", "that this machine can reach it", "hunter2"} {
					if strings.Contains(run.stderr, wrong) {
						t.Errorf("%s: %s says %q:\n%s", name, command, wrong, run.stderr)
					}
				}
			}
		}
	}
	if n := b.calls(); n != 0 {
		t.Errorf("%d calls without a store", n)
	}
}

func TestAWrongRedisPasswordIsSaidAtOnce(t *testing.T) {
	server := redistest.Start(t)
	b := newBench(t).with("ZHONGKONG_REDIS", "redis://nobody:wrong@"+server.Addr())
	for _, args := range [][]string{{"show", appID}, {"refresh", appID}} {
		began := time.Now()
		b.run(args...)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%v took %v of the 10s that it may wait", args, took)
		}
	}
}

func TestAMissingRightIsNoWrongPassword(t *testing.T) {
	server := redistest.Start(t)
	b := newBench(t).asUser(server, "app", "allkeys", "allchannels", "+@all", "-scan", "-ping")
	for _, command := range []string{"status", "watch", "history", "show"} {
		r := b.reader().fails(exitUsage, "+scan", command)
		if strings.Contains(r.stderr, "password") {
			t.Errorf("%s speaks of a password:\n%s", command, r.stderr)
		}
	}
	all := b.reader().findings(exitOther)
	finds(t, all, "rights", resultFail, "+ping")
	finds(t, all, "accounts", resultWarn, "+scan")
	if f, found := all["redis"]; found && f.Result == resultFail {
		t.Errorf("redis = %+v", f)
	}
}
