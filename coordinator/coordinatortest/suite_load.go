package coordinatortest

import (
	"errors"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

func loadChecks() []check {
	return []check{
		{"an account never seen is an empty state", unknownIsEmpty},
		{"states come in the order of the accounts", loadKeepsTheOrder},
		{"no accounts are no error", loadOfNothing},
		{"the clock goes forward", clockGoesForward},
		{"a record is gone when its TTL has ended", recordEnds},
		{"every process reads the same", everyProcessReadsTheSame},
		{"an ended context is an error at once, and nothing happens", endedContext},
	}
}

func unknownIsEmpty(w *fixture) {
	s := w.load()
	if s.Account != w.account {
		w.Errorf("Account = %q, want %q", s.Account, w.account)
	}
	if s.Now.IsZero() {
		w.Error("Now is not set")
	}
	w.wantNone(s.Record)
	if s.Fence != 0 || len(s.Open) != 0 || s.Failure != nil || s.CallsToday != 0 ||
		s.Conflicts != 0 || s.Holder != "" || s.HolderTTL != 0 {
		w.Errorf("Load() = %+v, want an empty state", s)
	}
}

func loadKeepsTheOrder(w *fixture) {
	full, empty, locked := w, w.beside(), w.beside()
	r := full.refresh("token")
	locked.lock(long)
	for _, accounts := range [][]string{
		{full.account, empty.account, locked.account},
		{locked.account, full.account, empty.account},
		{full.account, full.account},
	} {
		states, err := w.store.Load(w.Context(), accounts...)
		if err != nil || len(states) != len(accounts) {
			w.Fatalf("Load() = %d states, %v, want %d", len(states), err, len(accounts))
		}
		for n, s := range states {
			if s.Account != accounts[n] {
				w.Errorf("state %d is of %q, want %q", n, s.Account, accounts[n])
			}
			if has := s.Record.Generation == r.Generation; has != (s.Account == full.account) {
				w.Errorf("state %d has generation %d", n, s.Record.Generation)
			}
			if held := s.Holder != ""; held != (s.Account == locked.account) {
				w.Errorf("state %d has the holder %q", n, s.Holder)
			}
		}
	}
}

func loadOfNothing(w *fixture) {
	if states, err := w.store.Load(w.Context()); err != nil || len(states) != 0 {
		w.Errorf("Load() of no accounts = %v, %v, want none", states, err)
	}
}

func clockGoesForward(w *fixture) {
	first := w.load()
	w.eventually("Now is later", func(s coordinator.State) bool { return s.Now.After(first.Now) })
}

func recordEnds(w *fixture) {
	attempt := w.begin(w.start(0))
	c := w.stored(attempt, "token")
	c.Lifetime = short
	r := w.commit(c)
	if !r.Usable() || r.TTL > short-coordinator.Margin(short) {
		w.Fatalf("TTL = %v, want at most %v", r.TTL, short-coordinator.Margin(short))
	}
	s := w.eventually("the record is gone", func(s coordinator.State) bool { return s.Record.Generation == 0 })
	w.wantNone(s.Record)
	if s.Fence != attempt.Fence {
		w.Errorf("Fence = %d, want %d: fences outlive records", s.Fence, attempt.Fence)
	}
	w.begin(w.start(0)) // the old generation forbids nothing any more
}

func everyProcessReadsTheSame(w *fixture) {
	other := w.another()
	r := w.refresh("token")
	w.wantRecord(other.load().Record, r)
	w.wantRecord(w.load().Record, r)
}

func endedContext(w *fixture) {
	lock := w.lock(long)
	attempt := w.begin(w.start(0))
	before := w.load()
	ctx := canceled()
	r := coordinator.Record{
		Token: coordinator.NewToken("token"), Generation: attempt.Fence + 1, TTL: long,
		IssuedAt: before.Now, ExpiresAt: before.Now.Add(time.Hour),
	}
	for name, ask := range map[string]func() error{
		"Load":    func() error { _, err := w.store.Load(ctx, w.account); return err },
		"Lock":    func() error { _, err := w.store.Lock(ctx, w.account+"-free", long); return err },
		"Extend":  func() error { return lock.Extend(ctx, attempt.Fence) },
		"Unlock":  func() error { return lock.Unlock(ctx) },
		"Begin":   func() error { _, err := w.store.Begin(ctx, w.account, w.start(0)); return err },
		"Commit":  func() error { _, err := w.store.Commit(ctx, w.account, w.stored(attempt, "token")); return err },
		"Fail":    func() error { return w.store.Fail(ctx, w.account, failed(attempt, coordinator.FailedBusy)) },
		"Restore": func() error { _, err := w.store.Restore(ctx, w.account, r); return err },
		"Want": func() error {
			return w.store.Want(ctx, w.account, coordinator.WantRequest{Reason: coordinator.ReasonMissing})
		},
	} {
		start := time.Now()
		err := ask()
		if !errors.Is(err, ctx.Err()) {
			w.Errorf("%s() with an ended context = %v, want %v", name, err, ctx.Err())
		}
		if took := time.Since(start); took > slack {
			w.Errorf("%s() with an ended context took %v", name, took)
		}
	}
	after := w.load()
	if after.Fence != before.Fence || after.Record.Generation != 0 || len(after.Open) != 1 ||
		after.Failure != nil || after.Holder != before.Holder {
		w.Errorf("the state has changed from %+v to %+v", before, after)
	}
}

// asThrottled returns err's *ThrottledError, nil if there is none.
func asThrottled(err error) *coordinator.ThrottledError {
	throttled, _ := errors.AsType[*coordinator.ThrottledError](err)
	return throttled
}
