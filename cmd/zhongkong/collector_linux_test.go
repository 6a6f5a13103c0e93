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
// where the runtime puts what is allocated next.
func TestTheHeapFloorIsNotResident(t *testing.T) {
	const used = 8 << 20
	func() {
		before := make([]byte, used)
		for i := range before {
			before[i] = 1
		}
		runtime.KeepAlive(before)
	}()
	runtime.GC()
	resident := 0
	floor := newHeapFloor()
	for _, piece := range floor {
		resident += residentPages(t, piece) * os.Getpagesize()
	}
	runtime.KeepAlive(floor)
	if resident > used+used/2 {
		t.Errorf("%d of %d bytes are resident", resident, heapFloor)
	}
}
