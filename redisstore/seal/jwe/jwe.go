// Package jwe is the one form of JSON Web Encryption that Zhongkong speaks:
// RFC 7516 in compact serialization, "dir" with "A256GCM", and a protected
// header that has exactly the members both sides agreed on, all of them
// strings. Any JOSE library of any language reads and writes it.
//
// The strictness is the point. JOSE lets a message choose its algorithms,
// carry its own keys and certificates, and be compressed; a message from a
// stranger must have no such choice, so everything but the agreed form is
// turned away before a key is looked up.
package jwe

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// KeySize is the length of a key in bytes.
const KeySize = 32

// MaxSize is the greatest length of a message in bytes. Those of Zhongkong are far
// shorter; the limit is for messages from strangers.
const MaxSize = 64 << 10

const (
	algorithm  = string(jose.DIRECT)
	encryption = string(jose.A256GCM)
)

// overhead is what the initialization vector, the tag and the dots around
// them add to the encoded header and the encoded ciphertext:
// header..iv.ciphertext.tag
const overhead = len("..") + 16 + len(".") + len(".") + 22

var (
	// ErrForm is what the errors of Parse wrap: the message is not of this
	// form, regardless of the key.
	ErrForm = errors.New("jwe: not a message of the agreed form")

	// ErrKey is returned by Message.Open: the key is not the one that sealed
	// the message, or the message was changed. Which of the two cannot be
	// known.
	ErrKey = errors.New("jwe: wrong key, or the message was changed")
)

// Seal encrypts plaintext. The protected header is alg, enc and the given
// members. What would be longer than MaxSize is an error.
func Seal(key []byte, members map[string]string, plaintext []byte) (string, error) {
	options := &jose.EncrypterOptions{}
	for name, value := range members {
		options.WithHeader(jose.HeaderKey(name), value)
	}
	encrypter, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.DIRECT, Key: key}, options)
	if err != nil {
		return "", fmt.Errorf("jwe: %w", err)
	}
	sealed, err := encrypter.Encrypt(plaintext)
	if err != nil {
		return "", fmt.Errorf("jwe: %w", err)
	}
	message, err := sealed.CompactSerialize()
	if err == nil && len(message) > MaxSize {
		err = fmt.Errorf("jwe: it would have %d bytes, and no more than %d can be opened", len(message), MaxSize)
	}
	return message, err
}

// SealedSize is the length of what Seal returns for a plaintext of n bytes.
func SealedSize(members map[string]string, n int) (int, error) {
	header := maps.Clone(members)
	if header == nil {
		header = make(map[string]string, 2)
	}
	header["alg"], header["enc"] = algorithm, encryption
	encoded, err := json.Marshal(header)
	if err != nil {
		return 0, fmt.Errorf("jwe: %w", err)
	}
	return base64.RawURLEncoding.EncodedLen(len(encoded)) + base64.RawURLEncoding.EncodedLen(n) + overhead, nil
}

// Message is a parsed message that has not been opened: its header is only what
// the sender claims, until Open has succeeded.
type Message struct {
	header map[string]string
	sealed *jose.JSONWebEncryption
}

// Parse reads a message whose protected header has exactly alg, enc and the
// given members.
func Parse(s string, members ...string) (*Message, error) {
	if len(s) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrForm, len(s), MaxSize)
	}
	header, err := parseHeader(s, members)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	sealed, err := jose.ParseEncryptedCompact(s,
		[]jose.KeyAlgorithm{jose.DIRECT}, []jose.ContentEncryption{jose.A256GCM})
	if err != nil {
		// The library's words may repeat what a stranger wrote.
		return nil, fmt.Errorf("%w: the parts cannot be read", ErrForm)
	}
	return &Message{header, sealed}, nil
}

// parseHeader checks the protected header before anything else looks at the
// message, so that the library never meets keys, certificates, compression or
// extensions.
func parseHeader(s string, members []string) (map[string]string, error) {
	encoded, rest, ok := strings.Cut(s, ".")
	if !ok || strings.Count(rest, ".") != 3 {
		return nil, errors.New("not five parts separated by dots")
	}
	if !strings.HasPrefix(rest, ".") {
		return nil, errors.New(`it has an encrypted key, which "dir" has not`)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("the parts are not base64url")
	}
	var claimed map[string]any
	if err := json.Unmarshal(raw, &claimed); err != nil {
		return nil, errors.New("the protected header is not a JSON object")
	}
	header := make(map[string]string, len(claimed))
	for _, name := range slices.Sorted(maps.Keys(claimed)) {
		if name != "alg" && name != "enc" && !slices.Contains(members, name) {
			return nil, fmt.Errorf("the protected header has %s, which is not allowed here", Quote(name))
		}
		value, ok := claimed[name].(string)
		if !ok {
			return nil, fmt.Errorf("the header's %s is not a string", name)
		}
		header[name] = value
	}
	if header["alg"] != algorithm {
		return nil, fmt.Errorf("its algorithm is %s, must be %q", Quote(header["alg"]), algorithm)
	}
	if header["enc"] != encryption {
		return nil, fmt.Errorf("its encryption is %s, must be %q", Quote(header["enc"]), encryption)
	}
	for _, name := range members {
		if _, ok := header[name]; !ok {
			return nil, fmt.Errorf("the protected header has no %q", name)
		}
	}
	return header, nil
}

// Claim returns the header's member with the given name. Before Open it is the
// word of a stranger.
func (m *Message) Claim(name string) string { return m.header[name] }

// Open decrypts the message and thereby proves its header. The error is ErrKey.
func (m *Message) Open(key []byte) ([]byte, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("%w: the key has %d bytes, must have %d", ErrKey, len(key), KeySize)
	}
	plaintext, err := m.sealed.Decrypt(key)
	if err != nil {
		return nil, ErrKey
	}
	return plaintext, nil
}

// Quote makes a stranger's word fit for an error or a log: quoted, and cut
// short.
func Quote(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%q...", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
