package coordinator

import (
	"sync"
	"time"
)

// smoother notices a burst: many accounts that get their tokens at the same time,
// at a cold start or the end of an outage. Left alone they would all come again
// together, an hour later and forever. Those of a burst are scattered over the
// whole interval, once; from then on each keeps its own time.
//
// It counts accounts, not tokens: one account that is refreshed again and again,
// because its tokens are reported, is no burst and keeps its schedule.
type smoother struct {
	mu      sync.Mutex          // guards what follows
	level   float64             // accounts that got a token lately, less those that would be usual
	at      time.Time           // when level was right
	counted map[string]struct{} // the accounts in level, until it is down to nothing
}

const (
	// burstFrom is how many accounts at once are no burst yet: a deployment
	// of a few keeps to its schedule to the second.
	burstFrom = 64
	// burstMemory is how long a burst is remembered at most.
	burstMemory = time.Minute
	// burstShare is which part of the interval is left out at its beginning,
	// so that no token is replaced right after it was issued.
	burstShare = 60
)

// count counts one more account that got a token, of so many that are refreshed
// each so often, and reports whether it came in a burst.
func (s *smoother) count(account string, now time.Time, accounts int, every time.Duration) bool {
	usual := float64(accounts) / every.Seconds() * 5 / 4 // a second
	s.mu.Lock()
	defer s.mu.Unlock()
	s.level -= usual * max(now.Sub(s.at).Seconds(), 0)
	s.at = now
	if s.level <= 0 {
		s.level, s.counted = 0, nil
	}
	if _, counted := s.counted[account]; !counted {
		if s.counted == nil {
			s.counted = make(map[string]struct{})
		}
		s.counted[account] = struct{}{}
		s.level = min(s.level+1, burstFrom+1+usual*burstMemory.Seconds())
	}
	return s.level > burstFrom
}

// scatter returns when an account of a burst asks again, instead of after every:
// any time up to then is as likely as another.
func scatter(every time.Duration) time.Duration {
	least := every / burstShare
	return least + randUpTo(every-least)
}
