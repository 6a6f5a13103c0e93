package redisstore

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
)

// incredible are fences that no store hands out. Lua and JSON carry no greater
// whole numbers.
var incredible = []coordinator.Fence{layout.MaxWhole, layout.MaxWhole - 1, 9_000_000_000_000_000}

// anyFence returns a fence of some attempt, or a forged one.
func (p *pair) anyFence() coordinator.Fence {
	now := coordinator.Fence(p.now.UnixMicro())
	switch n := p.rng.IntN(20); {
	case n == 0:
		return pick(p, incredible...)
	case n == 1:
		return now + coordinator.Fence(p.between(time.Millisecond, time.Hour).Microseconds())
	case n == 2:
		return now - coordinator.Fence(p.between(time.Millisecond, time.Hour).Microseconds())
	case n < 5:
		return 0
	}
	return p.anyAttempt().Fence
}

// anyAttempt returns one that was begun, mostly the last; or a forged one.
func (p *pair) anyAttempt() coordinator.Attempt {
	switch n := p.rng.IntN(20); {
	case len(p.attempts) == 0, n == 0:
		now := coordinator.Fence(p.now.UnixMicro())
		forged := coordinator.Attempt{Fence: pick(p, append(incredible, now, now-1_000_000, now+3_600_000_000)...)}
		if len(p.attempts) > 0 {
			forged.Overdue = append(forged.Overdue, pick(p, p.attempts...).Fence)
		}
		p.attempts = append(p.attempts, forged)
		return forged
	case n < 5:
		return pick(p, p.attempts...)
	case n < 8:
		return p.attempts[max(0, len(p.attempts)-2)]
	}
	return p.attempts[len(p.attempts)-1]
}

func (p *pair) anyReason() coordinator.Reason {
	return pick(p, coordinator.ReasonForced, coordinator.ReasonRejected, coordinator.ReasonMissing,
		coordinator.ReasonOverdue, coordinator.ReasonSchedule)
}

func (p *pair) anyBegin() coordinator.BeginRequest {
	_, step := p.by()
	b := coordinator.BeginRequest{
		Seen:       p.account.State(step).Record.Generation,
		Reason:     p.anyReason(),
		AskedBy:    pick(p, "", "shop"),
		TTL:        pick(p, p.between(time.Millisecond, 10*time.Second), p.between(time.Second, coordinator.MaxAhead), 2*time.Hour),
		Credential: pick(p, "", "old", "new"),
		Limits: coordinator.Limits{
			PerDay: pick(p, 0, 3, 30, 1000, 1000), Reserve: pick(p, 0, 2, 9),
			MinInterval: pick(p, 0, time.Second, time.Minute),
			Window:      p.window, DayBegins: p.dayBegins,
		},
		Repeat: pick(p, coordinator.RepeatKills, coordinator.RepeatKills, coordinator.RepeatSame, coordinator.RepeatKeeps),
		Pace:   cmp.Or(p.pace, pick(p, 0, time.Second, time.Hour)),

		Overdue: pick(p, p.account.State(step).Fence, p.anyFence()), // also where it does not matter
	}
	if p.rng.IntN(4) == 0 {
		b.Seen = p.anyFence()
	}
	if p.rng.IntN(12) == 0 { // of a process with another configuration
		b.Limits.Window, b.Limits.DayBegins = pick(p, 0, time.Minute, 3*time.Hour), pick(p, 0, 8*time.Hour)
	}
	return b
}

func (p *pair) anyCommit() coordinator.CommitRequest {
	c := coordinator.CommitRequest{
		AskedBy: pick(p, "", "shop"),
		Attempt: p.anyAttempt(),
		Reason:  p.anyReason(),
		Token:   coordinator.NewToken(fmt.Sprintf("token %d of %s", len(p.did), p.name)),
		Lifetime: pick(p, p.between(time.Millisecond, time.Second), p.between(time.Minute, 2*time.Hour),
			2*time.Hour, 2*time.Hour, coordinator.MaxLifetime),
		Calls: p.rng.IntN(4),
		Took:  time.Second,
	}
	if p.rng.IntN(3) == 0 {
		c.RefreshIn = p.between(time.Millisecond, time.Hour)
	}
	if p.rng.IntN(3) == 0 {
		c.Attributes, c.Repeated = map[string]string{"scope": "<\"a\" 範圍>", "instance_url": "https://x/?a=1&b=2"}, p.rng.IntN(2) == 0
	}
	if p.rng.IntN(3) == 0 {
		c.Age = p.between(time.Millisecond, 10*time.Minute)
	}
	return c
}

