//go:build !unix

package main

func (b *bench) hup() {
	b.t.Helper()
	b.t.Skip("there is no SIGHUP on this system: a changed file is read when the daemon looks at it the next time")
}
