//go:build unix

package main

import (
	"os"
	"syscall"
)

// hup sends this process, and with it every daemon of the test, a SIGHUP.
func (b *bench) hup() {
	b.t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		b.t.Fatal(err)
	}
}
