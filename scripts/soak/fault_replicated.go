package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

const failoverCost = "calls under way get overdue: one; a fail-over that lost the last writes: one; late commands on the old master: one"

func replicatedFaults() []fault {
	both := []string{sentinel, cluster}
	return []fault{
		{
			name: "planned failover", lane: laneServers, on: both, weight: 4, extra: 3, cost: failoverCost,
			inject: func(tb *testbed, _ *rand.Rand) { tb.failover("planned failover", (*testbed).plannedFailover) },
		},
		{
			name: "master killed, restarted empty", lane: laneServers, on: both, weight: 4, extra: 3, cost: failoverCost,
			inject: func(tb *testbed, r *rand.Rand) {
				tb.failover("master killed", func(tb *testbed, m *server) {
					m.kill()
					time.Sleep(between(r, 0, 6*time.Second)) // before or after the others have noticed
					if err := m.start(); err != nil {
						tb.recorder.violation(err.Error())
					}
				})
			},
		},
		{
			name: "master paused", lane: laneServers, on: both, weight: 4, extra: 4, cost: failoverCost + "; one when it resumes",
			inject: func(tb *testbed, r *rand.Rand) {
				tb.failover("master paused", func(_ *testbed, m *server) {
					m.Pause()
					time.Sleep(between(r, 500*time.Millisecond, 7*time.Second))
					m.Resume()
				})
			},
		},
		{
			name: "master partitioned from its peers, the fleet with it", lane: laneServers, on: both, weight: 4, extra: 5,
			cost: "what is stored on the minority's side is lost: one for each refresh of the schedule meanwhile, at most three; and as above",
			inject: func(tb *testbed, r *rand.Rand) {
				tb.failover("minority", func(tb *testbed, m *server) { tb.isolate(m, between(r, time.Second, 6*time.Second)) })
			},
		},
		{
			name: "replica killed, restarted", lane: laneServers, on: both, weight: 1, extra: 1, cost: "a commit that is not confirmed in time",
			inject: func(tb *testbed, r *rand.Rand) {
				if s := tb.servers.replicaOf(tb.servers.master()); s != nil {
					tb.outage(s, between(r, 0, 3*time.Second), false)
				}
			},
		},
		{
			name: "replica paused", lane: laneServers, on: both, weight: 1, extra: 1, cost: "a commit that is not confirmed in time",
			inject: func(tb *testbed, r *rand.Rand) {
				if s := tb.servers.replicaOf(tb.servers.master()); s != nil {
					tb.outage(s, between(r, 0, 3*time.Second), true)
				}
			},
		},
		{
			name: "sentinel killed, restarted", lane: laneServers, on: []string{sentinel}, weight: 1, extra: 0, cost: "",
			inject: func(tb *testbed, r *rand.Rand) {
				tb.outage(pick(r, tb.servers.sentinels), between(r, 0, 3*time.Second), false)
			},
		},
		{
			name: "sentinel paused", lane: laneServers, on: []string{sentinel}, weight: 1, extra: 0, cost: "",
			inject: func(tb *testbed, r *rand.Rand) {
				tb.outage(pick(r, tb.servers.sentinels), between(r, 0, 3*time.Second), true)
			},
		},
	}
}

// failover calls do with the master and waits until all servers are healthy again,
// whichever is the master then.
func (tb *testbed) failover(kind string, do func(tb *testbed, m *server)) {
	if err := tb.servers.await(); err != nil {
		tb.recorder.violation("before a fault: " + err.Error())
		return
	}
	m := tb.servers.master()
	end := tb.recorder.begin(theStore, kind)
	do(tb, m)
	if err := tb.servers.await(); err != nil {
		tb.recorder.violation("after " + kind + ": " + err.Error())
	}
	tb.awaitWritable()
	end()
}

// plannedFailover starts a failover as an operator does, and repeats that if the
// failover fails.
func (tb *testbed) plannedFailover(m *server) {
	var asked time.Time
	_ = eventually(settleWithin, "another master", func() bool {
		if time.Since(asked) > 6*time.Second {
			var err error
			if tb.servers.kind == sentinel {
				_, err = tb.servers.sentinels[0].do("sentinel", "failover", redistest.MasterName)
			} else if replica := tb.servers.replicaOf(m); replica != nil {
				_, err = replica.do("cluster", "failover")
			}
			if err == nil {
				asked = time.Now()
			}
		}
		now := tb.servers.master()
		return now != nil && now != m
	})
}

