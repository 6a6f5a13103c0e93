// Package callers knows who may ask this process for tokens. A Gate proves
// callers by name and password and says what each may do.
//
// # Cost and what it must not tell
//
// Passwords are kept as argon2id hashes, which are slow on purpose. So a
// password is hashed on a caller's first request only; of one that was right
// the Gate keeps a MAC under a key that lives as long as the process, and
// later requests cost that MAC. A try that is not remembered costs one slow
// hash, whether the name exists or not, and at most HashesAtOnce run at a time.
//
// # Guessing
//
// Wrong tries are counted for the place they come from: an address, of IPv6 its
// /64. Other places never notice. After a few the place is guarded, until
// nothing wrong was looked at there for a quarter of an hour. At a guarded place
//
//   - credentials that were proved there before pass as ever;
//   - others are refused unseen when they come for the first time, so that
//     guesses made once each tell nothing and delay nobody;
//   - those that come again are looked at one after the other. A wrong one costs
//     the place a wait that doubles up to ten seconds. Then it is the turn of
//     those that came first of all who came again.
//
// So strangers at a caller's address, or behind the same proxy, do not lock it
// out. One that was not proved there yet - after a start, or with a new
// password - is let in within half a minute, if it comes again when it was told
// to; only guesses that others have repeated since before it came go first, for
// one wait each.
//
// What passes at a guarded place tells strangers there that it was right. So a
// short password (strong says what is long) passes only while fewer than
// compareEach guesses a second are made at its name from there. Beyond that its
// caller is treated as one that was not proved there yet.
//
// A wrong password that is repeated counts once, so that one client with an old
// password does not shut out its neighbours.
package callers

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// HashesAtOnce is how many slow hashes run at a time; each takes the memory
// that its cost names, 64 MiB for those of Hash.
const HashesAtOnce = 2

// ErrDenied is returned for a wrong name or password. Which of the two was
// wrong is never said.
var ErrDenied = errors.New("callers: wrong name or password")

// SlowedError is returned for a try that was not looked at.
type SlowedError struct {
	Why     string        // in words, fit for the caller
	RetryIn time.Duration // when a try will be looked at again
}

func (e *SlowedError) Error() string {
	return fmt.Sprintf("callers: %s; try again in %v", e.Why, e.RetryIn.Round(time.Second))
}

// Gate lets callers in. It is safe for concurrent use.
type Gate struct {
	roster  atomic.Pointer[roster]
	setting sync.Mutex // held by SetUsers
	signer  *signer
	seed    maphash.Seed
	proofs  proofs
	seen    seen
	strikes *strikes
	line    *line

	derive func(password, salt []byte, c cost) []byte // argon2id; tests count it
}

// New makes a Gate for users. Its error names the user and the field.
func New(users []User) (*Gate, error) {
	g := &Gate{
		signer:  newSigner(),
		seed:    maphash.MakeSeed(),
		strikes: newStrikes(),
		line:    newLine(),
		derive:  argon2id,
	}
	return g, g.SetUsers(users)
}

// SetUsers puts users in place of those before, in one step. What was
// remembered of a user whose hash has not changed stays remembered. A Caller of
// a user that has changed in anything, or is gone, is revoked. After an error
// the old users stay.
func (g *Gate) SetUsers(users []User) error {
	g.setting.Lock()
	defer g.setting.Unlock()
	next, err := newRoster(users, g.signer)
	if err != nil {
		return err
	}
	old := g.roster.Load()
	if old == nil {
		g.roster.Store(next)
		return nil
	}
	gone := next.inherit(old)
	g.roster.Store(next)
	for _, u := range gone { // they find the new users when they look
		close(u.revoked)
	}
	return nil
}

