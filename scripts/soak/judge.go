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

// The bounds. They begin when a process, its links and what it depends on are
// all well; whatever is not delays them by as long as it lasts.
const (
	// hearBound is how old what a process hands out may be: a subscription
	// that hangs is noticed within 1.25 s, the next connection takes up to
	// 0.5 s more, the reading up to 1 s on a busy machine.
	hearBound = 3 * time.Second
	// deadBound is for how long a token may be handed out that is dead at the
	// source: it is reported (patience is added), and the refresh may have to
	// wait for a lock, for the minimum interval, and for a take-over.
	deadBound = hearBound + lockLife + minInterval + time.Second
	// restoreBound is how long the store may stay without a token that a
	// refresher still has: 1 s is promised, the rest is the machine's.
	restoreBound = 2 * time.Second
	// endBound is how much later than its wait a call may end.
	endBound = 1500 * time.Millisecond
	// callBound is how long after Redis went away a call may begin that was
	// announced before.
	callBound = lockLife + 500*time.Millisecond
)

// verdict is what the judge makes of a run.
type verdict struct {
	Violations []string           `json:"violations"`
	Figures    map[string]float64 `json:"figures"`
	Longest    []story            `json:"longest_dead"` // the dead tokens that were handed out longest
}

// story is how a dead token came to be handed out for so long.
type story struct {
	Seconds  float64 `json:"s"`     // from its death until it was last handed out
	Well     float64 `json:"well"`  // of them with nothing in the way
	Piece    float64 `json:"piece"` // the longest of these at a stretch
	Who      string  `json:"who"`
	Cause    string  `json:"cause"` // of its death
	InTheWay string  `json:"in_the_way"`
}

func (v *verdict) breach(format string, args ...any) {
	if len(v.Violations) < 50 {
		v.Violations = append(v.Violations, fmt.Sprintf(format, args...))
	}
}

// judge holds what happened against the truth.
type judge struct {
	l        *ledger
	issued   map[string]wechattest.Issue // by the token's SHA-256
	calls    []wechattest.Call           // ours, not the outsider's
	blocked  map[string][]spell          // merged, by process
	nobody   []spell                     // no refresher is well
	samples  []sample
	unusable []spell // the record in the store is forged
	v        verdict
	end      time.Time
	slack    time.Duration // patience of those who report
}

func (w *world) judge() *verdict {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	j := &judge{
		l: w.ledger, issued: make(map[string]wechattest.Issue), blocked: make(map[string][]spell), samples: w.ledger.samples, calls: w.calls(),
		end: time.Now().Round(0), slack: w.patience,
		v: verdict{Figures: make(map[string]float64)},
	}
	for _, i := range w.wechat.Issued() {
		j.issued[i.SHA256()] = i
	}
	j.v.Violations = append(j.v.Violations, w.ledger.notes...)
	first := true
	for _, p := range w.fleet {
		j.blocked[p.name] = j.merge(p.name, theStore, everybody)
		switch {
		case p.refresh && first:
			j.nobody, first = j.merge(p.name), false
		case p.refresh:
			j.nobody = intersection(j.nobody, j.merge(p.name))
		}
	}
	j.blocked[""] = j.merge(theStore, everybody)
	j.generations()
	j.storeNeverBack()
	j.hearing()
	j.deadTokens()
	j.forgeries()
	j.waits()
	j.absence()
	j.restores()
	j.secrets(w)
	j.v.Figures["calls"] = float64(len(j.calls))
	j.v.Figures["observations"] = float64(len(j.l.seen))
	j.v.Figures["samples"] = float64(len(j.samples))
	return &j.v
}

// merge returns the spells of some, overlapping ones made one.
func (j *judge) merge(who ...string) []spell {
	var all []spell
	for _, s := range j.l.spells {
		if slices.Contains(who, s.who) {
			one := *s
			if one.to.IsZero() {
				one.to = j.end
			}
			all = append(all, one)
		}
	}
	return union(all)
}

