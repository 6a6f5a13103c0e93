package metrics

import (
	"syscall"
	"time"
)

// readUsage asks for the times of the process.
func readUsage() usage {
	u := unknownUsage()
	self, err := syscall.GetCurrentProcess()
	if err != nil {
		return u
	}
	var created, exited, kernel, user syscall.Filetime
	if syscall.GetProcessTimes(self, &created, &exited, &kernel, &user) == nil {
		u.startSeconds = float64(created.Nanoseconds()) / float64(time.Second)
		u.cpuSeconds = (ticks(kernel) + ticks(user)) / 1e7
	}
	return u
}

// ticks returns a duration, in units of 100 ns.
func ticks(t syscall.Filetime) float64 {
	return float64(uint64(t.HighDateTime)<<32 | uint64(t.LowDateTime))
}
