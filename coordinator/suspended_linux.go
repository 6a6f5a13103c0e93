package coordinator

import (
	"syscall"
	"time"
	"unsafe"
)

// The clocks of clock_gettime(2).
const (
	clockMonotonic = 1
	clockBoottime  = 7
)

// suspended returns for how long this machine has slept since it was booted: by
// so much CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC, which is Go's clock.
func suspended() time.Duration { return read(clockBoottime) - read(clockMonotonic) }

// read returns a clock's time, 0 if there is none.
func read(clock uintptr) time.Duration {
	var t syscall.Timespec
	if _, _, failed := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&t)), 0); failed != 0 {
		return 0
	}
	return time.Duration(t.Nano())
}
