package coordinator

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// rounds counts the goroutines that look after accounts. Unlike a WaitGroup it may
// be waited for while others start.
type rounds struct {
	mu   sync.Mutex // guards what follows
	n    int
	at   [stages]int   // of them; those of unstaged do not count
	idle chan struct{} // closed when n gets 0; nil: nothing waits
}

// start calls round in a goroutine, which Run and Drain wait for.
func (r *rounds) start(round func()) {
	r.mu.Lock()
	r.n++
	r.mu.Unlock()
	go func() {
		defer r.ended()
		round()
	}()
}

func (r *rounds) ended() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n--; r.n == 0 && r.idle != nil {
		close(r.idle)
		r.idle = nil
	}
}

// none returns a channel that is closed once no round is under way.
func (r *rounds) none() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == 0 {
		none := make(chan struct{})
		close(none)
		return none
	}
	if r.idle == nil {
		r.idle = make(chan struct{})
	}
	return r.idle
}

// slotKind is what a slot is for. Restores have slots of their own: they make no call, and must
// not wait for one that hangs.
type slotKind int

const (
	toCall    slotKind = iota // a source; there are MaxFetches
	toRestore                 // what the store has lost; there are maxRestores
	slotKinds
)

// maxRestores bounds what is asked of a store that has just come back.
const maxRestores = 64

// slot is the right to do something of which only so much may be under way. It has one
// owner at a time.
type slot struct {
	c     *Coordinator
	taken chan struct{} // of Coordinator.slots; nil: it is not taken
}

func (c *Coordinator) newSlot() *slot { return &slot{c: c} }

// take waits for the right to do something of the kind unless s has it. What s has of
// another kind it gives back.
func (s *slot) take(ctx context.Context, kind slotKind) error {
	slots := s.c.slots[kind]
	if s.taken == slots {
		return nil
	}
	s.giveBack()
	select {
	case slots <- struct{}{}:
		s.taken = slots
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tryTake takes the right if that needs no waiting.
func (s *slot) tryTake(kind slotKind) bool {
	slots := s.c.slots[kind]
	select {
	case slots <- struct{}{}:
		s.taken = slots
	default:
	}
	return s.taken != nil
}

// giveBack gives the right back if s has it.
func (s *slot) giveBack() {
	if s.taken != nil {
		<-s.taken
		s.taken = nil
		s.c.schedule.poke()
	}
}

// errGoexit is how a round ends that does not return: a source may call runtime.Goexit.
var errGoexit = errors.New("the round's goroutine was ended")

// startRound starts the round that the view has noted as started. It owns s.
func (a *Account) startRound(s *slot) {
	a.c.rounds.start(func() {
		ctx, err := a.c.lifetime(), errGoexit
		defer func() {
			if cause := recover(); cause != nil {
				panic(cause) // what follows takes locks that may be held
			}
			s.giveBack()
			if errors.Is(err, errGoexit) {
				a.c.log.Error("the source ended the goroutine that called it: its attempt stays open and gets overdue", "account", a.name)
				err = errRecorded
			}
			if err != nil && !errors.Is(err, ErrDenied) { // a round without one may have asked nothing
				a.c.reached(err)
			}
			stopped := ctx.Err() != nil && errors.Is(err, ctx.Err())
			a.apply(func(v *view, e env) effects { return v.roundEnded(err, stopped, e) })
		}()
		err = a.round(ctx, s)
	})
}

// round reads the store, unless the notifications make that needless, and does
// what is due.
func (a *Account) round(ctx context.Context, s *slot) error {
	var trusted bool
	a.update(func(v *view, e env) { trusted = v.trusted(e) })
	if !trusted {
		if _, err := a.read(ctx); err != nil {
			return err
		}
	}
	var p plan
	a.update(func(v *view, e env) { p = v.plan(e) })
	switch {
	case p.source == nil:
		return a.want(ctx, WantRequest{Reason: p.reason, Seen: p.seen, AskedBy: p.askedBy})
	case !p.restores && !p.allowed:
		return nil
	}
	r := refresh{plan: p, a: a, c: a.c}
	if p.restores {
		if err := s.take(ctx, toRestore); err != nil {
			return err
		}
		return r.restore(ctx)
	}
	// Children hold slots while they wait for their parent's token.
	if !p.parent {
		if err := s.take(ctx, toCall); err != nil {
			return err
		}
	}
	var err error
	if r.parent, err = a.parentRecord(ctx); err != nil {
		return err
	}
	return r.run(ctx)
}

// read reads the account from the store.
func (a *Account) read(ctx context.Context) (State, error) {
	began := a.asked()
	states, err := a.c.store.Load(ctx, a.name)
	a.c.reachedFor(ctx, err)
	if err != nil {
		return State{}, fmt.Errorf("read %q: %w", a.name, err)
	}
	a.stateRead(states[0], began)
	return states[0], nil
}

// asked returns what stateRead is to be given of a reading that begins now.
func (a *Account) asked() (began asked) {
	fed := a.c.feed.cursors.Load()
	a.update(func(v *view, _ env) { began = v.asked() })
	began.fed = fed
	return began
}

// stateRead takes in a reading.
func (a *Account) stateRead(s State, began asked) effects {
	return a.apply(func(v *view, e env) effects {
		a.c.storeClock.set(s.Now, e.now)
		return v.stateRead(s, began, e)
	})
}

// want calls for a refresher on behalf of a reader.
func (a *Account) want(ctx context.Context, w WantRequest) error {
	if w.Reason == "" {
		return nil
	}
	a.update((*view).wantSent)
	err := a.c.store.Want(ctx, a.name, w)
	if err == nil {
		a.c.reached(nil)
	}
	if errors.Is(err, ErrDenied) && !w.Reason.Demanded() {
		// A reader need not have the right to call for a refresher: those
		// there are see by themselves that the token is missing.
		return nil
	}
	return err
}
