// Package auth authenticates the callers of this process: who may ask it for
// tokens, and for which accounts.
//
// # Cost, and what timing must not reveal
//
// Keys, which NewKey makes, are checked with a fast hash. They are neither queued nor
// throttled. The rest of this text is about passwords that people make up, which no
// key is mistaken for.
//
// Passwords are kept as argon2id hashes, which are slow by design. A password is
// therefore hashed on a caller's first request only: for a correct one the
// Authenticator keeps a MAC under a key that lives as long as the process, and
// later requests cost one MAC. At most MaxHashes slow hashes run at a time. They give
// way to other goroutines, and use the same memory one after the other, which is as
// large as the most expensive hash of the configuration.
//
// Attempts wait for a slow hash in a queue. Those from clean sources, from which no
// other credentials were tried that have not proved right, come first. So a flood of
// wrong passwords delays a caller that has not been verified yet by no more than the
// first guesses of new sources do, and those that were verified by nothing. Among clean
// sources groups of names take turns, so first guesses at one name delay the callers of few
// others by more than a turn.
//
// A user may have up to MaxPasswords valid passwords. An attempt that is not
// remembered is compared with all of them, even after one has matched, and so costs
// as many slow hashes as the user has passwords. A name that does not exist costs
// what one of the users costs.
//
// # Guessing
//
// Failed attempts are counted for each source: an IPv4 address, or an IPv6 /64.
// Other sources are not affected. After a few failures the source is throttled,
// until none of its attempts has failed for a quarter of an hour. At a throttled
// source
//
//   - credentials that were verified from there before pass as always;
//   - other credentials are rejected unverified the first time they arrive, so
//     guesses that are each made once learn nothing and delay no caller;
//   - credentials that arrive again are verified one after the other. A wrong one
//     costs the source a delay that doubles up to ten seconds. After it, the
//     credentials that first arrived earliest are verified next.
//
// So an attacker at a caller's address, or behind the same proxy, does not lock
// the caller out. A caller that has not been verified from there yet (after a
// start, or with a new password) is let in within half a minute if it retries
// when Retry-After says; only guesses that were first made before and have been
// repeated are verified earlier, at one delay each.
//
// Passing at a throttled source reveals to an attacker there that a password was
// right. Therefore a short password (see isStrong) passes only while its name
// receives fewer than compareRate guesses a second from that source. Above that
// rate its caller is treated like one that has not been verified there yet.
//
// A wrong password that is repeated counts once, so one client with an outdated
// password does not lock out its neighbours.
package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/argon2"
)

// Authenticator authenticates callers by name and password. It is safe for
// concurrent use.
type Authenticator struct {
	current   atomic.Pointer[generation]
	replacing sync.Mutex // held by SetUsers
	signer    *signer
	verified  *verifiedCache
	firstSeen firstSeen
	throttle  *throttle
	queue     *queue
	memory    argon2.Memory

	derive func(password, salt []byte, c cost) []byte // argon2id; replaced by tests that count hashes
}

// generation is the users of one configuration with what was learned while it
// was in force. SetUsers replaces it as a whole.
type generation struct {
	users
	decoys   decoys
	rejected rejected
	inflight inflight
}

// New returns an Authenticator for users. Its error names the user and the
// field.
func New(users []User) (*Authenticator, error) {
	a := &Authenticator{
		signer:   newSigner(),
		verified: newVerifiedCache(),
		throttle: newThrottle(),
		queue:    newQueue(),
	}
	a.derive = func(password, salt []byte, c cost) []byte { return a.memory.IDKey(password, salt, c, sumSize) }
	return a, a.SetUsers(users)
}

// SetUsers replaces all users in one step. A password whose hash has not changed
// stays verified. It revokes the Callers who gave a password that is no longer
// valid, and all Callers of a user that was removed, or changed in anything but its
// passwords. After an error the old users remain.
func (a *Authenticator) SetUsers(users []User) error {
	a.replacing.Lock()
	defer a.replacing.Unlock()
	table, err := newUsers(users, a.signer)
	if err != nil {
		return err
	}
	next := &generation{users: table, decoys: newDecoys(table.hashes(), table.anyPlain())}
	old := a.current.Load()
	if old == nil {
		a.current.Store(next)
		return nil
	}
	gone := next.inherit(old.users)
	a.current.Store(next)
	for _, revoked := range gone { // only now, so that a revoked caller who returns meets the new users
		close(revoked)
	}
	return nil
}

