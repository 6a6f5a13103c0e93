package wecom_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
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
	})
}

// WeCom checks the URL as the provider, whose CorpID need not be configured.
func TestTheURLIsCheckedForTheProvider(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		p.do(p.sandbox.AddSuite(wecomtest.Suite{
			SuiteID: thirdParty, Secret: suiteSecret, Provider: "wwanother", Callback: p.callback(thirdParty, firstAESKey),
		}))
		p.do(p.sandbox.CheckURL(p.Context(), thirdParty))
		forged := p.callback(thirdParty, firstAESKey)
		forged.Token = "another"
		if err := p.sandbox.SetCallback(p.Context(), thirdParty, forged); err == nil {
			p.Error("a check with another Token is answered")
		}
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
		p.push(0, time.Now().Add(time.Hour), "cancel_auth", "AuthCorpId", corpName(1))
		p.install(thirdParty, 1)
		time.Sleep(time.Minute)
		p.wantCondition(thirdParty+"."+corpName(1), coordinator.GrantNone)
		p.wantMembers()
	})
}

// wantMembers fails unless these corps are the third-party app's members, besides
// auth_codes, and its accounts in each process.
func (p *provider) wantMembers(corps ...int) {
	p.Helper()
	var want []string
	for _, corp := range corps {
		want = append(want, thirdParty+"."+corpName(corp))
	}
	synctest.Wait()
	members, err := p.store.Instance("beside").GrantMembers(p.Context(), thirdParty)
	p.do(err)
	members = slices.DeleteFunc(members, func(name string) bool { return strings.Contains(name, "~") })
	if slices.Sort(members); !slices.Equal(members, want) {
		p.Errorf("%v: the members are %q, want %q", time.Now(), members, want)
	}
	for i, process := range p.processes {
		if process.suites == nil {
			continue
		}
		got := p.accounts(i)
		if slices.Sort(got); !slices.Equal(got, want) {
			p.Errorf("%v: process %d has the accounts %q, want %q", time.Now(), i, got, want)
		}
	}
}

// The process that has stored the cancellation ends before it has removed the member.
func TestACorpWhosePermanentCodeWasWithdrawnIsNoMember(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		p.install(thirdParty, 1)
		p.install(thirdParty, 2)
		time.Sleep(time.Minute)
		p.wantMembers(1, 2)
		rules := coordinator.GrantRules{Needed: true, Replay: coordinator.ReplayFree}
		p.do(p.processes[0].zk.ChangeGrant(p.Context(), thirdParty+"."+corpName(1), rules, func(g coordinator.Grant, now time.Time) (coordinator.Grant, bool) {
			return g.Consented(coordinator.Consent{At: now}, now), true
		}))
		time.Sleep(time.Minute)
		p.wantMembers(2)
		p.kill(1)
		p.start(1, keys{current: firstAESKey})
		time.Sleep(time.Minute)
		p.wantMembers(2)
	})
}

// The corp's permanent code is stored, and the process cannot make it a member.
func TestACorpBecomesAMemberThoughThatFailsAtFirst(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		p.sandbox.OnCall(func(path string) {
			if path == pathExchange {
				p.store.FailNext(memstore.OpSetMember, 2)
			}
		})
		p.install(thirdParty, 1)
		time.Sleep(time.Minute)
		p.check("installed")
		p.wantMembers(1)
	})
}

// push pushes an event of this time to a process, again if it is not acknowledged.
func (p *provider) push(i int, at time.Time, infoType, member, value string) {
	p.Helper()
	query, body := event(p.T, thirdParty, []string{"SuiteId", "InfoType", "TimeStamp", member}, msgcrypt.Fields{
		"SuiteId": thirdParty, "InfoType": infoType, "TimeStamp": strconv.FormatInt(at.Unix(), 10), member: value,
	})
	for range 4 {
		if _, err := p.processes[i].suites[thirdParty].Callback(p.Context(), http.MethodPost, query, body); err == nil {
			return
		}
		time.Sleep(5 * time.Second)
	}
	p.Errorf("%s of %s is not acknowledged", infoType, value)
}

func TestACancellationDuringTheExchangeCountsByItsTime(t *testing.T) {
	for name, after := range map[string]time.Duration{"before the installation": -time.Minute, "after it": time.Minute} {
		t.Run(name, func(t *testing.T) {
			inProvider(t, nil, func(p *provider) {
				time.Sleep(time.Minute)
				p.store.SetLatency(50 * time.Millisecond)
				var members []int
				for corp := range 40 {
					installed := time.Now()
					p.install(thirdParty, corp)
					time.Sleep(time.Duration(50*corp) * time.Millisecond) // at any step of the exchange
					p.push(corp%3, installed.Add(after), "cancel_auth", "AuthCorpId", corpName(corp))
					if after < 0 {
						members = append(members, corp)
					}
				}
				time.Sleep(time.Minute)
				p.wantMembers(members...)
			})
		})
	}
}

