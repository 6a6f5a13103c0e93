package redisclient

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxInflight is how many round trips to a server may be under way before
	// commands share one.
	maxInflight = 8

	// maxBatch is how many commands share a round trip at most.
	maxBatch = 200
)

// autopipeline sends the scripts and lock commands of many goroutines to one
// server in few round trips. It is a hook, so that neither the operations nor
// Redsync need to know of it.
//
// While fewer than maxInflight round trips are under way, a command is sent by
// itself in its caller's goroutine, so a single caller is not delayed. Commands
// that come while there are more are queued and share the next round trip. There
// is no timer: the busier the server, the larger the batches.
//
// A command whose caller gives up while it is queued is not sent; one that was
// sent may be carried out all the same, as with any client. An error of one
// command does not affect the others in its round trip.
type autopipeline struct {
	noHook
	client  *redis.Client
	timeout time.Duration // of a round trip

	mu       sync.Mutex
	inflight int       // guarded by mu: round trips under way
	waiting  []*queued // guarded by mu: commands for the next round trip
}

var _ redis.Hook = (*autopipeline)(nil)

// queued is a command that waits for a shared round trip.
type queued struct {
	ctx  context.Context
	cmd  redis.Cmder   // a copy: the caller may have returned when the answer comes
	done chan struct{} // closed when cmd has its answer
}

// ProcessHook implements [redis.Hook].
func (a *autopipeline) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !batchable(cmd) {
			return next(ctx, cmd)
		}
		a.mu.Lock()
		if a.inflight < maxInflight {
			a.inflight++
			a.mu.Unlock()
			defer a.finish()
			return next(ctx, cmd)
		}
		q := &queued{ctx, cmd.Clone(), make(chan struct{})}
		a.waiting = append(a.waiting, q)
		a.mu.Unlock()
		select {
		case <-q.done:
			return copyResult(cmd, q.cmd)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// batchable reports whether a command is one of those that are sent by many
// goroutines at once. None of them depends on the connection.
func batchable(cmd redis.Cmder) bool {
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

// copyResult copies the answer of from into to and returns its error.
func copyResult(to, from redis.Cmder) error {
	if err := from.Err(); err != nil {
		return err
	}
	switch to := to.(type) {
	case *redis.Cmd:
		to.SetVal(from.(*redis.Cmd).Val())
	case *redis.BoolCmd:
		to.SetVal(from.(*redis.BoolCmd).Val())
	}
	return nil
}

// finish ends a round trip. If commands are queued, the next one starts in its
// place.
func (a *autopipeline) finish() {
	batch := a.next()
	if batch == nil {
		return
	}
	// Ends when the queue is empty; the client's Close aborts the last round trip.
	go func() {
		for ; batch != nil; batch = a.next() {
			a.flush(batch)
		}
	}()
}

// next takes the next batch off the queue. Nil: the queue is empty, and the round
// trip counts as ended.
func (a *autopipeline) next() []*queued {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := min(len(a.waiting), maxBatch)
	if n == 0 {
		a.inflight--
		a.waiting = nil // releases the array of a rush
		return nil
	}
	batch := a.waiting[:n:n]
	a.waiting = a.waiting[n:]
	return batch
}

func (a *autopipeline) flush(batch []*queued) {
	ctx := Operation(context.Background(), a.timeout)
	pipe := a.client.Pipeline()
	for _, q := range batch {
		if err := callersErr(q.ctx); err != nil {
			q.cmd.SetErr(err) // it must not be carried out any more: a begin after the end of its lock
			continue
		}
		_ = pipe.Process(ctx, q.cmd) // only queues it
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for _, q := range batch {
		close(q.done)
	}
}
