package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// wantUnsettled fails the test unless the store takes nothing but what is put back.
func wantUnsettled(t *testing.T, store *redisstore.Store, account string) {
	t.Helper()
	r := readGrant(t, store, account)
	if r.SettledIn <= 0 {
		t.Errorf("SettledIn = %v, want above 0", r.SettledIn)
	}
	g := r.Grant
	g.Version, g.Saves, g.SaveID = g.Version+1, append(g.Saves, g.SaveID), "one more"
	var unsettled *coordinator.UnsettledError
	if err := saveGrant(t, store, account, g); !errors.As(err, &unsettled) || unsettled.RetryIn <= 0 || unsettled.RetryIn > r.SettledIn {
		t.Errorf("SaveGrant() = %v, want an *UnsettledError", err)
	}
}

// settles waits until the store is settled, and changes the grant.
func settles(t *testing.T, store *redisstore.Store, account string) {
	t.Helper()
	eventually(t, "settled", patience, func() bool { return readGrant(t, store, account).SettledIn == 0 })
	g := readGrant(t, store, account).Grant
	g.Version, g.Saves, g.SaveID = g.Version+1, append(g.Saves, g.SaveID), fmt.Sprint("settled ", time.Now().UnixNano())
	if g.Consent == 0 {
		g.Consent = 1
	}
	saved(t, store, account, g)
	if r := readGrant(t, store, account); r.SettledIn != 0 || !r.Grant.Same(g) {
		t.Errorf("after a save SettledIn = %v", r.SettledIn)
	}
}

func restored(t *testing.T, store *redisstore.Store, account string, g coordinator.Grant) {
	t.Helper()
	if err := store.RestoreGrant(t.Context(), account, g, g.Summary(rotating, time.Now())); err != nil {
		t.Fatal(err)
	}
	sameGrant(t, "what was put back", readGrant(t, store, account).Grant, g)
}

func TestAStoreThatMayHaveLostAGrantHandsOutNothing(t *testing.T) {
	for _, fault := range []struct {
		name string
		args []string
		lose func(*redistest.Server)
		left bool // the record is there afterwards
	}{
		{"a restart without a disk", nil, func(s *redistest.Server) { s.Restart(t) }, false},
		{"FLUSHALL", nil, func(s *redistest.Server) { s.FlushAll(t) }, false},
		{"a deleted key", nil, func(s *redistest.Server) { s.MustDo(t, "del", "zhongkong-grant:{a}") }, false},
		{"a restart with an older file", []string{"--appendonly yes", "--appendfsync always"}, func(s *redistest.Server) { s.Restart(t) }, true},
	} {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, fault.args...)
			store := openGrants(t, server.URL(), 500*time.Millisecond, redisstore.Options{})
			older := consented(t, store, "a", "r0")
			newer, _ := marked(t, older) // was saved as well, and is lost
			fault.lose(server)
			eventually(t, "the server is back", patience, func() bool { _, err := store.LoadGrant(t.Context(), "a"); return err == nil })
			if got := readGrant(t, store, "a").Grant; fault.left != got.Same(older) {
				t.Errorf("version %d is left", got.Version)
			}
			wantUnsettled(t, store, "a")
			restored(t, store, "a", older)
			wantUnsettled(t, store, "a") // others may know more
			restored(t, store, "a", newer)
			wantUnsettled(t, store, "a")
			if err := store.RestoreGrant(t.Context(), "a", older, older.Summary(rotating, time.Now())); err != nil {
				t.Error(err)
			}
			sameGrant(t, "the stored grant", readGrant(t, store, "a").Grant, newer)
			settles(t, store, "a")
		})
	}
}

func TestAllProcessesAgreeWhenAStoreIsSettled(t *testing.T) {
	server := redistest.Start(t)
	one := openGrants(t, server.URL(), 10*time.Second, redisstore.Options{})
	other := openGrants(t, server.URL(), 10*time.Second, redisstore.Options{})
	first, second := readGrant(t, one, "a"), readGrant(t, other, "a")
	if a, b := first.Now.Add(first.SettledIn), second.Now.Add(second.SettledIn); !a.Equal(b) || first.SettledIn != 10*time.Second {
		t.Errorf("settled at %v and %v", a, b)
	}
}

func TestAFirstConsentWaitsForNothing(t *testing.T) {
	server := redistest.Start(t)
	store := openGrants(t, server.URL(), time.Hour, redisstore.Options{})
	if r := readGrant(t, store, "a"); r.SettledIn <= 0 {
		t.Errorf("SettledIn = %v, want above 0: others may remember a grant", r.SettledIn)
	}
	g := consented(t, store, "a", "r0")
	if r := readGrant(t, store, "a"); r.SettledIn != 0 {
		t.Errorf("after the consent SettledIn = %v, want 0", r.SettledIn)
	}
	g, _ = marked(t, g)
	saved(t, store, "a", g)

	// After a loss a new consent replaces whatever others remember.
	server.FlushAll(t)
	again := consented(t, store, "a", "s0")
	if r := readGrant(t, store, "a"); r.SettledIn != 0 {
		t.Errorf("after a new consent SettledIn = %v, want 0", r.SettledIn)
	}
	if err := store.RestoreGrant(t.Context(), "a", g, g.Summary(rotating, time.Now())); err != nil {
		t.Error(err)
	}
	sameGrant(t, "the stored grant", readGrant(t, store, "a").Grant, again)
}

