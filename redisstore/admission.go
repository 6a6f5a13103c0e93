package redisstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// admission bounds what this process has under way at the server, so that the server
// answers in time what it is sent. A fleet whose processes all start at the same moment
// asks for more than a server does within Options.Timeout; what then gets no answer in
// time has to be sent again, and the work grows with the overload.
//
// The bound is found as TCP finds the one for a connection: it grows while answers come
// fast, and is halved when they come late. A process on its own is not slowed down.
//
// Only what begins something waits to be admitted: readings, locks, requests. The
// operations of a process that has a lock never wait, because the lock runs off
// meanwhile; there are at most as many as locks.
type admission struct {
	timeout time.Duration // of an operation

	mu       sync.Mutex // guards what follows
	most     int        // units that may be under way
	underWay int        // units
	waiting  []*applicant
	fastest  time.Duration // the time of an answer when nothing is in its way
	narrowed time.Time     // when most was halved last
	answered time.Time     // when an operation was answered
}

// applicant waits to be admitted.
type applicant struct {
	units    int // that it asks for
	since    time.Time
	admitted chan int // holds the units that it gets, 0: the server is silent
}

// A unit is about what it costs to read one account, or to run one script.
const (
	firstAdmitted = 16   // units, before the first answer
	leastAdmitted = 4    // units, however late answers come
	mostAdmitted  = 4096 // units, however fast they come
	leastLoaded   = 16   // accounts that are read in one round trip, if so many are to be
)

// admit waits until the caller may have some of the units under way, at least one, and
// says how many. It ends with ctx, or when the server has answered nothing for much longer
// than an operation may take. Whoever is admitted calls release.
func (a *admission) admit(ctx context.Context, units int) (int, error) {
	a.mu.Lock()
	if len(a.waiting) == 0 && a.underWay < a.most {
		defer a.mu.Unlock()
		return a.grant(units), nil
	}
	w := &applicant{units: units, since: time.Now(), admitted: make(chan int, 1)}
	a.waiting = append(a.waiting, w)
	a.mu.Unlock()
	select {
	case n := <-w.admitted:
		if n == 0 {
			return 0, fmt.Errorf("%w: no answer within %v to what was sent before", coordinator.ErrUnreachable, patience*a.timeout)
		}
		return n, nil
	case <-ctx.Done():
		a.withdraw(w)
		return 0, ctx.Err()
	}
}

// grant counts the units that an applicant gets. mu is held.
func (a *admission) grant(units int) int {
	n := min(units, max(a.most-a.underWay, leastLoaded))
	a.underWay += n
	return n
}

// withdraw takes back an application. If it has been granted, the units are released.
func (a *admission) withdraw(w *applicant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.waiting {
		if a.waiting[i] == w {
			a.waiting = append(a.waiting[:i:i], a.waiting[i+1:]...)
			return
		}
	}
	a.underWay -= <-w.admitted
	a.admitWaiting()
}

// admitWaiting admits those who have waited longest. mu is held.
func (a *admission) admitWaiting() {
	for len(a.waiting) > 0 && a.underWay < a.most {
		w := a.waiting[0]
		a.waiting = a.waiting[1:]
		w.admitted <- a.grant(w.units)
	}
	if len(a.waiting) == 0 {
		a.waiting = nil // releases the array of a rush
	}
}

// admit waits until an operation that begins something may be sent, or n of its units, at
// least one. That the wait was given up tells nothing of the server. release is called
// when the operation has ended, with its error.
func (s *Store) admit(ctx context.Context, units int) (n int, release func(error), err error) {
	if n, err = s.admission.admit(ctx, units); err != nil {
		return 0, nil, err
	}
	sent := time.Now()
	return n, func(err error) { s.admission.release(n, sent, !errors.Is(err, coordinator.ErrUnreachable)) }, nil
}

// release ends an operation of so many units that was sent at the given time.
func (a *admission) release(units int, sent time.Time, answered bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	took := now.Sub(sent)
	a.underWay -= units
	if answered && (a.fastest == 0 || took < a.fastest) {
		a.fastest = took
	}
	switch late := took - a.fastest; {
	case late >= a.timeout/2:
		if sent.After(a.narrowed) { // what was sent before tells of the bound before
			a.most, a.narrowed = max(a.most/2, leastAdmitted), now
		}
	case late < a.timeout/8 && (len(a.waiting) > 0 || a.underWay+units >= a.most/2):
		a.most = min(a.most+units, mostAdmitted)
	}
	if answered {
		a.answered = now
	} else {
		a.refuse(now)
	}
	a.admitWaiting()
}

// patience is how many times the time of an operation is waited to be admitted while
// nothing is answered.
const patience = 3

// refuse has those give up who have waited for long, if nothing was answered meanwhile:
// the server is silent, and to try each takes a timeout. mu is held.
func (a *admission) refuse(now time.Time) {
	for len(a.waiting) > 0 && now.Sub(a.waiting[0].since) >= patience*a.timeout && a.answered.Before(a.waiting[0].since) {
		a.waiting[0].admitted <- 0
		a.waiting = a.waiting[1:]
	}
}
