// Package events hands what the store notifies on to those who watch: streams
// of server-sent events and the status page.
package events

import (
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

const (
	// kept is how many of the last events a Hub remembers.
	kept = 512
	// queue is how many events a listener may be behind.
	queue = 64
)

// Hub takes in a coordinator's observations and hands the events among them to
// everybody who listens. It never waits for a listener: one that is too slow
// is cut off.
type Hub struct {
	mu        sync.Mutex // guards what follows
	listeners map[*Listener]struct{}
	ring      []*Entry // the last ones, ring[next] is the oldest when full
	next      int
}

// New returns a Hub that nobody listens to.
func New() *Hub { return &Hub{listeners: make(map[*Listener]struct{})} }

// Observe takes in an observation. It is made to be part of a coordinator's
// Config.Observe: it returns at once.
func (h *Hub) Observe(o coordinator.Observation) {
	e := newEntry(o, time.Now())
	if e == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ring) < kept {
		h.ring = append(h.ring, e)
	} else {
		h.ring[h.next] = e
		h.next = (h.next + 1) % kept
	}
	for l := range h.listeners {
		l.offerLocked(e)
	}
}

// Recent returns the last n events that wanted accepts, the newest first.
func (h *Hub) Recent(n int, wanted func(*Entry) bool) []*Entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []*Entry
	for i := len(h.ring) - 1; i >= 0 && len(found) < n; i-- {
		if e := h.ring[(h.next+i)%len(h.ring)]; wanted(e) {
			found = append(found, e)
		}
	}
	return found
}

// Listener gets the events that it wants, from the moment it was made.
type Listener struct {
	// C delivers the events. It is closed when the listener was too slow or
	// Close was called.
	C <-chan *Entry

	hub    *Hub
	c      chan *Entry
	wanted func(*Entry) bool
	closed bool // guarded by hub.mu
}

// Listen returns a Listener to the events that wanted accepts. Whoever listens
// calls Close in the end.
func (h *Hub) Listen(wanted func(*Entry) bool) *Listener {
	c := make(chan *Entry, queue)
	l := &Listener{C: c, c: c, hub: h, wanted: wanted}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners[l] = struct{}{}
	return l
}

// Close ends the listener.
func (l *Listener) Close() {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	l.closeLocked()
}

func (l *Listener) closeLocked() {
	if l.closed {
		return
	}
	l.closed = true
	delete(l.hub.listeners, l)
	close(l.c)
}

func (l *Listener) offerLocked(e *Entry) {
	if !l.wanted(e) {
		return
	}
	select {
	case l.c <- e:
	default:
		l.closeLocked() // it can come back and look at the state
	}
}
