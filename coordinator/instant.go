package coordinator

import "time"

// instant is a time of this machine's monotonic clock in a third of a
// time.Time's room: what a process keeps for each of 100,000 accounts is mostly
// times. It counts from when the coordinator was made; 0 is long ago.
type instant int64

// instant returns t in the short form.
func (c *Coordinator) instant(t time.Time) instant { return instant(t.Sub(c.made)) }

// time is the reverse of instant.
func (c *Coordinator) time(i instant) time.Time { return c.made.Add(time.Duration(i)) }
