package coordinator

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// scheduler is the one goroutine (with a few for reading) that looks after all
// accounts of a running coordinator: a heap of the times at which one of them
// needs something.
type scheduler struct {
	c      *Coordinator
	kick   chan struct{} // capacity 1: something is due earlier than thought
	wake   chan struct{} // capacity 1: there is something in again
	inTurn int           // accounts that are read each PollEvery where the feed works

	interrupt atomic.Pointer[context.CancelFunc] // ends the look of watch that is under way

	mu     sync.Mutex // guards what follows, and index, ready and unread of every account
	heap   wakeHeap
	armed  time.Time             // when run wakes by itself; no instant: a timer does not count sleep
	flows  bool                  // notifications flow again, and watch has not resumed the feed yet
	again  []string              // subscribed, and not told to watch yet
	ready  [slotKinds][]*Account // due, waiting for a slot of the kind
	unread []*Account            // to be read, waiting for a reader
}

const (
	loadChunk = 250
	maxLoads  = 4
	longTime  = time.Hour
)

func newScheduler(c *Coordinator) *scheduler {
	return &scheduler{c: c, kick: make(chan struct{}, 1), wake: make(chan struct{}, 1), inTurn: readInTurn}
}

// at has the account looked at then, instead of what was said before.
func (s *scheduler) at(a *Account, then instant) {
	if !s.c.running.Load() {
		return
	}
	s.mu.Lock()
	s.heap.set(a, then)
	// run need not hear of what is later than its next look: it wakes, finds
	// nothing, and sleeps on. Most changes put things off.
	sooner := s.c.time(then).Before(s.armed)
	s.mu.Unlock()
	if sooner {
		s.poke()
	}
}

func (s *scheduler) poke() { signal(s.kick) }

// signal puts a value into a channel that holds one, if it is empty.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *scheduler) remove(a *Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heap.remove(a)
}

// run looks after the accounts until ctx ends.
func (s *scheduler) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.watch(ctx) })
	loads := make(chan struct{}, maxLoads)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.kick:
		case <-timer.C:
		}
		due, next := s.pop(time.Now())
		for _, a := range due {
			s.attend(a)
		}
		for s.read(ctx, &wg, loads) {
		}
		s.launch(toRestore)
		s.launch(toCall)
		timer.Reset(time.Until(next))
	}
}

// read starts to read some of those that have to be, if a reader is free. They
// wait outside of the heap: a store that is slow must not make the schedule
// go through all of them again and again.
func (s *scheduler) read(ctx context.Context, wg *sync.WaitGroup, loads chan struct{}) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.unread), loadChunk)
	if n == 0 {
		s.unread = nil // a burst's array is not kept
		return false
	}
	select {
	case loads <- struct{}{}:
	default:
		return false // a reader that gets free pokes
	}
	chunk := s.unread[:n:n]
	s.unread = s.unread[n:]
	wg.Go(func() { // run waits for it
		defer s.poke()
		defer func() { <-loads }()
		s.load(ctx, chunk)
	})
	return true
}

// pop takes out what is due and says when the next is.
func (s *scheduler) pop(now time.Time) (due []*Account, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.heap) > 0 && s.heap[0].at <= s.c.instant(now) {
		a := s.heap[0].a
		s.heap.remove(a)
		due = append(due, a)
	}
	next = now.Add(longTime)
	if len(s.heap) > 0 {
		next = s.c.time(s.heap[0].at)
	}
	s.armed = next
	return due, next
}

// attend withdraws what has ended and queues the account for what it needs.
func (s *scheduler) attend(a *Account) {
	a.apply(func(v *view, e env) effects {
		fx := v.expire(a.served.Load(), e)
		task := v.task(e)
		switch {
		case task == taskElsewhere: // a round that ends says when to look again
		case e.down.pauses(e.wall):
			fx.reschedule, fx.wake = true, e.down.over(e)
		case task == taskRead:
			s.queueUnread(a)
		case task == taskRound:
			kind := toCall
			if v.restores(e) {
				kind = toRestore
			}
			s.queueReady(a, kind)
		default:
			fx.reschedule, fx.wake = true, max(v.wake(e), e.now+instant(time.Millisecond))
		}
		if !fx.reschedule && !v.removed && v.usable(e) { // what it waits for may take longer than its token lives
			fx.reschedule, fx.wake = true, v.held.until
		}
		return fx
	})
}

// queueReady has the account wait for a slot, unless it does already.
func (s *scheduler) queueReady(a *Account, kind slotKind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !a.ready[kind] {
		a.ready[kind] = true
		s.ready[kind] = append(s.ready[kind], a)
	}
}

// queueUnread has the account wait for a reader, unless it does already or is being read:
// what is heard of it meanwhile has it looked at again and again.
func (s *scheduler) queueUnread(a *Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !a.unread {
		a.unread = true
		s.unread = append(s.unread, a)
	}
}

// launch starts rounds for the accounts that are ready, as far as there are slots of the kind.
func (s *scheduler) launch(kind slotKind) {
	for {
		slot := s.c.newSlot()
		s.mu.Lock()
		if len(s.ready[kind]) == 0 {
			s.ready[kind] = nil // a burst's array is not kept
			s.mu.Unlock()
			return
		}
		if !slot.tryTake(kind) {
			s.mu.Unlock()
			return // a slot that is given back pokes
		}
		a := s.ready[kind][0]
		s.ready[kind] = s.ready[kind][1:]
		a.ready[kind] = false
		s.mu.Unlock()

		var started bool
		a.update(func(v *view, e env) {
			if started = v.task(e) != taskElsewhere; started {
				v.roundStarted()
			}
		})
		if started {
			a.startRound(slot)
		} else {
			slot.giveBack()
		}
	}
}

