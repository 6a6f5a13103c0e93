package coordinator

import "slices"

// attempts are the unsettled ones of an account, as one process knows them. They follow
// the store's rules: an attempt that was overdue when another one began is settled by that
// one's token. Most accounts have none most of the time.
type attempts struct{ list *[]openAttempt } // nil: none

// all returns them. What is changed must be set.
func (a attempts) all() []openAttempt {
	if a.list == nil {
		return nil
	}
	return *a.list
}

func (a *attempts) set(all []openAttempt) {
	switch {
	case len(all) == 0:
		a.list = nil
	case a.list == nil:
		a.list = &all
	default:
		*a.list = all
	}
}

// openAttempt is an attempt that is overdue at the given time unless its end
// is heard of.
type openAttempt struct {
	fence   Fence   // 0: from a reading of the store, which tells deadlines only
	newest  Fence   // the newest fence there was at that reading
	at      instant // its deadline
	settles Fence   // the token of this attempt settles it; 0: none that is known
}

// mostAttempts bounds what a process remembers: one overdue attempt has the same
// effect as a thousand.
const mostAttempts = 100

// begun adds an attempt.
func (a *attempts) begun(fence Fence, deadline, now instant) {
	all := a.all()
	for i := range all {
		if o := &all[i]; o.at <= now {
			o.settles = fence
		}
	}
	a.closed(fence)
	a.open(openAttempt{fence: fence, at: deadline})
}

// open adds o, in place of the oldest if there are too many.
func (a *attempts) open(o openAttempt) {
	all := a.all()
	if len(all) >= mostAttempts {
		all = slices.Delete(all, 0, 1)
	}
	a.set(append(all, o))
}

// remove removes those of which done is true.
func (a *attempts) remove(done func(openAttempt) bool) {
	if a.list != nil {
		a.set(slices.DeleteFunc(*a.list, done))
	}
}

// closed removes an attempt that is settled.
func (a *attempts) closed(fence Fence) {
	a.remove(func(o openAttempt) bool { return o.fence == fence })
}

// committed removes an attempt whose token is stored, and what that settles.
func (a *attempts) committed(fence Fence) {
	a.remove(func(o openAttempt) bool { return o.fence == fence || o.settles == fence })
}

// restored removes an attempt whose token was put back. It reports whether that may be one
// of those that a reading has shown, which does not tell their fences.
func (a *attempts) restored(fence Fence) (unsure bool) {
	a.closed(fence)
	return slices.ContainsFunc(a.all(), func(o openAttempt) bool { return o.fence == 0 && o.newest >= fence })
}

// read takes over what a reading of the store shows. What is newer than the
// newest fence there is kept: the reading was asked for before it was heard of, or
// the store has lost its data and with it what is under way. The token of the attempt
// settles is that of those that are open, 0: that is not known.
func (a *attempts) read(newest Fence, open []instant, settles Fence) {
	a.remove(func(o openAttempt) bool { return max(o.fence, o.newest) <= newest })
	for _, at := range open[:min(len(open), mostAttempts)] {
		a.open(openAttempt{newest: newest, at: at, settles: settles})
	}
}

// overdue reports whether any of them is.
func (a attempts) overdue(now instant) bool {
	return slices.ContainsFunc(a.all(), func(o openAttempt) bool { return o.at <= now })
}

// newestOverdue returns the fence that none of the overdue ones is newer than: see
// BeginRequest.Overdue.
func (a attempts) newestOverdue(now instant) (newest Fence) {
	for _, o := range a.all() {
		if o.at <= now {
			newest = max(newest, o.fence, o.newest)
		}
	}
	return newest
}

// next returns when the first of them is overdue; ok is false for none.
func (a attempts) next() (at instant, ok bool) {
	for _, o := range a.all() {
		if !ok || o.at < at {
			at, ok = o.at, true
		}
	}
	return at, ok
}

// deadlines brings the store's deadlines to this process' time. overdue ones are
// now.
func (s *State) deadlines(now instant) []instant {
	open := make([]instant, 0, len(s.Open))
	for _, deadline := range s.Open {
		at := now
		if !Overdue(deadline, s.Now) {
			at += instant(deadline.Sub(s.Now))
		}
		open = append(open, at)
	}
	return open
}