func union(all []spell) []spell {
	slices.SortFunc(all, func(a, b spell) int { return a.from.Compare(b.from) })
	var out []spell
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

// intersection returns when spells of both last. Both are merged.
func intersection(a, b []spell) []spell {
	var out []spell
	for len(a) > 0 && len(b) > 0 {
		from, to := a[0].from, a[0].to
		if b[0].from.After(from) {
			from = b[0].from
		}
		if b[0].to.Before(to) {
			to = b[0].to
		}
		if from.Before(to) {
			out = append(out, spell{"", "no refresher is well", from, to})
		}
		if a[0].to.Before(b[0].to) {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}

// wellSince returns since when there was no spell at a moment; false if there
// is one then.
func wellSince(spells []spell, at time.Time) (since time.Time, last string, well bool) {
	i := sort.Search(len(spells), func(i int) bool { return spells[i].from.After(at) })
	if i == 0 {
		return time.Time{}, "", true
	}
	s := spells[i-1]
	return s.to, s.kind, at.After(s.to)
}

// generations: in one life of a process they never go back.
func (j *judge) generations() {
	type life struct {
		who  string
		life int
	}
	byLife := make(map[life][]observation)
	for _, o := range j.l.seen {
		k := life{o.who, o.life}
		byLife[k] = append(byLife[k], o)
	}
	for k, all := range byLife {
		// What was surely given before must not be newer: ordered by the
		// beginning, compared with the newest that had ended by then.
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
				j.v.breach("%s (life %d) went back from generation %d to %d at %s", k.who, k.life, newest, o.gen, clock(o.from))
				break
			}
		}
	}
	j.v.Figures["lives"] = float64(len(byLife))
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }

// losses are the spells in which the store may lose what it had.
var losses = []string{"planned failover", "master killed", "master paused", "minority", "flushall", "restarted empty"}

// storeNeverBack: nothing but a loss of data takes a generation back.
func (j *judge) storeNeverBack() {
	var lost []spell
	for _, s := range j.merge(theStore) {
		if slices.ContainsFunc(losses, func(kind string) bool { return strings.Contains(s.kind, kind) }) {
			s.to = s.to.Add(restoreBound)
			lost = append(lost, s)
		}
	}
	last := sample{}
	for _, s := range j.samples {
		if s.gen != 0 && s.gen < last.gen {
			if _, _, well := wellSince(lost, s.at); well {
				j.v.breach("the store went back from generation %d to %d at %s", last.gen, s.gen, clock(s.at))
			}
		}
		last = s
	}
}

// hearing: a process that is well hands out what the store has, or newer.
func (j *judge) hearing() {
	strict, worst := 0, time.Duration(0)
	for _, o := range j.l.seen {
		since, _, well := wellSince(j.blocked[o.who], o.from)
		if !well {
			continue
		}
		until := o.from.Add(-hearBound)
		if until.After(since) {
			strict++
		}
		// The newest that the store had while all was well.
		i := sort.Search(len(j.samples), func(i int) bool { return j.samples[i].at.After(o.from) })
		for i--; i >= 0 && j.samples[i].at.After(since); i-- {
			s := j.samples[i]
			if s.gen == 0 || s.gen <= o.gen {
				if s.gen != 0 {
					break
				}
				continue
			}
			late := o.from.Sub(s.at)
			worst = max(worst, late)
			if late > hearBound {
				j.v.breach("%s handed out generation %d at %s, %v after the store had %d", o.who, o.gen, clock(o.from), late, s.gen)
				break
			}
		}
	}
	j.v.Figures["hearing_checked"] = float64(strict)
	j.v.Figures["hearing_worst_s"] = worst.Seconds()
}

// deadTokens: nobody is given a token that was dead for longer than the bound.
func (j *judge) deadTokens() {
	source := j.sourceSpells()
	trouble := union(slices.Concat(j.blocked[""], source))
	strict, worst := 0, time.Duration(0)
	unknown := make(map[string]bool)
	last := make(map[string]observation) // of each token that was dead
	for _, o := range j.l.seen {
		issue, known := j.issued[o.hash]
		if !known {
			if !unknown[o.hash] {
				unknown[o.hash] = true
				j.v.breach("%s handed out a token that was never issued (generation %d at %s)", o.who, o.gen, clock(o.from))
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
		for _, spells := range [][]spell{j.blocked[o.who], trouble, j.nobody} {
			since, _, well := wellSince(spells, o.from)
			if !well {
				since = o.from
			}
			if since.After(from) {
				from = since
			}
		}
		excess := o.from.Sub(from)
		worst = max(worst, excess)
		if excess > deadBound+j.slack {
			j.v.breach("%s handed out a token at %s that was dead for %v (%s), %v of it with everything well",
				o.who, clock(o.from), dead.Round(time.Millisecond), issue.Cause, excess.Round(time.Millisecond))
		}
	}
	for _, o := range last {
		j.v.Longest = append(j.v.Longest, j.tell(o, source))
	}
	slices.SortFunc(j.v.Longest, func(a, b story) int { return cmp.Compare(b.Seconds, a.Seconds) })
	j.v.Longest = j.v.Longest[:min(len(j.v.Longest), 5)]
	j.v.Figures["tokens_alive_when_given"] = float64(strict)
	j.v.Figures["dead_unexcused_worst_s"] = worst.Seconds()
}

// tell says what stood in the way between a token's death and the last time it
// was handed out, in seconds after the death.
func (j *judge) tell(o observation, source []spell) story {
	issue := j.issued[o.hash]
	s := story{Seconds: o.from.Sub(issue.DiesAt).Seconds(), Who: o.who, Cause: string(issue.Cause)}
	well := issue.DiesAt
	for _, one := range within(union(slices.Concat(j.blocked[o.who], source, j.nobody)), issue.DiesAt, o.from) {
		s.rest(one.from.Sub(well))
		well = one.to
	}
	s.rest(o.from.Sub(well))
	each := slices.Concat(source, j.nobody)
	for _, one := range j.l.spells {
		if slices.Contains([]string{o.who, theStore, everybody}, one.who) {
			each = append(each, *one)
		}
	}
	slices.SortFunc(each, func(a, b spell) int { return a.from.Compare(b.from) })
	var parts []string
	for _, one := range within(each, issue.DiesAt, o.from) {
		parts = append(parts, fmt.Sprintf("%.1f-%.1f %s", one.from.Sub(issue.DiesAt).Seconds(), one.to.Sub(issue.DiesAt).Seconds(), one.kind))
	}
	s.InTheWay = strings.Join(parts, "; ")
	return s
}

// within returns the parts of spells between two moments.
func within(spells []spell, from, to time.Time) []spell {
	var out []spell
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

func (s *story) rest(d time.Duration) {
	s.Well += max(d, 0).Seconds()
	s.Piece = max(s.Piece, d.Seconds())
}

// sourceSpells are the times in which nothing was to be had from the source: a
// call that brought nothing, and after it the back-off, which doubles, and a lock
// that its process may have left behind. Whoever has not asked again by then is to
// blame himself.
func (j *judge) sourceSpells() []spell {
	var out []spell
	failed := 0
	for _, c := range j.calls {
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
		out = append(out, spell{theSource, "source fails", c.Started, ended.Add(time.Second<<min(failed, 7) + lockLife)})
		failed++
	}
	return union(out)
}
