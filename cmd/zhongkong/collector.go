package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// How large serve's heap grows before the garbage collector runs. By Go's default it runs
// when the heap has doubled. A daemon keeps so little alive (5 MB) that this was a hundred
// times a second under load, and took a tenth of each request's CPU.
const (
	smallHeap    = 24 << 20 // with the stacks; the collector does not run below
	leastGarbage = 6 << 20  // of a larger heap; a tenth of what is alive comes on top
)

// collector sets the runtime's GOGC after each cycle, because the runtime has no setting
// of a heap's least size.
type collector struct {
	mu      sync.Mutex
	before  int // GOGC
	percent int // GOGC
	ended   bool
}

// setCollector has the garbage collector keep to the sizes above until the function that
// it returns is called, or does nothing if the environment has GOGC.
func (d *daemon) setCollector() (restore func()) {
	if d.env("GOGC") != "" {
		return func() {}
	}
	return startCollector().end
}

func startCollector() *collector {
	c := &collector{}
	c.percent = garbagePercent()
	c.before = debug.SetGCPercent(c.percent)
	c.awaitCycle()
	return c
}

// end leaves the collector as it was before.
func (c *collector) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	debug.SetGCPercent(c.before)
}

// awaitCycle has afterCycle called when the next cycle has found what is alive.
func (c *collector) awaitCycle() {
	type garbage struct{ _ *garbage } // a pointer, because the runtime may put several values without one together
	runtime.AddCleanup(new(garbage), (*collector).afterCycle, c)
}

func (c *collector) afterCycle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	// Setting it stops the world, so small changes are left out.
	if percent := garbagePercent(); percent > c.percent+c.percent/8 || percent < c.percent-c.percent/8 {
		c.percent = percent
		debug.SetGCPercent(percent)
	}
	c.awaitCycle()
}

// garbagePercent returns the GOGC for what the last cycle has found alive. It is relative
// to all that the collector scans, and the runtime's least size of a heap grows with it:
// 4 MB by 100 %.
func garbagePercent() int {
	read := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(read)
	alive := int(read[0].Value.Uint64())
	scanned := alive + int(read[1].Value.Uint64()) + int(read[2].Value.Uint64())
	return min(max(smallHeap-scanned, leastGarbage+alive/10)*100/max(scanned, 1), smallHeap*100/(4<<20))
}
