package coordinator_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// What fails on this machine's disk, or wherever the copy is, while the store works.

// copyFaults are the ways in which the copy may be away.
var copyFaults = map[string]func(*memCopy){
	"fails": func(c *memCopy) { c.down = true },
	"hangs": func(c *memCopy) { c.hangs = true },
	"full":  func(c *memCopy) { c.full = true },
}

// works ends all faults of the copy.
func (c *memCopy) works() { c.set(func() { c.down, c.hangs, c.full = false, false, false }) }

func eachCopyFault(t *testing.T, test func(t *testing.T, f *grantFleet, fail func())) {
	t.Helper()
	for name, fault := range copyFaults {
		t.Run(name, func(t *testing.T) {
			grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
				test(t, f, func() { f.copy.set(func() { fault(f.copy) }) })
			})
		})
	}
}

func TestTheCopyKeepsTheTokenFromBeingPresentedOnlyWhileThereIsTime(t *testing.T) {
	eachCopyFault(t, func(t *testing.T, f *grantFleet, fail func()) {
		p := f.granted()
		time.Sleep(50 * time.Minute)
		fail()
		time.Sleep(7 * time.Minute)
		f.wantSent("r1")
		time.Sleep(3 * time.Minute) // the pause after a try may have two
		f.wantSent("r1", "r2")
		time.Sleep(15 * time.Second) // it is tried to read the copy before the answer is stored
		f.wantKept()                 // though the copy cannot be read
		f.copy.works()
		time.Sleep(15 * time.Second)
		if got := f.copy.peek(); !got.Same(f.store.PeekGrant(account)) {
			t.Errorf("the copy has version %d", got.Version)
		}
		if n := p.disk.len(); n != 0 {
			t.Errorf("%d answers are left in the spool", n)
		}
	})
}

// What keeps the token from being presented for the first time, or what may have used it up,
// may take until the access token ends soon. The pause after it is not the one after many
// failures.
func TestATryThatEndsWhenTheTokenIsDueToBePresentedIsRepeatedAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		fail func(f *grantFleet) // from when on the token is to be replaced
		last grantFault          // of the call that is under way then, if there is one
		sent []string
	}{
		"the copy hangs":      {fail: func(f *grantFleet) { f.copy.set(func() { f.copy.hangs = true }) }, sent: []string{"r1", "r2"}},
		"the request is lost": {fail: func(*grantFleet) {}, last: grantFault{requestLost: true, latency: 5 * time.Second}, sent: []string{"r1", "r2", "r2"}},
	} {
		t.Run(name, func(t *testing.T) {
			grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
				p := f.granted()
				time.Sleep(50 * time.Minute)
				due := time.Now().Add(p.Status().Record.TTL - 2*time.Minute)
				c.fail(f)
				f.issuer.set(func() {
					f.issuer.faults = func() grantFault {
						switch left := time.Until(due); {
						case left > 2*time.Second:
							return grantFault{kind: coordinator.FailedBusy}
						case left > 0:
							return c.last
						}
						return grantFault{latency: 100 * time.Millisecond}
					}
				})
				time.Sleep(time.Until(due) - time.Second)
				if n := p.Status().Failure.InARow; n < 7 {
					t.Fatalf("%d failures, want so many that the pause is long", n)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if s, err := p.Refresh(ctx); err == nil {
					t.Fatalf("Refresh() = %v, want an error", s)
				}
				time.Sleep(time.Until(due.Add(10 * time.Second)))
				f.wantSent(c.sent...)
			})
		})
	}
}

