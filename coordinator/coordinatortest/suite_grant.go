package coordinatortest

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// TestGrantStore checks that a store keeps to the contract of coordinator.GrantStore.
// What open returns must implement that, too; the rest is as for TestStore.
//
// That a store survives the loss of its server, and notices it, is not checked: how a
// server is lost is the store's own.
func TestGrantStore(t *testing.T, open func(t *testing.T) coordinator.Store) {
	runChecks(t, []group{
		{"grant", grantChecks()},
		{"restored grant", grantRestoreChecks()},
		{"members", memberChecks()},
	}, open)
}

func grantChecks() []check {
	return []check{
		{"an account that the store has never seen has none", noGrantYet},
		{"before a consent the store may have lost one: nothing else is taken", unsettledGrant},
		{"a consent is taken and ends that", consentIsTaken},
		{"a consent of before the store was asked is taken and does not end that", earlierConsentSettlesNothing},
		{"it is stored whole, and another process reads it", grantIsWhole},
		{"the event carries the summary", grantEvent},
		{"readers see the summary", grantSummaryIsRead},
		{"only the next version is taken", onlyNextVersion},
		{"a version is taken only in place of the one that it was made of", onlyItsPredecessor},
		{"a repeated save is confirmed and changes nothing", grantSaveIsRepeatable},
		{"a consent takes the place of any version but the next one only", consentNeedsVersion},
		{"a version of an older consent is not taken", olderConsentIsNotTaken},
		{"one of many saves wins", oneSaveWins},
		{"fences rise above its newest token and its consent", fencesRiseAboveGrant},
		{"an attempt of before a consent is superseded", consentSupersedes},
		{"pushed tokens order no attempts", pushedOrdersNothing},
		{"it and the access token do not touch each other", grantIsApart},
		{"it is dropped if it is what is stored", grantIsDropped},
		{"an operation whose context has ended changes nothing", grantContext},
	}
}

func (w *fixture) grants() coordinator.GrantStore {
	w.Helper()
	grants, ok := w.store.(coordinator.GrantStore)
	if !ok {
		w.Fatalf("%T is no coordinator.GrantStore", w.store)
	}
	return grants
}

func (w *fixture) loadGrant() coordinator.GrantReading {
	w.Helper()
	r, err := w.grants().LoadGrant(w.Context(), w.account)
	if err != nil {
		w.Fatalf("LoadGrant() = %v", err)
	}
	return r
}

// grantRules are those of an issuer that uses tokens up.
var grantRules = coordinator.GrantRules{Needed: true}

// summary returns what is stored beside g.
func (w *fixture) summary(g coordinator.Grant) coordinator.GrantSummary {
	return g.Summary(grantRules, time.Now().UTC().Truncate(time.Second))
}

func (w *fixture) trySave(g coordinator.Grant) error {
	return w.grants().SaveGrant(w.Context(), w.account, g, w.summary(g))
}

func (w *fixture) saveGrant(g coordinator.Grant) coordinator.Grant {
	w.Helper()
	if err := w.trySave(g); err != nil {
		w.Fatalf("SaveGrant(version %d) = %v", g.Version, err)
	}
	return g
}

// consent stores a new grant in place of g.
func (w *fixture) consent(g coordinator.Grant, token string) coordinator.Grant {
	w.Helper()
	return w.saveGrant(g.Consented(coordinator.Consent{Token: coordinator.NewToken(token), Idle: time.Hour, Ends: 2 * time.Hour}, w.now()))
}

// now is the store's clock, in whole seconds.
func (w *fixture) now() time.Time {
	w.Helper()
	return w.load().Now.UTC().Truncate(time.Second)
}

// presented returns g with one more presentation of its token.
func (w *fixture) presented(g coordinator.Grant) coordinator.Grant {
	w.Helper()
	next, _, err := g.Present(coordinator.PresentRequest{
		Fence: max(g.Newest(), g.Consent) + 1 + coordinator.Fence(len(g.Presentations)), Now: w.now(), For: time.Minute,
		Rules: coordinator.GrantRules{Needed: true, Replay: time.Hour},
	})
	if err != nil {
		w.Fatalf("Present() = %v", err)
	}
	return next
}

