//go:build unix

package main

import (
	"os"
	"syscall"
)

// replaceProcess is program.replace.
var replaceProcess = syscall.Exec

func passedSignals() []os.Signal {
	return []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2}
}
