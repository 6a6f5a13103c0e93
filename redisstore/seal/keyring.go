package seal

import (
	"bytes"
	"cmp"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"

	"github.com/zhongkong/zhongkong/redisstore/seal/jwe"
)

// maxFile is how long a key file may be; a hundred keys are 6 KB.
const maxFile = 1 << 20

// Keyring is the keys of a key file: the first one seals, all open. It is safe for
// concurrent use.
//
// To rotate, add a new line at the bottom and reload every process, so that each can
// open tokens that the new key seals; then move the line to the top and reload every
// process; and remove the old line when each account has been refreshed since, which seals
// its grant again, too, and what is sealed outside of the store no longer needs the old
// key: `zhongkong doctor` names what does. If a new line is added at the top at once, the
// processes that have not read it yet cannot open the tokens. A fleet whose tokens are not sealed yet is switched by steps
// as well: see redisstore.Sealing.
type Keyring struct {
	name string // what errors call the file
	path string // "" if the keys did not come from a file
	log  *slog.Logger
	keys atomic.Pointer[keys]
}

// keys are those of a file, in its order; there is at least one. They are immutable:
// Reload replaces them whole.
type keys []key

type key struct {
	kid   string
	bytes []byte
	line  int // that it stands on
}

// Load reads a key file: one key a line, "kid:base64 of 32 bytes"; empty lines
// and lines that begin with # are skipped. A file that others may read is a
// warning in log, not an error: containers mount secrets so. A nil log
// discards.
func Load(path string, log *slog.Logger) (*Keyring, error) {
	k := &Keyring{name: path, path: path, log: cmp.Or(log, slog.New(slog.DiscardHandler))}
	if err := k.Reload(); err != nil {
		return nil, err
	}
	return k, nil
}

// Parse makes a keyring of a key file's content; name stands for the file in
// errors.
func Parse(name string, content []byte) (*Keyring, error) {
	parsed, err := parse(name, content)
	if err != nil {
		return nil, err
	}
	k := &Keyring{name: name}
	k.keys.Store(&parsed)
	return k, nil
}

// Reload reads the key file again and puts its keys in place of the old ones
// in one step. After an error the old ones stay. A keyring that came of Parse
// stays as it is.
func (k *Keyring) Reload() error {
	if k.path == "" {
		return nil
	}
	content, err := k.read()
	if err != nil {
		return fmt.Errorf("seal key file: %w", err)
	}
	parsed, err := parse(k.name, content)
	if err != nil {
		return err
	}
	k.keys.Store(&parsed)
	return nil
}

// Kids returns the names of the keys in the file's order, for messages.
func (k *Keyring) Kids() string {
	var kids []string
	for _, key := range *k.keys.Load() {
		kids = append(kids, key.kid)
	}
	return strings.Join(kids, ", ")
}

// First returns the name of the key that seals.
func (k *Keyring) First() string { return k.first().kid }

func (k *Keyring) first() key { return (*k.keys.Load())[0] }

// Has reports whether there is a key of that name.
func (k *Keyring) Has(kid string) bool { return k.find(kid) != nil }

func (k *Keyring) find(kid string) []byte {
	for _, key := range *k.keys.Load() {
		if key.kid == kid {
			return key.bytes
		}
	}
	return nil
}

func (k *Keyring) read() ([]byte, error) {
	f, err := os.Open(k.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s is a directory", k.path)
	}
	if mode := info.Mode().Perm(); mode&0o004 != 0 {
		k.log.Warn("every user of this machine may read the seal key file; run chmod o-r on it",
			"file", k.path, "mode", mode.String())
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("%s is longer than %d bytes: that is no key file", k.path, maxFile)
	}
	return content, err
}

func parse(name string, content []byte) (keys, error) {
	if bytes.IndexByte(content, 0) >= 0 {
		return nil, fmt.Errorf("%s is in UTF-16, which the > of Windows PowerShell writes: save it as UTF-8", name)
	}
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")) // editors on Windows write it
	var parsed keys
	for i, line := range strings.Split(string(content), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		next, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
		for _, other := range parsed {
			switch {
			case other.kid == next.kid:
				return nil, fmt.Errorf("%s:%d: key %q is on line %d already: give each key a name of its own", name, i+1, next.kid, other.line)
			case subtle.ConstantTimeCompare(other.bytes, next.bytes) == 1:
				return nil, fmt.Errorf("%s:%d: key %q is the same key as %q on line %d: make a new one with `zhongkong keygen`",
					name, i+1, next.kid, other.kid, other.line)
			}
		}
		next.line = i + 1
		parsed = append(parsed, next)
	}
	if len(parsed) == 0 {
		return nil, fmt.Errorf("%s: no key in it: `zhongkong keygen` prints a line for it", name)
	}
	return parsed, nil
}

// parseLine must not repeat any part of a line that might be a key.
func parseLine(line string) (key, error) {
	kid, encoded, ok := strings.Cut(line, ":")
	if !ok {
		return key{}, errors.New(`no colon: a line is "kid:base64 of 32 bytes", as "zhongkong keygen" prints it`)
	}
	kid, encoded = strings.TrimSpace(kid), strings.TrimSpace(encoded)
	if err := checkKid(kid); err != nil {
		return key{}, err
	}
	raw, err := DecodeKey(encoded)
	if err != nil {
		return key{}, fmt.Errorf("key %q %w", kid, err)
	}
	return key{kid: kid, bytes: raw}, nil
}

// checkKid keeps to characters that every shell, log and JOSE library takes.
// Its error does not repeat the name: in a line written the wrong way round it
// is the key.
func checkKid(kid string) error {
	if kid == "" {
		return errors.New("no key name before the colon")
	}
	if len(kid) > 40 {
		return fmt.Errorf("the key's name has %d characters, at most 40", len(kid))
	}
	if strings.Trim(kid, kidCharacters) != "" {
		return errors.New("the key's name may have letters, digits, '-', '_' and '.' only")
	}
	return nil
}

const kidCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."

// DecodeKey reads a key as it stands behind the colon of a key file's line:
// base64, in either alphabet, padded or not, of 32 bytes. Its error does not
// repeat it.
func DecodeKey(encoded string) ([]byte, error) {
	plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(encoded, "="))
	raw, err := base64.RawStdEncoding.Strict().DecodeString(plain)
	switch {
	case err != nil:
		return nil, fmt.Errorf("is not base64: %w", err)
	case len(raw) != jwe.KeySize:
		return nil, fmt.Errorf("has %d bytes, must have %d: make one with `zhongkong keygen`", len(raw), jwe.KeySize)
	case subtle.ConstantTimeCompare(raw, make([]byte, jwe.KeySize)) == 1:
		return nil, errors.New("is all zeros: make one with `zhongkong keygen`")
	}
	return raw, nil
}