// Authenticate returns the Caller with the name and the password that came from addr. It
// blocks while a slow hash is computed or waited for. The error is ErrDenied, a
// *ThrottledError, or that of ctx. See NotifyAuthenticated.
//
// readings are what the credentials that were sent can mean, the likeliest first. One that
// is proved already is found whichever it is, also at a throttled source. If a later one is
// right, those before it do not count as failures, unless they have throttled the source.
func (a *Authenticator) Authenticate(ctx context.Context, addr netip.Addr, readings ...Credentials) (Caller, error) {
	g := a.current.Load()
	for _, c := range readings {
		if caller, ok := a.proved(g, addr, c); ok {
			notifyAuthenticated(ctx)
			return caller, nil
		}
	}
	return a.unproved(ctx, g, addr, readings)
}

// unproved is Authenticate for credentials that are not proved. It is not inlined: the
// stack of each request would be twice as large.
//
//go:noinline
func (a *Authenticator) unproved(ctx context.Context, g *generation, addr netip.Addr, readings []Credentials) (Caller, error) {
	source, name, failures := Source(addr), "", 0
	for _, c := range readings {
		if c.Name != name {
			name, failures = c.Name, 0
		}
		caller, failed, err := a.try(ctx, g, source, c)
		switch {
		case err == nil:
			if failures > 0 {
				a.throttle.takeBack(source, failures)
			}
			if caller.IsRevoked() { // changed while the password was verified
				return a.Authenticate(ctx, addr, readings...)
			}
			notifyAuthenticated(ctx)
			return caller, nil
		case !errors.Is(err, ErrDenied):
			return Caller{}, err
		case failed:
			failures++
		}
	}
	return Caller{}, ErrDenied
}

// try verifies credentials that are not proved. failed: they are wrong, and that was counted.
func (a *Authenticator) try(ctx context.Context, g *generation, source netip.Addr, c Credentials) (caller Caller, failed bool, err error) {
	if c.tooLong() || IsKey(c.Password) {
		return Caller{}, false, ErrDenied // not counted: a key cannot be guessed, and its check costs less than a request
	}
	mac := a.signer.sign(c.Name, c.Password)
	if u := g.find(c.Name); u.match(mac) == nil {
		if g.rejected.has(mac) {
			return Caller{}, false, ErrDenied
		}
		if a.hasPassed(source, u) {
			a.throttle.spendComparison(source, c.Name) // it was compared with a password that passes here
		}
	}
	return a.coalesce(ctx, g, attempt{source, c.Name, c.Password, mac, a.verified.key(source, mac)})
}

// Proved is Authenticate for credentials whose answer needs neither a slow hash nor a
// wait. It never blocks. False says nothing about them: Authenticate decides.
func (a *Authenticator) Proved(addr netip.Addr, name, password string) (Caller, bool) {
	return a.proved(a.current.Load(), addr, Credentials{name, password})
}

func (a *Authenticator) proved(g *generation, addr netip.Addr, c Credentials) (Caller, bool) {
	if c.tooLong() {
		return Caller{}, false
	}
	u := g.find(c.Name)
	if IsKey(c.Password) {
		p := u.withKey(sumOf(c.Password))
		return Caller{u, p}, p != nil
	}
	source, mac := Source(addr), a.signer.sign(c.Name, c.Password)
	p := u.match(mac)
	return Caller{u, p}, p != nil && a.passes(source, a.verified.key(source, mac), u, p)
}

// passes reports whether correct credentials pass without another verification.
func (a *Authenticator) passes(source netip.Addr, key uint64, u *user, p *password) bool {
	if a.throttle.throttled(source) {
		return a.verified.has(key) && (p.remembered.Load().strong || a.throttle.mayCompare(source, u.name))
	}
	a.verified.add(key)
	return true
}

// hasPassed reports whether a password of u was verified from source.
func (a *Authenticator) hasPassed(source netip.Addr, u *user) bool {
	passed := false
	for _, p := range u.passwords { // all, so that the time does not tell which
		passed = a.verified.has(a.verified.key(source, p.remembered.Load().mac)) || passed
	}
	return passed
}

// DatagramKey returns the caller with the given name and the key of its
// datagrams; false if no user of that name has a key. The name is only a claim
// until a datagram has been opened with the key.
func (a *Authenticator) DatagramKey(name string) (Caller, []byte, bool) {
	u := a.current.Load().byName[name]
	if u == nil || u.udpKey == nil {
		return Caller{}, nil, false
	}
	return Caller{user: u}, u.udpKey, true
}

