package main

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// The bounds. Each begins when a process, its links and what it depends on all work;
// a disruption delays it by as long as it lasts.
const (
	// hearBound limits how long a process may return a token after the store has a
	// newer one: a hung subscription is detected within 1.5 s, the next connection
	// takes up to 0.5 s, the read up to 1 s on a busy machine.
	hearBound = 3 * time.Second
	// deadBound limits how long a token may be returned after it has become invalid
	// at the source, not counting reportDelay: the refresh may have to wait for a
	// lock, for the minimum interval and for a take-over.
	deadBound = hearBound + lockLife + minInterval + time.Second
	// restoreBound limits how long the store may lack a token that a refresher still
	// has. 1 s is promised; the rest is for a busy machine.
	restoreBound = 2 * time.Second
	// endBound is how long after its wait a call may end.
	endBound = 1500 * time.Millisecond
	// callBound is how long after the loss of Redis a call to the source may begin
	// that was announced before.
	callBound = lockLife + 500*time.Millisecond
)

// verdict is the result of the checks of a run.
type verdict struct {
	Violations []string           `json:"violations"`
	Figures    map[string]float64 `json:"figures"`
	Longest    []deadToken        `json:"longest_dead"` // the invalid tokens that were returned longest
}

// deadToken explains why an invalid token was returned for so long.
type deadToken struct {
	Seconds  float64 `json:"s"`     // from the moment it became invalid until it was last returned
	Well     float64 `json:"well"`  // of these without any disruption
	Piece    float64 `json:"piece"` // the longest uninterrupted part of these
	Who      string  `json:"who"`
	Cause    string  `json:"cause"` // why it became invalid
	InTheWay string  `json:"in_the_way"`
}

func (v *verdict) violation(format string, args ...any) {
	if len(v.Violations) < 50 {
		v.Violations = append(v.Violations, fmt.Sprintf(format, args...))
	}
}

// checker compares what the recorder has with the record of the simulated WeChat.
type checker struct {
	rec         *recorder
	issued      map[string]wechattest.Issue // by the token's SHA-256
	calls       []wechattest.Call           // of the fleet, not of the outsider
	blocked     map[string][]disruption     // merged, by process
	noRefresher []disruption                // all refreshers are disrupted
	samples     []sample
	unusable    []disruption // the record in the store is a forged one
	v           verdict
	end         time.Time
	reportDelay time.Duration // of the callers and workers
}

func (tb *testbed) check() *verdict {
	tb.recorder.mu.Lock()
	defer tb.recorder.mu.Unlock()
	ck := &checker{
		rec: tb.recorder, issued: make(map[string]wechattest.Issue), blocked: make(map[string][]disruption), samples: tb.recorder.samples, calls: tb.calls(),
		end: time.Now().Round(0), reportDelay: tb.reportDelay,
		v: verdict{Figures: make(map[string]float64)},
	}
	for _, i := range tb.wechat.Issued() {
		ck.issued[i.SHA256()] = i
	}
	ck.v.Violations = append(ck.v.Violations, tb.recorder.violations...)
	first := true
	for _, p := range tb.fleet {
		ck.blocked[p.name] = ck.merge(p.name, theStore, allLinks)
		switch {
		case p.refresh && first:
			ck.noRefresher, first = ck.merge(p.name), false
		case p.refresh:
			ck.noRefresher = intersection(ck.noRefresher, ck.merge(p.name))
		}
	}
	ck.blocked[""] = ck.merge(theStore, allLinks)
	ck.generations()
	ck.storeNeverBack()
	ck.hearing()
	ck.deadTokens()
	ck.forgeries()
	ck.waits()
	ck.absence()
	ck.restores()
	ck.secrets(tb)
	ck.v.Figures["calls"] = float64(len(ck.calls))
	ck.v.Figures["observations"] = float64(len(ck.rec.seen))
	ck.v.Figures["samples"] = float64(len(ck.samples))
	return &ck.v
}

// merge returns the disruptions of some processes or dependencies, with overlapping
// ones united.
func (ck *checker) merge(who ...string) []disruption {
	var all []disruption
	for _, s := range ck.rec.disruptions {
		if slices.Contains(who, s.who) {
			one := *s
			if one.to.IsZero() {
				one.to = ck.end
			}
			all = append(all, one)
		}
	}
	return union(all)
}

