// Package events distributes the store's events within the process: to streams of
// server-sent events and to the status page.
package events

import (
	"slices"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

const (
	// kept is how many of the latest events a Hub keeps.
	kept = 512
	// queue is how many events a listener may fall behind.
	queue = 64
)

// Hub takes a coordinator's observations and hands the events among them to its
// listeners. It never waits for a listener: it closes one that falls too far
// behind. It is safe for concurrent use.
type Hub struct {
	mu        sync.Mutex // guards what follows
	listeners map[*Listener]struct{}
	recent    []*Entry // the latest ones, the oldest first
}

// New returns a Hub without listeners.
func New() *Hub { return &Hub{listeners: make(map[*Listener]struct{})} }

// Observe takes an observation. It does not block, so a coordinator's
// Config.Observe may call it.
func (h *Hub) Observe(o coordinator.Observation) {
	e := newEntry(o, time.Now())
	if e == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.recent) == kept {
		h.recent = slices.Delete(h.recent, 0, 1)
	}
	h.recent = append(h.recent, e)
	for l := range h.listeners {
		l.offerLocked(e)
	}
}

// Recent returns the latest n kept events that wanted accepts, the newest first.
func (h *Hub) Recent(n int, wanted func(*Entry) bool) []*Entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []*Entry
	for _, e := range slices.Backward(h.recent) {
		if len(found) < n && wanted(e) {
			found = append(found, e)
		}
	}
	return found
}

// Listener receives the events that it wants, from its creation on.
type Listener struct {
	// C delivers the events. It is closed when the listener has fallen too far
	// behind, or by Close.
	C <-chan *Entry

	hub    *Hub
	c      chan *Entry
	wanted func(*Entry) bool
	closed bool // guarded by hub.mu
}

// Listen returns a Listener to the events that wanted accepts. Its Close must be
// called.
func (h *Hub) Listen(wanted func(*Entry) bool) *Listener {
	c := make(chan *Entry, queue)
	l := &Listener{C: c, c: c, hub: h, wanted: wanted}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners[l] = struct{}{}
	return l
}

// Close ends the listener. It may be called more than once.
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
		l.closeLocked() // its reader can listen again and read the current state
	}
}
