package coordinator

import (
	"container/heap"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// scheduler is the one goroutine (with a few for reading) that looks after all
// accounts of a running coordinator: a heap of the times at which one of them
// needs something.
//
// Lock order: Account.mu before scheduler.mu.
type scheduler struct {
	c    *Coordinator
	kick chan struct{} // capacity 1: something is due earlier than thought

	mu     sync.Mutex // guards what follows, and wake and index of every account
	heap   wakeHeap
	armed  time.Time  // when run wakes by itself
	ready  []*Account // due, waiting for a slot
	unread []*Account // to be read, waiting for a reader
}

const (
	pollGrid  = 250 * time.Millisecond // polls are gathered on it, to read many at once
	loadChunk = 250
	maxLoads  = 4
	longTime  = time.Hour
)

func newScheduler(c *Coordinator) *scheduler {
	return &scheduler{c: c, kick: make(chan struct{}, 1)}
}

// at has the account looked at then, instead of whatever was said before.
func (s *scheduler) at(a *Account, t time.Time) {
	if !s.c.running.Load() {
		return
	}
	s.mu.Lock()
	a.wake = s.c.instant(t)
	if a.index < 0 {
		heap.Push(&s.heap, a)
	} else {
		heap.Fix(&s.heap, int(a.index))
	}
	// Later than what run sleeps for needs no word: it wakes, finds nothing,
	// and sleeps on. Most changes put things off.
	sooner := t.Before(s.armed)
	s.mu.Unlock()
	if sooner {
		s.poke()
	}
}

func (s *scheduler) poke() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

func (s *scheduler) remove(a *Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.index >= 0 {
		heap.Remove(&s.heap, int(a.index))
	}
}

// pollAfter returns when an account that was read now is read again.
func (s *scheduler) pollAfter(now time.Time) time.Time {
	at := now.Add(jitter(s.c.cfg.PollEvery))
	// Not Truncate: it takes away the monotonic reading, and a clock that is
	// set back would keep the schedule asleep for as long.
	return at.Add(-time.Duration(at.UnixNano() % int64(pollGrid)))
}

// run looks after the accounts until ctx ends.
func (s *scheduler) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.probe(ctx) })
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
		s.attend(due)
		for s.read(ctx, &wg, loads) {
		}
		s.launch()
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
	for len(s.heap) > 0 && s.heap[0].wake <= s.c.instant(now) {
		due = append(due, heap.Pop(&s.heap).(*Account))
	}
	next = now.Add(longTime)
	if len(s.heap) > 0 {
		next = s.c.time(s.heap[0].wake)
	}
	s.armed = next
	return due, next
}

// attend decides what each of the accounts needs.
func (s *scheduler) attend(due []*Account) {
	now := time.Now()
	down := s.c.down.Load()
	for _, a := range due {
		a.mu.Lock()
		if !a.usableLocked(now) && a.hot.Load() != nil {
			a.showLocked(nil)
			s.c.log.Warn("token expired", "account", a.name, "generation", a.held.Generation)
			a.broadcastLocked()
		}
		switch {
		case a.removed:
		case down != nil && now.Before(down.until):
			s.at(a, down.until.Add(randUpTo(outagePause/5)))
		case a.flight: // it settles the account when it ends
		case a.known.lookDue, s.c.instant(now) >= a.known.nextPoll:
			s.queue(&s.unread, a)
		case a.cfg.Source != nil && (a.known.restore || s.dueNow(a, now)):
			s.queue(&s.ready, a)
		default:
			s.at(a, later(a.wakeLocked(now), now.Add(time.Millisecond)))
		}
		a.mu.Unlock()
	}
}

// queue has the account wait in one of the scheduler's queues.
func (s *scheduler) queue(q *[]*Account, a *Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*q = append(*q, a)
}

func (s *scheduler) dueNow(a *Account, now time.Time) bool {
	reason := a.dueLocked(now)
	return reason != "" && !now.Before(a.allowedLocked(reason))
}

// launch starts flights for those that are ready, as far as there are slots.
func (s *scheduler) launch() {
	for {
		s.mu.Lock()
		if len(s.ready) == 0 {
			s.ready = nil // a burst's array is not kept
			s.mu.Unlock()
			return
		}
		select {
		case s.c.slots <- struct{}{}:
		default:
			s.mu.Unlock()
			return // a slot that is given back pokes
		}
		a := s.ready[0]
		s.ready = s.ready[1:]
		s.mu.Unlock()

		a.mu.Lock()
		if a.flight || a.removed {
			a.mu.Unlock()
			<-s.c.slots
			continue
		}
		a.flight = true
		a.mu.Unlock()
		s.c.flights.start(func() { a.fly(true) })
	}
}

