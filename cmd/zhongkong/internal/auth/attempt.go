package auth

import (
	"net/netip"
	"sync"
)

type attempt struct {
	source         netip.Addr
	name, password string
	mac            mac
	key            uint64 // see verifiedCache.key
}

func (t attempt) inflightKey() inflightKey { return inflightKey{t.source, t.mac} }

// inflight are the attempts that are being verified.
type inflight struct {
	mu    sync.Mutex // guards calls
	calls map[inflightKey]*call
}

type inflightKey struct {
	source netip.Addr
	mac    mac
}

// call is the verification of one attempt. done is closed when caller and err
// are set.
type call struct {
	done   chan struct{}
	caller Caller
	err    error
}

// start returns the call with this key. leader: there was none, and it is up to
// the goroutine that called start to verify the attempt and to finish the call.
func (f *inflight) start(key inflightKey) (c *call, leader bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.calls[key]; c != nil {
		return c, false
	}
	if f.calls == nil {
		f.calls = make(map[inflightKey]*call)
	}
	c = &call{done: make(chan struct{})}
	f.calls[key] = c
	return c, true
}

// finish hands the outcome of a call to all who wait for it.
func (f *inflight) finish(key inflightKey, c *call) {
	f.mu.Lock()
	delete(f.calls, key)
	f.mu.Unlock()
	close(c.done)
}

// maxRejected bounds the memory of rejected attempts: 4096 MACs take 200 KB.
const maxRejected = 4096

// rejected remembers the credentials that were wrong, so that repeating them
// counts and costs once.
type rejected struct {
	mu   sync.Mutex // guards macs
	macs map[mac]struct{}
}

func (r *rejected) has(m mac) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.macs[m]
	return ok
}

// add forgets everything else when it is full, which costs a few hashes.
func (r *rejected) add(m mac) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.macs == nil || len(r.macs) >= maxRejected {
		r.macs = make(map[mac]struct{})
	}
	r.macs[m] = struct{}{}
}
