package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
)

// issuer issues a token for each account, and revokes the one before.
type issuer struct {
	calls   atomic.Int64
	current []atomic.Int64 // the number of each account's token; 0: the one that was prepared
}

func (s *issuer) issue(account int) string {
	s.calls.Add(1)
	return tokenText(s.current[account].Add(1))
}

// tokenText returns a token of the length of WeChat's.
func tokenText(n int64) string {
	return fmt.Sprintf("%d_%s", n, strings.Repeat("Kx", 157/2))[:157]
}

// counts counts what the coordinators do, all together.
type counts struct {
	loads, locks atomic.Int64
	unreachable  atomic.Int64
	failed       atomic.Int64 // forced refreshes
}

func (c *counts) observe(o coordinator.Observation) {
	if o.Kind == coordinator.Unreachable {
		c.unreachable.Add(1)
	}
}

// counting is a store that counts readings and tries to lock.
type counting struct {
	*redisstore.Store
	counts *counts
}

func (s counting) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	s.counts.loads.Add(int64(len(accounts)))
	return s.Store.Load(ctx, accounts...)
}

func (s counting) Lock(ctx context.Context, account string, life time.Duration) (coordinator.Lock, error) {
	s.counts.locks.Add(1)
	return s.Store.Lock(ctx, account, life)
}

// measured runs a phase and returns what it took.
func (f *fleet) measured(phase func() error) (values, error) {
	before, err := f.totals()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := phase(); err != nil {
		return nil, err
	}
	took := time.Since(began)
	v, err := f.totals()
	if err != nil {
		return nil, err
	}
	for name, n := range before {
		v[name] -= n
	}
	v["seconds"] = took.Seconds()
	return v, nil
}

// totals returns everything that is counted, since its beginning.
func (f *fleet) totals() (values, error) {
	v := values{
		"loads": float64(f.counts.loads.Load()), "locks": float64(f.counts.locks.Load()),
		"unreachable": float64(f.counts.unreachable.Load()), "calls": float64(f.issuer.calls.Load()),
		"own-cpu": ownCPU().Seconds(),
		"failed":  float64(f.counts.failed.Load()),
	}
	for _, m := range f.members {
		s := m.zk.Stats()
		v["commits"] += float64(s.Commits)
		v["superseded"] += float64(s.Superseded)
		v["restores"] += float64(s.Restores)
		v["missed"] += float64(s.Missed)
		v["disconnects"] += float64(s.Disconnects)
	}
	return v, f.serverTotals(v)
}

// serverTotals adds what Redis counts.
func (f *fleet) serverTotals(v values) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, section := range []string{"commandstats", "cpu"} {
		info, err := f.server.Info(ctx, section).Result()
		if err != nil {
			return err
		}
		for line := range strings.Lines(info) {
			name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
			if !ok {
				continue
			}
			switch name {
			case "used_cpu_sys", "used_cpu_user":
				seconds, err := strconv.ParseFloat(value, 64)
				if err != nil {
					return fmt.Errorf("INFO: %q: %w", line, err)
				}
				v["redis-cpu"] += seconds
			case "cmdstat_info": // sent by this program
			default:
				if !strings.HasPrefix(name, "cmdstat_") {
					continue
				}
				var calls, usec float64
				if _, err := fmt.Sscanf(value, "calls=%f,usec=%f,", &calls, &usec); err != nil {
					return fmt.Errorf("INFO: %q: %w", line, err)
				}
				v["commands"] += calls
				if name == "cmdstat_evalsha" || name == "cmdstat_eval" {
					v["scripts"] += calls
					v["scripts-seconds"] += usec / 1e6
				}
			}
		}
	}
	return nil
}

// ownCPU is the CPU time that this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// memoryOf returns a line of this process's status in bytes, 0 without /proc.
func memoryOf(name string) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kb, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kb * 1024
		}
	}
	return 0
}
