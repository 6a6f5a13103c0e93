//go:build !linux

package argon2

func yieldThread() {}
