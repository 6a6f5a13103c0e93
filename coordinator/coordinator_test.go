package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

func TestColdStartCallsTheSourceOnce(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var fleet []*process
		for range 5 {
			fleet = append(fleet, f.refresher())
		}
		fleet = append(fleet, f.reader())
		f.wantCurrent(fleet...)
		f.wantCalls(1)
	})
}

func TestManyWaitersShareOneCall(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var wg sync.WaitGroup
		for range 20 {
			p := f.refresher()
			for range 100 {
				wg.Go(func() { f.token(p, time.Second) })
			}
		}
		began := time.Now()
		wg.Wait()
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("the herd took %v, the source alone 50ms", took)
		}
		f.wantCalls(1)
	})
}

func TestTokenWorksWithoutRun(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		alone := f.idle(f.config(), f.source)
		f.wantCurrent(alone)
		f.wantCalls(1)
		reader := f.idle(f.config(), nil)
		f.wantCurrent(reader)
		f.wantCalls(1)
	})
}

func TestIdleReaderWaitsForARefresher(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		reader := f.idle(f.config(), nil)
		got := make(chan string)
		go func() { got <- f.token(reader, 10*time.Second) }()
		time.Sleep(3 * time.Second)
		f.refresher()
		if token := <-got; token != f.source.Current().Reveal() {
			t.Errorf("Token() = %q, want %q", token, f.source.Current().Reveal())
		}
		f.wantCalls(1)
	})
}

func TestReaderAloneGetsAClearErrorInTime(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		for _, p := range []*process{f.reader(), f.idle(f.config(), nil)} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, err := p.Token(ctx)
			cancel()
			if !errors.Is(err, coordinator.ErrNoToken) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Token() = %v, want ErrNoToken and DeadlineExceeded", err)
			}
		}
	})
}

func TestScheduleRefreshesEachHourOnceForAll(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		fleet := []*process{f.start(f.longConfig(), f.source), f.start(f.longConfig(), f.source), f.reader()}
		time.Sleep(24*time.Hour - time.Minute)
		synctest.Wait()
		f.wantCalls(24)
		f.wantCurrent(fleet...)
	})
}

func TestSourceDecidesWhenItIsAskedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.RefreshIn = 100 * time.Minute
		f.start(f.longConfig(), f.source)
		f.start(f.longConfig(), f.source)
		time.Sleep(24 * time.Hour)
		f.wantCalls(15)
	})
}

func TestShortLivesAreRefreshedAtHalf(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Life = 20 * time.Second
		p := f.refresher()
		for range 50 {
			time.Sleep(time.Second)
			f.token(p, time.Millisecond)
		}
		f.wantCalls(5)
	})
}

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

func TestTheLogNamesWhoeverDemandsARefresh(t *testing.T) {
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
		f.source.Then(coordinatortest.FailsWith(coordinator.FailedBusy, -1, "system error"))
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

func TestHolderKilledMidCallIsReplaced(t *testing.T) {
	for name, reason := range map[string]string{"cold": "", "forced": "forced"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				survivors := []*process{}
				if reason != "" {
					survivors = append(survivors, f.refresher(), f.reader())
					f.token(survivors[0], time.Second)
					time.Sleep(time.Minute)
				}
				victim := f.idle(f.config(), f.source)
				f.source.Then(coordinatortest.Hangs())
				go func() { _, _ = victim.Refresh(t.Context()) }()
				time.Sleep(100 * time.Millisecond)
				issued := f.source.IssueOutside() // what the hung call issued
				victim.link.SetDown(true)         // and nobody will ever hear of it
				if reason == "" {
					survivors = append(survivors, f.refresher(), f.reader())
				}
				time.Sleep(4 * time.Second)
				synctest.Wait()
				f.wantCurrent(survivors...)
				if f.source.Current().Equal(issued) {
					t.Error("nobody took over within 4s")
				}
				time.Sleep(time.Minute)
				want := 2
				if reason != "" {
					want = 3
				}
				f.wantCalls(want)
			})
		})
	}
}

