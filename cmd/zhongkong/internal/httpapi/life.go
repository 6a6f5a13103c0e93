package httpapi

import (
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator"
)

// This file says for how long a client may keep a token without asking again.

// overlap is how long WeChat lets a token live on that was replaced.
const overlap = 5 * time.Minute

// useFor is how long a token works if all goes as planned: until an overlap after
// its replacement. Somebody may force a refresh before that; who must not hold a
// dead token then either is told less than an overlap (see auth.Told).
func useFor(status coordinator.Status, r coordinator.Record, now time.Time) time.Duration {
	next := r.TTL
	if !status.NextRefresh.IsZero() {
		next = status.NextRefresh.Sub(now)
	}
	if !r.RefreshAt.IsZero() { // what this process looks at itself comes a little later
		next = min(next, r.RefreshAt.Sub(r.IssuedAt)-r.Age())
	}
	if status.OpenAttempts > 0 { // it is being replaced, or nobody knows whether it was
		next = 0
	}
	return max(next, 0) + overlap
}

// useForBy is how many seconds a caller with these bounds is told: never more
// than the token is served.
func (a *answer) useForBy(told auth.Told) int64 {
	bounded := told.Bound(time.Duration(a.useFor) * time.Second)
	return min(a.expiresIn, int64(bounded/time.Second))
}
