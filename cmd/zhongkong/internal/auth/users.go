package auth

import (
	"bytes"
	"crypto/subtle"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
)

// users is the table of users.
type users struct {
	byName  map[string]*user
	unknown *user // stands in for every name that does not exist
}

// user is a User as it is looked up. It is immutable but for remembered.
type user struct {
	name     string
	hashText string  // the hash as it was configured
	hash     *digest // nil: no password is verified by hashing
	plain    bool    // the password itself was configured; remembered has it
	accounts map[string]struct{}
	all      bool
	refresh  bool
	udpKey   []byte
	told     Told
	revoked  chan struct{} // closed when the user is changed or removed

	remembered atomic.Pointer[remembered] // never nil
}

// remembered is the correct password of a user, once it has been verified.
type remembered struct {
	mac    mac
	strong bool // see isStrong
}

func newUsers(configured []User, s *signer) (users, error) {
	table := users{byName: make(map[string]*user, len(configured)), unknown: &user{}}
	table.unknown.remember(matchesNothing())
	for i, u := range configured {
		hash, err := u.validate()
		if err != nil {
			return users{}, fmt.Errorf("users[%d] (%s).%w", i, u.Name, err)
		}
		if _, twice := table.byName[u.Name]; twice {
			return users{}, fmt.Errorf("users[%d] (%s).name: is given twice: names must differ", i, u.Name)
		}
		table.byName[u.Name] = newUser(u, hash, s)
	}
	return table, nil
}

func newUser(u User, hash *digest, s *signer) *user {
	made := &user{
		name: u.Name, hashText: u.PasswordHash, hash: hash, plain: u.Password != "", refresh: u.Refresh,
		udpKey: slices.Clone(u.UDPKey), told: u.Told,
		accounts: make(map[string]struct{}, len(u.Accounts)),
		revoked:  make(chan struct{}),
	}
	for _, account := range u.Accounts {
		made.accounts[account] = struct{}{}
	}
	_, made.all = made.accounts[AllAccounts]
	made.remember(matchesNothing())
	if made.plain {
		made.remember(remembered{s.sign(u.Name, u.Password), isStrong(u.Password)})
	}
	return made
}

func (t users) find(name string) *user {
	if u := t.byName[name]; u != nil {
		return u
	}
	return t.unknown
}

// hashes returns the hashes of all users that have one.
func (t users) hashes() []*digest {
	var all []*digest
	for _, u := range t.byName {
		if u.hash != nil {
			all = append(all, u.hash)
		}
	}
	return all
}

// inherit takes over the users of old that are configured the same here, and the
// remembered passwords of those with the same hash. It returns the users of old
// that were changed or removed.
func (t users) inherit(old users) (gone []*user) {
	for name, before := range old.byName {
		u := t.byName[name]
		if u != nil && u.same(before) {
			t.byName[name] = before
			continue
		}
		if u != nil && u.hash != nil && u.hashText == before.hashText {
			u.remembered.Store(before.remembered.Load())
		}
		gone = append(gone, before)
	}
	return gone
}

// same reports whether two users were configured the same.
func (u *user) same(v *user) bool {
	return u.name == v.name && u.hashText == v.hashText && u.refresh == v.refresh && u.told == v.told &&
		maps.Equal(u.accounts, v.accounts) && bytes.Equal(u.udpKey, v.udpKey) &&
		u.plain == v.plain && (!u.plain || u.matches(v.remembered.Load().mac))
}

func (u *user) remember(r remembered) { u.remembered.Store(&r) }

// matches reports whether m is the MAC of the remembered password. It takes the
// same time wherever the MACs differ, and whether or not the user exists.
func (u *user) matches(m mac) bool {
	known := u.remembered.Load()
	return subtle.ConstantTimeCompare(known.mac[:], m[:]) == 1
}

// matchesNothing has a MAC that no password has.
func matchesNothing() remembered { return remembered{mac: mac(random(len(mac{})))} }

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
