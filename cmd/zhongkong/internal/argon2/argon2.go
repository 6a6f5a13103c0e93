// Package argon2 computes argon2id (RFC 9106, version 0x13) in memory that is kept
// from one hash to the next, and gives way to other goroutines and threads meanwhile.
// golang.org/x/crypto/argon2 allocates the memory anew for each hash, so that logins
// make the garbage collector work and let the process grow.
package argon2

import (
	"encoding/binary"
	"runtime"
	"sync"
	"time"

	"golang.org/x/crypto/blake2b"
)

// Version is the version of argon2 that is computed.
const Version = 0x13

const (
	blockSize  = 1024 // bytes
	syncPoints = 4    // slices of a pass
	typeID     = 2    // argon2id

	// yieldAfter is how many blocks, of a microsecond or less each, are computed before
	// others are let through.
	yieldAfter = 64

	// keepFor is how long the memory is kept after a hash.
	keepFor = 10 * time.Second
)

// yieldThreadFor is how long a hash lets other threads through; a test changes it. Each time
// costs it a millisecond or more if another thread computes on the same processor, and there
// are two thousand times in a hash: on a busy machine, it would take many seconds.
var yieldThreadFor = 500 * time.Millisecond

type block [blockSize / 8]uint64

// Params are the cost of a hash.
type Params struct {
	KiB    uint32 // memory; 8 a lane at least
	Passes uint32 // over the memory, at least 1
	Lanes  uint8  // at least 1; they are computed one after the other
}

// Memory is the memory in which hashes are computed, one at a time. Between hashes it
// is kept for a while, and then returned to the operating system. It is as large as the
// largest of the hashes needed. The zero Memory is ready for use, and safe for
// concurrent use.
type Memory struct {
	mu      sync.Mutex // guards what follows
	blocks  []block
	release func() // returns blocks to the operating system
	idle    *time.Timer
}

// IDKey returns the argon2id hash of a password, of the given size in bytes. It blocks
// while another hash is computed.
func (m *Memory) IDKey(password, salt []byte, p Params, size uint32) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	lanes := uint32(p.Lanes)
	length := p.KiB / (syncPoints * lanes) * syncPoints // of a lane
	h := hasher{blocks: m.take(int(lanes * length)), passes: p.Passes, lanes: lanes, length: length, segment: length / syncPoints, began: time.Now()}
	h.fill(initialHash(password, salt, p, size))
	for pass := range h.passes {
		for slice := range uint32(syncPoints) {
			for lane := range lanes {
				h.computeSegment(pass, slice, lane)
			}
		}
	}
	m.keep()
	return h.sum(size)
}

// Release returns the memory to the operating system. The next hash takes it again.
func (m *Memory) Release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.releaseLocked()
}

func (m *Memory) releaseLocked() {
	if m.blocks == nil {
		return
	}
	m.release()
	m.blocks, m.release = nil, nil
}

// take returns n blocks of any content: each is written before it is read.
func (m *Memory) take(n int) []block {
	if len(m.blocks) < n {
		m.releaseLocked()
		m.blocks, m.release = allocate(n)
	}
	return m.blocks[:n]
}

func (m *Memory) keep() {
	if m.idle == nil {
		m.idle = time.AfterFunc(keepFor, m.Release)
		return
	}
	m.idle.Reset(keepFor)
}

// hasher computes one hash. The blocks are those of the first lane, then of the second ...
type hasher struct {
	blocks          []block
	passes, lanes   uint32
	length, segment uint32 // blocks in a lane, and in a segment of one
	began           time.Time
}

// initialHash is H0 of RFC 9106, section 3.2.
func initialHash(password, salt []byte, p Params, size uint32) []byte {
	h, _ := blake2b.New512(nil) // fails for keys only
	number := func(n uint32) { _, _ = h.Write(binary.LittleEndian.AppendUint32(nil, n)) }
	for _, n := range []uint32{uint32(p.Lanes), size, p.KiB, p.Passes, Version, typeID} {
		number(n)
	}
	for _, text := range [][]byte{password, salt, nil, nil} { // the last are a key and associated data
		number(uint32(len(text)))
		_, _ = h.Write(text)
	}
	return h.Sum(nil)
}