func union(all []disruption) []disruption {
	slices.SortFunc(all, func(a, b disruption) int { return a.from.Compare(b.from) })
	var out []disruption
	for _, s := range all {
		if n := len(out); n > 0 && !s.from.After(out[n-1].to) {
			if s.to.After(out[n-1].to) {
				out[n-1].to = s.to
			}
			if !strings.Contains(out[n-1].kind, s.kind) {
				out[n-1].kind += " + " + s.kind
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// intersection returns when there is a disruption in both lists, which are merged.
func intersection(a, b []disruption) []disruption {
	var out []disruption
	for len(a) > 0 && len(b) > 0 {
		from, to := a[0].from, a[0].to
		if b[0].from.After(from) {
			from = b[0].from
		}
		if b[0].to.Before(to) {
			to = b[0].to
		}
		if from.Before(to) {
			out = append(out, disruption{"", "no refresher works", from, to})
		}
		if a[0].to.Before(b[0].to) {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}

// wellSince returns the end of the last disruption before a moment, and false if one
// lasts at that moment.
func wellSince(spells []disruption, at time.Time) (since time.Time, well bool) {
	i := sort.Search(len(spells), func(i int) bool { return spells[i].from.After(at) })
	if i == 0 {
		return time.Time{}, true
	}
	s := spells[i-1]
	return s.to, at.After(s.to)
}

// generations checks that they never go back between two starts of a process.
func (ck *checker) generations() {
	type life struct {
		who  string
		life int
	}
	byLife := make(map[life][]observation)
	for _, o := range ck.rec.seen {
		k := life{o.who, o.life}
		byLife[k] = append(byLife[k], o)
	}
	for k, all := range byLife {
		// Each observation, in order of its begin, is compared with the newest
		// that had ended before it began.
		ends := slices.Clone(all)
		slices.SortFunc(all, func(a, b observation) int { return a.from.Compare(b.from) })
		slices.SortFunc(ends, func(a, b observation) int { return a.to.Compare(b.to) })
		var newest uint64
		e := 0
		for _, o := range all {
			for ; e < len(ends) && ends[e].to.Before(o.from); e++ {
				newest = max(newest, ends[e].gen)
			}
			if o.gen < newest {
				ck.v.violation("%s (life %d) went back from generation %d to %d at %s", k.who, k.life, newest, o.gen, clock(o.from))
				break
			}
		}
	}
	ck.v.Figures["lives"] = float64(len(byLife))
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }

// losses are the kinds of disruption in which the store may lose data.
var losses = []string{"planned failover", "master killed", "master paused", "minority", "flushall", "restarted empty"}

// storeNeverBack checks that only a loss of data takes the store's generation back.
func (ck *checker) storeNeverBack() {
	var lost []disruption
	for _, s := range ck.merge(theStore) {
		if slices.ContainsFunc(losses, func(kind string) bool { return strings.Contains(s.kind, kind) }) {
			s.to = s.to.Add(restoreBound)
			lost = append(lost, s)
		}
	}
	last := sample{}
	for _, s := range ck.samples {
		if s.gen != 0 && s.gen < last.gen {
			if _, well := wellSince(lost, s.at); well {
				ck.v.violation("the store went back from generation %d to %d at %s", last.gen, s.gen, clock(s.at))
			}
		}
		last = s
	}
}

// hearing checks that an undisrupted process returns the store's generation or a newer
// one.
func (ck *checker) hearing() {
	strict, worst := 0, time.Duration(0)
	for _, o := range ck.rec.seen {
		since, well := wellSince(ck.blocked[o.who], o.from)
		if !well {
			continue
		}
		until := o.from.Add(-hearBound)
		if until.After(since) {
			strict++
		}
		// The newest that the store had since the last disruption.
		i := sort.Search(len(ck.samples), func(i int) bool { return ck.samples[i].at.After(o.from) })
		for i--; i >= 0 && ck.samples[i].at.After(since); i-- {
			s := ck.samples[i]
			if s.gen == 0 || s.gen <= o.gen {
				if s.gen != 0 {
					break
				}
				continue
			}
			late := o.from.Sub(s.at)
			worst = max(worst, late)
			if late > hearBound {
				ck.v.violation("%s handed out generation %d at %s, %v after the store had %d", o.who, o.gen, clock(o.from), late, s.gen)
				break
			}
		}
	}
	ck.v.Figures["hearing_checked"] = float64(strict)
	ck.v.Figures["hearing_worst_s"] = worst.Seconds()
}

// deadTokens checks that no token is returned that was invalid for longer than the
// bound.
func (ck *checker) deadTokens() {
	source := ck.sourceDisruptions()
	trouble := union(slices.Concat(ck.blocked[""], source))
	strict, worst := 0, time.Duration(0)
	unknown := make(map[string]bool)
	last := make(map[string]observation) // by hash, of each invalid token
	for _, o := range ck.rec.seen {
		issue, known := ck.issued[o.hash]
		if !known {
			if !unknown[o.hash] {
				unknown[o.hash] = true
				ck.v.violation("%s handed out a token that was never issued (generation %d at %s)", o.who, o.gen, clock(o.from))
			}
			continue
		}
		if !o.from.After(issue.DiesAt) {
			strict++
			continue
		}
		dead := o.from.Sub(issue.DiesAt)
		if o.from.After(last[o.hash].from) {
			last[o.hash] = o
		}
		from := issue.DiesAt
		for _, spells := range [][]disruption{ck.blocked[o.who], trouble, ck.noRefresher} {
			since, well := wellSince(spells, o.from)
			if !well {
				since = o.from
			}
			if since.After(from) {
				from = since
			}
		}
		excess := o.from.Sub(from)
		worst = max(worst, excess)
		if excess > deadBound+ck.reportDelay {
			ck.v.violation("%s handed out a token at %s that was dead for %v (%s), %v of it with everything well",
				o.who, clock(o.from), dead.Round(time.Millisecond), issue.Cause, excess.Round(time.Millisecond))
		}
	}
	for _, o := range last {
		ck.v.Longest = append(ck.v.Longest, ck.explain(o, source))
	}
	slices.SortFunc(ck.v.Longest, func(a, b deadToken) int { return cmp.Compare(b.Seconds, a.Seconds) })
	ck.v.Longest = ck.v.Longest[:min(len(ck.v.Longest), 5)]
	ck.v.Figures["tokens_alive_when_given"] = float64(strict)
	ck.v.Figures["dead_unexcused_worst_s"] = worst.Seconds()
}

// explain lists the disruptions between the moment when a token became invalid and the
// last time it was returned, in seconds after that moment.
func (ck *checker) explain(o observation, source []disruption) deadToken {
	issue := ck.issued[o.hash]
	s := deadToken{Seconds: o.from.Sub(issue.DiesAt).Seconds(), Who: o.who, Cause: string(issue.Cause)}
	well := issue.DiesAt
	for _, one := range within(union(slices.Concat(ck.blocked[o.who], source, ck.noRefresher)), issue.DiesAt, o.from) {
		s.addWell(one.from.Sub(well))
		well = one.to
	}
	s.addWell(o.from.Sub(well))
	each := slices.Concat(source, ck.noRefresher)
	for _, one := range ck.rec.disruptions {
		if slices.Contains([]string{o.who, theStore, allLinks}, one.who) {
			each = append(each, *one)
		}
	}
	slices.SortFunc(each, func(a, b disruption) int { return a.from.Compare(b.from) })
	var parts []string
	for _, one := range within(each, issue.DiesAt, o.from) {
		parts = append(parts, fmt.Sprintf("%.1f-%.1f %s", one.from.Sub(issue.DiesAt).Seconds(), one.to.Sub(issue.DiesAt).Seconds(), one.kind))
	}
	s.InTheWay = strings.Join(parts, "; ")
	return s
}

// within returns the parts of disruptions between two moments.
func within(spells []disruption, from, to time.Time) []disruption {
	var out []disruption
	for _, one := range spells {
		if one.from.Before(from) {
			one.from = from
		}
		if one.to.IsZero() || one.to.After(to) {
			one.to = to
		}
		if one.from.Before(one.to) {
			out = append(out, one)
		}
	}
	return out
}

func (s *deadToken) addWell(d time.Duration) {
	s.Well += max(d, 0).Seconds()
	s.Piece = max(s.Piece, d.Seconds())
}

// sourceDisruptions returns when no token was available from the source: from a failed
// call until the end of the back-off, which doubles, and of a lock that the calling
// process may have left behind.
func (ck *checker) sourceDisruptions() []disruption {
	var out []disruption
	failed := 0
	for _, c := range ck.calls {
		if c.Minted && c.Delivered && c.Code == 0 && !c.Finished.IsZero() {
			failed = 0
			for i := range out {
				if out[i].to.After(c.Finished) {
					out[i].to = c.Finished
				}
			}
			continue
		}
		ended := c.Finished
		if ended.IsZero() {
			ended = c.Started.Add(fetchTimeout)
		}
		out = append(out, disruption{theSource, "source fails", c.Started, ended.Add(time.Second<<min(failed, 7) + lockLife)})
		failed++
	}
	return union(out)
}
