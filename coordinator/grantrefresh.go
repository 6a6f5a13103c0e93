package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// This file is what a refresh does with the grant of its account, between Begin and the
// call, and after the call.

const (
	// awaitAnswer is how long the answer to a presentation is awaited, whatever becomes
	// of lock and attempt.
	awaitAnswer = 40 * time.Second
	// answerGrace is how long after that an answer is surely stored or spooled.
	answerGrace = 15 * time.Second
	// probeBefore is how long before the end of the access token the last resort is
	// tried: an issuer may kill the access token, too.
	probeBefore = 2 * time.Minute
	// deadRetry is how often an account whose grant is dead is looked at without a cause.
	deadRetry = time.Hour
)

// presentation is a token of a grant that a refresh presents. The zero presentation is
// none: the source needs no grant.
type presentation struct {
	token      GrantToken
	consent    Fence // of the record
	marked     bool  // it can be used up: the record has a mark
	sendBefore time.Time
	await      time.Duration // for the answer, if it is marked
}

// awaited is how long an answer is awaited. In a window the token is presented again
// soon enough.
func (r GrantRules) awaited() time.Duration {
	if r.Replay > 0 {
		return min(awaitAnswer, r.Replay/3)
	}
	return awaitAnswer
}

// idle returns for how long the grant may stay unused; 0: not known.
func (r refresh) idle(result FetchResult) (idle time.Duration) {
	if result.GrantIdle > 0 || !r.grant.usedUp() {
		return result.GrantIdle
	}
	r.a.update(func(v *view, _ env) {
		if v.grant != nil {
			idle = v.grant.stored.Idle
		}
	})
	return idle
}

// notReady returns why no attempt is begun, nil if one may be: the store denies this process
// the grant, which others may be permitted to use, or may have lost the account's access token
// with its newest writes. A refresh would present nothing then, and the fence of its attempt
// would keep those who remember the access token from putting it back. What else keeps a grant
// from being read, the attempt says.
func (r refresh) notReady(ctx context.Context) error {
	if !r.grant.Needed {
		return nil
	}
	grants, err := r.c.grants()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.c.cfg.LockTTL)
	defer cancel()
	read, err := r.c.loadGrant(ctx, grants, r.a.name, r.grant, r.a.grantMemory())
	switch {
	case isForbidden(err):
		return err
	case err != nil || read.SettledIn == 0 || r.reason != ReasonMissing:
		return nil
	}
	r.a.grantMemory().unprime()
	wait := &UnsettledError{RetryIn: read.SettledIn}
	r.a.update(func(v *view, e env) {
		v.unsettled(read.Grant.Consent, read.SettledIn, e)
		v.pause(e.now + instant(storeRetryFirst)) // if a consent has come since
		if !v.usable(e) {
			v.end(notCalled(wait), 0)
		}
	})
	r.c.log.WarnContext(r.log, "the store has no token of the account: waiting for those who remember it", "account", r.a.name, "error", wait)
	return errRecorded
}

