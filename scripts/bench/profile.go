package main

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// profileCPU writes a CPU profile of this process until the function that it
// returns is called, if BENCH_PROFILE names a directory.
func profileCPU(name string) (stop func()) {
	dir := os.Getenv("BENCH_PROFILE")
	if dir == "" {
		return func() {}
	}
	var b bytes.Buffer
	if pprof.StartCPUProfile(&b) != nil {
		return func() {}
	}
	return func() {
		pprof.StopCPUProfile()
		_ = os.WriteFile(filepath.Join(dir, "cpu-"+name+".pprof"), b.Bytes(), 0o644)
	}
}

// serverCPU returns the CPU time of another process, 0 without /proc.
func serverCPU(pid int) time.Duration {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond // the kernel's tick, as /proc counts
}

// threadsCPU returns the CPU time of another process's threads, more exactly than
// serverCPU does.
func threadsCPU(pid int) (sum time.Duration) {
	files, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/schedstat")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		digits, _, _ := strings.Cut(string(text), " ")
		n, _ := strconv.ParseInt(digits, 10, 64)
		sum += time.Duration(n)
	}
	return sum
}

// serverMemory returns the resident memory of another process in bytes.
func serverMemory(pid int) float64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	pages, _ := strconv.ParseFloat(fields[1], 64)
	return pages * float64(os.Getpagesize())
}

// peakMemory returns the most resident memory that another process has had, in bytes.
func peakMemory(pid int) float64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kb * 1024
		}
	}
	return 0
}

func sqrt(x float64) float64 { return math.Sqrt(x) }

// profileServer saves the statistics of a Redis if BENCH_PROFILE names a directory.
func profileServer(s *redistest.Server, name string) {
	dir := os.Getenv("BENCH_PROFILE")
	if dir == "" {
		return
	}
	client := s.Client()
	defer client.Close()
	var b strings.Builder
	for _, section := range []string{"commandstats", "errorstats", "memory", "clients"} {
		b.WriteString(client.Info(context.Background(), section).Val())
	}
	_ = os.WriteFile(filepath.Join(dir, "redis-"+name+".txt"), []byte(b.String()), 0o644)
}

// profileLog returns a log of warnings if BENCH_PROFILE names a directory.
func profileLog() *slog.Logger {
	if os.Getenv("BENCH_PROFILE") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