// fill computes the first two blocks of each lane.
func (h *hasher) fill(h0 []byte) {
	var bytes [blockSize]byte
	for lane := range h.lanes {
		for i := range uint32(2) {
			in := binary.LittleEndian.AppendUint32(h0[:len(h0):len(h0)], i)
			longHash(bytes[:], binary.LittleEndian.AppendUint32(in, lane))
			b := &h.blocks[lane*h.length+i]
			for j := range b {
				b[j] = binary.LittleEndian.Uint64(bytes[8*j:])
			}
		}
	}
}

// computeSegment computes a lane's blocks of a slice. In the first half of the first
// pass, which blocks are read does not depend on the password.
func (h *hasher) computeSegment(pass, slice, lane uint32) {
	independent := pass == 0 && slice < syncPoints/2
	var in, addresses, zero block
	in = block{uint64(pass), uint64(lane), uint64(slice), uint64(len(h.blocks)), uint64(h.passes), typeID}
	nextAddresses := func() {
		in[6]++
		compress(&addresses, &in, &zero, false)
		compress(&addresses, &addresses, &zero, false)
	}
	first := uint32(0)
	if pass == 0 && slice == 0 {
		first = 2 // see fill
		nextAddresses()
	}
	for i := first; i < h.segment; i++ {
		at := lane*h.length + slice*h.segment + i
		before := at - 1
		if slice == 0 && i == 0 {
			before += h.length // the lane's last block
		}
		random := h.blocks[before][0]
		if independent {
			if i%uint32(len(addresses)) == 0 {
				nextAddresses()
			}
			random = addresses[i%uint32(len(addresses))]
		}
		compress(&h.blocks[at], &h.blocks[before], &h.blocks[h.reference(random, pass, slice, lane, i)], pass > 0)
		if i%yieldAfter == yieldAfter-1 {
			h.yield()
		}
	}
}

// yield lets other goroutines through, and other threads that wait for the processor:
// those of this process, of which the runtime knows nothing while they wait, and those of
// other processes.
func (h *hasher) yield() {
	runtime.Gosched()
	if time.Since(h.began) < yieldThreadFor {
		yieldThread()
	}
}

// reference returns the index of the block that is mixed in (RFC 9106, section 3.4.2):
// one of those that are complete, which are the area. The newer it is, the likelier.
func (h *hasher) reference(random uint64, pass, slice, lane, i uint32) uint32 {
	from := uint32(random>>32) % h.lanes
	if pass == 0 && slice == 0 {
		from = lane
	}
	area, start := (syncPoints-1)*h.segment, (slice+1)%syncPoints*h.segment
	if pass == 0 {
		area, start = slice*h.segment, 0
	}
	if from == lane {
		area += i - 1
	} else if i == 0 {
		area--
	}
	x := random & 0xffffffff
	x = x * x >> 32
	x = uint64(area) * x >> 32
	return from*h.length + uint32((uint64(start)+uint64(area)-1-x)%uint64(h.length))
}

// sum returns the hash of the XOR of the lanes' last blocks.
func (h *hasher) sum(size uint32) []byte {
	var last block
	for lane := range h.lanes {
		for i, v := range h.blocks[(lane+1)*h.length-1] {
			last[i] ^= v
		}
	}
	bytes := make([]byte, 0, blockSize)
	for _, v := range last {
		bytes = binary.LittleEndian.AppendUint64(bytes, v)
	}
	out := make([]byte, size)
	longHash(out, bytes)
	return out
}

// longHash is H' of RFC 9106, section 3.3: BLAKE2b of any length.
func longHash(out, in []byte) {
	in = append(binary.LittleEndian.AppendUint32(nil, uint32(len(out))), in...)
	for len(out) > blake2b.Size {
		v := blake2b.Sum512(in)
		n := copy(out, v[:blake2b.Size/2])
		out, in = out[n:], v[:]
	}
	h, _ := blake2b.New(len(out), nil) // fails for sizes above 64 only
	_, _ = h.Write(in)
	h.Sum(out[:0])
}