func TestPausedHoldersTokenIsNeverStored(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		others := []*process{f.refresher(), f.reader()}
		f.token(others[0], time.Second)
		time.Sleep(time.Minute)
		slow := &coordinatortest.Source{Name: "slow", Latency: 8 * time.Second}
		victim := f.idle(f.config(), slow)
		done := make(chan struct{})
		go func() { _, _ = victim.Refresh(t.Context()); close(done) }()
		time.Sleep(100 * time.Millisecond)
		victim.link.FailNext(memstore.OpExtend, 100) // paused: it extends nothing
		time.Sleep(4 * time.Second)
		f.wantCurrent(others...)
		f.wantCalls(2)
		<-done // with or without a token: its own came too late
		time.Sleep(10 * time.Second)
		f.wantCurrent(others...)
		if state := f.store.Peek(account); len(state.Open) != 0 {
			t.Errorf("%d attempts are open, want a quiet store", len(state.Open))
		}
	})
}

func TestSlowSourceKeepsLockAndAttempt(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Latency = 9 * time.Second
		fleet := []*process{f.refresher(), f.refresher(), f.refresher()}
		var wg sync.WaitGroup
		for _, p := range fleet {
			wg.Go(func() { f.token(p, 10*time.Second) })
		}
		wg.Wait()
		time.Sleep(time.Minute)
		f.wantCalls(1)
	})
}

func TestLostDataIsRestoredWithoutACall(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		fleet := []*process{f.refresher(), f.refresher(), f.reader()}
		token := f.token(fleet[0], time.Second)
		time.Sleep(10 * time.Minute)

		f.store.Flush()
		time.Sleep(time.Second)
		if state := f.store.Peek(account); state.Record.Token.Reveal() != token {
			t.Errorf("after a flush the store has %v, want the token back within 1s", state.Record)
		}

		f.store.SetDown(true)
		time.Sleep(20 * time.Second)
		f.store.Flush()
		f.store.SetDown(false)
		time.Sleep(time.Second)
		if state := f.store.Peek(account); state.Record.Token.Reveal() != token {
			t.Errorf("after a restart the store has %v, want the token back within 1s", state.Record)
		}
		f.wantCalls(1)
		f.wantCurrent(fleet...)
	})
}

func TestAttemptsOutliveTheStoresData(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		survivors := []*process{f.refresher(), f.reader()}
		f.token(survivors[0], time.Second)
		time.Sleep(time.Minute)
		victim := f.idle(f.config(), f.source)
		f.source.Then(coordinatortest.IssuesAndHangs())
		go func() { _, _ = victim.Refresh(t.Context()) }()
		time.Sleep(100 * time.Millisecond)
		victim.link.SetDown(true) // killed, and its token with it
		f.store.Flush()           // and then every trace of its attempt
		time.Sleep(time.Minute)
		f.wantCurrent(survivors...)
		f.wantCalls(3)
	})
}

func TestNobodyCallsTheSourceWhileTheStoreIsAway(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.refresher()
		token := f.token(p, time.Second)
		f.store.SetDown(true)
		time.Sleep(100 * time.Minute)
		s, err := p.Current(t.Context())
		if err != nil || s.Token.Reveal() != token || !s.Stale {
			t.Errorf("Current() = %v stale=%v, %v; want the old token, stale", s.Record, s.Stale, err)
		}
		time.Sleep(20 * time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Token(ctx); !errors.Is(err, coordinator.ErrUnreachable) || !errors.Is(err, coordinator.ErrNoToken) {
			t.Errorf("Token() after its expiry = %v, want ErrNoToken and ErrUnreachable", err)
		}
		f.wantCalls(1)

		newcomer := f.idle(f.config(), f.source)
		if _, err := newcomer.Token(t.Context()); !errors.Is(err, coordinator.ErrUnreachable) {
			t.Errorf("newcomer's Token() = %v, want ErrUnreachable at once", err)
		}
		f.store.SetDown(false)
		time.Sleep(2 * time.Second)
		f.wantCurrent(p)
		f.wantCalls(2)
		if s, _ := p.Current(t.Context()); s.Stale {
			t.Error("stale although the store is back")
		}
	})
}

