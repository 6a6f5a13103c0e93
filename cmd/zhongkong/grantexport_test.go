package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/grantfile"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

// exporting is a session without Redis, whose export is sealed.
func exporting(t *testing.T) (*session, grantSealer) {
	t.Helper()
	keys, err := seal.Parse("keys", []byte(seal.NewLine(time.Now())))
	if err != nil {
		t.Fatal(err)
	}
	s := &session{program: program{stderr: &bytes.Buffer{}}, cfg: &config.Config{}, keys: keys}
	return s, grantSealer{keys: keys, place: "{export}"}
}

func consented(t *testing.T, store coordinator.GrantStore, account, token string) coordinator.Grant {
	t.Helper()
	r, err := store.LoadGrant(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	g := r.Grant.Consented(coordinator.Consent{Token: coordinator.NewToken(token)}, r.Now)
	if err := store.SaveGrant(t.Context(), account, g, g.Summary(coordinator.GrantRules{}, r.Now)); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestAnExportOfOneFleetIsRestoredIntoAnother(t *testing.T) {
	from, to := memstore.New(), memstore.New()
	s, sealer := exporting(t)
	want := map[string]coordinator.Grant{}
	for i := range 50 {
		name := fmt.Sprintf("wxauthorizer%d", i)
		want[name] = consented(t, from, name, "refresh-"+name)
		if err := from.SetGrantMember(t.Context(), "wxplatform", name, true); err != nil {
			t.Fatal(err)
		}
	}
	want["crm"] = consented(t, from, "crm", "refresh-crm")
	newer := consented(t, to, "crm", "refresh-new")

	e := grantExport{store: from, at: map[string]int{}}
	if err := e.collect(t.Context(), []string{"crm", "wxplatform", "wxnone"}); err != nil {
		t.Fatal(err)
	}
	var archive strings.Builder
	if err := grantfile.WriteArchive(&archive, sealer, e.records); err != nil {
		t.Fatal(err)
	}
	records, err := grantfile.ReadArchive(strings.NewReader(archive.String()), sealer)
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != len(want) {
		t.Errorf("%d records, want %d", len(records), len(want))
	}
	for range 2 { // the second time changes nothing
		for _, r := range records {
			kept, _, err := s.restoreGrant(t.Context(), to, r)
			if err != nil || kept != (r.Account == "crm") {
				t.Fatalf("restoreGrant(%s) = newer %v, %v", r.Account, kept, err)
			}
		}
	}
	want["crm"] = newer
	for name, g := range want {
		if read, err := to.LoadGrant(t.Context(), name); err != nil || !read.Grant.Same(g) {
			t.Errorf("the grant of %s is version %d, %v", name, read.Grant.Version, err)
		}
	}
	members, err := to.GrantMembers(t.Context(), "wxplatform")
	if err != nil || len(members) != 50 || !slices.Contains(members, "wxauthorizer7") {
		t.Errorf("GrantMembers() = %v, %v", members, err)
	}
}

func TestARestoreMakesNoMemberAgainOfAnAccountThatWasWithdrawnSince(t *testing.T) {
	store := memstore.New()
	s, _ := exporting(t)
	for _, name := range []string{"left", "stayed"} {
		old := consented(t, store, name, "first")
		consented(t, store, name, map[string]string{"stayed": "second", "left": ""}[name])
		kept, _, err := s.restoreGrant(t.Context(), store, grantfile.Record{Account: name, Grant: old, MemberOf: []string{"suite"}})
		if err != nil || !kept {
			t.Errorf("restoreGrant(%s) = newer %v, %v", name, kept, err)
		}
	}
	if members, err := store.GrantMembers(t.Context(), "suite"); err != nil || !slices.Equal(members, []string{"stayed"}) {
		t.Errorf("GrantMembers() = %v, %v", members, err)
	}
}

// The secrets are not there while the service is stopped, so no source says what it needs.
func TestARestoreKnowsWithoutItsSecretThatAPlatformsTicketIsPushed(t *testing.T) {
	store := memstore.New()
	s, _ := exporting(t)
	s.cfg.SetAccounts([]config.Account{{Name: "wxplatform", Source: sources.WeChatPlatform}})
	g := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("ticket")}, time.Now())
	if _, _, err := s.restoreGrant(t.Context(), store, grantfile.Record{Account: "wxplatform", Grant: g}); err != nil {
		t.Fatal(err)
	}
	states, err := store.Load(t.Context(), "wxplatform")
	if err != nil || states[0].Grant == nil || !states[0].Grant.Received {
		t.Errorf("the summary is %+v, %v, want one that is received", states, err)
	}
}

func TestARestoreIsRepeatedUntilItIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := memstore.New()
		s, _ := exporting(t)
		g := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("refresh")}, time.Now())
		for what, r := range map[string]grantfile.Record{
			"a grant":  {Account: "crm", Grant: g},
			"a member": {Account: "wxauthorizer", MemberOf: []string{"wxplatform"}},
		} {
			to.Unconfirm(1)
			if _, _, err := s.restoreGrant(t.Context(), to, r); err != nil {
				t.Errorf("restoreGrant() of %s = %v", what, err)
			}
			to.Unconfirm(100)
			if _, _, err := s.restoreGrant(t.Context(), to, r); !errors.Is(err, coordinator.ErrUnconfirmed) {
				t.Errorf("restoreGrant() of %s that is never confirmed = %v", what, err)
			}
		}
	})
}

func TestAnExportSaysWhoseRefreshIsUnderWay(t *testing.T) {
	store := memstore.New()
	g := consented(t, store, "crm", "refresh")
	r, err := store.LoadGrant(t.Context(), "crm")
	if err != nil {
		t.Fatal(err)
	}
	marked, _, err := g.Present(coordinator.PresentRequest{Fence: g.Newest() + 1, Now: r.Now, For: time.Minute})
	if err == nil {
		err = store.SaveGrant(t.Context(), "crm", marked, marked.Summary(coordinator.GrantRules{}, r.Now))
	}
	if err != nil {
		t.Fatal(err)
	}
	e := grantExport{store: store, at: map[string]int{}}
	if err := e.collect(t.Context(), []string{"crm"}); err != nil || !slices.Equal(e.underWay, []string{"crm"}) {
		t.Errorf("collect() = %v, under way %v", err, e.underWay)
	}
}
