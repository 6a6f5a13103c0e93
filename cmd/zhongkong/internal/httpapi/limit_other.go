//go:build !unix

package httpapi

// connectionLimit is how many connections a server may have.
func connectionLimit() int { return mostConnections }
