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
// Wrong tries are counted for the address (an IPv6 address: its /64) and for
// the name tried from it. After a few, each costs a wait that doubles up to
// a minute. While a name waits at an address, the right password is refused
// there like a wrong one: otherwise the answers would tell them apart. Other
// addresses never notice, and neither do other names of the same address that
// have been proved before. A wrong password that is repeated counts once, so
// that one client with an old password does not shut out its neighbours.
package callers

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/netip"
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
	signer  *signer
	strikes *strikes
	line    *line
	hashes  chan struct{} // holds one element for each slow hash that runs

	derive func(password, salt []byte, c cost) []byte // argon2id; tests count it
}

// New makes a Gate for users. Its error names the user and the field.
func New(users []User) (*Gate, error) {
	g := &Gate{
		signer:  newSigner(),
		strikes: newStrikes(),
		line:    newLine(),
		hashes:  make(chan struct{}, HashesAtOnce),
		derive:  argon2id,
	}
	return g, g.SetUsers(users)
}

// SetUsers puts users in place of those before, in one step. What was
// remembered of a user whose hash has not changed stays remembered. After an
// error the old users stay.
func (g *Gate) SetUsers(users []User) error {
	next, err := newRoster(users, g.signer)
	if err != nil {
		return err
	}
	if old := g.roster.Load(); old != nil {
		next.inherit(old)
	}
	g.roster.Store(next)
	return nil
}

// Authenticate proves a caller who comes from addr. The error is ErrDenied, a
// *SlowedError, or ctx's.
func (g *Gate) Authenticate(ctx context.Context, addr netip.Addr, name, password string) (Caller, error) {
	r, at := g.roster.Load(), place(addr)
	if len(name) > maxName || len(password) > maxPassword {
		return Caller{}, g.tooLong(at, name)
	}
	mac := g.signer.sign(name, password)
	u := r.find(name)
	if u.provedBy(mac) {
		if own, whole := g.strikes.wait(at, name); own > 0 {
			return Caller{}, slowed(max(own, whole))
		}
		return Caller{u}, nil
	}
	if r.refused.has(mac) {
		return Caller{}, ErrDenied
	}
	return g.once(ctx, r, try{at, name, password, mac})
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
	leave, err := g.line.enter(ctx, t.at)
	if err != nil {
		return Caller{}, err
	}
	defer leave()
	own, whole := g.strikes.wait(t.at, t.name)
	if own == 0 && whole > 0 {
		// The password may be one that is remembered elsewhere, so this too
		// is a guess at the name.
		g.strikes.addName(t.at, t.name)
	}
	if wait := max(own, whole); wait > 0 {
		return Caller{}, slowed(wait)
	}
	select {
	case g.hashes <- struct{}{}:
		defer func() { <-g.hashes }()
	case <-ctx.Done():
		return Caller{}, ctx.Err()
	}
	u := r.find(t.name)
	if u.provedBy(t.mac) { // from another address, meanwhile
		return Caller{u}, nil
	}
	if !g.matches(r, u, t) {
		g.strikes.add(t.at, t.name)
		r.refused.add(t.mac)
		return Caller{}, ErrDenied
	}
	u.prove(t.mac)
	return Caller{u}, nil
}

// matches costs the same for a name that does not exist, or that has no
// password.
func (g *Gate) matches(r *roster, u *user, t try) bool {
	h, known := u.hash, 1
	if h == nil {
		h, known = r.decoy(t.name), 0
	}
	password := []byte(t.password)
	sum := g.derive(password, h.salt, h.cost)
	clear(password)
	return subtle.ConstantTimeCompare(sum, h.sum)&known == 1
}

// tooLong refuses what no user can have, without the work.
func (g *Gate) tooLong(at netip.Addr, name string) error {
	name = name[:min(len(name), maxName)]
	own, whole := g.strikes.wait(at, name)
	if wait := max(own, whole); wait > 0 {
		return slowed(wait)
	}
	g.strikes.add(at, name)
	return ErrDenied
}

func slowed(wait time.Duration) error {
	return &SlowedError{Why: "too many wrong tries from this address", RetryIn: wait}
}

// place is what wrong tries are counted for: an IPv4 address, or the /64 that
// one subscriber has of IPv6. The zero Addr is a place too.
func place(addr netip.Addr) netip.Addr {
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
