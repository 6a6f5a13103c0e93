package coordinatortest

import (
	"maps"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

func commitChecks() []check {
	return []check{
		{"the record is what was committed", recordIsWhatWasCommitted},
		{"attributes stay with their record", attributesStay},
		{"long tokens are kept", longTokens},
		{"the TTL ends before the token", ttlEndsBeforeTheToken},
		{"the age of an answer shortens the TTL", ageShortensTheTTL},
		{"what the source asked for is not kept for the next record", refreshAtIsLost},
		{"the attempt is settled, and exactly those overdue at its begin", commitSettles},
		{"an attempt that became overdue since the begin stays open", laterOverdueStays},
		{"a repeated commit returns the record again", commitIsRepeatable},
		{"a commit repeated after the next begin returns the record again", commitIsRepeatableLate},
		{"more than one call corrects the day's count", commitCorrectsCalls},
		{"a success ends the failures and keeps the last one for people", commitEndsFailures},
		{"the store that lost the begin takes the token", commitAfterLoss},
	}
}

func recordIsWhatWasCommitted(w *fixture) {
	lock := w.lock(long)
	me := w.load().Holder
	attempt := w.begin(w.start(0))
	c := w.stored(attempt, "the token")
	c.Age = 1500 * time.Millisecond
	c.RefreshIn = 90 * time.Minute
	before := w.load().Now
	r := w.commit(c)
	s := w.load()

	if r.Token.Reveal() != "the token" || r.Generation != attempt.Fence || r.IssuedBy != me || me == "" {
		w.Errorf("Commit() = generation %d issued by %q, want %d by %q, and the token", r.Generation, r.IssuedBy, attempt.Fence, me)
	}
	// Instants have milliseconds.
	earliest := before.Add(-c.Age - time.Millisecond)
	if r.IssuedAt.Before(earliest) || r.IssuedAt.After(s.Now.Add(-c.Age)) {
		w.Errorf("IssuedAt = %v, want it between %v and %v", r.IssuedAt, earliest, s.Now.Add(-c.Age))
	}
	if r.Lifetime() != c.Lifetime {
		w.Errorf("Life() = %v, want %v", r.Lifetime(), c.Lifetime)
	}
	if got := r.RefreshAt.Sub(r.IssuedAt); got != c.RefreshIn {
		w.Errorf("RefreshAt is %v after IssuedAt, want %v", got, c.RefreshIn)
	}
	w.wantRecord(s.Record, r)
	w.wantRecord(w.another().load().Record, r)
	if s.Fence != attempt.Fence || len(s.Open) != 0 {
		w.Errorf("Fence = %d, Open = %v, want %d and none", s.Fence, s.Open, attempt.Fence)
	}
	if err := lock.Unlock(w.Context()); err != nil {
		w.Errorf("Unlock() = %v", err)
	}
}

func attributesStay(w *fixture) {
	events := w.follow(coordinator.Reader)
	c := w.stored(w.begin(w.start(0)), "token-1")
	c.Repeated = true
	c.Attributes = map[string]string{
		"instance_url": "https://example.com/?a=1&b=<2>", "scope": `read "all" 读`, "empty": "",
		"long": strings.Repeat("x", coordinator.MaxAttributes-100),
	}
	r := w.commit(c)
	if !maps.Equal(r.Attributes, c.Attributes) || !r.Repeated {
		w.Errorf("Commit() = attributes %v, repeated %t, want those of the request", r.Attributes, r.Repeated)
	}
	w.wantRecord(w.another().load().Record, r)
	w.wantRecord(w.commit(c), r)
	w.wantRecord(events.await(w, coordinator.EventRefreshed).Record, r)

	w.wantRecord(w.beside().restore(r), r)
	if r := w.commit(w.stored(w.begin(w.start(r.Generation)), "token-2")); r.Attributes != nil || r.Repeated {
		w.Errorf("the next record has attributes %v, repeated %t, want none", r.Attributes, r.Repeated)
	}
	if r := w.load().Record; r.Attributes != nil || r.Repeated {
		w.Errorf("Load() = attributes %v, repeated %t, want none", r.Attributes, r.Repeated)
	}
}

func longTokens(w *fixture) {
	events := w.follow(coordinator.Reader)
	token := strings.Repeat("0123456789abcdef", 1024)
	r := w.refresh(token)
	if r.Token.Reveal() != token {
		w.Errorf("Commit() = a token of %d bytes, want %d", len(r.Token.Reveal()), len(token))
	}
	w.wantRecord(w.another().load().Record, r)
	w.wantRecord(events.await(w, coordinator.EventRefreshed).Record, r)
	w.wantRecord(w.beside().restore(r), r)
}

func ttlEndsBeforeTheToken(w *fixture) {
	for _, life := range []time.Duration{10 * time.Second, time.Minute, 2 * time.Hour, 30 * 24 * time.Hour} {
		c := w.stored(w.begin(w.start(w.load().Record.Generation)), "token")
		c.Lifetime = life
		r := w.commit(c)
		if want := life - coordinator.Margin(life); !about(r.TTL, want) {
			w.Errorf("TTL = %v for a life of %v, want about %v", r.TTL, life, want)
		}
		s := w.load()
		if want := life - coordinator.Margin(life); !about(s.Record.TTL, want) {
			w.Errorf("Load(): TTL = %v for a life of %v, want about %v", s.Record.TTL, life, want)
		}
		if end := s.Now.Add(s.Record.TTL); end.After(s.Record.ExpiresAt) {
			w.Errorf("the record is served until %v, the token ends at %v", end, s.Record.ExpiresAt)
		}
	}
}

func ageShortensTheTTL(w *fixture) {
	c := w.stored(w.begin(w.start(0)), "token")
	c.Lifetime, c.Age = 10*time.Minute, 4*time.Minute
	r := w.commit(c)
	if want := 6*time.Minute - coordinator.Margin(c.Lifetime); !about(r.TTL, want) {
		w.Errorf("TTL = %v, want about %v", r.TTL, want)
	}
	if left := r.ExpiresAt.Sub(w.load().Now); !about(left, 6*time.Minute) {
		w.Errorf("ExpiresAt is in %v, want about 6m", left)
	}
}

func refreshAtIsLost(w *fixture) {
	c := w.stored(w.begin(w.start(0)), "token-1")
	c.RefreshIn = time.Minute
	r := w.commit(c)
	if w.load().Record.RefreshAt.IsZero() {
		w.Error("RefreshAt is zero though the source asked")
	}
	w.commit(w.stored(w.begin(w.start(r.Generation)), "token-2"))
	if got := w.load().Record.RefreshAt; !got.IsZero() {
		w.Errorf("RefreshAt = %v is left from the record before", got)
	}
}

func commitSettles(w *fixture) {
	w.beginFor(short)
	w.beginFor(short)
	w.overdue(2)
	w.begin(w.start(0)) // open when the next one begins
	last := w.begin(w.start(0))
	if len(last.Overdue) != 2 {
		w.Fatalf("Overdue = %v, want two", last.Overdue)
	}
	w.wantOpen(4, 2)
	w.commit(w.stored(last, "token"))
	w.wantOpen(1, 0)
}

func laterOverdueStays(w *fixture) {
	first := w.beginFor(2 * short)
	second := w.begin(w.start(0))
	if len(second.Overdue) != 0 {
		w.Skipf("the machine is too slow: attempt %d is overdue already", first.Fence)
	}
	w.overdue(1)
	w.commit(w.stored(second, "token"))
	w.wantOpen(1, 1)
}

func commitIsRepeatable(w *fixture) {
	w.sameDay()
	events := w.follow(coordinator.Refresher)
	c := w.stored(w.begin(w.start(0)), "token")
	c.Calls = 2
	r := w.commit(c)
	for range 2 {
		w.wantRecord(w.commit(c), r)
	}
	w.wantRecord(w.load().Record, r)
	w.wantCalls(2)
	w.wantOpen(0, 0)

	events.wantCount(w, coordinator.EventRefreshed, 1)
}

func commitIsRepeatableLate(w *fixture) {
	c := w.stored(w.begin(w.start(0)), "token")
	r := w.commit(c)
	w.begin(w.start(r.Generation))
	w.wantRecord(w.commit(c), r)
	w.wantOpen(1, 0)
}

func commitCorrectsCalls(w *fixture) {
	w.sameDay()
	want := 0
	for calls := range 4 {
		c := w.stored(w.begin(w.start(w.load().Record.Generation)), "token")
		c.Calls = calls
		w.commit(c)
		want += max(calls, 1)
		w.wantCalls(want)
	}
}

func commitEndsFailures(w *fixture) {
	for range 2 {
		f := failed(w.begin(w.start(0)), coordinator.FailedLater)
		f.Failure.Code = "45009"
		w.fail(f)
	}
	w.refresh("token")
	failure := w.load().Failure
	if failure == nil {
		w.Fatal("the last failure is forgotten")
	}
	if failure.InARow != 0 || failure.Code != "45009" || failure.Message != "no luck" {
		w.Errorf("Failure = %+v, want the last one with InARow 0", failure)
	}
}

// The store lost its data between begin and commit, and with it the attempt.
func commitAfterLoss(w *fixture) {
	attempt := coordinator.Attempt{Fence: coordinator.Fence(w.load().Now.UnixMicro()) + 3_600_000_000}
	r := w.commit(w.stored(attempt, "token"))
	s := w.load()
	w.wantRecord(s.Record, r)
	if s.Fence != attempt.Fence {
		w.Errorf("Fence = %d, want %d", s.Fence, attempt.Fence)
	}
	if next := w.begin(w.start(r.Generation)).Fence; next <= r.Generation {
		w.Errorf("fence %d follows generation %d", next, r.Generation)
	}
}
