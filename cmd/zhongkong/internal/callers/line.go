package callers

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// maxWaiting is how many tries may stand in the line: as many as the machine
// hashes in a few seconds.
const maxWaiting = 32

// line makes the tries of each place go one after the other, no more than
// HashesAtOnce at a time, and bounds how many stand in it. The one that was
// made first is the next. In a full line it takes the place of the one that was
// made last; whoever is turned away comes again, and is older by then.
type line struct {
	mu      sync.Mutex // guards what follows
	waiting []*turn
	running map[netip.Addr]bool // :: places whose try is being looked at
}

// turn is a try that stands in the line.
type turn struct {
	at    netip.Addr
	first time.Time  // when it was made first
	from  time.Time  // it is not looked at before
	ready chan error // has room for the one outcome: nil, it is its turn
}

func newLine() *line { return &line{running: make(map[netip.Addr]bool)} }

// enter waits until it is the turn of t. When it was, leave gives it up.
func (l *line) enter(ctx context.Context, t turn) (leave func(), err error) {
	t.ready = make(chan error, 1)
	if !l.stand(&t) {
		return nil, errLineFull()
	}
	if wait := time.Until(t.from); wait > 0 {
		defer time.AfterFunc(wait, l.call).Stop()
	}
	leave = func() { l.leave(t.at) }
	select {
	case err = <-t.ready:
		return leave, err
	case <-ctx.Done():
		if !l.withdraw(&t) && <-t.ready == nil { // its turn came meanwhile
			leave()
		}
		return nil, ctx.Err()
	}
}

// stand puts t into the line if there is room, or one that was made later.
func (l *line) stand(t *turn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= maxWaiting {
		last := t
		for _, other := range l.waiting {
			if other.first.After(last.first) {
				last = other
			}
		}
		if last == t {
			return false
		}
		l.removeLocked(last)
		last.ready <- errLineFull()
	}
	l.waiting = append(l.waiting, t)
	l.callLocked()
	return true
}

func (l *line) call() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.callLocked()
}

// callLocked tells those whose turn it is.
func (l *line) callLocked() {
	now := time.Now()
	for len(l.running) < HashesAtOnce {
		var next *turn
		for _, t := range l.waiting {
			if !l.running[t.at] && !t.from.After(now) && (next == nil || t.first.Before(next.first)) {
				next = t
			}
		}
		if next == nil {
			return
		}
		l.removeLocked(next)
		l.running[next.at] = true
		next.ready <- nil
	}
}

func (l *line) removeLocked(t *turn) {
	i := slices.Index(l.waiting, t)
	l.waiting = slices.Delete(l.waiting, i, i+1)
}

// withdraw takes t out of the line, unless it had its outcome already.
func (l *line) withdraw(t *turn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.waiting, t) {
		return false
	}
	l.removeLocked(t)
	return true
}

func (l *line) leave(at netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.running, at)
	l.callLocked()
}

func errLineFull() error {
	return &SlowedError{Why: "too many new callers at once", RetryIn: comeAgain}
}