func TestLostNotificationsAreMadeUpFor(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		fleet := []*process{f.refresher(), f.reader()}
		f.token(fleet[1], time.Second)
		f.store.DropNotifications(true)
		if _, err := fleet[0].Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2500 * time.Millisecond)
		f.wantCurrent(fleet...)
		if fleet[1].seen.count(coordinator.Missed) != 1 {
			t.Error("the missed notification was not counted")
		}
	})
}

// Where one notification was lost others may have been: whatever finds that out
// has all accounts read.
func TestOneLostNotificationHasAllAccountsRead(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		refresher, reader := f.refresher(), f.reader()
		const others = 40
		var accounts []*coordinator.Account
		for i := range others {
			name := fmt.Sprintf("wxother%d", i)
			if _, err := refresher.c.Add(coordinator.AccountConfig{Name: name, Source: &coordinatortest.Source{}}); err != nil {
				t.Fatal(err)
			}
			a, err := reader.c.Add(coordinator.AccountConfig{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			accounts = append(accounts, a)
		}
		time.Sleep(5 * time.Second)
		f.store.DropNotifications(true)
		for _, a := range accounts {
			own, _ := refresher.c.Account(a.Name())
			if _, err := own.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Second)
		for _, a := range accounts {
			own, _ := refresher.c.Account(a.Name())
			if got, want := a.Status().Record.Generation, own.Status().Record.Generation; got != want {
				t.Errorf("%s: the reader has generation %d, the refresher %d", a.Name(), got, want)
			}
		}
	})
}

func TestCommitWhoseAnswerIsLostIsNotRepeated(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.refresher()
		p.link.LoseAnswers(memstore.OpCommit, 1)
		f.wantCurrent(p)
		time.Sleep(time.Minute)
		f.wantCalls(1)
		if open := f.store.Peek(account).Open; len(open) != 0 {
			t.Errorf("%d attempts open, want none", len(open))
		}
	})
}

func TestTokenThatCannotBeStoredIsServedAndStoredLater(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p, q := f.refresher(), f.refresher()
		f.token(p, time.Second)
		time.Sleep(time.Minute)
		go func() { _, _ = p.Refresh(t.Context()) }()
		time.Sleep(25 * time.Millisecond)
		f.store.SetDown(true)
		time.Sleep(20 * time.Second)
		f.wantCurrent(p)
		f.store.SetDown(false)
		time.Sleep(5 * time.Second)
		f.wantCurrent(p, q)
	})
}

func TestRefusalIsToldToEveryoneAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Accept("right")
		wrong := f.start(f.config(), f.source.As("wrong"))
		reader := f.reader()
		for _, p := range []*process{wrong, reader, f.idle(f.config(), f.source.As("wrong")), f.idle(f.config(), nil)} {
			began := time.Now()
			_, err := p.Token(t.Context())
			var refused *coordinator.RefusedError
			if !errors.As(err, &refused) || refused.Code != 40125 {
				t.Errorf("Token() = %v, want a RefusedError with code 40125", err)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("it took %v to say so", took)
			}
		}
		f.wantCalls(1)
		f.wantCurrent(f.idle(f.config(), f.source.As("right")))
		f.wantCurrent(wrong, reader)
	})
}

