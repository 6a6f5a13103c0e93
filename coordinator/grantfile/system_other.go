//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package grantfile

import (
	"errors"
	"fmt"
	"os"
)

func tryLock(path string) (*os.File, error) {
	return nil, fmt.Errorf("%s: file locks: %w", path, errors.ErrUnsupported)
}
