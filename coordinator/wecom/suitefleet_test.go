package wecom_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/coordinator/wecom"
	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

const (
	thirdParty   = "ww4asffe99e54c0f4c"
	customSuite  = "dk4asffe99e54c0f4c"
	suiteSecret  = "suite-secret"
	pushToken    = "QDG6eK"
	firstAESKey  = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"
	secondAESKey = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
)

// provider is a fleet of processes with the two suites of a service provider, behind a
// load balancer for what WeCom pushes, on virtual time.
type provider struct {
	*testing.T
	sandbox *wecomtest.Server
	store   *memstore.Store
	random  *rand.Rand
	spool   coordinator.GrantSpool // of processes that are started; nil: none
	copy    coordinator.GrantCopy
	corps   []string // SuiteConfig.Corps of them

	following []string // accounts of corps that they have, without a source, before the suite runs

	mu        sync.Mutex // guards what follows
	processes []*process
}

// process is a process of a provider's fleet.
type process struct {
	zk     *coordinator.Coordinator
	store  *memstore.Instance
	suites map[string]*wecom.Suite // by SuiteID; nil: it is down
	stop   func()
}

// keys are those of the callback URLs.
type keys struct{ current, previous string }

// providerCorp is the CorpID of the provider.
const providerCorp = "wwprovider"

// inProvider runs test in a bubble with three processes. change may change the simulator.
func inProvider(t *testing.T, change func(*wecomtest.Knobs), test func(p *provider)) {
	t.Helper()
	inProviderAfter(t, change, func(*provider) {}, test)
}

// inProviderAfter is inProvider with something to do before the first push.
func inProviderAfter(t *testing.T, change func(*wecomtest.Knobs), before, test func(p *provider)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &provider{T: t, store: memstore.New(), random: rand.New(rand.NewPCG(1, 2))}
		knobs := wecomtest.DefaultKnobs()
		if change != nil {
			change(&knobs)
		}
		c := wecomtest.Config{Seed: 1, Knobs: &knobs}
		for _, id := range []string{thirdParty, customSuite} {
			c.Suites = append(c.Suites, wecomtest.Suite{SuiteID: id, Secret: suiteSecret, Custom: wecom.IsCustom(id), Callback: p.callback(id, firstAESKey)})
		}
		p.sandbox = wecomtest.New(c)
		for i := range 3 {
			p.processes = append(p.processes, &process{store: p.store.Instance(fmt.Sprint("process", i))})
			p.start(i, keys{current: firstAESKey})
		}
		before(p)
		ctx, cancel := context.WithCancel(t.Context())
		var pushing sync.WaitGroup
		pushing.Go(func() { p.sandbox.Run(ctx) })
		defer func() {
			cancel()
			pushing.Wait()
			for i := range p.processes {
				p.kill(i)
			}
		}()
		test(p)
	})
}

// callback is a suite's, with a load balancer.
func (p *provider) callback(suiteID, key string) wecomtest.Callback {
	return wecomtest.Callback{Token: pushToken, AESKey: key, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		suite := p.anySuite(suiteID)
		if suite == nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		answer, err := suite.Callback(r.Context(), r.Method, r.URL.Query(), body)
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, answer)
	})}
}

func (p *provider) anySuite(suiteID string) *wecom.Suite {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range p.random.Perm(len(p.processes)) {
		if suite := p.processes[i].suites[suiteID]; suite != nil {
			return suite
		}
	}
	return nil
}

// start starts a process.
func (p *provider) start(i int, k keys) {
	p.Helper()
	process := p.processes[i]
	zk, err := coordinator.New(coordinator.Config{Store: process.store, PollEvery: 4 * time.Minute, ProbeEvery: time.Minute, Spool: p.spool, Copy: p.copy})
	if err != nil {
		p.Fatal(err)
	}
	ctx, cancel := context.WithCancel(p.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = zk.Run(ctx) })
	suites := map[string]*wecom.Suite{}
	for _, id := range []string{thirdParty, customSuite} {
		account, err := zk.Add(coordinator.AccountConfig{
			Name:   id,
			Source: newSource(p.T, p.sandbox, wecom.Config{Kind: wecom.SuiteToken, SuiteID: id, Secret: suiteSecret, Transport: p.sandbox.TransportFrom(oneAddress)}),
		})
		if err != nil {
			p.Fatal(err)
		}
		suite := p.suite(process, zk, account, id, k)
		suites[id] = suite
		running.Go(func() { suite.Run(ctx) })
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	process.zk, process.suites, process.stop = zk, suites, func() { cancel(); running.Wait() }
}

func (p *provider) suite(process *process, zk *coordinator.Coordinator, account *coordinator.Account, id string, k keys) *wecom.Suite {
	p.Helper()
	var following []string
	for _, name := range p.following {
		if strings.HasPrefix(name, id+".") {
			following = append(following, name)
			_, err := zk.Add(coordinator.AccountConfig{Name: name, Parent: account.Name()})
			p.do(err)
		}
	}
	suite, err := wecom.NewSuite(wecom.SuiteConfig{
		SuiteID: id, CorpID: providerCorp, Spool: p.spool, Copy: p.copy, Corps: p.corps, Token: pushToken, EncodingAESKey: k.current, PreviousKey: k.previous,
		Account: account, Coordinator: zk, Grants: process.store, Transport: p.sandbox.TransportFrom(oneAddress),
		Following: following,
	})
	if err != nil {
		p.Fatal(err)
	}
	return suite
}

