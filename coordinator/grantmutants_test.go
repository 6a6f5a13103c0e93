//go:build !race

package coordinator_test

import (
	"slices"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Each of these breaks one rule of the design, and the simulation must notice. It takes
// minutes with the race detector, which finds nothing here that the simulation does not.

// grantMutant is a broken rule.
type grantMutant struct {
	kind   string
	breaks func(s *grantFleet)
	stress func(s *grantSim) // nil: the usual faults show it
}

// storing changes what each process saves.
func storing(change func(before, g coordinator.Grant) (coordinator.Grant, bool)) func(*grantFleet) {
	return func(f *grantFleet) { f.rules = func(s *gatedStore) { s.saving = change } }
}

// brought returns the fence of the token that g has and before has not.
func brought(before, g coordinator.Grant) coordinator.Fence {
	for _, t := range g.Tokens {
		if !slices.ContainsFunc(before.Tokens, func(u coordinator.GrantToken) bool { return u.Fence == t.Fence }) && g.Consent == before.Consent {
			return t.Fence
		}
	}
	return 0
}

// without returns g without the token that an answer has brought.
func without(g coordinator.Grant, fence coordinator.Fence) coordinator.Grant {
	g.Tokens = slices.DeleteFunc(slices.Clone(g.Tokens), func(t coordinator.GrantToken) bool { return t.Fence == fence && fence != 0 })
	return g
}

var grantMutants = map[string]grantMutant{
	"the fence rule decides about an answer": {"window, siblings", storing(func(before, g coordinator.Grant) (coordinator.Grant, bool) {
		fence := brought(before, g)
		if slices.ContainsFunc(before.Presentations, func(p coordinator.Presentation) bool { return p.Fence > fence }) {
			g = without(g, fence)
		}
		return g, true
	}), nil},
	"an answer is kept only in the place of its parent": {"window, siblings", storing(func(before, g coordinator.Grant) (coordinator.Grant, bool) {
		if len(g.Tokens) > len(before.Tokens) {
			g = without(g, brought(before, g))
		}
		return g, true
	}), nil},
	"siblings are dropped": {"window, siblings", storing(func(_, g coordinator.Grant) (coordinator.Grant, bool) {
		g.Tokens = g.Tokens[max(0, len(g.Tokens)-1):]
		return g, true
	}), nil},
	"the mark is not written": {"never", func(f *grantFleet) {
		f.copy.deaf = true
		storing(func(before, g coordinator.Grant) (coordinator.Grant, bool) {
			if len(g.Presentations) > len(before.Presentations) {
				g.Presentations = before.Presentations
			}
			return g, true
		})(f)
	}, nil},
	"a mark is withdrawn with all others": {"window, same", storing(func(before, g coordinator.Grant) (coordinator.Grant, bool) {
		if len(g.Presentations) < len(before.Presentations) {
			g.Presentations = nil
		}
		return g, true
	}), func(s *grantSim) {
		busy := grantFault{kind: coordinator.FailedBusy}
		s.issuer.fault(grantFault{answerLost: true}, busy, busy, busy, busy, busy, busy)
	}},
	"a last resort is tried twice": {"never", storing(func(_, g coordinator.Grant) (coordinator.Grant, bool) {
		g.Tokens = slices.Clone(g.Tokens)
		for i := range g.Tokens {
			g.Tokens[i].Probed = false
		}
		return g, true
	}), nil},
	"an unconfirmed mark is good enough": {"never", func(f *grantFleet) {
		f.rules = func(s *gatedStore) { s.hasty = true }
		f.copy.deaf = true
	}, nil},
	"nothing is spooled": {"never", func(f *grantFleet) { f.lossy = true }, nil},
	"a request is sent after its deadline": {"never", func(f *grantFleet) { f.issuer.careless = true }, func(s *grantSim) {
		s.any().gate.standAt("send", 3*time.Minute+s.upTo(2*time.Minute))
	}},
	"a token is sent again after its window": {"window, short", func(f *grantFleet) { f.issuer.careless = true }, func(s *grantSim) {
		s.issuer.fault(grantFault{answerLost: true})
		s.any().gate.standAt("send", 8*time.Second+s.upTo(10*time.Second))
	}},
	"the window is thought to be longer": {"window, same", func(f *grantFleet) { f.issuer.claims.Replay = 3 * simWindow }, func(s *grantSim) {
		s.issuer.fault(grantFault{answerLost: true}, grantFault{requestLost: true}, grantFault{requestLost: true}, grantFault{hangs: true})
	}},
	"a store that has lost writes is believed": {"never", func(f *grantFleet) {
		f.copy.deaf = true
		f.rules = func(s *gatedStore) {
			s.loses = true
			s.reading = func(r coordinator.GrantReading) coordinator.GrantReading {
				r.SettledIn = 0
				return r
			}
		}
	}, nil},
}

func TestTheSimulationOfGrantsNoticesEachBrokenRule(t *testing.T) {
	for name, m := range grantMutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kind := grantKinds[m.kind]
			const seeds, days = 3, 20
			for seed := range uint64(seeds) {
				found := false
				grantBubble(t, kind.rules, func(t *testing.T, f *grantFleet) {
					m.breaks(f)
					s := newGrantSim(f, kind, seed)
					s.stress = m.stress
					s.run(days * 24 * time.Hour)
					if found = len(s.violations) > 0; found {
						t.Logf("seed %d, after %v: %s", seed, time.Since(grantEpoch2000).Round(time.Hour), s.violations[0])
					}
				})
				if found {
					return
				}
			}
			t.Errorf("not noticed in %d times %d days", seeds, days)
		})
	}
}

// grantEpoch2000 is when the time of a bubble begins.
var grantEpoch2000 = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