// load reads accounts from the store in one go. It reports whether one of them showed
// that the store has lost data, and whether they were read.
func (s *scheduler) load(ctx context.Context, accounts []*Account) (lost, read bool) {
	s.c.feed.cover(ctx)
	flows, names, began := s.c.flows.Load(), make([]string, len(accounts)), make([]asked, len(accounts))
	for i, a := range accounts {
		names[i], began[i] = a.name, a.asked()
	}
	states, err := s.c.store.Load(ctx, names...)
	s.mu.Lock()
	for _, a := range accounts {
		a.unread = false
	}
	s.mu.Unlock()
	if ctx.Err() != nil {
		return false, false // Run is ending
	}
	outdated := s.c.reachedSince(flows, err)
	missed := false
	for i, a := range accounts {
		if err == nil {
			fx := a.stateRead(states[i], began[i])
			missed, lost = missed || fx.missed, lost || fx.lost
			continue
		}
		a.apply(func(v *view, e env) effects {
			if outdated {
				return v.readSoon(e)
			}
			return v.readFailed(err, e)
		})
	}
	if missed && s.c.feed.covering() == 0 { // others may have been as well
		s.readAll()
	}
	return lost, err == nil
}

// loadMissed reads accounts that have changed, of which no notification has told. Those that
// are to be read anyway the schedule reads, at once.
func (s *scheduler) loadMissed(ctx context.Context, accounts []*Account) {
	accounts = slices.DeleteFunc(accounts, func(a *Account) (due bool) {
		a.apply(func(v *view, e env) (fx effects) {
			if due = v.readDue; due {
				fx = v.readSoon(e) // a reading that is under way may have come before the change
			}
			return fx
		})
		return due
	})
	for chunk := range slices.Chunk(accounts, loadChunk) {
		lost, read := s.load(ctx, chunk)
		if lost {
			s.c.log.Warn("the store has lost data: reading all accounts again", "account", chunk[0].name)
			s.readAll()
			return
		}
		for _, a := range chunk {
			if !read {
				a.apply((*view).readSoon)
			}
		}
	}
}

// readerProbes is how much less often a reader's account is probed: a token that
// readers do not hear of is less than data that refreshers could restore, and
// readers are many.
const readerProbes = 4

// readInTurn is how many accounts are read each PollEvery where the feed works: so many
// that in a small fleet it is all of them, and so few that it costs next to nothing.
const readInTurn = 64

// watch finds out what is not announced: the loss of a store's data, and a lost
// notification (a cluster's nodes pass notifications on over links that may break while
// the subscription stands). The feed tells both. Where it does not work, one account is
// read at random each ProbeEvery. Where it does, a few are read each PollEvery, one after
// the other, for what no operation of the store has changed: a key that was removed or
// overwritten by hand.
func (s *scheduler) watch(ctx context.Context) {
	s.c.feed.start(ctx)
	slept, probed := s.c.slept.Load(), time.Now()
	var inTurn []*Account // to be read for what was changed by hand
	for n := 1; s.pause(ctx, jitter(s.c.cfg.ProbeEvery)); {
		look, cancel := context.WithCancel(ctx)
		s.interrupt.Store(&cancel)
		s.readAgain(ctx)
		s.c.wakeUp()
		if now := s.c.slept.Load(); now != slept {
			s.awake(time.Duration(now - slept))
			slept = now
		}
		s.c.feed.follow(look)
		covered := s.c.feed.covering() != 0
		if s.c.connected.Load() && (!covered || time.Since(probed) >= s.c.cfg.PollEvery) {
			if covered {
				inTurn = s.readSome(look, inTurn)
			} else if a := s.random(); a != nil {
				s.probeOne(look, a, n%readerProbes == 0)
			}
			probed = time.Now()
			n++
		}
		cancel()
	}
}

// readSome reads the first of the accounts, or of all if there are none, and returns the
// others.
func (s *scheduler) readSome(ctx context.Context, accounts []*Account) []*Account {
	if len(accounts) == 0 {
		accounts = s.c.Accounts()
	}
	some := min(len(accounts), s.inTurn)
	s.loadMissed(ctx, accounts[:some:some])
	return accounts[some:]
}

// pause waits for d, or until accounts are subscribed. It reports false if ctx ended.
func (s *scheduler) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// probeOne reads an account, if it is this process' to refresh or readers are
// probed as well, and all of them if it shows that something was missed.
func (s *scheduler) probeOne(ctx context.Context, a *Account, readers bool) {
	began := a.asked()
	var worth bool
	a.update(func(v *view, e env) { worth = v.worthProbing(e) && (readers || e.refresher()) })
	if !worth {
		return
	}
	flows := s.c.flows.Load()
	states, err := s.c.store.Load(ctx, a.name)
	s.c.reachedSince(flows, err)
	if err != nil {
		return
	}
	fx := a.stateRead(states[0], began)
	if fx.lost {
		s.c.log.Warn("the store has lost data: reading all accounts again", "account", a.name)
	}
	if fx.lost || fx.missed {
		s.readAll()
	}
}

func (s *scheduler) readAll() {
	for _, a := range s.c.Accounts() {
		a.apply((*view).readSoon)
	}
}

// awake has all accounts read: this machine slept, and what is held may have ended
// or been replaced meanwhile. attend withdraws what has ended.
func (s *scheduler) awake(missed time.Duration) {
	s.c.log.Warn("this machine slept, or its clock was set ahead: tokens that have ended are withdrawn, and all are read again",
		"missed_seconds", seconds(missed))
	s.readAll()
}

// random returns one of the accounts, nil if there is none.
func (s *scheduler) random() *Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.heap) == 0 {
		return nil
	}
	return s.heap[rand.IntN(len(s.heap))].a
}