func (w *fixture) wantGrant(got, want coordinator.Grant) {
	w.Helper()
	if !bytes.Equal(coordinator.EncodeGrant(got), coordinator.EncodeGrant(want)) {
		w.Errorf("the stored grant has version %d, want %d with the same contents", got.Version, want.Version)
	}
}

// wantSummary compares summaries in their instants, wherever these are counted from.
func (w *fixture) wantSummary(got *coordinator.GrantSummary, want coordinator.GrantSummary) {
	w.Helper()
	if got == nil {
		w.Fatalf("there is no summary, want %+v", want)
	}
	same := *got
	for _, at := range []struct{ got, want *time.Time }{
		{&same.DoubtAt, &want.DoubtAt},
		{&same.DeadAt, &want.DeadAt},
		{&same.GoodAt, &want.GoodAt},
		{&same.ConsentedAt, &want.ConsentedAt},
		{&same.ObtainedAt, &want.ObtainedAt},
		{&same.IdleUntil, &want.IdleUntil},
		{&same.EndsAt, &want.EndsAt},
		{&same.ReplayUntil, &want.ReplayUntil},
	} {
		if at.got.Equal(*at.want) && at.got.IsZero() == at.want.IsZero() {
			*at.got = *at.want
		}
	}
	if same != want {
		w.Errorf("the summary is %+v, want %+v", *got, want)
	}
}

func noGrantYet(w *fixture) {
	r := w.loadGrant()
	if r.Grant.Version != 0 || len(r.Grant.Tokens) != 0 {
		w.Errorf("LoadGrant() = version %d, want none", r.Grant.Version)
	}
	if r.SettledIn <= 0 || r.SettledIn > coordinator.GrantSettle {
		w.Errorf("SettledIn = %v, want more than 0 and at most %v", r.SettledIn, coordinator.GrantSettle)
	}
	if d := w.load().Now.Sub(r.Now); d < -time.Millisecond || d > slack {
		w.Errorf("Now is %v before that of the next reading", d)
	}
	if s := w.load(); s.Grant != nil || s.Fence != 0 {
		w.Errorf("State.Grant = %+v, Fence = %d, want none", s.Grant, s.Fence)
	}
}

func unsettledGrant(w *fixture) {
	events := w.follow(coordinator.Refresher)
	g := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("r0")}, w.now())
	g.Consent = 0 // no consent: an answer that is newer than all that is there
	var unsettled *coordinator.UnsettledError
	if err := w.trySave(g); !errors.As(err, &unsettled) || unsettled.RetryIn <= 0 || unsettled.RetryIn > coordinator.GrantSettle {
		w.Errorf("SaveGrant() = %v, want an *UnsettledError for at most %v", err, coordinator.GrantSettle)
	}
	if r := w.loadGrant(); r.Grant.Version != 0 {
		w.Errorf("version %d was stored", r.Grant.Version)
	}
	events.wantCount(w, coordinator.EventGrant, 0)
}

func consentIsTaken(w *fixture) {
	g := w.consent(coordinator.Grant{}, "r0")
	for _, w := range []*fixture{w, w.another()} {
		r := w.loadGrant()
		w.wantGrant(r.Grant, g)
		if r.SettledIn != 0 {
			w.Errorf("SettledIn = %v after a consent, want 0", r.SettledIn)
		}
	}
	next := w.saveGrant(w.presented(g))
	w.wantGrant(w.loadGrant().Grant, next)
}

// It is repeated, because its answer was lost: what the store lost may have been made of it.
func earlierConsentSettlesNothing(w *fixture) {
	before := w.loadGrant()
	g := w.saveGrant(coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("r0")}, w.now().Add(-10*time.Second)))
	r := w.another().loadGrant()
	w.wantGrant(r.Grant, g)
	if r.SettledIn <= 0 || r.SettledIn > before.SettledIn {
		w.Errorf("SettledIn = %v, want more than 0 and at most %v", r.SettledIn, before.SettledIn)
	}
	next := w.presented(g)
	var unsettled *coordinator.UnsettledError
	if err := w.trySave(next); !errors.As(err, &unsettled) || unsettled.RetryIn > r.SettledIn {
		w.Errorf("SaveGrant() = %v, want an *UnsettledError for at most %v", err, r.SettledIn)
	}
	w.restoreGrant(next)
	w.wantGrant(w.loadGrant().Grant, next)
}

