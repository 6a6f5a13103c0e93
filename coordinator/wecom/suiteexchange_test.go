package wecom_test

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

func TestACorpInstallsBeforeTheFirstSuiteTicket(t *testing.T) {
	lost := func(p *provider) {
		for _, id := range []string{thirdParty, customSuite} {
			p.fault(id, wecomtest.PushFault{InfoType: "suite_ticket", Delay: 5 * time.Minute, For: time.Minute})
		}
	}
	inProviderAfter(t, nil, lost, func(p *provider) {
		p.install(thirdParty, 1)
		p.install(customSuite, 1)
		time.Sleep(4 * time.Minute)
		if all, _ := p.calls("/cgi-bin/service/get_suite_token", 0); all > 0 {
			p.Errorf("%d calls without a suite_ticket", all)
		}
		time.Sleep(2 * time.Minute)
		p.check("after the first suite_ticket")
	})
}

func TestAnExchangeIsRepeatedAsFarAsThatIsSafe(t *testing.T) {
	for name, c := range map[string]struct {
		fault     wecomtest.Fault
		installed bool
		calls     int // how many WeCom has seen
	}{
		"WeCom is busy":       {wecomtest.Fault{Code: -1, Times: 2}, true, 3},
		"no connection":       {wecomtest.Fault{Dial: true, Times: 2}, true, 3},
		"a bad gateway":       {wecomtest.Fault{Status: http.StatusBadGateway, Times: 1}, true, 2},
		"the token is dead":   {wecomtest.Fault{Code: 42009}, true, 2},
		"not whitelisted":     {wecomtest.Fault{Code: 60020}, true, 2},
		"too many calls":      {wecomtest.Fault{Code: 45009, Message: "too many calls per minute"}, true, 2},
		"the answer is lost":  {wecomtest.Fault{Reset: true}, false, 2},
		"the code is unknown": {wecomtest.Fault{Code: 40078}, false, 1},
		"two bad gateways":    {wecomtest.Fault{Status: http.StatusBadGateway, Times: 2}, true, 3},
	} {
		t.Run(name, func(t *testing.T) {
			inProvider(t, nil, func(p *provider) {
				time.Sleep(time.Minute)
				c.fault.Path = pathExchange
				p.sandbox.Inject(c.fault)
				p.install(thirdParty, 1)
				time.Sleep(5 * time.Minute)
				if got := len(p.accounts(0)) == 1; got != c.installed {
					p.Errorf("the corp is an account: %t, want %t", got, c.installed)
				}
				if all, _ := p.calls(pathExchange, 0); all != c.calls {
					p.Errorf("%d calls, want %d", all, c.calls)
				}
				time.Sleep(time.Hour)
				if pending, err := p.processes[0].store.GrantMembers(p.Context(), thirdParty); err != nil || len(pending) != len(p.accounts(0)) {
					p.Errorf("the members are %q, %v, want accounts only", pending, err)
				}
				if !c.installed { // the corp installs it again
					p.sandbox.ForgetInstall(thirdParty, corpName(1))
					p.install(thirdParty, 1)
					time.Sleep(time.Minute)
				}
				p.check("in the end")
			})
		})
	}
}

// pending returns the name of the one auth_code that is not exchanged yet.
func (p *provider) pending() string {
	p.Helper()
	members, err := p.processes[0].store.GrantMembers(p.Context(), thirdParty)
	p.do(err)
	if len(members) != 1 {
		p.Fatalf("the members are %q, want one auth_code", members)
	}
	return members[0]
}

// The answer to the mark gets lost, and another version is saved before the mark is saved
// again.
func TestAMarkThatWasStoredIsFoundAgainThoughItsAnswerWasLost(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		p.kill(1)
		p.kill(2)
		time.Sleep(time.Minute)
		p.sandbox.Inject(wecomtest.Fault{Path: pathExchange, Code: -1, Times: 1})
		p.install(thirdParty, 1)
		time.Sleep(time.Second) // in the pause after the first exchange
		name := p.pending()
		if n := len(p.store.PeekGrant(name).Presentations); n != 0 {
			p.Fatalf("%d marks are there, want none", n)
		}
		p.processes[0].store.LoseAnswers(memstore.OpSaveGrant, 1)
		g := p.store.PeekGrant(name)
		for end := time.Now().Add(time.Minute); len(g.Presentations) == 0; g = p.store.PeekGrant(name) {
			if time.Now().After(end) {
				p.Fatal("the auth_code is not marked again")
			}
			time.Sleep(time.Millisecond)
		}
		if calls, _ := p.calls(pathExchange, 0); calls != 1 {
			p.Fatalf("%d calls before the mark is confirmed, want 1", calls)
		}
		next := g
		next.Version, next.SaveID, next.Saves = g.Version+1, rand.Text(), append(slices.Clone(g.Saves), g.SaveID[:8])
		p.do(p.store.Instance("beside").SaveGrant(p.Context(), name, next, next.Summary(coordinator.GrantRules{Needed: true}, time.Now())))
		time.Sleep(2 * time.Second)
		p.check("after the mark was saved again")
		if calls, _ := p.calls(pathExchange, 0); calls != 2 {
			p.Errorf("%d calls, want 2", calls)
		}
	})
}

