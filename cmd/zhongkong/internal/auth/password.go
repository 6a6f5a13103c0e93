package auth

import (
	"crypto/sha256"
	"sync/atomic"
)

// MaxPasswords is how many passwords of a user may be valid at the same time. It
// bounds the slow hashes that one attempt costs.
const MaxPasswords = 3

// password is one valid password of a user. It is immutable but for remembered.
type password struct {
	// id is equal in two configurations if the password is: its hash as it was
	// configured, or the MAC of a password that was given itself. "": none, the
	// user has fewer passwords.
	id         string
	hash       *digest                    // nil for a key, and for a password that was given itself
	key        keySum                     // random for what is not a key
	verifier   []byte                     // see Caller.Verifier; nil if id is ""
	revoked    chan struct{}              // closed when it is removed, or its user is changed
	remembered atomic.Pointer[remembered] // never nil
}

// remembered is the password itself, once it has been verified.
type remembered struct {
	mac    mac
	strong bool // see isStrong
}

// verifierOf returns the verifier of a password from what was configured: its hash,
// or the password itself.
func verifierOf(name, configured string) []byte {
	sum := sha256.Sum256([]byte("zhongkong password\x00" + name + "\x00" + configured))
	return sum[:]
}

func (p *password) remember(r remembered) { p.remembered.Store(&r) }

// isStrong reports whether a password is too long to be guessed at a server that
// answers as fast as it can: at least 20 bytes, 10 different ones among them. A
// random key is.
func isStrong(password string) bool {
	var seen [256]bool
	different := 0
	for _, b := range []byte(password) {
		if !seen[b] {
			seen[b] = true
			different++
		}
	}
	return len(password) >= 20 && different >= 10
}
