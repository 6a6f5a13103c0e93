package coordinator_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// This file is what the tests of grants share: processes that die and stop at any of
// their calls, with a disk that survives them, and a copy outside of the store.

// grantFleet is processes that share a store, a copy and an issuer inside a bubble.
type grantFleet struct {
	t      *testing.T
	store  *memstore.Store
	rules  func(*gatedStore) // changes the store of each process: breaks a rule
	client string            // which the sources of the next processes are; "wrong...": not the grant's
	lossy  bool              // the spools say that they have written, and have not
	copy   *memCopy
	issuer *grantIssuer
	log    *grantLog
	n      int
}

// grantProcess is one of them. Its gate is between it and everything else.
type grantProcess struct {
	*coordinator.Account
	c    *coordinator.Coordinator
	gate *gate
	link *memstore.Instance
	disk *memSpool
	seen *sightings
	stop func() // ends Run, if there is one, and waits for what is under way
}

func grantBubble(t *testing.T, rules coordinator.GrantRules, test func(t *testing.T, f *grantFleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &grantFleet{t: t, store: memstore.New(), copy: new(memCopy), issuer: newGrantIssuer(rules), log: new(grantLog)}
		test(t, f)
	})
}

// start starts a process with a disk of its own.
func (f *grantFleet) start() *grantProcess { return f.startOn(new(memSpool)) }

// granted starts a process that has a grant and serves the token of it.
func (f *grantFleet) granted() *grantProcess {
	f.t.Helper()
	p := f.start()
	f.consent(p)
	f.token(p, time.Second)
	return p
}

// startOn starts a process with the disk of one that has ended.
func (f *grantFleet) startOn(disk *memSpool) *grantProcess { return f.startWith(disk, nil) }

func (f *grantFleet) startWith(disk *memSpool, change func(*coordinator.Config)) *grantProcess {
	f.t.Helper()
	p := f.idleWith(disk, change)
	ctx, cancel := context.WithCancel(f.t.Context())
	p.gate.end = cancel
	p.stop = p.c.Start(ctx)
	f.t.Cleanup(p.kill)
	return p
}

// idleWith makes a process that does not Run: a command. The test has to stop it.
func (f *grantFleet) idleWith(disk *memSpool, change func(*coordinator.Config)) *grantProcess {
	f.t.Helper()
	f.n++
	name := fmt.Sprintf("p%d", f.n)
	p := &grantProcess{
		gate: new(gate), link: f.store.Instance(name), disk: disk, seen: &sightings{by: map[coordinator.ObservationKind]int{}},
	}
	disk.lossy = f.lossy
	store := &gatedStore{Instance: p.link, gate: p.gate, store: f.store}
	if f.rules != nil {
		f.rules(store)
	}
	cfg := coordinator.Config{
		Store: store, Spool: gatedSpool{disk, p.gate}, Copy: gatedCopy{f.copy, p.gate},
		Observe: p.seen.add, Logger: slog.New(slog.NewTextHandler(f.log, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if p.c, err = coordinator.New(cfg); err != nil {
		f.t.Fatalf("New() = %v", err)
	}
	p.Account, err = p.c.Add(coordinator.AccountConfig{Name: account, Source: &grantSource{issuer: f.issuer, gate: p.gate, name: name, seen: p.seen, client: f.client}})
	if err != nil {
		f.t.Fatalf("Add() = %v", err)
	}
	p.stop = func() {
		f.copy.works() // the bubble outlives all that is in it
		f.store.SetDown(false)
		_ = p.c.Drain(context.Background())
	}
	return p
}

// kill ends a process at once: nothing of it reaches anything from now on.
func (p *grantProcess) kill() {
	p.gate.die()
	p.stop()
}

// consent gives the account the issuer's first token of a new family.
func (f *grantFleet) consent(p *grantProcess) {
	f.t.Helper()
	if err := p.Consent(f.t.Context(), coordinator.Consent{Token: f.issuer.consent()}); err != nil {
		f.t.Fatalf("Consent() = %v", err)
	}
}

// token waits for the access token of a process.
func (f *grantFleet) token(p *grantProcess, within time.Duration) string {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), within)
	defer cancel()
	token, err := p.Token(ctx)
	if err != nil {
		f.t.Fatalf("%v: Token() = %v, want a token within %v\n%s", time.Now(), err, within, f.log)
	}
	return token.Reveal()
}

// until waits for what must happen within two hours.
func (f *grantFleet) until(happened func() bool) {
	f.t.Helper()
	for end := time.Now().Add(2 * time.Hour); !happened(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("%v: it has not happened\n%s", time.Now(), f.log)
		}
	}
}

// condition is what the stored grant is worth.
func (f *grantFleet) condition() coordinator.GrantCondition {
	return f.store.PeekGrant(account).Condition(f.issuer.rules, time.Now())
}

func (f *grantFleet) wantCondition(want coordinator.GrantCondition) {
	f.t.Helper()
	if got := f.condition(); got != want {
		f.t.Errorf("%v: the grant is %q, want %q\n%s", time.Now(), got, want, f.log)
	}
}

// wantSent checks how often each token was sent, the oldest first.
func (f *grantFleet) wantSent(want ...string) {
	f.t.Helper()
	if got := f.issuer.sent(); !slices.Equal(got, want) {
		f.t.Errorf("%v: %q were sent, want %q\n%s", time.Now(), got, want, f.log)
	}
}

// wantKept checks that the issuer accepts the current token.
func (f *grantFleet) wantKept() {
	f.t.Helper()
	g := f.store.PeekGrant(account)
	if len(g.Tokens) == 0 || !f.issuer.accepts(g.Tokens[len(g.Tokens)-1].Token.Reveal()) {
		f.t.Errorf("%v: the issuer does not accept the current token of %d\n%s", time.Now(), len(g.Tokens), f.log)
	}
	f.wantCondition(coordinator.GrantGood)
}

// probing reports whether the last token that was presented was so as the last resort.
func (s *sightings) probing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last == coordinator.ProbedGrant
}

// grantLog collects what the processes log, and must hold no secret.
type grantLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *grantLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	return len(p), nil
}

func (l *grantLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines[max(0, len(l.lines)-60):], "")
}

func (l *grantLog) count(words ...string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.lines {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			n++
		}
	}
	return n
}

// clear forgets what was logged.
func (l *grantLog) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = nil
}
