package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// A key is a password that NewKey made: keyPrefix, and base32 of 20 random bytes with a
// checksum of 5. It needs no escaping in a URL, a header, YAML or a shell, and programs
// that look for leaked secrets recognise it.
//
// Keys cannot be guessed, so neither a slow hash nor a throttle protects them: they are
// checked with one SHA-256. Whether a text is a key can be told from the text alone, and
// no text that is a key is ever compared with a slow hash, or the other way about. So the
// cost of an attempt does not depend on which kind of password its user has.
//
// The hash has no secret of the server in it. A random key of 160 bits cannot be found
// from its SHA-256, with or without one.
const (
	keyPrefix    = "zkkey_"
	keyRandom    = 20 // bytes
	checksumSize = 5  // bytes
	keyLength    = len(keyPrefix) + (keyRandom+checksumSize)*8/5

	keyHashID = "zkkey-sha256"
)

// keyEncoding has no padding bits in a key: it reads in one way only.
var keyEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// keySum is what is kept of a key.
type keySum [sha256.Size]byte

// NewKey returns a random key, and its hash for User.PasswordHashes.
func NewKey() (key, hash string) {
	value := random(keyRandom)
	key = keyPrefix + keyEncoding.EncodeToString(append(value, keyChecksum(value)...))
	sum := sumOf(key)
	return key, "$" + keyHashID + "$" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// IsKey reports whether a text has the form of a key, with the right checksum. No
// password that a person makes up has it.
func IsKey(text string) bool {
	encoded, found := strings.CutPrefix(text, keyPrefix)
	if !found || len(text) != keyLength {
		return false
	}
	var value [keyRandom + checksumSize]byte
	if n, err := keyEncoding.Decode(value[:], []byte(encoded)); err != nil || n != len(value) { // it skips line breaks
		return false
	}
	return subtle.ConstantTimeCompare(value[keyRandom:], keyChecksum(value[:keyRandom])) == 1
}

// keyChecksum is the beginning of SHA-256 of a label and the random bytes.
func keyChecksum(value []byte) []byte {
	var text [64]byte
	sum := sha256.Sum256(append(append(text[:0], "zhongkong key checksum\x00"...), value...))
	return sum[:checksumSize]
}

// sumOf returns what is kept of a key, which is SHA-256 of a label and the key.
func sumOf(key string) keySum {
	var text [64 + keyLength]byte
	return sha256.Sum256(append(append(text[:0], "zhongkong key\x00"...), key...))
}

// isKeyHash reports whether s is meant to be the hash of a key.
func isKeyHash(s string) bool { return strings.HasPrefix(s, "$"+keyHashID+"$") }

// parseKeyHash parses the hash of a key. Its errors do not repeat the text.
func parseKeyHash(s string) (keySum, error) {
	sum, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimPrefix(s, "$"+keyHashID+"$"))
	if err != nil || len(sum) != len(keySum{}) || strings.ContainsAny(s, "\r\n") { // the decoder skips line breaks
		return keySum{}, fmt.Errorf("the hash of a key does not end in base64 of %d bytes: was the line cut?", len(keySum{}))
	}
	return keySum(sum), nil
}

var errHashOfKey = errors.New("the password is a key that `zhongkong passwd --key` made, which printed its hash: use that one, or make another key")