// A quota is over by itself, a refusal is not: the callers must be able to tell.
func TestAQuotaOfTheIssuerIsNoRefusal(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Usually(coordinatortest.Fails(&coordinator.FetchError{
			Kind: coordinator.FailedLater, Code: 45009, Message: "reach max api daily quota limit", RetryIn: 7 * time.Hour, Calls: 1,
		}))
		for i, p := range []*process{f.refresher(), f.reader(), f.idle(f.config(), f.source), f.idle(f.config(), nil)} {
			began := time.Now()
			_, err := p.Token(t.Context())
			var quota *coordinator.QuotaError
			if !errors.As(err, &quota) || quota.Code != 45009 || (quota.RetryIn-7*time.Hour).Abs() > 10*time.Second {
				t.Errorf("%d: Token() = %v, want a QuotaError for 7h", i, err)
			}
			var refused *coordinator.RefusedError
			if errors.As(err, &refused) {
				t.Errorf("%d: Token() = %v, which says that the issuer refuses the account", i, err)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("%d: it took %v to say so", i, took)
			}
		}
		f.wantCalls(1)
		f.source.Usually(coordinatortest.Outcome{})
		time.Sleep(7*time.Hour + time.Minute)
		f.wantCurrent(f.reader(), f.refresher())
	})
}

func TestFailingSourceLeavesTheTokenInUse(t *testing.T) {
	outcomes := map[string]coordinatortest.Outcome{
		"busy":     coordinatortest.FailsWith(coordinator.FailedBusy, -1, "system error"),
		"unknown":  coordinatortest.FailsWith(coordinator.FailedUnknown, 0, "timeout"),
		"negative": coordinatortest.Answers(coordinator.FetchResult{Token: coordinator.NewToken("x"), Lifetime: -1}),
		"plain":    coordinatortest.Fails(errors.New("went wrong")),
		"hangs":    coordinatortest.Hangs(),
	}
	for name, outcome := range outcomes {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				fleet := []*process{f.refresher(), f.refresher(), f.reader()}
				token := f.token(fleet[2], time.Second)
				f.source.Usually(outcome)
				for range 58 {
					time.Sleep(time.Minute)
				}
				if _, err := fleet[0].Refresh(t.Context()); err == nil {
					t.Error("Refresh() = nil, want the source's error")
				}
				for _, p := range fleet {
					if got := f.token(p, time.Millisecond); got != token {
						t.Errorf("Token() = %q, want the old one", got)
					}
				}
				time.Sleep(time.Hour)
				if n := len(f.source.Calls()); n > 30 {
					t.Errorf("%d calls within an hour of failures, want a few", n)
				}
				f.source.Usually(coordinatortest.Outcome{})
				time.Sleep(time.Hour)
				f.wantCurrent(fleet...)
			})
		})
	}
}

func TestMinimumIntervalIsWaitedOut(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.refresher()
		f.token(p, time.Second)
		time.Sleep(time.Minute)
		for range 2 {
			if _, err := p.Refresh(t.Context()); err != nil {
				t.Errorf("Refresh() = %v", err)
			}
		}
		f.wantCalls(3)
		calls := f.source.Calls()
		if gap := calls[2].At.Sub(calls[1].At); gap < time.Second || gap > 1500*time.Millisecond {
			t.Errorf("the second forced refresh came %v after the first, want 1s", gap)
		}
	})
}

func TestForcedRefreshesLeaveTheReserveAlone(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		cfg := f.config()
		cfg.Limits = coordinator.Limits{PerDay: 40, Reserve: 35, MinInterval: time.Millisecond}
		p, reader := f.start(cfg, f.source), f.reader()
		f.token(p, time.Second)
		for range 4 {
			time.Sleep(time.Minute)
			if _, err := p.Refresh(t.Context()); err != nil {
				t.Fatalf("Refresh() = %v", err)
			}
		}
		time.Sleep(time.Minute)
		for _, q := range []*process{p, reader} {
			_, err := q.Refresh(t.Context())
			var throttled *coordinator.ThrottledError
			if !errors.As(err, &throttled) || throttled.RetryIn > 24*time.Hour {
				t.Errorf("Refresh() = %v, want a ThrottledError until midnight", err)
			}
		}
		time.Sleep(5 * time.Hour)
		if n := len(f.source.Calls()); n < 10 {
			t.Errorf("%d calls, want the schedule to go on", n)
		}
	})
}

