package wecom_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/coordinator/wechat/msgcrypt"
	"github.com/zhongkong/zhongkong/coordinator/wecom"
	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

const pathExchange = "/cgi-bin/service/get_permanent_code"

// event is a push as WeCom would send it.
func event(t *testing.T, receiver string, names []string, fields msgcrypt.Fields) (url.Values, []byte) {
	t.Helper()
	codec, err := msgcrypt.Config{Token: pushToken, EncodingAESKey: firstAESKey, Receivers: []string{receiver}}.Codec()
	if err != nil {
		t.Fatal(err)
	}
	push := codec.Seal(fields.XML(names...), time.Now())
	return push.Query(), push.Body("ToUserName", receiver)
}

// condition returns what the grant of an account is worth.
func (p *provider) condition(name string) coordinator.GrantCondition {
	p.Helper()
	r, err := p.processes[0].store.LoadGrant(p.Context(), name)
	p.do(err)
	rules := coordinator.GrantRules{Needed: true, Replay: coordinator.ReplayFree}
	return r.Grant.Condition(rules, r.Now)
}

func (p *provider) wantCondition(name string, want coordinator.GrantCondition) {
	p.Helper()
	synctest.Wait()
	if got := p.condition(name); got != want {
		p.Fatalf("%v: the grant of %s is %q, want %q", time.Now(), name, got, want)
	}
}

// accounts returns the accounts of corps that a process has.
func (p *provider) accounts(i int) (names []string) {
	synctest.Wait()
	for _, a := range p.processes[i].zk.Accounts() {
		if strings.Contains(a.Name(), ".") {
			names = append(names, a.Name())
		}
	}
	return names
}

func TestOnlyPushesForTheSuiteAreTaken(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		suite := p.processes[0].suites[thirdParty]
		fields := func(id string) msgcrypt.Fields {
			return msgcrypt.Fields{"SuiteId": id, "InfoType": "suite_ticket", "TimeStamp": "1403610513", "SuiteTicket": "forged"}
		}
		names := []string{"SuiteId", "InfoType", "TimeStamp", "SuiteTicket"}
		for name, c := range map[string]struct {
			receiver, suiteID string
			damage            func(url.Values)
			want              error
		}{
			"the suite's":              {thirdParty, thirdParty, nil, nil},
			"to the provider's corpid": {providerCorp, thirdParty, nil, nil},
			"to another receiver":      {"wwother", thirdParty, nil, msgcrypt.ErrReceiver},
			"of another suite":         {providerCorp, customSuite, nil, msgcrypt.ErrReceiver},
			"with a wrong signature":   {thirdParty, thirdParty, func(q url.Values) { q.Set("nonce", "x") }, msgcrypt.ErrSignature},
			"without a signature":      {thirdParty, thirdParty, func(q url.Values) { q.Del("msg_signature") }, msgcrypt.ErrMalformed},
		} {
			query, body := event(p.T, c.receiver, names, fields(c.suiteID))
			if c.damage != nil {
				c.damage(query)
			}
			answer, err := suite.Callback(p.Context(), http.MethodPost, query, body)
			if !errors.Is(err, c.want) || (err == nil) != (answer == "success") {
				p.Errorf("a push %s is answered %q, %v, want %v", name, answer, err, c.want)
			}
		}
		p.do(p.sandbox.CheckURL(p.Context(), thirdParty))
	})
}

func TestEventsWithoutWhatTheyAreAboutAreRefused(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		suite := p.processes[0].suites[thirdParty]
		for infoType, want := range map[string]error{
			"suite_ticket": msgcrypt.ErrMalformed, "create_auth": msgcrypt.ErrMalformed, "reset_permanent_code": msgcrypt.ErrMalformed,
			"cancel_auth": msgcrypt.ErrMalformed, "change_auth": msgcrypt.ErrMalformed, "change_contact": nil,
		} {
			query, body := event(p.T, thirdParty, []string{"SuiteId", "InfoType"}, msgcrypt.Fields{"SuiteId": thirdParty, "InfoType": infoType})
			if _, err := suite.Callback(p.Context(), http.MethodPost, query, body); !errors.Is(err, want) {
				p.Errorf("%s: %v, want %v", infoType, err, want)
			}
		}
	})
}

