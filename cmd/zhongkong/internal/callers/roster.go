package callers

import (
	"crypto/subtle"
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
)

// roster is the users of one configuration with what was learned while it
// held. SetUsers replaces it whole.
type roster struct {
	users   map[string]*user
	nobody  *user     // stands in for every name that does not exist
	decoys  []*digest // never match; one for each user, of the same cost
	seed    maphash.Seed
	refused refusals
	flights flights
}

// user is immutable but for proved.
type user struct {
	name     string
	written  string  // the hash as it was configured
	hash     *digest // nil: no password is verified the slow way
	accounts map[string]struct{}
	all      bool
	refresh  bool
	udpKey   []byte

	proved atomic.Pointer[mac] // of the right password, once it was seen; never nil
}

func newRoster(users []User, s *signer) (*roster, error) {
	r := &roster{
		users:  make(map[string]*user, len(users)),
		nobody: &user{},
		seed:   maphash.MakeSeed(),
	}
	r.nobody.prove(mac(random(len(mac{}))))
	for i, u := range users {
		made, err := newUser(u)
		if err != nil {
			return nil, fmt.Errorf("users[%d] (%s).%w", i, u.Name, err)
		}
		if _, twice := r.users[u.Name]; twice {
			return nil, fmt.Errorf("users[%d] (%s).name: is given twice: names must differ", i, u.Name)
		}
		if u.Password != "" {
			made.prove(s.sign(u.Name, u.Password))
		}
		if made.hash != nil {
			r.decoys = append(r.decoys, decoyLike(made.hash))
		}
		r.users[u.Name] = made
	}
	if len(r.decoys) == 0 {
		r.decoys = []*digest{{cost: usual, salt: random(saltSize), sum: random(sumSize)}}
	}
	return r, nil
}

// inherit takes over what old has proved of users whose hash is the same.
func (r *roster) inherit(old *roster) {
	for name, u := range r.users {
		before := old.users[name]
		if before != nil && u.hash != nil && u.written == before.written {
			u.prove(*before.proved.Load())
		}
	}
}

func (r *roster) find(name string) *user {
	if u := r.users[name]; u != nil {
		return u
	}
	return r.nobody
}

// decoy is hashed against in place of a hash that does not exist. Where the
// users' hashes differ in cost, a name always gets the same one: else trying
// it twice would tell that it does not exist.
func (r *roster) decoy(name string) *digest {
	return r.decoys[maphash.String(r.seed, name)%uint64(len(r.decoys))]
}

func (u *user) prove(m mac) { u.proved.Store(&m) }

// provedBy compares in a time that does not depend on where the MACs differ,
// nor on whether the user exists.
func (u *user) provedBy(m mac) bool {
	proved := u.proved.Load()
	return subtle.ConstantTimeCompare(proved[:], m[:]) == 1
}

// maxRefused bounds what is kept of wrong tries: 4096 MACs are 200 KB.
const maxRefused = 4096

// refusals remembers wrong tries, so that one repeated counts and costs once.
type refusals struct {
	mu   sync.Mutex
	macs map[mac]struct{}
}

func (r *refusals) has(m mac) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.macs[m]
	return ok
}

// add forgets everything when it is full: that costs a few hashes, no more.
func (r *refusals) add(m mac) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.macs == nil || len(r.macs) >= maxRefused {
		r.macs = make(map[mac]struct{})
	}
	r.macs[m] = struct{}{}
}

// flights are the tries that are being looked at.
type flights struct {
	mu  sync.Mutex
	all map[flightKey]*flight
}

type flightKey struct {
	at  netip.Addr
	mac mac
}

// flight is one of them; done is closed when caller and err stand.
type flight struct {
	done   chan struct{}
	caller Caller
	err    error
}

// join returns the flight with this key, and whether the caller is the one to
// fly and land it.
func (f *flights) join(key flightKey) (*flight, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if running := f.all[key]; running != nil {
		return running, false
	}
	if f.all == nil {
		f.all = make(map[flightKey]*flight)
	}
	next := &flight{done: make(chan struct{})}
	f.all[key] = next
	return next, true
}

func (f *flights) land(key flightKey, landed *flight) {
	f.mu.Lock()
	delete(f.all, key)
	f.mu.Unlock()
	close(landed.done)
}
