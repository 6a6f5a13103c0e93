package coordinatortest

import (
	"slices"

	"github.com/zhongkong/zhongkong/coordinator"
)

func memberChecks() []check {
	return []check{
		{"members come and go, and each change may be repeated", membersComeAndGo},
		{"members and the grant do not touch each other", membersAreApart},
	}
}

func (w *fixture) setMember(member string, present bool) {
	w.Helper()
	if err := w.grants().SetGrantMember(w.Context(), w.account, member, present); err != nil {
		w.Fatalf("SetGrantMember(%q, %t) = %v", member, present, err)
	}
}

func (w *fixture) wantMembers(want ...string) {
	w.Helper()
	got, err := w.grants().GrantMembers(w.Context(), w.account)
	slices.Sort(got)
	if err != nil || !slices.Equal(got, want) {
		w.Errorf("GrantMembers() = %q, %v, want %q", got, err, want)
	}
}

func membersComeAndGo(w *fixture) {
	w.wantMembers()
	w.setMember("gone", false)
	for range 2 {
		for _, member := range []string{"wx2", "wx1", "wx3"} {
			w.setMember(member, true)
		}
	}
	w.another().wantMembers("wx1", "wx2", "wx3")
	for range 2 {
		w.another().setMember("wx2", false)
	}
	w.wantMembers("wx1", "wx3")
	w.beside().wantMembers()
}

func membersAreApart(w *fixture) {
	w.setMember("wx1", true)
	if r := w.loadGrant(); r.Grant.Version != 0 || r.SettledIn <= 0 {
		w.Errorf("LoadGrant() = version %d, settled in %v, want no grant", r.Grant.Version, r.SettledIn)
	}
	g := w.consent(coordinator.Grant{}, "r0")
	w.setMember("wx2", true)
	w.wantGrant(w.loadGrant().Grant, g)
	w.saveGrant(w.presented(g))
	w.wantMembers("wx1", "wx2")
}
