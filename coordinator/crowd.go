package coordinator

import (
	"sync"
	"time"
)

// crowd notices when many accounts get their tokens at the same time: a cold
// start, the end of an outage. Left alone they would all come again together, an
// hour later and forever. Those of a crowd are sent apart over the whole
// interval, once; from then on each keeps its own time.
//
// It counts accounts, not tokens: one account that is refreshed again and again,
// because somebody reports its tokens, is no crowd and keeps its schedule.
type crowd struct {
	mu      sync.Mutex            // guards what follows
	level   float64               // accounts that got a token lately, less those that would be usual
	at      time.Time             // when level was right
	members map[*Account]struct{} // who level counts, until it is down to nothing
}

const (
	// crowdFrom is how many accounts at once are no crowd yet: a deployment
	// of a few keeps to its schedule to the second.
	crowdFrom = 64
	// crowdMemory is how long a crowd is remembered at most.
	crowdMemory = time.Minute
	// crowdShare is which part of the interval is left out at its beginning,
	// so that no token is replaced right after it was issued.
	crowdShare = 60
)

// join counts one more account that got a token, of so many that are refreshed
// each so often, and reports whether it came in a crowd.
func (c *crowd) join(a *Account, now time.Time, accounts int, every time.Duration) bool {
	usual := float64(accounts) / every.Seconds() * 5 / 4 // a second
	c.mu.Lock()
	defer c.mu.Unlock()
	c.level -= usual * max(now.Sub(c.at).Seconds(), 0)
	c.at = now
	if c.level <= 0 {
		c.level, c.members = 0, nil
	}
	if _, counted := c.members[a]; !counted {
		if c.members == nil {
			c.members = make(map[*Account]struct{})
		}
		c.members[a] = struct{}{}
		c.level = min(c.level+1, crowdFrom+1+usual*crowdMemory.Seconds())
	}
	return c.level > crowdFrom
}

// apart returns when one of a crowd asks again, instead of after every: any
// time up to then is as likely as another.
func apart(every time.Duration) time.Duration {
	least := every / crowdShare
	return least + randUpTo(every-least)
}
