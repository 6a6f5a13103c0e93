package coordinator

import "context"

// This file has the accounts read whose notifications begin to flow. At the start that is
// each of them. After a reconnect the feed tells which have changed while notifications
// were lost, and the others are read within PollEvery: that spreads the work for a store
// that has enough to do, for it may have lost the connection because of that.

// readUntold has those accounts read at once of which the feed does not tell whether they
// have changed, and returns the others.
func (s *scheduler) readUntold(accounts []string) (told []string) {
	resumes := s.c.feed.resumes()
	for _, name := range accounts {
		a, ok := s.c.Account(name)
		if !ok {
			continue
		}
		a.apply(func(v *view, e env) effects {
			if resumes && v.resumes(e) {
				told = append(told, name)
				return effects{}
			}
			return v.readSoon(e)
		})
	}
	return told
}

// subscribed has watch see to accounts that are notified from now on, at once: what it waits
// for after a reconnect may never be answered, because the server is another one.
func (s *scheduler) subscribed(accounts []string) {
	s.mu.Lock()
	s.flows, s.again = true, append(s.again, accounts...)
	s.mu.Unlock()
	signal(s.wake)
	if cancel := s.interrupt.Load(); cancel != nil && s.c.feed.broken.Load() {
		(*cancel)()
	}
}

// readAgain has the accounts read that are notified again: those that have changed
// meanwhile at once, the others within PollEvery. If the feed does not tell which have
// changed, it is all of them.
func (s *scheduler) readAgain(ctx context.Context) {
	s.mu.Lock()
	flows, accounts := s.flows, s.again
	s.flows, s.again = false, nil
	s.mu.Unlock()
	if !flows || !s.c.connected.Load() {
		return // nothing was subscribed, or all will be subscribed anew
	}
	resumed := false
	if s.c.feed.broken.Load() {
		var changed []*Account
		if changed, resumed = s.c.feed.resume(ctx); resumed {
			for _, a := range changed {
				a.apply(func(v *view, e env) effects { return s.readDirectly(a, v, e) })
			}
		}
	}
	for _, name := range accounts {
		if a, ok := s.c.Account(name); ok {
			a.apply(func(v *view, e env) effects {
				if resumed && v.resumes(e) {
					return v.readLater(e)
				}
				return s.readDirectly(a, v, e)
			})
		}
	}
	s.poke()
}

// readDirectly has the account read without a look at it first, if nothing is in the way.
func (s *scheduler) readDirectly(a *Account, v *view, e env) effects {
	fx := v.readSoon(e)
	if v.task(e) == taskRead && !e.down.pauses(e.wall) {
		s.queueUnread(a)
		fx.reschedule = false
	}
	return fx
}
