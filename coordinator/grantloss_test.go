package coordinator_test

import (
	"crypto/rand"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// What a store loses, does not confirm, or does not answer.

func TestWhatTheStoreHasLostIsPutBackAndNothingOlderIsPresented(t *testing.T) {
	for name, lose := range map[string]func(f *grantFleet){
		"its newest writes":          func(f *grantFleet) { f.store.LoseGrantWrites(account, 2) },
		"everything":                 func(f *grantFleet) { f.store.Flush() },
		"everything, also processes": nil,
	} {
		t.Run(name, func(t *testing.T) {
			grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
				p, q := f.start(), f.start()
				f.consent(p)
				f.token(q, time.Second)
				time.Sleep(2*time.Hour + 10*time.Minute)
				want := f.store.PeekGrant(account)
				if lose == nil {
					p.kill()
					q.kill()
					f.store.Flush()
					q = f.start()
				} else {
					f.store.SetDown(true)
					time.Sleep(5 * time.Second)
					lose(f)
					f.store.SetDown(false)
				}
				time.Sleep(1500 * time.Millisecond)
				if got := f.store.PeekGrant(account); !got.Same(want) {
					t.Errorf("the store has version %d, want %d\n%s", got.Version, want.Version, f.log)
				}
				time.Sleep(2 * time.Minute)
				f.token(q, time.Second)
				time.Sleep(time.Hour)
				f.wantKept()
				f.wantSent(f.issuer.eachOnce()...)
			})
		})
	}
}

// The store had a fast clock, and was replaced by an empty one with a right clock.
func TestAConsentReplacesTheOneInTheCopyThoughTheStoresClockIsBehindThat(t *testing.T) {
	for name, mayFail := range map[string]bool{"the copy is read": false, "the copy is read when the consent is stored": true} {
		t.Run(name, func(t *testing.T) {
			grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
				f.store.SetSkew(20 * time.Minute)
				p := f.idleWith(new(memSpool), nil)
				f.consent(p)
				p.stop()
				f.store.Flush()
				f.store.SetSkew(0)
				time.Sleep(time.Minute)

				q := f.idleWith(new(memSpool), nil)
				defer q.stop()
				consent := coordinator.Consent{Token: f.issuer.consent()}
				if mayFail {
					f.copy.set(func() { f.copy.down = true })
					q.gate.at("save grant", f.copy.works)
					if err := q.Consent(t.Context(), consent); !errors.Is(err, coordinator.ErrNotCopied) {
						t.Errorf("Consent() = %v, want %v", err, coordinator.ErrNotCopied)
					}
				}
				if err := q.Consent(t.Context(), consent); err != nil {
					t.Errorf("Consent() = %v", err)
				}
				r := f.start()
				f.token(r, 2*time.Minute)
				time.Sleep(time.Second) // the answer is kept
				f.wantSent("r2")
				f.wantKept()
				if got := f.copy.peek(); !got.Same(f.store.PeekGrant(account)) {
					t.Errorf("the copy has version %d, want that of the store", got.Version)
				}
			})
		})
	}
}

// The grant comes back first: its fence is the instant of the push, newer than the token.
func TestALostTokenIsPutBackAlsoAfterThePushOfAGrant(t *testing.T) {
	for name, push := range map[string]bool{"the grant is put back": false, "the issuer pushes again": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.source.Describes.Grant = coordinator.GrantRules{Needed: true, Replay: coordinator.ReplayFree, Received: true}
				p := f.refresher()
				receive := func(ticket string) {
					t.Helper()
					if err := p.Receive(t.Context(), coordinator.Received{Token: coordinator.NewToken(ticket), Life: 12 * time.Hour}); err != nil {
						t.Fatal(err)
					}
				}
				receive("ticket 1")
				f.wantCurrent(p)
				time.Sleep(10 * time.Minute)
				receive("ticket 2")
				time.Sleep(5 * time.Minute)
				want := f.store.Peek(account).Record.Generation

				f.store.SetDown(true)
				time.Sleep(5 * time.Second)
				f.store.Flush()
				f.store.FailNext(memstore.OpRestore, 1)
				f.store.SetDown(false)
				if push {
					receive("ticket 3")
				}
				time.Sleep(2 * time.Second)
				if s := f.store.Peek(account); s.Grant == nil || s.Record.Generation != want {
					t.Errorf("the store has grant %v and generation %d, want a grant and %d", s.Grant, s.Record.Generation, want)
				}
				f.wantCalls(1)
			})
		})
	}
}