func TestAnAccountIsRefreshedOnThoughAnAnswerIsOnlyInTheStore(t *testing.T) {
	for name, fault := range map[string]func(f *grantFleet, p *grantProcess){ // once the mark is copied
		"the copy fails": func(f *grantFleet, p *grantProcess) {
			p.gate.at("spool", func() { f.copy.set(func() { f.copy.down = true }) })
		},
		"the copy hangs": func(f *grantFleet, p *grantProcess) {
			p.gate.at("spool", func() { f.copy.set(func() { f.copy.hangs = true }) })
		},
		"the copy is full": func(f *grantFleet, p *grantProcess) {
			p.gate.at("spool", func() { f.copy.set(func() { f.copy.full = true }) })
		},
		"the spool is read-only":  func(_ *grantFleet, p *grantProcess) { p.gate.at("unspool", func() { p.disk.lock(true) }) },
		"the spool was read-only": nil,
	} {
		t.Run(name, func(t *testing.T) {
			grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
				p, began := f.start(), time.Now()
				f.consent(p)
				f.token(p, time.Second)
				if fault == nil { // the answer of before is found in it
					p.gate.dieBefore("unspool")
					f.until(p.gate.isDead)
					p.disk.lock(true)
					p = f.startOn(p.disk)
				} else {
					fault(f, p)
				}
				time.Sleep(time.Until(began.Add(3*time.Hour + 10*time.Minute)))
				f.token(p, time.Second)
				if sent := f.issuer.sent(); len(sent) < 4 {
					t.Errorf("%q were sent, want one an hour", sent)
				}
				f.wantKept()
				f.copy.works()
				p.disk.lock(false)
				time.Sleep(time.Minute)
				if n := p.disk.len(); n != 0 {
					t.Errorf("%d answers are left in the spool", n)
				}
				if got := f.copy.peek(); !got.Same(f.store.PeekGrant(account)) {
					t.Errorf("the copy has version %d", got.Version)
				}
			})
		})
	}
}

func TestAnAnswerIsStoredThoughTheCopyIsLostDuringItsCall(t *testing.T) {
	eachCopyFault(t, func(t *testing.T, f *grantFleet, fail func()) {
		p := f.granted()
		f.issuer.fault(grantFault{latency: 10 * time.Second})
		f.until(func() bool { return len(f.issuer.sent()) == 2 })
		fail()
		f.store.SetDown(true) // the process no longer knows whether the copy has more than it
		time.Sleep(4 * time.Second)
		f.store.SetDown(false)
		time.Sleep(15 * time.Second)
		f.wantKept()
		p.stop()
		f.wantSent("r1", "r2")
	})
}

func TestAnAnswerInTheSpoolIsNotGivenUpBeforeTheCopyIsRead(t *testing.T) {
	eachCopyFault(t, func(t *testing.T, f *grantFleet, fail func()) {
		p := f.granted()
		p.gate.dieAfter("spool")
		f.until(p.gate.isDead)
		f.store.Flush() // and with it the place of the answer
		fail()
		q := f.startOn(p.disk)
		time.Sleep(3 * time.Minute)
		if q.disk.len() == 0 {
			t.Error("the spool does not have the answer any more")
		}
		f.copy.works()
		time.Sleep(time.Minute)
		f.wantKept()
		if q.disk.len() != 0 {
			t.Errorf("%d answers are in the spool, want none", q.disk.len())
		}
	})
}

// Nothing but the spool has the token that the issuer accepts.
func TestAnAnswerInTheSpoolOutlivesARecordThatIsLost(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*coordinator.Config)
		lost   func(f *grantFleet, before coordinator.Grant)
	}{
		"there is no copy":           {func(cfg *coordinator.Config) { cfg.Copy = nil }, nil},
		"the copy is lost as well":   {nil, func(f *grantFleet, _ coordinator.Grant) { f.copy.set(func() { f.copy.grants = nil }) }},
		"the consent before is back": {nil, func(f *grantFleet, g coordinator.Grant) { f.copy.set(func() { f.copy.grants[account] = g }) }},
	} {
		t.Run(name, func(t *testing.T) {
			grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
				p := f.startWith(new(memSpool), c.change)
				f.consent(p)
				f.token(p, time.Second)
				before := f.store.PeekGrant(account)
				time.Sleep(10 * time.Minute)
				f.consent(p)
				p.gate.dieAfter("spool")
				f.until(p.gate.isDead)
				f.store.Flush()
				if c.lost != nil {
					c.lost(f, before)
				}
				sent := f.issuer.sent()
				q := f.startWith(p.disk, c.change)
				time.Sleep(coordinator.GrantSettle - time.Second)
				if n := q.disk.len(); n != 1 {
					t.Errorf("%d answers are in the spool before those could speak who remember more", n)
				}
				f.wantSent(sent...)
				f.token(q, time.Minute)
				f.until(func() bool { return q.disk.len() == 0 })
				f.wantKept()
				f.wantSent(f.issuer.eachOnce()...)
			})
		})
	}
}

