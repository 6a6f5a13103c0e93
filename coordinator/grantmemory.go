package coordinator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// grantMemory is the newest record of an account's grant that this process knows, so
// that a store that has lost it gets it back. It is kept apart from the view because it
// has secrets. The nil memory remembers nothing.
type grantMemory struct {
	mu      sync.Mutex // guards what follows; nothing is called under it
	newest  Grant
	primed  bool           // spool and copy have been looked at
	keeping map[Fence]bool // answers that are to be stored and copied; true: the store has it
	syncing bool           // a goroutine compares the store with it
	again   bool           // and has to look once more
}

// grantSyncMost is the longest wait before a grant is compared with the store again.
const grantSyncMost = 30 * time.Second

// maxGrantSyncs is how many grants are compared with the store at once.
const maxGrantSyncs = 32

// remember takes g over, together with what it was not made of.
func (m *grantMemory) remember(g Grant) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.newest = g.merge(m.newest)
}

// recall returns the newest record.
func (m *grantMemory) recall() Grant {
	if m == nil {
		return Grant{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.newest
}

// keep notes an answer that is to be stored and copied; false: it is noted already.
func (m *grantMemory) keep(fence Fence) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.keeping[fence]; there {
		return false
	}
	if m.keeping == nil {
		m.keeping = make(map[Fence]bool)
	}
	m.keeping[fence] = false
	return true
}

// stored notes whether the store has an answer.
func (m *grantMemory) stored(fence Fence, stored bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keeping[fence] = stored
}

// unprime has the copy read again: the store may have lost more than this process knows.
func (m *grantMemory) unprime() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.primed = false
}

// kept notes that an answer is done with.
func (m *grantMemory) kept(fence Fence) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.keeping, fence)
}

// busy reports whether there are answers that the store does not have yet. What else an
// answer waits for keeps no token from being presented: the copy has a rule of its own.
func (m *grantMemory) busy() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, stored := range m.keeping {
		if !stored {
			return true
		}
	}
	return false
}

func (a *Account) grantRules() GrantRules {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rules.Value().grant
}

// grantMemory returns what this process remembers, nil if the account needs no grant.
func (a *Account) grantMemory() *grantMemory {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.grant
}

// syncGrant compares the store's grant with what this process remembers, in a
// goroutine that Run and Drain wait for, and puts back what the store has lost.
func (a *Account) syncGrant() {
	m := a.grantMemory()
	m.mu.Lock()
	m.again = m.syncing
	start := !m.syncing
	m.syncing = true
	m.mu.Unlock()
	if !start {
		return
	}
	a.c.rounds.start(func() {
		ctx := a.c.lifetime()
		for again := true; again; {
			wait := outagePause
			for err := a.syncGrantOnce(ctx, m); err != nil && sleep(ctx, jitter(wait)); err = a.syncGrantOnce(ctx, m) {
				wait = min(2*wait, grantSyncMost)
			}
			m.mu.Lock()
			again, m.again = m.again && ctx.Err() == nil, false
			m.syncing = again
			m.mu.Unlock()
		}
	})
}

func (a *Account) syncGrantOnce(ctx context.Context, m *grantMemory) error {
	grants, err := a.c.grants()
	if err != nil {
		return nil // which the round says
	}
	select {
	case a.c.grantSyncs <- struct{}{}:
		defer func() { <-a.c.grantSyncs }()
	case <-ctx.Done():
		return ctx.Err()
	}
	rules := a.grantRules()
	a.c.readSpool()
	primed := a.primeGrant(ctx, m)
	if primed != nil { // what this process remembers is put back all the same
		a.c.log.Warn("the copy of the grant cannot be read: trying again", "account", a.name, "error", primed)
	}
	var known bool
	var heard GrantSummary
	mine := m.recall()
	a.update(func(v *view, _ env) {
		g := v.grantOf()
		known, heard = g.synced && g.stored.Version == mine.Version && g.stored.Consent == mine.Consent, g.stored
	})
	if known && primed == nil { // this process has just changed it
		a.apply(func(v *view, e env) effects { return v.grantSynced(v.grant.stored, e) })
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, a.c.cfg.LockTTL)
	defer cancel()
	r, err := a.c.loadGrant(ctx, grants, a.name, rules, m)
	if err != nil {
		if !errors.Is(err, ErrUnreachable) {
			a.c.log.Warn("the grant cannot be read: trying again", "account", a.name, "error", err)
		}
		return err
	}
	if primed != nil {
		return primed
	}
	a.apply(func(v *view, e env) effects {
		s := r.Grant.Summary(rules, r.Now)
		if now := v.grantOf().stored; heard.Older(now) && s.Older(now) { // it was saved after the reading, which is repeated
			return v.changed(effects{}, e)
		}
		return v.grantSynced(s, e)
	})
	return nil
}

// primeGrant takes over the copy that is kept outside of the store, at the start, after
// the store could not be followed, and while it may have lost writes: the copy may be newer
// than what the store has. It takes as long as a lock lives at most.
func (a *Account) primeGrant(ctx context.Context, m *grantMemory) error {
	m.mu.Lock()
	primed := m.primed
	m.mu.Unlock()
	if primed {
		return nil
	}
	if c := a.c.cfg.Copy; c != nil {
		ctx, cancel := context.WithTimeout(ctx, a.c.cfg.LockTTL)
		defer cancel()
		g, err := c.Get(ctx, a.name)
		if err != nil {
			return fmt.Errorf("read the copy of the grant of %q: %w", a.name, err)
		}
		m.remember(g)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.primed = true
	return nil
}
