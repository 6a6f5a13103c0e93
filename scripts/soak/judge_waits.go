package main

import "time"

// waits: every call ends in time, with an answer that is one.
func (j *judge) waits() {
	var worst time.Duration
	n := 0
	for _, e := range j.l.calls {
		if e.wrong && !j.toldOfForgery(e) {
			j.v.breach("%s: %s at %s ended with %q", e.who, e.op, clock(e.from), e.err)
		}
		if j.halted(e) {
			continue
		}
		n++
		late := e.to.Sub(e.from) - e.within
		worst = max(worst, late)
		if late > endBound {
			j.v.breach("%s: %s at %s took %v, it was to wait %v (%s)", e.who, e.op, clock(e.from), e.to.Sub(e.from), e.within, e.err)
		}
	}
	j.v.Figures["waits"] = float64(n)
	j.v.Figures["waits_late_worst_s"] = worst.Seconds()
}

// halted reports whether the process did not run at some time of a call. What
// it depends on is no excuse.
func (j *judge) halted(e ended) bool {
	for _, s := range j.l.spells {
		if s.who == e.who && (s.kind == "paused" || s.kind == "killed") && s.from.Before(e.to) && (s.to.IsZero() || s.to.After(e.from)) {
			return true
		}
	}
	return false
}
