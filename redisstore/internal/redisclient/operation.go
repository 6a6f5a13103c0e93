package redisclient

import (
	"context"
	"sync"
	"time"
)

// operation is the context of one operation. Its time begins when its deadline is asked
// for first: go-redis does that when it has a connection and is about to write. What the
// operation has waited for before, for example for one of the connections, tells nothing
// of the server.
//
// It cannot be cancelled, because go-redis stops waiting at the deadline only. So it need
// not be registered with the context that it comes from, which in a process with many
// accounts is the same for all operations.
type operation struct {
	context.Context // the caller's
	timeout         time.Duration

	begin    sync.Once
	deadline time.Time // set by begin
}

var _ context.Context = (*operation)(nil)

// Operation returns the context of an operation that takes no longer than the timeout
// once it is sent. The deadline of ctx holds as well. Neither counts the time in which a
// connection asks its server for its role. A wait for Done is in vain: Err tells when it has
// ended.
func Operation(ctx context.Context, timeout time.Duration) context.Context {
	return &operation{Context: ctx, timeout: timeout}
}

// Deadline implements [context.Context].
func (o *operation) Deadline() (time.Time, bool) {
	o.begin.Do(func() {
		o.deadline = time.Now().Add(o.timeout)
		if callers, ok := o.Context.Deadline(); ok && callers.Before(o.deadline) {
			o.deadline = callers
		}
	})
	return o.deadline, true
}

// Done implements [context.Context].
func (o *operation) Done() <-chan struct{} { return nil }

// Err implements [context.Context].
func (o *operation) Err() error {
	if err := o.Context.Err(); err != nil {
		return err
	}
	if deadline, _ := o.Deadline(); time.Now().After(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// callersErr tells whether who called for an operation has given it up. The operation's own
// time does not begin thereby.
func callersErr(ctx context.Context) error {
	if o, ok := ctx.(*operation); ok {
		ctx = o.Context
	}
	return ctx.Err()
}
