package main

import (
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The lanes. Faults in one lane follow each other, faults in different lanes overlap at
// random.
const (
	laneServers   = "servers"
	laneProcesses = "processes and links"
	laneSource    = "source and callers"
	laneForged    = "forgeries"
	laneAlone     = "alone, after all others" // see alone; not one of lanes
)

var lanes = []string{laneServers, laneProcesses, laneSource, laneForged}

// fault is one kind of fault.
type fault struct {
	name   string
	lane   string
	on     []string // topologies; nil: all
	weight int
	extra  int    // most additional calls to the source that it may cause
	cost   string // why
	inject func(tb *testbed, r *rand.Rand)
}

// faults returns the faults for a topology whose names contain only.
func faults(o options, topology, only string) []fault {
	return slices.DeleteFunc(allFaults(o.fake), func(f fault) bool {
		return f.on != nil && !slices.Contains(f.on, topology) || !strings.Contains(f.name, only)
	})
}

// allFaults returns the faults of all topologies; those of the store's clock only with clock.
func allFaults(clock bool) []fault {
	var clocks []fault
	if clock {
		clocks = clockFaults()
	}
	return slices.Concat(processFaults(), linkFaults(), serverFaults(), replicatedFaults(), clusterFaults(), clocks, sourceFaults(), forgedFaults(), aloneFaults())
}

// between returns a random duration from a range; short ones are more frequent.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Float64()*r.Float64()*float64(most-least))
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

func processFaults() []fault {
	return []fault{
		{
			name: "kill -9 of a process", lane: laneProcesses, weight: 3, extra: 2,
			cost: "its call may have issued a token that nobody stored: one more; a fresh process on an empty store: one",
			inject: func(tb *testbed, r *rand.Rand) {
				p := pick(r, tb.fleet)
				tb.restart(p, syscall.SIGKILL, after(r, 3*time.Second))
			},
		},
		{
			name: "kill -9 of the holder, mid-call", lane: laneProcesses, weight: 3, extra: 3,
			cost: "the forced refresh, its successor's, and one if the store was lost meanwhile",
			inject: func(tb *testbed, r *rand.Rand) {
				if p := tb.midCall(r, 8*time.Second); p != nil {
					tb.restart(p, syscall.SIGKILL, after(r, 3*time.Second))
				}
			},
		},
		{
			name: "SIGTERM and a new start", lane: laneProcesses, weight: 1, extra: 1,
			cost: "a fresh process on an empty store",
			inject: func(tb *testbed, r *rand.Rand) {
				tb.restart(pick(r, tb.fleet), syscall.SIGTERM, after(r, time.Second))
			},
		},
		{
			name: "SIGSTOP of a process, then SIGCONT", lane: laneProcesses, weight: 3, extra: 2,
			cost: "paused in a call: its successor's and the one that follows a superseded commit",
			inject: func(tb *testbed, r *rand.Rand) {
				tb.pause(pick(r, tb.fleet), between(r, 200*time.Millisecond, 8*time.Second))
			},
		},
		{
			name: "SIGSTOP of the holder past its lock, then SIGCONT", lane: laneProcesses, weight: 2, extra: 4,
			cost: "the forced refresh, its successor's, the one after the superseded commit, and one for a late request",
			inject: func(tb *testbed, r *rand.Rand) {
				if p := tb.midCall(r, 500*time.Millisecond); p != nil {
					tb.pause(p, lockLife+between(r, 500*time.Millisecond, 4*time.Second))
				}
			},
		},
		{
			name: "lock deleted mid-call", lane: laneProcesses, weight: 1, extra: 3,
			cost: "the forced refresh, a second one at once, and the one after the superseded commit",
			inject: func(tb *testbed, r *rand.Rand) {
				if p := tb.midCall(r, 600*time.Millisecond); p != nil {
					tb.value("del", keyOf("lock"))
					tb.demand(r)
				}
			},
		},
	}
}

// after returns a function that sleeps for a random duration, up to most.
func after(r *rand.Rand, most time.Duration) func() {
	d := between(r, 0, most)
	return func() { time.Sleep(d) }
}

// restart ends a process, calls meanwhile and starts the process again.
func (tb *testbed) restart(p *process, sig syscall.Signal, meanwhile func()) {
	end := tb.recorder.begin(p.name, "killed")
	p.kill(sig)
	meanwhile()
	if err := p.start(); err != nil {
		tb.recorder.violation("a process cannot be started again: " + err.Error())
	}
	tb.up(p)
	end()
}

// up waits until a process answers. For a worker, which has no address, it waits a
// fixed time.
func (tb *testbed) up(p *process) {
	if p.args[0] != "serve" {
		time.Sleep(300 * time.Millisecond)
		return
	}
	if err := eventually(20*time.Second, "a process to come up", func() bool { return p.address() != "" || p.died() }); err != nil || p.died() {
		tb.recorder.violation(p.name + " does not come up: " + lastLines(p.output()))
	}
}

func lastLines(text string) string { return text[max(0, len(text)-600):] }

// pause stops a process for a while.
func (tb *testbed) pause(p *process, d time.Duration) {
	end := tb.recorder.begin(p.name, "paused")
	p.signal(syscall.SIGSTOP)
	time.Sleep(d)
	p.signal(syscall.SIGCONT)
	end()
}

// anyCaller returns a random caller of a process with the secret, which makes the call
// for a forced refresh itself.
func (tb *testbed) anyCaller(r *rand.Rand) *caller {
	var able []*caller
	for _, c := range tb.callers {
		if c.process.refresh {
			able = append(able, c)
		}
	}
	return pick(r, able)
}

// midCall forces a refresh with a slow source. It returns the process that makes the
// call, at a moment when the token has been issued but not delivered; nil if there was
// no such moment.
func (tb *testbed) midCall(r *rand.Rand, takes time.Duration) *process {
	id, err := tb.wechat.Inject(slowAfter(takes))
	if err != nil {
		tb.recorder.violation(err.Error())
		return nil
	}
	defer tb.wechat.Clear(id)
	before := len(tb.wechat.Issued())
	tb.demand(r)
	var p *process
	_ = eventually(2500*time.Millisecond, "a call", func() bool {
		if len(tb.wechat.Issued()) > before {
			p = tb.holder()
		}
		return p != nil
	})
	return p
}
