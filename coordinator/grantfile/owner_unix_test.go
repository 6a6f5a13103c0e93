//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package grantfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator/grantfile"
)

// TestWhatRootMakesBelongsToTheOwnerOfTheDirectory: a command that root runs must leave
// nothing that the service, which runs as another user, cannot read and replace.
func TestWhatRootMakesBelongsToTheOwnerOfTheDirectory(t *testing.T) {
	service := t.TempDir()
	uid, gid := asRootInDirectoryOf(t, service)
	spool := openSpool(t, filepath.Join(service, "state", "spool"), current)
	if err := spool.Write(answer("wx1", 7)); err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(service, "copy")
	if err := openCopy(t, backup, old).Put(t.Context(), "wx1", grant(100, 1)); err != nil {
		t.Fatal(err)
	}
	c := openCopy(t, backup, current)
	if err := c.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Put(t.Context(), "wx2", grant(100, 1)); err != nil {
		t.Fatal(err)
	}

	made := 0
	err := filepath.WalkDir(service, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		made++
		stat := must(e.Info())(t).Sys().(*syscall.Stat_t)
		if int(stat.Uid) != uid || int(stat.Gid) != gid {
			t.Errorf("%s belongs to %d:%d, want %d:%d", path, stat.Uid, stat.Gid, uid, gid)
		}
		return nil
	})
	if err != nil || made < 10 { // 5 directories, an answer, 2 copies, the locks of both
		t.Errorf("%d files and directories, %v", made, err)
	}
}

// asRootInDirectoryOf gives a directory to another user if root runs the test. If not, it
// makes the package believe that root runs it and that dir belongs to the user of the
// test and another one of its groups. It returns the owner.
func asRootInDirectoryOf(t *testing.T, dir string) (uid, gid int) {
	t.Helper()
	uid, gid = 65534, 65534
	if os.Geteuid() != 0 {
		uid, gid = os.Getuid(), os.Getgid()
		groups := must(os.Getgroups())(t)
		if i := slices.IndexFunc(groups, func(g int) bool { return g != gid }); i >= 0 {
			gid = groups[i]
		}
		grantfile.GiveTo(t, uid, gid)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return uid, gid
}

// TestNothingIsWrittenThroughALink: the owner of a directory must not be able to let root
// write, or give away, a file elsewhere.
func TestNothingIsWrittenThroughALink(t *testing.T) {
	dir, elsewhere := newDir(t), filepath.Join(t.TempDir(), "elsewhere")
	c := openCopy(t, dir, current)
	for i := range 16 {
		link(t, elsewhere, filepath.Join(dir, ".lock-"+string("0123456789abcdef"[i])))
	}
	if err := c.Put(t.Context(), "wx1", grant(100, 1)); !errors.Is(err, syscall.ELOOP) && !errors.Is(err, syscall.EMLINK) {
		t.Errorf("Put() with a link in place of the lock: %v", err)
	}
	dir = newDir(t)
	c = openCopy(t, dir, current)
	link(t, elsewhere, filepath.Join(dir, ".part-wx1.grant"))
	if err := c.Put(t.Context(), "wx1", grant(100, 1)); err != nil {
		t.Errorf("Put() with a link in place of the new file: %v", err)
	}
	wantVersion(t, c, "wx1", 1)
	if _, err := os.Lstat(elsewhere); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was made through a link: %v", err)
	}
}

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}
