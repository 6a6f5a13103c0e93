package config

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
)

// Files are the files that a configuration was read from, and digests of what was in
// them.
type Files map[string][sha256.Size]byte // path :: digest

// Changed reports whether one of the files has another content than when it was read. It
// reads all of them.
func (f Files) Changed() bool {
	for path, digest := range f {
		if Digest(path) != digest {
			return true
		}
	}
	return false
}

// Now returns the same files with what is in them now.
func (f Files) Now() Files {
	now := make(Files, len(f))
	for path := range f {
		now.add(path)
	}
	return now
}

// Again returns an error if one of the files cannot be read again.
func (f Files) Again() error {
	for _, path := range slices.Sorted(maps.Keys(f)) {
		if err := Again(path); err != nil {
			return err
		}
	}
	return nil
}

// Again returns an error if a file cannot be read again: it is a pipe. To open one waits for
// its writer, perhaps for ever.
func Again(path string) error {
	if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		return fmt.Errorf("%s is a pipe, which can be read only once: restart the process to have it read again", path)
	}
	return nil
}

// add is called before a file is read: a change in between is found by Changed.
func (f Files) add(path string) {
	f[path] = Digest(path)
}

// Digest returns a digest of a file's content, as far as any is read, or of what keeps it
// from being read. The content is compared, because editors, ConfigMaps and network file
// systems change times and inodes in unpredictable ways. What is no regular file, such as
// a pipe, can be read only once: all of those are alike.
func Digest(path string) [sha256.Size]byte {
	h := sha256.New()
	if err := copyFile(h, path); err != nil {
		_, _ = fmt.Fprint(h, err)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func copyFile(w io.Writer, path string) error {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, io.LimitReader(f, maxFile+1))
	return err
}
