package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// grantOutcome is the result of a run.
type grantOutcome struct {
	Kind, Topology, Build string
	Seed                  uint64
	Faults                int
	Injected              map[string]int
	Presentations         int
	Replays, Probes       int // presentations of a token that had been presented before: in its window, and as the last resort
	Consents              int // after the first of each account: what a person had to do
	Unavoidable           int // of them: the issuer had used the token up, and the answer could not have been kept
	Violations            []string
	Took                  float64

	began time.Time
}

func (o *grantOutcome) String() string {
	text := fmt.Sprintf("grants %s, %s, seed %d: %d faults in %.0f s, %d presentations, %d in their window, %d probes, %d new consents (%d unavoidable), %d broken promises",
		o.Kind, o.Topology, o.Seed, o.Faults, o.Took, o.Presentations, o.Replays, o.Probes, o.Consents, o.Unavoidable, len(o.Violations))
	return strings.Join(append([]string{text}, o.Violations...), "\n  BROKEN: ")
}

func (o *grantOutcome) broken(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(o.Violations, text) && len(o.Violations) < 50 {
		o.Violations = append(o.Violations, text)
	}
}

// grantWatch looks at the accounts while the faults happen, and consents anew where the
// state says that a person has to.
type grantWatch struct {
	b   *grantBed
	out *grantOutcome

	served map[string]coordinator.Record // the newest that Redis has had
	wiped  int32                         // Redis has lost everything so often
	said   map[string]time.Time          // since when Redis says doubt or dead
}

func newGrantWatch(b *grantBed, out *grantOutcome) *grantWatch {
	return &grantWatch{b: b, out: out, served: map[string]coordinator.Record{}, said: map[string]time.Time{}}
}

func (w *grantWatch) run(ctx context.Context) {
	for sleep(ctx, 500*time.Millisecond) {
		wiped := w.b.wiped.Load()
		states, err := w.b.states(ctx)
		if err != nil {
			continue // Redis is down
		}
		if w.wiped < wiped { // tokens are put back only by a process that has them in memory
			w.wiped = wiped
			clear(w.served)
		}
		for _, s := range states {
			w.look(s)
		}
	}
}

// look checks that a grant in trouble does not take the access token with it, and
// consents where the grant is dead.
func (w *grantWatch) look(s coordinator.State) {
	if s.Record.Usable() {
		w.served[s.Account] = s.Record
	}
	if s.Grant == nil {
		return
	}
	condition := s.Grant.At(s.Now)
	if condition != coordinator.GrantDoubt && condition != coordinator.GrantDead {
		delete(w.said, s.Account)
		return
	}
	if w.said[s.Account].IsZero() {
		w.said[s.Account] = s.Now
	}
	last := w.served[s.Account]
	if end := last.ExpiresAt.Add(-coordinator.Margin(last.Lifetime())); !s.Record.Usable() && s.Now.Before(end.Add(-time.Second)) {
		w.out.broken("%s: the grant is %s, and the access token is gone %v before its end", s.Account, condition, end.Sub(s.Now).Round(time.Second))
	}
	if condition == coordinator.GrantDead {
		w.dead(s.Account)
	}
}

// dead judges a grant that is said to be dead, and consents anew.
func (w *grantWatch) dead(account string) {
	reading, err := w.grant(account)
	if err != nil || reading.Grant.Condition(w.b.rules(), reading.Now) != coordinator.GrantDead {
		return
	}
	family := w.b.family(account)
	for _, t := range reading.Grant.Tokens {
		if t.Refused && w.b.issuer.Accepts(t.Token.Reveal()) {
			w.out.broken("%s: %s is called refused, and the issuer accepts it", account, w.b.issuer.NameOf(t.Token.Reveal()))
		}
	}
	w.out.Consents++
	if w.b.kind == kindFree || !w.b.excused(family) {
		w.out.broken("%s: dead without need: %s", account, w.b.story(family))
	} else {
		w.out.Unavoidable++
	}
	if err := w.b.consent(account); err != nil {
		w.out.broken("%s: %v", account, err)
	}
	delete(w.said, account)
}

func (b *grantBed) rules() coordinator.GrantRules {
	return coordinator.GrantRules{Needed: true, Replay: map[string]time.Duration{
		kindFree: coordinator.ReplayFree, kindWindow: grantWindow, kindNever: coordinator.ReplayNever,
	}[b.kind]}
}

// family returns the newest of an account.
func (b *grantBed) family(account string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.families[account]
	return all[len(all)-1]
}

// excused reports whether the family can have died without our doing. Its last
// presentation, the last resort, got lost; or an answer that brought a token did, on the
// way, or with its process.
func (b *grantBed) excused(family string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.issuer.Presentations(family)
	if n := len(all); n > 1 && !all[n-1].Delivered {
		return true
	}
	for _, p := range all {
		if p.Brought == "" {
			continue
		}
		if !p.Delivered || slices.ContainsFunc(b.lost, func(l lostAnswer) bool { return !p.At.Before(l.from.Add(-grantLease)) && !p.At.After(l.to) }) {
			return true
		}
	}
	return false
}