// kill ends a process. What is under way is finished.
func (p *provider) kill(i int) {
	p.mu.Lock()
	process := p.processes[i]
	stop := process.stop
	process.suites, process.stop = nil, nil
	p.mu.Unlock()
	if stop != nil {
		stop()
	}
}

func (p *provider) restart(i int, k keys) { p.kill(i); p.start(i, k) }

// corpName returns the CorpID of the nth corp.
func corpName(n int) string { return fmt.Sprintf("wwcorp%04d", n) }

func (p *provider) do(err error) {
	p.Helper()
	if err != nil {
		p.Fatalf("%v: %v", time.Now(), err)
	}
}

func (p *provider) install(suiteID string, corp int) {
	p.Helper()
	_, err := p.sandbox.Install(suiteID, corpName(corp))
	p.do(err)
}

// cutOffAtTheAnswer has the first process lose the store when WeCom answers the exchange of
// what install brings, and leaves it so.
func (p *provider) cutOffAtTheAnswer(install func()) {
	p.Helper()
	p.sandbox.OnCall(func(path string) {
		if path == pathExchange {
			p.processes[0].store.SetDown(true)
		}
	})
	install()
	time.Sleep(time.Minute)
	p.sandbox.OnCall(nil)
}

// faults are lost, doubled, late and reordered pushes of a storm.
func (p *provider) fault(suiteID string, f wecomtest.PushFault) {
	p.Helper()
	p.do(p.sandbox.FaultPushes(suiteID, f))
}

// check fails unless each process has a live token of each corp that has a suite and
// whose auth_code was exchanged or pushed, and no account of another.
func (p *provider) check(when string) {
	p.Helper()
	synctest.Wait()
	for _, id := range []string{thirdParty, customSuite} {
		have := map[string]bool{}
		for _, in := range p.sandbox.Installs(id) {
			name := id + "." + in.CorpID
			if !in.Cancelled && in.PermanentCode == "" {
				p.Fatalf("%s: %v: %s: the auth_code was not exchanged since %v", when, time.Now(), name, in.Since)
			}
			have[name] = !in.Cancelled
		}
		for i, process := range p.processes {
			if process.suites == nil {
				continue
			}
			for name, installed := range have {
				p.checkAccount(fmt.Sprintf("%s: process %d", when, i), process.zk, name, installed)
			}
		}
	}
}

func (p *provider) checkAccount(when string, zk *coordinator.Coordinator, name string, installed bool) {
	p.Helper()
	account, there := zk.Account(name)
	if there != installed {
		p.Fatalf("%s: %v: %s is an account: %t, want %t", when, time.Now(), name, there, installed)
	}
	if !there {
		return
	}
	ctx, cancel := context.WithTimeout(p.Context(), 20*time.Second)
	defer cancel()
	token, err := account.Token(ctx)
	if err != nil || !p.sandbox.Valid(token.Reveal()) {
		i, _ := p.sandbox.Lookup(token.Reveal())
		p.Fatalf("%s: %v: %s: the token of %s/%s, issued %v, dead from %v: %v", when, time.Now(), name, i.CorpID, i.App, i.IssuedAt, i.DiesAt, err)
	}
	if i, _ := p.sandbox.Lookup(token.Reveal()); i.App+"."+i.CorpID != name {
		p.Fatalf("%s: %s has the token of %s.%s", when, name, i.App, i.CorpID)
	}
}

// pass lets d go by, with a check every quarter of an hour.
func (p *provider) pass(d time.Duration, when string) {
	p.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(min(15*time.Minute, time.Until(end)))
		p.check(when)
	}
}

// codes fails unless the store has the permanent code of each corp that has a suite.
func (p *provider) codes() {
	p.Helper()
	for _, id := range []string{thirdParty, customSuite} {
		for _, in := range p.sandbox.Installs(id) {
			r, err := p.processes[0].store.LoadGrant(p.Context(), id+"."+in.CorpID)
			p.do(err)
			held := ""
			if n := len(r.Grant.Tokens); n > 0 {
				held = r.Grant.Tokens[n-1].Token.Reveal()
			}
			if want := in.PermanentCode; !in.Cancelled && held != want || in.Cancelled && held != "" {
				p.Errorf("%s.%s: the store has the permanent code %.6q…, WeCom %.6q… (cancelled: %t)", id, in.CorpID, held, want, in.Cancelled)
			}
		}
	}
}

// lost fails if an event was answered with success by no process that kept it: each
// auth_code that was acknowledged must have been exchanged, or replaced by a later one.
func (p *provider) lost() {
	p.Helper()
	for _, push := range p.sandbox.Pushes() {
		if push.Forged && push.Acknowledged {
			p.Errorf("%v: a forged push was acknowledged: %+v", push.At, push)
		}
	}
}

// calls returns how many calls of this path WeCom has had, and how many with this code.
func (p *provider) calls(path string, code int) (all, coded int) {
	for _, c := range p.sandbox.Calls() {
		if c.Path == path {
			all++
			if c.Code == code {
				coded++
			}
		}
	}
	return all, coded
}
