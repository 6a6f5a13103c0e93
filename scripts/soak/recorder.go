package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// observation is one token that a process returned.
type observation struct {
	who      string // the process
	life     int    // its number of starts
	from, to time.Time
	gen      uint64
	hash     string
	stale    bool
}

// ended is a call that had to end in time.
type ended struct {
	who      string
	life     int
	op       string
	from, to time.Time
	within   time.Duration
	err      string
	wrong    bool // an unexpected error
}

// sample is the generation in the store at a moment.
type sample struct {
	at  time.Time
	gen uint64
}

// disruption is a time in which a process, by its name, or something that all processes
// depend on did not work.
type disruption struct {
	who, kind string
	from, to  time.Time // to is zero while it lasts
}

// What all processes depend on, and the forger.
const (
	theStore  = "the store"
	theSource = "the source"
	allLinks  = "everybody" // all links of the fleet
	noRedis   = "away"      // Redis is unreachable; exact, without the time to recover
	theForger = "a forger"  // no disruption: the time of a forgery
)

// linkChange is a change of the state of a worker's subscription.
type linkChange struct {
	who  string
	life int
	at   time.Time
	up   bool
}

// recorder has everything that happened in a run.
type recorder struct {
	mu          sync.Mutex // guards what follows
	seen        []observation
	calls       []ended
	samples     []sample
	disruptions []*disruption
	links       []linkChange
	probed      map[string]uint64 // by worker: the newest probe of which it was notified
	violations  []string          // what was seen at once
}

func (l *recorder) saw(o observation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, o)
}

func (l *recorder) finished(e ended) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, e)
}

func (l *recorder) sampled(s sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.samples = append(l.samples, s)
}

// violation records a broken promise that was seen at once.
func (l *recorder) violation(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text = time.Now().Format("15:04:05.000 ") + text
	l.violations = append(l.violations, text)
	fmt.Fprintln(os.Stderr, text)
}

// begin begins a disruption; end ends it.
func (l *recorder) begin(who, kind string) (end func()) {
	s := &disruption{who: who, kind: kind, from: time.Now().Round(0)}
	l.mu.Lock()
	l.disruptions = append(l.disruptions, s)
	l.mu.Unlock()
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		s.to = time.Now().Round(0)
	})
}

// line records a line of a worker's output.
func (l *recorder) line(p *process, life int, line []byte) {
	var r report
	if json.Unmarshal(line, &r) != nil {
		return // truncated because the worker was killed
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

// newest returns the newest generation that any process has returned.
func (l *recorder) newest() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var newest uint64
	for _, o := range l.seen {
		newest = max(newest, o.gen)
	}
	return newest
}
