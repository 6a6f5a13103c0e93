package proxy

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

const (
	// heldFor is how long a client may keep a token that was replaced: some ask
	// when it is an hour old, and then keep it for two hours whatever they were
	// told.
	heldFor = 4 * time.Hour

	// maxGenerations are kept of an account: what a refresh every minute makes in
	// that time, which is how it goes while an outsider fetches, and more.
	maxGenerations = 512

	maxHolders = 64 // callers kept of a generation
)

// Tokens remembers, as keyed hashes, the tokens that clients may still hold, and
// which callers this server gave them to. It is safe for concurrent use.
type Tokens struct {
	key     [sha256.Size]byte
	former  Former // nil: this server's memory only
	lookups lookups

	mu       sync.Mutex // guards what follows
	accounts map[string]*remembered
}

// remembered is what is known of one account's tokens.
type remembered struct {
	current     coordinator.Token
	newest      *generation
	seen        time.Time // when it was last said to be current
	generations map[digest]*generation
}

// digest is a token under the key.
type digest [sha256.Size]byte

// generation is a token that is or was current.
type generation struct {
	until   time.Time
	callers []string // never changed, but replaced: holders gives it out
	many    bool     // more callers than are kept
}

// NewTokens returns Tokens for the accounts of routes. Only those, and the accounts
// given to Remember, are remembered. former, which may be nil, gets each token that is
// current, and is asked for tokens that this server does not know.
func NewTokens(routes []Route, former Former) *Tokens {
	t := &Tokens{former: former, accounts: make(map[string]*remembered, len(routes))}
	_, _ = rand.Read(t.key[:]) // never fails
	for _, r := range routes {
		t.Remember(r.Account)
	}
	return t
}

// Remember has the tokens of more accounts remembered from now on.
func (t *Tokens) Remember(accounts ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range accounts {
		if t.accounts[name] == nil {
			t.accounts[name] = &remembered{generations: make(map[digest]*generation)}
		}
	}
}

// Seen says that a token is current. It is to be called for each new record of
// an account, so that this server knows the tokens that other servers gave out.
func (t *Tokens) Seen(account string, token coordinator.Token) {
	t.note(account, token)
}

// Given says that a caller was given a token.
func (t *Tokens) Given(account, caller string, token coordinator.Token) {
	g := t.note(account, token)
	if g == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case slices.Contains(g.callers, caller):
	case len(g.callers) >= maxHolders:
		g.many = true
	default:
		g.callers = append(slices.Clip(g.callers), caller)
	}
}

// note returns the generation of a token, nil if the account's are not remembered.
func (t *Tokens) note(account string, token coordinator.Token) *generation {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.accounts[account]
	if a == nil || token.IsZero() {
		return nil
	}
	now := time.Now()
	if a.newest != nil && now.Sub(a.seen) < time.Minute && a.current.Reveal() == token.Reveal() { // both ours: no client measures it
		return a.newest
	}
	sum := t.hash(token.Reveal())
	g := a.generations[sum]
	if g == nil {
		g = &generation{}
		a.generations[sum] = g
		a.forget(now)
	}
	g.until = now.Add(heldFor)
	a.current, a.newest, a.seen = token, g, now
	if t.former != nil { // about once a minute, or when the token is new; it ends by the time that Add takes
		go t.former.Add(context.Background(), account, token.Reveal())
	}
	return g
}

// forget drops what is not held any more, and the oldest of too many. A new
// generation has no end yet.
func (a *remembered) forget(now time.Time) {
	for len(a.generations) > maxGenerations {
		var oldest digest
		end := now.Add(2 * heldFor)
		for sum, g := range a.generations {
			if !g.until.IsZero() && g.until.Before(end) {
				oldest, end = sum, g.until
			}
		}
		delete(a.generations, oldest)
	}
	for sum, g := range a.generations {
		if !g.until.IsZero() && now.After(g.until) {
			delete(a.generations, sum)
		}
	}
}

// holders returns the callers that a token was given to here; none, and true: it
// is the account's, and others gave it out. The list is not complete if many.
func (t *Tokens) holders(account, token string) (callers []string, many, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.accounts[account]
	if a == nil {
		return nil, false, false
	}
	g := a.newest
	if subtle.ConstantTimeCompare([]byte(a.current.Reveal()), []byte(token)) == 0 { // as seldom
		g = a.generations[t.hash(token)] // what is compared is under a key that no client knows
	}
	if g == nil || time.Now().After(g.until) {
		return nil, false, false
	}
	return g.callers, g.many, true
}

// hash needs no HMAC: the key comes first and has a fixed length, and no client sees
// a hash.
func (t *Tokens) hash(token string) digest {
	text := make([]byte, 0, sha256.Size+512)
	text = append(append(text, t.key[:]...), token...)
	return sha256.Sum256(text)
}
