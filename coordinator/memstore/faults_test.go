package memstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

const account = "wx1"

func begin(seen coordinator.Fence) coordinator.BeginRequest {
	return coordinator.BeginRequest{
		Seen: seen, Reason: coordinator.ReasonSchedule, TTL: 3 * time.Second,
		Limits: coordinator.Limits{PerDay: 2000},
	}
}

// refresh brings the account a token in the ordinary way.
func refresh(t *testing.T, s coordinator.Store, token string) coordinator.Record {
	t.Helper()
	states, err := s.Load(t.Context(), account)
	if err != nil {
		t.Fatalf("Load() = %v", err)
	}
	attempt, err := s.Begin(t.Context(), account, begin(states[0].Record.Generation))
	if err != nil {
		t.Fatalf("Begin() = %v", err)
	}
	r, err := s.Commit(t.Context(), account, commit(attempt, token))
	if err != nil {
		t.Fatalf("Commit() = %v", err)
	}
	return r
}

func commit(attempt coordinator.Attempt, token string) coordinator.CommitRequest {
	return coordinator.CommitRequest{
		Attempt: attempt, Reason: coordinator.ReasonSchedule,
		Token: coordinator.NewToken(token), Lifetime: 2 * time.Hour, Calls: 1,
	}
}

func wantUnreachable(t *testing.T, s coordinator.Store) {
	t.Helper()
	if _, err := s.Load(t.Context(), account); !errors.Is(err, coordinator.ErrUnreachable) {
		t.Errorf("Load() = %v, want %v", err, coordinator.ErrUnreachable)
	}
}

func wantReachable(t *testing.T, s coordinator.Store) {
	t.Helper()
	if _, err := s.Load(t.Context(), account); err != nil {
		t.Errorf("Load() = %v, want nil", err)
	}
}

// diary is a watcher that notes its calls.
type diary struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (d *diary) Subscribed(accounts []string) { d.write("subscribed " + strings.Join(accounts, " ")) }
func (d *diary) Lost(error)                   { d.write("lost") }
func (d *diary) Notified(e coordinator.Event) { d.write(string(e.Kind)) }

func (d *diary) write(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

// want compares what was written since the last want, once nothing moves in
// the bubble.
func (d *diary) want(t *testing.T, lines ...string) {
	t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.lines, lines) {
		t.Errorf("the calls of the watcher were %q, want %q", d.lines, lines)
	}
	d.lines = nil
}

// follow subscribes to the account until the test ends.
func follow(t *testing.T, s coordinator.Store) *diary {
	t.Helper()
	d := new(diary)
	sub := s.Subscribe(d)
	sub.Add(coordinator.Reader, account)
	// Ends with the test, which waits for everything in its bubble.
	go sub.Run(t.Context())
	d.want(t, "subscribed "+account)
	return d
}

func TestSetDownOfTheStoreCutsOffEveryInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		a, b := store.Instance("a"), store.Instance("b")
		watcher := follow(t, a)

		store.SetDown(true)
		wantUnreachable(t, a)
		wantUnreachable(t, b)
		wantUnreachable(t, store)
		watcher.want(t, "lost")

		store.SetDown(false)
		refresh(t, b, "token")
		watcher.want(t, "subscribed wx1", "refreshed")
	})
}

func TestSetDownOfAnInstanceIsAPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		a, b := store.Instance("a"), store.Instance("b")
		onA, onB := follow(t, a), follow(t, b)
		lock, err := a.Lock(t.Context(), account, 3*time.Second)
		if err != nil {
			t.Fatal(err)
		}

		a.SetDown(true)
		wantUnreachable(t, a)
		wantReachable(t, b)
		if err := lock.Extend(t.Context(), 0); !errors.Is(err, coordinator.ErrUnreachable) {
			t.Errorf("Extend() = %v, want %v", err, coordinator.ErrUnreachable)
		}
		refresh(t, b, "token")
		onA.want(t, "lost")
		onB.want(t, "refreshed")

		a.SetDown(false)
		wantReachable(t, a)
		onA.want(t, "subscribed wx1")
		onB.want(t)
	})
}

func TestASubscriptionThatStartsWhileTheStoreIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		store.SetDown(true)
		watcher := new(diary)
		sub := store.Subscribe(watcher)
		sub.Add(coordinator.Reader, account)
		go sub.Run(t.Context()) // the bubble waits for it
		watcher.want(t, "lost")
		sub.Add(coordinator.Reader, "wx0")
		watcher.want(t)
		store.SetDown(false)
		watcher.want(t, "subscribed wx0 wx1")
	})
}

func TestFlushLosesEverythingWithoutANotification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		watcher := follow(t, store)
		before := refresh(t, store, "token-1")
		watcher.want(t, "refreshed")
		lock, err := store.Lock(t.Context(), account, time.Minute)
		if err != nil {
			t.Fatal(err)
		}

		store.Flush()
		watcher.want(t)
		if s := store.Peek(account); s.Record.Generation != 0 || s.Fence != 0 || s.Holder != "" {
			t.Errorf("after Flush() the state is %+v", s)
		}
		if err := lock.Extend(t.Context(), 0); !errors.Is(err, coordinator.ErrLockLost) {
			t.Errorf("Extend() = %v, want %v", err, coordinator.ErrLockLost)
		}
		time.Sleep(time.Microsecond)
		if after := refresh(t, store, "token-2"); after.Generation <= before.Generation {
			t.Errorf("generation %d follows %d", after.Generation, before.Generation)
		}
	})
}

