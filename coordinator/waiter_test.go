package coordinator

import (
	"errors"
	"testing"
	"time"
)

func TestHowAWaitEnds(t *testing.T) {
	odd, down := errors.New("odd"), &outage{err: ErrUnreachable, until: testEnv().wall.Add(time.Second)}
	gone := errors.New("the caller has gone")
	any, newer := waiter{reason: ReasonMissing}, waiter{reason: ReasonMissing, after: 7}
	forced, rejected := waiter{reason: ReasonForced, after: 7}, waiter{reason: ReasonRejected, after: 7}
	refusal := func(v *view) { v.failure, v.retryAt = &Failure{Kind: FailedRefused, InARow: 1}, at+minute }
	end := func(err error) func(*view, *env) { return func(v *view, _ *env) { v.held = nil; v.end(err, 0) } }
	for name, c := range map[string]struct {
		w      waiter
		before func(*view, *env) // before the wait
		during func(*view, *env)
		ended  error
		record bool  // it ends with a record
		err    error // it ends with an error that is this one, or like it
		waits  bool
	}{
		"a record that is followed":               {w: any, record: true},
		"a record that is not":                    {w: any, before: func(_ *view, e *env) { e.running = false }, waits: true},
		"a record that was read since":            {w: any, before: func(_ *view, e *env) { e.running = false }, during: func(v *view, _ *env) { v.reads++ }, record: true},
		"a newer one, in vain":                    {w: newer, waits: true},
		"a newer one":                             {w: newer, during: func(v *view, e *env) { v.install(recordOf(8, time.Hour), *e) }, record: true},
		"no record":                               {w: any, before: func(v *view, _ *env) { v.held = nil }, waits: true},
		"a removed account":                       {w: any, before: func(v *view, _ *env) { v.held = nil }, during: func(v *view, _ *env) { v.dropped() }, err: ErrUnknownAccount},
		"the store denies it":                     {w: any, before: func(v *view, e *env) { v.held, e.down = nil, &outage{err: ErrDenied} }, err: ErrDenied},
		"the store denies it, and there is one":   {w: any, before: func(_ *view, e *env) { e.down = &outage{err: ErrDenied} }, record: true},
		"a refusal":                               {w: any, before: func(v *view, _ *env) { v.held = nil; refusal(v) }, err: &RefusedError{}},
		"a refusal, and there is a record":        {w: newer, before: func(v *view, _ *env) { refusal(v) }, waits: true},
		"a report during a refusal":               {w: rejected, before: func(v *view, _ *env) { refusal(v) }, err: &RefusedError{}},
		"a forced refresh during a refusal":       {w: forced, before: func(v *view, _ *env) { refusal(v) }, waits: true},
		"a failed call":                           {w: any, before: func(v *view, _ *env) { v.held = nil }, during: end(&FetchError{}), waits: true},
		"a failed call that was forced":           {w: forced, during: func(v *view, _ *env) { v.end(&FetchError{}, 0) }, err: &FetchError{}},
		"somebody else's failed call":             {w: forced, before: func(v *view, _ *env) { v.end(&FetchError{}, 0) }, waits: true},
		"an odd error":                            {w: any, before: func(v *view, _ *env) { v.held = nil }, during: end(odd), err: odd},
		"an unreachable store, running":           {w: any, before: func(v *view, _ *env) { v.held = nil }, during: end(ErrUnreachable), waits: true},
		"an unreachable store, without Run":       {w: any, before: func(v *view, e *env) { v.held, e.running = nil, false }, during: end(ErrUnreachable), err: ErrUnreachable},
		"an unreachable store, and a record":      {w: any, before: func(_ *view, e *env) { e.running = false }, during: func(v *view, _ *env) { v.end(ErrUnreachable, 0) }, record: true},
		"an unusable record of a reader":          {w: any, before: func(v *view, e *env) { v.edit().fault.err, v.edit().fault.barred, e.source = ErrSealed, 8, nil }, err: ErrSealed},
		"an unusable record that is replaced":     {w: any, before: func(v *view, _ *env) { v.edit().fault.err, v.edit().fault.barred = ErrSealed, 8 }, waits: true},
		"an unusable record that was":             {w: any, before: func(v *view, _ *env) { v.edit().fault = fault{err: ErrSealed, barred: 8, replaceAt: at + minute} }, err: ErrSealed},
		"the caller goes":                         {w: any, before: func(v *view, _ *env) { v.held = nil }, ended: gone, err: ErrNoToken},
		"the caller goes, with the cause":         {w: any, before: func(v *view, e *env) { v.held, e.down = nil, down }, ended: gone, err: ErrUnreachable},
		"the caller goes that wanted a newer one": {w: newer, ended: gone, err: gone},
	} {
		t.Run(name, func(t *testing.T) {
			v, e := fresh(), testEnv()
			if c.before != nil {
				c.before(v, &e)
			}
			w := c.w
			if s := w.next(v, nil, false, e); c.during != nil || c.ended != nil {
				if s.record != nil || s.err != nil {
					t.Fatalf("it ends at once: %+v", s)
				}
				v.inRound = false
			} else {
				w = c.w
			}
			if c.during != nil {
				c.during(v, &e)
			}
			s := w.next(v, c.ended, false, e)
			if waits := s.record == nil && s.err == nil; waits != c.waits || (s.record != nil) != c.record {
				t.Errorf("next() = %+v, %v", s, s.err)
			}
			if c.waits && s.wait <= 0 && !w.isWoken(v, e) {
				t.Errorf("it waits for %v", s.wait)
			}
			if c.err != nil && !like(s.err, c.err) {
				t.Errorf("it ends with %v, want %v", s.err, c.err)
			}
		})
	}
}

