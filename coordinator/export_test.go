package coordinator

import "time"

// Sleep has the coordinator's machine sleep for d: the operating system counts
// that, and the clocks of the test's bubble do not.
func (c *Coordinator) Sleep(d time.Duration) {
	c.clock.mu.Lock()
	defer c.clock.mu.Unlock()
	c.clock.suspended -= d
}

// SetHost has the coordinator run on the host of this name.
func (c *Coordinator) SetHost(name string) { c.host = name }

// ReadNoneInTurn leaves it to the feed alone to find out what has changed.
func (c *Coordinator) ReadNoneInTurn() { c.schedule.inTurn = 0 }
