package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// extension keeps a refresh's lock alive, and the attempt that was begun under it. Once
// the source is called, that goes on until what came of it is stored: without the lock
// another process would make the call again, because the store does not have the token yet.
//
// A process that is stuck loses the lock all the same: it is extended no longer than the
// call may take, and drainFor after its answer.
type extension struct {
	c       *Coordinator
	account string
	log     context.Context // see logContext
	lock    Lock
	fence   Fence   // 0: not begun yet
	since   instant // lock and attempt last the lock's life from then on, or longer

	giveUp context.CancelFunc // the call
	stop   context.CancelFunc // to extend; nil: start was not called
	limit  *time.Timer        // calls stop
	expiry *time.Timer        // ends the call when its deadline has passed, and calls stop
	done   chan struct{}      // closed when nothing is extended any more
}

// once extends within the given time.
func (x *extension) once(ctx context.Context, within time.Duration) error {
	bounded, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := x.lock.Extend(bounded, x.fence)
	if err != nil {
		x.c.reachedFor(ctx, err)
	}
	return err
}

// ensure extends if the lock may have little of its life left, because the store has
// answered late. It is called before each step after which a process without the lock
// would cost a call. An answer that comes when that life has passed tells nothing: another
// process may have the lock.
func (x *extension) ensure(ctx context.Context) error {
	life, now := x.c.cfg.LockTTL, x.c.now()
	if now-x.since < instant(life/3) {
		return nil
	}
	if err := x.once(ctx, life); err != nil {
		return err
	}
	x.since = now
	if x.mayHaveEnded(x.c.now()) {
		return fmt.Errorf("%w: the answer came after its life", ErrLockLost)
	}
	return nil
}

// ends returns when the lock may have ended: it lasts until then, or longer.
func (x *extension) ends() time.Time { return x.c.time(x.since).Add(x.c.cfg.LockTTL) }

// mayHaveEnded reports whether the lock may have ended by then: another process may be at it.
func (x *extension) mayHaveEnded(at instant) bool { return at-x.since >= instant(x.c.cfg.LockTTL) }

// errOpen says that the store may have an attempt that nobody settles.
var errOpen = errors.New("the lock is left: an attempt may be open")

// leave has the lock end no sooner than the attempt's deadline passes, and adds errOpen to
// err. The next attempt finds this one overdue then, and settles it. One that began before
// would not, and its token would be replaced once more.
func (x *extension) leave(ctx context.Context, err error) error {
	x.end()
	_ = x.once(context.WithoutCancel(ctx), x.c.cfg.LockTTL) // best effort: the lock has lasted until now
	return fmt.Errorf("%w: %w", errOpen, err)
}

// start extends from now on. The context that it returns is for the call: it ends when the
// call has taken too long, or when the deadline passes all the same.
func (x *extension) start(ctx context.Context) context.Context {
	life := x.c.cfg.LockTTL
	calling, giveUp := context.WithTimeout(ctx, x.c.cfg.FetchTimeout)
	calling, passed := context.WithCancelCause(calling)
	ctx, x.stop = context.WithCancel(ctx)
	x.giveUp, x.done = giveUp, make(chan struct{})
	x.limit = time.AfterFunc(x.c.cfg.FetchTimeout, x.stop)
	x.expiry = time.AfterFunc(time.Until(x.ends()), func() {
		passed(errDeadline)
		x.stop()
	})
	go func() { // ends with ctx; end waits for it
		defer close(x.done)
		for asked := time.Now(); sleep(ctx, time.Until(asked.Add(life/3))); {
			asked = time.Now()
			switch err := x.once(ctx, life/3); {
			case ctx.Err() != nil:
				return
			case err == nil:
				x.expiry.Reset(time.Until(asked.Add(life)))
			case errors.Is(err, ErrLockLost):
				x.c.log.WarnContext(x.log, "lock lost before the token was stored: the fence decides", "account", x.account, "fence", x.fence)
				return
			}
		}
	}()
	return calling
}

// answered says that the call has ended: only the time to store what came of it is left.
func (x *extension) answered() {
	x.giveUp()
	if x.limit.Stop() {
		x.limit.Reset(drainFor)
	}
}

// end ends the extension, and waits until lock is no longer used.
func (x *extension) end() {
	if x.stop == nil {
		return
	}
	x.limit.Stop()
	x.stop()
	<-x.done
	x.expiry.Stop()
}