// A large corp's answer lists everybody who may see the app, and a gateway may cut it.
func TestAPermanentCodeIsTakenFromAnAnswerHoweverLongOrCut(t *testing.T) {
	for name, c := range map[string]struct{ users, cut int }{
		"long":         {5_000, 0},
		"cut":          {10, 1},
		"long and cut": {5_000, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inProvider(t, func(k *wecomtest.Knobs) { k.AllowUsers = c.users }, func(p *provider) {
				time.Sleep(time.Minute)
				if c.cut > 0 {
					p.sandbox.Inject(wecomtest.Fault{Path: pathExchange, Times: 2, Cut: c.cut})
				}
				p.install(thirdParty, 1)
				p.install(customSuite, 1)
				time.Sleep(time.Minute)
				p.check("after the exchange")
				p.codes()
				if all, _ := p.calls(pathExchange, 0); all != 2 {
					p.Errorf("%d exchanges, want one for each suite", all)
				}
			})
		})
	}
}

// spool is a GrantSpool in memory.
type spool struct {
	mu      sync.Mutex
	answers []coordinator.GrantAnswer
	most    int
}

func (s *spool) Write(a coordinator.GrantAnswer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = append(s.answers, a)
	s.most = max(s.most, len(s.answers))
	return nil
}

func (s *spool) Remove(account string, fence coordinator.Fence) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = slices.DeleteFunc(s.answers, func(a coordinator.GrantAnswer) bool { return a.Account == account && a.Fence == fence })
	return nil
}

func (s *spool) Answers() ([]coordinator.GrantAnswer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.answers), nil
}

// slowSpool is a spool on a slow disk.
type slowSpool struct{ spool }

func (s *slowSpool) Write(a coordinator.GrantAnswer) error {
	time.Sleep(time.Second)
	return s.spool.Write(a)
}

// Processes that read an auth_code in the same microsecond mark it at once.
func TestOneOfManyProcessesExchangesAnAuthCode(t *testing.T) {
	const corps, rounds = 20, 10 // so many that some are read so
	for range rounds {
		inProvider(t, nil, func(p *provider) {
			p.kill(1)
			p.kill(2)
			time.Sleep(time.Minute)
			p.sandbox.Inject(wecomtest.Fault{Path: pathExchange, Code: -1, Times: corps})
			for i := range corps {
				p.install(thirdParty, i)
			}
			p.kill(0)
			p.store.SetLatency(10 * time.Millisecond) // each reads before another saves
			p.spool = new(slowSpool)
			for i := range p.processes {
				p.start(i, keys{current: firstAESKey})
			}
			time.Sleep(2 * time.Minute)
			if _, used := p.calls(pathExchange, 40078); used != 0 {
				p.Errorf("%d calls were of a used auth_code", used)
			}
			p.check("after the exchange")
		})
	}
}

// The store goes away when WeCom has answered, and the process ends before it is back.
func TestAPermanentCodeThatCannotBeStoredIsInTheSpool(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		time.Sleep(time.Minute)
		for i := range p.processes {
			p.kill(i)
		}
		kept := new(spool)
		p.spool = kept
		p.start(0, keys{current: firstAESKey})
		time.Sleep(time.Minute)
		p.cutOffAtTheAnswer(func() { p.install(thirdParty, 1) })
		if answers, _ := kept.Answers(); len(answers) != 1 {
			p.Fatalf("%d answers are in the spool, want 1", len(answers))
		}
		p.kill(0)
		p.processes[0].store.SetDown(false)
		p.start(0, keys{current: firstAESKey})
		time.Sleep(2 * time.Minute)
		p.check("after the restart")
		p.codes()
		if answers, _ := kept.Answers(); len(answers) != 0 {
			p.Errorf("%d answers are left in the spool", len(answers))
		}
	})
}

