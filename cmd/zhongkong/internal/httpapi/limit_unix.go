//go:build unix

package httpapi

import "syscall"

// connectionLimit is how many connections a server may have. An eighth of the
// files that the process may open, and no fewer than 64, are kept for the
// issuer, for Redis and for what else is read. Go has raised the limit to the
// hard one when the process started.
func connectionLimit() int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return mostConnections
	}
	n := int(min(files.Cur, 2*mostConnections))
	return min(mostConnections, max(n-max(64, n/8), n/4))
}
