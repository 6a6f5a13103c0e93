package coordinator_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// A month of heavy faults for each kind of issuer, in virtual time. What must hold is
// checked all the while; grantmutants_test.go breaks the rules one by one and has it fail.

// grantKind is a kind of issuer.
type grantKind struct {
	rules    coordinator.GrantRules
	siblings bool
}

// The window is shorter than the last part of a token's life, so that it is missed, too.
const simWindow = 2 * time.Minute

var grantKinds = map[string]grantKind{
	"free":             {rules: freeRules},
	"window, siblings": {rules: coordinator.GrantRules{Needed: true, Replay: simWindow}, siblings: true},
	"window, same":     {rules: coordinator.GrantRules{Needed: true, Replay: simWindow}},
	"window, short":    {rules: coordinator.GrantRules{Needed: true, Replay: 10 * time.Second}},
	"never":            {rules: neverRules},
}

func TestGrantsSurviveAMonthOfHeavyFaults(t *testing.T) {
	for name, kind := range grantKinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			grantBubble(t, kind.rules, func(t *testing.T, f *grantFleet) {
				s := newGrantSim(f, kind, 1)
				s.run(simDays * 24 * time.Hour)
				for _, v := range s.violations {
					t.Errorf("%s\n%s", v, f.log)
				}
				t.Logf("%d sent, %d consents, %d of them because the grant was dead, %d settled in doubt", len(f.issuer.sent()), s.consents, s.dead, s.doubts)
				if name == "free" && s.dead > 0 {
					t.Errorf("a grant that is never used up was dead %d times", s.dead)
				}
			})
		})
	}
}

type grantSim struct {
	*grantFleet
	kind       grantKind
	rand       *rand.Rand
	calls      *rand.Rand // guarded by the issuer's lock
	slots      []*grantProcess
	disks      []*memSpool
	violations []string

	stress                 func(s *grantSim) // makes the faults more often that a test is about
	consents, dead, doubts int
}

func newGrantSim(f *grantFleet, kind grantKind, seed uint64) *grantSim {
	s := &grantSim{grantFleet: f, kind: kind, rand: rand.New(rand.NewPCG(seed, 0)), calls: rand.New(rand.NewPCG(seed, 1))} // #nosec G404 -- a simulation
	f.issuer.siblings, f.issuer.life = kind.siblings, 30*time.Minute
	f.issuer.faults = s.callFault
	for range 3 {
		s.disks = append(s.disks, new(memSpool))
		s.slots = append(s.slots, s.process(len(s.slots)))
	}
	s.consent()
	return s
}

func (s *grantSim) process(slot int) *grantProcess {
	return s.startWith(s.disks[slot], func(cfg *coordinator.Config) { cfg.ProbeEvery, cfg.PollEvery = 4*time.Minute, 4*time.Minute })
}

func (s *grantSim) chance(of int) bool { return s.rand.IntN(of) == 0 }

func (s *grantSim) upTo(d time.Duration) time.Duration { return time.Duration(s.rand.Int64N(int64(d))) }

func (s *grantSim) any() *grantProcess { return s.slots[s.rand.IntN(len(s.slots))] }

// run makes faults for so long. It ends at the first violation.
func (s *grantSim) run(d time.Duration) {
	end := time.Now().Add(d)
	for calm := time.Now().Add(6 * time.Hour); time.Now().Before(end) && len(s.violations) == 0; {
		time.Sleep(s.upTo(20 * time.Minute))
		s.restart()
		s.disturb()
		if time.Now().After(calm) {
			s.settle()
			calm = time.Now().Add(6 * time.Hour)
		}
	}
	s.settle()
}

// restart starts what has died, mostly.
func (s *grantSim) restart() {
	for i, p := range s.slots {
		if p.gate.isDead() && !s.chance(4) {
			p.stop()
			s.slots[i] = s.process(i)
		}
	}
}

var (
	gateOps = []string{
		"load", "lock", "begin", "load grant", "save grant", "copy", "send", "spool", "commit", "unspool", "fail", "unlock", "extend",
		"restore grant", "read copy", "read spool",
	}
	storeOps = []memstore.Op{
		memstore.OpLoad, memstore.OpLock, memstore.OpBegin, memstore.OpLoadGrant, memstore.OpSaveGrant, memstore.OpCommit, memstore.OpFail,
		memstore.OpRestoreGrant, memstore.OpExtend,
	}
)