// A process starts on a store that has just lost everything, while another one still has
// the access token.
func TestAProcessThatStartsOnAnEmptyStoreGetsTheTokenThatAnotherHas(t *testing.T) {
	for name, empty := range map[string]func(f *grantFleet) (started *grantProcess){
		"the store was away": func(f *grantFleet) *grantProcess {
			f.store.SetDown(true)
			time.Sleep(5 * time.Second)
			f.store.Flush()
			q := f.start()
			time.Sleep(time.Second)
			f.store.SetDown(false)
			return q
		},
		"before the other has seen it": func(f *grantFleet) *grantProcess {
			f.store.Flush()
			return f.start()
		},
		"after the other has seen it": func(f *grantFleet) *grantProcess {
			f.store.Flush()
			time.Sleep(2 * time.Second)
			return f.start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
				p := f.start()
				f.consent(p)
				want := f.token(p, time.Second)
				time.Sleep(10 * time.Minute)
				q := empty(f)
				if got := f.token(q, 3*time.Second); got != want {
					t.Errorf("the token is %q, want %q\n%s", got, want, f.log)
				}
				time.Sleep(time.Minute)
				f.wantSent("r1")
				f.wantKept()
			})
		})
	}
}

// Somebody removes the key of the grant alone: no reading of the account tells of it.
func TestAGrantThatWasRemovedByHandIsPutBackWithoutALoop(t *testing.T) {
	grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
		var removed atomic.Pointer[sightings] // of the process from whose store it is removed
		var readings atomic.Int32
		f.rules = func(s *gatedStore) {
			s.reading = func(r coordinator.GrantReading) coordinator.GrantReading {
				if seen := removed.Load(); seen != nil && seen.count(coordinator.RestoredGrant) == 0 {
					readings.Add(1)
					return coordinator.GrantReading{Now: r.Now, SettledIn: 30 * time.Second}
				}
				return r
			}
		}
		p := f.start()
		f.issuer.fault(slices.Repeat([]grantFault{{kind: coordinator.FailedBusy}}, 5)...)
		f.consent(p) // and no token comes
		f.until(func() (all bool) {
			f.issuer.set(func() { all = len(f.issuer.next) == 0 })
			return all
		})
		time.Sleep(100 * time.Millisecond)
		removed.Store(p.seen)
		f.until(func() bool { return p.seen.count(coordinator.RestoredGrant) == 1 })
		if n := readings.Load(); n > 1 {
			t.Errorf("the grant was read %d times before it was put back", n)
		}
		f.token(p, time.Minute)
		time.Sleep(time.Minute)
		f.wantKept()
	})
}

func TestAConsentEndsThePauseThoughTheGrantWasReadBefore(t *testing.T) {
	grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
		f.rules = func(s *gatedStore) {
			s.reading = func(r coordinator.GrantReading) coordinator.GrantReading {
				time.Sleep(100 * time.Millisecond) // what is read arrives late
				return r
			}
		}
		p := f.start()
		time.Sleep(50 * time.Millisecond)
		g := coordinator.Grant{}.Consented(coordinator.Consent{Token: f.issuer.consent()}, time.Now())
		if err := f.store.Instance("beside").SaveGrant(t.Context(), account, g, g.Summary(neverRules, time.Now())); err != nil {
			t.Fatal(err)
		}
		f.token(p, time.Second)
		f.wantSent("r1")
	})
}

