package coordinator

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// feed follows the store's changes, so that accounts need not be read to find out that
// nothing has changed. Notifications are faster and carry the record; the feed tells
// which of them were lost.
//
// An account that was read after the cursor was taken is covered: every change since is
// in what the feed reads. So the cursor is taken before all accounts are read. A cursor
// that is taken anew covers none of the accounts that were read before.
type feed struct {
	c     *Coordinator
	store ChangeStore // nil: the store is none

	cursors atomic.Uint32 // how many cursors were taken; 0: there is none now
	atOnce  atomic.Bool   // a cursor is taken although the last reading has failed just now
	works   atomic.Bool   // readings succeed: covered accounts are not polled

	turn    chan struct{} // holds one while the changes are read; guards what follows
	cursor  Cursor
	recent  []Change  // the last that were seen with this cursor, up to it
	taken   uint32    // cursors so far
	none    bool      // the store records no changes
	retry   time.Time // no cursor is taken before it
	failing time.Time // when readings began to fail; zero: they do not

	late   []Change    // owned by the scheduler's watch: seen in the reading before, and not notified by then
	broken atomic.Bool // notifications were lost since the cursor was taken

	mu    sync.Mutex           // guards heard
	heard [2]map[string]uint64 // the numbers that were notified since the last whole reading, and between the two before
}

func newFeed(c *Coordinator) *feed {
	f := &feed{c: c, turn: make(chan struct{}, 1)}
	f.store, _ = c.store.(ChangeStore)
	return f
}

// covering returns what accounts are covered by that are not polled; 0: none is.
func (f *feed) covering() uint32 {
	if !f.works.Load() {
		return 0
	}
	return f.cursors.Load()
}

// cover takes the cursor if there is none, before accounts are read.
func (f *feed) cover(ctx context.Context) {
	if f.store == nil || f.cursors.Load() != 0 || !f.begin(ctx) {
		return
	}
	defer f.end()
	f.take(ctx)
}

// begin waits until no other goroutine reads the changes. It reports false if ctx ended
// first.
func (f *feed) begin(ctx context.Context) bool {
	select {
	case f.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *feed) end() { <-f.turn }

// resumes reports whether resume may tell what has changed while notifications were lost.
// If not, all accounts are to be read at once, and the cursor is given up before that.
func (f *feed) resumes() bool {
	switch {
	case !f.broken.Load():
		return false // they were not subscribed before
	case f.covering() == 0:
		f.broken.Store(false)
		f.drop()
		return false
	}
	return true
}

// resume returns the accounts that have changed while notifications were lost. ok is false
// if the feed does not tell all of them; then all accounts are to be read at once.
func (f *feed) resume(ctx context.Context) (changed []*Account, ok bool) {
	f.broken.Store(false)
	cursor := f.covering()
	if cursor == 0 || !f.begin(ctx) {
		f.drop()
		return nil, false
	}
	known, seen := f.recent, f.cursor.Number
	if len(known) > 0 {
		f.cursor.Change, f.recent = known[0], nil // they are read again
	}
	r, err := f.read(ctx)
	f.end()
	if err != nil || !r.whole || f.covering() != cursor || !proven(known, r.changes) {
		f.drop()
		return nil, false
	}
	r.changes = slices.DeleteFunc(r.changes, func(c Change) bool { return c.Number <= seen })
	return f.lostOf(r), true
}

// lostOf returns the accounts of whose changes, and of those that were late before, no
// notification has told. None will: the connection on which they were sent is gone.
func (f *feed) lostOf(r reading) []*Account {
	newest := make(map[string]Change, len(f.late)+len(r.changes))
	for _, c := range slices.Concat(f.late, r.changes) {
		newest[c.Account] = c
	}
	f.late, r.changes = slices.Collect(maps.Values(newest)), nil
	return f.unheard(r)
}

// proven reports whether changes, which were read from the first of the known ones on, show
// that no known change was lost. One that is there with its number shows that none before
// it was: a server that has not got all that another one had lacks the newest. What was
// known after it must have changed again, and is read. An account that is there with a lower
// number has lost its newest change, though an older one of the same account may be known.
func proven(known, changes []Change) bool {
	if len(known) == 0 {
		return false
	}
	numbers := make(map[string]uint64, len(changes))
	for _, c := range changes {
		numbers[c.Account] = c.Number
	}
	for i, c := range slices.Backward(known) {
		number, there := numbers[c.Account]
		switch {
		case i == 0: // that it is there is what the store has checked
			return !there
		case number == c.Number:
			return true
		case !there, number < c.Number:
			return false
		}
	}
	return false
}

// take takes the cursor if there is none. It is called by the goroutine whose turn it is.
func (f *feed) take(ctx context.Context) {
	if f.none || f.cursors.Load() != 0 || !f.atOnce.Swap(false) && time.Now().Before(f.retry) {
		return
	}
	newest, err := f.store.Newest(ctx)
	if err != nil {
		f.failed(ctx, err)
		return
	}
	f.taken++
	f.cursors.Store(f.taken)
	f.recent = nil
	f.moved(newest)
}

// maxRecent is how many changes prove at a reconnect that none was lost.
const maxRecent = 64

// moved sets the cursor. Before any change is recorded, all other processes may be of a
// version that records none: the feed does not work until there is one.
func (f *feed) moved(to Cursor) {
	if (to != Cursor{}) && (len(f.recent) == 0 || f.recent[len(f.recent)-1] != to.Change) {
		f.recent = append(f.recent, to.Change)
	}
	if !f.failing.IsZero() {
		f.c.reached(nil) // nothing else may ask the store for a while
	}
	f.cursor, f.failing = to, time.Time{}
	f.works.Store(to != Cursor{})
}

// drop gives the cursor up: all accounts are read again, and covered by another.
func (f *feed) drop() {
	f.cursors.Store(0)
	f.atOnce.Store(true)
}

// start begins to follow for a Run, which reads all accounts.
func (f *feed) start(ctx context.Context) {
	f.drop()
	f.late = nil
	f.cover(ctx)
}

// failed notes that the changes could not be read.
func (f *feed) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // Run is ending
	}
	now := time.Now()
	f.retry = now.Add(f.c.cfg.ProbeEvery / 2)
	if f.none = errors.Is(err, ErrNoChanges); f.none {
		f.cursors.Store(0)
	} else {
		f.c.reached(err)
	}
	if f.failing.IsZero() {
		f.failing = now
	}
	if f.works.Load() && (f.none || now.Sub(f.failing) >= f.c.cfg.PollEvery/4) {
		f.works.Store(false)
		for _, a := range f.c.Accounts() {
			a.apply((*view).pollAgain)
		}
	}
}

