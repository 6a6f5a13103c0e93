package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

const (
	settleWithin = 30 * time.Second
	slots        = 16384
)

// master returns the server that is the master of the account's keys, as those
// that decide say; nil while nobody does.
func (t *servers) master() *server {
	switch t.kind {
	case sentinel:
		return t.named()
	case cluster:
		return t.owner()
	}
	return t.data[0]
}

// named is the master that most sentinels name.
func (t *servers) named() *server {
	votes := make(map[string]int)
	for _, s := range t.sentinels {
		if !s.alive() {
			continue
		}
		answer, err := s.do("sentinel", "get-master-addr-by-name", redistest.MasterName)
		if list, _ := answer.([]any); err == nil && len(list) == 2 {
			votes[fmt.Sprint(list[1])]++
		}
	}
	for _, s := range t.data {
		if votes[strconv.Itoa(s.front.port)] >= 2 {
			return s
		}
	}
	return nil
}

// owner is the node that says it owns the account's slot as a master, the one
// with the newest epoch if there are two.
func (t *servers) owner() *server {
	var found *server
	best := int64(-1)
	for _, s := range t.data {
		if !s.alive() {
			continue
		}
		if _, err := s.do("exists", t.key); err != nil {
			continue // MOVED, or it does not answer
		}
		epoch, _ := strconv.ParseInt(s.clusterInfo("cluster_my_epoch"), 10, 64)
		if epoch > best {
			found, best = s, epoch
		}
	}
	return found
}

// await waits until everything is as at the start, whoever is the master now.
func (t *servers) await() error {
	why := ""
	began, help := time.Now(), sync.OnceFunc(t.promote)
	err := eventually(2*settleWithin, "the servers to be well", func() bool {
		why = t.ill()
		if time.Since(began) > settleWithin && t.leaderless() {
			help()
		}
		return why == ""
	})
	if err != nil {
		return fmt.Errorf("%w: %s", err, why)
	}
	return nil
}

// leaderless reports whether all servers are replicas, of each other: Sentinel may
// turn a master that comes back at the wrong moment into one, finds no good
// replica to promote ever after, and waits for a person.
func (t *servers) leaderless() bool {
	for _, s := range t.data {
		if s.info("replication", "role") != "slave" {
			return false
		}
	}
	return t.kind == sentinel
}

// promote does what that person would do.
func (t *servers) promote() {
	t.promoted++
	if m := t.master(); m != nil {
		_, _ = m.do("replicaof", "no", "one")
	}
}

// ill says what is not as it should be, "" for nothing.
func (t *servers) ill() string {
	for _, s := range t.all() {
		if !s.alive() {
			return s.Name + " is dead"
		}
	}
	m := t.master()
	if m == nil {
		return "there is no master"
	}
	switch t.kind {
	case sentinel:
		return t.illReplicated(m)
	case cluster:
		return t.illCluster()
	}
	if _, err := m.do("ping"); err != nil {
		return err.Error()
	}
	return ""
}

func (t *servers) illReplicated(m *server) string {
	if m.info("replication", "role") != "master" {
		return m.Name + " does not know that it is the master"
	}
	for _, s := range t.data {
		if s != m && (s.info("replication", "role") != "slave" || s.info("replication", "master_link_status") != "up" ||
			s.info("replication", "master_port") != strconv.Itoa(m.front.port)) {
			return s.Name + " does not follow " + m.Name
		}
	}
	for _, s := range t.sentinels {
		line := s.info("sentinel", "master0")
		if !strings.Contains(line, "status=ok") || !strings.Contains(line, "slaves=2,sentinels=3") {
			return s.Name + ": " + line
		}
	}
	return ""
}

func (t *servers) illCluster() string {
	masters, replicas := 0, 0
	for _, s := range t.data {
		switch {
		case s.clusterInfo("cluster_state") != "ok":
			return s.Name + ": the cluster is not ok"
		case s.clusterInfo("cluster_slots_ok") != strconv.Itoa(slots):
			return s.Name + ": not all slots are ok"
		case s.info("replication", "role") == "master":
			masters++
		case s.info("replication", "master_link_status") == "up":
			replicas++
		default:
			return s.Name + " has no link to its master"
		}
	}
	if masters < 3 || masters+replicas != 6 {
		return fmt.Sprintf("%d masters, %d replicas", masters, replicas)
	}
	if master := t.owner(); t.replicaOf(master) == nil {
		return master.Name + " has no replica"
	}
	return ""
}

// replicaOf returns a replica that is in sync with m.
func (t *servers) replicaOf(m *server) *server {
	for _, s := range t.data {
		if m != nil && s != m && s.alive() && s.info("replication", "master_port") == strconv.Itoa(m.front.port) &&
			s.info("replication", "master_link_status") == "up" {
			return s
		}
	}
	return nil
}

// writable reports whether the account's master takes writes, which is when a
// failover is over as far as the servers are concerned.
func (t *servers) writable() bool {
	m := t.master()
	if m == nil {
		return false
	}
	_, err := m.do("set", strings.TrimSuffix(t.key, "token")+"soak-probe", "1", "px", 1000)
	return err == nil
}

// eventually polls until ok.
func eventually(within time.Duration, what string, ok func() bool) error {
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return nil
		}
	}
	return errors.New("waited " + within.String() + " in vain for " + what)
}