func (p *pair) anyFail() coordinator.FailRequest {
	return coordinator.FailRequest{
		Attempt: p.anyAttempt(),
		Reason:  p.anyReason(),
		Failure: coordinator.Failure{
			Kind: pick(p, coordinator.FailedUnknown, coordinator.FailedBusy, coordinator.FailedLater, coordinator.FailedRefused),
			Code: pick[coordinator.Code](p, "", "-1", "40125", "invalid_client"), Message: "invalid \"appsecret\" 不合法", Credential: pick(p, "", "old", "new"),
		},
		RetryIn: pick(p, 0, p.between(time.Millisecond, time.Minute), p.between(time.Minute, 3*time.Hour), 2*coordinator.MaxRetry),
		Calls:   p.rng.IntN(4),
	}
}

// anyRecord returns one that the store may have lost, or a forged one.
func (p *pair) anyRecord() coordinator.Record {
	now := p.now.Truncate(time.Millisecond)
	r := coordinator.Record{
		Token: coordinator.NewToken("token of an outsider"), Generation: max(p.anyFence(), 1), IssuedBy: "an instance that has ended",
		IssuedAt: now.Add(-time.Hour), ExpiresAt: now.Add(time.Hour), TTL: 50 * time.Minute,
	}
	if len(p.records) > 0 && p.rng.IntN(4) > 0 {
		r = pick(p, p.records[max(0, len(p.records)-3):]...)
		r.TTL = p.between(0, r.TTL)
	}
	switch p.rng.IntN(8) {
	case 0:
		r.Generation = max(p.anyFence(), 1)
	case 1:
		r.TTL = pick(p, -time.Second, 0, coordinator.MaxLifetime, coordinator.MaxLifetime+time.Millisecond)
	case 2: // of a clock that differs
		off := p.between(time.Minute, 5*time.Hour) * pick(p, time.Duration(-1), 1)
		r.IssuedAt, r.ExpiresAt, r.RefreshAt = r.IssuedAt.Add(off), r.ExpiresAt.Add(off), r.IssuedAt.Add(off+time.Minute)
	}
	return r
}

// What is compared, in words. Tokens print as themselves.

func shownTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.RFC3339Nano)
}

func shownRecord(r coordinator.Record) string {
	return fmt.Sprintf("{%q, generation %d, by %q, %s to %s, again %s, TTL %v, %v, repeated %t}", r.Token.Reveal(), r.Generation, r.IssuedBy,
		shownTime(r.IssuedAt), shownTime(r.ExpiresAt), shownTime(r.RefreshAt), r.TTL, r.Attributes, r.Repeated)
}

func shownFailure(f *coordinator.Failure) string {
	if f == nil {
		return "none"
	}
	return fmt.Sprintf("{%s %s %q, %d in a row, at %s, again %s, credential %q}", f.Kind, f.Code, f.Message, f.InARow,
		shownTime(f.At), shownTime(f.RetryAt), f.Credential)
}

func shownState(s coordinator.State) string {
	open := make([]string, 0, len(s.Open))
	for _, deadline := range s.Open {
		open = append(open, shownTime(deadline))
	}
	return fmt.Sprintf("%s at %s: record %s, unusable %t, fence %d, open %v, failure %s, %d calls, %d conflicts, lock of %q for %v",
		s.Account, shownTime(s.Now), shownRecord(s.Record), s.Err != nil, s.Fence, open, shownFailure(s.Failure),
		s.CallsToday, s.Conflicts, s.Holder, s.HolderTTL)
}

func shownEvent(e coordinator.Event) string {
	return fmt.Sprintf("%s of %s by %s because %q, fence %d, record %s, failure %s, retry in %v, limit %q, want %+v",
		e.Kind, e.Account, e.By, e.Reason, e.Fence, shownRecord(e.Record), shownFailure(e.Failure), e.RetryIn, e.Limit, e.Want)
}

// shownError returns what an error says to a program.
func shownError(err error) string {
	throttled, isThrottled := errors.AsType[*coordinator.ThrottledError](err)
	locked, isLocked := errors.AsType[*coordinator.LockedError](err)
	switch {
	case err == nil:
		return " no error"
	case isThrottled:
		return fmt.Sprintf(" throttled by the %s for %v", throttled.Limit, throttled.RetryIn)
	case isLocked:
		return fmt.Sprintf(" locked by %s for %v", locked.Holder, locked.RetryIn)
	case errors.Is(err, coordinator.ErrSuperseded):
		return " superseded"
	case errors.Is(err, coordinator.ErrLockLost):
		return " lock lost"
	}
	return " " + err.Error()
}
