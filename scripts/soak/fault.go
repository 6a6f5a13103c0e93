package main

import (
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Lanes. Faults of one lane come one after another, those of different lanes
// overlap in every way that chance has.
const (
	laneServers   = "servers"
	laneProcesses = "processes and links"
	laneSource    = "source and callers"
	laneForged    = "forgeries"
)

var lanes = []string{laneServers, laneProcesses, laneSource, laneForged}

// fault is something that goes wrong.
type fault struct {
	name   string
	lane   string
	on     []string // topologies; nil: all
	weight int
	extra  int    // calls to the source that it may cost at most
	cost   string // why
	strike func(w *world, r *rand.Rand)
}

// faults are all that there are for a topology, of which only those with this in
// their names.
func faults(o options, topology, only string) []fault {
	all := slices.Concat(processFaults(), linkFaults(), serverFaults(), replicatedFaults(), clusterFaults(), sourceFaults(), forgedFaults())
	if o.fake {
		all = append(all, clockFaults()...)
	}
	return slices.DeleteFunc(all, func(f fault) bool {
		return f.on != nil && !slices.Contains(f.on, topology) || !strings.Contains(f.name, only)
	})
}

// between is a time from a range, short ones more often.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Float64()*r.Float64()*float64(most-least))
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

func processFaults() []fault {
	return []fault{
		{
			name: "kill -9 of a process", lane: laneProcesses, weight: 3, extra: 2,
			cost: "its call may have issued a token that nobody stored: one more; a fresh process on an empty store: one",
			strike: func(w *world, r *rand.Rand) {
				p := pick(r, w.fleet)
				w.restart(p, syscall.SIGKILL, after(r, 3*time.Second))
			},
		},
		{
			name: "kill -9 of the holder, mid-call", lane: laneProcesses, weight: 3, extra: 3,
			cost: "the forced refresh, its successor's, and one if the store was lost meanwhile",
			strike: func(w *world, r *rand.Rand) {
				if p := w.midCall(r, 8*time.Second); p != nil {
					w.restart(p, syscall.SIGKILL, after(r, 3*time.Second))
				}
			},
		},
		{
			name: "SIGTERM and a new start", lane: laneProcesses, weight: 1, extra: 1,
			cost: "a fresh process on an empty store",
			strike: func(w *world, r *rand.Rand) {
				w.restart(pick(r, w.fleet), syscall.SIGTERM, after(r, time.Second))
			},
		},
		{
			name: "SIGSTOP of a process, then SIGCONT", lane: laneProcesses, weight: 3, extra: 2,
			cost: "paused in a call: its successor's and the one that follows a superseded commit",
			strike: func(w *world, r *rand.Rand) {
				w.pause(pick(r, w.fleet), between(r, 200*time.Millisecond, 8*time.Second))
			},
		},
		{
			name: "SIGSTOP of the holder past its lock, then SIGCONT", lane: laneProcesses, weight: 2, extra: 4,
			cost: "the forced refresh, its successor's, the one after the superseded commit, and one for a late request",
			strike: func(w *world, r *rand.Rand) {
				if p := w.midCall(r, 500*time.Millisecond); p != nil {
					w.pause(p, lockLife+between(r, 500*time.Millisecond, 4*time.Second))
				}
			},
		},
		{
			name: "lock deleted mid-call", lane: laneProcesses, weight: 1, extra: 3,
			cost: "the forced refresh, a second one at once, and the one after the superseded commit",
			strike: func(w *world, r *rand.Rand) {
				if p := w.midCall(r, 600*time.Millisecond); p != nil {
					w.value("del", keyOf("lock"))
					w.demand(r)
				}
			},
		},
	}
}

// after is a time that passes, up to most.
func after(r *rand.Rand, most time.Duration) func() {
	d := between(r, 0, most)
	return func() { time.Sleep(d) }
}

// restart ends a process and starts it again when meanwhile has happened.
func (w *world) restart(p *process, sig syscall.Signal, meanwhile func()) {
	end := w.ledger.begin(p.name, "killed")
	p.kill(sig)
	meanwhile()
	if err := p.start(); err != nil {
		w.ledger.wrong("a process cannot be started again: " + err.Error())
	}
	w.up(p)
	end()
}

// up waits until a process answers; nobody can say when a worker does.
func (w *world) up(p *process) {
	if p.args[0] != "serve" {
		time.Sleep(300 * time.Millisecond)
		return
	}
	if err := eventually(20*time.Second, "a process to come up", func() bool { return p.address() != "" || p.died() }); err != nil || p.died() {
		w.ledger.wrong(p.name + " does not come up: " + lastLines(p.said()))
	}
}

func lastLines(text string) string { return text[max(0, len(text)-600):] }

// pause stops a process for a while.
func (w *world) pause(p *process, d time.Duration) {
	end := w.ledger.begin(p.name, "paused")
	p.signal(syscall.SIGSTOP)
	time.Sleep(d)
	p.signal(syscall.SIGCONT)
	end()
}

// anyCaller is somebody who can force a refresh: only processes with the
// secret are asked, which then make the call themselves.
func (w *world) anyCaller(r *rand.Rand) *caller {
	var able []*caller
	for _, c := range w.callers {
		if c.process.refresh {
			able = append(able, c)
		}
	}
	return pick(r, able)
}

// midCall has a refresh made that takes the source long, and returns who is at
// it once a token has been issued and nobody has it; nil if it did not come to
// that.
func (w *world) midCall(r *rand.Rand, takes time.Duration) *process {
	id, err := w.wechat.Inject(slowAfter(takes))
	if err != nil {
		w.ledger.wrong(err.Error())
		return nil
	}
	defer w.wechat.Clear(id)
	before := len(w.wechat.Issued())
	w.demand(r)
	var p *process
	_ = eventually(2500*time.Millisecond, "a call", func() bool {
		if len(w.wechat.Issued()) > before {
			p = w.holder()
		}
		return p != nil
	})
	return p
}
