package proxy

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
)

// What one server asks Former within a second. A guess costs no more.
const (
	maxLookups         = 64 // in all
	maxLookupsOfSource = 4  // see auth.Source
)

// Former keeps the tokens of accounts that are or were current for all servers of a
// fleet, in a form that does not reveal them. It is safe for concurrent use. Its
// methods return in time also while they reach no other server.
type Former interface {
	// Add keeps a token that is current.
	Add(ctx context.Context, account, token string)

	// Age returns how long ago a token was last added; false if it was not.
	Age(ctx context.Context, account, token string) (age time.Duration, found bool, err error)
}

// search looks for the token of one request in Former. A nil search finds nothing.
type search struct {
	tokens *Tokens
	req    *http.Request
	failed bool // nothing more is asked
	paid   bool // one token is counted once, for all accounts
}

func (p *Proxy) newSearch(req *http.Request) *search { return &search{tokens: p.cfg.Tokens, req: req} }

// find reports whether a token is one of the account's. If it is, this server knows it
// from now on.
func (s *search) find(account, token string) bool {
	if s == nil || s.failed || s.tokens.former == nil || !s.tokens.remembers(account) {
		return false
	}
	t := s.tokens
	return t.lookups.once(lookup{account, t.hash(token)}, func() bool {
		if _, _, known := t.holders(account, token); known { // since the caller looked
			return true
		}
		source := auth.Source(auth.Addr(s.req.RemoteAddr))
		if s.paid = s.paid || t.lookups.allow(source, time.Now()); !s.paid {
			s.failed = true
			return false
		}
		// Others wait for the answer, too, when this client has gone.
		age, found, err := t.former.Age(context.WithoutCancel(s.req.Context()), account, token)
		s.failed = err != nil
		if found {
			t.recall(account, token, age)
		}
		return found
	})
}

func (t *Tokens) remembers(account string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.accounts[account] != nil
}

// recall remembers a token that was last current so long ago, and that others gave out.
func (t *Tokens) recall(account, token string, age time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, sum, now := t.accounts[account], t.hash(token), time.Now()
	if a.generations[sum] == nil {
		g := &generation{}
		a.generations[sum] = g
		a.forget(now)
		g.until = now.Add(heldFor - age)
	}
}

// lookups bounds what is asked. The zero value is ready for use.
type lookups struct {
	mu     sync.Mutex // guards what follows
	since  time.Time  // start of the second that is counted
	all    int
	of     map[netip.Addr]int
	active map[lookup]*lookupCall
}

type lookup struct {
	account string
	token   digest
}

type lookupCall struct {
	done  chan struct{}
	found bool // once done is closed
}

// allow counts a lookup that a source caused. It returns false if there were too many
// within the second.
func (l *lookups) allow(source netip.Addr, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.since) >= time.Second {
		l.since, l.all, l.of = now, 0, make(map[netip.Addr]int)
	}
	if l.all >= maxLookups || l.of[source] >= maxLookupsOfSource {
		return false
	}
	l.all++
	l.of[source]++
	return true
}

// once returns what ask returns. Calls at the same time share one: after a restart, an
// SDK sends many requests with one token.
func (l *lookups) once(key lookup, ask func() bool) bool {
	l.mu.Lock()
	if c := l.active[key]; c != nil {
		l.mu.Unlock()
		<-c.done
		return c.found
	}
	c := &lookupCall{done: make(chan struct{})}
	if l.active == nil {
		l.active = make(map[lookup]*lookupCall)
	}
	l.active[key] = c
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.active, key)
		l.mu.Unlock()
		close(c.done)
	}()
	c.found = ask()
	return c.found
}
