package coordinator_test

import (
	"errors"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// The rules of the walks. The access token lives for an hour: it is replaced at 54
// minutes, and in doubt the last resort comes at about 57:30.
var (
	neverRules  = coordinator.GrantRules{Needed: true, Replay: coordinator.ReplayNever}
	windowRules = coordinator.GrantRules{Needed: true, Replay: 10 * time.Minute}
	freeRules   = coordinator.GrantRules{Needed: true, Replay: coordinator.ReplayFree}
)

func TestAGrantIsUsedUpAndKeptAgainAndAgain(t *testing.T) {
	for name, rules := range map[string]coordinator.GrantRules{"never": neverRules, "window": windowRules} {
		t.Run(name, func(t *testing.T) {
			grantBubble(t, rules, func(t *testing.T, f *grantFleet) {
				p, q := f.start(), f.start()
				f.consent(p)
				f.token(q, time.Second)
				time.Sleep(5 * time.Hour)
				f.wantSent("r1", "r2", "r3", "r4", "r5", "r6")
				f.wantKept()
				if n := p.disk.len() + q.disk.len(); n != 0 {
					t.Errorf("%d answers are left in the spools", n)
				}
				if got, want := f.copy.peek(), f.store.PeekGrant(account); !got.Same(want) {
					t.Errorf("the copy has version %d, want %d", got.Version, want.Version)
				}
			})
		})
	}
}

func TestATokenThatIsNeverUsedUpIsNotSaved(t *testing.T) {
	grantBubble(t, freeRules, func(t *testing.T, f *grantFleet) {
		p := f.start()
		f.consent(p)
		time.Sleep(5 * time.Hour)
		if n := f.store.PeekGrant(account).Version; n != 1 {
			t.Errorf("the record has version %d, want 1", n)
		}
		f.issuer.kill()
		time.Sleep(time.Hour)
		f.wantCondition(coordinator.GrantDead)
	})
}

// It would use a code up, and lose what that is exchanged for.
func TestAnAttemptThatWasBegunBeforeAConsentPresentsNothingOfIt(t *testing.T) {
	grantBubble(t, freeRules, func(t *testing.T, f *grantFleet) {
		p, q := f.start(), f.idleWith(new(memSpool), nil)
		t.Cleanup(q.stop)
		f.consent(p)
		f.token(p, time.Second)
		time.Sleep(time.Minute)
		p.gate.at("begin", func() {
			p.gate.stands, p.gate.stand = "load grant", 10*time.Millisecond
			time.AfterFunc(5*time.Millisecond, func() { f.consent(q) })
		})
		if _, err := p.Refresh(t.Context()); err == nil {
			t.Error("the attempt that was begun before the consent has brought a token")
		}
		time.Sleep(time.Minute)
		f.token(p, 0)
		f.wantSent("r1", "r2")
		f.wantKept()
	})
}

func TestAKilledHolder(t *testing.T) {
	for name, c := range map[string]struct {
		rules coordinator.GrantRules
		at    func(*gate)
		wait  time.Duration
		sent  []string // nil: each token once, because the access token may be committed or not
		kept  bool
	}{
		"never, before the mark":        {neverRules, func(g *gate) { g.dieBefore("save grant") }, 5 * time.Second, []string{"r1", "r2"}, true},
		"never, before sending":         {neverRules, func(g *gate) { g.dieBefore("send") }, 10 * time.Minute, []string{"r1", "r2"}, true},
		"never, before the answer":      {neverRules, func(g *gate) { g.dieAfter("send") }, 10 * time.Minute, []string{"r1", "r2", "r2"}, false},
		"window, before sending":        {windowRules, func(g *gate) { g.dieBefore("send") }, 5 * time.Second, []string{"r1", "r2"}, true},
		"window, before the answer":     {windowRules, func(g *gate) { g.dieAfter("send") }, 5 * time.Second, []string{"r1", "r2", "r2"}, true},
		"window, before the spool":      {windowRules, func(g *gate) { g.dieBefore("spool") }, 5 * time.Second, []string{"r1", "r2", "r2"}, true},
		"never, the answer is in store": {neverRules, func(g *gate) { g.dieBefore("unspool") }, 5 * time.Second, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			grantBubble(t, c.rules, func(t *testing.T, f *grantFleet) {
				p := f.granted()
				time.Sleep(53 * time.Minute)
				c.at(p.gate)
				f.until(p.gate.isDead)
				q := f.start()
				f.token(q, time.Second)
				time.Sleep(c.wait)
				if c.sent == nil {
					c.sent = f.issuer.eachOnce()
				}
				f.wantSent(c.sent...)
				if c.kept {
					f.wantKept()
				} else {
					f.wantCondition(coordinator.GrantDead)
				}
				p.stop()
			})
		})
	}
}

