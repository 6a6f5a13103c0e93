package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

func TestForcedRefreshReachesEveryone(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		fleet := []*process{f.refresher(), f.refresher(), f.reader(), f.idle(f.config(), nil), f.idle(f.config(), f.source)}
		f.token(fleet[0], time.Second)
		for i, p := range fleet {
			time.Sleep(10 * time.Second)
			record, err := p.Refresh(t.Context())
			if err != nil {
				t.Fatalf("process %d: Refresh() = %v", i, err)
			}
			if !record.Token.Equal(f.source.Current()) {
				t.Errorf("process %d: Refresh() = generation %d, which is not the newest", i, record.Generation)
			}
			f.wantCalls(2 + i)
			f.wantCurrent(fleet...)
		}
	})
}

func TestReportsOfOneDeadTokenMakeOneCall(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var fleet []*process
		for range 5 {
			fleet = append(fleet, f.refresher())
		}
		dead := coordinator.NewToken(f.token(fleet[0], time.Second))
		time.Sleep(time.Minute)
		f.source.IssueOutside()
		f.source.IssueOutside()
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				record, err := fleet[i%5].Invalidate(t.Context(), dead)
				if err != nil || record.Token.Equal(dead) {
					t.Errorf("Invalidate() = generation %d, %v; want another token", record.Generation, err)
				}
			})
		}
		wg.Wait()
		f.wantCalls(2)
		f.wantCurrent(fleet...)
		if got := f.store.Peek(account).Conflicts; got != 1 {
			t.Errorf("%d conflicts counted, want 1", got)
		}

		record, err := fleet[3].Invalidate(t.Context(), dead) // late
		if err != nil || !record.Token.Equal(f.source.Current()) {
			t.Errorf("late Invalidate() = generation %d, %v; want the current one", record.Generation, err)
		}
		f.wantCalls(2)
	})
}

func TestReaderReportsThroughARefresher(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.refresher()
		reader := f.reader()
		dead := coordinator.NewToken(f.token(reader, time.Second))
		record, err := reader.Invalidate(t.Context(), dead)
		if err != nil || !record.Token.Equal(f.source.Current()) {
			t.Errorf("Invalidate() = generation %d, %v; want the newest", record.Generation, err)
		}
		f.wantCalls(2)
	})
}

func TestTheLogNamesTheCallerOfADemandedRefresh(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		refresher := f.refresher()
		for i, p := range []*process{refresher, f.reader(), f.idle(f.config(), nil)} {
			f.token(p, time.Second)
			time.Sleep(time.Minute)
			forced, reported := fmt.Sprint("forced by ", i), fmt.Sprint("reported by ", i)
			record, err := p.Refresh(coordinator.WithCaller(t.Context(), forced))
			if err != nil {
				t.Fatal(err)
			}
			f.wantAskedBy(forced, "refreshed")
			time.Sleep(time.Minute)
			var wg sync.WaitGroup
			wg.Go(func() { _, err = p.Invalidate(coordinator.WithCaller(t.Context(), reported), record.Token) })
			time.Sleep(time.Millisecond)
			wg.Go(func() { _, _ = p.Invalidate(coordinator.WithCaller(t.Context(), "who comes later"), record.Token) })
			wg.Wait()
			if err != nil {
				t.Fatal(err)
			}
			f.wantAskedBy(reported, "reported", "conflict", "refreshed")
			time.Sleep(time.Minute)
		}
		time.Sleep(time.Hour + 10*time.Minute)
		f.wantAskedBy("", "refreshed") // on schedule
		f.source.Next(coordinatortest.FailsWith(coordinator.FailedBusy, "-1", "system error"))
		if _, err := refresher.Refresh(coordinator.WithCaller(t.Context(), "unlucky")); err == nil {
			t.Error("the failure was not returned")
		}
		f.wantAskedBy("unlucky", "failed")
	})
}

// wantAskedBy fails the test unless the log ends with these events, asked for
// by the caller.
func (f *fleet) wantAskedBy(caller string, events ...string) {
	f.t.Helper()
	log := f.store.Log(account)
	if len(log) < len(events) {
		f.t.Fatalf("%d entries, want %d", len(log), len(events))
	}
	for i, e := range log[len(log)-len(events):] {
		if e.Event != events[i] || e.AskedBy != caller {
			f.t.Errorf("%s asked for by %q, want %s by %q", e.Event, e.AskedBy, events[i], caller)
		}
	}
}

func TestReportDuringARefusalIsAnsweredAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p, reader := f.refresher(), f.reader()
		dead := coordinator.NewToken(f.token(p, time.Second))
		time.Sleep(time.Minute)
		f.source.Accept("another secret")
		for i, q := range []*process{p, p, reader, f.idle(f.config(), f.source)} {
			began := time.Now()
			_, err := q.Invalidate(t.Context(), dead)
			if _, ok := err.(*coordinator.RefusedError); !ok { //nolint:errorlint // alone, not among others
				t.Errorf("%d: Invalidate() = %q, want a RefusedError alone", i, err)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("%d: it took %v to say so", i, took)
			}
		}
		f.wantCalls(2)
	})
}

func TestForcedRefreshPassesOverARefusal(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Accept("another secret")
		p, reader := f.refresher(), f.reader()
		if _, err := p.Token(t.Context()); err == nil {
			t.Fatal("Token() = nil, want a refusal")
		}
		time.Sleep(time.Minute)
		f.source.Accept("") // mended at the issuer's
		record, err := reader.Refresh(t.Context())
		if err != nil || !record.Token.Equal(f.source.Current()) {
			t.Errorf("Refresh() = generation %d, %v; want a new token", record.Generation, err)
		}
		f.wantCalls(2)
	})
}

func TestReportAfterAForceThatWasGivenUpIsAReport(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.refresher()
		dead := coordinator.NewToken(f.token(p, time.Second))
		time.Sleep(time.Minute)
		lock, err := f.store.Lock(t.Context(), account, 30*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Refresh(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Refresh() of a locked account = %v, want DeadlineExceeded", err)
		}
		time.Sleep(20 * time.Second)
		if err := lock.Unlock(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		f.wantCalls(1)
		if _, err := p.Invalidate(t.Context(), dead); err != nil {
			t.Fatal(err)
		}
		calls := f.source.Calls()
		if reason := calls[len(calls)-1].Ask.Reason; reason != coordinator.ReasonRejected {
			t.Errorf("the source was asked because of %q, want %q", reason, coordinator.ReasonRejected)
		}
		if got := f.store.Peek(account).Conflicts; got != 1 {
			t.Errorf("%d conflicts counted, want 1", got)
		}
	})
}
