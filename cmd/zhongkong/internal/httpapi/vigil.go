package httpapi

import (
	"context"
	"sync"

	"github.com/zhongkong/zhongkong/coordinator"
)

// vigil waits for an account's next token on behalf of everybody who does: ten
// thousand who wait cost the coordinator one. It runs while somebody waits.
type vigil struct {
	account *coordinator.Account

	mu      sync.Mutex // guards what follows
	waiting int
	latest  outcome
	news    chan struct{} // closed at the next outcome; nil: the vigil does not run
	stop    context.CancelFunc
}

// outcome is what was waited for, or why it does not come.
type outcome struct {
	snapshot coordinator.Snapshot
	err      error
}

// join takes part in the vigil with what the caller knows already. Whoever
// joined leaves.
func (v *vigil) join(known coordinator.Snapshot) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.waiting++
	if v.news == nil {
		v.startLocked(known)
	}
}

// look returns the newest outcome, and a channel that is closed at the next.
// In one step: a look for the one and then for the other would miss what
// happens in between.
func (v *vigil) look() (outcome, <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.latest, v.news
}

func (v *vigil) leave() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.waiting--; v.waiting == 0 && v.news != nil {
		v.stop()
		v.news = nil
	}
}

func (v *vigil) startLocked(known coordinator.Snapshot) {
	ctx, stop := context.WithCancel(context.Background())
	v.latest = outcome{snapshot: known}
	v.news, v.stop = make(chan struct{}), stop
	go v.run(ctx, known.Generation) // ends when the last one leaves, or with an error
}

// run hands out every newer token until ctx ends or waiting is pointless.
func (v *vigil) run(ctx context.Context, after coordinator.Fence) {
	for {
		s, err := v.account.Next(ctx, after)
		if !v.tell(ctx, outcome{s, err}) {
			return
		}
		after = s.Generation
	}
}

// tell wakes everybody and reports whether the vigil goes on.
func (v *vigil) tell(ctx context.Context, o outcome) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if ctx.Err() != nil {
		return false // the last one has left; another vigil may run by now
	}
	v.latest = o
	close(v.news)
	if o.err != nil {
		v.news = nil
		v.stop()
		return false
	}
	v.news = make(chan struct{})
	return true
}