// isolate cuts the links between a server and the other servers, not those to the
// fleet.
func (tb *testbed) isolate(m *server, d time.Duration) {
	var lifts []func()
	for _, s := range tb.servers.all() {
		if s != m {
			lifts = append(lifts, tb.network.add(rule{from: s.Name, to: m.Name, mode: hold}),
				tb.network.add(rule{from: m.Name, to: s.Name, mode: hold}))
		}
	}
	time.Sleep(d)
	for _, lift := range lifts {
		lift()
	}
}

// outage pauses or kills a server that is not the master.
func (tb *testbed) outage(s *server, d time.Duration, paused bool) {
	if paused {
		s.Pause()
		time.Sleep(d)
		s.Resume()
	} else {
		s.kill()
		time.Sleep(d)
		if err := s.start(); err != nil {
			tb.recorder.violation(err.Error())
		}
	}
	if err := tb.servers.await(); err != nil {
		tb.recorder.violation(s.Name + " is back: " + err.Error())
	}
}

func clusterFaults() []fault {
	return []fault{
		{
			name: "slot migrated", lane: laneServers, on: []string{cluster}, weight: 4, extra: 1, cost: "a command that was redirected and lost",
			inject: func(tb *testbed, r *rand.Rand) {
				tb.failover("slot migrated", func(tb *testbed, m *server) {
					if err := tb.migrate(r, m); err != nil {
						tb.recorder.violation("migration: " + err.Error())
					}
				})
			},
		},
		{
			name: "master of other slots killed, restarted", lane: laneServers, on: []string{cluster}, weight: 1, extra: 0, cost: "",
			inject: func(tb *testbed, r *rand.Rand) {
				if err := tb.servers.await(); err != nil {
					tb.recorder.violation("before a fault: " + err.Error())
					return
				}
				m := tb.servers.master()
				for _, s := range tb.servers.data {
					if s != m && s.info("replication", "role") == "master" {
						tb.outage(s, between(r, 0, 4*time.Second), false)
						return
					}
				}
			},
		},
	}
}

// migrate moves the account's slot to another master, two keys at a time.
func (tb *testbed) migrate(r *rand.Rand, from *server) error {
	var to *server
	for _, s := range tb.servers.data {
		if s != from && s.info("replication", "role") == "master" && (to == nil || r.IntN(2) == 0) {
			to = s
		}
	}
	if to == nil {
		return fmt.Errorf("no other master")
	}
	answer, err := from.do("cluster", "keyslot", tb.servers.key)
	if err != nil {
		return err
	}
	slot := fmt.Sprint(answer)
	ids := make(map[*server]string)
	for _, s := range []*server{from, to} {
		id, err := s.do("cluster", "myid")
		if err != nil {
			return err
		}
		ids[s] = fmt.Sprint(id)
	}
	if _, err := to.do("cluster", "setslot", slot, "importing", ids[from]); err != nil {
		return err
	}
	if _, err := from.do("cluster", "setslot", slot, "migrating", ids[to]); err != nil {
		return err
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond) // meanwhile each node has some of the keys
		keys, err := from.do("cluster", "getkeysinslot", slot, 2)
		list, _ := keys.([]any)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			break
		}
		args := append([]any{"migrate", "127.0.0.1", to.proxy.port, "", 0, 1000, "keys"}, list...)
		if _, err := from.do(args...); err != nil && !strings.Contains(err.Error(), "NOKEY") {
			return err
		}
	}
	for _, s := range []*server{to, from} {
		if _, err := s.do("cluster", "setslot", slot, "node", ids[to]); err != nil {
			return err
		}
	}
	for _, s := range tb.servers.data {
		if s != to && s != from && s.info("replication", "role") == "master" {
			_, _ = s.do("cluster", "setslot", slot, "node", ids[to])
		}
	}
	return eventually(settleWithin, "the slot's new owner", func() bool { return tb.servers.master() == to })
}
