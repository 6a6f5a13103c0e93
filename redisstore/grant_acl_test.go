package redisstore_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// refresherOfGrants are the rules of a refresher whose accounts have grants.
func refresherOfGrants() []string {
	return append(redisadmin.RequiredACL("", coordinator.Refresher), redisadmin.GrantACL("")...)
}

func TestRefresherOfGrantsNeedsNoMoreThanItsRules(t *testing.T) {
	server := redistest.Start(t)
	store := openGrants(t, server.AddUser(t, "refresher", refresherOfGrants()...), time.Minute, redisstore.Options{})
	_, heard := followed(t, store, coordinator.Refresher, "a")
	g := consented(t, store, "a", "r0")
	g, _ = marked(t, g)
	saved(t, store, "a", g)
	server.FlushAll(t)
	restored(t, store, "a", g)
	eventually(t, "notified", patience, func() bool {
		heard.mu.Lock()
		defer heard.mu.Unlock()
		return slices.ContainsFunc(heard.events, func(e coordinator.Event) bool { return e.Kind == coordinator.EventGrant })
	})
	for _, present := range []bool{true, false} {
		if err := store.SetGrantMember(t.Context(), "a", "b", present); err != nil {
			t.Error(err)
		}
	}
	if _, err := store.GrantMembers(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	admin := redisadmin.New(store)
	if missing, err := admin.MissingGrantACL(t.Context()); err != nil || len(missing) > 0 {
		t.Errorf("MissingGrantACL() = %v, %v, want none", missing, err)
	}
	if err := admin.TryGrants(t.Context()); err != nil {
		t.Errorf("TryGrants() = %v", err)
	}
	if accounts, err := admin.GrantAccounts(t.Context()); err != nil || !slices.Equal(accounts, []string{"a"}) {
		t.Errorf("GrantAccounts() = %v, %v", accounts, err)
	}
	wantNoDenial(t, server)
}

func TestReaderCannotReadAGrant(t *testing.T) {
	server := redistest.Start(t)
	refresher := openGrants(t, server.URL(), time.Minute, redisstore.Options{})
	g := consented(t, refresher, "a", "r0")
	if err := refresher.SetGrantMember(t.Context(), "a", "b", true); err != nil {
		t.Fatal(err)
	}
	url := server.AddUser(t, "reader", append(redisadmin.RequiredACL("", coordinator.Reader), redisadmin.DemandACL(""))...)
	for _, command := range [][]any{
		{"hmget", "zhongkong-grant:{a}", "record"}, {"hmget", "zhongkong-grant:{a}", "version"}, {"hgetall", "zhongkong-grant:{a}"},
		{"dump", "zhongkong-grant:{a}"}, {"zrange", "zhongkong-grant:{a}:members", 0, -1}, {"hset", "zhongkong-grant:{a}", "version", 7},
		{"copy", "zhongkong-grant:{a}", "zhongkong:{a}:token"},
	} {
		if err := doAs(t, url, command...); err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("%v as a reader: %v, want NOPERM", command, err)
		}
	}
	server.MustDo(t, "acl", "log", "reset")
	reader := open(t, url, redisstore.Options{Timeout: 5 * time.Second})
	if s := loaded(t, reader, "a"); s.Err != nil || s.Grant == nil || s.Grant.Consent != g.Consent {
		t.Errorf("Load() as a reader = %+v, %v", s.Grant, s.Err)
	}
	wantNoDenial(t, server)
}