// disturb makes one fault, or several.
func (s *grantSim) disturb() {
	p := s.any()
	op := gateOps[s.rand.IntN(len(gateOps))]
	switch s.rand.IntN(12) {
	case 0:
		p.gate.dieBefore(op)
	case 1:
		p.gate.dieAfter(op)
	case 2, 3:
		p.gate.standAt(op, s.upTo(5*time.Minute))
	case 4:
		p.link.LoseAnswers(storeOps[s.rand.IntN(len(storeOps))], 1+s.rand.IntN(3))
	case 5:
		p.link.FailNext(storeOps[s.rand.IntN(len(storeOps))], 1+s.rand.IntN(3))
	case 6:
		s.store.Unconfirm(1 + s.rand.IntN(8))
	case 7:
		s.lose(p, op)
	case 8:
		p.link.SetDown(true)
		time.Sleep(s.upTo(4 * time.Minute))
		p.link.SetDown(false)
	case 9:
		p.gate.at(op, func() { s.store.StealLock(account) })
	case 10:
		go func() { // ends with its ctx, which the test outlives by far
			ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
			defer cancel()
			_, _ = p.Refresh(ctx)
		}()
	case 11:
		if s.chance(40) {
			s.consent()
		}
	}
	if s.stress != nil && s.chance(2) {
		s.stress(s)
	}
	if s.chance(3) {
		s.disturb()
	}
}

// lose has the store lose something when a process comes to op.
func (s *grantSim) lose(p *grantProcess, op string) {
	n := 1 + s.rand.IntN(3)
	switch s.rand.IntN(4) {
	case 0:
		p.gate.at(op, func() { s.store.Flush() })
	case 1:
		p.gate.at(op, func() { s.store.ChangeServer() })
	case 2:
		p.gate.at(op, func() { s.store.LoseGrantWrites(account, n) })
	case 3:
		s.store.SetDown(true)
		time.Sleep(s.upTo(10 * time.Minute))
		s.store.LoseGrantWrites(account, n)
		s.store.SetDown(false)
	}
}

// callFault is what becomes of a call. The issuer's lock is held.
func (s *grantSim) callFault() grantFault {
	fault := grantFault{latency: time.Duration(s.calls.Int64N(int64(2 * time.Second)))}
	switch s.calls.IntN(40) {
	case 0:
		fault.requestLost = true
	case 1:
		fault.answerLost = true
	case 2:
		fault.hangs = true
	case 3, 4:
		fault.kind = coordinator.FailedBusy
	case 5:
		fault.kind = coordinator.FailedLater
	case 6:
		fault.latency *= 20
	}
	return fault
}

// consent is a person's, or an event of the issuer's, until it is confirmed.
func (s *grantSim) consent() {
	token := s.issuer.consent()
	s.consents++
	for {
		ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
		err := s.any().Consent(ctx, coordinator.Consent{Token: token})
		cancel()
		if err == nil || !s.issuer.unused(token.Reveal()) { // it was stored, and presented since
			return
		}
		time.Sleep(time.Second)
		s.restart()
	}
}

// settle ends all faults, gives everybody time, and checks what must hold.
func (s *grantSim) settle() {
	s.mend()
	time.Sleep(10 * time.Minute)
	s.check()
	s.diskFails()
	s.mend()
	s.issuer.mu.Lock()
	s.issuer.faults = s.callFault
	s.issuer.mu.Unlock()
	switch s.condition() {
	case coordinator.GrantDead, coordinator.GrantNone:
		s.dead++
		s.consent()
	case coordinator.GrantDoubt:
		s.doubts++
	}
}

func (s *grantSim) violated(format string, args ...any) {
	s.violations = append(s.violations, fmt.Sprintf("%v: ", time.Now().UTC())+fmt.Sprintf(format, args...))
}

// diskFails has the copy, or the spool, of the only process that is left fail at any of
// its calls, for longer than an access token lives, and checks that the store is enough.
func (s *grantSim) diskFails() {
	p := s.any()
	for _, q := range s.slots {
		if q != p {
			q.gate.die()
		}
	}
	faults := slices.Sorted(maps.Keys(copyFaults))
	fault := copyFaults[faults[s.rand.IntN(len(faults))]]
	fails := func() { s.copy.set(func() { fault(s.copy) }) }
	if s.chance(3) {
		fails = func() { p.disk.lock(true) }
	}
	p.gate.at(gateOps[s.rand.IntN(len(gateOps))], fails)
	time.Sleep(time.Hour)
	for s.issuer.sentWithin(10 * time.Second) { // a copy that hangs is waited for before the answer is stored
		time.Sleep(10 * time.Second)
	}
	s.checkStored()
}