// load reads accounts from the store in one go.
func (s *scheduler) load(ctx context.Context, accounts []*Account) {
	names, asked := make([]string, len(accounts)), make([]uint16, len(accounts))
	for i, a := range accounts {
		names[i], asked[i] = a.name, a.asked()
	}
	states, err := s.c.store.Load(ctx, names...)
	if ctx.Err() != nil {
		return // Run is ending
	}
	s.c.reached(err)
	for i, a := range accounts {
		a.mu.Lock()
		if err != nil {
			a.loadFailedLocked(err)
		} else {
			a.absorbLocked(states[i], asked[i])
		}
		a.mu.Unlock()
	}
}

// loadFailedLocked keeps what is known and tries again.
func (a *Account) loadFailedLocked(err error) {
	now := time.Now()
	if errors.Is(err, ErrUnreachable) || errors.Is(err, ErrDenied) { // which is said for all accounts
		a.c.schedule.at(a, now.Add(jitter(outagePause)))
		a.broadcastLocked() // nobody waits for what is denied
		return
	}
	a.known.notBefore = a.oddLocked(now)
	a.known.nextPoll = a.known.notBefore
	a.endLocked(err, 0)
	a.settledLocked(now)
	a.complainLocked(err, now)
}

// readerProbes is how much less often a reader's account is probed: a token that
// readers do not hear of is less than data that refreshers could restore, and
// readers are many.
const readerProbes = 4

// probe reads one account at random every so often. A store that lost its data
// says nothing of it; this is how a refresher finds out. Nor does one that lost a
// notification on its own way: a cluster's nodes pass them on over links that
// may break while the subscription stands.
func (s *scheduler) probe(ctx context.Context) {
	slept := s.c.slept.Load()
	for n := 1; sleep(ctx, jitter(s.c.cfg.ProbeEvery)); n++ {
		s.c.wakeUp()
		if now := s.c.slept.Load(); now != slept {
			s.awake(time.Duration(now - slept))
			slept = now
		}
		a := s.random()
		if a == nil || !s.c.connected.Load() {
			continue
		}
		a.mu.Lock()
		asked := a.known.asked
		worth := (a.cfg.Source != nil || n%readerProbes == 0) && !a.flight && !a.known.lookDue && a.usableLocked(time.Now())
		a.mu.Unlock()
		if !worth {
			continue
		}
		states, err := s.c.store.Load(ctx, a.name)
		s.c.reached(err)
		if err != nil {
			continue
		}
		a.mu.Lock()
		missed := a.absorbLocked(states[0], asked)
		lost := a.known.restore
		a.mu.Unlock()
		if lost {
			s.c.log.Warn("the store has lost data: reading all accounts again", "account", a.name)
		}
		if lost || missed {
			for _, other := range s.c.Accounts() {
				other.lookSoon()
			}
		}
	}
}

// awake has everything read again: this machine slept, and what is held may have
// ended or been replaced meanwhile. attend withdraws what has ended.
func (s *scheduler) awake(missed time.Duration) {
	s.c.log.Warn("this machine slept, or its clock was set ahead: tokens that have ended are withdrawn, and all are read again",
		"missed", missed.Round(time.Second))
	for _, a := range s.c.Accounts() {
		a.lookSoon()
	}
}

// random returns one of the accounts, nil if there is none.
func (s *scheduler) random() *Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.heap) == 0 {
		return nil
	}
	return s.heap[rand.IntN(len(s.heap))]
}

// wakeHeap implements heap.Interface.
type wakeHeap []*Account

func (h wakeHeap) Len() int           { return len(h) }
func (h wakeHeap) Less(i, j int) bool { return h[i].wake < h[j].wake }
func (h wakeHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = int32(i), int32(j)
}

func (h *wakeHeap) Push(x any) {
	a := x.(*Account)
	a.index = int32(len(*h))
	*h = append(*h, a)
}

func (h *wakeHeap) Pop() any {
	old := *h
	a := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	a.index = -1
	return a
}
