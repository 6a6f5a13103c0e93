package auth

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestStrikesStayFew(t *testing.T) {
	s := newThrottle()
	for i := range 3 * maxSources {
		s.fail(addr(i))
	}
	if len(s.sources) > maxSources {
		t.Errorf("%d places are kept, want at most %d", len(s.sources), maxSources)
	}
}

func TestForgottenPlacesMakeRoomFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newThrottle()
		for i := range maxSources - 1 {
			s.fail(addr(i))
		}
		time.Sleep(forgetAfter + time.Second)
		for range freeFailures + 1 {
			s.fail(here)
		}
		s.fail(there)
		if !s.throttled(here) || len(s.sources) != 2 {
			t.Errorf("%d places are kept, guarded: %v", len(s.sources), s.throttled(here))
		}
	})
}

func TestWhatWasSeenStaysSmallAndOldOnesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s firstSeen
		began := time.Now()
		s.at(1, here, began)
		for i := range uint64(10 * maxSeen) {
			if i%(maxSeen/2) == 0 {
				if got := s.at(1, here, time.Now()); !got.first.Equal(began) {
					t.Fatalf("one that comes again and again was forgotten after %d others", i)
				}
			}
			s.at(100+i, addr(int(i)), time.Now())
		}
		if got := max(len(s.newer.attempts)+len(s.older.attempts), len(s.newer.unproved)+len(s.older.unproved)); got > 2*maxSeen {
			t.Errorf("%d are kept, want at most %d", got, 2*maxSeen)
		}
		time.Sleep(2*halfLife + time.Second)
		s.at(2, here, time.Now())
		time.Sleep(2*halfLife + time.Second)
		if got := s.at(1, here, time.Now()); got.first.Equal(began) {
			t.Error("one that came an hour ago is remembered")
		}
	})
}

func TestProofsAreRememberedAndBounded(t *testing.T) {
	var p verifiedCache
	const n = 2000
	for i := range uint64(n) {
		p.add(i*0x9e3779b97f4a7c15 + 1)
		p.add(i*0x9e3779b97f4a7c15 + 1) // once is enough
	}
	kept := 0
	for i := range uint64(n) {
		if p.has(i*0x9e3779b97f4a7c15 + 1) {
			kept++
		}
	}
	if kept < n*99/100 || p.has(12345) {
		t.Errorf("%d of %d are remembered", kept, n)
	}
	for range cacheWays + 1 { // one set
		p.add(cacheSets)
	}
	for i := range uint64(cacheWays + 1) {
		p.add((i + 1) * cacheSets)
	}
	if !p.has((cacheWays + 1) * cacheSets) {
		t.Error("the newest found no room")
	}
}
