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
			strike: func(w *world, _ *rand.Rand) { w.failover("planned failover", (*world).plannedFailover) },
		},
		{
			name: "master killed, restarted empty", lane: laneServers, on: both, weight: 4, extra: 3, cost: failoverCost,
			strike: func(w *world, r *rand.Rand) {
				w.failover("master killed", func(w *world, m *server) {
					m.kill()
					time.Sleep(between(r, 0, 6*time.Second)) // before or after the others have noticed
					if err := m.start(); err != nil {
						w.ledger.wrong(err.Error())
					}
				})
			},
		},
		{
			name: "master paused", lane: laneServers, on: both, weight: 4, extra: 4, cost: failoverCost + "; one when it resumes",
			strike: func(w *world, r *rand.Rand) {
				w.failover("master paused", func(_ *world, m *server) {
					m.Pause()
					time.Sleep(between(r, 500*time.Millisecond, 7*time.Second))
					m.Resume()
				})
			},
		},
		{
			name: "master partitioned from its peers, the fleet with it", lane: laneServers, on: both, weight: 4, extra: 5,
			cost: "what is stored on the minority's side is lost: one for each refresh of the schedule meanwhile, at most three; and as above",
			strike: func(w *world, r *rand.Rand) {
				w.failover("minority", func(w *world, m *server) { w.isolate(m, between(r, time.Second, 6*time.Second)) })
			},
		},
		{
			name: "replica killed, restarted", lane: laneServers, on: both, weight: 1, extra: 1, cost: "a commit that is not confirmed in time",
			strike: func(w *world, r *rand.Rand) {
				if s := w.servers.replicaOf(w.servers.master()); s != nil {
					w.outage(s, between(r, 0, 3*time.Second), false)
				}
			},
		},
		{
			name: "replica paused", lane: laneServers, on: both, weight: 1, extra: 1, cost: "a commit that is not confirmed in time",
			strike: func(w *world, r *rand.Rand) {
				if s := w.servers.replicaOf(w.servers.master()); s != nil {
					w.outage(s, between(r, 0, 3*time.Second), true)
				}
			},
		},
		{
			name: "sentinel killed, restarted", lane: laneServers, on: []string{sentinel}, weight: 1, extra: 0, cost: "",
			strike: func(w *world, r *rand.Rand) {
				w.outage(pick(r, w.servers.sentinels), between(r, 0, 3*time.Second), false)
			},
		},
		{
			name: "sentinel paused", lane: laneServers, on: []string{sentinel}, weight: 1, extra: 0, cost: "",
			strike: func(w *world, r *rand.Rand) {
				w.outage(pick(r, w.servers.sentinels), between(r, 0, 3*time.Second), true)
			},
		},
	}
}

// failover does something to the master and waits until the servers are all
// well again, with whatever master.
func (w *world) failover(kind string, do func(w *world, m *server)) {
	if err := w.servers.await(); err != nil {
		w.ledger.wrong("before a fault: " + err.Error())
		return
	}
	m := w.servers.master()
	end := w.ledger.begin(theStore, kind)
	do(w, m)
	if err := w.servers.await(); err != nil {
		w.ledger.wrong("after " + kind + ": " + err.Error())
	}
	w.well()
	end()
}

// plannedFailover is what an operator does, again if it comes to nothing.
func (w *world) plannedFailover(m *server) {
	var asked time.Time
	_ = eventually(settleWithin, "another master", func() bool {
		if time.Since(asked) > 6*time.Second {
			var err error
			if w.servers.kind == sentinel {
				_, err = w.servers.sentinels[0].do("sentinel", "failover", redistest.MasterName)
			} else if replica := w.servers.replicaOf(m); replica != nil {
				_, err = replica.do("cluster", "failover")
			}
			if err == nil {
				asked = time.Now()
			}
		}
		now := w.servers.master()
		return now != nil && now != m
	})
}

// isolate cuts the links between a server and all others; those to the fleet
// stay.
func (w *world) isolate(m *server, d time.Duration) {
	var lifts []func()
	for _, s := range w.servers.all() {
		if s != m {
			lifts = append(lifts, w.network.impose(rule{from: s.Name, to: m.Name, manner: hold}),
				w.network.impose(rule{from: m.Name, to: s.Name, manner: hold}))
		}
	}
	time.Sleep(d)
	for _, lift := range lifts {
		lift()
	}
}

// outage is the loss of a server that is no master.
func (w *world) outage(s *server, d time.Duration, paused bool) {
	if paused {
		s.Pause()
		time.Sleep(d)
		s.Resume()
	} else {
		s.kill()
		time.Sleep(d)
		if err := s.start(); err != nil {
			w.ledger.wrong(err.Error())
		}
	}
	if err := w.servers.await(); err != nil {
		w.ledger.wrong(s.Name + " is back: " + err.Error())
	}
}

func clusterFaults() []fault {
	return []fault{
		{
			name: "slot migrated", lane: laneServers, on: []string{cluster}, weight: 4, extra: 1, cost: "a command that was redirected and lost",
			strike: func(w *world, r *rand.Rand) {
				w.failover("slot migrated", func(w *world, m *server) {
					if err := w.migrate(r, m); err != nil {
						w.ledger.wrong("migration: " + err.Error())
					}
				})
			},
		},
		{
			name: "master of other slots killed, restarted", lane: laneServers, on: []string{cluster}, weight: 1, extra: 0, cost: "",
			strike: func(w *world, r *rand.Rand) {
				if err := w.servers.await(); err != nil {
					w.ledger.wrong("before a fault: " + err.Error())
					return
				}
				m := w.servers.master()
				for _, s := range w.servers.data {
					if s != m && s.info("replication", "role") == "master" {
						w.outage(s, between(r, 0, 4*time.Second), false)
						return
					}
				}
			},
		},
	}
}

// migrate moves the account's slot to another master, key by key.
func (w *world) migrate(r *rand.Rand, from *server) error {
	var to *server
	for _, s := range w.servers.data {
		if s != from && s.info("replication", "role") == "master" && (to == nil || r.IntN(2) == 0) {
			to = s
		}
	}
	if to == nil {
		return fmt.Errorf("no other master")
	}
	answer, err := from.do("cluster", "keyslot", w.servers.key)
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
		time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond) // some keys here, some there
		keys, err := from.do("cluster", "getkeysinslot", slot, 2)
		list, _ := keys.([]any)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			break
		}
		args := append([]any{"migrate", "127.0.0.1", to.front.port, "", 0, 1000, "keys"}, list...)
		if _, err := from.do(args...); err != nil && !strings.Contains(err.Error(), "NOKEY") {
			return err
		}
	}
	for _, s := range []*server{to, from} {
		if _, err := s.do("cluster", "setslot", slot, "node", ids[to]); err != nil {
			return err
		}
	}
	for _, s := range w.servers.data {
		if s != to && s != from && s.info("replication", "role") == "master" {
			_, _ = s.do("cluster", "setslot", slot, "node", ids[to])
		}
	}
	return eventually(settleWithin, "the slot's new owner", func() bool { return w.servers.master() == to })
}
