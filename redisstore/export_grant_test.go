package redisstore

import "time"

// SettleFor sets how long the store waits for newer records of grants after its server
// has changed. It is called before the store is used.
func (s *Store) SettleFor(d time.Duration) {
	settling := newGrantScripts(d)
	s.grants = func() grantScripts { return settling }
}

// LoadByScript has Load use the script.
func (s *Store) LoadByScript() { s.scripted.Store(true) }
