//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package grantfile

import (
	"errors"
	"fmt"
	"os"
)

func checkPrivate(string, os.FileMode) error { return nil }

// handOver and handOverDir do nothing: there is no root here that runs commands for the
// user of the service.
func handOver(*os.File) error { return nil }

func handOverDir(string) error { return nil }

func syncDir(string) error { return nil }

// errLocked says that another process, or another call of this one, has the lock.
var errLocked = errors.New("locked")

func tryLock(path string) (*os.File, error) {
	return nil, fmt.Errorf("%s: file locks: %w", path, errors.ErrUnsupported)
}