// present chooses the token to present and has its mark confirmed, before the
// attempt's deadline, which counts from began. If it returns an error, nothing may be sent.
func (r *refresh) present(ctx context.Context, began instant, attempt Attempt) error {
	life := r.c.cfg.LockTTL
	ends := r.c.time(began).Add(life)
	ctx, cancel := context.WithDeadline(ctx, ends)
	defer cancel()
	m := r.a.grantMemory()
	if r.c.readSpool(); m.busy() {
		return &GrantError{Condition: GrantPresented, RetryIn: storeRetryMost}
	}
	var probe, tried bool
	var refused error
	change := grantChange{c: r.c, account: r.a.name, rules: r.grant, memory: m}
	change.transition = func(read GrantReading) (g Grant, changed bool) {
		r.presentation = presentation{consent: read.Grant.Consent, sendBefore: ends, await: r.grant.awaited()}
		change.confirm = false
		if read.SettledIn > 0 {
			m.unprime()
			refused = &UnsettledError{RetryIn: read.SettledIn}
			return read.Grant, false
		}
		g, r.presentation.token, refused = read.Grant.Present(PresentRequest{
			Fence: attempt.Fence, Now: read.Now, For: life + r.grant.awaited() + answerGrace, Rules: r.grant, Probe: r.probe, Sending: life,
			Credential: credential(r.source),
		})
		i := g.presentation(attempt.Fence)
		if refused == nil && i >= 0 {
			r.presentation.marked, probe, tried = true, g.Presentations[i].Probe, true
			change.confirm = true // it may be of an earlier try
			if before := g.sendBefore(attempt.Fence, r.grant); !before.IsZero() {
				r.presentation.sendBefore = earlier(ends, r.c.time(change.asked).Add(before.Sub(read.Now)))
			}
		}
		return g, g.Version != read.Grant.Version
	}
	if r.grant.usedUp() {
		m.unprime() // the store may have lost a mark while this process could not know
	}
	if err := r.withCopy(ctx, func(ctx context.Context) error { return r.a.primeGrant(ctx, m) }); err != nil {
		if !r.probe {
			return err
		}
		r.c.log.ErrorContext(r.log, "the copy of the grant cannot be read: the refresh token is presented all the same, because the access token ends",
			"account", r.a.name, "error", err)
	}
	g, err := change.make(ctx)
	if refused == nil && err == nil && r.presentation.marked {
		err = r.marked(ctx, g, attempt, probe)
	}
	if tried && (err != nil || refused != nil) { // the mark may be stored
		r.withdraw(attempt)
	}
	if err == nil || refused != nil {
		r.a.apply(func(v *view, e env) effects { return v.grantHeard(change.summary, e) })
	}
	return errors.Join(refused, err)
}

// withCopy calls do, which uses the copy. When the token is presented also if that fails,
// it gets a quarter of a lock's life: a copy that hangs leaves time for the mark and for the
// request.
func (r *refresh) withCopy(ctx context.Context, do func(context.Context) error) error {
	if r.probe {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.c.cfg.LockTTL/4)
		defer cancel()
	}
	return do(ctx)
}

// marked is what follows the confirmed mark: it is copied, so that neither the loss of
// the store lets another process present the token. A copy that fails keeps the token
// from being presented while there is still time.
func (r *refresh) marked(ctx context.Context, g Grant, attempt Attempt, probe bool) error {
	if err := r.withCopy(ctx, func(ctx context.Context) error { return r.c.copyGrant(ctx, r.a.name, g, r.a.grantMemory()) }); err != nil {
		if !r.probe {
			return err
		}
		r.c.log.ErrorContext(r.log, "the copy of the grant is not up to date: the refresh token is presented all the same, because the access token ends",
			"account", r.a.name, "error", err)
	}
	kind, log := PresentedGrant, r.c.log.InfoContext
	if probe {
		kind, log = ProbedGrant, r.c.log.WarnContext
	}
	r.c.observe(Observation{Kind: kind, Account: r.a.name, Reason: r.reason})
	log(r.log, "presenting the refresh token", "account", r.a.name, "fence", attempt.Fence, "last_resort", probe)
	return nil
}

// withdraw takes the mark back: nothing was sent, or surely nothing was used up.
func (r *refresh) withdraw(attempt Attempt) {
	r.a.settleGrant(func(g Grant) (Grant, bool) { return g.Withdraw(attempt.Fence) })
}

// answered keeps what an answer says of the grant, if it says anything.
func (r *refresh) answered(result FetchResult, attempt Attempt) {
	p := r.presentation
	same := result.Grant.IsZero() || result.Grant.Equal(p.token.Token)
	if p.token.Token.IsZero() || !p.marked && same && result.GrantIdle == 0 && result.GrantEnds == 0 {
		return
	}
	r.a.keepAnswer(GrantAnswer{
		Account: r.a.name, Fence: attempt.Fence, Parent: p.token.Fence, Consent: p.consent, Token: result.Grant, Form: result.GrantForm,
		Idle: result.GrantIdle, Ends: result.GrantEnds,
	})
}

