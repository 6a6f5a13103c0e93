package metrics

import "syscall"

// cpuSeconds is what the process has spent in its own code and in the kernel.
func cpuSeconds() (float64, bool) {
	process, err := syscall.GetCurrentProcess()
	if err != nil {
		return 0, false
	}
	var created, exited, kernel, user syscall.Filetime
	if err := syscall.GetProcessTimes(process, &created, &exited, &kernel, &user); err != nil {
		return 0, false
	}
	return (ticks(kernel) + ticks(user)) / 1e7, true
}

// ticks is a duration in units of 100 ns.
func ticks(t syscall.Filetime) float64 {
	return float64(t.HighDateTime)*(1<<32) + float64(t.LowDateTime)
}