func grantIsWhole(w *fixture) {
	g := w.consent(coordinator.Grant{}, "r0 \x00 \"不合法\"")
	for range 3 {
		g = w.saveGrant(w.presented(g))
	}
	g = w.presented(g)
	g.Replaced = []string{"a fingerprint"}
	g.ConsentedAt = w.now().Add(-time.Minute)
	g.ObtainedAt, g.IdleUntil, g.EndsAt = w.now(), w.now().Add(time.Hour), w.now().AddDate(5, 0, 0)
	for i, token := range []string{"r1", "r2"} {
		g.Tokens = append(g.Tokens, coordinator.GrantToken{
			Token: coordinator.NewToken(token), Form: "form", Fence: g.Newest() + 7, Parent: g.Consent,
			Refused: i == 0, Probed: i == 1, At: w.now(), Until: w.now().Add(time.Minute),
		})
	}
	g.Presentations[1].Probe, g.Presentations[2].Over = true, true
	w.saveGrant(g)
	w.wantGrant(w.loadGrant().Grant, g)
	w.wantGrant(w.another().loadGrant().Grant, g)
}

func grantEvent(w *fixture) {
	for _, role := range []coordinator.Role{coordinator.Refresher, coordinator.Reader} {
		w := w.beside()
		events, by := w.watched(role)
		g := w.consent(coordinator.Grant{}, "r0")
		e := events.await(w, coordinator.EventGrant)
		w.wantEvent(e, by, "", 0)
		w.wantSummary(e.Grant, w.summary(g))
	}
}

func grantSummaryIsRead(w *fixture) {
	g := w.consent(coordinator.Grant{}, "r0")
	w.wantSummary(w.another().load().Grant, w.summary(g))
	g = w.presented(g)
	s := w.summary(g)
	s.ConsentedAt, s.Received = w.now(), true
	s.DoubtAt, s.DeadAt, s.ReplayUntil = w.now().Add(time.Minute), w.now().Add(time.Hour), w.now().Add(time.Second)
	if err := w.grants().SaveGrant(w.Context(), w.account, g, s); err != nil {
		w.Fatalf("SaveGrant() = %v", err)
	}
	w.wantSummary(w.another().load().Grant, s)
}

func onlyNextVersion(w *fixture) {
	first := w.consent(coordinator.Grant{}, "r0")
	stored := w.saveGrant(w.presented(first))
	events := w.follow(coordinator.Refresher)
	skipped := w.presented(w.presented(stored))
	for name, g := range map[string]coordinator.Grant{
		"the version before": first, "another save of the same version": w.presented(first), "the next but one": skipped,
	} {
		if err := w.trySave(g); !errors.Is(err, coordinator.ErrGrantChanged) {
			w.Errorf("SaveGrant(%s) = %v, want %v", name, err, coordinator.ErrGrantChanged)
		}
	}
	w.wantGrant(w.loadGrant().Grant, stored)
	events.wantCount(w, coordinator.EventGrant, 0)
}

// After a failover two versions can have one number.
func onlyItsPredecessor(w *fixture) {
	first := w.consent(coordinator.Grant{}, "r0")
	lost, stored := w.presented(first), w.saveGrant(w.presented(first))
	events := w.follow(coordinator.Refresher)
	for name, g := range map[string]coordinator.Grant{
		"a transition": w.presented(lost), "a consent": lost.Consented(coordinator.Consent{Token: coordinator.NewToken("s0")}, w.now()),
	} {
		if err := w.trySave(g); !errors.Is(err, coordinator.ErrGrantChanged) {
			w.Errorf("SaveGrant(%s of another save) = %v, want %v", name, err, coordinator.ErrGrantChanged)
		}
	}
	w.wantGrant(w.loadGrant().Grant, stored)
	events.wantCount(w, coordinator.EventGrant, 0)
}

