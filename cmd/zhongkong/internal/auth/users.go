package auth

import (
	"bytes"
	"crypto/subtle"
	"fmt"
	"maps"
	"slices"
)

type users struct {
	byName  map[string]*user
	unknown *user // stands in for every name that does not exist
}

// user is a User as it is looked up. SetUsers completes it, then it is immutable.
type user struct {
	name      string
	passwords [MaxPasswords]*password // none is nil
	plain     bool                    // the password itself was configured, and is no key
	accounts  map[string]struct{}
	all       bool
	refresh   bool
	grant     bool
	udpKey    []byte
	told      Told
	phantom   bool
	revoked   chan struct{} // closed when the user is removed, or changed except in its passwords
}

func newUsers(configured []User, s *signer) (users, error) {
	table := users{byName: make(map[string]*user, len(configured)), unknown: &user{passwords: newPasswords()}}
	for i, u := range configured {
		hashes, err := u.validate()
		if err != nil {
			return users{}, fmt.Errorf("users[%d] (%s).%w", i, u.Name, err)
		}
		if _, twice := table.byName[u.Name]; twice {
			return users{}, fmt.Errorf("users[%d] (%s).name: is given twice: names must differ", i, u.Name)
		}
		table.byName[u.Name] = newUser(u, hashes, s)
	}
	return table, nil
}

func newUser(u User, hashes []configured, s *signer) *user {
	made := &user{
		name: u.Name, refresh: u.Refresh, grant: u.Grant,
		udpKey: slices.Clone(u.UDPKey), told: u.Told, phantom: u.Phantom,
		accounts: make(map[string]struct{}, len(u.Accounts)),
		revoked:  make(chan struct{}),
	}
	for _, account := range u.Accounts {
		made.accounts[account] = struct{}{}
	}
	_, made.all = made.accounts[AllAccounts]
	if u.Password == "" {
		made.passwords = newPasswords(u.PasswordHashes...)
		for i, text := range u.PasswordHashes {
			p := made.passwords[i]
			p.verifier, p.hash = verifierOf(u.Name, text), hashes[i].hash
			if p.hash == nil {
				p.key = hashes[i].key
			}
		}
		return made
	}
	m := s.sign(u.Name, u.Password)
	made.passwords = newPasswords(string(m[:]))
	made.passwords[0].verifier = verifierOf(u.Name, u.Password)
	if IsKey(u.Password) {
		made.passwords[0].key = sumOf(u.Password)
	} else {
		made.passwords[0].remember(remembered{m, isStrong(u.Password)})
		made.plain = true
	}
	return made
}

// newPasswords returns a password for each id, not verified yet, and fills the rest
// with such that match nothing.
func newPasswords(ids ...string) (all [MaxPasswords]*password) {
	for i := range all {
		id := ""
		if i < len(ids) {
			id = ids[i]
		}
		all[i] = &password{id: id, revoked: make(chan struct{}), key: keySum(random(len(keySum{})))}
		all[i].remember(remembered{mac: mac(random(len(mac{})))}) // no password has this MAC
	}
	return all
}

func (t users) find(name string) *user {
	if u := t.byName[name]; u != nil {
		return u
	}
	return t.unknown
}

// hashes returns the slow hashes of each user that has any.
func (t users) hashes() [][]*digest {
	var all [][]*digest
	for _, u := range t.byName {
		if hashes := u.hashes(); len(hashes) > 0 {
			all = append(all, hashes)
		}
	}
	return all
}

// anyPlain reports whether the password itself was configured for a user.
func (t users) anyPlain() bool {
	for _, u := range t.byName {
		if u.plain {
			return true
		}
	}
	return false
}

// hashes returns the slow hashes of the user's passwords.
func (u *user) hashes() []*digest {
	var all []*digest
	for _, p := range u.passwords {
		if p.hash != nil {
			all = append(all, p.hash)
		}
	}
	return all
}

// inherit takes over from old the users that have not changed and the passwords
// that are still valid. It returns the channels to close because a user or a
// password was removed or changed.
func (t users) inherit(old users) (gone []chan struct{}) {
	for name, before := range old.byName {
		u := t.byName[name]
		same := u != nil && u.same(before)
		if same {
			u.revoked = before.revoked
		} else {
			gone = append(gone, before.revoked)
		}
		for _, was := range before.passwords {
			i := u.indexOf(was.id)
			switch {
			case i < 0:
				gone = append(gone, was.revoked)
			case same:
				u.passwords[i] = was
			default:
				u.passwords[i].remembered.Store(was.remembered.Load())
				gone = append(gone, was.revoked)
			}
		}
	}
	return gone
}

// same reports whether two users were configured the same, except for their
// passwords.
func (u *user) same(v *user) bool {
	return u.name == v.name && u.refresh == v.refresh && u.grant == v.grant && u.told == v.told && u.phantom == v.phantom &&
		maps.Equal(u.accounts, v.accounts) && bytes.Equal(u.udpKey, v.udpKey)
}

// indexOf returns the index of the password with the given id, -1 if u is nil or
// does not have it.
func (u *user) indexOf(id string) int {
	if u == nil || id == "" {
		return -1
	}
	return slices.IndexFunc(u.passwords[:], func(p *password) bool { return p.id == id })
}

// match returns the password whose remembered MAC is m, nil if there is none. It
// takes the same time wherever the MACs differ, whichever password matches, however
// many there are, and whether or not the user exists.
func (u *user) match(m mac) *password {
	found := -1
	for i, p := range u.passwords {
		known := p.remembered.Load()
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(known.mac[:], m[:]), i, found)
	}
	if found < 0 {
		return nil
	}
	return u.passwords[found]
}

// withHash returns the password with one of the user's slow hashes.
func (u *user) withHash(hash *digest) *password {
	return u.passwords[slices.IndexFunc(u.passwords[:], func(p *password) bool { return p.hash == hash })]
}

// withKey returns the password that is the key with this sum, nil if there is none. It
// takes the same time wherever the sums differ, whichever key matches, however many there
// are, and whether or not the user exists.
func (u *user) withKey(sum keySum) *password {
	found := -1
	for i, p := range u.passwords {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(p.key[:], sum[:]), i, found)
	}
	if found < 0 {
		return nil
	}
	return u.passwords[found]
}
