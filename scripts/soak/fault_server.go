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
			inject: func(tb *testbed, r *rand.Rand) { tb.restartEmpty(tb.servers.data[0], between(r, 0, 8*time.Second)) },
		},
		{
			name: "Redis killed, away for long, restarted empty", lane: laneServers, on: []string{single}, weight: 1, extra: 2,
			cost: lost + "; an attempt that was lost with it: one",
			inject: func(tb *testbed, r *rand.Rand) {
				tb.restartEmpty(tb.servers.data[0], 8*time.Second+between(r, 0, 12*time.Second))
			},
		},
		{
			name: "Redis paused (SIGSTOP, SIGCONT)", lane: laneServers, on: []string{single}, weight: 4, extra: 3,
			cost: "calls under way get overdue: one each; commands that come late: one",
			inject: func(tb *testbed, r *rand.Rand) {
				tb.hang(tb.servers.data[0], between(r, 300*time.Millisecond, 7*time.Second))
			},
		},
		{
			name: "Redis busy (DEBUG SLEEP)", lane: laneServers, weight: 1, extra: 2, cost: "as for a pause",
			inject: func(tb *testbed, r *rand.Rand) {
				if m := tb.servers.master(); m != nil {
					end := tb.recorder.begin(theStore, "busy")
					d := between(r, 200*time.Millisecond, 900*time.Millisecond)
					_, _ = m.do("debug", "sleep", d.Seconds())
					tb.awaitWritable()
					end()
				}
			},
		},
		{
			name: "FLUSHALL", lane: laneServers, weight: 4, extra: 2, cost: lost + "; an attempt that was lost with it: one",
			inject: func(tb *testbed, r *rand.Rand) {
				tb.onMaster("flushall", func(m *server) { _, _ = m.do("flushall") })
				time.Sleep(between(r, 0, 2*time.Second))
			},
		},
		{
			name: "SCRIPT FLUSH", lane: laneServers, weight: 2, extra: 0, cost: "",
			inject: func(tb *testbed, _ *rand.Rand) {
				for _, s := range tb.servers.data {
					_, _ = s.do("script", "flush")
				}
			},
		},
		{
			name: "CLIENT KILL of all connections", lane: laneServers, weight: 3, extra: 1, cost: "an answer that was lost: one",
			inject: func(tb *testbed, r *rand.Rand) {
				kind := pick(r, []string{"normal", "pubsub"})
				tb.onMaster("clients killed", func(m *server) { _, _ = m.do("client", "kill", "type", kind, "skipme", "yes") })
			},
		},
	}
}

// onMaster calls do with the master; afterwards processes may have to reconnect.
func (tb *testbed) onMaster(kind string, do func(*server)) {
	m := tb.servers.master()
	if m == nil {
		return
	}
	end := tb.recorder.begin(theStore, kind)
	do(m)
	tb.awaitWritable()
	end()
}

// awaitWritable waits until the master accepts writes.
func (tb *testbed) awaitWritable() {
	if err := eventually(settleWithin, "the servers to take writes", tb.servers.writable); err != nil {
		tb.recorder.violation("the servers have not recovered: " + tb.servers.problem())
	}
}

// restartEmpty kills a server and starts it again, empty.
func (tb *testbed) restartEmpty(s *server, down time.Duration) {
	end := tb.recorder.begin(theStore, "restarted empty")
	s.kill()
	back := tb.recorder.begin(noRedis, "dead")
	time.Sleep(down)
	back()
	if err := s.start(); err != nil {
		tb.recorder.violation(err.Error())
	}
	tb.awaitWritable()
	end()
}

// hang pauses a server.
func (tb *testbed) hang(s *server, d time.Duration) {
	end := tb.recorder.begin(theStore, "hung")
	s.Pause()
	back := tb.recorder.begin(noRedis, "hung")
	time.Sleep(d)
	back()
	s.Resume()
	tb.awaitWritable()
	end()
}

// clockFaults make the server's clock jump for good. Redis computes the expiry of keys
// by it.
func clockFaults() []fault {
	cost := "locks, attempts and the token's key end too early or too late: one each, and one for a begin that overlaps"
	jump := func(name string, sign int) fault {
		return fault{
			name: name, lane: laneServers, on: []string{single}, weight: 6, extra: 4, cost: cost,
			inject: func(tb *testbed, r *rand.Rand) {
				end := tb.recorder.begin(theStore, "clock jumped")
				defer end()
				tb.jump(time.Duration(sign) * between(r, time.Second, pick(r, []time.Duration{5 * time.Second, time.Minute, 2 * time.Hour})))
				time.Sleep(2 * time.Second)
			},
		}
	}
	return []fault{
		jump("the server's clock jumps ahead", 1), jump("the server's clock jumps back", -1),
		{
			name: "the server's clock jumps back, the holder killed mid-call", lane: laneServers, on: []string{single}, weight: 6, extra: 5,
			cost: "the forced refresh, and as above",
			inject: func(tb *testbed, r *rand.Rand) {
				p := tb.midCall(r, 8*time.Second)
				if p == nil {
					return
				}
				end := tb.recorder.begin(theStore, "clock jumped")
				defer end()
				tb.restart(p, syscall.SIGKILL, func() {
					tb.jump(-between(r, 2*time.Minute, 2*time.Hour))
					time.Sleep(2 * time.Second)
				})
			},
		},
	}
}

func (tb *testbed) jump(by time.Duration) {
	if err := tb.servers.jump(by); err != nil {
		tb.recorder.violation(err.Error())
	}
}
