package auth

import (
	"encoding/binary"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
)

const (
	cacheSets = 1 << 12 // a power of two
	cacheWays = 4       // entries in each set: 128 KB for 16,384 of them
)

// verifiedCache remembers which credentials were verified from which source. It
// is a set-associative cache of bounded size: credentials that it evicts are
// verified again.
type verifiedCache struct {
	seed maphash.Seed
	sets [cacheSets][cacheWays]atomic.Uint64
}

func newVerifiedCache() *verifiedCache { return &verifiedCache{seed: maphash.MakeSeed()} }

// key identifies credentials at a source. It cannot be chosen from outside,
// because m was made with a secret key.
func (c *verifiedCache) key(source netip.Addr, m mac) uint64 {
	b := source.As16()
	return binary.BigEndian.Uint64(m[:]) ^ maphash.Bytes(c.seed, b[:])
}

func (c *verifiedCache) has(key uint64) bool {
	set := &c.sets[key%cacheSets]
	for i := range set {
		if set[i].Load() == key {
			return true
		}
	}
	return false
}

// add remembers a key; if its set is full, it replaces a random one there.
func (c *verifiedCache) add(key uint64) {
	if c.has(key) {
		return
	}
	set := &c.sets[key%cacheSets]
	for i := range set {
		if set[i].CompareAndSwap(0, key) {
			return
		}
	}
	set[rand.IntN(cacheWays)].Store(key)
}
