package main

import "time"

// waits checks that every call ends in time, with a token or an expected error.
func (ck *checker) waits() {
	var worst time.Duration
	n := 0
	for _, e := range ck.rec.calls {
		if e.wrong && !ck.toldOfForgery(e) {
			ck.v.violation("%s: %s at %s ended with %q", e.who, e.op, clock(e.from), e.err)
		}
		if ck.notRunning(e) {
			continue
		}
		n++
		late := e.to.Sub(e.from) - e.within
		worst = max(worst, late)
		if late > endBound {
			ck.v.violation("%s: %s at %s took %v, it was to wait %v (%s)", e.who, e.op, clock(e.from), e.to.Sub(e.from), e.within, e.err)
		}
	}
	ck.v.Figures["waits"] = float64(n)
	ck.v.Figures["waits_late_worst_s"] = worst.Seconds()
}

// notRunning reports whether the process was paused or killed during a call. The loss
// of what it depends on does not count.
func (ck *checker) notRunning(e ended) bool {
	for _, s := range ck.rec.disruptions {
		if s.who == e.who && (s.kind == "paused" || s.kind == "killed") && s.from.Before(e.to) && (s.to.IsZero() || s.to.After(e.from)) {
			return true
		}
	}
	return false
}