// The answer to a consent was lost. Until it is repeated, another process has presented
// its token, and the store has lost everything.
func TestARepeatedConsentDoesNotSettleAStore(t *testing.T) {
	server := redistest.Start(t)
	store := openGrants(t, server.URL(), 500*time.Millisecond, redisstore.Options{})
	before := readGrant(t, store, "a")
	consent := before.Grant.Consented(coordinator.Consent{Token: coordinator.NewToken("r0")}, before.Now.Add(-10*time.Second))
	used, _ := marked(t, consent)
	saved(t, store, "a", consent)
	wantUnsettled(t, store, "a")
	restored(t, store, "a", used)
	settles(t, store, "a")
}

// The run ID of a server would not show this.
func TestAServerThatIsPromotedAgainIsNotTakenForTheSame(t *testing.T) {
	r := redistest.StartReplicated(t, 1, 0)
	one, other := r.Servers[0], r.Servers[1]
	onOne := openGrants(t, one.URL(), time.Minute, redisstore.Options{})
	onOther := openGrants(t, other.URL(), 100*time.Millisecond, redisstore.Options{})
	g := consented(t, onOne, "a", "r0")
	eventually(t, "the replica has it", patience, func() bool { return other.MustDo(t, "exists", "zhongkong-grant:{a}") == int64(1) })

	other.MustDo(t, "replicaof", "no", "one")
	one.MustDo(t, "replicaof", "127.0.0.1", other.Port())
	eventually(t, "the other is settled", patience, func() bool { return readGrant(t, onOther, "a").SettledIn == 0 })
	one.MustDo(t, "replicaof", "no", "one")
	lost, _ := marked(t, g)
	saved(t, onOther, "a", lost)

	if got := readGrant(t, onOne, "a"); !got.Grant.Same(g) || got.SettledIn <= 0 {
		t.Errorf("version %d, settled in %v; want version %d of a store that is not settled", got.Grant.Version, got.SettledIn, g.Version)
	}
	restored(t, onOne, "a", lost)
}

func TestAGrantThatTooFewReplicasHaveIsNotConfirmed(t *testing.T) {
	t.Parallel() // it mostly waits
	r := redistest.StartReplicated(t, 1, 0)
	store := openGrants(t, r.Servers[0].URL(), time.Minute, redisstore.Options{Replicas: 1})
	g := consented(t, store, "a", "r0")
	if err := store.SetGrantMember(t.Context(), "a", "b", true); err != nil {
		t.Error(err)
	}
	r.Servers[1].Pause()
	g, _ = marked(t, g)
	for range 2 { // also the repeated one, which changes nothing
		if err := saveGrant(t, store, "a", g); !errors.Is(err, coordinator.ErrUnconfirmed) {
			t.Errorf("SaveGrant() with a hung replica = %v, want %v", err, coordinator.ErrUnconfirmed)
		}
	}
	if err := store.SetGrantMember(t.Context(), "a", "b", false); !errors.Is(err, coordinator.ErrUnconfirmed) {
		t.Errorf("SetGrantMember() with a hung replica = %v, want %v", err, coordinator.ErrUnconfirmed)
	}
	older := g
	older.Version--
	if err := saveGrant(t, store, "a", older); !errors.Is(err, coordinator.ErrGrantChanged) || errors.Is(err, coordinator.ErrUnconfirmed) {
		t.Errorf("SaveGrant() of nothing new = %v, want %v alone", err, coordinator.ErrGrantChanged)
	}
	r.Servers[1].Resume()
	eventually(t, "the grant is confirmed", patience, func() bool { return saveGrant(t, store, "a", g) == nil })
	if got := store.Stats().Unconfirmed; got != 0 {
		t.Errorf("Stats.Unconfirmed = %d: it counts tokens", got)
	}
}

// Each grant that waits for its confirmation keeps a connection busy.
func TestGrantsThatWaitLeaveConnectionsForTokens(t *testing.T) {
	t.Parallel() // it mostly waits
	r := redistest.StartReplicated(t, 1, 0)
	store := openGrants(t, r.Servers[0].URL()+"?pool_size=10", time.Minute, redisstore.Options{Replicas: 1, Timeout: 2 * time.Second})
	r.Servers[1].Pause()
	defer r.Servers[1].Resume()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var saves sync.WaitGroup
	for i := range 30 {
		saves.Go(func() {
			g := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("r0")}, time.Now())
			err := store.SaveGrant(ctx, fmt.Sprint("a", i), g, g.Summary(rotating, time.Now()))
			if !errors.Is(err, coordinator.ErrUnconfirmed) || errors.Is(err, coordinator.ErrUnreachable) {
				t.Errorf("SaveGrant() = %v, want %v alone", err, coordinator.ErrUnconfirmed)
			}
		})
	}
	for tick := time.Tick(50 * time.Millisecond); ctx.Err() == nil; <-tick {
		begun(t, store, "b", 0)
	}
	saves.Wait()
}
