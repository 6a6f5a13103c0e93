package main

import (
	"math/rand/v2"
	"strings"
	"time"
)

func linkFaults() []fault {
	one := func(name string, m mode, most time.Duration) fault {
		return fault{
			name: name, lane: laneProcesses, weight: 2, extra: 2,
			cost: "a call whose commit or failure did not get through is overdue: one more; a late begin: one",
			inject: func(tb *testbed, r *rand.Rand) {
				p, d := pick(r, tb.fleet), between(r, 300*time.Millisecond, most)
				tb.cut(p.name, rule{from: p.name, mode: m, delay: 20*time.Millisecond + time.Duration(r.IntN(200))*time.Millisecond}, d)
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
			inject: func(tb *testbed, r *rand.Rand) {
				d := between(r, 300*time.Millisecond, 5*time.Second)
				tb.cutAll(rule{mode: hold}, func() { time.Sleep(d) })
			},
		},
		{
			name: "full output buffer of a subscriber", lane: laneProcesses, weight: 1, extra: 1,
			cost:   "as for one process",
			inject: func(tb *testbed, r *rand.Rand) { tb.flood(pick(r, tb.fleet)) },
		},
	}
}

// cut applies a rule to one process for a while.
func (tb *testbed) cut(who string, rl rule, d time.Duration) {
	end := tb.recorder.begin(who, "link "+string(rl.mode))
	lift := tb.network.add(rl)
	time.Sleep(d)
	lift()
	end()
}

// cutAll applies a rule to every process of the fleet, not to the servers, until meanwhile
// returns.
func (tb *testbed) cutAll(rl rule, meanwhile func()) {
	end := tb.recorder.begin(allLinks, "link "+string(rl.mode))
	var lifts []func()
	for _, p := range tb.fleet {
		rl.from = p.name
		lifts = append(lifts, tb.network.add(rl))
	}
	back := tb.recorder.begin(noRedis, "black hole")
	meanwhile()
	back()
	for _, lift := range lifts {
		lift()
	}
	end()
}

// flood makes the server disconnect a subscriber that does not read, by the limit on
// its output buffer. All other subscribers receive the unreadable messages as well.
func (tb *testbed) flood(p *process) {
	m := tb.servers.master()
	if m == nil {
		return
	}
	const limits = "client-output-buffer-limit"
	_, err := m.do("config", "set", limits, "pubsub 256kb 128kb 1")
	if err != nil {
		return
	}
	end := tb.recorder.begin(p.name, "output buffer full")
	defer end()
	lift := tb.network.add(rule{from: p.name, mode: deaf})
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
