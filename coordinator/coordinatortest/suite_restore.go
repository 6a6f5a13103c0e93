package coordinatortest

import (
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

func restoreChecks() []check {
	return []check{
		{"a lost record is put back as it was", lostRecordIsPutBack},
		{"a repeated restore returns the record again", restoreIsRepeatable},
		{"a record that is as new stays", asNewStays},
		{"a newer record stays and is returned", newerStays},
		{"an older record is replaced", olderIsReplaced},
		{"a newer attempt forbids it", newerAttemptForbids},
		{"a record that no store can have held is not put back", incredibleRestore},
		{"fences rise above what was restored", fencesRiseAboveRestored},
		{"a restore settles the attempt of its token, and no other", restoreSettlesItsAttempt},
		{"the TTL is what was left, not the life", restoredTTL},
	}
}

// lost is a record of the account that the store does not have.
func (w *fixture) lost(token string) coordinator.Record {
	now := w.load().Now.Truncate(time.Millisecond)
	return coordinator.Record{
		Token:      coordinator.NewToken(token),
		Generation: coordinator.Fence(now.UnixMicro()),
		IssuedAt:   now.Add(-time.Hour),
		ExpiresAt:  now.Add(time.Hour),
		IssuedBy:   "an instance that has ended",
		RefreshAt:  now.Add(30 * time.Minute),
		TTL:        59 * time.Minute,
	}
}

func lostRecordIsPutBack(w *fixture) {
	for _, refreshAt := range []time.Duration{0, 10 * time.Minute} {
		w := w.beside()
		r := w.lost("token")
		r.RefreshAt = time.Time{}
		if refreshAt > 0 {
			r.RefreshAt = r.IssuedAt.Add(refreshAt)
		}
		w.wantRecord(w.restore(r), r)
		s := w.another().load()
		w.wantRecord(s.Record, r)
		if s.Fence < r.Generation || len(s.Open) != 0 {
			w.Errorf("Fence = %d, Open = %v, want at least %d and none", s.Fence, s.Open, r.Generation)
		}
	}
}

func restoreIsRepeatable(w *fixture) {
	events := w.follow(coordinator.Refresher)
	r := w.lost("token")
	for range 3 {
		w.wantRecord(w.restore(r), r)
	}
	w.wantRecord(w.load().Record, r)
	events.wantCount(w, coordinator.EventRestored, 1)
}

func asNewStays(w *fixture) {
	stored := w.refresh("token")
	r := w.lost("another token")
	r.Generation = stored.Generation
	w.wantRecord(w.restore(r), stored)
	w.wantRecord(w.load().Record, stored)
}

func newerStays(w *fixture) {
	r := w.lost("old")
	stored := w.refresh("new")
	if r.Generation >= stored.Generation {
		w.Fatalf("generation %d follows the instant %d", stored.Generation, r.Generation)
	}
	w.wantRecord(w.restore(r), stored)
	w.wantRecord(w.load().Record, stored)
}

func olderIsReplaced(w *fixture) {
	stored := w.refresh("old")
	r := w.lost("new")
	r.Generation = stored.Generation + 1
	w.wantRecord(w.restore(r), r)
	w.wantRecord(w.load().Record, r)
}

func newerAttemptForbids(w *fixture) {
	r := w.lost("token")
	attempt := w.begin(w.start(r.Generation))
	w.wantNone(w.restore(r))
	s := w.load()
	w.wantNone(s.Record)
	if s.Fence != attempt.Fence || len(s.Open) != 1 {
		w.Errorf("Fence = %d, Open = %v, want %d and one", s.Fence, s.Open, attempt.Fence)
	}
	// Nor may it come back when that attempt has failed: it is unknown what it
	// issued.
	w.fail(failed(attempt, coordinator.FailedUnknown))
	w.wantNone(w.restore(r))
}

func incredibleRestore(w *fixture) {
	ahead, eternal := w.lost("token"), w.lost("token")
	ahead.Generation = 1<<53 - 1
	eternal.TTL, eternal.ExpiresAt = 2*coordinator.MaxLifetime, eternal.IssuedAt.Add(3*coordinator.MaxLifetime)
	for _, r := range []coordinator.Record{ahead, eternal} {
		w.wantNone(w.restore(r))
	}
	if s := w.load(); s.Record.Generation != 0 || s.Fence != 0 {
		w.Errorf("Load() = %+v, want nothing", s)
	}
	if r := w.refresh("next"); !r.Usable() {
		w.Errorf("the account cannot be refreshed any more: %+v", r)
	}
}

func fencesRiseAboveRestored(w *fixture) {
	r := w.lost("token")
	r.Generation += 3_600_000_000 // the lost store's clock was ahead
	w.restore(r)
	attempt := w.begin(w.start(r.Generation))
	if attempt.Fence <= r.Generation {
		w.Errorf("fence %d follows generation %d", attempt.Fence, r.Generation)
	}
	w.commit(w.stored(attempt, "next"))
}

// The begin is there, and the commit was lost.
func restoreSettlesItsAttempt(w *fixture) {
	w.begin(w.start(0))
	attempt := w.begin(w.start(0))
	w.wantOpen(2, 0)
	r := w.lost("token")
	r.Generation = attempt.Fence
	w.wantRecord(w.restore(r), r)
	w.wantOpen(1, 0)
	next := w.begin(w.start(r.Generation))
	w.commit(w.stored(next, "next"))
	w.wantOpen(1, 0)
}

func restoredTTL(w *fixture) {
	r := w.lost("token")
	r.TTL = short
	w.restore(r)
	if got := w.load().Record.TTL; got > short {
		w.Errorf("TTL = %v, want at most %v", got, short)
	}
	w.eventually("the record is gone", func(s coordinator.State) bool { return s.Record.Generation == 0 })
}
