package redisstore_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// without refuses commands as a server does that does not know them.
func without(names ...string) func([]string) string {
	return func(command []string) string {
		if name := strings.ToLower(command[0]); slices.Contains(names, name) {
			return "ERR unknown command '" + name + "'"
		}
		return ""
	}
}

func TestRefusalsTellWhatAServerDoesForNobody(t *testing.T) {
	server := redistest.Start(t)
	reader := server.AddUser(t, "reader", redisadmin.RequiredACL("", coordinator.Reader)...)
	for name, test := range map[string]struct {
		role   coordinator.Role
		user   string // of the URL; "": the one who may do everything
		refuse func([]string) string
		want   []redisadmin.RefusedUse
	}{
		"nothing":                            {role: coordinator.Refresher, refuse: without()},
		"what a refresher does not use":      {role: coordinator.Refresher, refuse: without("info", "config", "acl", "script", "role", "client")},
		"scripts that do not declare keys":   {role: coordinator.Refresher, refuse: redistest.Strict},
		"scripts":                            {coordinator.Refresher, "", without("eval", "evalsha"), []redisadmin.RefusedUse{redisadmin.RefusedScripts}},
		"scripts to somebody who needs none": {role: coordinator.Reader, refuse: without("eval", "evalsha")},
		"transactions":                       {coordinator.Refresher, "", without("multi", "exec"), []redisadmin.RefusedUse{redisadmin.RefusedTransactions}},
		"transactions to somebody without the right to run scripts": {
			coordinator.Reader, reader, without("multi", "exec"),
			[]redisadmin.RefusedUse{redisadmin.RefusedTransactions, redisadmin.RefusedScripts},
		},
		"subscriptions": {coordinator.Reader, "", without("subscribe"), []redisadmin.RefusedUse{redisadmin.RefusedSubscriptions}},
		"waiting":       {coordinator.Refresher, "", without("wait"), []redisadmin.RefusedUse{redisadmin.RefusedWait}},
	} {
		t.Run(name, func(t *testing.T) {
			url := redistest.StartProxy(t, server, test.refuse).URL()
			if test.user != "" {
				url = redistest.AsUser(t, url, "reader")
			}
			server.FlushAll(t)
			store := open(t, url, redisstore.Options{Replicas: 1})
			wantRefusals(t, store, test.role, test.want)
			if n := server.MustDo(t, "dbsize"); n != int64(0) {
				t.Errorf("trying has left %v keys", n)
			}
			if missing, err := redisadmin.New(store).MissingACL(t.Context(), test.role); err != nil || missing != nil {
				t.Errorf("MissingACL() = %v, %v, want none", missing, err)
			}
		})
	}
}

// wantRefusals fails the test unless these uses are refused.
func wantRefusals(t *testing.T, store *redisstore.Store, role coordinator.Role, want []redisadmin.RefusedUse, accounts ...string) {
	t.Helper()
	refusals, err := redisadmin.New(store).Refusals(t.Context(), role, accounts...)
	if err != nil {
		t.Fatal(err)
	}
	var got []redisadmin.RefusedUse
	for _, r := range refusals {
		got = append(got, r.Of)
	}
	if !slices.Equal(got, want) {
		t.Errorf("Refusals() = %v, want %v", refusals, want)
	}
}

// withoutWriting refuses scripts that write.
func withoutWriting(command []string) string {
	if strings.ToLower(command[0]) == "eval" && strings.Contains(command[1], "'HSET'") {
		return "ERR bad lua script for redis cluster"
	}
	return ""
}

// Redis denies a key to the user before what would be done with it is refused.
func TestRefusalsAreFoundWithTheRightsToSingleAccounts(t *testing.T) {
	for name, test := range map[string]struct {
		role   coordinator.Role
		refuse func([]string) string
		want   []redisadmin.RefusedUse
	}{
		"nothing": {role: coordinator.Refresher, refuse: without()},
		"scripts": {coordinator.Refresher, withoutWriting, []redisadmin.RefusedUse{redisadmin.RefusedScripts}},
		"EXEC":    {coordinator.Refresher, without("exec"), []redisadmin.RefusedUse{redisadmin.RefusedTransactions}},
		"EXEC to a reader": {
			coordinator.Reader, without("exec"),
			[]redisadmin.RefusedUse{redisadmin.RefusedTransactions, redisadmin.RefusedScripts},
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t) // without a script
			server.AddUser(t, "user", redisadmin.RequiredACL("", test.role, "allowed")...)
			server.MustDo(t, "set", "zhongkong:{allowed}:token", "no hash")
			before := server.MustDo(t, "dump", "zhongkong:{allowed}:token")
			store := open(t, redistest.AsUser(t, redistest.StartProxy(t, server, test.refuse).URL(), "user"), redisstore.Options{})
			wantRefusals(t, store, test.role, test.want, "denied", "allowed")
			if n := server.MustDo(t, "dbsize"); n != int64(1) || server.MustDo(t, "dump", "zhongkong:{allowed}:token") != before {
				t.Errorf("trying has changed the account, or has left keys: there are %v", n)
			}
		})
	}
}

func TestWhatTheUserMayNotDoIsNoRefusal(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.AddUser(t, "nobody", "-@all", "+ping"), redisstore.Options{})
	if refusals, err := redisadmin.New(store).Refusals(t.Context(), coordinator.Refresher); err != nil || len(refusals) > 0 {
		t.Errorf("Refusals() = %v, %v, want none", refusals, err)
	}
}

func TestTokensAreReadInTheWayThatAProxyLeavesOpen(t *testing.T) {
	server := redistest.Start(t)
	record := refreshed(t, open(t, server.URL(), redisstore.Options{}), "a", "token")
	for name, refuse := range map[string]func([]string) string{
		"no transactions": without("multi", "exec"),
		"no scripts":      without("eval", "evalsha"),
	} {
		t.Run(name, func(t *testing.T) {
			store := open(t, redistest.StartProxy(t, server, refuse).URL(), redisstore.Options{})
			for range 3 {
				if s := loaded(t, store, "a"); s.Err != nil || s.Record.Generation != record.Generation || s.CallsToday != 1 {
					t.Fatalf("Load() = %+v", s)
				}
			}
		})
	}
	store := open(t, redistest.StartProxy(t, server, without("multi", "exec", "eval", "evalsha")).URL(), redisstore.Options{})
	if _, err := store.Load(t.Context(), "a"); err == nil || errors.Is(err, coordinator.ErrUnreachable) || !strings.Contains(err.Error(), "unknown command") {
		t.Errorf("Load() = %v, want what is refused", err)
	}
}

func TestDiagnoseKnowsTheVersionWhereInfoIsForbidden(t *testing.T) {
	server := redistest.Start(t)
	for _, parameters := range []string{"", "?protocol=2"} {
		store := open(t, redistest.StartProxy(t, server, without("info")).URL()+parameters, redisstore.Options{})
		servers, err := redisadmin.New(store).Diagnose(t.Context())
		if err != nil || len(servers) != 1 {
			t.Fatalf("Diagnose() = %v, %v", servers, err)
		}
		if d := servers[0]; d.Denied == nil || d.Version == "" || d.Mode != "standalone" || d.Role != "master" || d.RoundTrip <= 0 {
			t.Errorf("Diagnose() = %+v", d)
		}
	}
}
