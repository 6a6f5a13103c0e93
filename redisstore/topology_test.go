package redisstore_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

func TestCommitWaitsForReplicas(t *testing.T) {
	r := redistest.StartReplicated(t, 1, 0)
	master, replica := r.Servers[0], r.Servers[1]
	store := open(t, master.URL(), redisstore.Options{Replicas: 1, WaitTimeout: 500 * time.Millisecond})
	client := replica.Client()
	defer client.Close()
	for i := range 50 {
		// Read without waiting: what is confirmed is there.
		account := fmt.Sprintf("a%d", i)
		refreshed(t, store, account, "token")
		if n, err := client.Exists(t.Context(), "zhongkong:{"+account+"}:token").Result(); err != nil || n != 1 {
			t.Fatalf("the replica has %d records of %s, %v; want 1", n, account, err)
		}
	}
	if got := store.Stats().Unconfirmed; got != 0 {
		t.Errorf("Unconfirmed = %d, want 0", got)
	}
	replica.Pause()
	refreshed(t, store, "late", "token")
	replica.Resume()
	if got := store.Stats().Unconfirmed; got != 1 {
		t.Errorf("Unconfirmed = %d with a hung replica, want 1", got)
	}
	// WAIT after EVALSHA that fails with NOSCRIPT.
	eventually(t, "the replica confirms again", patience, func() bool {
		before := store.Stats().Unconfirmed
		master.MustDo(t, "script", "flush")
		refreshed(t, store, "again", "token")
		return store.Stats().Unconfirmed == before
	})
}

func TestSentinelFailoverMovesTheSubscription(t *testing.T) {
	r := redistest.StartReplicated(t, 2, 3)
	t.Run("least privilege", func(t *testing.T) { sentinelLeastPrivilege(t, r) })
	t.Run("a sentinel that hangs", func(t *testing.T) {
		r.Sentinels[1].Pause()
		defer r.Sentinels[1].Resume()
		store := open(t, r.URL(), redisstore.Options{Timeout: time.Second})
		if err := store.Ping(t.Context()); err != nil {
			t.Errorf("the first Ping() = %v", err)
		}
	})
	for _, fault := range []struct {
		name    string
		replace func()
	}{
		{"planned", func() { r.Failover(t) }},
		{"killed", func() {
			old := r.Master(t)
			old.Kill()
			r.AwaitMasterOtherThan(t, old)
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			name := fault.name
			store := open(t, r.URL(), redisstore.Options{})
			_, follower := followed(t, open(t, r.URL(), redisstore.Options{}), coordinator.Reader, name)
			record := refreshed(t, store, name, "token")
			eventually(t, "Notified", patience, func() bool { return follower.saw(coordinator.EventRefreshed, record.Generation) })
			fault.replace()
			start := time.Now()
			eventually(t, "the new master takes a token and the follower hears of it", patience, func() bool {
				attempt, err := store.Begin(t.Context(), name, coordinator.BeginRequest{Seen: record.Generation, TTL: time.Second})
				if err != nil {
					return false
				}
				next, err := store.Commit(t.Context(), name, of(attempt, "next"))
				if err != nil {
					return false
				}
				time.Sleep(20 * time.Millisecond)
				record = next
				return follower.saw(coordinator.EventRefreshed, next.Generation)
			})
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("notifications flowed %v after the failover, want less than 3s", took)
			} else {
				t.Logf("notifications flowed %v after the failover", took)
			}
		})
	}
}

// sentinelLeastPrivilege goes through a failover with users that may do nothing
// but what is documented.
func sentinelLeastPrivilege(t *testing.T, r *redistest.Replicated) {
	for _, sentinel := range r.Sentinels {
		sentinel.AddUser(t, "asker", redisadmin.SentinelACL()...)
	}
	for _, server := range r.Servers {
		server.AddUser(t, "refresher", redisadmin.RequiredACL("", coordinator.Refresher)...)
	}
	url := redistest.AsUser(t, r.URL(), "asker") + "&username=refresher&password=secret"
	store := open(t, url, redisstore.Options{})
	_, follower := followed(t, store, coordinator.Refresher, "a")
	refreshed(t, store, "a", "token")
	before, _, _ := follower.counts()
	r.Failover(t)
	eventually(t, "the subscription moves to the new master", 5*time.Second, func() bool { return follower.follows(before, "a") })
	eventually(t, "the new master takes a token", 5*time.Second, func() bool {
		_, err := store.Begin(t.Context(), "a", coordinator.BeginRequest{Seen: 1 << 52, TTL: time.Second})
		return err == nil
	})
	for _, sentinel := range r.Sentinels {
		wantNoDenial(t, sentinel)
	}
}