func TestLostMarkIsRememberedWhileItsCallIsUnderWay(t *testing.T) {
	grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
		p, q := f.start(), f.start()
		f.consent(p)
		f.token(q, time.Second)
		f.issuer.fault(grantFault{latency: 35 * time.Second})
		f.until(func() bool { return len(f.issuer.sent()) == 2 })
		f.store.LoseGrantWrites(account, 1)
		time.Sleep(34 * time.Second) // the call outlasts its lock
		f.wantSent("r1", "r2")
		time.Sleep(90 * time.Second)
		// The new grant is kept before the access token is stored. In between the other
		// process may begin a refresh with it.
		if sent := f.issuer.sent(); len(sent) != 3 || sent[2] != "r3" {
			f.wantSent("r1", "r2")
		}
		f.wantKept()
	})
}

func TestAStoreThatDoesNotConfirmPresentsNothing(t *testing.T) {
	grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
		p := f.granted()
		f.store.Unconfirm(1 << 20)
		time.Sleep(56 * time.Minute)
		f.wantSent("r1")
		if p.seen.count(coordinator.UnconfirmedGrant) == 0 {
			t.Error("it was not observed")
		}
		f.store.Unconfirm(0)
		time.Sleep(2 * time.Minute)
		f.wantSent("r1", "r2")
		f.wantKept()
	})
}

func TestAnAnswerIsKeptThroughAnOutageBeyondTheAccessTokensEnd(t *testing.T) {
	grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
		p := f.granted()
		f.issuer.fault(grantFault{latency: 4 * time.Second})
		f.until(func() bool { return len(f.issuer.sent()) == 2 })
		f.store.SetDown(true)
		time.Sleep(3 * time.Hour)
		if p.disk.len() != 1 {
			t.Errorf("%d answers are in the spool, want 1", p.disk.len())
		}
		f.store.SetDown(false)
		time.Sleep(10 * time.Second)
		f.wantKept()
		f.token(p, time.Second)
		f.wantSent("r1", "r2", "r3")
	})
}

func TestTheLifeOfAGrantCountsFromItsAnswerNotFromWhenThatIsStored(t *testing.T) {
	grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
		const idle, ends, outage = 24 * time.Hour, 90 * 24 * time.Hour, 6 * time.Hour
		f.issuer.idle, f.issuer.ends = idle, ends
		f.granted()
		f.issuer.fault(grantFault{latency: 4 * time.Second})
		f.until(func() bool { return len(f.issuer.sent()) == 2 })
		came := time.Now().Add(4 * time.Second)
		f.store.SetDown(true)
		time.Sleep(outage)
		f.issuer.fault(grantFault{kind: coordinator.FailedLater}) // or the next answer would say it anew
		f.store.SetDown(false)
		time.Sleep(10 * time.Second)
		g := f.store.PeekGrant(account)
		for name, d := range map[string]time.Duration{
			"ObtainedAt": g.ObtainedAt.Sub(came), "IdleUntil": g.IdleUntil.Sub(came) - idle, "EndsAt": g.EndsAt.Sub(came) - ends,
		} {
			if d.Abs() > time.Second {
				t.Errorf("%s is %v too late\n%s", name, d, f.log)
			}
		}
		f.wantSent("r1", "r2")
	})
}