// Find returns the caller of this name, as one that gave no password. It proves
// nothing: the one who asks must know by other means that a request is this
// caller's, such as by a token that no other caller has.
func (a *Authenticator) Find(name string) (Caller, bool) {
	u := a.current.Load().byName[name]
	return Caller{user: u}, u != nil
}

// FindByVerifier is Find for a request that carries a Caller's Verifier in some
// form. It returns the Caller as if it had given the password whose verifier is
// reports true for: false if none of the user's passwords, which are at most
// MaxPasswords, is that one any more.
func (a *Authenticator) FindByVerifier(name string, is func(verifier []byte) bool) (Caller, bool) {
	u := a.current.Load().find(name)
	for _, p := range u.passwords {
		if p.verifier != nil && is(p.verifier) {
			return Caller{u, p}, true
		}
	}
	return Caller{}, false
}

// coalesce verifies an attempt, or waits for the same attempt that is being
// verified: a service that starts with a hundred requests costs one hash. failed: it is wrong,
// and was counted here.
func (a *Authenticator) coalesce(ctx context.Context, g *generation, t attempt) (caller Caller, failed bool, err error) {
	for {
		c, leader := g.inflight.start(t.inflightKey())
		if leader {
			defer g.inflight.finish(t.inflightKey(), c)
			c.caller, c.err = a.verify(ctx, g, t)
			return c.caller, errors.Is(c.err, ErrDenied), c.err
		}
		select {
		case <-c.done:
		case <-ctx.Done():
			return Caller{}, false, ctx.Err()
		}
		abandoned := errors.Is(c.err, context.Canceled) || errors.Is(c.err, context.DeadlineExceeded)
		if !abandoned {
			return c.caller, false, c.err
		}
	}
}

// verify verifies one attempt. Attempts from one source are verified one after
// the other, so none escapes the count of those before it.
func (a *Authenticator) verify(ctx context.Context, g *generation, t attempt) (Caller, error) {
	seen := a.firstSeen.at(t.key, t.source, time.Now())
	wait, notBefore := a.throttle.admit(t.source, seen.first)
	if wait > 0 {
		return Caller{}, errThrottled(wait)
	}
	u := g.find(t.name)
	w := waiter{source: t.source, name: t.name, sighting: seen, notBefore: notBefore, free: u.match(t.mac) != nil}
	release, err := a.queue.acquire(ctx, w)
	if err != nil {
		return Caller{}, err
	}
	defer release()
	if wait, _ = a.throttle.admit(t.source, seen.first); wait > 0 { // because of the attempts before it
		return Caller{}, errThrottled(wait)
	}
	p := u.match(t.mac) // it may have been verified from another source meanwhile
	if p == nil {
		if p = a.findPassword(g, u, t); p == nil {
			a.throttle.fail(t.source)
			g.rejected.add(t.mac)
			return Caller{}, ErrDenied
		}
		p.remember(remembered{t.mac, isStrong(t.password)})
	}
	a.verified.add(t.key)
	a.firstSeen.proved(t.key, t.source)
	return Caller{u, p}, nil
}

// findPassword returns the password of u that t gave, nil if it is wrong. It takes
// as long whichever matches, and for a name that does not exist, or whose user has
// no password but keys, as long as for one of the other users.
func (a *Authenticator) findPassword(g *generation, u *user, t attempt) *password {
	hashes, known := g.decoys.of(t.name), 0
	if own := u.hashes(); len(own) > 0 {
		hashes, known = own, 1
	}
	given, found := []byte(t.password), -1
	for i, h := range hashes {
		sum := a.derive(given, h.salt, h.cost)
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum, h.sum)&known, i, found)
	}
	clear(given)
	if found < 0 {
		return nil
	}
	return u.withHash(hashes[found])
}

type notifyKey struct{}

// NotifyAuthenticated returns a context with which an Authenticator calls f
// whenever it has authenticated a caller. An HTTP server uses it to learn which
// connections belong to callers.
func NotifyAuthenticated(ctx context.Context, f func()) context.Context {
	return context.WithValue(ctx, notifyKey{}, f)
}

// ProvedOtherwise notifies as Authenticate does, for a caller that was found with
// Find.
func ProvedOtherwise(ctx context.Context) { notifyAuthenticated(ctx) }

func notifyAuthenticated(ctx context.Context) {
	if f, ok := ctx.Value(notifyKey{}).(func()); ok {
		f()
	}
}