func TestACancellationThatIsOlderThanTheInstallationIsNone(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		for _, id := range []string{thirdParty, customSuite} {
			p.install(id, 1)
			time.Sleep(time.Minute)
			p.check("installed")
			p.fault(id, wecomtest.PushFault{InfoType: "cancel_auth", Delay: 2 * time.Minute})
			p.do(p.sandbox.Cancel(id, corpName(1)))
			time.Sleep(time.Second)
			p.install(id, 1)
			time.Sleep(time.Minute)
			p.check("installed again")
			time.Sleep(2 * time.Minute)
			p.check("after the late cancellation")
			p.do(p.sandbox.Cancel(id, corpName(1)))
			time.Sleep(time.Minute)
			p.check("cancelled")
			p.wantCondition(id+"."+corpName(1), coordinator.GrantNone)
		}
		p.codes()
	})
}

func TestAnInstallationThatArrivesAfterItsCancellationIsNone(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		suite := p.processes[0].suites[thirdParty]
		query, body := event(p.T, thirdParty, []string{"SuiteId", "InfoType", "TimeStamp", "AuthCorpId"}, msgcrypt.Fields{
			"SuiteId": thirdParty, "InfoType": "cancel_auth", "TimeStamp": "4000000000", "AuthCorpId": corpName(1),
		})
		if _, err := suite.Callback(p.Context(), http.MethodPost, query, body); err != nil {
			p.Fatal(err)
		}
		p.install(thirdParty, 1)
		time.Sleep(time.Minute)
		p.wantCondition(thirdParty+"."+corpName(1), coordinator.GrantNone)
	})
}

func TestACorpWhoseCancellationWasLostIsFoundDead(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		for _, id := range []string{thirdParty, customSuite} {
			name := id + "." + corpName(1)
			p.install(id, 1)
			time.Sleep(time.Minute)
			p.fault(id, wecomtest.PushFault{InfoType: "cancel_auth", Drop: true})
			p.do(p.sandbox.Cancel(id, corpName(1)))
			time.Sleep(2*time.Hour + time.Minute)
			p.wantCondition(name, coordinator.GrantDead)
			time.Sleep(24 * time.Hour)
			p.install(id, 1)
			time.Sleep(time.Minute)
			p.check("installed again")
		}
		if _, gone := p.calls("/cgi-bin/service/get_corp_token", 40084); gone != 1 {
			p.Errorf("WeCom said %d times that the corp is gone, want once", gone)
		}
		if _, wrong := p.calls(pathToken, 40001); wrong != 1 {
			p.Errorf("%d wrong secrets were sent, want 1", wrong)
		}
	})
}

func TestAnAppForContactsAnnouncesItsEndAsAChange(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		p.install(thirdParty, 1)
		time.Sleep(5 * time.Minute)
		p.do(p.sandbox.CancelAsChange(thirdParty, corpName(1)))
		time.Sleep(time.Minute)
		p.wantCondition(thirdParty+"."+corpName(1), coordinator.GrantDead)
	})
}

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
		p.sandbox.OnCall(func(path string) {
			if path == pathExchange {
				p.processes[0].store.SetDown(true)
			}
		})
		p.install(thirdParty, 1)
		time.Sleep(time.Minute)
		if answers, _ := kept.Answers(); len(answers) != 1 {
			p.Fatalf("%d answers are in the spool, want 1", len(answers))
		}
		p.kill(0)
		p.sandbox.OnCall(nil)
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

// copies is a GrantCopy in memory.
type copies struct {
	mu     sync.Mutex
	grants map[string]coordinator.Grant
}

