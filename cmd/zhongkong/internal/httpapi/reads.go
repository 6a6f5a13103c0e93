package httpapi

import (
	"maps"
	"sync"
	"sync/atomic"
)

// maxReaders bounds the pairs of caller and account that are counted by themselves.
const maxReaders = 10_000

// otherReader is the caller of what all further pairs have read, with no account: a caller
// of that name has one.
const otherReader = "other"

// readCount counts the times that a caller was given an account's token.
type readCount struct {
	n    atomic.Uint64
	last atomic.Int64 // Unix time, in seconds; 0: never
}

func (c *readCount) add(at int64) {
	c.n.Add(1)
	if c.last.Load() != at { // so that requests of one second share the cache line for reading
		c.last.Store(at)
	}
}

// readCounts counts which caller is given which account's token, exactly. Only callers
// that were authenticated are counted, so a stranger makes none.
type readCounts struct {
	pairs atomic.Int64
	other readCount
}

// accountReads are the counts of one account.
type accountReads struct {
	all *readCounts

	mu sync.Mutex                            // for those who add a caller
	by atomic.Pointer[map[string]*readCount] // by the caller's name; never modified
}

// count counts a token that is given to a caller at a Unix time.
func (a *accountReads) count(caller string, at int64) {
	if by := a.by.Load(); by != nil {
		if c := (*by)[caller]; c != nil {
			c.add(at)
			return
		}
	}
	a.first(caller).add(at)
}

// first returns the count of a caller that had none.
func (a *accountReads) first(caller string) *readCount {
	a.mu.Lock()
	defer a.mu.Unlock()
	var next map[string]*readCount
	if by := a.by.Load(); by != nil {
		if c := (*by)[caller]; c != nil {
			return c
		}
		next = maps.Clone(*by)
	} else {
		next = make(map[string]*readCount, 1)
	}
	if a.all.pairs.Add(1) > maxReaders {
		a.all.pairs.Add(-1)
		return &a.all.other
	}
	c := new(readCount)
	next[caller] = c
	a.by.Store(&next)
	return c
}

// forget gives the account's share of maxReaders back.
func (a *accountReads) forget() {
	if by := a.by.Load(); by != nil {
		a.all.pairs.Add(-int64(len(*by)))
	}
}

// each calls f with the count of each caller.
func (a *accountReads) each(f func(caller string, c *readCount)) {
	if by := a.by.Load(); by != nil {
		for caller, c := range *by {
			f(caller, c)
		}
	}
}

// Reads calls f with how often each caller was given the token of each configured account.
// With more than 10,000 such pairs, the rest is counted for the caller "other" and no
// account.
func (a *app) Reads(f func(caller, account string, n uint64)) {
	for _, account := range a.zk.Accounts() {
		a.accounts.readers(account, func(caller string, c *readCount) { f(caller, account.Name(), c.n.Load()) })
	}
	if n := a.readCounts.other.n.Load(); n > 0 {
		f(otherReader, "", n)
	}
}
