package httpapi

import (
	"context"
	"sync"

	"github.com/zhongkong/zhongkong/coordinator"
)

// vigil waits for an account's next token on behalf of everybody who does: ten
// thousand who wait cost the coordinator one. It runs while somebody waits.
type vigil struct {
	desk *desk

	mu      sync.Mutex // guards what follows
	waiting int
	newest  *answer
	err     error         // why there will be none newer
	news    chan struct{} // closed at the next of either; nil: the vigil does not run
	stop    context.CancelFunc
}

// join takes part in the vigil with what the caller knows already. Whoever
// joined leaves.
func (v *vigil) join(known *answer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.waiting++
	if v.news == nil {
		v.startLocked(known)
	}
}

// look returns the newest answer, or why there is no newer one, and a channel
// that is closed at the next change. In one step: a look for the one and then
// for the other would miss what happens in between.
func (v *vigil) look() (*answer, <-chan struct{}, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.newest, v.news, v.err
}

func (v *vigil) leave() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.waiting--; v.waiting > 0 {
		return
	}
	v.newest = nil
	if v.news != nil {
		v.stop()
		v.news = nil
	}
}

func (v *vigil) startLocked(known *answer) {
	ctx, stop := context.WithCancel(context.Background())
	v.newest, v.err = known, nil
	v.news, v.stop = make(chan struct{}), stop
	go v.run(ctx, known.generation) // ends when the last one leaves, or with an error
}

// run hands out every newer token until ctx ends or waiting is pointless.
func (v *vigil) run(ctx context.Context, after coordinator.Fence) {
	for {
		s, err := v.desk.account.Next(ctx, after)
		if !v.tell(ctx, s, err) {
			return
		}
		after = s.Generation
	}
}

// tell wakes everybody and reports whether the vigil goes on.
func (v *vigil) tell(ctx context.Context, s coordinator.Snapshot, err error) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if ctx.Err() != nil {
		return false // the last one has left; another vigil may run by now
	}
	close(v.news)
	if err != nil {
		v.news, v.err = nil, err
		v.stop()
		return false
	}
	v.newest = v.desk.encode(s)
	v.news = make(chan struct{})
	return true
}
