package redisstore_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

func TestAGrantSurvivesAFailover(t *testing.T) {
	t.Parallel() // it mostly waits
	r := redistest.StartReplicated(t, 2, 3)
	for _, sentinel := range r.Sentinels {
		sentinel.AddUser(t, "asker", redisadmin.SentinelACL()...)
	}
	for _, server := range r.Servers {
		server.AddUser(t, "refresher", refresherOfGrants()...)
	}
	url := redistest.AsUser(t, r.URL(), "asker") + "&username=refresher&password=secret"
	coordinatortest.TestGrantStore(t, grantStores(url, redisstore.Options{Replicas: 1}))
	store := openGrants(t, url, 500*time.Millisecond, redisstore.Options{Replicas: 1})
	g := consented(t, store, "a", "r0")
	g, fence := marked(t, g)
	store.Discard() // it is sent on another connection
	saved(t, store, "a", g)
	old := r.Master(t)
	old.Kill()
	r.AwaitMasterOtherThan(t, old)
	var reading coordinator.GrantReading
	eventually(t, "the new master is asked", patience, func() (ok bool) {
		var err error
		reading, err = store.LoadGrant(t.Context(), "a")
		return err == nil
	})
	sameGrant(t, "what the new master has", reading.Grant, g)
	if reading.SettledIn <= 0 {
		t.Errorf("SettledIn = %v, want above 0: the new master may have lost writes", reading.SettledIn)
	}
	if state := loaded(t, store, "a"); state.Grant == nil || state.Grant.Version != g.Version {
		t.Errorf("State.Grant = %+v", state.Grant)
	}

	// The answer comes. It is stored, and confirmed when the other replica follows.
	kept, ok := g.Keep(coordinator.GrantAnswer{Fence: fence, Parent: g.Consent, Token: coordinator.NewToken("r1")}, reading.Now)
	if !ok {
		t.Fatal("the answer has no place")
	}
	eventually(t, "settled", patience, func() bool { return readGrant(t, store, "a").SettledIn == 0 })
	eventually(t, "the grant is confirmed", patience, func() bool { return saveGrant(t, store, "a", kept) == nil })
	sameGrant(t, "the stored grant", readGrant(t, store, "a").Grant, kept)
	if r := readGrant(t, store, "a"); r.SettledIn != 0 {
		t.Errorf("SettledIn = %v after a save", r.SettledIn)
	}
	for _, server := range r.Servers {
		if server != old {
			wantNoDenial(t, server)
		}
	}
}

func TestClusterKeepsGrants(t *testing.T) {
	t.Parallel() // it mostly waits
	c := redistest.StartCluster(t)
	for _, node := range c.Nodes {
		node.AddUser(t, "refresher", append(refresherOfGrants(), redisadmin.ClusterACL()...)...)
	}
	coordinatortest.TestGrantStore(t, grantStores(redistest.AsUser(t, c.URL(), "refresher"), redisstore.Options{Replicas: 1}))
	store := openGrants(t, redistest.AsUser(t, c.URL(), "refresher"), time.Second, redisstore.Options{Replicas: 1})
	var accounts []string
	grants := make(map[string]coordinator.Grant)
	for i := range 10 {
		account := fmt.Sprintf("wx%02d", i)
		accounts = append(accounts, account)
		grants[account] = consented(t, store, account, "r-"+account)
		store.Discard() // it is sent on another connection
		if err := store.SetGrantMember(t.Context(), account, "member", true); err != nil {
			t.Error(err)
		}
	}
	admin := redisadmin.New(store)
	if found, err := admin.GrantAccounts(t.Context()); err != nil || !strings.Contains(fmt.Sprint(found), strings.Trim(fmt.Sprint(accounts), "[]")) {
		t.Errorf("GrantAccounts() = %v, %v", found, err)
	}
	if missing, err := admin.MissingGrantACL(t.Context()); err != nil || len(missing) > 0 {
		t.Errorf("MissingGrantACL() = %v, %v", missing, err)
	}
	if settings, err := admin.GrantSettings(t.Context()); err != nil || len(settings) != 1+3*6 {
		t.Errorf("GrantSettings() = %d settings, %v, want those of three masters", len(settings), err)
	}
	old := c.Owner(t, grantKey)
	old.Kill()
	eventually(t, "another owner", patience, func() bool { return c.Owner(t, grantKey) != old })
	for _, account := range accounts {
		eventually(t, "read", patience, func() bool {
			r, err := store.LoadGrant(t.Context(), account)
			return err == nil && r.Grant.Same(grants[account])
		})
		if moved := c.Owner(t, "zhongkong-grant:{"+account+"}") == c.Owner(t, grantKey); moved != (readGrant(t, store, account).SettledIn > 0) {
			t.Errorf("account %s: owner replaced %v, settled in %v", account, moved, readGrant(t, store, account).SettledIn)
		}
	}
}
