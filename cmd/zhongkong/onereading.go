package main

import (
	"context"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
)

// oneReading is the store of a command that waits for one token. Such a command reads the
// account to see whether there is one, and its coordinator, which follows nothing, reads
// it again before it does what is due. That second reading is answered with the first:
// begin compares what was seen with what is stored, so nothing depends on the moment
// between them.
type oneReading struct {
	*redisstore.Store

	mu      sync.Mutex
	account string // guarded by mu; "": nothing was read, or it was used
	states  []coordinator.State
	at      time.Time
	ended   bool // guarded by mu: every further reading is one
}

// sameReading is how long a reading holds for the second one.
const sameReading = 100 * time.Millisecond

// Load implements [coordinator.Store].
func (s *oneReading) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	if len(accounts) != 1 {
		return s.Store.Load(ctx, accounts...)
	}
	if states := s.first(accounts[0]); states != nil {
		return states, nil
	}
	states, err := s.Store.Load(ctx, accounts...)
	if err == nil {
		s.keep(accounts[0], states)
	}
	return states, err
}

// first returns the first reading if this is the second.
func (s *oneReading) first(account string) (states []coordinator.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.account == account && time.Since(s.at) < sameReading {
		states = s.states
	}
	s.ended = s.ended || s.account != ""
	s.account, s.states = "", nil
	return states
}

func (s *oneReading) keep(account string, states []coordinator.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.account, s.states, s.at = account, states, time.Now()
	}
}