// A slow process stores the cancellation while fast ones store the next installation.
func TestACorpThatInstallsAgainWhileItIsRemovedIsAMember(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		const corps = 40
		var members []int
		for corp := range corps {
			p.install(thirdParty, corp)
			members = append(members, corp)
		}
		time.Sleep(time.Minute)
		p.processes[0].store.SetLatency(150 * time.Millisecond)
		p.fault(thirdParty, wecomtest.PushFault{Drop: true, For: 10 * time.Minute}) // this pushes them
		var pushing sync.WaitGroup
		for corp := range corps {
			p.do(p.sandbox.Cancel(thirdParty, corpName(corp)))
			at := time.Now()
			time.Sleep(time.Second)
			pushing.Go(func() { p.push(0, at, "cancel_auth", "AuthCorpId", corpName(corp)) })
			time.Sleep(time.Duration(20*corp) * time.Millisecond) // at any step of it
			code, err := p.sandbox.Install(thirdParty, corpName(corp))
			p.do(err)
			p.push(1, time.Now(), "create_auth", "AuthCode", code)
			pushing.Wait()
			time.Sleep(200 * time.Millisecond)
			if members, err := p.store.Instance("beside").GrantMembers(p.Context(), thirdParty); err != nil || !slices.Contains(members, thirdParty+"."+corpName(corp)) {
				p.Errorf("%s, installed again %d ms after its cancellation, is no member", corpName(corp), 20*corp)
			}
		}
		time.Sleep(time.Minute)
		p.check("installed again")
		p.wantMembers(members...)
	})
}

func TestACorpThatInstallsOnTheProvidersPageGetsAnAccount(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		time.Sleep(time.Minute)
		p.redirect(0, 1)
		time.Sleep(time.Minute)
		p.check("installed")
		p.wantCondition(thirdParty+"."+corpName(1), coordinator.GrantGood)
		p.codes()
	})
}

func TestALateCancellationEndsNoInstallationOnTheProvidersPage(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		p.install(thirdParty, 1)
		time.Sleep(time.Minute)
		p.fault(thirdParty, wecomtest.PushFault{InfoType: "cancel_auth", Delay: 2 * time.Minute})
		p.do(p.sandbox.Cancel(thirdParty, corpName(1)))
		time.Sleep(2 * time.Second)
		p.redirect(0, 1)
		time.Sleep(5 * time.Minute)
		p.check("the cancellation has arrived")
		p.wantCondition(thirdParty+"."+corpName(1), coordinator.GrantGood)
	})
}

// redirect lets a corp install the third-party app on the provider's page, which hands the
// auth_code to a process.
func (p *provider) redirect(i, corp int) {
	p.Helper()
	token, err := p.processes[i].zk.Token(p.Context(), thirdParty)
	p.do(err)
	client := http.Client{Transport: p.sandbox.Transport()}
	resp, err := client.Get(wecom.DefaultBaseURL + "/cgi-bin/service/get_pre_auth_code?suite_access_token=" + token.Reveal())
	p.do(err)
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		PreAuthCode string `json:"pre_auth_code"`
	}
	p.do(json.NewDecoder(resp.Body).Decode(&answer))
	code, err := p.sandbox.Redirect(thirdParty, corpName(corp), answer.PreAuthCode)
	p.do(err)
	p.do(p.processes[i].suites[thirdParty].TakeAuthCode(p.Context(), code))
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

func TestAccountsThatAreThereAlreadyGetTheirSources(t *testing.T) {
	inProvider(t, nil, func(p *provider) {
		p.install(thirdParty, 1)
		time.Sleep(time.Minute)
		p.following = []string{thirdParty + "." + corpName(1)}
		p.restart(0, keys{current: firstAESKey})
		time.Sleep(time.Minute)
		p.wantMembers(1)
		account, _ := p.processes[0].zk.Account(p.following[0])
		if account.Role() != coordinator.Refresher {
			p.Errorf("the account is a %v of its token", account.Role())
		}
		p.do(p.sandbox.Cancel(thirdParty, corpName(1)))
		time.Sleep(time.Minute)
		p.wantMembers()
	})
}
