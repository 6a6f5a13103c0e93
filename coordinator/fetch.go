package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// This file is the call to the source in a refresh, and what its answer means.

// errDeadline is why a call is given up whose attempt could not be extended.
var errDeadline = errors.New("the attempt's deadline passed: the store could not be asked to extend it")

// fetch calls the source within the attempt's deadline, which is extended together with
// the lock while the call is under way. sent is when the call began.
func (r refresh) fetch(ctx context.Context, x *extension) (result FetchResult, sent instant, err error) {
	calling := ctx
	if r.presentation.marked && !time.Now().Before(r.presentation.sendBefore) { // paused since
		return result, r.c.now(), notCalled(errDeadline)
	}
	if err = x.ensure(ctx); err != nil {
		return result, r.c.now(), notCalled(err)
	}
	ctx = x.start(ctx)
	defer x.answered()
	if r.presentation.marked { // to give the call up does not unsend it
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(calling, r.presentation.await)
		defer cancel()
	}

	sent = r.c.now()
	if x.mayHaveEnded(sent) { // paused since
		return result, sent, notCalled(errDeadline)
	}
	result, err = r.ask(ctx)
	rejected, ok := errors.AsType[*FetchError](err)
	if r.parent.Token.IsZero() || !ok || rejected.Kind != FailedParent {
		return result, sent, err
	}
	if err = r.replaceParent(ctx, rejected); err != nil {
		return result, sent, err
	}
	if sent = r.c.now(); r.presentation.marked && x.mayHaveEnded(sent) {
		return result, sent, &FetchError{Kind: FailedBusy, Message: "not called again: " + errDeadline.Error(), Calls: rejected.Calls}
	}
	if result, err = r.ask(ctx); err != nil {
		again := *asFetchError(err)
		again.Calls += rejected.Calls
		return result, sent, &again
	}
	result.Calls = max(result.Calls, 1) + rejected.Calls
	return result, sent, nil
}

func notCalled(why error) *FetchError {
	return &FetchError{Kind: FailedBusy, Message: "not called: " + why.Error()}
}

// replaceParent reports the parent's token, which the issuer rejects, and takes over the
// one that replaces it.
func (r *refresh) replaceParent(ctx context.Context, rejected *FetchError) error {
	parent := r.a.parent()
	s, err := parent.Invalidate(WithCaller(ctx, r.a.name+" (child)"), r.parent.Token)
	if err == nil && s.Token.Equal(r.parent.Token) {
		err = errors.New("its issuer repeats it")
	}
	if err != nil {
		failed := *rejected
		failed.Message = fmt.Sprintf("%s; the token of %q was not replaced: %v", rejected.Message, parent.name, err)
		return &failed
	}
	r.parent = s.Record
	return nil
}

// ask calls the source once.
func (r *refresh) ask(ctx context.Context) (FetchResult, error) {
	result, err := r.source.Fetch(ctx, FetchRequest{
		Reason: r.reason, Current: r.current.Token, Parent: r.parent, Grant: r.presentation.token, SendBefore: r.presentation.sendBefore,
	})
	switch {
	case err != nil && context.Cause(ctx) != nil && !isA[*FetchError](err):
		err = &FetchError{Kind: FailedUnknown, Message: "the source did not answer in time: " + context.Cause(ctx).Error(), Err: err, Calls: 1}
	case err == nil && (result.Token.IsZero() || result.Lifetime <= 0):
		err = &FetchError{Kind: FailedUnknown, Message: fmt.Sprintf("the source answered without a usable token (life %v)", result.Lifetime), Calls: max(result.Calls, 1)}
	case err == nil && AttributesSize(result.Attributes) > MaxAttributes:
		err = &FetchError{Kind: FailedUnknown, Message: fmt.Sprintf("the attributes that came with the token have %d bytes: %d is the limit",
			AttributesSize(result.Attributes), MaxAttributes), Calls: max(result.Calls, 1)}
	}
	if failed, ok := errors.AsType[*FetchError](err); ok && !failed.Kind.settles() {
		// The source may only have forgotten the kind, and that something was sent.
		unknown := *failed
		unknown.Kind, unknown.Calls = FailedUnknown, max(failed.Calls, 1)
		err = &unknown
	}
	if failed, ok := errors.AsType[*FetchError](err); ok && failed.RetryIn > 0 && failed.RetryIn < leastRetry {
		// A source that waits by its own clock can be asked in the last microseconds of its
		// wait. To repeat that without a pause would only count failures.
		later := *failed
		later.RetryIn = leastRetry
		err = &later
	}
	result.Lifetime = min(result.Lifetime, MaxLifetime) // a store takes a longer one for damage
	return result, err
}

// repeated has the life of a token that the issuer has only repeated count from when
// the token was stored first, and returns that instant; sent for any other token. The
// token ends when it was known to end before, or earlier if less life is left by now: an
// issuer that states the whole life each time tells nothing new, and a life that is a guess
// (doubted) neither. A question that is planned for after the end of a life that is stated as
// a whole comes just after it. The end stays ahead of the next question, because the issuer
// has just answered that the token lives.
func (r refresh) repeated(c *CommitRequest, sent instant, doubted bool) (issued instant) {
	if r.repeat != RepeatSame {
		return sent
	}
	var held Record
	r.a.update(func(v *view, e env) {
		held = v.record(e)
		issued = min(sent, e.now-instant(held.Age()))
	})
	if !held.Token.Equal(c.Token) {
		return sent
	}
	const (
		beyond = time.Minute     // the margin, and time for the question
		after  = 5 * time.Second // the issuer's rounding, and how long its first answer took
	)
	end, stated := issued+instant(held.Lifetime()), sent+instant(c.Lifetime)
	whole := issued + instant(c.Lifetime) // the end, if the whole life is stated
	if stated > end+instant(after) && whole > sent {
		c.RefreshIn = min(c.RefreshIn, time.Duration(whole-sent)+after)
	}
	if !doubted {
		end = min(end, stated)
	}
	issued = max(issued, sent-instant(MaxLifetime-c.RefreshIn-beyond))
	c.RefreshIn += time.Duration(sent - issued)
	c.Lifetime = max(time.Duration(end-issued), c.RefreshIn+beyond)
	if c.Repeated = r.reason.Demanded(); c.Repeated {
		r.c.log.WarnContext(r.log, "the issuer repeated the token that was to be replaced: it says that the token is good. "+
			"Either the report was wrong, or the issuer will replace the token by itself",
			"account", r.a.name, "reason", r.reason, "asked_by", r.askedBy, "age_seconds", seconds(time.Duration(sent-issued)),
			"retry_in_seconds", r.limits.MinInterval.Seconds())
	}
	return issued
}
