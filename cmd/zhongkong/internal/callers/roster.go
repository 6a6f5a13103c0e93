package callers

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
)

// roster is the users of one configuration with what was learned while it
// held. SetUsers replaces it whole.
type roster struct {
	users   map[string]*user
	nobody  *user   // stands in for every name that does not exist
	decoys  []decoy // at least one
	refused refusals
	flights flights
}

// user is immutable but for proved.
type user struct {
	name     string
	written  string  // the hash as it was configured
	hash     *digest // nil: no password is verified the slow way
	plain    bool    // the password itself was given; proved has it
	accounts map[string]struct{}
	all      bool
	refresh  bool
	udpKey   []byte
	told     Told
	revoked  chan struct{} // closed when it is changed or gone

	proved atomic.Pointer[proof] // of the right password, once it was seen; never nil
}

// proof is what is remembered of a right password.
type proof struct {
	mac    mac
	strong bool // guesses at the speed of a network do not find it
}

func newRoster(users []User, s *signer) (*roster, error) {
	r := &roster{users: make(map[string]*user, len(users)), nobody: &user{}}
	r.nobody.prove(nobodys())
	for i, u := range users {
		made, err := newUser(u)
		if err != nil {
			return nil, fmt.Errorf("users[%d] (%s).%w", i, u.Name, err)
		}
		if _, twice := r.users[u.Name]; twice {
			return nil, fmt.Errorf("users[%d] (%s).name: is given twice: names must differ", i, u.Name)
		}
		if u.Password != "" {
			made.plain = true
			made.prove(proof{s.sign(u.Name, u.Password), strong(u.Password)})
		}
		r.users[u.Name] = made
	}
	r.decoys = newDecoys(r.users)
	return r, nil
}

// inherit keeps the users of old that are the same here, and what was proved of
// those whose hash is. It returns those who are the same no more.
func (r *roster) inherit(old *roster) (gone []*user) {
	for name, before := range old.users {
		u := r.users[name]
		if u != nil && u.same(before) {
			r.users[name] = before
			continue
		}
		if u != nil && u.hash != nil && u.written == before.written {
			u.proved.Store(before.proved.Load())
		}
		gone = append(gone, before)
	}
	return gone
}

// same reports whether two users were configured alike.
func (u *user) same(v *user) bool {
	return u.name == v.name && u.written == v.written && u.refresh == v.refresh && u.told == v.told &&
		maps.Equal(u.accounts, v.accounts) && bytes.Equal(u.udpKey, v.udpKey) &&
		u.plain == v.plain && (!u.plain || u.provedBy(v.proved.Load().mac))
}

func (r *roster) find(name string) *user {
	if u := r.users[name]; u != nil {
		return u
	}
	return r.nobody
}

// decoy is hashed against in place of a hash that does not exist.
type decoy struct {
	*digest
	key []byte // of the user's whose cost it has
}

// newDecoys makes one for each user with a hash, or one in all when they cost
// the same.
func newDecoys(users map[string]*user) []decoy {
	var decoys []decoy
	costs := make(map[cost]bool)
	for _, u := range users {
		if u.hash != nil {
			decoys = append(decoys, decoy{decoyLike(u.hash), u.hash.sum})
			costs[u.hash.cost] = true
		}
	}
	switch len(costs) {
	case 0:
		return []decoy{{&digest{cost: usual, salt: random(saltSize), sum: random(sumSize)}, nil}}
	case 1:
		return decoys[:1]
	}
	return decoys
}

// decoy returns the one for a name. Where the hashes differ in cost, it depends
// on nothing but the name and the users' hashes: else the cost of an unknown
// name would differ from process to process, and that of a known one not. A
// user that is added or taken away changes it for few names (rendezvous
// hashing).
func (r *roster) decoy(name string) *digest {
	var best *digest
	var highest []byte
	for _, d := range r.decoys {
		h := hmac.New(sha256.New, d.key)
		_, _ = h.Write([]byte(name)) // never fails
		if score := h.Sum(nil); best == nil || bytes.Compare(score, highest) > 0 {
			best, highest = d.digest, score
		}
	}
	return best
}

// nobodys is a proof that no password has.
func nobodys() proof { return proof{mac: mac(random(len(mac{})))} }

func (u *user) prove(p proof) { u.proved.Store(&p) }

// provedBy compares in a time that does not depend on where the MACs differ,
// nor on whether the user exists.
func (u *user) provedBy(m mac) bool {
	proved := u.proved.Load()
	return subtle.ConstantTimeCompare(proved.mac[:], m[:]) == 1
}

// strong reports whether a password is too long to be guessed at a server that
// answers as fast as it can: 20 bytes, 10 different ones among them. Random keys
// are.
func strong(password string) bool {
	var different [256]bool
	n := 0
	for _, b := range []byte(password) {
		if !different[b] {
			different[b] = true
			n++
		}
	}
	return len(password) >= 20 && n >= 10
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
