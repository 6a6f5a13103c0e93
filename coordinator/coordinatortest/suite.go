package coordinatortest

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// TestStore checks that a store keeps to the contract of coordinator.Store:
// each sentence of it, and each decision of the protocol that several stores
// must take alike, is a subtest.
//
// open is called for each process that a subtest needs, from several goroutines.
// The stores it returns must share their data and should have different instance
// names. Each subtest uses an account of its own, so that a server in use can be
// tested; nothing is deleted. open registers with t.Cleanup what it has to close.
//
// A coordinator.ChangeStore that records changes is checked as one.
//
// Times are real: lives are some hundred milliseconds, and the whole takes a
// few seconds.
func TestStore(t *testing.T, open func(t *testing.T) coordinator.Store) {
	groups := []group{
		{"Load", loadChecks()},
		{"Lock", lockChecks()},
		{"Begin", beginChecks()},
		{"limits", limitChecks()},
		{"Commit", commitChecks()},
		{"superseded", supersededChecks()},
		{"Fail", failChecks()},
		{"Restore", restoreChecks()},
		{"events", eventChecks()},
		{"Subscription", subscriptionChecks()},
		{"all", concurrencyChecks()},
	}
	if recordsChanges(t, open(t)) {
		groups = append(groups, group{"changes", changeChecks()})
	}
	runChecks(t, groups, open)
}

type group struct {
	name   string
	checks []check
}

func runChecks(t *testing.T, groups []group, open func(t *testing.T) coordinator.Store) {
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			for _, c := range group.checks {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(newFixture(t, open))
				})
			}
		})
	}
}

type check struct {
	name string
	run  func(w *fixture)
}

const (
	short    = 300 * time.Millisecond // a life whose end a check waits for
	long     = time.Minute            // a life that outlasts the check
	patience = 10 * time.Second       // for what must happen soon
	pace     = 5 * time.Millisecond   // of looking again
	slack    = 2 * time.Second        // how long an operation may take on a busy machine
)

// generous are limits that no check reaches by chance.
var generous = coordinator.Limits{PerDay: 1000}

// fixture is what a check works on: an account of its own, as one process sees it.
type fixture struct {
	*testing.T
	open    func(t *testing.T) coordinator.Store
	store   coordinator.Store
	account string
}

func newFixture(t *testing.T, open func(t *testing.T) coordinator.Store) *fixture {
	return &fixture{T: t, open: open, store: open(t), account: "conform-" + rand.Text()}
}

// another returns the same account in the eyes of a second process.
func (w *fixture) another() *fixture {
	w.Helper()
	return &fixture{T: w.T, open: w.open, store: w.open(w.T), account: w.account}
}

// beside returns another account in the same process.
func (w *fixture) beside() *fixture {
	return &fixture{T: w.T, open: w.open, store: w.store, account: "conform-" + rand.Text()}
}

func (w *fixture) load() coordinator.State {
	w.Helper()
	states, err := w.store.Load(w.Context(), w.account)
	if err != nil {
		w.Fatalf("Load() = %v", err)
	}
	if len(states) != 1 {
		w.Fatalf("Load() returned %d states, want 1", len(states))
	}
	return states[0]
}

// start returns a Begin on schedule that nothing forbids.
func (w *fixture) start(seen coordinator.Fence) coordinator.BeginRequest {
	return coordinator.BeginRequest{
		Seen: seen, Reason: coordinator.ReasonSchedule, TTL: long, Limits: generous,
	}
}

// begin makes an attempt with Begin b and fails the test if there is none.
func (w *fixture) begin(b coordinator.BeginRequest) coordinator.Attempt {
	w.Helper()
	attempt, err := w.store.Begin(w.Context(), w.account, b)
	if err != nil {
		w.Fatalf("Begin(%+v) = %v", b, err)
	}
	if attempt.Fence == 0 {
		w.Fatalf("Begin(%+v) says that generation %d is newer", b, attempt.Record.Generation)
	}
	return attempt
}

// beginFor makes an attempt that is overdue after the given time.
func (w *fixture) beginFor(life time.Duration) coordinator.Attempt {
	w.Helper()
	b := w.start(0)
	b.TTL = life
	return w.begin(b)
}

// throttled makes a Begin and fails the test if no limit forbids it.
func (w *fixture) throttled(b coordinator.BeginRequest) *coordinator.ThrottledError {
	w.Helper()
	attempt, err := w.store.Begin(w.Context(), w.account, b)
	throttled := asThrottled(err)
	if throttled == nil {
		w.Fatalf("Begin(%+v) = fence %d, %v, want a *ThrottledError", b, attempt.Fence, err)
	}
	return throttled
}

// stored is a Commit of an attempt that brought the token and nothing unusual.
func (w *fixture) stored(attempt coordinator.Attempt, token string) coordinator.CommitRequest {
	return coordinator.CommitRequest{
		Attempt:  attempt,
		Reason:   coordinator.ReasonSchedule,
		Token:    coordinator.NewToken(token),
		Lifetime: 2 * time.Hour,
		Calls:    1,
	}
}

func (w *fixture) commit(c coordinator.CommitRequest) coordinator.Record {
	w.Helper()
	r, err := w.store.Commit(w.Context(), w.account, c)
	if err != nil {
		w.Fatalf("Commit(fence %d) = %v", c.Attempt.Fence, err)
	}
	return r
}

