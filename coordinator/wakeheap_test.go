package coordinator

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestTheEarliestWakesFirst(t *testing.T) {
	var h wakeHeap
	wake := make(map[*Account]instant)
	var all []*Account
	for range 200 {
		all = append(all, &Account{index: -1})
	}
	for range 5000 {
		a := all[rand.IntN(len(all))]
		if rand.IntN(4) > 0 {
			wake[a] = instant(rand.IntN(1000))
			h.set(a, wake[a])
		} else {
			delete(wake, a)
			h.remove(a)
		}
	}
	if len(h) != len(wake) {
		t.Fatalf("%d are there, want %d", len(h), len(wake))
	}
	var got []instant
	for len(h) > 0 {
		w := h[0]
		if w.at != wake[w.a] || w.a.index != 0 {
			t.Fatalf("the first, at %d, wakes at %d, want %d", w.a.index, w.at, wake[w.a])
		}
		got = append(got, w.at)
		if h.remove(w.a); w.a.index >= 0 {
			t.Fatal("it was removed, and is there")
		}
	}
	if !slices.IsSorted(got) {
		t.Errorf("woken at %v", got)
	}
}