// mend ends all faults.
func (s *grantSim) mend() {
	s.store.SetDown(false)
	s.store.Unconfirm(0)
	s.copy.works()
	s.issuer.mu.Lock()
	s.issuer.faults = nil
	s.issuer.mu.Unlock()
	for i, p := range s.slots {
		p.link.SetDown(false)
		p.gate.set(func() { p.gate.dieAt, p.gate.stands, p.gate.hook = "", "", nil })
		p.disk.lock(false)
		if p.gate.isDead() {
			p.stop()
			s.slots[i] = s.process(i)
		}
	}
}

// check is what must hold when nothing is under way.
func (s *grantSim) check() {
	s.checkStored()
	for _, disk := range s.disks {
		if n := disk.len(); n > 0 {
			s.violated("%d answers are left in a spool", n)
		}
	}
}

// checkStored is what must hold also while copy and spools fail.
func (s *grantSim) checkStored() {
	g, condition := s.store.PeekGrant(account), s.condition()
	s.checkSent()
	inRecord := make(map[string]bool)
	for _, token := range g.Tokens {
		name := token.Token.Reveal()
		inRecord[name] = true
		switch unused := s.issuer.unused(name); {
		case !s.issuer.ofFamily(name):
			s.violated("the record has %s, of an earlier consent", name)
		case token.Refused && unused:
			s.violated("the record calls %s refused, which the issuer accepts", name)
		}
	}
	for _, disk := range s.disks {
		for _, name := range disk.written {
			if s.issuer.unused(name) && !inRecord[name] {
				s.violated("%s is lost: the issuer accepts it, and a process had it in its spool", name)
			}
		}
	}
	if condition == coordinator.GrantGood && !s.issuer.isKilled() && !s.issuer.accepts(g.Tokens[len(g.Tokens)-1].Token.Reveal()) {
		s.violated("the issuer does not accept the current token")
	}
	for _, p := range s.slots {
		if p.gate.isDead() {
			continue
		}
		if got := p.Status().Grant; got == nil || got.Condition != condition {
			s.violated("a process says %+v of a grant that is %q", got, condition)
		}
		if condition == coordinator.GrantGood && !s.issuer.isKilled() {
			ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
			if _, err := p.Token(ctx); err != nil {
				s.violated("the grant is good, and there is no token: %v", err)
			}
			cancel()
		}
	}
}

// checkSent checks that each token was sent again only as its kind allows: while its
// window is open, which counts from the first time, or once as the last resort.
func (s *grantSim) checkSent() {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	if s.kind.rules.Replay == coordinator.ReplayFree {
		return
	}
	first, probes := map[string]time.Time{}, map[string]int{}
	for _, a := range s.issuer.arrived {
		since, again := first[a.token]
		if !again {
			first[a.token] = a.at
		}
		if a.probe {
			probes[a.token]++
		}
		if again && !a.probe && a.at.Sub(since) > s.kind.rules.Replay || probes[a.token] > 1 {
			s.violated("%s was sent again: %q", a.token, s.issuer.history(a.token))
			return
		}
	}
}

// history needs mu.
func (i *grantIssuer) history(token string) []string {
	var all []string
	for _, a := range i.arrived {
		if a.token == token {
			all = append(all, fmt.Sprintf("by %s %v, probe %t", a.by, a.at.UTC().Format(time.DateTime), a.probe))
		}
	}
	return all
}

// unused reports whether the issuer accepts a token that was not used yet.
func (i *grantIssuer) unused(token string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	g := i.grants[token]
	return g != nil && g.family == i.family && !i.killed && g.used.IsZero()
}

func (i *grantIssuer) ofFamily(token string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	g := i.grants[token]
	return g != nil && g.family == i.family
}

func (i *grantIssuer) isKilled() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.killed
}

// at calls f when the process comes to a call of that name, once.
func (g *gate) at(op string, f func()) {
	g.set(func() {
		g.hook = func(came string) {
			if came == op {
				g.hook = nil
				f()
			}
		}
	})
}