// Another process has used up what is in the spool, and speaks after the lease.
func TestAnAnswerInTheSpoolDoesNotReplaceWhatASilentProcessRemembers(t *testing.T) {
	grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
		p, q := f.start(), f.start()
		f.consent(p)
		f.token(q, time.Second)
		p.gate.dieBefore("unspool")
		q.gate.dieBefore("unspool")
		f.until(func() bool { return p.gate.isDead() || q.gate.isDead() })
		dead, other := p, q
		if q.gate.isDead() {
			dead, other = q, p
		}
		other.gate.dieBefore("")
		n := len(f.issuer.sent())
		f.until(func() bool { return len(f.issuer.sent()) > n }) // the one in the spool is used up
		time.Sleep(time.Minute)
		want := f.store.PeekGrant(account)
		other.gate.set(func() { other.gate.paused = time.Now().Add(2 * time.Minute) })
		f.store.Flush()
		f.copy.set(func() { f.copy.grants = nil })
		r := f.startOn(dead.disk)
		f.until(func() bool { return r.disk.len() == 0 })
		time.Sleep(5 * time.Minute)
		if got := f.store.PeekGrant(account); got.Older(want) || !slices.ContainsFunc(got.Tokens, func(t coordinator.GrantToken) bool { return t.Token.Equal(want.Tokens[0].Token) }) {
			t.Errorf("the store has version %d with %d tokens, and not what was remembered: version %d\n%s", got.Version, len(got.Tokens), want.Version, f.log)
		}
	})
}

func TestWhatTheStoreHasLostIsPutBackThoughTheCopyIsAway(t *testing.T) {
	eachCopyFault(t, func(t *testing.T, f *grantFleet, fail func()) {
		p, q := f.start(), f.start()
		f.consent(p)
		f.token(q, time.Second)
		time.Sleep(2*time.Hour + 10*time.Minute)
		want := f.store.PeekGrant(account)
		fail()
		f.store.SetDown(true)
		time.Sleep(5 * time.Second)
		f.store.LoseGrantWrites(account, 2)
		f.store.SetDown(false)
		time.Sleep(10 * time.Second)
		if got := f.store.PeekGrant(account); !got.Same(want) {
			t.Errorf("the store has version %d, want %d\n%s", got.Version, want.Version, f.log)
		}
	})
}

// A refresh token that is in use must not be taken for one that was not stored.
func TestAGrantThatCannotBeCopiedIsSaidToBeStored(t *testing.T) {
	eachCopyFault(t, func(t *testing.T, f *grantFleet, fail func()) {
		p := f.start()
		fail()
		consent := coordinator.Consent{Token: f.issuer.consent()}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.Consent(ctx, consent); !errors.Is(err, coordinator.ErrNotCopied) {
			t.Errorf("Consent() = %v, want %v", err, coordinator.ErrNotCopied)
		}
		f.token(p, 10*time.Second)
		f.copy.works()
		if err := p.Consent(t.Context(), consent); err != nil {
			t.Errorf("Consent() again = %v", err)
		}
		time.Sleep(15 * time.Second) // what came of the refresh meanwhile is copied as well
		if got := f.copy.peek(); !got.Same(f.store.PeekGrant(account)) {
			t.Errorf("the copy has version %d", got.Version)
		}
	})
}

// One caller's deadline must not have the tokens of all accounts served as stale.
func TestACallerWhoGivesUpTellsNothingOfTheStore(t *testing.T) {
	grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
		p := f.granted()
		time.Sleep(100 * time.Second) // until nothing but the polls asks the store
		f.store.SetLatency(100 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := p.Consent(ctx, coordinator.Consent{Token: f.issuer.consent()}); err == nil {
			t.Error("Consent() = nil, want an error")
		}
		f.store.SetLatency(0)
		for range 30 {
			time.Sleep(time.Second)
			if p.Status().Stale {
				t.Fatal("the token is served as stale")
			}
		}
	})
}
