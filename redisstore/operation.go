package redisstore

import (
	"context"
	"time"
)

// operation is the context of one operation from when it may be sent. It ends at its
// deadline and cannot be cancelled: a client of go-redis stops waiting at the deadline
// only. So it need not be registered with the context that it comes from, which in a
// process with many accounts is the same for all operations.
type operation struct {
	context.Context // the caller's, for its values
	deadline        time.Time
}

var _ context.Context = (*operation)(nil)

// Deadline implements [context.Context].
func (o *operation) Deadline() (time.Time, bool) { return o.deadline, true }

// Done implements [context.Context].
func (o *operation) Done() <-chan struct{} { return nil }

// Err implements [context.Context].
func (o *operation) Err() error {
	if err := o.Context.Err(); err != nil {
		return err
	}
	if !time.Now().Before(o.deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// operation returns the context of an operation that is sent now and confirmed as c says.
func (s *Store) operation(ctx context.Context, c confirm) *operation {
	deadline := time.Now().Add(s.timeout + c.atMost())
	if callers, ok := ctx.Deadline(); ok && callers.Before(deadline) {
		deadline = callers
	}
	return &operation{ctx, deadline}
}

// admit waits until an operation that begins something may be sent, or n of its units, at
// least one. The time of an operation does not begin before. That the wait was given up
// tells nothing of the server. release is called when the operation has ended.
func (s *Store) admit(ctx context.Context, units int) (n int, release func(), err error) {
	if n, err = s.admission.admit(ctx, units); err != nil {
		return 0, nil, err
	}
	sent := time.Now()
	return n, func() { s.admission.release(n, sent) }, nil
}