// A process that has exchanged an auth_code cannot store the permanent code, and is down
// while another one gives the auth_code up.
func TestAPermanentCodeInTheSpoolReachesItsCorpHoweverLate(t *testing.T) {
	installs := map[string]func(p *provider, i int){
		"pushed":     func(p *provider, _ int) { p.install(thirdParty, 1) },
		"redirected": func(p *provider, i int) { p.redirect(i, 1) },
	}
	meanwhile := map[string]struct {
		do     func(p *provider, install func(p *provider, i int))
		member bool
	}{
		"nothing happens": {func(*provider, func(*provider, int)) {}, true},
		"the corp cancels": {func(p *provider, _ func(*provider, int)) {
			p.do(p.sandbox.Cancel(thirdParty, corpName(1)))
		}, false},
		"the corp installs it again": {func(p *provider, install func(*provider, int)) {
			p.do(p.sandbox.Cancel(thirdParty, corpName(1)))
			time.Sleep(5 * time.Second)
			install(p, 1)
		}, true},
		"the corp installs it again, and the cancellation is lost": {func(p *provider, install func(*provider, int)) {
			p.fault(thirdParty, wecomtest.PushFault{InfoType: "cancel_auth", Drop: true})
			p.do(p.sandbox.Cancel(thirdParty, corpName(1)))
			install(p, 1)
		}, true},
	}
	for by, install := range installs {
		for what, c := range meanwhile {
			for _, down := range []time.Duration{30 * time.Minute, 70 * time.Minute, 3 * time.Hour} {
				t.Run(by+"/"+what+"/"+down.String(), func(t *testing.T) {
					inProvider(t, nil, func(p *provider) {
						p.kill(1)
						p.kill(2)
						kept := new(spool)
						p.spool = kept
						p.restart(0, keys{current: firstAESKey})
						time.Sleep(time.Minute)
						p.cutOffAtTheAnswer(func() { install(p, 0) })
						p.kill(0)
						if answers, _ := kept.Answers(); len(answers) != 1 {
							p.Fatalf("%d answers are in the spool, want 1", len(answers))
						}
						p.spool = nil
						p.start(1, keys{current: firstAESKey})
						time.Sleep(down)
						c.do(p, install)
						time.Sleep(2 * time.Minute)
						p.processes[0].store.SetDown(false)
						p.spool = kept
						p.start(0, keys{current: firstAESKey})
						time.Sleep(2 * time.Minute)
						p.check("after the restart")
						p.codes()
						if c.member {
							p.wantMembers(1)
						} else {
							p.wantMembers()
						}
						if answers, _ := kept.Answers(); len(answers) != 0 {
							p.Errorf("%d answers are left in the spool", len(answers))
						}
					})
				})
			}
		}
	}
}

// The process that has the permanent code goes on, but reaches the store again only when
// the auth_code was given up, and its record is gone.
func TestAPermanentCodeIsStoredThoughItsAuthCodeIsForgotten(t *testing.T) {
	for _, away := range []time.Duration{70 * time.Minute, 3 * time.Hour} {
		t.Run(away.String(), func(t *testing.T) {
			inProvider(t, nil, func(p *provider) {
				p.kill(1)
				p.kill(2)
				time.Sleep(time.Minute)
				p.cutOffAtTheAnswer(func() { p.install(thirdParty, 1) })
				p.start(1, keys{current: firstAESKey})
				time.Sleep(away)
				p.processes[0].store.FailNext(memstore.OpSetMember, 3) // it is not stored at the first try either
				p.processes[0].store.SetDown(false)
				time.Sleep(2 * time.Minute)
				p.check("after the store is back")
				p.codes()
				p.wantMembers(1)
			})
		})
	}
}

// copies is a GrantCopy in memory.
type copies struct {
	mu     sync.Mutex
	grants map[string]coordinator.Grant
	full   bool // nothing can be put
}

func (c *copies) Put(_ context.Context, account string, g coordinator.Grant) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.full {
		return errors.New("no space left on device")
	}
	if !g.Older(c.grants[account]) {
		c.grants[account] = g
	}
	return nil
}

func (c *copies) Get(_ context.Context, account string) (coordinator.Grant, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.grants[account], nil
}

