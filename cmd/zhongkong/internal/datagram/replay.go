package datagram

import (
	"sync"
	"time"
)

const (
	// maxRemembered is how many questions of one caller are remembered: 260 a
	// second for as long as each has to be.
	maxRemembered = 16 << 10

	// rememberFor is how long a question is remembered. One from a fast clock
	// stays within Window for twice as long as Window.
	rememberFor = 2*Window + time.Second

	// startSlack is because questions have whole milliseconds, and the two clocks are not
	// read in the same instant.
	startSlack = 2 * time.Millisecond
)

type replayCaches struct {
	began time.Time // with a monotonic reading

	mu  sync.Mutex              // guards all
	all map[string]*replayCache // :: caller's name
}

func newReplayCaches(now time.Time) *replayCaches {
	return &replayCaches{began: now, all: make(map[string]*replayCache)}
}

func (c *replayCaches) of(name string) *replayCache {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.all[name]
	if found == nil {
		found = &replayCache{began: c.began, seen: make(map[string]struct{})}
		c.all[name] = found
	}
	return found
}

// replayCache admits each question once. When it forgets a question, it raises the
// floor above that question's time, so that the question is then refused as too
// old whatever the clocks have done meanwhile.
type replayCache struct {
	began time.Time // see replayCaches

	mu    sync.Mutex          // guards what follows
	seen  map[string]struct{} // the nonces in queue
	queue []remembered        // in the order in which they arrived
	floor time.Time           // older questions are refused
}

type remembered struct {
	nonce    string
	sent     time.Time // by the caller's clock
	received time.Time // by ours, with a monotonic reading
}

// admit records the question and returns Answered, or returns why it must not be
// answered.
func (c *replayCache) admit(q question, now time.Time) Outcome {
	return c.admitAfter(q, now, now.Sub(c.began))
}

// admitAfter is admit for a process that has run for some time, by the monotonic clock:
// the wall clock may have been set since.
func (c *replayCache) admitAfter(q question, now time.Time, uptime time.Duration) Outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgetLocked(now)
	age := now.Sub(q.Time) // by the wall clocks, because q.Time has no monotonic reading
	// The process before this one may have answered a question that was asked before this
	// one began.
	if age > min(Window, uptime+startSlack) || age < -Window || q.Time.Before(c.floor) {
		return Stale
	}
	if _, again := c.seen[q.Nonce]; again {
		return Replayed
	}
	if len(c.queue) >= maxRemembered {
		return Full
	}
	c.seen[q.Nonce] = struct{}{}
	c.queue = append(c.queue, remembered{q.Nonce, q.Time, now})
	return Answered
}

func (c *replayCache) forgetLocked(now time.Time) {
	n := 0
	for ; n < len(c.queue) && now.Sub(c.queue[n].received) > rememberFor; n++ {
		old := c.queue[n]
		delete(c.seen, old.nonce)
		if after := old.sent.Add(1); after.After(c.floor) {
			c.floor = after
		}
	}
	if n == len(c.queue) {
		c.queue = nil // releases the memory of a burst
		return
	}
	c.queue = c.queue[n:]
}
