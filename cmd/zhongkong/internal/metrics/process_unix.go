//go:build unix

package metrics

import (
	"syscall"
	"time"
)

// cpuSeconds is what the process has spent in its own code and in the kernel.
func cpuSeconds() (float64, bool) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, false
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds(), true
}
