//go:build !linux

package redistest

import "syscall"

// dieWithParent is nothing here: servers outlive a test that is killed.
func dieWithParent() *syscall.SysProcAttr { return nil }
