package grantfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator"
)

const (
	grantSuffix  = ".grant"
	answerSuffix = ".answer"
	partPrefix   = ".part-" // of a file that is being written

	maxEscaped = 160 // of a file name, which a file system limits to 255 bytes
)

// errLocked says that another process, or another call of this one, has the lock.
var errLocked = errors.New("locked")

var errNoSealer = errors.New("grantfile: the Sealer is nil: grants are not written in plain text")

// escape makes a file name of an account's name. It stays readable, is the same on file
// systems that ignore case, and two accounts never have the same: letters, digits, - and
// _ stay, everything else is %XX as in a URL; a name that gets too long ends in a digest.
func escape(account string) string {
	var b strings.Builder
	for i := range len(account) {
		switch c := account[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	if name := b.String(); len(name) <= maxEscaped {
		return name
	}
	digest := sha256.Sum256([]byte(account))
	return b.String()[:maxEscaped] + "~" + hex.EncodeToString(digest[:16])
}

// openDir makes the directory if it is missing, and returns an error if others could
// read what is in it.
func openDir(dir string) error {
	if dir == "" {
		return errors.New("grantfile: the directory's name is empty")
	}
	if err := makeDir(filepath.Clean(dir)); err != nil {
		return fmt.Errorf("grantfile: %w", err)
	}
	mode, err := checkDir(dir)
	if err != nil {
		return err
	}
	return dropGroup(dir, mode)
}

// CheckDir returns an error if OpenSpool and OpenCopy would refuse the directory. A missing
// one is none: they make it. It changes nothing.
func CheckDir(dir string) error {
	_, err := checkDir(dir)
	return ignoreMissing(err)
}

// checkDir returns the rights of a directory that others cannot read.
func checkDir(dir string) (os.FileMode, error) {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return 0, fmt.Errorf("grantfile: %w", err)
	case !info.IsDir():
		return 0, fmt.Errorf("grantfile: %s is not a directory", dir)
	}
	return info.Mode().Perm(), checkPrivate(dir, info.Mode().Perm())
}

// makeDir makes a directory, and those above it that are missing.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if above := filepath.Dir(dir); above != dir {
		if err := makeDir(above); err != nil {
			return err
		}
	}
	switch err := os.Mkdir(dir, 0o700); {
	case errors.Is(err, fs.ErrExist):
		return nil // another process has just made it
	case err != nil:
		return err
	}
	return handOverDir(dir)
}

// create makes a file that is not there yet. A link in its place is not followed.
func create(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the directory is the operator's
	if err != nil {
		return nil, err
	}
	if err := handOver(f); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return f, nil
}

// writeFile replaces the file dir/name: its content is on disk before its name is, and
// both are when it returns. Only one call at a time may write a file of that name.
func writeFile(dir, name, account, sealed string) error {
	part := filepath.Join(dir, partPrefix+name)
	if err := ignoreMissing(os.Remove(part)); err != nil { // of a process that was killed
		return err
	}
	f, err := create(part)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s\n%s\n", account, sealed)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(part, filepath.Join(dir, name))
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(part)))
	}
	return syncDir(dir)
}

// readFile returns the account that a file is of, and its content. An error names the
// file.
func readFile(s Sealer, path string) (account string, plain []byte, err error) {
	account, sealed, err := readSealed(path)
	if err != nil {
		return account, nil, err
	}
	plain, err = s.Open(account, sealed)
	if err != nil {
		return account, nil, fmt.Errorf("%s: %w; to do without it, move the file away", path, err)
	}
	return account, plain, nil
}

func readSealed(path string) (account, sealed string, err error) {
	b, err := os.ReadFile(path) //nolint:gosec // the directory is the operator's
	if err != nil {
		return "", "", err
	}
	name, rest, _ := bytes.Cut(b, []byte("\n"))
	rest, ended := bytes.CutSuffix(rest, []byte("\n"))
	if account = string(name); !ended || coordinator.ValidateName(account) != nil {
		return "", "", fmt.Errorf("%s: it is not a file of two lines that this program has written: move it away", path)
	}
	return account, string(rest), nil
}

// complete returns the paths of the complete files of a directory that have the suffix.
func complete(dir, suffix string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) && !strings.HasPrefix(e.Name(), partPrefix) {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}

// ignoreMissing returns err unless it says that a file is not there.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
