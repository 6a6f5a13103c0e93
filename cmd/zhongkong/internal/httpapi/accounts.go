package httpapi

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

type accountState struct {
	cache   responseCache
	poll    longPoll
	checker checker
}

// accountStates has the states of all accounts, each made at its first use.
type accountStates struct {
	zk      *coordinator.Coordinator
	overlap func(account string) time.Duration // see Directory.Overlap
	reads   *readCounts
	all     sync.Map // :: *coordinator.Account → *accountState
	made    atomic.Int64
}

// of returns the state of an account. An account that was removed and added
// again is another one.
func (s *accountStates) of(a *coordinator.Account) *accountState {
	if found, ok := s.all.Load(a); ok {
		return found.(*accountState)
	}
	made := &accountState{cache: responseCache{account: a, overlap: s.overlap, reads: accountReads{all: s.reads}}}
	made.poll.cache = &made.cache
	found, loaded := s.all.LoadOrStore(a, made)
	if !loaded {
		if n := s.made.Add(1); n%1024 == 0 {
			s.sweep()
		}
	}
	return found.(*accountState)
}

// readers calls f with the count of each caller who was given an account's token.
func (s *accountStates) readers(a *coordinator.Account, f func(caller string, c *readCount)) {
	if found, ok := s.all.Load(a); ok {
		found.(*accountState).cache.reads.each(f)
	}
}

func (s *accountStates) sweep() {
	configured := make(map[*coordinator.Account]bool)
	for _, a := range s.zk.Accounts() {
		configured[a] = true
	}
	s.all.Range(func(a, state any) bool {
		if !configured[a.(*coordinator.Account)] {
			s.all.Delete(a)
			state.(*accountState).cache.reads.forget()
		}
		return true
	})
}
