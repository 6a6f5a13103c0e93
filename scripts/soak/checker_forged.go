package main

import (
	"slices"
	"sort"
	"strings"
	"time"
)

// forgedBound limits how long after a forgery the next token may be stored: until the
// next scheduled refresh, the end of a lock and of the minimum interval.
const forgedBound = refreshEvery + lockLife + minInterval + hearBound

// forgeries checks that the account is refreshed in time after each forgery.
func (ck *checker) forgeries() {
	trouble := union(slices.Concat(ck.blocked[""], ck.sourceDisruptions(), ck.noRefresher))
	worst := time.Duration(0)
	n := 0
	for _, f := range ck.rec.disruptions {
		if f.who != theForger || f.to.IsZero() {
			continue
		}
		n++
		refreshed := ck.refreshedAfter(f.from)
		if f.kind == forgedRecord {
			ck.unusable = append(ck.unusable, disruption{from: f.from, to: refreshed.Add(hearBound)})
		}
		well, longest := f.to, time.Duration(0)
		for _, s := range within(trouble, f.to, refreshed) {
			longest = max(longest, s.from.Sub(well))
			well = s.to
		}
		longest = max(longest, refreshed.Sub(well))
		worst = max(worst, longest)
		if longest > forgedBound {
			ck.v.violation("after %q at %s no new token was stored for %v with everything well", f.kind, clock(f.from), longest.Round(time.Millisecond))
		}
	}
	ck.v.Figures["forged"] = float64(n)
	ck.v.Figures["forged_worst_s"] = worst.Seconds()
}

// refreshedAfter returns when the store first had a newer token than before a moment;
// the end of the run if it never had.
func (ck *checker) refreshedAfter(at time.Time) time.Time {
	i := sort.Search(len(ck.samples), func(i int) bool { return ck.samples[i].at.After(at) })
	var before uint64
	for k := i - 1; k >= 0 && before == 0; k-- {
		before = ck.samples[k].gen
	}
	for ; i < len(ck.samples); i++ {
		if ck.samples[i].gen > before {
			return ck.samples[i].at
		}
	}
	return ck.end
}

// toldOfForgery reports whether a call ended with the error that the record in the
// store is unusable while there was a forged record.
func (ck *checker) toldOfForgery(e ended) bool {
	return (e.err == "500 internal" || strings.Contains(e.err, "redis-cli del")) && slices.ContainsFunc(ck.unusable, func(s disruption) bool {
		return s.from.Before(e.to) && s.to.After(e.from)
	})
}
