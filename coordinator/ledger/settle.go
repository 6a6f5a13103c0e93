package ledger

import (
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Commit is the step of [coordinator.Store].Commit. A commit that is superseded
// changes the account, too: save it in spite of the error.
func (a *Account) Commit(s Step, c coordinator.CommitRequest) (coordinator.Record, *coordinator.Event, error) {
	now := a.enter(s)
	fence, current := c.Attempt.Fence, a.current(s, now)
	if current.Generation == fence && fence != 0 {
		return current, nil, nil // carried out before
	}
	if c.Calls > 1 {
		a.count(now, c.Calls-1)
	}
	if s.credible(a.state.Fence) > fence || current.Generation > fence || s.credible(fence) == 0 {
		// Also one that a successor has settled: that commit took it for one of
		// which nothing more would come.
		a.open(fence, now)
		return coordinator.Record{}, nil, coordinator.ErrSuperseded
	}

	life, age := millis(c.Lifetime, 1), millis(c.Age, 0)
	issued := now.Add(-age)
	a.state.Record = record{
		Token: plain{c.Token}, Generation: fence, IssuedAt: issued, ExpiresAt: issued.Add(life), IssuedBy: s.Instance,
		End:        now.Add(millis(life-age-millis(coordinator.Margin(life), 0), 1)),
		Attributes: c.Attributes, Repeated: c.Repeated,
	}
	if c.RefreshIn > 0 {
		a.state.Record.RefreshAt = issued.Add(millis(c.RefreshIn, 0))
	}
	a.state.Fence = fence
	delete(a.state.Open, fence)
	for _, overdue := range c.Attempt.Overdue {
		delete(a.state.Open, overdue)
	}
	a.state.Failure.end()
	event := s.event(coordinator.EventRefreshed, c.Reason, fence)
	event.Record = a.current(s, now)
	return event.Record, event, nil
}

// failure is the last failure, and what the failures since the last success bind.
type failure struct {
	Fence      coordinator.Fence       `json:"fence"` // whose it was; 0: there never was one
	Kind       coordinator.FailureKind `json:"kind"`
	Code       coordinator.Code        `json:"code,omitempty"`
	Message    string                  `json:"message"`
	At         time.Time               `json:"at"`
	InARow     int                     `json:"in_a_row,omitempty"`
	RetryAt    time.Time               `json:"retry_at,omitzero"`
	Credential string                  `json:"credential,omitempty"` // what was refused
}

// end ends the failures in a row. The last one is kept for people.
func (f *failure) end() { f.InARow, f.RetryAt, f.Credential = 0, time.Time{}, "" }

// backOff returns for how long it binds an attempt with this credential.
func (f *failure) backOff(now time.Time, credential string) time.Duration {
	wait := f.RetryAt.Sub(now)
	switch {
	case f.InARow == 0, f.Kind == coordinator.FailedRefused && f.Credential != credential:
		return 0
	case wait > coordinator.MaxRetry, f.At.Sub(now) > time.Second: // of before the clock went back
		return 0
	}
	return wait
}

// shared returns it as all processes see it, nil if there never was one.
func (f *failure) shared() *coordinator.Failure {
	if f.Fence == 0 {
		return nil
	}
	return &coordinator.Failure{
		Kind: f.Kind, Code: f.Code, Message: f.Message, At: f.At,
		InARow: f.InARow, RetryAt: f.RetryAt, Credential: f.Credential,
	}
}

// Fail is the step of [coordinator.Store].Fail.
func (a *Account) Fail(s Step, r coordinator.FailRequest) *coordinator.Event {
	now := a.enter(s)
	f, fence, generation := &a.state.Failure, r.Attempt.Fence, a.current(s, now).Generation
	if f.Fence == fence || generation == fence {
		return nil // recorded before, or the attempt has its token
	}
	if r.Failure.Kind == coordinator.FailedUnknown {
		a.open(fence, now)
	} else {
		delete(a.state.Open, fence)
	}
	if f.Fence > fence && f.Fence <= s.credible(a.state.Fence) {
		return nil // perhaps recorded before, and a newer attempt has failed since
	}
	a.count(now, max(r.Calls, 0)-1)

	f.Fence, f.Kind, f.Code, f.Message, f.At = fence, r.Failure.Kind, r.Failure.Code, r.Failure.Message, now
	retryIn := time.Duration(0)
	if generation < fence { // else the source has answered since: the failure binds no one
		retryIn = millis(r.RetryIn, 0)
		f.InARow++
		f.RetryAt, f.Credential = now.Add(retryIn), ""
		if f.Kind == coordinator.FailedRefused {
			f.Credential = r.Failure.Credential
		}
	}

	event := s.event(coordinator.EventFailed, r.Reason, fence)
	event.RetryIn = retryIn
	event.Failure = f.shared()
	event.Failure.RetryAt, event.Failure.Credential = now.Add(retryIn), r.Failure.Credential
	return event
}

// Restore is the step of [coordinator.Store].Restore.
func (a *Account) Restore(s Step, r coordinator.Record) (coordinator.Record, *coordinator.Event) {
	now := a.enter(s)
	current, ttl := a.current(s, now), millis(r.TTL, 0)
	switch {
	case current.Generation >= r.Generation:
		return current, nil
	case s.credible(a.state.Fence) > r.Generation, s.credible(r.Generation) == 0,
		r.Token.IsZero(), ttl == 0, ttl > coordinator.MaxLifetime:
		return coordinator.Record{}, nil
	}
	// The instants are of the clock of the store that lost the record. Where that
	// differs by minutes, what is left of the life decides.
	margin := millis(coordinator.Margin(r.Lifetime()), 0)
	drift := time.Duration(0)
	if gap := r.ExpiresAt.Sub(now) - ttl; gap.Abs() > margin+5*time.Minute {
		drift = margin - gap
	}
	a.state.Record = record{
		Token: plain{r.Token}, Generation: r.Generation, IssuedBy: r.IssuedBy, End: now.Add(ttl),
		Attributes: r.Attributes, Repeated: r.Repeated,
		IssuedAt: moved(r.IssuedAt, drift), ExpiresAt: moved(r.ExpiresAt, drift), RefreshAt: moved(r.RefreshAt, drift),
	}
	a.state.Fence = r.Generation
	delete(a.state.Open, r.Generation) // the begin may be there, and only the commit lost
	event := s.event(coordinator.EventRestored, "", r.Generation)
	event.Record = a.current(s, now)
	return event.Record, event
}

// moved returns an instant of another clock; the zero Time stays what it is.
func moved(t time.Time, drift time.Duration) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond).Add(drift)
}
