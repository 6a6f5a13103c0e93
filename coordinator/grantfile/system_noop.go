//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package grantfile

import "os"

// checkPrivate and dropGroup do nothing: a new directory has the rights of the one above it.
func checkPrivate(string, os.FileMode) error { return nil }

func dropGroup(string, os.FileMode) error { return nil }

// handOver and handOverDir do nothing: there is no root here that runs commands for the
// user of the service.
func handOver(*os.File) error { return nil }

func handOverDir(string) error { return nil }

// syncDir does nothing: Windows syncs no directories; NTFS writes names to its journal.
func syncDir(string) error { return nil }
