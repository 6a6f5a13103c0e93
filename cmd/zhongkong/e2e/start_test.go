//go:build unix

package e2e_test

import (
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// TestShowIsNotMuchSlowerThanRedisCLI compares whole processes. The quickest
// of many runs, taken in turns, is what a busy machine disturbs least.
func TestShowIsNotMuchSlowerThanRedisCLI(t *testing.T) {
	f := newFleet(t).with("ZHONGKONG_LOG_LEVEL", "")
	f.run("show")
	port := strconv.Itoa(f.redis.Port())
	quickest := func(best *time.Duration, cmd *exec.Cmd) {
		for name, value := range f.env {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		began := time.Now()
		if out, err := cmd.Output(); err != nil || len(out) < 100 {
			t.Fatalf("%v: %v, %d bytes", cmd.Args, err, len(out))
		}
		if took := time.Since(began); *best == 0 || took < *best {
			*best = took
		}
	}
	var ours, theirs time.Duration
	for range 40 {
		quickest(&ours, exec.Command(binary, "show"))
		quickest(&theirs, exec.Command("redis-cli", "-p", port, "hget", f.key("token"), "access_token"))
	}
	t.Logf("show %v, redis-cli hget %v: %.2fx", ours, theirs, float64(ours)/float64(theirs))
	if ours > 2*theirs {
		t.Errorf("show takes %v, redis-cli hget %v: want at most twice that", ours, theirs)
	}
}
