package callers

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestStrikesStayFew(t *testing.T) {
	s := newStrikes()
	for i := range 3 * maxPlaces {
		s.add(addr(i))
	}
	if len(s.places) > maxPlaces {
		t.Errorf("%d places are kept, want at most %d", len(s.places), maxPlaces)
	}
}

func TestForgottenPlacesMakeRoomFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrikes()
		for i := range maxPlaces - 1 {
			s.add(addr(i))
		}
		time.Sleep(forgetAfter + time.Second)
		for range freeStrikes + 1 {
			s.add(here)
		}
		s.add(there)
		if !s.guarded(here) || len(s.places) != 2 {
			t.Errorf("%d places are kept, guarded: %v", len(s.places), s.guarded(here))
		}
	})
}

func TestWhatWasSeenStaysSmallAndOldOnesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s seen
		began := time.Now()
		s.first(1, began)
		for i := range uint64(10 * maxSeen) {
			if i%(maxSeen/2) == 0 {
				if got := s.first(1, time.Now()); !got.Equal(began) {
					t.Fatalf("one that comes again and again was forgotten after %d others", i)
				}
			}
			s.first(100+i, time.Now())
		}
		if got := len(s.newer) + len(s.older); got > 2*maxSeen {
			t.Errorf("%d are kept, want at most %d", got, 2*maxSeen)
		}
		time.Sleep(2*seenHalf + time.Second)
		s.first(2, time.Now())
		time.Sleep(2*seenHalf + time.Second)
		if got := s.first(1, time.Now()); got.Equal(began) {
			t.Error("one that came an hour ago is remembered")
		}
	})
}

func TestProofsAreRememberedAndBounded(t *testing.T) {
	var p proofs
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
	for range proofWays + 1 { // one set
		p.add(proofSets)
	}
	for i := range uint64(proofWays + 1) {
		p.add((i + 1) * proofSets)
	}
	if !p.has((proofWays + 1) * proofSets) {
		t.Error("the newest found no room")
	}
}