// story tells the last presentations of a family.
func (b *grantBed) story(family string) string {
	all := b.issuer.Presentations(family)
	var lines []string
	for _, p := range all[max(len(all)-8, 0):] {
		lines = append(lines, fmt.Sprintf("%s %s (%d, %s) %s %s delivered=%v", p.At.Format("15:04:05.000"), p.Token, p.Time, p.State, p.Outcome, p.Brought, p.Delivered))
	}
	return strings.Join(lines, "; ")
}

// rest waits until no presentation can be under way any more and every account has come
// to an end: a good grant, or one that is said to be dead and was consented to anew.
func (w *grantWatch) rest() {
	for deadline := time.Now().Add(grantLife + 2*grantLease); time.Now().Before(deadline); time.Sleep(time.Second) {
		if w.atRest() {
			return
		}
	}
	w.out.broken("the fleet does not come to rest: %s", strings.Join(w.restless(), ", "))
}

func (w *grantWatch) atRest() bool { return len(w.restless()) == 0 }

func (w *grantWatch) restless() []string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	states, err := w.b.states(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	var not []string
	for _, s := range states {
		switch {
		case s.Grant == nil:
			not = append(not, s.Account+" (no grant)")
		case s.Grant.At(s.Now) == coordinator.GrantDoubt || s.Grant.At(s.Now) == coordinator.GrantDead || !s.Record.Usable():
			not = append(not, fmt.Sprintf("%s (%s, token %v)", s.Account, s.Grant.At(s.Now), s.Record.Usable()))
		}
	}
	return not
}

// judge compares what the issuer saw with what is promised.
func (w *grantWatch) judge() {
	for _, account := range w.b.accounts {
		w.b.mu.Lock()
		families := slices.Clone(w.b.families[account])
		w.b.mu.Unlock()
		for _, family := range families {
			w.presentations(account, family)
		}
		w.lives(account)
	}
}

// presentations checks how often each token was presented, and when. A process that has
// seen a call fail knows that no answer will come; after an answer that was delivered,
// its holder may be alive and about to store it until its lease is over.
func (w *grantWatch) presentations(account, family string) {
	first, probed, delivered := map[string]time.Time{}, map[string]bool{}, map[string]bool{}
	for _, p := range w.b.issuer.Presentations(family) {
		w.out.Presentations++
		if p.Token == "" || w.b.kind == kindFree {
			continue
		}
		began, again := first[p.Token]
		switch {
		case !again:
			first[p.Token] = p.At
		case w.b.kind == kindWindow && p.At.Sub(began) < grantWindow:
			w.out.Replays++
		case probed[p.Token]:
			w.out.broken("%s: %s was presented again after its probe: %s", account, p.Token, w.b.story(family))
		case delivered[p.Token] && p.At.Sub(began) < grantLease-15*time.Second:
			w.out.broken("%s: %s was presented again %v after the first time, outside of its window: %s", account, p.Token, p.At.Sub(began).Round(time.Millisecond), w.b.story(family))
		default:
			probed[p.Token] = true
			w.out.Probes++
		}
		delivered[p.Token] = delivered[p.Token] || p.Delivered
	}
}

// lives checks that at the end the issuer accepts what the account would present. A grant
// that is presented comes to its end first: its access token may be good while an answer
// is on its way, or waited for though it is lost.
func (w *grantWatch) lives(account string) {
	for deadline := time.Now().Add(2 * grantLease); ; time.Sleep(50 * time.Millisecond) {
		reading, err := w.grant(account)
		if err != nil {
			w.out.broken("%s: %v", account, err)
			return
		}
		condition := reading.Grant.Condition(w.b.rules(), reading.Now)
		if condition == coordinator.GrantPresented && time.Now().Before(deadline) {
			continue
		}
		if condition != coordinator.GrantGood {
			w.out.broken("%s: at rest, and %s", account, condition)
			return
		}
		newest := reading.Grant.Tokens[len(reading.Grant.Tokens)-1].Token.Reveal()
		if w.b.issuer.Accepts(newest) {
			return
		}
		again, err := w.grant(account)
		if err == nil && !again.Grant.Same(reading.Grant) {
			continue // it was used meanwhile
		}
		w.out.broken("%s: said to be good, and the issuer does not accept %s: %s", account, w.b.issuer.NameOf(newest), w.b.story(w.b.family(account)))
		return
	}
}

// grant returns what Redis has of an account's grant.
func (w *grantWatch) grant(account string) (coordinator.GrantReading, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return w.b.store.LoadGrant(ctx, account)
}
