package grantfile

import (
	"errors"
	"os"
	"syscall"
)

// checkPrivate does nothing: a new directory has the rights of the one above it.
func checkPrivate(string, os.FileMode) error { return nil }

// handOver and handOverDir do nothing: there is no root here that runs commands for the
// user of the service.
func handOver(*os.File) error { return nil }

func handOverDir(string) error { return nil }

// syncDir does nothing: Windows syncs no directories; NTFS writes names to its journal.
func syncDir(string) error { return nil }

// errLocked says that another process, or another call of this one, has the lock.
var errLocked = errors.New("locked")

const errSharingViolation = syscall.Errno(32)

// tryLock makes the file if it is missing and locks it until it is closed or the process
// ends: nobody else can open it, but it can be removed.
func tryLock(path string) (*os.File, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, syscall.FILE_SHARE_DELETE, nil,
		syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	switch {
	case errors.Is(err, errSharingViolation), errors.Is(err, syscall.ERROR_ACCESS_DENIED): // denied: it is being removed
		return nil, errLocked
	case err != nil:
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}