func TestWatchEndsWithTheNewest(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p, reader := f.refresher(), f.reader()
		ctx, cancel := context.WithCancel(t.Context())
		records := reader.Watch(ctx)
		first := <-records
		for range 3 {
			time.Sleep(2 * time.Second)
			if _, err := p.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		last := <-records
		if !last.Token.Equal(f.source.Current()) || last.Generation <= first.Generation {
			t.Errorf("Watch() ends with generation %d, want the newest", last.Generation)
		}
		cancel()
		if _, open := <-records; open {
			t.Error("Watch() stays open after its context ended")
		}
	})
}

func TestAccountsComeAndGoWhileRunning(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.refresher()
		other, err := p.c.Add(coordinator.AccountConfig{Name: "wxother", Source: &coordinatortest.Source{Name: "other"}})
		if err != nil {
			t.Fatal(err)
		}
		if token, err := other.Token(t.Context()); err != nil || token.Reveal() != "other-1" {
			t.Errorf("Token() = %q, %v", token.Reveal(), err)
		}
		if _, err := p.c.Add(coordinator.AccountConfig{Name: "wxother"}); err == nil {
			t.Error("adding an account twice is not an error")
		}
		if err := p.c.Remove("wxother"); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Token(t.Context()); !errors.Is(err, coordinator.ErrUnknownAccount) {
			t.Errorf("Token() of a removed account = %v, want ErrUnknownAccount", err)
		}
		if _, err := p.c.Token(t.Context(), "wxother"); !errors.Is(err, coordinator.ErrUnknownAccount) {
			t.Errorf("Coordinator.Token() of a removed account = %v, want ErrUnknownAccount", err)
		}
	})
}

func TestStoppingFinishesTheCallUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Latency = 5 * time.Second
		p := f.refresher()
		time.Sleep(time.Second)
		p.stop()
		if state := f.store.Peek(account); !state.Record.Token.Equal(f.source.Current()) || len(state.Open) != 0 {
			t.Errorf("the store has %v, want the token whose call was under way", state.Record)
		}
		f.wantCalls(1)
	})
}

func TestCallerThatGoesAwayLeavesNothingUndone(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.idle(f.config(), f.source)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := p.Token(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Token() = %v, want DeadlineExceeded", err)
		}
		if err := p.c.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if state := f.store.Peek(account); !state.Record.Token.Equal(f.source.Current()) {
			t.Errorf("the store has %v, want the token that was issued", state.Record)
		}
	})
}

func TestSourceCanBeGivenLater(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.reader()
		got := make(chan string)
		go func() { got <- f.token(p, time.Minute) }()
		time.Sleep(5 * time.Second)
		p.SetSource(f.source)
		if token := <-got; token != f.source.Current().Reveal() {
			t.Errorf("Token() = %q", token)
		}
	})
}

func TestTokensNeverShowThemselves(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var logs strings.Builder
		p := f.refresher()
		token := f.token(p, time.Second)
		s, err := p.Current(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			logs.WriteString(sprint(verb, s, p.Status(), struct{ inner any }{s}))
		}
		if strings.Contains(logs.String(), token) {
			t.Errorf("a token shows itself in %s", logs.String())
		}
	})
}

func TestReaderThatFollowsIsCalmWhileNobodyRefreshes(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.refresher()
		f.token(p, time.Second)
		p.stop()
		for _, reader := range []*process{f.reader(), f.idle(f.config(), nil)} {
			ctx, cancel := context.WithTimeout(t.Context(), 70*time.Minute)
			before := reader.link.Calls(memstore.OpLoad)
			s, err := reader.Current(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := reader.Next(ctx, s.Generation); err == nil {
				t.Error("Next() = nil, want its context's end")
			}
			cancel()
			if n := reader.link.Calls(memstore.OpLoad) - before; n > 70*60 {
				t.Errorf("%d readings in 70 minutes", n)
			}
		}
	})
}

