package main

import (
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/redisstore"
)

// Only the second reading of an account is answered with the first.
func TestOneReadingServesTwice(t *testing.T) {
	b := newBench(t)
	prefix := b.env["ZHONGKONG_PREFIX"]
	store, err := redisstore.Open(sharedRedis.URL(), redisstore.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	fence := 0
	next := func(s *oneReading, account string) uint64 {
		t.Helper()
		fence++
		sharedRedis.MustDo(t, "hset", prefix+":{"+account+"}:state", "fence", fence)
		states, err := s.Load(t.Context(), account)
		if err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		if s.account != "" {
			s.at = s.at.Add(time.Hour) // however busy the machine is
		}
		s.mu.Unlock()
		return uint64(states[0].Fence)
	}
	for name, test := range map[string]struct {
		accounts string
		same     []bool // as the one before
	}{
		"one account":     {"aaaa", []bool{false, true, false, false}},
		"another between": {"abab", []bool{false, false, false, false}},
	} {
		s := &oneReading{Store: store}
		was := uint64(0)
		for i, account := range test.accounts {
			got := next(s, string(account))
			if same := got != uint64(fence); same != test.same[i] || same && got != was {
				t.Errorf("%s: reading %d has fence %d; the store has %d", name, i+1, got, fence)
			}
			was = got
		}
	}
	s := &oneReading{Store: store}
	next(s, "a")
	s.at = s.at.Add(-2 * time.Hour)
	if got := next(s, "a"); got != uint64(fence) {
		t.Errorf("an old reading was used: fence %d, the store has %d", got, fence)
	}
}
