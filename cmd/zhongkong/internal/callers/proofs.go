package callers

import (
	"encoding/binary"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
)

const (
	proofSets = 1 << 12 // a power of two
	proofWays = 4       // proofs in each set: 128 KB for 16,384 of them
)

// proofs remembers which credentials were proved at which place. It is a cache
// of bounded size: what it forgets has to be proved again.
type proofs struct {
	sets [proofSets][proofWays]atomic.Uint64
}

// has reports whether the credentials with this key were proved.
func (p *proofs) has(key uint64) bool {
	set := &p.sets[key%proofSets]
	for i := range set {
		if set[i].Load() == key {
			return true
		}
	}
	return false
}

// add remembers them, in the place of any others when there is no room.
func (p *proofs) add(key uint64) {
	if p.has(key) {
		return
	}
	set := &p.sets[key%proofSets]
	for i := range set {
		if set[i].CompareAndSwap(0, key) {
			return
		}
	}
	set[rand.IntN(proofWays)].Store(key)
}

// keyAt stands for credentials at a place. Nobody outside can choose it: mac
// has a key of its own.
func (g *Gate) keyAt(at netip.Addr, m mac) uint64 {
	b := at.As16()
	return binary.BigEndian.Uint64(m[:]) ^ maphash.Bytes(g.seed, b[:])
}
