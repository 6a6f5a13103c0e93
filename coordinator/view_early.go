package coordinator

// This file has the transitions of a view by notifications that come before the store's
// clock is known. In a fleet that starts at once most arrive so, while the first reading
// is under way: to read again because of each would double what the store has to do.

// earlyEvent is a notification that cannot be judged yet.
type earlyEvent struct {
	Event
	at instant // when it was heard
}

// mostEarly bounds what is kept of one account.
const mostEarly = 8

// keepsEarly keeps n until the first reading has told the store's clock. It reports false
// if the account has to be read again instead.
func (v *view) keepsEarly(n Event, e env) bool {
	switch n.Kind {
	case EventBegun, EventRefreshed, EventRestored, EventFailed:
	default:
		return false // a reading may or may not show what it tells
	}
	r := v.edit()
	if len(r.early) == mostEarly {
		r.early = nil // the next reading begins later than these
		return false
	}
	r.early = append(r.early, earlyEvent{n, e.now})
	return true
}

// hearEarly takes in what was notified before s was read, in its order, unless s shows it.
// It reports whether another process has refreshed.
func (v *view) hearEarly(s State, e env) (refreshed bool) {
	if v.rare == nil || v.rare.early == nil {
		return false
	}
	all := v.rare.early
	v.rare.early = nil
	for _, n := range all {
		if !n.credible(e) {
			v.read()
			continue
		}
		shown := n.Fence <= s.Fence
		switch n.Kind {
		case EventFailed:
			shown = n.Fence <= s.Record.Generation || n.Failure.shownBy(s.Failure)
		case EventRefreshed, EventRestored:
			refreshed = true
			shown = n.Fence < s.Fence || n.Fence == s.Record.Generation
		}
		if shown {
			continue
		}
		then := e
		then.now = n.at // from when its durations count
		v.hear(n.Event, then)
		if n.Kind == EventFailed {
			v.read()
		}
	}
	return refreshed
}
