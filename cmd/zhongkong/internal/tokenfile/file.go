package tokenfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// The values of File.Format.
const (
	Raw  = "raw"  // the token alone, without a newline
	JSON = "json" // the record of GET /v1/tokens/{name} and a newline
)

// DefaultMode is the mode of a file for which none is given.
const DefaultMode fs.FileMode = 0o600

// File describes a file.
type File struct {
	Account  string
	Path     string      // absolute
	Format   string      // Raw or JSON; "": Raw
	Template string      // a text/template in place of Format; "": none
	Mode     fs.FileMode // of the file and of PATH.expiry; 0: DefaultMode
	Owner    string      // USER, USER:GROUP or :GROUP, names or numbers; "": those of the process
	Notify   []string    // a command and its arguments, to be run after a change; nil: none
}

// Same reports whether two files are written in the same way.
func (f File) Same(o File) bool { return reflect.DeepEqual(f, o) }

// ExpiryPath returns the path of the file that says when the token in PATH ends.
func ExpiryPath(path string) string { return path + ".expiry" }

// CheckPath reports what is wrong with the path of a file. It does not look at the disk.
func CheckPath(path string) error {
	switch base := filepath.Base(path); {
	case !filepath.IsAbs(path):
		return errors.New("it must be an absolute path, such as /run/zhongkong/token")
	case filepath.Clean(path) != path || base == string(filepath.Separator):
		return fmt.Errorf("it must be the path of a file in its shortest form, such as %s", filepath.Join(path, "token"))
	case len(base) > maxName:
		return fmt.Errorf("the file's name has %d bytes: it must have at most %d, because the names of files beside it are longer", len(base), maxName)
	}
	return nil
}

// maxName is the length of a name of which all names beside it have at most the 255
// bytes that file systems allow.
const maxName = 200

// ParseMode parses the mode of a file, in octal digits.
func ParseMode(text string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(text, 8, 32)
	switch mode := fs.FileMode(n); {
	case err != nil:
		return 0, errors.New(`it must be a mode in octal digits, in quotes, such as "0640"`)
	case mode&0o400 == 0 || mode&^0o664 != 0:
		return 0, errors.New("it must let the owner read, must not let others write, and must have no other bits: " +
			`write "0600", "0640", "0644" or "0664"`)
	default:
		return mode, nil
	}
}

// Formats returns the values of File.Format.
func Formats() []string { return []string{Raw, JSON} }

// ParseFormat checks a value of File.Format.
func ParseFormat(text string) (string, error) {
	if !slices.Contains(Formats(), text) {
		return "", fmt.Errorf("it must be %s; template: gives any other form", strings.Join(Formats(), " or "))
	}
	return text, nil
}

// CheckOwner reports whether an owner is malformed. It does not look for the user.
func CheckOwner(owner string) error {
	user, group, divided := strings.Cut(owner, ":")
	if user == "" && group == "" || divided && group == "" || strings.ContainsAny(owner, " \t/") || strings.Contains(group, ":") {
		return errors.New("it must be USER, USER:GROUP or :GROUP, such as zhongkong:prometheus")
	}
	return nil
}
