package redisstore_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// From Redis 7.2 on a server can be asked whether a write is on the disks. These are the
// answers of its documentation; the tests run on older servers.
func TestAGrantIsConfirmedByWhatTheServerSays(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, answer := range []struct {
		name          string
		replicas      int
		wait, waitAOF string
		want          string // what the error says; "": confirmed
	}{
		{"on its disk", 0, "", "*2\r\n:1\r\n:0\r\n", ""},
		{"not on its disk", 0, "", "*2\r\n:0\r\n:0\r\n", "[0 0]"},
		{"no disk", 0, "", "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n", "CONFIG SET appendonly yes"},
		{"no right", 0, "", "-NOPERM User x has no permissions to run the 'waitaof' command\r\n", "+waitaof"},
		{"on all disks", 1, ":1\r\n", "*2\r\n:1\r\n:1\r\n", ""},
		{"only in the replica's memory", 1, ":1\r\n", "*2\r\n:1\r\n:0\r\n", "[1 0]"},
		{"not on its own disk", 1, ":1\r\n", "*2\r\n:0\r\n:1\r\n", "[0 1]"},
		{"an older server", 0, "", "-ERR unknown command 'waitaof', with args beginning with: \r\n", ""},
		{"an older server and a replica", 1, ":1\r\n", "-ERR unknown command 'WAITAOF'\r\n", ""},
		{"an older server and no replica", 1, ":0\r\n", "-ERR unknown command 'WAITAOF'\r\n", "0 of 1"},
		{"something else", 0, "", "+OK\r\n", "waitaof"},
	} {
		t.Run(answer.name, func(t *testing.T) {
			t.Parallel()
			proxy := redistest.StartProxy(t, redistest.Start(t), func([]string) string { return "" })
			var asked atomic.Int32
			proxy.Answer = func(command []string) string {
				switch strings.ToLower(command[0]) {
				case "wait":
					return answer.wait
				case "waitaof":
					asked.Add(1)
					return answer.waitAOF
				}
				return ""
			}
			store := openGrants(t, proxy.URL(), time.Minute, redisstore.Options{Replicas: answer.replicas})
			g := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("r0")}, time.Now())
			err := saveGrant(t, store, "a", g)
			if answer.want == "" && err != nil {
				t.Errorf("SaveGrant() = %v, want nil", err)
			}
			if answer.want != "" && (!errors.Is(err, coordinator.ErrUnconfirmed) || !strings.Contains(err.Error(), answer.want)) {
				t.Errorf("SaveGrant() = %v, want %v with %q", err, coordinator.ErrUnconfirmed, answer.want)
			}
			if asked.Load() == 0 {
				t.Error("the server was not asked")
			}
			sameGrant(t, "the stored grant", readGrant(t, store, "a").Grant, g)
		})
	}
}

// With appendfsync everysec a replica syncs within a second and reports it within another
// one. A presentation has the 3 s of its lock.
func TestAPresentationWaitsForAReplicaThatSyncsEachSecond(t *testing.T) {
	const syncedAndReported = 2200 // ms
	server := redistest.StartProxy(t, redistest.Start(t), func([]string) string { return "" })
	server.Answer = func(command []string) string {
		switch strings.ToLower(command[0]) {
		case "wait":
			return ":1\r\n"
		case "waitaof":
			if timeout, _ := strconv.Atoi(command[3]); timeout < syncedAndReported {
				return "*2\r\n:1\r\n:0\r\n"
			}
			return "*2\r\n:1\r\n:1\r\n"
		}
		return ""
	}
	store := openGrants(t, server.URL(), time.Minute, redisstore.Options{Replicas: 1, Timeout: time.Second})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	g := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("r0")}, time.Now())
	if err := store.SaveGrant(ctx, "a", g, g.Summary(rotating, time.Now())); err != nil {
		t.Errorf("SaveGrant() = %v: it waits too short a time", err)
	}
}

// A server without WAITAOF is known by its answer, and the replicas get time to confirm.
func TestReplicasOfAnOlderServerGetTimeToConfirm(t *testing.T) {
	var knows atomic.Bool
	var mu sync.Mutex
	var waits []int // guarded by mu
	server := redistest.StartProxy(t, redistest.Start(t), func([]string) string { return "" })
	server.Answer = func(command []string) string {
		switch strings.ToLower(command[0]) {
		case "wait":
			ms, _ := strconv.Atoi(command[2])
			mu.Lock()
			waits = append(waits, ms)
			mu.Unlock()
			return ":1\r\n"
		case "waitaof":
			if knows.Load() {
				return "*2\r\n:1\r\n:1\r\n"
			}
			return "-ERR unknown command 'waitaof'\r\n"
		}
		return ""
	}
	store := openGrants(t, server.URL(), time.Minute, redisstore.Options{Replicas: 1})
	for range 2 {
		consented(t, store, "a", "r0")
	}
	knows.Store(true) // a failover to a newer one
	for range 2 {
		consented(t, store, "a", "r0")
	}
	mu.Lock()
	defer mu.Unlock()
	if len(waits) != 4 || waits[0] >= 500 || waits[1] < 500 || waits[2] < 500 || waits[3] >= 500 {
		t.Errorf("the replicas get %v ms, want long ones only after an answer of an older server", waits)
	}
}