// Many issuers leave the token as it is, and the configuration does not say so.
func TestAKilledHolderLeavesNoDoubtAboutATokenThatTheIssuerLeaves(t *testing.T) {
	for name, rules := range map[string]coordinator.GrantRules{"never": neverRules, "window": windowRules} {
		t.Run(name, func(t *testing.T) {
			grantBubble(t, rules, func(t *testing.T, f *grantFleet) {
				f.issuer.leaves = true
				p := f.start()
				f.consent(p)
				f.token(p, time.Second)
				time.Sleep(53 * time.Minute)
				p.gate.dieAfter("send")
				f.until(p.gate.isDead)
				p.stop()
				q := f.start()
				time.Sleep(3 * time.Hour)
				f.wantCondition(coordinator.GrantGood)
				f.token(q, time.Second)
				if n := q.seen.count(coordinator.ProbedGrant); n > 1 {
					t.Errorf("the last resort was tried %d times", n)
				}
			})
		})
	}
}

func TestAnAnswerInTheSpoolIsKeptAtTheRestart(t *testing.T) {
	grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
		p := f.granted()
		time.Sleep(50 * time.Minute)
		p.gate.dieAfter("spool")
		f.until(p.gate.isDead)
		p.stop()
		q := f.start()
		time.Sleep(2 * time.Minute)
		f.wantCondition(coordinator.GrantDoubt)
		f.startOn(p.disk)
		time.Sleep(5 * time.Second)
		f.wantKept()
		f.wantSent("r1", "r2", "r3") // the access token was not spooled: another one is fetched
		f.token(q, time.Second)
	})
}

func TestAHolderThatWasPausedKeepsWhatItGot(t *testing.T) {
	for _, at := range []string{"spool", "save grant"} {
		t.Run(at, func(t *testing.T) {
			grantBubble(t, windowRules, func(t *testing.T, f *grantFleet) {
				f.issuer.siblings = true
				p := f.granted()
				time.Sleep(50 * time.Minute)
				f.issuer.fault(grantFault{latency: 200 * time.Millisecond})
				p.gate.set(func() {
					p.gate.hook = func(op string) {
						if op == "send" {
							p.gate.stands, p.gate.stand, p.gate.hook = at, 5*time.Minute, nil
						}
					}
				})
				q := f.start()
				q.gate.standAt("lock", 4*time.Minute+time.Second)
				tokens, first := 2, f.store.Peek(account).Record.Generation
				time.Sleep(6 * time.Minute)
				if f.store.Peek(account).Record.Generation != first {
					tokens = 1 // the access token was committed before the pause: q presents nothing
				}
				time.Sleep(3 * time.Minute)
				f.token(q, time.Second)
				time.Sleep(2 * time.Minute)
				if n := len(f.store.PeekGrant(account).Tokens); n != tokens {
					t.Errorf("%d tokens are kept, want %d\n%s", n, tokens, f.log)
				}
				f.wantKept()
			})
		})
	}
}

func TestAHolderThatWasPausedBeforeSendingSendsNothing(t *testing.T) {
	grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
		p := f.granted()
		time.Sleep(50 * time.Minute)
		p.gate.standAt("copy", time.Minute)
		time.Sleep(6 * time.Minute)
		f.wantSent("r1", "r2")
		f.wantKept()
	})
}

