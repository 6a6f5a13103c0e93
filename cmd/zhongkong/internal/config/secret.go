package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
)

// Secret is text that is not shown however it is printed.
type Secret struct {
	// A pointer: fmt prints the unexported fields of a struct without asking
	// their methods.
	value *string
}

// NewSecret returns s as a Secret. NewSecret("") is the zero Secret.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{&s}
}

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.value == nil }

// String returns "[secret]", or "" if there is none.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return "[secret]"
}

// Format prints String for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is String, for log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String, for encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// blanks is white space, which no secret contains.
const blanks = "\r\n\t "

// maxSecretFile is far above the size of any secret; a larger file is the wrong one.
const maxSecretFile = 16 << 10

// ReadSecret reads a file that contains a secret alone. warning is not empty if other
// users can read the file.
func ReadSecret(path string) (s Secret, warning string, err error) { return readSecret(path, false) }

// readSecret is ReadSecret, also for keys, which have several lines.
func readSecret(path string, multiline bool) (s Secret, warning string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return Secret{}, "", fmt.Errorf("cannot read %s: %w", named(path), plainCause(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Secret{}, "", fmt.Errorf("cannot read %s: %w", path, plainCause(err))
	}
	if info.IsDir() {
		return Secret{}, "", fmt.Errorf("%s is a directory: name a file in it", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return Secret{}, "", fmt.Errorf("cannot read %s: %w", path, plainCause(err))
	}
	text, err := Text(data)
	content := strings.TrimSpace(text)
	switch {
	case len(data) > maxSecretFile:
		return Secret{}, "", fmt.Errorf("%s is larger than any secret: check that it is the right file", path)
	case err != nil:
		return Secret{}, "", fmt.Errorf("%s %w", path, err)
	case content == "":
		return Secret{}, "", fmt.Errorf("%s is empty: write the secret into it", path)
	case !multiline && strings.ContainsAny(content, blanks):
		return Secret{}, "", fmt.Errorf("%s has more than one word: it must contain the secret alone", path)
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o004 != 0 {
		warning = fmt.Sprintf("%s can be read by every user of this machine: chmod 600 %s", path, path)
	}
	return NewSecret(content), warning, nil
}

// Text returns what a file or stdin has, without the mark that editors on Windows put at its
// beginning. An error says what is wrong with it after its name.
func Text(data []byte) (string, error) {
	if bytes.IndexByte(data, 0) >= 0 {
		return "", errors.New("is in UTF-16, which the > of Windows PowerShell writes: save it as UTF-8")
	}
	return strings.TrimPrefix(string(data), "\ufeff"), nil
}

// named returns the path of a file that cannot be read, as an error may have it: it may be
// the secret itself, where its file should be named.
func named(path string) string {
	if len(path) >= 24 && !strings.ContainsAny(path, `/\.`) {
		return "a file with that name, which is not repeated because it may be the secret itself: write the secret into a file and name that"
	}
	return path
}

// plainCause removes the path from an error: the message around it names it already.
func plainCause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
