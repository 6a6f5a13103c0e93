package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// awaitHeapGoal runs the garbage collector until it is going to run again at a size of the
// heap between least and most.
func awaitHeapGoal(t *testing.T, least, most uint64) {
	t.Helper()
	var m runtime.MemStats
	for began := time.Now(); time.Since(began) < 10*time.Second; {
		runtime.GC()
		if runtime.ReadMemStats(&m); least <= m.NextGC && m.NextGC <= most {
			return
		}
	}
	t.Errorf("the collector runs at a heap of %d bytes, want %d to %d", m.NextGC, least, most)
}

func TestTheCollectorRunsAtASmallHeapOnlyWhenItIsFull(t *testing.T) {
	defer startCollector().end()
	awaitHeapGoal(t, smallHeap*3/4, smallHeap*5/4)
}

func TestLittleGarbageLiesInALargeHeap(t *testing.T) {
	defer startCollector().end()
	const size = 100 << 20
	alive := make([]byte, size)
	awaitHeapGoal(t, size+leastGarbage, size+leastGarbage+size/5)
	runtime.KeepAlive(alive)
}

func TestTheCollectorIsLeftAsItWasBefore(t *testing.T) {
	const before = 77
	defer debug.SetGCPercent(debug.SetGCPercent(before))
	startCollector().end()
	for range 3 {
		runtime.GC()
	}
	if after := debug.SetGCPercent(before); after != before {
		t.Errorf("GOGC is %d, was %d", after, before)
	}
}