func TestClusterKeepsToTheContract(t *testing.T) {
	c := redistest.StartCluster(t)
	t.Run("contract", func(t *testing.T) {
		coordinatortest.TestStore(t, func(t *testing.T) coordinator.Store {
			return open(t, c.URL(), redisstore.Options{Replicas: 1})
		})
	})
	store := open(t, c.URL(), redisstore.Options{Replicas: 1})
	var accounts []string
	for i := range 20 {
		accounts = append(accounts, fmt.Sprintf("wx%02d", i))
		refreshed(t, store, accounts[i], "token")
	}
	t.Run("accounts of all masters are found", func(t *testing.T) {
		found, err := redisadmin.New(store).Accounts(t.Context())
		if err != nil || len(found) < 20 {
			t.Errorf("Accounts() = %v, %v", found, err)
		}
	})
	t.Run("every commit was confirmed by the right replica", func(t *testing.T) {
		if got := store.Stats().Unconfirmed; got != 0 {
			t.Errorf("Unconfirmed = %d, want 0", got)
		}
	})
	t.Run("each master is diagnosed", func(t *testing.T) {
		servers, err := redisadmin.New(store).Diagnose(t.Context())
		if err != nil || len(servers) != 3 || servers[0].Mode != "cluster" || servers[0].ConnectedReplicas != 1 {
			t.Errorf("Diagnose() = %+v, %v", servers, err)
		}
	})
	t.Run("least privilege", func(t *testing.T) { clusterLeastPrivilege(t, c) })
	t.Run("changes", func(t *testing.T) { clusterRecordsNoChanges(t, c) })
	t.Run("accounts of a slot on its way are read", func(t *testing.T) { readOnItsWay(t, c) })
	t.Run("a moved slot is followed", func(t *testing.T) { movedSlot(t, c, store) })
	t.Run("a dead master is replaced", func(t *testing.T) { deadMaster(t, c, store, accounts) })
}

func clusterLeastPrivilege(t *testing.T, c *redistest.Cluster) {
	var url string
	rules := append(redisadmin.RequiredACL("", coordinator.Refresher), redisadmin.ClusterACL()...)
	for _, node := range c.Nodes {
		node.AddUser(t, "refresher", rules...)
	}
	url = redistest.AsUser(t, c.URL(), "refresher")
	store := open(t, url, redisstore.Options{Replicas: 1})
	followed(t, store, coordinator.Refresher, "p1", "p2", "p3")
	for _, account := range []string{"p1", "p2", "p3"} {
		refreshed(t, store, account, "token")
	}
	if _, err := store.Load(t.Context(), "p1", "p2", "p3"); err != nil {
		t.Error(err)
	}
	if missing, err := redisadmin.New(store).MissingACL(t.Context(), coordinator.Refresher); err != nil || len(missing) > 0 {
		t.Errorf("MissingACL() = %v, %v, want none", missing, err)
	}
	unused := inAnEmptySlot(t, c)
	slotOnItsWay(t, c, unused, func() {
		// Keys that are nowhere yet may be answered with "try again".
		if _, err := store.Load(t.Context(), unused); errors.Is(err, redisstore.ErrDenied) {
			t.Error(err)
		}
	})
	for _, node := range c.Nodes {
		wantNoDenial(t, node)
	}
}

// inAnEmptySlot returns the name of an account whose slot holds no key: a slot
// with keys cannot be given away. The contract's accounts have random names, so
// that no fixed name is sure to be alone.
func inAnEmptySlot(t *testing.T, c *redistest.Cluster) string {
	t.Helper()
	for i := range 100 {
		account := fmt.Sprintf("moving%d", i)
		key := "zhongkong:{" + account + "}:token"
		slot := c.Nodes[0].MustDo(t, "cluster", "keyslot", key)
		if c.Owner(t, key).MustDo(t, "cluster", "countkeysinslot", slot) == int64(0) {
			return account
		}
	}
	t.Fatal("no account has an empty slot")
	return ""
}

