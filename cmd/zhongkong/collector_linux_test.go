package main

import (
	"os"
	"runtime"
	"syscall"
	"testing"
	"unsafe"
)

// residentPages returns how many pages of b are resident.
func residentPages(t *testing.T, b []byte) (n int) {
	t.Helper()
	pages := make([]byte, len(b)/os.Getpagesize())
	if _, _, errno := syscall.Syscall(syscall.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(unsafe.Pointer(&pages[0]))); errno != 0 {
		t.Fatal(errno)
	}
	for _, page := range pages {
		n += int(page & 1)
	}
	return n
}

// TestTheHeapFloorIsNotResident has memory at the end of the heap that was in use before,
// where the runtime puts what is allocated next. Of the floor only what lies in such
// memory may be resident.
func TestTheHeapFloorIsNotResident(t *testing.T) {
	func() {
		before := make([]byte, 8<<20)
		for i := range before {
			before[i] = 1
		}
		runtime.KeepAlive(before)
	}()
	runtime.GC()
	var free runtime.MemStats
	runtime.ReadMemStats(&free)
	resident := 0
	floor := newHeapFloor()
	for _, piece := range floor {
		resident += residentPages(t, piece) * os.Getpagesize()
	}
	runtime.KeepAlive(floor)
	if most := int(free.HeapIdle) + 8<<20; resident > most {
		t.Errorf("%d of %d bytes are resident, %d at most were in use before", resident, heapFloor, most)
	}
}