// unanswered settles the presentation after a call that brought no token, and returns
// the failure as the other processes are to see it.
func (r *refresh) unanswered(cause *FetchError, result FetchResult, attempt Attempt) *FetchError {
	p := r.presentation
	switch {
	case p.token.Token.IsZero():
	case !result.Grant.IsZero(): // an answer whose access token cannot be used
		r.answered(result, attempt)
	case cause.Kind == FailedGrant:
		return r.refusedGrant(cause, attempt)
	case !p.marked:
	case cause.Kind == FailedUnknown:
		stored, ok := r.a.settleGrant(func(g Grant) (Grant, bool) { return g.GiveUp(attempt.Fence) })
		if ok {
			return r.replaySoon(cause, stored)
		}
	default:
		r.withdraw(attempt)
	}
	return cause
}

// replaySoon lets the next process present the token again while its window is open.
func (r *refresh) replaySoon(cause *FetchError, stored GrantReading) *FetchError {
	tries := 0
	for _, p := range stored.Grant.Presentations {
		if p.Token == r.presentation.token.Fence {
			tries++
		}
	}
	again := *cause
	again.RetryIn = replayIn(cause.RetryIn, stored.Grant.replayUntil(r.grant, stored.Now).Sub(stored.Now), tries)
	return &again
}

// replayIn returns the pause before a token is presented again that was presented tries times,
// when left is left of its window and the issuer has asked for a pause: the first times
// seconds, and never more than a quarter of what is left. A pause in which the window would
// pass is cut short: a request too early costs little, and the grant may be lost with the window.
func replayIn(asked, left time.Duration, tries int) time.Duration {
	switch {
	case left <= 0:
		return asked
	case asked > 0:
		return max(min(asked, left*3/4), storeRetryFirst)
	}
	return max(min(backoff(FailedUnknown, tries, 0, 0), left/4), storeRetryFirst)
}

// refusedGrant takes in that the issuer says of the presented token that it is none.
// That is no failure of the account if the record has another one by now.
func (r *refresh) refusedGrant(cause *FetchError, attempt Attempt) *FetchError {
	failed := *cause
	stored, ok := r.a.settleGrant(func(g Grant) (Grant, bool) {
		return g.Refuse(attempt.Fence, r.presentation.token.Fence, credential(r.source))
	})
	condition := stored.Grant.Condition(r.grant, stored.Now)
	switch {
	case !ok:
		failed.Kind = FailedBusy
	case condition == GrantDead || condition == GrantNone:
		dead := stored.Grant.none(r.grant, stored.Now)
		failed.Kind, failed.Message, failed.RetryIn = FailedRefused, fmt.Sprintf("%s: %v", cause.Message, dead), deadRetry
		if r.grant.Received {
			failed.Kind, failed.RetryIn = FailedBusy, 0
		}
	default:
		failed.Kind, failed.RetryIn = FailedBusy, time.Second
		failed.Message = cause.Message + ": the record has another token by now, which is tried next"
	}
	return &failed
}

// notPresented settles the attempt of a refresh that had nothing to present. No call is
// counted.
func (r *refresh) notPresented(ctx context.Context, x *extension, attempt Attempt, cause error) error {
	failed := notCalled(cause)
	failed.Err = cause
	var none *GrantError
	var unsettled *UnsettledError
	switch {
	case errors.As(cause, &unsettled):
		r.a.update(func(v *view, e env) { v.unsettled(r.presentation.consent, unsettled.RetryIn, e) })
		failed.RetryIn = storeRetryFirst // for the others, and for a consent
	case errors.Is(cause, ErrGrantNewer):
		failed.RetryIn = storeRetryFirst
	case !errors.As(cause, &none):
	case none.Condition == GrantDead && !none.Received, none.Condition == GrantNone && !none.Received:
		failed.Kind, failed.Message, failed.RetryIn = FailedRefused, none.Error(), deadRetry
	default: // the view looks again when it is worth it
		failed.RetryIn = time.Second
	}
	return r.fail(ctx, x, attempt, failed, 0)
}