func (c *copies) Put(_ context.Context, account string, g coordinator.Grant) error {
	c.mu.Lock()
	defer c.mu.Unlock()
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
		p.sandbox.OnCall(func(path string) {
			if path == pathExchange {
				p.processes[0].store.SetDown(true)
			}
		})
		p.install(thirdParty, 1)
		time.Sleep(time.Minute)
		p.sandbox.OnCall(nil)
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

func TestAfterALongLossOfTicketsTheFirstOneBringsEverythingBack(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		for i := range 20 {
			p.install(thirdParty, i)
		}
		time.Sleep(time.Minute)
		p.fault(thirdParty, wecomtest.PushFault{InfoType: "suite_ticket", Drop: true, For: 5 * time.Hour})
		time.Sleep(4*time.Hour + 50*time.Minute)
		status := p.processes[0].zk
		account, _ := status.Account(thirdParty)
		ctx, cancel := context.WithTimeout(p.Context(), time.Second)
		defer cancel()
		if _, err := account.Token(ctx); err == nil || !strings.Contains(err.Error(), "push") {
			p.Errorf("without a ticket Token() = %v, want that a push is waited for", err)
		}
		calls := 0
		for _, c := range p.sandbox.Calls() {
			if c.App == thirdParty && c.Path == "/cgi-bin/service/get_suite_token" {
				calls++
			}
		}
		if calls > 1 {
			p.Errorf("%d calls for the suite's token, want one while there was a ticket", calls)
		}
		time.Sleep(20*time.Minute + time.Minute)
		p.check("after the first ticket")
	})
}

func TestTheNewestTicketThatWorksIsPresented(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		time.Sleep(time.Minute)
		account, _ := p.processes[0].zk.Account(thirdParty)
		p.do(account.Receive(p.Context(), coordinator.Received{
			Token: coordinator.NewToken("unknown to WeCom"), At: time.Now().Add(time.Minute), Life: 30 * time.Minute,
		}))
		p.do(p.sandbox.EndSuiteToken(thirdParty))
		_, err := account.Refresh(p.Context())
		if err == nil {
			p.Error("Refresh() presented another ticket than the newest")
		}
		time.Sleep(time.Minute)
		s, err := account.Refresh(p.Context())
		if err != nil || !p.sandbox.Valid(s.Token.Reveal()) {
			p.Errorf("Refresh() = %v, want a token by the ticket before", err)
		}
		if _, bad := p.calls("/cgi-bin/service/get_suite_token", 40085); bad != 1 {
			p.Errorf("the unknown ticket was presented %d times, want once", bad)
		}
	})
}

func TestOnlyTheListedCorpsGetAccounts(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		p.corps = []string{corpName(2)}
		for i := range p.processes {
			p.restart(i, keys{current: firstAESKey})
		}
		for i := range 3 {
			p.install(thirdParty, i)
		}
		time.Sleep(time.Minute)
		if got := p.accounts(0); !slices.Equal(got, []string{thirdParty + "." + corpName(2)}) {
			p.Errorf("the accounts are %q", got)
		}
		p.codes()
	})
}

func TestASuiteNeedsItsParts(t *testing.T) {
	zk, err := coordinator.New(coordinator.Config{Store: memstore.New().Instance("a")})
	if err != nil {
		t.Fatal(err)
	}
	account, err := zk.Add(coordinator.AccountConfig{Name: thirdParty})
	if err != nil {
		t.Fatal(err)
	}
	good := wecom.SuiteConfig{
		SuiteID: thirdParty, Token: pushToken, EncodingAESKey: firstAESKey, Account: account, Coordinator: zk, Grants: memstore.New().Instance("b"),
		Add:    func(string, coordinator.Source, string) (*coordinator.Account, error) { return nil, nil },
		Remove: zk.Remove,
	}
	if _, err := wecom.NewSuite(good); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*wecom.SuiteConfig){
		"no id":      func(c *wecom.SuiteConfig) { c.SuiteID = "" },
		"no token":   func(c *wecom.SuiteConfig) { c.Token = "" },
		"a bad key":  func(c *wecom.SuiteConfig) { c.EncodingAESKey = "secret-key" },
		"no account": func(c *wecom.SuiteConfig) { c.Account = nil },
		"a bad URL":  func(c *wecom.SuiteConfig) { c.BaseURL = "http://qyapi.weixin.qq.com" },
	} {
		c := good
		change(&c)
		if _, err := wecom.NewSuite(c); err == nil || strings.Contains(err.Error(), "secret-key") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
