package main

import (
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// absence: while nobody can reach Redis nobody calls the source, but for what
// was announced before.
func (j *judge) absence() {
	checked := 0.0
	for _, s := range j.l.spells {
		if s.who != away || s.to.IsZero() || s.to.Sub(s.from) < callBound {
			continue
		}
		checked += (s.to.Sub(s.from) - callBound).Seconds()
		for _, c := range j.calls {
			if c.Started.After(s.from.Add(callBound)) && c.Started.Before(s.to) {
				j.v.breach("a call to the source at %s, %v after Redis went away (%s)", clock(c.Started), c.Started.Sub(s.from), s.kind)
			}
		}
	}
	j.v.Figures["away_checked_s"] = checked
}

// restores: what the store lost is back soon, if somebody still had it.
func (j *judge) restores() {
	var took []float64
	for _, s := range j.l.spells {
		if s.who != theStore || s.to.IsZero() || !strings.Contains(s.kind, "flushall") && !strings.Contains(s.kind, "restarted empty") {
			continue
		}
		if !j.calmAround(s) {
			continue
		}
		i := sort.Search(len(j.samples), func(i int) bool { return j.samples[i].at.After(s.to) })
		for ; i < len(j.samples) && j.samples[i].gen == 0; i++ {
		}
		if i == len(j.samples) {
			continue
		}
		// A newer attempt forbids the restore: the token may be dead by it.
		if slices.ContainsFunc(j.calls, func(c wechattest.Call) bool {
			return c.Started.After(s.from.Add(-time.Second)) && c.Started.Before(j.samples[i].at)
		}) {
			continue
		}
		d := j.samples[i].at.Sub(s.to)
		took = append(took, d.Seconds())
		if d > restoreBound {
			j.v.breach("after %q at %s the store had no token for %v", s.kind, clock(s.from), d)
		}
	}
	j.v.Figures["restores_measured"] = float64(len(took))
	if len(took) > 0 {
		slices.Sort(took)
		j.v.Figures["restore_median_s"], j.v.Figures["restore_worst_s"] = took[len(took)/2], took[len(took)-1]
	}
}

// calmAround reports whether some refresher, with all its links, was well from
// before a spell until the bound after it.
func (j *judge) calmAround(s *spell) bool {
	from, to := s.from.Add(-hearBound), s.to.Add(restoreBound+time.Second)
	for _, other := range j.l.spells {
		if other != s && slices.Contains([]string{theStore, everybody, theForger}, other.who) && other.from.Before(to) && (other.to.IsZero() || other.to.After(from)) {
			return false
		}
	}
	for _, name := range slices.Sorted(maps.Keys(j.blocked)) {
		if !strings.HasPrefix(name, "serve") && !strings.HasPrefix(name, "linked") {
			continue
		}
		busy := slices.ContainsFunc(j.l.spells, func(other *spell) bool {
			return other.who == name && other.from.Before(to) && (other.to.IsZero() || other.to.After(from))
		})
		if !busy {
			return true
		}
	}
	return false
}

// secrets: no process says a token or a secret.
func (j *judge) secrets(w *world) {
	for _, p := range w.fleet {
		said := p.said()
		if strings.Contains(said, wechattest.DefaultSecret) {
			j.v.breach("%s has written the secret to its log", p.name)
		}
		for _, i := range j.issued {
			if strings.Contains(said, i.Token) {
				j.v.breach("%s has written a token to its log", p.name)
				break
			}
		}
	}
}