func TestStoreThatRefusesIsNotAskedWithoutPause(t *testing.T) {
	for name, lost := range map[string]bool{"begin": false, "restore": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				store := &oddStore{Store: f.store}
				cfg := f.config()
				cfg.Store, cfg.Accounts = store, []coordinator.AccountConfig{{Name: account, Source: f.source}}
				c, err := coordinator.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- c.Run(ctx) }()
				if lost {
					if _, err := c.Token(t.Context(), account); err != nil {
						t.Fatal(err)
					}
				}
				store.odd.Store(true)
				f.store.Flush()
				if !lost {
					if _, err := c.Token(t.Context(), account); !errors.Is(err, errOdd) {
						t.Errorf("Token() = %v, want %v", err, errOdd)
					}
				}
				time.Sleep(time.Minute)
				if n := store.refused.Load(); n < 2 || n > 150 {
					t.Errorf("asked %d times in a minute, want now and then", n)
				}
				store.odd.Store(false)
				time.Sleep(10 * time.Second)
				if _, err := c.Token(t.Context(), account); err != nil {
					t.Errorf("Token() = %v once it is mended", err)
				}
				f.wantCalls(1)
				cancel()
				if err := <-ended; err != nil {
					t.Errorf("Run() = %v", err)
				}
			})
		})
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

func TestNothingElseWaitsForTheMinimumInterval(t *testing.T) {
	tests := map[string]func(*testing.T, *fleet, *process){
		"schedule": func(*testing.T, *fleet, *process) { time.Sleep(50 * time.Minute) },
		"overdue": func(t *testing.T, f *fleet, p *process) {
			if _, err := f.store.Begin(t.Context(), account, coordinator.BeginRequest{
				Seen: p.Status().Record.Generation, Reason: coordinator.ReasonSchedule, TTL: 3 * time.Second,
			}); err != nil {
				t.Fatal(err)
			}
			f.source.IssueOutside() // by whoever began, and was killed
			time.Sleep(4 * time.Second)
		},
	}
	for name, happens := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				cfg := f.longConfig()
				cfg.Limits.MinInterval = 2 * time.Hour
				f.source.Life = time.Hour
				p := f.start(cfg, f.source)
				f.token(p, time.Second)
				time.Sleep(time.Minute)
				if _, err := p.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error)
				go func() { _, err := p.Refresh(t.Context()); ended <- err }()
				synctest.Wait()
				happens(t, f, p)
				f.wantCalls(3)
				if err := <-ended; err != nil {
					t.Errorf("Refresh() = %v, want the next token, why ever it came", err)
				}
			})
		})
	}
}

func TestAnyNumberOfWaitersReadTheStoreAsOne(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		reader := f.idle(f.config(), nil)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for range 100 {
			time.Sleep(10 * time.Millisecond)
			wg.Go(func() { _, _ = reader.Token(ctx) })
		}
		time.Sleep(time.Second)
		before := reader.link.Calls(memstore.OpLoad)
		wg.Wait()
		if n := reader.link.Calls(memstore.OpLoad) - before; n > 40 {
			t.Errorf("100 waiters read the store %d times in 18s, want as often as one", n)
		}
	})
}

func TestCallerThatGivesUpDoesNotMakeTheStoreUnreachable(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.store.SetLatency(100 * time.Millisecond)
		p := f.idle(f.config(), f.source)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := p.Refresh(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Refresh() = %v, want DeadlineExceeded", err)
		}
		if n := p.seen.count(coordinator.Unreachable); n != 0 {
			t.Error("the store was called unreachable because a caller gave up")
		}
	})
}

