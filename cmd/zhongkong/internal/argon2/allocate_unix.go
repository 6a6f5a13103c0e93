//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package argon2

import (
	"syscall"
	"unsafe"
)

// allocate returns n blocks outside of Go's heap. There, they would double the garbage
// that the collector lets gather, and would not go back at once when they are released.
func allocate(n int) (blocks []block, release func()) {
	memory, err := syscall.Mmap(-1, 0, n*blockSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil { // such as a limit of the address space
		return make([]block, n), func() {}
	}
	blocks = unsafe.Slice((*block)(unsafe.Pointer(unsafe.SliceData(memory))), n) //nolint:gosec // a mapping is aligned, and has n blocks
	return blocks, func() { _ = syscall.Munmap(memory) }                         // fails only for what is no mapping
}
