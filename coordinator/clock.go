package coordinator

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// instant is a time of this process in a third of a time.Time's room: what a
// process keeps for each of 100,000 accounts is mostly times. It counts from
// when the coordinator was made; 0 is long ago.
//
// It goes on while the machine sleeps, which the monotonic clock does not on
// most systems: a token ends all the same.
type instant int64

// clock tells instants. It is safe for concurrent use.
type clock struct {
	made  time.Time    // the origin of instants
	slept atomic.Int64 // what the monotonic clock has missed since

	mu        sync.Mutex    // guards what follows
	looked    time.Time     // when wakeUp looked last
	suspended time.Duration // suspended() then
}

// storeClock is the store's clock, as the last reading showed it.
type storeClock struct {
	ahead atomic.Int64 // of instants, in ns since 1970
	known atomic.Bool
}

// set notes that it was t in the store at an instant.
func (s *storeClock) set(t time.Time, at instant) {
	if s.ahead.Store(t.UnixNano() - int64(at)); !s.known.Load() {
		s.known.Store(true)
	}
}

// at returns the store's time at an instant; known is false before a reading.
func (s *storeClock) at(i instant) (t time.Time, known bool) {
	return time.Unix(0, s.ahead.Load()+int64(i)), s.known.Load()
}

// clockJump is the least that counts as sleep between two looks. Clocks that are
// slewed differ by less.
const clockJump = 2 * time.Second

// start sets the clock's origin.
func (c *clock) start() {
	c.made = time.Now()
	c.looked, c.suspended = c.made, suspended()
}

// instant returns t in the short form.
func (c *clock) instant(t time.Time) instant {
	return instant(t.Sub(c.made)) + instant(c.slept.Load())
}

// time is the reverse of instant.
func (c *clock) time(i instant) time.Time {
	return c.made.Add(time.Duration(i) - time.Duration(c.slept.Load()))
}

// now returns the present instant, after a look at whether the machine slept.
func (c *clock) now() instant {
	c.wakeUp()
	return c.instant(time.Now())
}

// wakeUp finds out whether the machine slept since the last look, and moves
// instants on by as much. What shows it is the wall clock
// that went on while the monotonic one stood, or the operating system's own
// account of it: one of them may be missing (a virtual machine that was saved
// knows nothing of it; a machine's wall clock may be corrected later). A wall
// clock that was merely set ahead looks the same. Then what is held ends too
// early, and is read again.
func (c *clock) wakeUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, asleep := time.Now(), suspended()
	wall := now.Round(0).Sub(c.looked.Round(0)) - now.Sub(c.looked)
	missed := max(wall, asleep-c.suspended)
	c.looked, c.suspended = now, asleep
	if missed >= clockJump {
		c.slept.Add(int64(missed))
	}
}

// sleep waits for d and reports whether ctx has not ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
