package httpapi

import (
	"context"
	"sync"

	"github.com/zhongkong/zhongkong/coordinator"
)

// longPoll waits for an account's next token on behalf of all requests that
// wait for it: ten thousand of them cost the coordinator one. Its goroutine runs
// while requests wait.
type longPoll struct {
	cache *responseCache

	mu      sync.Mutex // guards what follows
	waiting int
	newest  *response
	err     error         // why no newer token will come
	changed chan struct{} // closed when newest or err changes; nil: no goroutine runs
	stop    context.CancelFunc
}

// join adds a request that has the current response already. Each join is
// followed by a leave.
func (p *longPoll) join(current *response) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting++
	if p.changed != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	p.newest, p.err = current, nil
	p.changed, p.stop = make(chan struct{}), stop
	go p.run(ctx, current.generation) // ends with the last leave, or with an error
}

// state returns the newest response or the error, and a channel that is closed
// at the next change. Both are read in one step, so that no change is missed.
func (p *longPoll) state() (*response, <-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.newest, p.changed, p.err
}

func (p *longPoll) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting--; p.waiting > 0 {
		return
	}
	p.newest = nil
	if p.changed != nil {
		p.stop()
		p.changed = nil
	}
}

// run publishes each newer token until ctx ends or an error says that none will
// come.
func (p *longPoll) run(ctx context.Context, after coordinator.Fence) {
	for {
		s, err := p.cache.account.Next(ctx, after)
		var newest *response
		if err == nil {
			newest = p.cache.encode(s)
		}
		if !p.publish(ctx, newest, err) {
			return
		}
		after = s.Generation
	}
}

// publish wakes all requests and reports whether run goes on.
func (p *longPoll) publish(ctx context.Context, newest *response, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return false // all requests have left; another goroutine may run by now
	}
	close(p.changed)
	if err != nil {
		p.changed, p.err = nil, err
		p.stop()
		return false
	}
	p.newest = newest
	p.changed = make(chan struct{})
	return true
}