// The version that the change was made of is lost while the store cannot be reached, and
// another process has stored one of the same number since.
func TestAChangeThatWasLongInComingDoesNotReplaceWhatWasStoredMeanwhile(t *testing.T) {
	grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
		p := f.idleWith(new(memSpool), nil)
		defer p.stop()
		f.consent(p)
		first := f.store.PeekGrant(account)
		rules := coordinator.GrantRules{Needed: true, Replay: time.Hour}
		present := func(g coordinator.Grant, fence coordinator.Fence) coordinator.Grant {
			g, _, err := g.Present(coordinator.PresentRequest{Fence: first.Newest() + fence, Now: time.Now(), For: time.Minute, Rules: rules})
			if err != nil {
				t.Error(err)
			}
			return g
		}
		change := func(fence coordinator.Fence) error {
			return p.c.ChangeGrant(t.Context(), account, rules, func(g coordinator.Grant, _ time.Time) (coordinator.Grant, bool) {
				return present(g, fence), true
			})
		}
		if err := change(1); err != nil {
			t.Fatal(err)
		}
		p.link.FailNext(memstore.OpSaveGrant, 1000)
		changed := make(chan error, 1)
		go func() { changed <- change(2) }()
		time.Sleep(time.Second)
		f.store.LoseGrantWrites(account, 1)
		if _, err := f.store.LoadGrant(t.Context(), account); err != nil {
			t.Fatal(err)
		}
		time.Sleep(coordinator.GrantSettle)
		other := present(first, 3)
		if err := f.store.SaveGrant(t.Context(), account, other, other.Summary(rules, time.Now())); err != nil {
			t.Fatal(err)
		}
		p.link.FailNext(memstore.OpSaveGrant, 0)
		if err := <-changed; err != nil {
			t.Error(err)
		}
		var marks []coordinator.Fence
		for _, p := range f.store.PeekGrant(account).Presentations {
			marks = append(marks, p.Fence-first.Newest())
		}
		slices.Sort(marks)
		if want := []coordinator.Fence{1, 2, 3}; !slices.Equal(marks, want) {
			t.Errorf("the marks are %d, want %d", marks, want)
		}
	})
}

func TestLostAnswersOfTheStoreDoNotMatter(t *testing.T) {
	for _, op := range []memstore.Op{memstore.OpSaveGrant, memstore.OpLoadGrant, memstore.OpCommit, memstore.OpBegin, memstore.OpFail} {
		t.Run(string(op), func(t *testing.T) {
			grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
				p := f.granted()
				for range 5 {
					f.store.LoseAnswers(op, 2)
					time.Sleep(50 * time.Minute)
				}
				f.token(p, time.Second)
				f.wantKept()
				f.wantSent(f.issuer.eachOnce()...)
			})
		})
	}
}

// losesMark has the answer to the next mark of the process lost, and another process save
// what change returns before the mark is saved again.
func (f *grantFleet) losesMark(p *grantProcess, change func(coordinator.Grant) coordinator.Grant) {
	time.Sleep(50 * time.Minute)
	p.link.LoseAnswers(memstore.OpSaveGrant, 1)
	p.gate.at("save grant", func() {
		p.gate.hook = func(op string) {
			if op == "save grant" {
				p.gate.hook = nil
				g := f.store.PeekGrant(account)
				next := change(g)
				next.Version, next.SaveID, next.Saves = g.Version+1, rand.Text(), append(slices.Clone(g.Saves), g.SaveID[:8])
				if err := f.store.Instance("beside").SaveGrant(f.t.Context(), account, next, next.Summary(f.issuer.rules, time.Now())); err != nil {
					f.t.Errorf("SaveGrant() = %v", err)
				}
			}
		}
	})
}

// afterALostMark has a process present the token after the first one, of which the mark's
// answer gets lost and change makes another version, under rules without and with a window.
func afterALostMark(t *testing.T, change func(f *grantFleet, g coordinator.Grant) coordinator.Grant, sent ...string) {
	t.Helper()
	for name, rules := range map[string]coordinator.GrantRules{"never": neverRules, "window": windowRules} {
		t.Run(name, func(t *testing.T) {
			grantBubble(t, rules, func(t *testing.T, f *grantFleet) {
				p := f.granted()
				f.losesMark(p, func(g coordinator.Grant) coordinator.Grant { return change(f, g) })
				time.Sleep(6 * time.Minute)
				f.wantSent(sent...)
				f.wantUnmarked(p)
			})
		})
	}
}