// like reports whether err is want, or one of its type.
func like(err, want error) bool {
	switch {
	case errors.As(want, new(*RefusedError)):
		return errors.As(err, new(*RefusedError))
	case errors.As(want, new(*FetchError)):
		return errors.As(err, new(*FetchError))
	}
	return errors.Is(err, want)
}

func TestWhatAWaiterDoesMeanwhile(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*view, *env)
		round  bool
		wait   time.Duration
	}{
		"nothing is known":                      {func(v *view, _ *env) { *v = view{} }, true, waitingPoll},
		"the subscription is about to begin":    {func(v *view, e *env) { *v = view{}; e.connected = false }, false, subscribeGrace},
		"a round is under way":                  {func(v *view, _ *env) { v.roundStarted() }, false, waitingPoll},
		"Run is ending":                         {func(_ *view, e *env) { e.stopping = true }, false, waitingPoll},
		"the store is away":                     {func(_ *view, e *env) { e.down = &outage{err: ErrUnreachable, until: e.wall.Add(time.Second)} }, false, time.Second},
		"a refresh is due":                      {func(*view, *env) {}, true, waitingPoll},
		"another process is at it":              {func(v *view, _ *env) { v.busy(at + instant(time.Second)) }, false, time.Second},
		"a back-off of minutes":                 {func(v *view, _ *env) { v.retryAt = at + 5*minute }, false, waitingPoll},
		"without Run the store is not read yet": {func(_ *view, e *env) { e.running = false }, true, waitingPoll},
	} {
		t.Run(name, func(t *testing.T) {
			v, e := fresh(), testEnv()
			v.held = nil
			c.change(v, &e)
			w := waiter{reason: ReasonMissing}
			s := w.next(v, nil, true, e)
			if s.round != c.round || s.wait != c.wait || s.follow {
				t.Errorf("next() = %+v, want round %v, wait %v", s, c.round, c.wait)
			}
			if c.round && !v.inRound {
				t.Error("the round is not noted")
			}
		})
	}
}

func TestAWaiterForTheNextTokenHasATimerOnlyWhileItMightNotBeWoken(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*view, *env)
		wait   time.Duration
	}{
		"the token is followed":    {func(*view, *env) {}, 0},
		"notifications are lost":   {func(_ *view, e *env) { e.connected = false }, subscribeGrace},
		"without Run":              {func(_ *view, e *env) { e.running = false }, waitingPoll},
		"Run is ending":            {func(_ *view, e *env) { e.stopping = true }, waitingPoll},
		"the token has ended":      {func(_ *view, e *env) { e.now += instant(24 * time.Hour) }, waitingPoll},
		"a grant may end":          {func(v *view, _ *env) { v.grant = new(grantView) }, waitingPoll},
		"the parent has no token":  {func(_ *view, e *env) { e.blocked = new(ParentError) }, waitingPoll},
		"a back-off after failure": {func(v *view, _ *env) { v.failure, v.retryAt = &Failure{Kind: FailedLater, InARow: 1}, at+minute }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			v, e := fresh(), testEnv()
			c.change(v, &e)
			w := waiter{reason: ReasonMissing, after: v.generation()}
			if s := w.next(v, nil, true, e); s.record != nil || s.err != nil || s.wait != c.wait {
				t.Errorf("next() = %+v, want to wait for %v", s, c.wait)
			}
		})
	}
	v, e := fresh(), testEnv()
	if fx := v.unfollowed(e); !fx.broadcast {
		t.Error("the end of notifications does not wake it")
	}
	e.now = v.held.until
	if fx := v.expire(v.held, e); !fx.broadcast {
		t.Error("the end of the token does not wake it")
	}
}
