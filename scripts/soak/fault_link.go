package main

import (
	"math/rand/v2"
	"strings"
	"time"
)

func linkFaults() []fault {
	one := func(name string, m manner, most time.Duration) fault {
		return fault{
			name: name, lane: laneProcesses, weight: 2, extra: 2,
			cost: "a call whose commit or failure did not get through is overdue: one more; a late begin: one",
			strike: func(w *world, r *rand.Rand) {
				p, d := pick(r, w.fleet), between(r, 300*time.Millisecond, most)
				w.cut(p.name, rule{from: p.name, manner: m, delay: 20*time.Millisecond + time.Duration(r.IntN(200))*time.Millisecond}, d)
			},
		}
	}
	return []fault{
		one("black hole between a process and Redis", hold, 8*time.Second),
		one("answers of Redis to a process black-holed", deaf, 8*time.Second),
		one("half-open connections of a process", drop, 6*time.Second),
		one("connections of a process reset and refused", reset, 6*time.Second),
		one("slow link of a process", slow, 8*time.Second),
		{
			name: "black hole between everybody and Redis", lane: laneProcesses, weight: 1, extra: 3,
			cost: "as for one process; late commands of several",
			strike: func(w *world, r *rand.Rand) {
				w.cutAll(rule{manner: hold}, between(r, 300*time.Millisecond, 5*time.Second))
			},
		},
		{
			name: "full output buffer of a subscriber", lane: laneProcesses, weight: 1, extra: 1,
			cost:   "as for one process",
			strike: func(w *world, r *rand.Rand) { w.flood(pick(r, w.fleet)) },
		},
	}
}

// cut imposes a rule on one process for a while.
func (w *world) cut(who string, rl rule, d time.Duration) {
	end := w.ledger.begin(who, "link "+string(rl.manner))
	lift := w.network.impose(rl)
	time.Sleep(d)
	lift()
	end()
}

// cutAll imposes a rule on every process of the fleet, not on the servers.
func (w *world) cutAll(rl rule, d time.Duration) {
	end := w.ledger.begin(everybody, "link "+string(rl.manner))
	var lifts []func()
	for _, p := range w.fleet {
		rl.from = p.name
		lifts = append(lifts, w.network.impose(rl))
	}
	back := w.ledger.begin(away, "black hole")
	time.Sleep(d)
	back()
	for _, lift := range lifts {
		lift()
	}
	end()
}

// flood has the server drop a subscriber that does not read, by its limit for
// output buffers. What it is flooded with no process can read, so all others
// have to put up with that.
func (w *world) flood(p *process) {
	m := w.servers.master()
	if m == nil {
		return
	}
	const limits = "client-output-buffer-limit"
	_, err := m.do("config", "set", limits, "pubsub 256kb 128kb 1")
	if err != nil {
		return
	}
	end := w.ledger.begin(p.name, "output buffer full")
	defer end()
	lift := w.network.impose(rule{from: p.name, manner: deaf})
	defer lift()
	junk := strings.Repeat("x", 64<<10)
	for range 64 {
		if _, err := m.do("publish", keyOf("refreshed"), junk); err != nil {
			break
		}
	}
	time.Sleep(1200 * time.Millisecond)
	_, _ = m.do("config", "set", limits, "pubsub 32mb 8mb 60")
}