func TestAMarkThatWasStoredIsFoundAgainInTheVersionAfterIt(t *testing.T) {
	afterALostMark(t, func(_ *grantFleet, g coordinator.Grant) coordinator.Grant { return g }, "r1", "r2")
}

func TestAMarkThatWasStoredIsWithdrawnIfItsTokenIsNotSent(t *testing.T) {
	afterALostMark(t, func(f *grantFleet, g coordinator.Grant) coordinator.Grant { // an answer comes late
		f.issuer.mu.Lock()
		defer f.issuer.mu.Unlock()
		late := coordinator.GrantToken{Token: coordinator.NewToken(f.issuer.issue()), Fence: g.Presentations[0].Fence + 1}
		g.Tokens = append(slices.Clone(g.Tokens), late)
		return g
	}, "r1", "r3")
}

// wantUnmarked checks that no mark is left, and that there was no doubt.
func (f *grantFleet) wantUnmarked(p *grantProcess) {
	f.t.Helper()
	f.wantKept()
	if n := len(f.store.PeekGrant(account).Presentations); n != 0 {
		f.t.Errorf("%d marks are left, want none\n%s", n, f.log)
	}
	if n := p.seen.count(coordinator.DoubtedGrant); n != 0 {
		f.t.Errorf("there was doubt %d times\n%s", n, f.log)
	}
}

func TestRunEndsWithinTheTimesThatItStates(t *testing.T) {
	const try = 5 * time.Second // one that is under way at the end
	for name, c := range map[string]struct {
		fault  grantFault
		change func(*coordinator.Config)
		down   func(f *grantFleet, p *grantProcess)
		most   time.Duration
		states time.Duration // StopTime
	}{
		"no answer comes": {grantFault{hangs: true}, nil, func(*grantFleet, *grantProcess) {}, 40 * time.Second, 55 * time.Second},
		"the answer is in the spool only": {grantFault{latency: 39 * time.Second}, nil,
			func(f *grantFleet, _ *grantProcess) { f.store.SetDown(true) }, 50 * time.Second, 55 * time.Second},
		"the spool cannot be written": {grantFault{latency: 39 * time.Second}, nil,
			func(f *grantFleet, p *grantProcess) { f.store.SetDown(true); p.disk.lock(true) }, 100 * time.Second, 55 * time.Second},
		"there is no spool": {grantFault{latency: 39 * time.Second}, func(cfg *coordinator.Config) { cfg.Spool = nil },
			func(f *grantFleet, p *grantProcess) { f.store.SetDown(true) }, 100 * time.Second, 115 * time.Second},
		"the answer is in the store, not copied": {grantFault{latency: 39 * time.Second}, nil,
			func(f *grantFleet, _ *grantProcess) { f.copy.set(func() { f.copy.full = true }) }, 50 * time.Second, 55 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
				p := f.startWith(new(memSpool), c.change)
				if got := p.c.StopTime(); got != c.states {
					t.Errorf("StopTime() = %v, want %v", got, c.states)
				}
				f.consent(p)
				f.token(p, time.Second)
				f.issuer.fault(c.fault)
				f.until(func() bool { return len(f.issuer.sent()) == 2 })
				c.down(f, p)
				began := time.Now()
				p.stop()
				took := time.Since(began)
				if took > c.most+try || took < c.most-2*try {
					t.Errorf("Run has ended after %v, want %v\n%s", took, c.most, f.log)
				}
				if lost := f.log.count("refresh token lost") > 0; took > c.states && !lost {
					t.Errorf("Run has ended after %v and StopTime() is %v, though nothing was lost", took, c.states)
				}
			})
		})
	}
}

// eachOnce is what was sent, each token once.
func (i *grantIssuer) eachOnce() []string {
	seen, once := map[string]bool{}, []string(nil)
	for _, token := range i.sent() {
		if !seen[token] {
			once = append(once, token)
		}
		seen[token] = true
	}
	return once
}