func (c *copies) Accounts(context.Context) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.grants)), nil
}

func (c *copies) fill(full bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.full = full
}

func TestTheMembersDoNotWaitForTheCopy(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		kept := &copies{grants: map[string]coordinator.Grant{}}
		p.copy = kept
		for i := range p.processes {
			p.restart(i, keys{current: firstAESKey})
		}
		time.Sleep(time.Minute)
		p.sandbox.OnCall(func(path string) {
			if path == pathExchange {
				kept.fill(true)
			}
		})
		p.install(thirdParty, 1)
		time.Sleep(time.Minute)
		p.wantMembers(1)
		p.do(p.sandbox.Cancel(thirdParty, corpName(1)))
		time.Sleep(time.Minute)
		p.wantMembers()
		kept.fill(false)
		time.Sleep(time.Minute)
		p.wantMembers()
		if pending, err := p.processes[0].store.GrantMembers(p.Context(), thirdParty); err != nil || len(pending) > 1 {
			p.Errorf("the members are %q, %v", pending, err)
		}
	})
}

func TestAStoreThatHasLostEverythingGetsTheCorpsBack(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		p.copy = &copies{grants: map[string]coordinator.Grant{}}
		for i := range p.processes {
			p.restart(i, keys{current: firstAESKey})
		}
		for i := range 10 {
			p.install(thirdParty, i)
			p.install(customSuite, i)
		}
		time.Sleep(time.Minute)
		for i := range 3 {
			p.do(p.sandbox.Cancel(thirdParty, corpName(i)))
		}
		time.Sleep(10 * time.Minute) // until the copy has a suite_ticket
		p.check("before")
		p.store.Flush() // from memory
		p.check("at once")
		time.Sleep(10 * time.Minute) // until every account was read again
		p.check("after the store was emptied")
		p.codes()

		for i := range p.processes {
			p.kill(i)
		}
		p.store.Flush() // from the copy
		for i := range p.processes {
			p.start(i, keys{current: firstAESKey})
		}
		time.Sleep(2 * time.Minute)
		p.check("after the store was emptied while all were down")
		p.codes()
		p.do(p.sandbox.Cancel(thirdParty, corpName(5)))
		time.Sleep(time.Minute)
		p.check("after a corp has gone")
	})
}

// The process that has the answer cannot store it for a while. Another one tries the
// auth_code once more, which is used up, and must not give it up.
func TestAnAnswerIsKeptThoughTheCodeWasTriedAgain(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		p.kill(1)
		p.kill(2)
		time.Sleep(time.Minute)
		p.cutOffAtTheAnswer(func() { p.install(thirdParty, 1) })
		p.start(1, keys{current: firstAESKey})
		time.Sleep(12 * time.Minute)
		if _, used := p.calls(pathExchange, 40078); used != 1 {
			p.Errorf("the auth_code was tried again %d times, want once", used)
		}
		p.processes[0].store.SetDown(false)
		time.Sleep(time.Minute)
		p.check("after the store is back")
		p.codes()
	})
}

func TestWhileTheStoreIsAwayOnlyASuiteTicketIsAnswered(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		p.store.SetDown(true)
		ticket, err := p.sandbox.PushTicket(thirdParty)
		p.do(err)
		p.install(thirdParty, 1)
		time.Sleep(10 * time.Second)
		for _, push := range p.sandbox.Pushes()[2:] {
			if push.Acknowledged != (push.InfoType == "suite_ticket") {
				p.Errorf("%s is acknowledged: %t", push.InfoType, push.Acknowledged)
			}
		}
		p.store.SetDown(false)
		time.Sleep(time.Minute)
		r, err := p.processes[0].store.LoadGrant(p.Context(), thirdParty)
		p.do(err)
		if !slices.ContainsFunc(r.Grant.Tokens, func(t coordinator.GrantToken) bool { return t.Token.Reveal() == ticket }) {
			p.Error("the ticket was not stored when the store was back")
		}
		p.check("after the store was away")
	})
}

func TestAnInstallationThatCameWhileTheStoreWasAwayIsNotLost(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		time.Sleep(time.Minute)
		p.store.SetDown(true)
		for _, id := range []string{thirdParty, customSuite} {
			p.install(id, 1)
		}
		time.Sleep(time.Minute) // WeCom has given up
		p.store.SetDown(false)
		time.Sleep(time.Minute)
		p.check("after the outage")
	})
}