func TestMissingRuleOfGrantsIsNamed(t *testing.T) {
	server := redistest.Start(t)
	rules := redisadmin.GrantACL("")
	for i, rule := range rules {
		left := append(redisadmin.RequiredACL("", coordinator.Refresher), slices.Delete(slices.Clone(rules), i, i+1)...)
		store := openGrants(t, server.AddUser(t, "user", left...), time.Minute, redisstore.Options{})
		missing, err := redisadmin.New(store).MissingGrantACL(t.Context())
		if err != nil || !slices.Equal(missing, []string{rule}) {
			t.Errorf("without %s: MissingGrantACL() = %v, %v", rule, missing, err)
		}
		_, err = store.LoadGrant(t.Context(), "a")
		if !errors.Is(err, redisstore.ErrDenied) || errors.Is(err, coordinator.ErrUnreachable) {
			t.Errorf("without %s: LoadGrant() = %v, want %v alone", rule, err, redisstore.ErrDenied)
		}
		if err == nil || rule != "+info" && !strings.Contains(err.Error(), "zhongkong-grant:{*}*") {
			t.Errorf("without %s: LoadGrant() = %v, want the rule named", rule, err)
		}
	}
	// Those of single accounts.
	url := server.AddUser(t, "user", append(redisadmin.RequiredACL("", coordinator.Refresher, "a"), redisadmin.GrantACL("", "a")...)...)
	admin := redisadmin.New(openGrants(t, url, time.Minute, redisstore.Options{}))
	for account, want := range map[string][]string{"a": nil, "b": {"~zhongkong-grant:{b}*"}} {
		if missing, err := admin.MissingGrantACL(t.Context(), account); err != nil || !slices.Equal(missing, want) {
			t.Errorf("MissingGrantACL(%s) = %v, %v, want %v", account, missing, err, want)
		}
	}
	if err := admin.TryGrants(t.Context(), "b", "a"); err != nil {
		t.Errorf("TryGrants() = %v with the rights to one of the accounts", err)
	}
	if err := admin.TryGrants(t.Context()); !errors.Is(err, redisstore.ErrDenied) {
		t.Errorf("TryGrants() = %v with any account, want %v", err, redisstore.ErrDenied)
	}
	if keys := server.MustDo(t, "dbsize"); keys != int64(0) {
		t.Errorf("trying has left %v keys", keys)
	}
	// Nothing else of a refresher is affected.
	refreshed(t, open(t, server.AddUser(t, "user", redisadmin.RequiredACL("", coordinator.Refresher)...), redisstore.Options{Timeout: 5 * time.Second}), "a", "token")
}

func TestSettingsThatGrantsNeedAreJudged(t *testing.T) {
	verdicts := func(t *testing.T, store *redisstore.Store) map[string]redisadmin.Verdict {
		t.Helper()
		settings, err := redisadmin.New(store).GrantSettings(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		found := make(map[string]redisadmin.Verdict)
		for _, s := range settings {
			found[s.Name] = s.Verdict
			if s.Found == "" || (s.Fix == "") != (s.Verdict == redisadmin.Good) {
				t.Errorf("a %s setting without a word or a fix: %+v", s.Verdict, s)
			}
		}
		return found
	}
	want := func(t *testing.T, got map[string]redisadmin.Verdict, want map[string]redisadmin.Verdict) {
		t.Helper()
		for name, verdict := range want {
			if got[name] != verdict {
				t.Errorf("%s is %q, want %q", name, got[name], verdict)
			}
		}
		if len(got) != len(want) {
			t.Errorf("the settings are %v, want %v", got, want)
		}
	}
	const good, bad, unknown = redisadmin.Good, redisadmin.Bad, redisadmin.Unknown
	server := redistest.Start(t, "--maxmemory-policy allkeys-lru", "--appendfsync everysec")
	t.Run("as Redis comes", func(t *testing.T) {
		want(t, verdicts(t, open(t, server.URL(), redisstore.Options{Timeout: 5 * time.Second})), map[string]redisadmin.Verdict{
			"seal key": bad, "appendonly": bad, "appendfsync": bad, "maxmemory-policy": bad, "replication id": good,
		})
	})
	for _, setting := range [][]any{{"appendonly", "yes"}, {"appendfsync", "always"}, {"maxmemory-policy", "noeviction"}} {
		server.MustDo(t, append([]any{"config", "set"}, setting...)...)
	}
	t.Run("one server as it should be", func(t *testing.T) {
		want(t, verdicts(t, openGrants(t, server.URL(), time.Minute, redisstore.Options{})), map[string]redisadmin.Verdict{
			"seal key": good, "appendonly": good, "appendfsync": good, "maxmemory-policy": good, "replication id": good,
		})
	})
	t.Run("without replicas that are waited for", func(t *testing.T) {
		want(t, verdicts(t, openGrants(t, server.URL(), time.Minute, redisstore.Options{Replicas: 1})), map[string]redisadmin.Verdict{
			"seal key": good, "appendonly": good, "appendfsync": good, "maxmemory-policy": good, "replication id": good,
			"replicas": bad, "min-replicas-to-write": bad,
		})
	})
	t.Run("what may not be asked", func(t *testing.T) {
		url := server.AddUser(t, "refresher", refresherOfGrants()...)
		want(t, verdicts(t, openGrants(t, url, time.Minute, redisstore.Options{Replicas: 1})), map[string]redisadmin.Verdict{
			"seal key": good, "appendonly": good, "appendfsync": unknown, "maxmemory-policy": good, "replication id": good,
			"replicas": bad, "min-replicas-to-write": unknown,
		})
		url = server.AddUser(t, "user", redisadmin.RequiredACL("", coordinator.Refresher)...)
		want(t, verdicts(t, openGrants(t, url, time.Minute, redisstore.Options{})), map[string]redisadmin.Verdict{"seal key": good, "info": bad})
	})
}
