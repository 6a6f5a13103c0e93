package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// observation is one token that somebody was given.
type observation struct {
	who      string // the process that gave it
	life     int    // which life of it
	from, to time.Time
	gen      uint64
	hash     string
	stale    bool
}

// ended is one call that had to end in time.
type ended struct {
	who      string
	life     int
	op       string
	from, to time.Time
	within   time.Duration
	err      string
	wrong    bool // an answer nobody should get
}

// sample is what the store held at a moment.
type sample struct {
	at  time.Time
	gen uint64
}

// spell is a time in which somebody could not do what it should: a process
// (by name), or everybody (theStore, theSource).
type spell struct {
	who, kind string
	from, to  time.Time // to is zero while it lasts
}

// What everybody depends on.
const (
	theStore  = "the store"
	theSource = "the source"
	everybody = "everybody" // all links
	away      = "away"      // nobody can reach Redis; not a moment longer
	theForger = "a forger"  // not in trouble: what was forged, and when
)

// link is a change of a worker's subscription.
type linkChange struct {
	who  string
	life int
	at   time.Time
	up   bool
}

// ledger is everything that happened in a run.
type ledger struct {
	mu      sync.Mutex // guards what follows
	seen    []observation
	calls   []ended
	samples []sample
	spells  []*spell
	links   []linkChange
	probed  map[string]uint64 // the newest probe that a worker was notified of
	notes   []string          // what went wrong on the spot
}

func (l *ledger) saw(o observation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, o)
}

func (l *ledger) finished(e ended) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, e)
}

func (l *ledger) sampled(s sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.samples = append(l.samples, s)
}

// wrong notes a broken promise that was seen as it happened.
func (l *ledger) wrong(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text = time.Now().Format("15:04:05.000 ") + text
	l.notes = append(l.notes, text)
	fmt.Fprintln(os.Stderr, text)
}

// begin opens a spell, and returns what ends it.
func (l *ledger) begin(who, kind string) (end func()) {
	s := &spell{who: who, kind: kind, from: time.Now().Round(0)}
	l.mu.Lock()
	l.spells = append(l.spells, s)
	l.mu.Unlock()
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		s.to = time.Now().Round(0)
	})
}

// heard takes in a line of a worker.
func (l *ledger) heard(p *process, life int, line []byte) {
	var r report
	if json.Unmarshal(line, &r) != nil {
		return // cut off by a kill
	}
	from, to := time.Unix(0, r.From), time.Unix(0, r.To)
	switch r.Kind {
	case "seen", "watched":
		l.saw(observation{who: p.name, life: life, from: from, to: to, gen: r.Gen, hash: r.Hash, stale: r.Stale})
	case "call":
		l.finished(ended{p.name, life, r.Op, from, to, callWait, r.Err, r.Wrong})
	case "probed":
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.probed == nil {
			l.probed = make(map[string]uint64)
		}
		l.probed[p.name] = max(l.probed[p.name], r.Gen)
	case "connected":
		l.mu.Lock()
		defer l.mu.Unlock()
		l.links = append(l.links, linkChange{p.name, life, from, r.Up})
	}
}

// newest is the newest generation that anybody was ever given.
func (l *ledger) newest() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var newest uint64
	for _, o := range l.seen {
		newest = max(newest, o.gen)
	}
	return newest
}
