//go:build unix && !linux

package metrics

import (
	"os"
	"syscall"
	"time"
)

// started is when the process has started, or a little later.
var started = time.Now()

func readUsage() usage {
	u := unknownUsage()
	u.startSeconds = float64(started.UnixMilli()) / 1000
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) == nil {
		u.cpuSeconds = float64(used.Utime.Nano()+used.Stime.Nano()) / 1e9
	}
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) == nil {
		u.maxFDs = float64(files.Cur)
	}
	if open, err := os.ReadDir("/dev/fd"); err == nil {
		u.openFDs = float64(len(open) - 1) // without that of the directory
	}
	return u
}
