//go:build !linux

package redistest

import "syscall"

// dieWithParent has no effect here: servers continue when the test is killed.
func dieWithParent() *syscall.SysProcAttr { return nil }