// The lock lives for longer than the window.
func TestATokenIsNotSentAgainWhenItsWindowHasPassed(t *testing.T) {
	rules := coordinator.GrantRules{Needed: true, Replay: 10 * time.Second}
	for _, op := range []string{"load grant", "save grant", "copy", "send"} {
		t.Run(op, func(t *testing.T) {
			grantBubble(t, rules, func(t *testing.T, f *grantFleet) {
				p := f.startWith(new(memSpool), func(cfg *coordinator.Config) { cfg.LockTTL = 30 * time.Second })
				f.consent(p)
				f.token(p, time.Second)
				time.Sleep(10 * time.Minute)
				f.issuer.fault(grantFault{answerLost: true})
				_, _ = p.Refresh(t.Context())
				p.gate.standAt(op, 12*time.Second)
				time.Sleep(time.Minute)
				f.wantSent("r1", "r2")
				f.wantCondition(coordinator.GrantDoubt)
				if g := f.store.PeekGrant(account); len(g.Presentations) != 1 {
					t.Errorf("%d marks are left, want that of the request which was sent", len(g.Presentations))
				}
			})
		})
	}
}

func TestALostAnswer(t *testing.T) {
	lost := grantFault{latency: time.Second, answerLost: true}
	hangs := grantFault{latency: time.Second, hangs: true}
	for name, c := range map[string]struct {
		rules coordinator.GrantRules
		fault grantFault
		wait  time.Duration
		sent  []string
		kept  coordinator.GrantCondition
	}{
		"window":            {windowRules, lost, 5 * time.Second, []string{"r1", "r2", "r2"}, coordinator.GrantGood},
		"window, hangs":     {windowRules, hangs, 65 * time.Second, []string{"r1", "r2", "r2"}, coordinator.GrantGood},
		"never":             {neverRules, lost, 5 * time.Second, []string{"r1", "r2"}, coordinator.GrantDoubt},
		"never, hangs":      {neverRules, hangs, 65 * time.Second, []string{"r1", "r2"}, coordinator.GrantDoubt},
		"never, probed":     {neverRules, lost, 4 * time.Minute, []string{"r1", "r2", "r2"}, coordinator.GrantDead},
		"never, never sent": {neverRules, grantFault{requestLost: true}, 4 * time.Minute, []string{"r1", "r2", "r2"}, coordinator.GrantGood},
		"never, busy":       {neverRules, grantFault{kind: coordinator.FailedBusy}, 5 * time.Second, []string{"r1", "r2"}, coordinator.GrantGood},
	} {
		t.Run(name, func(t *testing.T) {
			grantBubble(t, c.rules, func(t *testing.T, f *grantFleet) {
				p, q := f.start(), f.start()
				f.consent(p)
				f.token(p, time.Second)
				f.issuer.fault(c.fault)
				time.Sleep(54*time.Minute + 2*time.Second)
				time.Sleep(c.wait)
				f.wantSent(c.sent...)
				f.wantCondition(c.kept)
				f.token(q, time.Second)
				if c.kept == coordinator.GrantDoubt {
					if p.seen.count(coordinator.DoubtedGrant) != 1 || q.seen.count(coordinator.DoubtedGrant) != 1 {
						t.Error("the doubt was not observed once by each process")
					}
					_, err := q.Refresh(t.Context())
					var none *coordinator.GrantError
					if !errors.As(err, &none) || none.Condition != coordinator.GrantDoubt {
						t.Errorf("Refresh() = %v, want a *GrantError that says doubt", err)
					}
					f.wantSent(c.sent...)
				}
			})
		})
	}
}

