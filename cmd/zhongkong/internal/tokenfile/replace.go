package tokenfile

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
)

// partLength is the length of rand.Text.
const partLength = 26

// partPrefix begins the names of files that are being written in place of path. No
// pattern such as *.conf or * of a shell matches them.
func partPrefix(path string) string { return "." + filepath.Base(path) + ".zhongkong-" }

// owned is how a file is to be, besides its content.
type owned struct {
	mode     fs.FileMode
	uid, gid int // -1: those of the process
}

// owned looks up the owner.
func (f File) owned() (owned, error) {
	o := owned{mode: f.Mode, uid: -1, gid: -1}
	if o.mode == 0 {
		o.mode = DefaultMode
	}
	if f.Owner == "" {
		return o, nil
	}
	var err error
	o.uid, o.gid, err = lookUpOwner(f.Owner)
	return o, err
}

// syncDir is a variable for tests.
var syncDir = syncDirectory

// update makes the file and its expiry those of the record, and reports whether the
// file has changed, which it may have although there is an error. before is called before it
// does.
func (f File) update(r coordinator.Record, before func() error) (changed bool, err error) {
	content, err := f.render(r)
	if err != nil {
		return false, err
	}
	o, err := f.owned()
	if err != nil {
		return false, err
	}
	expiry := []byte(wire.Time{Time: r.ExpiresAt}.String() + "\n")
	if isLike(f.Path, content, o) {
		if isLike(ExpiryPath(f.Path), expiry, o) {
			return false, nil
		}
		return false, f.replaceExpiry(expiry, o)
	}
	if err := before(); err != nil {
		return false, err
	}
	if !f.endsLater(r.ExpiresAt) {
		if err := os.Remove(ExpiryPath(f.Path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	if err := replace(f.Path, content, o); err != nil {
		return false, err
	}
	return true, errors.Join(syncDir(filepath.Dir(f.Path)), f.replaceExpiry(expiry, o))
}

func (f File) replaceExpiry(expiry []byte, o owned) error {
	if err := replace(ExpiryPath(f.Path), expiry, o); err != nil {
		return err
	}
	return syncDir(filepath.Dir(f.Path))
}

// endsLater reports whether a token that ends at the given time ends no earlier than the
// present expiry says, or there is none.
func (f File) endsLater(end time.Time) bool {
	text, err := os.ReadFile(ExpiryPath(f.Path))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	present, err := time.Parse(time.RFC3339, string(bytes.TrimSpace(text)))
	return err == nil && !end.Before(present)
}

// isLike reports whether a file is as replace would make it.
func isLike(path string, content []byte, o owned) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() != int64(len(content)) || !hasOwned(info, o) {
		return false
	}
	present, err := os.ReadFile(path)
	return err == nil && bytes.Equal(present, content)
}

// replace replaces a file: its content is on disk before its name is, and that is when the
// directory is synced. A file that could not be written completely is removed.
func replace(path string, content []byte, o owned) error {
	err := rename(path, content, o)
	if errors.Is(err, fs.ErrNotExist) { // another process that starts may have removed the part, see removeParts
		err = rename(path, content, o)
	}
	return err
}

func rename(path string, content []byte, o owned) error {
	dir := filepath.Dir(path)
	part := filepath.Join(dir, partPrefix(path)+rand.Text())
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return missing(dir)
	}
	if err != nil {
		return err
	}
	err = own(f, o)
	if err == nil {
		_, err = f.Write(content)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		if gone := os.Remove(part); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
		return err
	}
	return nil
}

func missing(dir string) error {
	return fmt.Errorf("the directory %s is missing: make it: %w", dir, fs.ErrNotExist)
}

// own gives a file its mode and its owner. It is empty yet, so it does not matter who
// may read it in between.
func own(f *os.File, o owned) error {
	if err := f.Chmod(o.mode); err != nil {
		return err
	}
	if o.uid < 0 && o.gid < 0 {
		return nil
	}
	if err := f.Chown(o.uid, o.gid); err != nil {
		return refusedOwner(err)
	}
	return nil
}

func refusedOwner(err error) error {
	remedy := "only root may give a file away; other users may give it to a group of their own (owner: :GROUP)"
	if errors.Is(err, syscall.EINVAL) {
		remedy = "the user or the group does not exist in the user namespace of this process: run it outside of that (in a unit of systemd: PrivateUsers=no)"
	}
	return fmt.Errorf("owner: %w: %s", err, remedy)
}

// removeParts removes what killed processes have left beside the file.
func (f File) removeParts() error {
	entries, err := os.ReadDir(filepath.Dir(f.Path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	var problems []error
	for _, e := range entries {
		for _, path := range []string{f.Path, ExpiryPath(f.Path)} {
			if part, ok := strings.CutPrefix(e.Name(), partPrefix(path)); ok && len(part) == partLength {
				err := os.Remove(filepath.Join(filepath.Dir(f.Path), e.Name()))
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					problems = append(problems, err)
				}
			}
		}
	}
	return errors.Join(problems...)
}

// mark and unmark keep the file that says that the command has not been told of a
// change. It is on disk before the change is.
func (f File) mark() error {
	path := f.markPath()
	dir := filepath.Dir(path)
	m, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		// of an earlier change
	case errors.Is(err, fs.ErrNotExist):
		return missing(dir)
	case err != nil:
		return err
	default:
		_ = m.Close() // nothing was written
	}
	_ = syncDir(dir) // a failure does not prevent the change: it is synced after that again, and then reported
	return nil
}

func (f File) unmark() error {
	if err := os.Remove(f.markPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (f File) isMarked() bool {
	_, err := os.Lstat(f.markPath())
	return err == nil
}

func (f File) markPath() string {
	return filepath.Join(filepath.Dir(f.Path), partPrefix(f.Path)+"notify")
}
