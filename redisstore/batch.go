package redisstore

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// How many round trips may be under way to a server at once before commands
// share one, and how many share one at most.
const (
	maxTrips = 8
	maxBatch = 200
)

// batcher brings the scripts and locks of many goroutines to one server in few
// round trips. It is a hook of the clients that Open makes, so that neither the
// operations nor Redsync know of it.
//
// As long as fewer than maxTrips are under way a command goes by itself, in its
// caller's goroutine: who comes alone is not slowed down. Those who come while
// there are more wait for the next trip and share it. There is no timer in it:
// the busier the server, the bigger the batches.
//
// A command whose caller gives up while it waits is not sent; one that was sent
// may be carried out all the same, as with any client. One that fails does not
// concern the others in its trip.
type batcher struct {
	client  *redis.Client
	timeout time.Duration // of a trip

	mu      sync.Mutex
	trips   int          // guarded by mu: under way
	waiting []*passenger // guarded by mu: for the next trip
}

var _ redis.Hook = (*batcher)(nil)

// passenger is a command on a shared trip.
type passenger struct {
	ctx  context.Context
	cmd  redis.Cmder   // a copy: the caller may have gone when the answer comes
	done chan struct{} // closed when cmd has its answer
}

// shareTrips has a client's commands share round trips.
func shareTrips(client *redis.Client, timeout time.Duration) {
	client.AddHook(&batcher{client: client, timeout: timeout})
}

// DialHook is redis.Hook's.
func (b *batcher) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook is redis.Hook's.
func (b *batcher) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook is redis.Hook's.
func (b *batcher) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !shares(cmd) {
			return next(ctx, cmd)
		}
		b.mu.Lock()
		if b.trips < maxTrips {
			b.trips++
			b.mu.Unlock()
			defer b.arrived()
			return next(ctx, cmd)
		}
		p := &passenger{ctx, cmd.Clone(), make(chan struct{})}
		b.waiting = append(b.waiting, p)
		b.mu.Unlock()
		select {
		case <-p.done:
			return take(cmd, p.cmd)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// shares reports whether the command is one of those that come in crowds. None
// of them depends on the connection.
func shares(cmd redis.Cmder) bool {
	switch cmd.Name() {
	case "evalsha", "eval":
		_, ok := cmd.(*redis.Cmd)
		return ok
	case "set":
		_, ok := cmd.(*redis.BoolCmd) // Redsync's
		return ok
	}
	return false
}

// take gives the caller's command the answer that its copy got.
func take(cmd, answered redis.Cmder) error {
	if err := answered.Err(); err != nil {
		return err
	}
	switch cmd := cmd.(type) {
	case *redis.Cmd:
		cmd.SetVal(answered.(*redis.Cmd).Val())
	case *redis.BoolCmd:
		cmd.SetVal(answered.(*redis.BoolCmd).Val())
	}
	return nil
}

// arrived ends a trip; those who wait go on the next one.
func (b *batcher) arrived() {
	next := b.board()
	if next == nil {
		return
	}
	// Ends when nobody waits; the client's Close cuts the last trip short.
	go func() {
		for ; next != nil; next = b.board() {
			b.travel(next)
		}
	}()
}

// board returns those who go next. Nil: nobody waits, the trip is over.
func (b *batcher) board() []*passenger {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(b.waiting), maxBatch)
	if n == 0 {
		b.trips--
		b.waiting = nil // a rush's array is not kept
		return nil
	}
	next := b.waiting[:n:n]
	b.waiting = b.waiting[n:]
	return next
}

// travel is one round trip.
func (b *batcher) travel(all []*passenger) {
	ctx, cancel := context.WithTimeout(context.Background(), b.timeout)
	defer cancel()
	pipe := b.client.Pipeline()
	for _, p := range all {
		if err := p.ctx.Err(); err != nil {
			p.cmd.SetErr(err) // nobody waits for it
			continue
		}
		_ = pipe.Process(ctx, p.cmd) // queues it
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for _, p := range all {
		close(p.done)
	}
}
