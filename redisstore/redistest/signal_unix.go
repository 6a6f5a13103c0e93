//go:build unix

package redistest

import "syscall"

// The signals that pause a process and continue it.
const (
	stop   = syscall.SIGSTOP
	resume = syscall.SIGCONT
)