func TestADeadGrantIsSaidAndANewConsentLiftsItAtOnce(t *testing.T) {
	grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
		p, q := f.start(), f.start()
		f.consent(p)
		f.token(q, time.Second)
		before := p.seen.count(coordinator.LostGrant) + q.seen.count(coordinator.LostGrant) // until the first consent there is none
		f.issuer.kill()
		time.Sleep(55 * time.Minute)
		f.wantCondition(coordinator.GrantDead)
		f.token(q, time.Second)
		if p.seen.count(coordinator.LostGrant)+q.seen.count(coordinator.LostGrant) != before+2 {
			t.Errorf("the death was not observed once by each process\n%s", f.log)
		}
		time.Sleep(2*time.Hour + 30*time.Minute)
		if n := f.log.count("ERROR", "does not accept the grant any more: log in"); n < 4 || n > 15 {
			t.Errorf("it was said %d times in three hours and a half\n%s", n, f.log)
		}
		var refused *coordinator.RefusedError
		if _, err := q.Token(t.Context()); !errors.As(err, &refused) {
			t.Errorf("Token() = %v, want a *RefusedError", err)
		}
		f.wantSent("r1", "r2")
		f.consent(q)
		time.Sleep(time.Second)
		f.token(p, time.Millisecond)
		f.wantKept()
	})
}

func TestAProcessWithTheWrongClientDoesNotEndAGrantForTheOthers(t *testing.T) {
	for name, rules := range map[string]coordinator.GrantRules{"never": neverRules, "window": windowRules, "free": freeRules} {
		t.Run(name, func(t *testing.T) {
			grantBubble(t, rules, func(t *testing.T, f *grantFleet) {
				f.client = "wrong"
				p := f.start()
				f.consent(p)
				time.Sleep(time.Minute)
				f.wantCondition(coordinator.GrantDead)
				f.client = "right" // the configuration is corrected
				q := f.start()
				f.token(q, time.Second)
				time.Sleep(4 * time.Hour) // with both
				f.token(p, time.Second)
				f.until(func() bool { return f.condition() == coordinator.GrantGood })
				f.wantKept()
			})
		})
	}
}

func TestProcessesWithDifferentWrongClientsPresentAGrantOnceEach(t *testing.T) {
	for name, rules := range map[string]coordinator.GrantRules{"never": neverRules, "window": windowRules, "free": freeRules} {
		t.Run(name, func(t *testing.T) {
			grantBubble(t, rules, func(t *testing.T, f *grantFleet) {
				var p *grantProcess
				for _, f.client = range []string{"wrong 1", "wrong 2", "wrong 2", "wrong 3"} {
					p = f.start()
				}
				f.consent(p)
				time.Sleep(90 * time.Minute)
				f.wantCondition(coordinator.GrantDead)
				f.issuer.set(func() {
					if f.issuer.foreign != 3 {
						t.Errorf("the issuer was asked %d times, want once with each client\n%s", f.issuer.foreign, f.log)
					}
				})
			})
		})
	}
}

func TestTheFirstConsentIsWaitedForAndTakenAtOnce(t *testing.T) {
	grantBubble(t, windowRules, func(t *testing.T, f *grantFleet) {
		p := f.start()
		time.Sleep(time.Minute)
		var refused *coordinator.RefusedError
		if _, err := p.Token(t.Context()); !errors.As(err, &refused) {
			t.Errorf("Token() = %v, want a *RefusedError", err)
		}
		if s := p.Status().Grant; s == nil || s.Condition != coordinator.GrantNone {
			t.Errorf("Status().Grant = %+v", s)
		}
		f.consent(p)
		f.token(p, time.Second)
		time.Sleep(time.Second)
		if s := p.Status().Grant; s == nil || s.Condition != coordinator.GrantGood {
			t.Errorf("Status().Grant = %+v", s)
		}
	})
}

func TestANewConsentReplacesTheAccessTokenOfTheOneBefore(t *testing.T) {
	grantBubble(t, windowRules, func(t *testing.T, f *grantFleet) {
		p, q := f.start(), f.start()
		f.consent(p)
		before := f.token(q, time.Second)
		time.Sleep(10 * time.Minute)
		f.consent(p)
		time.Sleep(3 * time.Second)
		if after := f.token(q, time.Second); after == before {
			t.Error("the access token of the earlier consent is served")
		}
		f.wantSent("r1", "r3")
	})
}
