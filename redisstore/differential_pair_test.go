package redisstore

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/ledger"
)

// pair is an account on the scripts and in a ledger. Each of its operations runs on
// both sides, and ends the history if they differ.
type pair struct {
	t      *testing.T
	server *miniredis.Miniredis
	stores []*Store // of two instances, which read in the two ways
	sub    coordinator.Subscription
	heard  chan coordinator.Event
	ready  chan struct{}  // Subscribed was called
	seen   map[string]int // how often each outcome was compared

	// Of one history.
	rng               *rand.Rand
	name              string
	now               time.Time
	pace              time.Duration // of all begins; 0: any
	window, dayBegins time.Duration // of most begins
	account           ledger.Account
	attempts          []coordinator.Attempt // that were begun, or forged
	records           []coordinator.Record  // that were stored once
	locks             []heldLock
	did               []string // the steps so far
}

// heldLock is one taking of the lock on both sides.
type heldLock struct {
	redis coordinator.Lock
	id    string
	life  time.Duration
}

// pairWatcher passes on what one store is told.
type pairWatcher struct{ *pair }

func (w pairWatcher) Subscribed([]string)          { w.ready <- struct{}{} }
func (w pairWatcher) Lost(err error)               { w.t.Errorf("the subscription was lost: %v", err) }
func (w pairWatcher) Notified(e coordinator.Event) { w.heard <- e }

