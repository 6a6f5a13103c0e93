package main

import (
	"slices"
	"sort"
	"strings"
	"time"
)

// forgedBound is how long it may take until a token is stored again after
// something was forged: the schedule's turn comes, a lock has to end, and the
// minimum interval to pass.
const forgedBound = refreshEvery + lockLife + minInterval + hearBound

// forgeries: whatever was forged, the account is refreshed again in time.
func (j *judge) forgeries() {
	trouble := union(slices.Concat(j.blocked[""], j.sourceSpells(), j.nobody))
	worst := time.Duration(0)
	n := 0
	for _, f := range j.l.spells {
		if f.who != theForger || f.to.IsZero() {
			continue
		}
		n++
		mended := j.refreshedAfter(f.from)
		if f.kind == forgedRecord {
			j.unusable = append(j.unusable, spell{from: f.from, to: mended.Add(hearBound)})
		}
		well, longest := f.to, time.Duration(0)
		for _, s := range within(trouble, f.to, mended) {
			longest = max(longest, s.from.Sub(well))
			well = s.to
		}
		longest = max(longest, mended.Sub(well))
		worst = max(worst, longest)
		if longest > forgedBound {
			j.v.breach("after %q at %s no new token was stored for %v with everything well", f.kind, clock(f.from), longest.Round(time.Millisecond))
		}
	}
	j.v.Figures["forged"] = float64(n)
	j.v.Figures["forged_worst_s"] = worst.Seconds()
}

// refreshedAfter returns when the store had a token that is newer than what it
// had before a moment; the end of the run if it never did.
func (j *judge) refreshedAfter(at time.Time) time.Time {
	i := sort.Search(len(j.samples), func(i int) bool { return j.samples[i].at.After(at) })
	var before uint64
	for k := i - 1; k >= 0 && before == 0; k-- {
		before = j.samples[k].gen
	}
	for ; i < len(j.samples); i++ {
		if j.samples[i].gen > before {
			return j.samples[i].at
		}
	}
	return j.end
}

// toldOfForgery reports whether a call ended with the error that the store's
// record cannot be used, while that was so.
func (j *judge) toldOfForgery(e ended) bool {
	return (e.err == "500 internal" || strings.Contains(e.err, "redis-cli del")) && slices.ContainsFunc(j.unusable, func(s spell) bool {
		return s.from.Before(e.to) && s.to.After(e.from)
	})
}
