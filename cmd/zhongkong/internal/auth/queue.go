package auth

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// MaxHashes is how many slow hashes run at a time. One leaves the other
	// processors to those who need no hash, and bounds the memory to what its cost
	// names: 19 MiB for those of Hash.
	MaxHashes = 1

	// maxWaiting is how many attempts may wait: as many as the machine hashes
	// in a few seconds.
	maxWaiting = 32
)

// queue runs the attempts of each source one after the other, at most MaxHashes
// at a time in all, and bounds how many wait. Of each source, the attempt that was
// first made earliest is next; of all sources, one from a clean source, and of these
// the one that was first made earliest. When the queue is full, a new attempt displaces
// the waiter that would be last, or is rejected if that is the new one itself; a
// rejected caller that retries ranks higher by then.
type queue struct {
	mu      sync.Mutex // guards what follows
	waiting []*waiter
	running map[netip.Addr]bool // :: sources with a running attempt
	hashing int                 // attempts that run and are not free
}

// waiter is an attempt in the queue.
type waiter struct {
	source netip.Addr
	sighting
	notBefore time.Time  // when it may run
	free      bool       // it needs no slow hash, and so only waits for its source's others
	ready     chan error // receives one value: nil when it may run, or why it was rejected
}

func (w *waiter) before(other *waiter) bool {
	if w.clean != other.clean {
		return w.clean
	}
	return w.first.Before(other.first)
}

func newQueue() *queue { return &queue{running: make(map[netip.Addr]bool)} }

// acquire blocks until w may run. The caller then calls release when it is done.
func (q *queue) acquire(ctx context.Context, w waiter) (release func(), err error) {
	w.ready = make(chan error, 1)
	if !q.enqueue(&w) {
		return nil, errQueueFull()
	}
	if wait := time.Until(w.notBefore); wait > 0 {
		defer time.AfterFunc(wait, q.dispatch).Stop()
	}
	release = func() { q.release(&w) }
	select {
	case err = <-w.ready:
		return release, err
	case <-ctx.Done():
		if !q.withdraw(&w) && <-w.ready == nil { // it was started meanwhile
			release()
		}
		return nil, ctx.Err()
	}
}

// enqueue adds w if there is room, or if w displaces another waiter.
func (q *queue) enqueue(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= maxWaiting {
		last := w
		for _, other := range q.waiting {
			if last.before(other) {
				last = other
			}
		}
		if last == w {
			return false
		}
		q.removeLocked(last)
		last.ready <- errQueueFull()
	}
	q.waiting = append(q.waiting, w)
	q.dispatchLocked()
	return true
}

func (q *queue) dispatch() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dispatchLocked()
}

// dispatchLocked starts as many waiters as may run.
func (q *queue) dispatchLocked() {
	now := time.Now()
	for {
		var next *waiter
		for _, w := range q.waiting {
			if q.mayRunLocked(w, now) && (next == nil || w.before(next)) {
				next = w
			}
		}
		if next == nil {
			return
		}
		q.removeLocked(next)
		q.running[next.source] = true
		if !next.free {
			q.hashing++
		}
		next.ready <- nil
	}
}

// mayRunLocked reports whether w is the next of its source, and may run now. A free
// waiter does not overtake its source's others: the answer to a right password among
// many wrong ones would be the first.
func (q *queue) mayRunLocked(w *waiter, now time.Time) bool {
	if q.running[w.source] || w.notBefore.After(now) || !w.free && q.hashing >= MaxHashes {
		return false
	}
	return !slices.ContainsFunc(q.waiting, func(other *waiter) bool {
		return other.source == w.source && other.first.Before(w.first)
	})
}

func (q *queue) removeLocked(w *waiter) {
	i := slices.Index(q.waiting, w)
	q.waiting = slices.Delete(q.waiting, i, i+1)
}

// withdraw removes w. False: it has been started or rejected already.
func (q *queue) withdraw(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !slices.Contains(q.waiting, w) {
		return false
	}
	q.removeLocked(w)
	return true
}

func (q *queue) release(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.running, w.source)
	if !w.free {
		q.hashing--
	}
	q.dispatchLocked()
}