// slotOnItsWay calls do while the account's slot is being migrated: its old owner sends
// whoever asks for a key that it does not have to the new one. A slot with keys stays in
// the end.
func slotOnItsWay(t *testing.T, c *redistest.Cluster, account string, do func()) {
	t.Helper()
	key := "zhongkong:{" + account + "}:token"
	slot := c.Nodes[0].MustDo(t, "cluster", "keyslot", key)
	old, next := c.Owner(t, key), c.Nodes[0]
	if next == old {
		next = c.Nodes[1]
	}
	oldID, nextID := old.MustDo(t, "cluster", "myid"), next.MustDo(t, "cluster", "myid")
	next.MustDo(t, "cluster", "setslot", slot, "importing", oldID)
	old.MustDo(t, "cluster", "setslot", slot, "migrating", nextID)
	do()
	for _, node := range []*redistest.Server{next, old} {
		if old.MustDo(t, "cluster", "countkeysinslot", slot) == int64(0) {
			node.MustDo(t, "cluster", "setslot", slot, "node", nextID)
		} else {
			node.MustDo(t, "cluster", "setslot", slot, "stable")
		}
	}
}

// readOnItsWay reads an account of which the old owner of its slot has the token and no
// other key: it sends whoever asks for one of those to the new owner, which has none either.
func readOnItsWay(t *testing.T, c *redistest.Cluster) {
	account := inAnEmptySlot(t, c)
	log := new(logged)
	store := open(t, c.URL(), redisstore.Options{Logger: log.logger()})
	want := refreshed(t, store, account, "token")
	other := refreshed(t, store, "other", "token")
	slotOnItsWay(t, c, account, func() {
		for _, accounts := range [][]string{{account}, {account, "other"}, {"other", account, inAnEmptySlot(t, c)}} {
			states, err := store.Load(t.Context(), accounts...)
			if err != nil {
				t.Errorf("Load(%q) = %v", accounts, err)
				continue
			}
			for _, s := range states {
				generation := map[string]coordinator.Fence{account: want.Generation, "other": other.Generation}[s.Account]
				if s.Err != nil || s.Record.Generation != generation {
					t.Errorf("Load(%q): %s has generation %d, %v; want %d", accounts, s.Account, s.Record.Generation, s.Err, generation)
				}
			}
		}
	})
}

// movedSlot moves an empty slot from its master to the next, while a store that
// knows the old owner goes on.
func movedSlot(t *testing.T, c *redistest.Cluster, store *redisstore.Store) {
	account := inAnEmptySlot(t, c)
	key := "zhongkong:{" + account + "}:token"
	slot := c.Nodes[0].MustDo(t, "cluster", "keyslot", key)
	loaded(t, store, account)
	old := c.Owner(t, key)
	next := c.Nodes[0]
	if next == old {
		next = c.Nodes[1]
	}
	id := next.MustDo(t, "cluster", "myid")
	// Only a node that imports a slot raises its epoch when it gets it: otherwise a ping of
	// the old owner could take it back.
	next.MustDo(t, "cluster", "setslot", slot, "importing", old.MustDo(t, "cluster", "myid"))
	for _, node := range []*redistest.Server{next, old} {
		node.MustDo(t, "cluster", "setslot", slot, "node", id)
	}
	refreshed(t, store, account, "token")
	if c.Owner(t, key) != next {
		t.Error("the slot has not moved")
	}
	if lock, err := store.Lock(t.Context(), account, time.Second); err != nil || lock.Unlock(t.Context()) != nil {
		t.Errorf("Lock() after the move = %v", err)
	}
}

func deadMaster(t *testing.T, c *redistest.Cluster, store *redisstore.Store, accounts []string) {
	_, follower := followed(t, open(t, c.URL(), redisstore.Options{}), coordinator.Reader, accounts...)
	account := accounts[0]
	old := c.Owner(t, "zhongkong:{"+account+"}:token")
	seen := loaded(t, store, account).Record.Generation
	start := time.Now()
	old.Kill()
	var server time.Duration
	eventually(t, "another owner", patience, func() bool {
		owner := c.Owner(t, "zhongkong:{"+account+"}:token")
		server = time.Since(start)
		return owner != old
	})
	eventually(t, "a token is stored and notified", patience, func() bool {
		attempt, err := store.Begin(t.Context(), account, coordinator.BeginRequest{Seen: seen, TTL: time.Second})
		if err != nil {
			if !errors.Is(err, coordinator.ErrUnreachable) {
				t.Fatal(err)
			}
			return false
		}
		seen = max(attempt.Fence, attempt.Record.Generation)
		record, err := store.Commit(t.Context(), account, of(attempt, "token"))
		if err != nil {
			return false
		}
		time.Sleep(20 * time.Millisecond)
		return follower.saw(coordinator.EventRefreshed, record.Generation)
	})
	took := time.Since(start)
	t.Logf("the cluster itself needed %v, notifications flowed after %v", server, took)
	if took > server+2*time.Second {
		t.Errorf("notifications flowed %v after the new master was there, want less than 2s", took-server)
	}
}