func TestStealLockFreesTheLock(t *testing.T) {
	store := memstore.New()
	lock, err := store.Instance("a").Lock(t.Context(), account, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	store.StealLock(account)
	if err := lock.Extend(t.Context(), 0); !errors.Is(err, coordinator.ErrLockLost) {
		t.Errorf("Extend() = %v, want %v", err, coordinator.ErrLockLost)
	}
	if _, err := store.Instance("b").Lock(t.Context(), account, time.Minute); err != nil {
		t.Errorf("Lock() = %v, want nil", err)
	}
}

func TestFailNextDoesNothingAndLoseAnswersDoesIt(t *testing.T) {
	store := memstore.New()
	a := store.Instance("a")
	attempt, err := a.Begin(t.Context(), account, begin(0))
	if err != nil {
		t.Fatal(err)
	}
	commit := commit(attempt, "token")

	a.FailNext(memstore.OpCommit, 1)
	if _, err := a.Commit(t.Context(), account, commit); !errors.Is(err, coordinator.ErrUnreachable) {
		t.Errorf("Commit() = %v, want %v", err, coordinator.ErrUnreachable)
	}
	if got := store.Peek(account).Record.Generation; got != 0 {
		t.Errorf("generation %d is stored by a commit that failed", got)
	}

	store.LoseAnswers(memstore.OpCommit, 1)
	if _, err := a.Commit(t.Context(), account, commit); !errors.Is(err, coordinator.ErrUnreachable) {
		t.Errorf("Commit() = %v, want %v", err, coordinator.ErrUnreachable)
	}
	if got := store.Peek(account).Record.Generation; got != attempt.Fence {
		t.Errorf("generation %d is stored, want %d", got, attempt.Fence)
	}

	if r, err := a.Commit(t.Context(), account, commit); err != nil || r.Generation != attempt.Fence {
		t.Errorf("Commit() = generation %d, %v, want %d", r.Generation, err, attempt.Fence)
	}
	if got := a.Calls(memstore.OpCommit); got != 3 {
		t.Errorf("Calls() = %d, want 3", got)
	}
	if got := store.Calls(memstore.OpCommit); got != 3 {
		t.Errorf("the store's Calls() = %d, want 3", got)
	}
}

func TestDropNotificationsLosesThemSilently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		watcher := follow(t, store)
		store.DropNotifications(true)
		refresh(t, store, "token-1")
		watcher.want(t)
		store.DropNotifications(false)
		refresh(t, store, "token-2")
		watcher.want(t, "refreshed")
	})
}

func TestLatencyDelaysOperationsAndNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		watcher := follow(t, store)
		r := refresh(t, store, "token-1")
		watcher.want(t, "refreshed")
		store.SetLatency(10 * time.Millisecond)
		start := time.Now()
		attempt, err := store.Begin(t.Context(), account, begin(r.Generation))
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 10*time.Millisecond {
			t.Errorf("Begin() took %v, want 10ms", took)
		}

		// In time to be carried out, too late to be answered.
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Millisecond)
		defer cancel()
		_, err = store.Commit(ctx, account, commit(attempt, "token-2"))
		if !errors.Is(err, coordinator.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Commit() = %v, want %v and %v", err, coordinator.ErrUnreachable, context.DeadlineExceeded)
		}
		if got := store.Peek(account).Record.Generation; got != attempt.Fence {
			t.Errorf("generation %d is stored, want %d", got, attempt.Fence)
		}
		watcher.want(t)
		time.Sleep(3 * time.Millisecond) // 5 + 5 after the start
		watcher.want(t, "refreshed")
	})
}

func TestSetSkewMovesTheClockOfTheStoreOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		store.SetSkew(-48 * time.Hour)
		r := refresh(t, store, "token")
		if got := time.Since(r.IssuedAt).Round(time.Hour); got != 48*time.Hour {
			t.Errorf("IssuedAt is %v ago, want 48h", got)
		}
		if want := 2*time.Hour - 30*time.Second; r.TTL != want {
			t.Errorf("TTL = %v, want %v", r.TTL, want)
		}
		store.SetSkew(0)
		if got := store.Peek(account).Record.Generation; got != 0 {
			t.Errorf("the record of generation %d survived a jump of two days", got)
		}
	})
}

func TestADayOfTheIssuerEndsAtFourInTheAfternoonUTC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		b := begin(0)
		b.Limits.PerDay = 1
		if _, err := store.Begin(t.Context(), account, b); err != nil {
			t.Fatal(err)
		}
		_, err := store.Begin(t.Context(), account, b)
		throttled, ok := errors.AsType[*coordinator.ThrottledError](err)
		if !ok {
			t.Fatalf("Begin() = %v, want a *ThrottledError", err)
		}
		// A bubble begins at midnight UTC.
		if throttled.RetryIn != 16*time.Hour {
			t.Errorf("RetryIn = %v, want 16h", throttled.RetryIn)
		}
		time.Sleep(throttled.RetryIn)
		attempt, err := store.Begin(t.Context(), account, b)
		if err != nil || attempt.CallsToday != 1 {
			t.Errorf("Begin() = %d calls today, %v, want 1", attempt.CallsToday, err)
		}
	})
}

func TestTheLogIsCappedAndHoldsNoToken(t *testing.T) {
	store := memstore.New()
	for n := range 1100 {
		refresh(t, store, fmt.Sprintf("secret-%d", n))
	}
	log := store.Log(account)
	if len(log) != 1000 {
		t.Errorf("the log has %d entries, want 1000", len(log))
	}
	for _, e := range log {
		if e.Event != "refreshed" || e.By != "memstore" || e.Fence == 0 {
			t.Fatalf("an entry of the log is %+v", e)
		}
	}
	if strings.Contains(fmt.Sprintf("%+v", log), "secret") {
		t.Error("there is a token in the log")
	}
}
