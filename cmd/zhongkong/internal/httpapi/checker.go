package httpapi

import (
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator"
)

// An SDK reports a rejected token in one way: it drops the token and asks for
// another, because WeChat issues a new one to each request. So the drop-in takes a
// request for a generation that the caller has already, and was told to keep, as a
// report. A report proves nothing, because several processes with one name look
// the same, and so does a client that keeps no token. The issuer is therefore
// asked about the token, and only its answer leads to a refresh.

const (
	// checkInterval is the least time between the beginnings of two checks of
	// one account in this process.
	checkInterval = 10 * time.Second
	// checkTimeout bounds the call to the issuer. It is below checkInterval, so
	// that an issuer out of reach does not delay every request.
	checkTimeout = 5 * time.Second
	// checkMinAge is the least age of a token that is checked: a new one may
	// not be known everywhere at the issuer yet.
	checkMinAge = 5 * time.Second
)

// checker decides when the token of one account is checked.
type checker struct {
	mu      sync.Mutex // guards what follows
	told    map[string]told
	sweepAt int    // size of told at which revoked callers are removed from it
	running *check // nil: none
	next    time.Time
}

// told is what a caller was answered last.
type told struct {
	generation coordinator.Fence
	at         time.Time
	life       time.Duration // expires_in of the answer
	revoked    <-chan struct{}
}

// check is one check of one generation; done is closed at its end.
type check struct {
	generation coordinator.Fence
	done       chan struct{}
}

// answered records the generation that a caller was answered with, and for how
// long it was told to keep it.
func (c *checker) answered(caller auth.Caller, generation coordinator.Fence, life time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.told[caller.Name()]; !known && len(c.told) >= c.sweepAt {
		c.sweepLocked()
	}
	c.told[caller.Name()] = told{generation, time.Now(), life, caller.Revoked()}
}

// sweepLocked removes callers that were removed or changed. It runs when the
// map has doubled, so each entry costs it a constant time.
func (c *checker) sweepLocked() {
	if c.told == nil {
		c.told = make(map[string]told)
	}
	for name, t := range c.told {
		select {
		case <-t.revoked:
			delete(c.told, name)
		default:
		}
	}
	c.sweepAt = 2*len(c.told) + 16
}

// decision is what a request for a token leads to.
type decision int

const (
	noReport decision = iota
	limited           // a report, but the last check began less than checkInterval ago
	beginCheck
	awaitCheck // another request has begun it
)

// decide returns what a caller's request leads to when s is current, and the
// check to wait for, if any.
func (c *checker) decide(caller string, s coordinator.Snapshot) (decision, *check) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running != nil && c.running.generation == s.Generation {
		return awaitCheck, c.running
	}
	now := time.Now()
	t, asked := c.told[caller]
	switch {
	case !asked || t.generation != s.Generation || s.Stale || s.Age() < checkMinAge:
		return noReport, nil
	case now.Sub(t.at) >= t.life-t.life/10: // SDKs ask a little before the end
		return noReport, nil
	case c.running != nil || now.Before(c.next):
		return limited, nil
	}
	c.running, c.next = &check{s.Generation, make(chan struct{})}, now.Add(checkInterval)
	return beginCheck, c.running
}

func (c *checker) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.running.done)
	c.running = nil
}
