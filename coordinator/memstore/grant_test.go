package memstore_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

func TestStoreKeepsToTheContractOfGrants(t *testing.T) {
	store := memstore.New()
	var n atomic.Int32
	coordinatortest.TestGrantStore(t, func(*testing.T) coordinator.Store {
		return store.Instance(fmt.Sprintf("process-%d", n.Add(1)))
	})
}

func TestAChangedServerTakesNothingButWhatItMayHaveLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		rules := coordinator.GrantRules{Needed: true}
		present := func(g coordinator.Grant) coordinator.Grant {
			t.Helper()
			next, _, err := g.Present(coordinator.PresentRequest{
				Fence: g.Newest() + coordinator.Fence(g.Version), Now: time.Now(), For: time.Minute,
				Rules: coordinator.GrantRules{Needed: true, Replay: time.Hour},
			})
			if err != nil {
				t.Fatal(err)
			}
			return next
		}
		save := func(g coordinator.Grant) error {
			return store.SaveGrant(t.Context(), account, g, g.Summary(rules, time.Now()))
		}
		first := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("r0")}, time.Now())
		second := present(first)
		for _, g := range []coordinator.Grant{first, second} {
			if err := save(g); err != nil {
				t.Fatal(err)
			}
		}

		store.LoseGrantWrites(account, 1)
		if got := store.Peek(account).Grant; got == nil || got.Version != first.Version {
			t.Errorf("Peek() = %+v after the loss, want version %d", got, first.Version)
		}
		r, err := store.LoadGrant(t.Context(), account)
		if err != nil || r.SettledIn != coordinator.GrantSettle || !r.Grant.Same(first) {
			t.Errorf("LoadGrant() = version %d, settled in %v, %v", r.Grant.Version, r.SettledIn, err)
		}
		var unsettled *coordinator.UnsettledError
		if err := save(second); !errors.As(err, &unsettled) {
			t.Errorf("SaveGrant() = %v, want an *UnsettledError", err)
		}
		if err := store.RestoreGrant(t.Context(), account, second, second.Summary(rules, time.Now())); err != nil {
			t.Fatal(err)
		}
		time.Sleep(coordinator.GrantSettle)
		if err := save(present(second)); err != nil {
			t.Errorf("SaveGrant() = %v after %v", err, coordinator.GrantSettle)
		}

		store.Flush()
		if r, err := store.LoadGrant(t.Context(), account); err != nil || r.Grant.Version != 0 || r.SettledIn != coordinator.GrantSettle {
			t.Errorf("after a flush LoadGrant() = version %d, settled in %v, %v", r.Grant.Version, r.SettledIn, err)
		}
		store.Unconfirm(1)
		if err := save(coordinator.Grant{}.Consented(coordinator.Consent{}, time.Now())); !errors.Is(err, coordinator.ErrUnconfirmed) {
			t.Errorf("SaveGrant() = %v, want %v", err, coordinator.ErrUnconfirmed)
		}
		if store.PeekGrant(account).Version != 1 {
			t.Error("what was not confirmed is not stored")
		}
	})
}

func TestAGrantIsSettledInTimeThoughTheClockIsSetBack(t *testing.T) {
	store := memstore.New()
	for _, skew := range []time.Duration{0, -time.Hour} {
		store.SetSkew(skew)
		if r, err := store.LoadGrant(t.Context(), account); err != nil || r.SettledIn <= 0 || r.SettledIn > coordinator.GrantSettle {
			t.Errorf("skew %v: SettledIn = %v, %v, want more than 0 and at most %v", skew, r.SettledIn, err, coordinator.GrantSettle)
		}
	}
}

func TestAllWritesOfAGrantCanBeUnconfirmed(t *testing.T) {
	store := memstore.New()
	now := time.Now()
	g := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("r0")}, now)
	s := g.Summary(coordinator.GrantRules{Needed: true}, now)
	for _, write := range []struct {
		name string
		do   func() error
	}{
		{"RestoreGrant", func() error { return store.RestoreGrant(t.Context(), account, g, s) }},
		{"SaveGrant", func() error { return store.SaveGrant(t.Context(), account, g, s) }},
		{"SetGrantMember", func() error { return store.SetGrantMember(t.Context(), account, "member", true) }},
		{"DropGrant", func() error { return store.DropGrant(t.Context(), account, g) }},
	} {
		store.Unconfirm(1)
		if err := write.do(); !errors.Is(err, coordinator.ErrUnconfirmed) {
			t.Errorf("%s() = %v, want %v", write.name, err, coordinator.ErrUnconfirmed)
		}
		if err := write.do(); err != nil {
			t.Errorf("%s() = %v when it is repeated", write.name, err)
		}
	}
}

func TestWhatChangesNothingNeedsNoConfirmation(t *testing.T) {
	store := memstore.New()
	now := time.Now()
	first := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("r0")}, now)
	second := first.Consented(coordinator.Consent{Token: coordinator.NewToken("s0")}, now)
	s := second.Summary(coordinator.GrantRules{Needed: true}, now)
	if err := store.RestoreGrant(t.Context(), account, second, s); err != nil {
		t.Fatal(err)
	}
	store.Unconfirm(1)
	if err := store.RestoreGrant(t.Context(), account, first, s); err != nil {
		t.Errorf("RestoreGrant() of an older record = %v", err)
	}
	if err := store.DropGrant(t.Context(), account, first); err != nil {
		t.Errorf("DropGrant() of another record = %v", err)
	}
}
