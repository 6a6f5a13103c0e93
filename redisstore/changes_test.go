package redisstore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

func TestManyChangesAreReadInParts(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	since, err := store.Newest(t.Context())
	if err != nil || since != (coordinator.Cursor{}) {
		t.Fatalf("Newest() = %+v, %v of an empty Redis", since, err)
	}
	const many = 2500
	entries := []redis.Z{{Member: "", Score: 1}}
	for i := range many {
		entries = append(entries, redis.Z{Member: fmt.Sprintf("wx%d", i), Score: float64(i + 2)})
	}
	client := server.Client()
	defer client.Close()
	if err := client.ZAdd(t.Context(), changesKey, entries...).Err(); err != nil {
		t.Fatal(err)
	}
	seen, parts := 0, 0
	for more := true; more; parts++ {
		changes, err := store.Changes(t.Context(), since)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes.Accounts {
			if want := fmt.Sprintf("wx%d", seen); c.Account != want {
				t.Fatalf("change %d is of %q, want %q", seen, c.Account, want)
			}
			seen++
		}
		since, more = changes.Next, changes.More
	}
	if newest, err := store.Newest(t.Context()); seen != many || parts < 3 || newest != since || err != nil {
		t.Errorf("%d changes in %d parts up to %+v, newest is %+v, %v", seen, parts, since, newest, err)
	}
}

// FLUSHALL takes the index away, and what is written next begins it anew: also if that is
// the account that was seen last.
func TestLostChangesAreNoticed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	refreshed(t, store, "wx1", "token")
	for name, after := range map[string]func(){
		"nothing":          func() {},
		"another account":  func() { refreshed(t, store, "wx2", "token") },
		"the same account": func() { refreshed(t, store, "wx1", "token") },
	} {
		refreshed(t, store, "wx1", "token")
		since, err := store.Newest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		server.FlushAll(t)
		after()
		if changes, err := store.Changes(t.Context(), since); !errors.Is(err, coordinator.ErrChangesLost) {
			t.Errorf("%s written since: Changes() = %+v, %v, want ErrChangesLost", name, changes, err)
		}
	}
}

func clusterRecordsNoChanges(t *testing.T, c *redistest.Cluster) {
	store := open(t, c.URL(), redisstore.Options{})
	if _, err := store.Newest(t.Context()); !errors.Is(err, coordinator.ErrNoChanges) {
		t.Errorf("Newest() = %v", err)
	}
	if _, err := store.Changes(t.Context(), coordinator.Cursor{}); !errors.Is(err, coordinator.ErrNoChanges) {
		t.Errorf("Changes() = %v", err)
	}
}

// A user whose rules name single accounts may not read what all share: that is no fault.
func TestAUserOfSingleAccountsHasNoIndexOfChanges(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	refreshed(t, open(t, server.URL(), redisstore.Options{}), "wx1", "token")
	for _, role := range []coordinator.Role{coordinator.Reader, coordinator.Refresher} {
		var rules []string
		for _, rule := range redisadmin.RequiredACL("", role) {
			rules = append(rules, strings.ReplaceAll(rule, "{*}", "{wx1}"))
		}
		rules = slices.DeleteFunc(rules, func(rule string) bool { return strings.Contains(rule, "~") && !strings.Contains(rule, "{wx1}") })
		store := open(t, server.AddUser(t, string(role), rules...), redisstore.Options{})
		if _, err := store.Newest(t.Context()); !errors.Is(err, coordinator.ErrNoChanges) {
			t.Errorf("%s: Newest() = %v, want ErrNoChanges", role, err)
		}
		if _, err := store.Changes(t.Context(), coordinator.Cursor{}); !errors.Is(err, coordinator.ErrNoChanges) {
			t.Errorf("%s: Changes() = %v, want ErrNoChanges", role, err)
		}
		if states, err := store.Load(t.Context(), "wx1"); err != nil || !states[0].Record.Usable() {
			t.Errorf("%s: Load() = %+v, %v", role, states, err)
		}
	}
}
