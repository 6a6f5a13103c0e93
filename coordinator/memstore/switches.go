package memstore

import "time"

// Op is an operation of a store, for switches and counters.
type Op string

// The operations.
const (
	OpLoad    Op = "load"
	OpLock    Op = "lock"
	OpExtend  Op = "extend"
	OpUnlock  Op = "unlock"
	OpBegin   Op = "begin"
	OpCommit  Op = "commit"
	OpFail    Op = "fail"
	OpRestore Op = "restore"
	OpWant    Op = "want"
	OpChanges Op = "changes" // Newest as well

	OpLoadGrant    Op = "load grant"
	OpSaveGrant    Op = "save grant"
	OpRestoreGrant Op = "restore grant"
	OpDropGrant    Op = "drop grant"
	OpMembers      Op = "grant members"
	OpSetMember    Op = "set grant member"
)

// switches are the faults of a Store, or of one instance's way to it. Both sets
// act on an operation.
type switches struct {
	store *Store // its mu guards the rest

	down    bool
	deaf    bool
	latency time.Duration
	failing map[Op]int
	losing  map[Op]int
	unsure  int // writes of grants and their members
	older   bool
	calls   map[Op]int
}

func newSwitches(s *Store) switches {
	return switches{
		store:   s,
		failing: make(map[Op]int),
		losing:  make(map[Op]int),
		calls:   make(map[Op]int),
	}
}

// SetDown sets whether every operation fails with coordinator.ErrUnreachable, those
// under way too. When it begins, every watcher's Lost is called, when it ends, its
// Subscribed. Notifications in between are lost.
func (w *switches) SetDown(down bool) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	w.down = down
	for _, sub := range w.store.subscriptions {
		sub.reconnect()
	}
}

// SetLatency sets how long an operation takes from now on; its effect comes in
// the middle. A notification takes half as long. With a latency of an hour the
// store is a server that hangs: operations end with their context.
func (w *switches) SetLatency(d time.Duration) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	w.latency = d
}

// DropNotifications loses every notification while it is on, without a call of
// Lost, as pub/sub does.
func (w *switches) DropNotifications(drop bool) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	w.deaf = drop
}

// RecordNoChanges sets whether operations record no change (see
// coordinator.ChangeStore), as those of a version before there were any.
func (w *switches) RecordNoChanges(none bool) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	w.older = none
}

// FailNext makes the next n operations of this kind fail with
// coordinator.ErrUnreachable without being carried out.
func (w *switches) FailNext(op Op, n int) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	w.failing[op] = n
}

// LoseAnswers makes the next n operations of this kind fail with
// coordinator.ErrUnreachable although they are carried out.
func (w *switches) LoseAnswers(op Op, n int) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	w.losing[op] = n
}

// Unconfirm makes the next n writes of grants and their members, the repeated ones included
// but of DropGrant, fail with coordinator.ErrUnconfirmed although they are carried out.
func (w *switches) Unconfirm(n int) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	w.unsure = n
}

// unconfirmed draws whether a grant is confirmed. Needs the store's mu.
func (w *switches) unconfirmed() bool {
	if w.unsure == 0 {
		return false
	}
	w.unsure--
	return true
}

// Calls returns how many operations of this kind were asked for, failed ones
// included.
func (w *switches) Calls(op Op) int {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	return w.calls[op]
}

// fate is what becomes of one operation.
type fate int

const (
	succeeds   fate = iota
	fails           // not carried out
	answerLost      // carried out, but the caller gets an error
)

// draw counts an operation and returns its fate. Needs the store's mu.
func (w *switches) draw(op Op) fate {
	w.calls[op]++
	switch {
	case w.failing[op] > 0:
		w.failing[op]--
		return fails
	case w.losing[op] > 0:
		w.losing[op]--
		return answerLost
	}
	return succeeds
}
