package main

import (
	"runtime"
	"runtime/debug"
)

const (
	// heapFloor is how much memory serve allocates and never touches, so that it never
	// becomes resident. It counts as part of the heap. A daemon keeps so little alive
	// (5 MB) that otherwise the garbage collector ran a hundred times a second under
	// load, which took a tenth of each request's CPU.
	heapFloor = 64 << 20

	// floorPiece is the size of the allocations that heapFloor consists of. The runtime
	// clears all of an allocation, which makes it resident, if a single page of it was in
	// use before.
	floorPiece = 128 << 10

	// garbagePercent of the heap, its floor included, may be garbage before the collector
	// runs: 6 MB, 8 MB with a thousand connections, and 25 MB with ten thousand waiting
	// requests. Go's default is 100 %.
	garbagePercent = 9
)

func newHeapFloor() [][]byte {
	floor := make([][]byte, heapFloor/floorPiece)
	for i := range floor {
		floor[i] = make([]byte, floorPiece)
	}
	return floor
}

// setCollector sets how the garbage collector works, unless GOGC does, until the
// function that it returns is called.
func (d *daemon) setCollector() (restore func()) {
	floor := newHeapFloor()
	before := 0
	own := d.env("GOGC") == ""
	if own {
		before = debug.SetGCPercent(garbagePercent)
	}
	return func() {
		if own {
			debug.SetGCPercent(before)
		}
		runtime.KeepAlive(floor)
	}
}
