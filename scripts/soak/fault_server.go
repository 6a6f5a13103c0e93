package main

import (
	"math/rand/v2"
	"syscall"
	"time"
)

func serverFaults() []fault {
	lost := "who still holds the token restores it; who comes first with none asks: one"
	return []fault{
		{
			name: "Redis killed, restarted empty", lane: laneServers, on: []string{single}, weight: 4, extra: 2, cost: lost + "; an attempt that was lost with it: one",
			strike: func(w *world, r *rand.Rand) { w.bounce(w.servers.data[0], between(r, 0, 8*time.Second)) },
		},
		{
			name: "Redis killed, away for long, restarted empty", lane: laneServers, on: []string{single}, weight: 1, extra: 2,
			cost:   lost + "; an attempt that was lost with it: one",
			strike: func(w *world, r *rand.Rand) { w.bounce(w.servers.data[0], 8*time.Second+between(r, 0, 12*time.Second)) },
		},
		{
			name: "Redis paused (SIGSTOP, SIGCONT)", lane: laneServers, on: []string{single}, weight: 4, extra: 3,
			cost: "calls under way get overdue: one each; commands that come late: one",
			strike: func(w *world, r *rand.Rand) {
				w.hang(w.servers.data[0], between(r, 300*time.Millisecond, 7*time.Second))
			},
		},
		{
			name: "Redis busy (DEBUG SLEEP)", lane: laneServers, weight: 1, extra: 2, cost: "as for a pause",
			strike: func(w *world, r *rand.Rand) {
				if m := w.servers.master(); m != nil {
					end := w.ledger.begin(theStore, "busy")
					d := between(r, 200*time.Millisecond, 900*time.Millisecond)
					_, _ = m.do("debug", "sleep", d.Seconds())
					w.well()
					end()
				}
			},
		},
		{
			name: "FLUSHALL", lane: laneServers, weight: 4, extra: 2, cost: lost + "; an attempt that was lost with it: one",
			strike: func(w *world, r *rand.Rand) {
				w.onMaster("flushall", func(m *server) { _, _ = m.do("flushall") })
				time.Sleep(between(r, 0, 2*time.Second))
			},
		},
		{
			name: "SCRIPT FLUSH", lane: laneServers, weight: 2, extra: 0, cost: "",
			strike: func(w *world, _ *rand.Rand) {
				for _, s := range w.servers.data {
					_, _ = s.do("script", "flush")
				}
			},
		},
		{
			name: "CLIENT KILL of all connections", lane: laneServers, weight: 3, extra: 1, cost: "an answer that was lost: one",
			strike: func(w *world, r *rand.Rand) {
				kind := pick(r, []string{"normal", "pubsub"})
				w.onMaster("clients killed", func(m *server) { _, _ = m.do("client", "kill", "type", kind, "skipme", "yes") })
			},
		},
	}
}

// onMaster does something to the master, after which everybody may have to
// connect anew.
func (w *world) onMaster(kind string, do func(*server)) {
	m := w.servers.master()
	if m == nil {
		return
	}
	end := w.ledger.begin(theStore, kind)
	do(m)
	w.well()
	end()
}

// well waits until the servers take writes again.
func (w *world) well() {
	if err := eventually(settleWithin, "the servers to take writes", w.servers.writable); err != nil {
		w.ledger.wrong("the servers have not recovered: " + w.servers.ill())
	}
}

// bounce kills a server and starts it again, empty.
func (w *world) bounce(s *server, down time.Duration) {
	end := w.ledger.begin(theStore, "restarted empty")
	s.kill()
	back := w.ledger.begin(away, "dead")
	time.Sleep(down)
	back()
	if err := s.start(); err != nil {
		w.ledger.wrong(err.Error())
	}
	w.well()
	end()
}

// hang pauses a server.
func (w *world) hang(s *server, d time.Duration) {
	end := w.ledger.begin(theStore, "hung")
	s.Pause()
	back := w.ledger.begin(away, "hung")
	time.Sleep(d)
	back()
	s.Resume()
	w.well()
	end()
}

// clockFaults have the server's clock jump, and stay there. Redis counts the lives
// of keys by it.
func clockFaults() []fault {
	cost := "locks, attempts and the token's key end too early or too late: one each, and one for a begin that overlaps"
	jump := func(name string, sign time.Duration) fault {
		return fault{
			name: name, lane: laneServers, on: []string{single}, weight: 6, extra: 4, cost: cost,
			strike: func(w *world, r *rand.Rand) {
				end := w.ledger.begin(theStore, "clock jumped")
				defer end()
				w.jump(sign * between(r, time.Second, pick(r, []time.Duration{5 * time.Second, time.Minute, 2 * time.Hour})))
				time.Sleep(2 * time.Second)
			},
		}
	}
	return []fault{
		jump("the server's clock jumps ahead", 1), jump("the server's clock jumps back", -1),
		{
			name: "the server's clock jumps back, the holder killed mid-call", lane: laneServers, on: []string{single}, weight: 6, extra: 5,
			cost: "the forced refresh, and as above",
			strike: func(w *world, r *rand.Rand) {
				p := w.midCall(r, 8*time.Second)
				if p == nil {
					return
				}
				end := w.ledger.begin(theStore, "clock jumped")
				defer end()
				w.restart(p, syscall.SIGKILL, func() {
					w.jump(-between(r, 2*time.Minute, 2*time.Hour))
					time.Sleep(2 * time.Second)
				})
			},
		},
	}
}

func (w *world) jump(by time.Duration) {
	if err := w.servers.jump(by); err != nil {
		w.ledger.wrong(err.Error())
	}
}
