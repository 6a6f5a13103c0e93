package main

import (
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// absence checks that no process calls the source while Redis is unreachable, except
// for calls that were announced before.
func (ck *checker) absence() {
	checked := 0.0
	for _, s := range ck.rec.disruptions {
		if s.who != noRedis || s.to.IsZero() || s.to.Sub(s.from) < callBound {
			continue
		}
		checked += (s.to.Sub(s.from) - callBound).Seconds()
		for _, c := range ck.calls {
			if c.Started.After(s.from.Add(callBound)) && c.Started.Before(s.to) {
				ck.v.violation("a call to the source at %s, %v after Redis went away (%s)", clock(c.Started), c.Started.Sub(s.from), s.kind)
			}
		}
	}
	ck.v.Figures["away_checked_s"] = checked
}

// restores checks that a token that the store lost is restored in time if a process
// still had it.
func (ck *checker) restores() {
	var took []float64
	for _, s := range ck.rec.disruptions {
		if s.who != theStore || s.to.IsZero() || !strings.Contains(s.kind, "flushall") && !strings.Contains(s.kind, "restarted empty") {
			continue
		}
		if !ck.calmAround(s) {
			continue
		}
		i := sort.Search(len(ck.samples), func(i int) bool { return ck.samples[i].at.After(s.to) })
		for ; i < len(ck.samples) && ck.samples[i].gen == 0; i++ {
		}
		if i == len(ck.samples) {
			continue
		}
		// A newer attempt forbids the restore: it may have invalidated the token.
		if slices.ContainsFunc(ck.calls, func(c wechattest.Call) bool {
			return c.Started.After(s.from.Add(-time.Second)) && c.Started.Before(ck.samples[i].at)
		}) {
			continue
		}
		d := ck.samples[i].at.Sub(s.to)
		took = append(took, d.Seconds())
		if d > restoreBound {
			ck.v.violation("after %q at %s the store had no token for %v", s.kind, clock(s.from), d)
		}
	}
	ck.v.Figures["restores_measured"] = float64(len(took))
	if len(took) > 0 {
		slices.Sort(took)
		ck.v.Figures["restore_median_s"], ck.v.Figures["restore_worst_s"] = took[len(took)/2], took[len(took)-1]
	}
}

// calmAround reports whether any refresher and its links worked from before a
// disruption until the bound after it.
func (ck *checker) calmAround(s *disruption) bool {
	from, to := s.from.Add(-hearBound), s.to.Add(restoreBound+time.Second)
	for _, other := range ck.rec.disruptions {
		if other != s && slices.Contains([]string{theStore, allLinks, theForger}, other.who) && other.from.Before(to) && (other.to.IsZero() || other.to.After(from)) {
			return false
		}
	}
	for _, name := range slices.Sorted(maps.Keys(ck.blocked)) {
		if !strings.HasPrefix(name, "serve") && !strings.HasPrefix(name, "linked") {
			continue
		}
		busy := slices.ContainsFunc(ck.rec.disruptions, func(other *disruption) bool {
			return other.who == name && other.from.Before(to) && (other.to.IsZero() || other.to.After(from))
		})
		if !busy {
			return true
		}
	}
	return false
}

// secrets checks that no process has logged a token or a secret.
func (ck *checker) secrets(tb *testbed) {
	for _, p := range tb.fleet {
		said := p.output()
		if strings.Contains(said, wechattest.DefaultSecret) {
			ck.v.violation("%s has written the secret to its log", p.name)
		}
		for _, i := range ck.issued {
			if strings.Contains(said, i.Token) {
				ck.v.violation("%s has written a token to its log", p.name)
				break
			}
		}
	}
}