// Authenticate proves a caller who comes from addr. The error is ErrDenied, a
// *SlowedError, or ctx's. See NotifyProved.
func (g *Gate) Authenticate(ctx context.Context, addr netip.Addr, name, password string) (Caller, error) {
	if len(name) > maxName || len(password) > maxPassword {
		return Caller{}, ErrDenied // nobody's: there is nothing to guess
	}
	r, at := g.roster.Load(), Place(addr)
	mac := g.signer.sign(name, password)
	key := g.keyAt(at, mac)
	u := r.find(name)
	if u.provedBy(mac) {
		if g.passes(at, key, u) {
			notify(ctx)
			return Caller{u}, nil
		}
	} else if r.refused.has(mac) {
		return Caller{}, ErrDenied
	} else if g.proofs.has(g.keyAt(at, u.proved.Load().mac)) {
		g.strikes.missed(at, name) // it was compared with what passes there
	}
	c, err := g.once(ctx, r, try{at, name, password, mac, key})
	if err == nil {
		notify(ctx)
	}
	return c, err
}

// passes reports whether the right credentials pass at once.
func (g *Gate) passes(at netip.Addr, key uint64, u *user) bool {
	if g.strikes.guarded(at) {
		return g.proofs.has(key) && (u.proved.Load().strong || g.strikes.mayCompare(at, u.name))
	}
	g.proofs.add(key)
	return true
}

// Datagrams returns the caller with the given name and the key of its
// datagrams. The name is a claim until a datagram was opened with the key.
func (g *Gate) Datagrams(name string) (Caller, []byte, bool) {
	u := g.roster.Load().users[name]
	if u == nil || u.udpKey == nil {
		return Caller{}, nil, false
	}
	return Caller{u}, u.udpKey, true
}

// try is one attempt to be let in whose outcome is not known yet.
type try struct {
	at             netip.Addr
	name, password string
	mac            mac
	key            uint64 // of the credentials at the place
}

// once runs a try, or waits for the same try that is running: a service that
// starts with a hundred requests is verified once.
func (g *Gate) once(ctx context.Context, r *roster, t try) (Caller, error) {
	for {
		f, mine := r.flights.join(flightKey{t.at, t.mac})
		if mine {
			defer r.flights.land(flightKey{t.at, t.mac}, f)
			f.caller, f.err = g.verify(ctx, r, t)
			return f.caller, f.err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return Caller{}, ctx.Err()
		}
		abandoned := errors.Is(f.err, context.Canceled) || errors.Is(f.err, context.DeadlineExceeded)
		if !abandoned {
			return f.caller, f.err
		}
	}
}

// verify looks at one try. Tries from one address go one after the other, so
// that none slips past the count of those before it.
func (g *Gate) verify(ctx context.Context, r *roster, t try) (Caller, error) {
	first := g.seen.first(t.key, time.Now())
	wait, from := g.strikes.admit(t.at, first)
	if wait > 0 {
		return Caller{}, slowed(wait)
	}
	leave, err := g.line.enter(ctx, turn{at: t.at, first: first, from: from})
	if err != nil {
		return Caller{}, err
	}
	defer leave()
	if wait, _ = g.strikes.admit(t.at, first); wait > 0 { // because of those before it
		return Caller{}, slowed(wait)
	}
	u := r.find(t.name)
	if !u.provedBy(t.mac) { // else it was proved at another place
		if !g.matches(r, u, t) {
			g.strikes.add(t.at)
			r.refused.add(t.mac)
			return Caller{}, ErrDenied
		}
		u.prove(proof{t.mac, strong(t.password)})
	}
	g.proofs.add(t.key)
	return Caller{u}, nil
}

// matches costs the same for a name that does not exist, or that has no
// password.
func (g *Gate) matches(r *roster, u *user, t try) bool {
	h, known := r.decoy(t.name), 0
	if u.hash != nil {
		h, known = u.hash, 1
	}
	password := []byte(t.password)
	sum := g.derive(password, h.salt, h.cost)
	clear(password)
	return subtle.ConstantTimeCompare(sum, h.sum)&known == 1
}

func slowed(wait time.Duration) error {
	return &SlowedError{Why: "too many wrong tries from this address", RetryIn: wait}
}

// Place is what is counted as one stranger: an IPv4 address, or the /64 that one
// subscriber has of IPv6. The zero Addr is a place too.
func Place(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if !addr.Is6() {
		return addr
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return prefix.Addr()
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
