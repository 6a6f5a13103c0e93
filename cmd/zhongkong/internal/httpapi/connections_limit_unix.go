//go:build unix

package httpapi

import "syscall"

// connectionLimit returns how many connections a server may have. It leaves an
// eighth of the files that the process may open, and at least 64, for the issuer,
// Redis and other files. The Go runtime has raised the soft limit to the hard one.
func connectionLimit() int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return maxConnections
	}
	n := int(min(files.Cur, 2*maxConnections))
	return min(maxConnections, max(n-max(64, n/8), n/4))
}