// newPair starts a server; scripts are changed by change, if that is not nil.
func newPair(t *testing.T, change func(name, source string) string) *pair {
	t.Helper()
	p := &pair{
		t: t, server: miniredis.RunT(t), heard: make(chan coordinator.Event, 1000), ready: make(chan struct{}, 1000),
		seen: make(map[string]int),
	}
	p.server.ClockTTL(true)
	for i := range 2 {
		s, err := Open("redis://"+p.server.Addr(), Options{Instance: fmt.Sprintf("p%d", i), Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		s.scripted.Store(i == 1)
		if change != nil {
			changed := s.scripts().changed(change)
			s.scripts = func() scripts { return changed }
		}
		p.stores = append(p.stores, s)
	}
	p.sub = p.stores[0].Subscribe(pairWatcher{p})
	done := make(chan struct{})
	go func() { // ends with the test, which waits for it
		defer close(done)
		p.sub.Run(t.Context())
	}()
	t.Cleanup(func() { <-done })
	return p
}

// difference is a panic that ends a history.
type difference string

// history plays one history and returns where the two differ, "" if nowhere.
func (p *pair) history(seed uint64) (found string) {
	p.rng = rand.New(rand.NewPCG(seed, 2))
	p.name, p.account = fmt.Sprintf("wx%d", seed), ledger.Account{}
	p.attempts, p.records, p.locks, p.did, p.pace = nil, nil, nil, nil, 0
	p.now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(p.rng.IntN(1_000_000)) * time.Microsecond)
	p.window = pick(p, 0, 0, 24*time.Hour, time.Minute, time.Hour, 7*time.Hour, 30*24*time.Hour)
	p.dayBegins = pick(p, 0, 0, 8*time.Hour, 17*time.Hour+time.Millisecond)
	p.server.FlushAll()
	p.server.SetTime(p.now)
	p.sub.Add(coordinator.Refresher, p.name)
	select {
	case <-p.ready:
	case <-time.After(time.Minute):
		p.t.Fatal("not subscribed after a minute")
	}
	defer func() {
		p.sub.Remove(p.name)
		d, differs := recover().(difference)
		if differs {
			last := p.did[max(0, len(p.did)-12):]
			found = fmt.Sprintf("history %d, step %d: %s\n after %s", seed, len(p.did), d, strings.Join(last, "\n       "))
		}
	}()
	p.opening(seed)
	for range diffSteps {
		p.pass()
		p.step()
	}
	p.want() // any event that was published in excess is heard before this one
	return ""
}

// opening brings about what random steps seldom do.
func (p *pair) opening(seed uint64) {
	limits := coordinator.Limits{PerDay: 1000}
	switch seed % 20 {
	case 1: // more overdue attempts than are kept
		for range 104 {
			p.begin(coordinator.BeginRequest{Reason: coordinator.ReasonSchedule, TTL: p.between(time.Millisecond, 2*time.Second), Limits: limits})
			p.move(time.Millisecond)
		}
		p.move(3 * time.Second)
	case 2, 7, 12, 17: // the pace is almost used up
		p.pace = time.Hour
		for range coordinator.PaceBurst - 1 {
			p.begin(coordinator.BeginRequest{Reason: coordinator.ReasonMissing, TTL: time.Minute, Limits: limits, Pace: p.pace})
		}
	}
}

// between returns a duration in whole milliseconds.
func (p *pair) between(from, to time.Duration) time.Duration {
	return from + time.Duration(p.rng.Int64N(int64((to-from)/time.Millisecond)+1))*time.Millisecond
}

// pick returns one of several.
func pick[T any](p *pair, of ...T) T { return of[p.rng.IntN(len(of))] }

// pass moves the clock, mostly on.
func (p *pair) pass() {
	switch n := p.rng.IntN(100); {
	case n < 40:
	case n < 65:
		p.move(p.between(time.Millisecond, 4*time.Second))
	case n < 80:
		p.move(p.between(time.Second, 3*time.Minute))
	case n < 90:
		p.move(p.between(time.Minute, 3*time.Hour))
	case n < 94: // into the last second of the issuer's day, or the first of the next
		tomorrow := p.now.Add(8 * time.Hour).Truncate(24 * time.Hour).Add(16 * time.Hour)
		p.move(max(tomorrow.Sub(p.now)+pick(p, -time.Second, 0), 0))
	case n < 99:
		p.move(-p.between(time.Millisecond, 3*time.Hour))
	default:
		p.move(-p.between(25*time.Hour, 49*time.Hour))
	}
}

// move sets both clocks. In miniredis what is left of a key's life stays when the
// clock goes back; in Redis the end of the key does.
func (p *pair) move(d time.Duration) {
	// What has ended by now is gone on both sides, also if the clock goes back.
	keys := p.server.Keys()
	p.account.State(ledger.Step{Now: p.now})
	p.now = p.now.Add(d)
	p.server.SetTime(p.now)
	if d >= 0 {
		return
	}
	p.did = append(p.did, fmt.Sprintf("the clock goes back by %v", -d))
	for _, key := range keys {
		if ttl := p.server.TTL(key); ttl > 0 {
			p.server.SetTTL(key, ttl-d)
		}
	}
}

// step makes a random step.
func (p *pair) step() {
	switch n := p.rng.IntN(100); {
	case n < 34:
		p.begin(p.anyBegin())
	case n < 56:
		p.commit(p.anyCommit())
	case n < 70:
		p.fail(p.anyFail())
	case n < 78:
		p.restore(p.anyRecord())
	case n < 84:
		p.lock(pick(p, p.between(time.Second, time.Minute), p.between(time.Minute, 2*time.Hour)))
	case n < 93:
		p.extend()
	case n < 96:
		p.unlock()
	case n < 98:
		p.want()
	default:
		p.server.FlushAll()
		p.account = ledger.Account{}
		p.compare("flush", "", "", nil)
	}
}

// by returns one of the two instances, and the step it makes.
func (p *pair) by() (*Store, ledger.Step) {
	i := p.rng.IntN(len(p.stores))
	return p.stores[i], ledger.Step{Account: p.name, Instance: fmt.Sprintf("p%d", i), Now: p.now}
}

func (p *pair) begin(b coordinator.BeginRequest) {
	store, step := p.by()
	got, err := store.Begin(p.t.Context(), p.name, b)
	want, event, wantErr := p.account.Begin(step, b)
	slices.Sort(got.Overdue)
	slices.Sort(want.Overdue)
	show := func(a coordinator.Attempt, err error) string {
		return fmt.Sprintf("fence %d, record %s, overdue %v, %d failures, %d calls, conflict %t, %s",
			a.Fence, shownRecord(a.Record), a.Overdue, a.Failures, a.CallsToday, a.Conflict, shownError(err))
	}
	switch throttled, isThrottled := errors.AsType[*coordinator.ThrottledError](wantErr); {
	case isThrottled:
		p.seen["begin: "+string(throttled.Limit)]++
	case want.Fence == 0 && want.Record.Generation == b.Seen:
		p.seen["begin: settled"]++
	case want.Fence == 0:
		p.seen["begin: newer record"]++
	default:
		p.seen["begin: "+string(b.Reason)]++
		p.attempts = append(p.attempts, want)
		p.count("begin: some were overdue", len(want.Overdue) > 0)
		p.count("begin: a hundred were overdue", len(want.Overdue) == 100)
		p.count("begin: conflict", want.Conflict)
	}
	p.compare(fmt.Sprintf("Begin(%+v)", b), show(got, err), show(want, wantErr), event)
}

func (p *pair) count(what string, happened bool) {
	if happened {
		p.seen[what]++
	}
}

func (p *pair) commit(c coordinator.CommitRequest) {
	store, step := p.by()
	got, err := store.Commit(p.t.Context(), p.name, c)
	want, event, wantErr := p.account.Commit(step, c)
	switch {
	case wantErr != nil:
		p.seen["commit: superseded"]++
	case event == nil:
		p.seen["commit: repeated"]++
	default:
		p.seen["commit: stored"]++
		p.records = append(p.records, want)
	}
	p.compare(fmt.Sprintf("Commit(%+v)", c), shownRecord(got)+shownError(err), shownRecord(want)+shownError(wantErr), event)
}

func (p *pair) fail(f coordinator.FailRequest) {
	store, step := p.by()
	generation := p.account.State(step).Record.Generation
	err := store.Fail(p.t.Context(), p.name, f)
	event := p.account.Fail(step, f)
	switch {
	case event == nil:
		p.seen["fail: repeated"]++
	case generation > f.Attempt.Fence:
		p.seen["fail: older than the token"]++
	default:
		p.seen["fail: "+string(f.Failure.Kind)]++
	}
	p.compare(fmt.Sprintf("Fail(%+v)", f), shownError(err), shownError(nil), event)
}

func (p *pair) restore(r coordinator.Record) {
	store, step := p.by()
	got, err := store.Restore(p.t.Context(), p.name, r)
	want, event := p.account.Restore(step, r)
	switch {
	case event != nil:
		p.seen["restore: put back"]++
	case want.Generation != 0:
		p.seen["restore: as new or newer"]++
	default:
		p.seen["restore: refused"]++
	}
	p.compare("Restore("+shownRecord(r)+")", shownRecord(got)+shownError(err), shownRecord(want)+shownError(nil), event)
}

func (p *pair) lock(life time.Duration) {
	store, step := p.by()
	lock, err := store.Lock(p.t.Context(), p.name, life)
	if locked, ok := errors.AsType[*coordinator.LockedError](err); ok && locked.RetryIn == time.Millisecond {
		// One that would last for longer than any may is taken away first.
		lock, err = store.Lock(p.t.Context(), p.name, life)
	}
	id := fmt.Sprintf("lock %d", len(p.did))
	wantErr := p.account.Lock(step, id, life)
	if err == nil && wantErr == nil {
		p.locks = append(p.locks, heldLock{lock, id, life})
	}
	p.count("lock: got", wantErr == nil)
	p.count("lock: taken", wantErr != nil)
	p.compare(fmt.Sprintf("Lock(%v)", life), shownError(err), shownError(wantErr), nil)
}

func (p *pair) extend() {
	if len(p.locks) == 0 {
		return
	}
	_, step := p.by()
	lock, fence := p.locks[len(p.locks)-1], p.anyFence()
	if p.rng.IntN(4) == 0 {
		lock = pick(p, p.locks...)
	}
	err := lock.redis.Extend(p.t.Context(), fence)
	wantErr := p.account.Extend(step, lock.id, lock.life, fence)
	p.count("extend: kept", wantErr == nil)
	p.count("extend: lost", wantErr != nil)
	p.compare(fmt.Sprintf("Extend(%d) of %s for %v", fence, lock.id, lock.life), shownError(err), shownError(wantErr), nil)
}

func (p *pair) unlock() {
	if len(p.locks) == 0 {
		return
	}
	lock := pick(p, p.locks...)
	err := lock.redis.Unlock(p.t.Context())
	p.account.Unlock(lock.id)
	p.compare("Unlock() of "+lock.id, shownError(err), shownError(nil), nil)
}

func (p *pair) want() {
	store, step := p.by()
	w := coordinator.WantRequest{Reason: coordinator.ReasonMissing, Seen: p.anyFence(), AskedBy: "a reader"}
	err := store.Want(p.t.Context(), p.name, w)
	p.compare(fmt.Sprintf("Want(%+v)", w), shownError(err), shownError(nil), step.Want(w))
}

// compare ends the history if anything differs after a step.
func (p *pair) compare(what, got, want string, event *coordinator.Event) {
	p.did = append(p.did, p.now.Format("15:04:05.000000 ")+what)
	differ := func(part, got, want string) {
		if got != want {
			panic(difference(fmt.Sprintf("%s: the %s is\n  %s, in the ledger\n  %s", what, part, got, want)))
		}
	}
	differ("answer", got, want)
	if event != nil {
		select {
		case e := <-p.heard:
			differ("event", shownEvent(e), shownEvent(*event))
		case <-time.After(2 * time.Second):
			differ("event", "none", shownEvent(*event))
		}
	}
	store, step := p.by()
	states, err := store.Load(p.t.Context(), p.name)
	if err != nil {
		p.t.Fatalf("Load() = %v", err)
	}
	state := p.account.State(step)
	differ("state", shownState(states[0]), shownState(state))
	p.seen["state"]++
	p.count("state: unusable record", state.Err != nil)
}

// check fails the test if an outcome was never compared: the histories would show
// nothing about it.
func (p *pair) check(outcomes ...string) {
	p.t.Helper()
	for _, outcome := range slices.Sorted(maps.Keys(p.seen)) {
		p.t.Logf("%6d %s", p.seen[outcome], outcome)
	}
	for _, outcome := range outcomes {
		if p.seen[outcome] == 0 {
			p.t.Errorf("no history came to %q", outcome)
		}
	}
}