// What discards a store's connections, such as a subscription that connects again, must not
// end the wait of a write: its script has answered, and only its confirmation is outstanding.
func TestAWriteThatWaitsForItsConfirmationKeepsItsConnection(t *testing.T) {
	proxy := redistest.StartProxy(t, redistest.Start(t), func([]string) string { return "" })
	waiting, discarded := make(chan struct{}), make(chan struct{})
	proxy.Answer = func(command []string) string {
		if strings.EqualFold(command[0], "wait") {
			waiting <- struct{}{}
			<-discarded
			return ":1\r\n"
		}
		return ""
	}
	store := openGrants(t, proxy.URL(), time.Minute, redisstore.Options{Replicas: 1})
	attempt := begun(t, store, "b", 0)
	g := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("r0")}, time.Now())
	for name, write := range map[string]func() error{
		"SaveGrant": func() error { return store.SaveGrant(t.Context(), "a", g, g.Summary(rotating, time.Now())) },
		"Commit": func() error {
			_, err := store.Commit(t.Context(), "b", of(attempt, "token"))
			return err
		},
	} {
		done := make(chan error, 1)
		go func() { done <- write() }() // received below
		<-waiting
		loaded(t, store, "c") // the script's answer is read meanwhile
		store.Discard()
		loaded(t, store, "c")
		discarded <- struct{}{}
		if err := <-done; err != nil {
			t.Errorf("%s = %v", name, err)
		}
	}
	if n := store.Stats().Unconfirmed; n != 0 {
		t.Errorf("%d writes of tokens count as unconfirmed, want 0", n)
	}
}

// A script that has answered was carried out, even if the connection fails before its
// confirmation.
func TestAWriteWhoseConfirmationIsLostIsDone(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server, func([]string) string { return "" })
	killer := server.Client()
	proxy.Answer = func(command []string) string {
		if strings.EqualFold(command[0], "wait") {
			if err := killer.ClientKillByFilter(t.Context(), "type", "normal").Err(); err != nil {
				t.Error(err)
			}
		}
		return ""
	}
	store := openGrants(t, proxy.URL(), time.Minute, redisstore.Options{Replicas: 1})
	if _, err := store.Commit(t.Context(), "a", of(begun(t, store, "a", 0), "token")); err != nil {
		t.Errorf("Commit() = %v, want nil", err)
	}
	if n := store.Stats().Unconfirmed; n != 1 {
		t.Errorf("%d writes of tokens count as unconfirmed, want 1", n)
	}
	g := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("r0")}, time.Now())
	if err := saveGrant(t, store, "a", g); !errors.Is(err, coordinator.ErrUnconfirmed) {
		t.Errorf("SaveGrant() = %v, want %v", err, coordinator.ErrUnconfirmed)
	}
}

// severalServers is a client that may send each command to another server, as that of a
// cluster does while a slot is being moved.
type severalServers struct{ redis.UniversalClient }

func TestNoServerConfirmsWhatAnotherOneHasWritten(t *testing.T) {
	server := redistest.StartReplicated(t, 1, 0).Servers[0]
	store, err := redisstore.New(severalServers{server.Client()}, redisstore.Options{Replicas: 1, Sealer: ring(t, grantKeys)})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	refreshed(t, store, "a", "token")
	if n := store.Stats().Unconfirmed; n != 1 {
		t.Errorf("%d writes of tokens count as unconfirmed, want 1", n)
	}
	g := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("r0")}, time.Now())
	if err := saveGrant(t, store, "a", g); !errors.Is(err, coordinator.ErrUnconfirmed) {
		t.Errorf("SaveGrant() = %v, want %v", err, coordinator.ErrUnconfirmed)
	}
	if n := calls(t, server, "wait"); n != 0 {
		t.Errorf("servers were asked %d times for a confirmation, want 0: it may be another one's", n)
	}
}

// The writes that a WAIT counts are those of its own connection: a repeated save must be
// one, or the replica that had nothing to confirm would confirm it.
func TestARepeatedSaveIsWrittenAgain(t *testing.T) {
	server := redistest.Start(t)
	store := openGrants(t, server.URL(), time.Minute, redisstore.Options{})
	g := consented(t, store, "a", "r0")
	changes := func() string {
		_, rest, _ := strings.Cut(server.MustDo(t, "info", "persistence").(string), "rdb_changes_since_last_save:")
		return strings.Fields(rest)[0]
	}
	for name, repeat := range map[string]func() error{
		"SaveGrant":      func() error { return saveGrant(t, store, "a", g) },
		"RestoreGrant":   func() error { return store.RestoreGrant(t.Context(), "a", g, g.Summary(rotating, time.Now())) },
		"SetGrantMember": func() error { return store.SetGrantMember(t.Context(), "a", "b", true) },
		"the same again": func() error { return store.SetGrantMember(t.Context(), "a", "c", false) },
	} {
		if err := repeat(); err != nil {
			t.Fatal(err)
		}
		before := changes()
		if err := repeat(); err != nil {
			t.Fatal(err)
		}
		if changes() == before {
			t.Errorf("%s writes nothing when it is repeated", name)
		}
	}
}