func grantSaveIsRepeatable(w *fixture) {
	events := w.follow(coordinator.Refresher)
	g := w.consent(coordinator.Grant{}, "r0")
	w.saveGrant(g)
	g = w.presented(g)
	for range 3 {
		w.saveGrant(g)
		w.another().saveGrant(g)
	}
	w.wantGrant(w.loadGrant().Grant, g)
	events.wantCount(w, coordinator.EventGrant, 2)
}

func consentNeedsVersion(w *fixture) {
	g := w.consent(coordinator.Grant{}, "r0")
	late := g.Consented(coordinator.Consent{Token: coordinator.NewToken("s0")}, w.now())
	stored := w.saveGrant(w.presented(g))
	if err := w.trySave(late); !errors.Is(err, coordinator.ErrGrantChanged) {
		w.Errorf("SaveGrant() of a consent = %v, want %v", err, coordinator.ErrGrantChanged)
	}
	w.wantGrant(w.loadGrant().Grant, stored)
	next := w.consent(stored, "s0")
	w.wantGrant(w.another().loadGrant().Grant, next)
}

func olderConsentIsNotTaken(w *fixture) {
	first := w.consent(coordinator.Grant{}, "r0")
	stored := w.consent(first, "s0")
	events := w.follow(coordinator.Refresher)
	older := w.presented(stored)
	older.Consent = first.Consent
	if err := w.trySave(older); !errors.Is(err, coordinator.ErrGrantChanged) {
		w.Errorf("SaveGrant() = %v, want %v", err, coordinator.ErrGrantChanged)
	}
	w.wantGrant(w.loadGrant().Grant, stored)
	events.wantCount(w, coordinator.EventGrant, 0)
}

func oneSaveWins(w *fixture) {
	const processes, rounds = 4, 5
	g := w.consent(coordinator.Grant{}, "r0")
	stores := make([]*fixture, processes)
	for i := range stores {
		stores[i] = w.another()
	}
	for range rounds {
		var wg sync.WaitGroup
		var won atomic.Int32
		for _, p := range stores {
			next := w.presented(g)
			wg.Go(func() {
				switch err := p.trySave(next); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, coordinator.ErrGrantChanged):
					p.Errorf("SaveGrant() = %v", err)
				}
			})
		}
		wg.Wait()
		if n := won.Load(); n != 1 {
			w.Fatalf("%d of %d saves of one version were stored", n, processes)
		}
		g = w.loadGrant().Grant
	}
}

func fencesRiseAboveGrant(w *fixture) {
	g := w.consent(coordinator.Grant{}, "r0")
	if s := w.load(); s.Fence < g.Consent {
		w.Errorf("State.Fence = %d, want at least the consent %d", s.Fence, g.Consent)
	}
	g = w.presented(g)
	ahead := coordinator.Fence(w.now().Add(time.Hour).UnixMicro())
	g.Tokens = append(g.Tokens, coordinator.GrantToken{Token: coordinator.NewToken("r1"), Fence: ahead})
	w.saveGrant(g)
	if s := w.load(); s.Fence != ahead {
		w.Errorf("State.Fence = %d, want %d", s.Fence, ahead)
	}
	if attempt := w.begin(w.start(0)); attempt.Fence != ahead+1 {
		w.Errorf("the next fence is %d, want %d", attempt.Fence, ahead+1)
	}
}

func consentSupersedes(w *fixture) {
	attempt := w.begin(w.start(0))
	w.saveGrant(coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("r0")}, w.now().Add(time.Second)))
	if _, err := w.store.Commit(w.Context(), w.account, w.stored(attempt, "token")); !errors.Is(err, coordinator.ErrSuperseded) {
		w.Errorf("Commit() = %v, want %v", err, coordinator.ErrSuperseded)
	}
}

