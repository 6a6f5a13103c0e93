package auth

import (
	"cmp"
	"context"
	"hash/maphash"
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

	// nameGroups is the number of groups of names, which take turns. With more of them, the
	// turn of a group comes later in a flood of guesses at all; with fewer, more names share
	// the group of a name that is guessed at.
	nameGroups = 16
)

// queue runs the attempts of each source one after the other, at most MaxHashes
// at a time in all, and bounds how many wait. Of each source, the attempt that was
// first made earliest is next; of all sources, one from a clean source. Among these the
// groups of names take turns, so that guesses at one name delay few others, and of a
// group the one that was first made earliest is next. When the queue is full, a new
// attempt displaces one from a source that is not clean, or else, of the group that has
// most, the one that was first made last, or is rejected if that is the new one itself; a
// rejected caller that retries ranks higher by then.
//
// The hash of a name decides its group. With a group for each name an attacker would get
// a turn for each name that it makes up, and with one for all names that do not exist the
// wait would tell which names exist.
type queue struct {
	seed maphash.Seed // of the groups; secret, so that nobody knows which names share one

	mu      sync.Mutex // guards what follows
	waiting []*waiter
	running map[netip.Addr]bool // :: sources with a running attempt
	hashing int                 // attempts that run and are not free
	turns   int                 // attempts that were started and are not free
	turn    [nameGroups]int     // :: group, the last of these that was its own
}

// waiter is an attempt in the queue.
type waiter struct {
	source netip.Addr
	name   string
	sighting
	group     uint64     // of the name; set by acquire
	notBefore time.Time  // when it may run
	free      bool       // it needs no slow hash, and so only waits for its source's others
	ready     chan error // receives one value: nil when it may run, or why it was rejected
}

func newQueue() *queue {
	return &queue{seed: maphash.MakeSeed(), running: make(map[netip.Addr]bool)}
}

func (q *queue) groupOf(name string) uint64 { return maphash.String(q.seed, name) % nameGroups }

// acquire blocks until w may run. The caller then calls release when it is done.
func (q *queue) acquire(ctx context.Context, w waiter) (release func(), err error) {
	w.ready, w.group = make(chan error, 1), q.groupOf(w.name)
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
		last := q.lastLocked(w)
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

// lastLocked returns w, or the waiter that is to leave the queue for it.
func (q *queue) lastLocked(w *waiter) *waiter {
	var size [nameGroups]int // as if w waited
	size[w.group]++
	for _, other := range q.waiting {
		size[other.group]++
	}
	last := w
	for _, other := range q.waiting {
		if cmp.Or(dirtyLast(last, other), cmp.Compare(size[last.group], size[other.group]), last.first.Compare(other.first)) < 0 {
			last = other
		}
	}
	return last
}

// beforeLocked reports whether a is to run before b.
func (q *queue) beforeLocked(a, b *waiter) bool {
	return cmp.Or(dirtyLast(a, b), cmp.Compare(q.turn[a.group], q.turn[b.group]), a.first.Compare(b.first)) < 0
}

// dirtyLast compares two waiters: one from a clean source is the less.
func dirtyLast(a, b *waiter) int {
	switch {
	case a.clean == b.clean:
		return 0
	case a.clean:
		return -1
	}
	return 1
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
			if q.mayRunLocked(w, now) && (next == nil || q.beforeLocked(w, next)) {
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
			q.turns++
			q.turn[next.group] = q.turns
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
