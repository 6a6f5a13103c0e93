// Package seal keeps tokens unreadable at rest: what it makes of a token is a
// JWE in compact form (RFC 7516: dir, A256GCM) whose protected header names
// the key (kid) and the account (acct), so that any JOSE library opens it and
// no sealed token can be moved to another account.
//
// What is promised: without a key of the file, a sealed token can neither be
// read nor made nor given to another account. What is not: somebody who can
// write to Redis can put back an older sealed token of the same account, and
// sees when tokens change and how long they are.
//
// The initialization vector is random, so a key may seal about 2^32 tokens:
// one a second for a century.
package seal

import (
	"errors"
	"fmt"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/seal/jwe"
)

// Sealed reports whether s looks like a sealed token rather than a token: it
// has the five parts of a JWE. A process without keys asks, so that it never
// hands out the one for the other.
func Sealed(s string) bool {
	return strings.HasPrefix(s, "ey") && strings.Count(s, ".") == 4
}

// Seal encrypts the token of an account with the keyring's first key.
func (k *Keyring) Seal(account string, t coordinator.Token) (string, error) {
	if t.IsZero() {
		return "", fmt.Errorf("seal %q: there is no token", account)
	}
	first := k.keys.Load().first
	sealed, err := jwe.Seal(first.bytes, map[string]string{"kid": first.kid, "acct": account}, []byte(t.Reveal()))
	if err != nil {
		return "", fmt.Errorf("seal %q with key %q: %w", account, first.kid, err)
	}
	return sealed, nil
}

// Open decrypts what Seal made for the same account, with the key it names.
// Every error wraps coordinator.ErrSealed and says what to do.
func (k *Keyring) Open(account, sealed string) (coordinator.Token, error) {
	t, err := k.open(account, sealed)
	if err != nil {
		return coordinator.Token{}, fmt.Errorf("account %q: %w: %w", account, coordinator.ErrSealed, err)
	}
	return t, nil
}

func (k *Keyring) open(account, sealed string) (coordinator.Token, error) {
	if !Sealed(sealed) {
		return coordinator.Token{}, errors.New("it is not sealed: it was stored before sealing was switched on, or by a process " +
			"without the key file; give every process the same --seal-key-file, then force a refresh")
	}
	message, err := jwe.Parse(sealed, "kid", "acct")
	if err != nil {
		return coordinator.Token{}, fmt.Errorf("%w: it was not sealed by Zhongkong; force a refresh, and find out who writes to the store", err)
	}
	kid := message.Claim("kid")
	key, ok := k.keys.Load().byKid[kid]
	if !ok {
		return coordinator.Token{}, fmt.Errorf("it is sealed with key %s, which %s has not (it has %s): add that key's line to the file, or force a refresh",
			jwe.Quote(kid), k.name, k.Kids())
	}
	plaintext, err := message.Open(key)
	if err != nil {
		return coordinator.Token{}, fmt.Errorf("it names key %s, but the key of that name in %s does not open it (%w): compare the key files of all processes, or force a refresh",
			jwe.Quote(kid), k.name, err)
	}
	if acct := message.Claim("acct"); acct != account {
		return coordinator.Token{}, fmt.Errorf("it is sealed with key %s for account %s, so somebody put it in the wrong place: force a refresh, and find out who writes to the store",
			jwe.Quote(kid), jwe.Quote(acct))
	}
	if len(plaintext) == 0 {
		return coordinator.Token{}, fmt.Errorf("sealed with key %s is an empty token: force a refresh", jwe.Quote(kid))
	}
	return coordinator.NewToken(string(plaintext)), nil
}
