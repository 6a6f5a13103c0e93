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

// master returns the master of the account's keys, by the word of the Sentinels or of
// the cluster; nil while there is none.
func (t *servers) master() *server {
	switch t.kind {
	case sentinel:
		return t.sentinelMaster()
	case cluster:
		return t.owner()
	}
	return t.data[0]
}

// sentinelMaster returns the master that at least two Sentinels name.
func (t *servers) sentinelMaster() *server {
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
		if votes[strconv.Itoa(s.proxy.port)] >= 2 {
			return s
		}
	}
	return nil
}

// owner returns the node that claims the account's slot as a master; of two, the one
// with the newer epoch.
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

// await waits until all servers are healthy, whichever is the master.
func (t *servers) await() error {
	why := ""
	began, help := time.Now(), sync.OnceFunc(t.promote)
	err := eventually(2*settleWithin, "all servers to be healthy", func() bool {
		why = t.problem()
		if time.Since(began) > settleWithin && t.allReplicas() {
			help()
		}
		return why == ""
	})
	if err != nil {
		return fmt.Errorf("%w: %s", err, why)
	}
	return nil
}

// allReplicas reports whether all servers are replicas of each other. Sentinel may
// demote a master that returns at the wrong moment; then it never finds a suitable
// replica to promote, and an operator has to.
func (t *servers) allReplicas() bool {
	for _, s := range t.data {
		if s.info("replication", "role") != "slave" {
			return false
		}
	}
	return t.kind == sentinel
}

// promote makes a replica the master, as an operator would.
func (t *servers) promote() {
	t.promoted++
	if m := t.master(); m != nil {
		_, _ = m.do("replicaof", "no", "one")
	}
}

// problem describes a problem of the servers, "" if there is none.
func (t *servers) problem() string {
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
		return t.replicationProblem(m)
	case cluster:
		return t.clusterProblem()
	}
	if _, err := m.do("ping"); err != nil {
		return err.Error()
	}
	return ""
}

func (t *servers) replicationProblem(m *server) string {
	if m.info("replication", "role") != "master" {
		return m.Name + " is not a master although the Sentinels say so"
	}
	for _, s := range t.data {
		if s != m && (s.info("replication", "role") != "slave" || s.info("replication", "master_link_status") != "up" ||
			s.info("replication", "master_port") != strconv.Itoa(m.proxy.port)) {
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

func (t *servers) clusterProblem() string {
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

// replicaOf returns a replica that is in sync with m, nil if there is none.
func (t *servers) replicaOf(m *server) *server {
	for _, s := range t.data {
		if m != nil && s != m && s.alive() && s.info("replication", "master_port") == strconv.Itoa(m.proxy.port) &&
			s.info("replication", "master_link_status") == "up" {
			return s
		}
	}
	return nil
}

// writable reports whether the account's master accepts writes, which ends a
// failover.
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
	return errors.New("timed out after " + within.String() + " waiting for " + what)
}
