//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package grantfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// checkPrivate returns an error if users outside of the directory's group can read it.
func checkPrivate(dir string, mode os.FileMode) error {
	if mode&0o007 != 0 {
		return notPrivate(dir, mode)
	}
	return nil
}

// dropGroup takes the rights of its group from a directory: the one that Kubernetes gives
// a volume sets them again at each start.
func dropGroup(dir string, mode os.FileMode) error {
	if mode&0o070 != 0 && os.Chmod(dir, 0o700) != nil { //nolint:gosec // a directory needs x
		return notPrivate(dir, mode)
	}
	return nil
}

func notPrivate(dir string, mode os.FileMode) error {
	return fmt.Errorf("grantfile: other users can read %s (mode %v): run chmod 700 on it, or name a directory below it, which is made then", dir, mode)
}

// ownerOf returns the user and the group that get what this process makes in a directory;
// -1 if that stays its own. A variable, so that tests need not be run by root.
var ownerOf = func(dir string) (uid, gid int, err error) {
	if os.Geteuid() != 0 {
		return -1, -1, nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return -1, -1, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == 0 {
		return -1, -1, nil
	}
	return int(stat.Uid), int(stat.Gid), nil
}

// handOver gives what root has just made to the owner of the directory that it is in:
// the user of the service, which has to read it, and to replace it. It takes an open file
// and not a name, in whose place that user could put another file. Where root may not do it,
// as over NFS or in a container without the capability, the file stays root's.
func handOver(f *os.File) error {
	uid, gid, err := ownerOf(filepath.Dir(f.Name()))
	if err != nil || uid < 0 {
		return err
	}
	err = f.Chown(uid, gid)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

func handOverDir(dir string) error {
	d, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0) //nolint:gosec // the directory is the operator's
	if err != nil {
		return err
	}
	return errors.Join(handOver(d), d.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the directory is the operator's
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// tryLock makes the file if it is missing and locks it until it is closed or the process
// ends. A file that was replaced or removed meanwhile counts as locked.
func tryLock(path string) (*os.File, error) {
	f, err := openLock(path)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) //nolint:gosec // a descriptor fits
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = errLocked
	case err != nil:
		err = &os.PathError{Op: "lock", Path: path, Err: err}
	case !isAt(f, path):
		err = errLocked
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func openLock(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0) //nolint:gosec // the directory is the operator's
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		f, err = create(path)
		if !errors.Is(err, fs.ErrExist) { // another process has just made it
			return f, err
		}
	}
}

func isAt(f *os.File, path string) bool {
	mine, err1 := f.Stat()
	there, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(mine, there)
}
