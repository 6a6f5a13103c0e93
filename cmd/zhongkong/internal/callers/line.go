package callers

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

const (
	maxLine    = 32  // tries of one place that may wait for their turn
	maxWaiting = 512 // of all places
)

// line makes the tries of each place go one after the other, and bounds how
// many wait.
type line struct {
	mu      sync.Mutex
	waiting int
	turns   map[netip.Addr]*turn
}

// turn is held by the try that is being looked at. It is dropped when nobody
// of its place is left.
type turn struct {
	held chan struct{} // holds one element while the turn is taken
	here int           // guarded by line.mu
}

func newLine() *line { return &line{turns: make(map[netip.Addr]*turn)} }

// enter waits for the turn of a place. When it was had, leave gives it up.
func (l *line) enter(ctx context.Context, at netip.Addr) (leave func(), err error) {
	t, err := l.queue(at)
	if err != nil {
		return nil, err
	}
	select {
	case t.held <- struct{}{}:
		return func() { <-t.held; l.drop(at, t) }, nil
	case <-ctx.Done():
		l.drop(at, t)
		return nil, ctx.Err()
	}
}

func (l *line) queue(at netip.Addr) (*turn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.turns[at]
	if l.waiting >= maxWaiting || t != nil && t.here >= maxLine {
		return nil, &SlowedError{Why: "too many new callers at once", RetryIn: time.Second}
	}
	if t == nil {
		t = &turn{held: make(chan struct{}, 1)}
		l.turns[at] = t
	}
	t.here++
	l.waiting++
	return t, nil
}

func (l *line) drop(at netip.Addr, t *turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting--
	t.here--
	if t.here == 0 {
		delete(l.turns, at)
	}
}