// push stores a token that the issuer has pushed after all that w knows of.
func (w *fixture) push(g coordinator.Grant, token string) coordinator.Grant {
	w.Helper()
	next, _ := g.WithReceived(coordinator.Received{Token: coordinator.NewToken(token), Life: time.Hour}, w.now().Add(time.Minute))
	if err := w.grants().SaveGrant(w.Context(), w.account, next, next.Summary(pushedRules, w.now())); err != nil {
		w.Fatalf("SaveGrant(version %d) = %v", next.Version, err)
	}
	return next
}

// pushedRules are those of an issuer that pushes its tokens.
var pushedRules = coordinator.GrantRules{Needed: true, Replay: coordinator.ReplayFree, Received: true}

func pushedOrdersNothing(w *fixture) {
	g := w.push(coordinator.Grant{}, "ticket 1")
	if s := w.load(); s.Fence != 0 {
		w.Errorf("State.Fence = %d after a push, want 0", s.Fence)
	}
	attempt := w.begin(w.start(0))
	w.push(g, "ticket 2")
	if s := w.load(); s.Fence != attempt.Fence {
		w.Errorf("State.Fence = %d after a push, want that of the attempt, %d", s.Fence, attempt.Fence)
	}
	w.commit(w.stored(attempt, "token"))
}

func grantIsApart(w *fixture) {
	beside := w.beside()
	g := w.consent(coordinator.Grant{}, "r0")
	record := w.refresh("token")
	w.fail(failed(w.begin(w.start(record.Generation)), coordinator.FailedBusy))
	r := w.loadGrant()
	w.wantGrant(r.Grant, g)
	if r.SettledIn != 0 {
		w.Errorf("SettledIn = %v, want 0", r.SettledIn)
	}
	w.saveGrant(w.presented(g))
	s := w.load()
	w.wantRecord(s.Record, record)
	if s.Failure == nil {
		w.Error("the failure has gone")
	}
	if other := beside.loadGrant().Grant; other.Version != 0 {
		w.Errorf("another account has version %d of it", other.Version)
	}
}

func grantIsDropped(w *fixture) {
	drop := func(g coordinator.Grant) {
		w.Helper()
		if err := w.grants().DropGrant(w.Context(), w.account, g); err != nil {
			w.Fatalf("DropGrant() = %v", err)
		}
	}
	drop(coordinator.Grant{})
	first := w.consent(coordinator.Grant{}, "r0")
	w.setMember("wx1", true)
	stored := w.saveGrant(w.presented(first))
	drop(first)
	w.wantGrant(w.loadGrant().Grant, stored)
	for range 2 {
		drop(stored)
	}
	if r := w.another().loadGrant(); r.Grant.Version != 0 || len(r.Grant.Tokens) != 0 || r.SettledIn <= 0 || r.SettledIn > coordinator.GrantSettle {
		w.Errorf("LoadGrant() = version %d, settled in %v, want none, as if the store might have lost one", r.Grant.Version, r.SettledIn)
	}
	if s := w.load(); s.Grant != nil {
		w.Errorf("State.Grant = %+v, want none", s.Grant)
	}
	w.wantMembers("wx1")
	w.consent(coordinator.Grant{}, "s0")
}

func grantContext(w *fixture) {
	g := w.consent(coordinator.Grant{}, "r0")
	next := w.presented(g)
	grants, s := w.grants(), w.summary(next)
	_, loadErr := grants.LoadGrant(canceled(), w.account)
	_, membersErr := grants.GrantMembers(canceled(), w.account)
	for name, err := range map[string]error{
		"LoadGrant":      loadErr,
		"SaveGrant":      grants.SaveGrant(canceled(), w.account, next, s),
		"RestoreGrant":   grants.RestoreGrant(canceled(), w.account, next, s),
		"DropGrant":      grants.DropGrant(canceled(), w.account, g),
		"GrantMembers":   membersErr,
		"SetGrantMember": grants.SetGrantMember(canceled(), w.account, "member", true),
	} {
		if !errors.Is(err, context.Canceled) {
			w.Errorf("%s() = %v, want %v", name, err, context.Canceled)
		}
	}
	w.wantGrant(w.loadGrant().Grant, g)
	w.wantMembers()
}