// refresh brings the account a token in the ordinary way.
func (w *fixture) refresh(token string) coordinator.Record {
	w.Helper()
	return w.commit(w.stored(w.begin(w.start(w.load().Record.Generation)), token))
}

func (w *fixture) fail(f coordinator.FailRequest) {
	w.Helper()
	if err := w.store.Fail(w.Context(), w.account, f); err != nil {
		w.Fatalf("Fail(%+v) = %v", f, err)
	}
}

// failed is a Fail of the given kind that sets no back-off.
func failed(attempt coordinator.Attempt, kind coordinator.FailureKind) coordinator.FailRequest {
	return coordinator.FailRequest{
		Attempt: attempt,
		Reason:  coordinator.ReasonSchedule,
		Failure: coordinator.Failure{Kind: kind, Message: "no luck"},
		Calls:   1,
	}
}

func (w *fixture) restore(r coordinator.Record) coordinator.Record {
	w.Helper()
	stored, err := w.store.Restore(w.Context(), w.account, r)
	if err != nil {
		w.Fatalf("Restore(generation %d) = %v", r.Generation, err)
	}
	return stored
}

func (w *fixture) lock(life time.Duration) coordinator.Lock {
	w.Helper()
	lock, err := w.store.Lock(w.Context(), w.account, life)
	if err != nil {
		w.Fatalf("Lock() = %v", err)
	}
	return lock
}

// eventually waits until the account's state is as ok wants it.
func (w *fixture) eventually(what string, ok func(coordinator.State) bool) coordinator.State {
	w.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(pace) {
		s := w.load()
		if ok(s) {
			return s
		}
		if time.Now().After(end) {
			w.Fatalf("after %v still not so: %s; the state is %+v", patience, what, s)
		}
	}
}

// overdue waits until that many attempts are overdue.
func (w *fixture) overdue(n int) {
	w.Helper()
	w.eventually("attempts are overdue", func(s coordinator.State) bool { return s.Overdue() == n })
}

// open attempts, and how many of them are overdue, must be these.
func (w *fixture) wantOpen(open, overdue int) {
	w.Helper()
	if s := w.load(); len(s.Open) != open || s.Overdue() != overdue {
		w.Errorf("%d attempts are open, %d of them overdue; want %d and %d", len(s.Open), s.Overdue(), open, overdue)
	}
}

// wantOverdue checks which attempts a Begin handed out as overdue.
func (w *fixture) wantOverdue(attempt coordinator.Attempt, fences ...coordinator.Fence) {
	w.Helper()
	if !slices.Equal(sorted(attempt.Overdue), fences) {
		w.Errorf("Overdue = %v, want %v", attempt.Overdue, fences)
	}
}

func (w *fixture) wantCalls(n int) {
	w.Helper()
	if s := w.load(); s.CallsToday != n {
		w.Errorf("CallsToday = %d, want %d", s.CallsToday, n)
	}
}

// wantRecord compares what a store must preserve; a TTL shrinks.
func (w *fixture) wantRecord(got, want coordinator.Record) {
	w.Helper()
	if !got.Token.Equal(want.Token) {
		w.Errorf("the record has another token than expected")
	}
	if got.Generation != want.Generation {
		w.Errorf("Generation = %d, want %d", got.Generation, want.Generation)
	}
	if got.IssuedBy != want.IssuedBy {
		w.Errorf("IssuedBy = %q, want %q", got.IssuedBy, want.IssuedBy)
	}
	for _, at := range []struct {
		name      string
		got, want time.Time
	}{
		{"IssuedAt", got.IssuedAt, want.IssuedAt},
		{"ExpiresAt", got.ExpiresAt, want.ExpiresAt},
		{"RefreshAt", got.RefreshAt, want.RefreshAt},
	} {
		if !at.got.Equal(at.want) {
			w.Errorf("%s = %v, want %v", at.name, at.got, at.want)
		}
	}
	if !maps.Equal(got.Attributes, want.Attributes) || got.Repeated != want.Repeated {
		w.Errorf("the attributes are %v, repeated is %t, want %v and %t", got.Attributes, got.Repeated, want.Attributes, want.Repeated)
	}
	if got.TTL > want.TTL || got.TTL < want.TTL-slack-short {
		w.Errorf("TTL = %v, want a little less than %v", got.TTL, want.TTL)
	}
}

// wantNone fails the test if r is a record.
func (w *fixture) wantNone(r coordinator.Record) {
	w.Helper()
	if r.Generation != 0 || !r.Token.IsZero() {
		w.Errorf("there is a record of generation %d, want none", r.Generation)
	}
}

// about reports whether got is want or up to slack less.
func about(got, want time.Duration) bool { return got <= want && got >= want-slack }

// sameDay skips a check that counts the calls of a day in the last minute of
// the issuer's.
func (w *fixture) sameDay() {
	const day, utc8 = 24 * time.Hour, 8 * time.Hour
	today := w.load().Now.Add(utc8)
	if left := day - today.Sub(today.Truncate(day)); left < time.Minute {
		w.Skip("the issuer's day is about to end")
	}
}

// canceled is a context that has ended.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// sorted returns the fences in their order.
func sorted(fences []coordinator.Fence) []coordinator.Fence {
	fences = slices.Clone(fences)
	slices.Sort(fences)
	return fences
}