// follow reads the changes and has those accounts read of whose change no notification
// has told. A notification gets the time until the next reading to arrive.
func (f *feed) follow(ctx context.Context) {
	if f.store == nil || f.c.down.Load().pauses(time.Now()) || !f.begin(ctx) {
		return
	}
	r, err := f.read(ctx)
	f.end()
	if errors.Is(err, ErrChangesLost) {
		f.c.log.Warn("the store has lost data: reading all accounts again")
		f.late = nil
		f.cover(ctx)
		f.c.schedule.readAll()
		return
	}
	if err == nil {
		f.c.schedule.loadMissed(ctx, f.unheard(r))
	}
}

// reading is what a reading of the changes has brought.
type reading struct {
	changes []Change // since the cursor
	whole   bool     // there are no others: it did not fail
	gone    []string // accounts that notifications have told a change of which the server does not have
}

// read returns what has changed since the cursor and moves it.
func (f *feed) read(ctx context.Context) (r reading, err error) {
	cursor := f.cursors.Load()
	var told map[string]uint64
	if cursor != 0 {
		told = f.told()
	}
	for more := true; more; {
		f.take(ctx)
		if f.cursors.Load() == 0 {
			return r, nil
		}
		var changes Changes
		changes, err = f.store.Changes(ctx, f.cursor)
		switch {
		case errors.Is(err, ErrChangesLost):
			f.drop()
			return reading{}, err
		case err != nil:
			f.failed(ctx, err)
			return r, nil
		}
		f.recent = append(f.recent, changes.Accounts...)
		f.recent = slices.Clone(f.recent[max(0, len(f.recent)-maxRecent):])
		f.moved(changes.Next)
		more = changes.More
		r.changes = append(r.changes, changes.Accounts...)
	}
	r.whole = true
	if cursor == f.cursors.Load() { // one that was taken anew may be above what was told
		for _, c := range r.changes {
			if told[c.Account] <= c.Number {
				delete(told, c.Account)
			}
		}
		r.gone = slices.Collect(maps.Keys(told))
	}
	return r, nil
}

// told returns the numbers above the cursor that were notified. A server has a change before
// it notifies of it, so one that does not have them is another one, which never got them.
func (f *feed) told() (told map[string]uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, heard := range f.heard {
		for account, number := range heard {
			if number <= f.cursor.Number {
				continue
			}
			if told == nil {
				told = make(map[string]uint64)
			}
			told[account] = max(told[account], number)
		}
	}
	return told
}

// unheard returns the accounts of whose changes nothing was heard since the reading before,
// and those that have lost one, and remembers those of the changes that were read of which
// nothing was heard yet.
func (f *feed) unheard(r reading) (lost []*Account) {
	f.mu.Lock()
	late := f.late
	f.late = nil
	unheard := func(c Change) bool { return max(f.heard[0][c.Account], f.heard[1][c.Account]) < c.Number }
	var known []*Account
	for _, c := range late {
		if a, ok := f.c.Account(c.Account); ok && unheard(c) {
			lost = append(lost, a)
		} else if ok {
			known = append(known, a)
		}
	}
	for _, name := range r.gone {
		if a, ok := f.c.Account(name); ok {
			lost = append(lost, a)
		}
	}
	for _, c := range r.changes {
		if a, ok := f.c.Account(c.Account); ok && unheard(c) {
			f.late = append(f.late, c)
		} else if ok {
			known = append(known, a)
		}
	}
	if r.whole || f.cursors.Load() == 0 { // without a cursor nothing compares them
		f.heard[0], f.heard[1] = nil, f.heard[0]
	}
	f.mu.Unlock()
	for _, a := range known {
		a.apply((*view).readLater)
	}
	return lost
}

// notified notes of which change a notification has told.
func (f *feed) notified(n Event) {
	if f.store == nil || n.Change == 0 || !f.c.running.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.heard[0] == nil {
		f.heard[0] = make(map[string]uint64)
	}
	f.heard[0][n.Account] = max(f.heard[0][n.Account], n.Change)
}
