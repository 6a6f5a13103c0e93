//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package grantfile

import "testing"

// GiveTo makes everything that is made belong to a user and a group, as if root ran the
// test in a directory of theirs.
func GiveTo(t *testing.T, uid, gid int) {
	t.Helper()
	before := ownerOf
	ownerOf = func(string) (int, int, error) { return uid, gid, nil }
	t.Cleanup(func() { ownerOf = before })
}
