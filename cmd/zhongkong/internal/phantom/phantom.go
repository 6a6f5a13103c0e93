// Package phantom makes and opens phantom tokens: strings that stand for an
// account's token on a route of this fleet and are useless everywhere else.
//
// A phantom is "zk_" and the base64url of a sealed statement (AES-256-GCM): the
// caller's name, a digest of the caller's verifier, and the instant at which the
// phantom ends. The key is derived from a secret of the account that all servers
// of a fleet have (the AppSecret, a client secret) and from the account's name.
// So every server opens what another one made, also after a restart, and no
// server keeps a list.
//
// # Threats
//
//   - Guessing and forging: a phantom opens only under the key; 128 bits of tag.
//     Every failure costs one decryption with each key, whatever is wrong with the
//     phantom.
//   - Use by another caller: a phantom is a bearer token. Its holder is the
//     caller until it ends, on the routes of one account, as with the token that
//     it stands for; but not at the issuer.
//   - Use for another account: the account's name is part of the key and of what
//     is authenticated.
//   - A caller that was removed, or whose password was: Statement names the caller
//     and the verifier of the password that the caller gave, and who opens it
//     compares both with what is configured now (see Statement.Of). While a
//     password is replaced the caller has several, and the phantoms of each are
//     accepted. The verifier itself, a digest of the password's hash, is not in
//     the phantom and opens nothing: who reads a configuration's hashes cannot
//     make phantoms.
//   - The account's secret is disclosed: phantoms can be made with it, but so can
//     real tokens. After the secret is replaced, what is made with the former one is
//     accepted for as long as phantoms live, so that no client notices, and no longer:
//     see Sealer.Replacing.
//   - Replay after its end: the end is in the statement, and one that is further away
//     than phantoms live is not accepted. Servers' clocks decide, as they do for TLS
//     certificates; they may differ by 5 minutes.
package phantom

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Prefix begins every phantom. No issuer's token is looked at for it.
const Prefix = "zk_"

// Life is how long a phantom lives at most: as long as clients may keep a token whatever
// they were told.
const Life = 4 * time.Hour

// clockSlack is how far the clock of a server that makes phantoms may be ahead of that of
// one that opens them.
const clockSlack = 5 * time.Minute

// MinSecret is how many bytes a secret has at least that keys are derived from.
const MinSecret = 16

const (
	version    = 1
	keySize    = 32
	digestSize = 16
	maxName    = 255
	overhead   = 1 + 4 + digestSize // version, end, digest; then the name
	longest    = 512                // bytes of text: what WeChat asks clients to reserve
)

var (
	// ErrInvalid is returned for a string that is not a phantom of the account.
	ErrInvalid = errors.New("phantom: not a phantom of this account")

	// ErrExpired is returned for a phantom of the account that has ended.
	ErrExpired = errors.New("phantom: it has expired")
)

// Sealer makes and opens the phantoms of one account. It is safe for concurrent
// use.
type Sealer struct {
	account string
	key     cipher.AEAD // makes and opens
	former  []formerKey // only open
}

// formerKey is the key of a secret that was replaced.
type formerKey struct {
	cipher.AEAD
	until time.Time
}

// New returns the Sealer of an account. The secret has at least 16 bytes.
func New(account string, secret []byte) (*Sealer, error) {
	if len(secret) < MinSecret {
		return nil, fmt.Errorf("phantom: the secret of account %q has %d bytes, must have at least %d", account, len(secret), MinSecret)
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "zhongkong phantom 1 "+account, keySize)
	if err != nil {
		return nil, fmt.Errorf("phantom: derive the key of account %q: %w", account, err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("phantom: key of account %q: %w", account, err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("phantom: key of account %q: %w", account, err)
	}
	return &Sealer{account: account, key: aead}, nil
}

// Replacing returns a Sealer that makes the phantoms of s, and opens also those that
// former opens. Those of former's own key are opened for Life from now on.
func (s *Sealer) Replacing(former *Sealer, now time.Time) *Sealer {
	keys := append([]formerKey{{former.key, now.Add(Life)}}, former.former...)
	keys = slices.DeleteFunc(keys, func(k formerKey) bool { return !now.Before(k.until) })
	return &Sealer{s.account, s.key, keys}
}

// Is reports whether a string claims to be a phantom.
func Is(token string) bool { return strings.HasPrefix(token, Prefix) }

// Make returns a phantom for a caller that ends at the given instant, cut to whole
// seconds; one that is more than Life away is not accepted. verifier is what proves the
// caller, or something derived from it: a phantom is void once the caller does not have
// this verifier any more. Two calls never return the same phantom.
func (s *Sealer) Make(caller string, verifier []byte, end time.Time) (string, error) {
	if caller == "" || len(caller) > maxName {
		return "", fmt.Errorf("phantom: a caller's name has 1 to %d bytes, this one has %d", maxName, len(caller))
	}
	seconds := end.Unix()
	if seconds <= 0 || seconds > 1<<32-1 {
		return "", errors.New("phantom: the end is out of range")
	}
	statement := make([]byte, 0, overhead+len(caller))
	statement = append(statement, version)
	statement = binary.BigEndian.AppendUint32(statement, uint32(seconds))
	digest := digestOf(verifier)
	statement = append(statement, digest[:]...)
	statement = append(statement, caller...)
	sealed := s.key.Seal(nil, nil, statement, []byte(s.account)) //nolint:gosec // the AEAD draws the nonce itself
	return Prefix + base64.RawURLEncoding.EncodeToString(sealed), nil
}

// Statement is what a phantom says.
type Statement struct {
	Caller string
	End    time.Time
	digest [digestSize]byte
}

// Of reports whether the phantom was made for a caller with this verifier.
func (s Statement) Of(verifier []byte) bool {
	digest := digestOf(verifier)
	return subtle.ConstantTimeCompare(s.digest[:], digest[:]) == 1
}

// Open returns what a phantom of the account says. The error is ErrInvalid or
// ErrExpired. The caller still has to be looked up, and its verifier compared
// with Statement.Of.
func (s *Sealer) Open(token string, now time.Time) (Statement, error) {
	text, ok := strings.CutPrefix(token, Prefix)
	if !ok || len(token) > longest || strings.ContainsAny(text, "\r\n") { // which the decoder would skip
		return Statement{}, ErrInvalid
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return Statement{}, ErrInvalid
	}
	plain, err := s.key.Open(nil, nil, sealed, []byte(s.account))
	for _, former := range s.former {
		if err != nil && now.Before(former.until) {
			plain, err = former.Open(nil, nil, sealed, []byte(s.account))
		}
	}
	if err != nil {
		return Statement{}, ErrInvalid
	}
	return read(plain, now)
}

func read(plain []byte, now time.Time) (Statement, error) {
	if len(plain) <= overhead || plain[0] != version {
		return Statement{}, ErrInvalid
	}
	s := Statement{
		Caller: string(plain[overhead:]),
		End:    time.Unix(int64(binary.BigEndian.Uint32(plain[1:])), 0),
		digest: [digestSize]byte(plain[5:overhead]),
	}
	switch {
	case !now.Before(s.End):
		return Statement{}, ErrExpired
	case s.End.After(now.Add(Life + clockSlack)):
		return Statement{}, ErrInvalid
	}
	return s, nil
}

func digestOf(verifier []byte) [digestSize]byte {
	sum := sha256.Sum256(verifier)
	return [digestSize]byte(sum[:])
}

// Fresh returns a secret for accounts that have none of their own. Phantoms made
// with it end with the process.
func Fresh() []byte {
	secret := make([]byte, keySize)
	_, _ = rand.Read(secret) // never fails
	return secret
}
