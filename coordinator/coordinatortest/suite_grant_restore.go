package coordinatortest

import (
	"errors"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

func grantRestoreChecks() []check {
	return []check{
		{"a lost grant is put back as it was", lostGrantIsPutBack},
		{"what was put back does not say that nothing newer was lost", restoredIsUnsettled},
		{"a repeated restore changes nothing", grantRestoreIsRepeatable},
		{"an older grant is replaced, whatever its version is", olderGrantIsReplaced},
		{"a newer grant stays", newerGrantStays},
		{"another save of the same version stays", sameVersionStays},
		{"a pushed grant that was put back first keeps no token out", pushedKeepsNoTokenOut},
	}
}

func (w *fixture) restoreGrant(g coordinator.Grant) {
	w.Helper()
	if err := w.grants().RestoreGrant(w.Context(), w.account, g, w.summary(g)); err != nil {
		w.Fatalf("RestoreGrant(version %d) = %v", g.Version, err)
	}
}

// lostGrant is a grant of the account that the store does not have.
func (w *fixture) lostGrant(versions int) coordinator.Grant {
	w.Helper()
	g := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("r0")}, w.now())
	for range versions - 1 {
		g = w.presented(g)
	}
	return g
}

func lostGrantIsPutBack(w *fixture) {
	for _, role := range []coordinator.Role{coordinator.Refresher, coordinator.Reader} {
		w := w.beside()
		events, by := w.watched(role)
		g := w.lostGrant(5)
		w.restoreGrant(g)
		w.wantGrant(w.another().loadGrant().Grant, g)
		e := events.await(w, coordinator.EventGrant)
		w.wantEvent(e, by, "", 0)
		w.wantSummary(e.Grant, w.summary(g))
		s := w.another().load()
		w.wantSummary(s.Grant, w.summary(g))
		if s.Fence < g.Consent {
			w.Errorf("State.Fence = %d, want at least %d", s.Fence, g.Consent)
		}
	}
}

func restoredIsUnsettled(w *fixture) {
	g := w.lostGrant(2)
	w.restoreGrant(g)
	if r := w.loadGrant(); r.SettledIn <= 0 || r.SettledIn > coordinator.GrantSettle {
		w.Errorf("SettledIn = %v, want more than 0 and at most %v", r.SettledIn, coordinator.GrantSettle)
	}
	var unsettled *coordinator.UnsettledError
	if err := w.trySave(w.presented(g)); !errors.As(err, &unsettled) {
		w.Errorf("SaveGrant() = %v, want an *UnsettledError", err)
	}
	w.wantGrant(w.loadGrant().Grant, g)
	newer := w.presented(w.presented(g))
	w.restoreGrant(newer) // somebody remembers more
	w.wantGrant(w.loadGrant().Grant, newer)
	w.saveGrant(newer) // which is stored, so that it is only confirmed
	w.consent(newer, "s0")
	w.saveGrant(w.presented(w.loadGrant().Grant))
}

func grantRestoreIsRepeatable(w *fixture) {
	events := w.follow(coordinator.Refresher)
	g := w.lostGrant(3)
	for range 3 {
		w.restoreGrant(g)
	}
	w.wantGrant(w.loadGrant().Grant, g)
	events.wantCount(w, coordinator.EventGrant, 1)
}

func olderGrantIsReplaced(w *fixture) {
	first := w.consent(coordinator.Grant{}, "r0")
	newer := w.presented(w.presented(w.presented(first)))
	w.restoreGrant(newer)
	w.wantGrant(w.loadGrant().Grant, newer)
	consented := first.Consented(coordinator.Consent{Token: coordinator.NewToken("s0")}, w.now().Add(time.Second))
	w.restoreGrant(consented) // a lower version, and a later consent
	w.wantGrant(w.loadGrant().Grant, consented)
	w.saveGrant(w.presented(consented))
}

func newerGrantStays(w *fixture) {
	first := w.consent(coordinator.Grant{}, "r0")
	second := w.saveGrant(w.presented(first))
	stored := w.consent(second, "s0")
	events := w.follow(coordinator.Refresher)
	older := second
	for range 5 {
		older = w.presented(older) // a higher version of an earlier consent
	}
	for _, g := range []coordinator.Grant{first, second, older} {
		w.restoreGrant(g)
	}
	w.wantGrant(w.loadGrant().Grant, stored)
	events.wantCount(w, coordinator.EventGrant, 0)
}

func sameVersionStays(w *fixture) {
	first := w.consent(coordinator.Grant{}, "r0")
	stored, other := w.saveGrant(w.presented(first)), w.presented(first)
	w.restoreGrant(other)
	w.wantGrant(w.loadGrant().Grant, stored)
}

func pushedKeepsNoTokenOut(w *fixture) {
	for name, store := range map[string]func(w *fixture){
		"put back": func(w *fixture) {
			g, _ := coordinator.Grant{}.WithReceived(coordinator.Received{Token: coordinator.NewToken("ticket"), Life: time.Hour}, w.now().Add(time.Minute))
			if err := w.grants().RestoreGrant(w.Context(), w.account, g, g.Summary(pushedRules, w.now())); err != nil {
				w.Fatalf("RestoreGrant() = %v", err)
			}
		},
		"pushed anew": func(w *fixture) { w.push(coordinator.Grant{}, "ticket") },
	} {
		w := w.beside()
		lost := w.lost("token")
		store(w)
		if r, err := w.store.Restore(w.Context(), w.account, lost); err != nil || r.Generation != lost.Generation {
			w.Errorf("%s: Restore() = generation %d, %v, want %d", name, r.Generation, err, lost.Generation)
		}
	}
}
