package coordinator

import "time"

// Sleep has the coordinator's machine sleep for d: the operating system counts
// that, and the clocks of the test's bubble do not.
func (c *Coordinator) Sleep(d time.Duration) {
	c.clock.mu.Lock()
	defer c.clock.mu.Unlock()
	c.clock.suspended -= d
}

// Merge and Follows are those of a Grant.
func Merge(g, h Grant) Grant  { return g.merge(h) }
func Follows(g, h Grant) bool { return g.follows(h) }