func TestBackoffHeardOfAtTheBeginIsLikeAnyOther(t *testing.T) {
	for kind, wait := range map[coordinator.FailureKind]bool{coordinator.FailedBusy: true, coordinator.FailedRefused: false} {
		t.Run(string(kind), func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.source.Latency = 0
				f.source.Then(coordinatortest.FailsWith(kind, 40013, "no"))
				p, q := f.idle(f.config(), f.source), f.idle(f.config(), f.source)
				q.link.SetLatency(20 * time.Millisecond)
				go func() { // fails between q's look and q's begin
					time.Sleep(20 * time.Millisecond)
					_, _ = p.Token(t.Context())
				}()
				_, err := q.Token(t.Context())
				var refused *coordinator.RefusedError
				if wait && err != nil || !wait && !errors.As(err, &refused) {
					t.Errorf("Token() = %v; want a token once a short back-off is over, a refusal at once", err)
				}
				time.Sleep(time.Second)
			})
		})
	}
}

// The wait of a caller ends with the caller's context, not with that of Run: here
// it waits for another account's call to end when Run is stopped.
func TestWhoeverWaitsWhenRunEndsGetsTheTokenAllTheSame(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		cfg := f.config()
		cfg.MaxFetches = 1
		slow := &coordinatortest.Source{Latency: 5 * time.Second}
		cfg.Accounts = []coordinator.AccountConfig{{Name: "wxslow", Source: slow}}
		p := f.start(cfg, nil)
		time.Sleep(2 * time.Second)
		p.SetSource(f.source)
		var waits sync.WaitGroup
		waits.Go(func() {
			if _, err := p.Token(t.Context()); err != nil {
				t.Errorf("Token() = %v", err)
			}
		})
		time.Sleep(time.Second)
		p.stop()
		waits.Wait()
		f.wantCalls(1)
	})
}

// Those who come later wait behind the first one; it may have less patience.
func TestACrowdGetsTheTokenAlsoWhenItsFirstGivesUp(t *testing.T) {
	for name, start := range map[string]func(*fleet) *process{
		"a refresher":               (*fleet).refresher,
		"a reader":                  (*fleet).reader,
		"a process that only links": func(f *fleet) *process { return f.idle(f.config(), f.source) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.source.Latency = 3 * time.Second
				p := start(f)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				var crowd sync.WaitGroup
				crowd.Go(func() {
					if _, err := p.Token(ctx); !errors.Is(err, coordinator.ErrNoToken) {
						t.Errorf("the first one's Token() = %v, want %v", err, coordinator.ErrNoToken)
					}
				})
				synctest.Wait()
				for range 10 {
					crowd.Go(func() {
						if _, err := p.Token(t.Context()); err != nil {
							t.Errorf("Token() = %v", err)
						}
					})
				}
				time.Sleep(2 * time.Second)
				if p.Role() == coordinator.Reader {
					f.refresher()
				}
				crowd.Wait()
				f.wantCalls(1)
			})
		})
	}
}

func TestACrowdHearsOfARefusalAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Usually(coordinatortest.FailsWith(coordinator.FailedRefused, 40125, "invalid appsecret"))
		p := f.refresher()
		var crowd sync.WaitGroup
		for range 10 {
			crowd.Go(func() {
				began := time.Now()
				_, err := p.Token(t.Context())
				var refused *coordinator.RefusedError
				if !errors.As(err, &refused) || time.Since(began) > time.Second {
					t.Errorf("Token() = %v after %v, want the refusal at once", err, time.Since(began))
				}
			})
		}
		crowd.Wait()
		f.wantCalls(1)
	})
}

// Who watches waits for a newer token, perhaps for an hour: not the same as those
// who want any.
func TestWhoeverWatchesKeepsNobodyFromTheTokenThereIs(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.wantCurrent(f.refresher())
		linked := f.idle(f.config(), nil)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		records := linked.Watch(ctx)
		<-records
		synctest.Wait()
		for range 5 {
			began := time.Now()
			if _, err := linked.Token(t.Context()); err != nil || time.Since(began) > 0 {
				t.Errorf("Token() = %v after %v, want the token at once", err, time.Since(began))
			}
		}
	})
}
