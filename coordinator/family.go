package coordinator

import "context"

// family is what an account has to do with its parent and its children.
type family struct {
	parent   *Account // whose token the source needs; nil: the source needs none
	children int      // accounts whose parent this one is; written with the membership and this account's mu held

	// waiting are the children for which a refresh is due that has to wait until this
	// account has a token. Guarded by this account's mu.
	waiting map[*Account]struct{}
}

// parent returns the account whose token the source needs, nil if it needs none.
func (a *Account) parent() *Account {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.family == nil {
		return nil
	}
	return a.family.parent
}

// adopt makes the account the parent of one more. Coordinator.membership is held.
func (a *Account) adopt() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.family == nil {
		a.family = new(family)
	}
	a.family.children++
}

// release is the reverse of adopt, for a child that was removed.
func (a *Account) release(child *Account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.family.children--
	delete(a.family.waiting, child)
}

// environ adds to e what a parent or children have to do with the account. mu is held.
func (f *family) environ(a *Account, e *env) {
	e.children, e.needed = f.children > 0, len(f.waiting) > 0
	if f.parent == nil {
		return
	}
	e.parent = f.parent.name
	if e.refresher() && e.running && f.parent.served.Load() == nil {
		blocked := &ParentError{Account: a.name, Parent: f.parent.name}
		f.parent.update(func(v *view, parents env) { e.hopeless, blocked.Cause = v.lacking(parents) })
		e.blocked = blocked
	}
}

// awaitParent has the account looked at again as soon as its parent has a token, if a
// refresh is due that needs one. mu is held.
func (a *Account) awaitParent(e env) {
	if e.blocked == nil || a.view.removed || a.view.due(e) == "" {
		return
	}
	p := a.family.parent
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.served.Load() != nil { // since e was made
		a.carryOut(effects{broadcast: true, reschedule: true, wake: e.now})
		return
	}
	if p.family.waiting == nil {
		p.family.waiting = make(map[*Account]struct{})
		p.c.schedule.at(p, e.now) // where it is only read, a refresher is called for
	}
	p.family.waiting[a] = struct{}{}
}

// parentRecord returns the parent's record, the zero Record if the source needs none. It
// waits only while nothing Runs: otherwise the parent's schedule sees to its token,
// and the account is woken when there is one.
func (a *Account) parentRecord(ctx context.Context) (Record, error) {
	p := a.parent()
	if p == nil {
		return Record{}, nil
	}
	if a.c.running.Load() {
		if s, ok := p.Peek(); ok {
			return s.Record, nil
		}
		return Record{}, &ParentError{Account: a.name, Parent: p.name, Cause: ErrNoToken}
	}
	ctx, cancel := context.WithTimeout(ctx, a.c.cfg.FetchTimeout+a.c.cfg.LockTTL)
	defer cancel()
	s, err := p.Current(ctx)
	if err != nil {
		return Record{}, &ParentError{Account: a.name, Parent: p.name, Cause: err}
	}
	return s.Record, nil
}
