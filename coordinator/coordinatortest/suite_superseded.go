package coordinatortest

import (
	"errors"

	"github.com/zhongkong/zhongkong/coordinator"
)

func supersededChecks() []check {
	return []check{
		{"a stale fence is refused, and its attempt is open and overdue", staleFenceIsRefused},
		{"a stale fence is refused also when nothing is stored yet", staleFenceBeforeTheFirst},
		{"a settled attempt that turns out superseded is open again", settledIsReopened},
		{"the refresh after it settles it", supersededIsSettledByTheNext},
		{"a repeated one is superseded again", supersededIsRepeatable},
		{"only the newest of many is stored", onlyTheNewestIsStored},
	}
}

func (w *fixture) superseded(c coordinator.CommitRequest) {
	w.Helper()
	r, err := w.store.Commit(w.Context(), w.account, c)
	if !errors.Is(err, coordinator.ErrSuperseded) {
		w.Fatalf("Commit(fence %d) = generation %d, %v, want %v", c.Attempt.Fence, r.Generation, err, coordinator.ErrSuperseded)
	}
	if errors.Is(err, coordinator.ErrUnreachable) {
		w.Errorf("Commit() = %v, which is also %v", err, coordinator.ErrUnreachable)
	}
}

func staleFenceIsRefused(w *fixture) {
	r := w.refresh("token-1")
	stale := w.begin(w.start(r.Generation))
	events := w.follow(coordinator.Refresher)
	newer := w.another().begin(w.start(r.Generation))
	w.superseded(w.stored(stale, "token-2"))
	w.wantRecord(w.load().Record, r)
	w.wantOpen(2, 1)

	stored := w.commit(w.stored(newer, "token-3"))
	w.wantRecord(w.load().Record, stored)
	w.superseded(w.stored(stale, "token-2"))
	w.wantRecord(w.load().Record, stored)
	w.wantOpen(1, 1)

	w.want()
	events.await(w, coordinator.EventWanted)
	for _, e := range events.of(coordinator.EventRefreshed) {
		if e.Fence == stale.Fence {
			w.Error("a superseded commit was notified as refreshed")
		}
	}
}

func staleFenceBeforeTheFirst(w *fixture) {
	stale := w.begin(w.start(0))
	w.begin(w.start(0))
	w.superseded(w.stored(stale, "token"))
	w.wantNone(w.load().Record)
	w.wantOpen(2, 1)
}

// The holder was paused; its attempt became overdue, the successor's commit
// settled it, and now it says that it brought a token after all.
func settledIsReopened(w *fixture) {
	paused := w.beginFor(short)
	w.overdue(1)
	r := w.commit(w.stored(w.another().begin(w.start(0)), "token-2"))
	w.wantOpen(0, 0)
	w.superseded(w.stored(paused, "token-1"))
	w.wantOpen(1, 1)
	w.wantRecord(w.load().Record, r)
}

func supersededIsSettledByTheNext(w *fixture) {
	stale := w.begin(w.start(0))
	r := w.commit(w.stored(w.begin(w.start(0)), "token-2"))
	w.superseded(w.stored(stale, "token-1"))
	next := w.begin(w.start(r.Generation))
	w.wantOverdue(next, stale.Fence)
	w.commit(w.stored(next, "token-3"))
	w.wantOpen(0, 0)
}

func supersededIsRepeatable(w *fixture) {
	stale := w.begin(w.start(0))
	w.commit(w.stored(w.begin(w.start(0)), "token-2"))
	for range 3 {
		w.superseded(w.stored(stale, "token-1"))
		w.wantOpen(1, 1)
	}
}

func onlyTheNewestIsStored(w *fixture) {
	var attempts []coordinator.Attempt
	for range 5 {
		attempts = append(attempts, w.begin(w.start(0)))
	}
	newest := attempts[4]
	for _, attempt := range attempts[:4] {
		w.superseded(w.stored(attempt, "stale"))
	}
	r := w.commit(w.stored(newest, "newest"))
	w.wantRecord(w.load().Record, r)
	w.wantOpen(4, 4)
}
