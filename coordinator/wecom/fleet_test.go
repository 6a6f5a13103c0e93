package wecom_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/coordinator/wecom"
	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

// oneAddress is where all processes of a fleet come from.
const oneAddress = "198.51.100.7"

// account is what each process of a fleet is configured with.
type account struct {
	name, parent string
	config       wecom.Config
}

// fleet is some processes on one store, behind one address, on virtual time.
type fleet struct {
	t        *testing.T
	sandbox  *wecomtest.Server
	store    *memstore.Store
	accounts []account
	members  []*member
}

// member is a process.
type member struct {
	name     string
	accounts map[string]*coordinator.Account
	stop     func()
}

// inFleet runs test in a bubble, with three processes of these accounts.
func inFleet(t *testing.T, sandbox wecomtest.Config, accounts []account, test func(t *testing.T, f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sandbox.Seed = 1
		f := &fleet{t: t, sandbox: wecomtest.New(sandbox), store: memstore.New(), accounts: accounts}
		defer func() {
			for _, m := range f.members {
				m.stop()
			}
		}()
		for _, name := range []string{"a", "b", "c"} {
			f.members = append(f.members, f.start(name, accounts))
		}
		test(t, f)
	})
}

func (f *fleet) start(name string, accounts []account) *member {
	f.t.Helper()
	c, err := coordinator.New(coordinator.Config{Store: f.store.Instance(name), ProbeEvery: 10 * time.Second})
	if err != nil {
		f.t.Fatal(err)
	}
	m := &member{name: name, accounts: make(map[string]*coordinator.Account)}
	for _, a := range accounts {
		a.config.Transport = f.sandbox.TransportFrom(oneAddress)
		m.accounts[a.name], err = c.Add(coordinator.AccountConfig{Name: a.name, Source: newSource(f.t, f.sandbox, a.config), Parent: a.parent})
		if err != nil {
			f.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(f.t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = c.Run(ctx) })
	m.stop = func() { cancel(); running.Wait() }
	return m
}

// restart ends a process and starts it again, which forgets what it knew.
func (f *fleet) restart(i int) {
	f.members[i].stop()
	f.members[i] = f.start(f.members[i].name, f.accounts)
}

// pass lets d go by. Each minute it calls do for each process.
func (f *fleet) pass(d time.Duration, do func(*member)) {
	f.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Minute) {
		for _, m := range f.members {
			do(m)
		}
		synctest.Wait() // the others hear of a new token
	}
}

// work makes a business call with the token of an account, which must be that of this
// app and succeed in the end.
func (f *fleet) work(m *member, name, app string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
	defer cancel()
	token, err := m.accounts[name].Token(ctx)
	if i, ok := f.sandbox.Lookup(token.Reveal()); err != nil || !ok || i.App != app {
		f.t.Fatalf("%v: %s has a token of %q: %v, want of %q", time.Now(), name, i.App, err, app)
	}
	client := &http.Client{Transport: &wechat.Transport{Account: m.accounts[name], Base: f.sandbox.TransportFrom(oneAddress)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, wecom.DefaultBaseURL+"/cgi-bin/user/get?userid=zhangsan", nil)
	if err != nil {
		f.t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		f.t.Fatalf("%v: %s: %v", time.Now(), name, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), `"errcode":0`) {
		f.t.Fatalf("%v: %s: %s, %v", time.Now(), name, body, err)
	}
}

// refused asks for the token of an account that WeCom refuses, in each way that a
// service has. It must be told so at once.
func (f *fleet) refused(m *member, name string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Second)
	defer cancel()
	var refusal *coordinator.RefusedError
	if _, err := m.accounts[name].Token(ctx); !errors.As(err, &refusal) || refusal.Code != "40001" {
		f.t.Fatalf("%v: Token of %s: %v, want refused", time.Now(), name, err)
	}
	if _, err := m.accounts[name].Invalidate(ctx, coordinator.NewToken("one from before")); err == nil {
		f.t.Fatalf("%v: Invalidate of %s: no error", time.Now(), name)
	}
}

// wrongSecrets returns how many wrong secrets reached WeCom, and how many at most within
// an hour.
func (f *fleet) wrongSecrets() (all, inAnHour int) {
	var at []time.Time
	for _, c := range f.sandbox.Calls() {
		if c.Code != 40001 && c.Code != 40091 || c.Path != pathToken {
			continue
		}
		at = append(at, c.At)
		n := 0
		for _, earlier := range at {
			if c.At.Sub(earlier) < time.Hour {
				n++
			}
		}
		inAnHour = max(inAnHour, n)
	}
	return len(at), inAnHour
}

func (f *fleet) calls(path string) (n int) {
	for _, c := range f.sandbox.Calls() {
		if c.Path == path {
			n++
		}
	}
	return n
}

// neverBlocked fails the test if WeCom has answered 45009.
func (f *fleet) neverBlocked() {
	f.t.Helper()
	for _, c := range f.sandbox.Calls() {
		if c.Code == 45009 {
			f.t.Fatalf("at %v %s from %s was blocked", c.At, c.Path, c.From)
		}
	}
}

// twoApps is a corp with an app, a secret without an app, and some more apps.
func twoApps() wecomtest.Config {
	apps := []wecomtest.App{
		{Name: "sales", AgentID: 1000002, Secret: "sales-secret"},
		{Name: "contacts", Secret: "contacts-secret"},
	}
	for i := range 4 {
		apps = append(apps, wecomtest.App{Name: fmt.Sprint("app", i), AgentID: 1000010 + i, Secret: fmt.Sprint("secret-of-app-", i)})
	}
	return wecomtest.Config{Corps: []wecomtest.Corp{{CorpID: corpID, Apps: apps}}}
}

func with(name, secret string) account {
	return account{name: name, config: wecom.Config{CorpID: corpID, Secret: secret}}
}

// Two apps of a corp, one without an agentid, and others whose secret is wrong: a day of
// three processes behind one address, one of which is restarted again and again. No
// token is ever another app's, and the address is never blocked.
func TestWrongSecretsOfSomeAppsDoNotHurtTheOthers(t *testing.T) {
	for _, wrong := range []int{1, 4} { // WeCom blocks at 5 within an hour
		t.Run(fmt.Sprint(wrong), func(t *testing.T) {
			accounts := []account{with("sales", "sales-secret"), with("contacts", "contacts-secret")}
			var broken []string
			for i := range wrong {
				broken = append(broken, fmt.Sprint("broken", i))
				accounts = append(accounts, with(broken[i], fmt.Sprint("wrong-secret-", i)))
			}
			inFleet(t, twoApps(), accounts, func(t *testing.T, f *fleet) {
				for range 24 {
					f.pass(time.Hour, func(m *member) {
						f.work(m, "sales", "sales")
						f.work(m, "contacts", "contacts")
						for _, name := range broken {
							f.refused(m, name)
						}
					})
					f.restart(2)
				}
				f.neverBlocked()
				all, inAnHour := f.wrongSecrets()
				if all < wrong || all > 13*wrong || inAnHour > wrong {
					t.Errorf("%d wrong secrets were sent, %d within an hour, want 13 of each at most, one an hour", all, inAnHour)
				}
				if n := f.calls(pathToken) - all; n > 2*24*3 {
					t.Errorf("%d calls for the two good tokens, want not more than 3 an hour each", n)
				}
			})
		})
	}
}

// The store remembers the refusal of one secret for an account. Two processes with
// different wrong ones must not send theirs by turns.
func TestDifferentWrongSecretsForAnAccountAreNotSentByTurns(t *testing.T) {
	inFleet(t, twoApps(), nil, func(t *testing.T, f *fleet) {
		for i, secret := range []string{"wrong-one", "wrong-two"} {
			f.members[i].stop()
			f.members[i] = f.start(f.members[i].name, []account{with("sales", secret)})
		}
		f.pass(24*time.Hour, func(m *member) {
			if a := m.accounts["sales"]; a != nil {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := a.Token(ctx); err == nil {
					t.Fatalf("%v: a token for a wrong secret", time.Now())
				}
			}
		})
		f.neverBlocked()
		if all, inAnHour := f.wrongSecrets(); all > 26 || inAnHour > 2 {
			t.Errorf("%d wrong secrets were sent, %d within an hour, want 26 at most, and 2", all, inAnHour)
		}
	})
}

// A service that forces a refresh whenever it has no token does not wear WeCom out.
func TestForcingDoesNotSendAWrongSecretAgainAndAgain(t *testing.T) {
	inFleet(t, twoApps(), []account{with("sales", "wrong-secret")}, func(t *testing.T, f *fleet) {
		f.pass(24*time.Hour, func(m *member) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if _, err := m.accounts["sales"].Refresh(ctx); err == nil {
				t.Fatal("a wrong secret brings a token")
			}
		})
		f.neverBlocked()
		if all, inAnHour := f.wrongSecrets(); all > 3*13 || inAnHour > 3 {
			t.Errorf("%d wrong secrets were sent, %d within an hour, want one in two hours from each process at most", all, inAnHour)
		}
	})
}

func TestACorrectedSecretIsTriedAtOnce(t *testing.T) {
	inFleet(t, twoApps(), []account{with("sales", "wrong-secret")}, func(t *testing.T, f *fleet) {
		f.pass(10*time.Minute, func(m *member) { f.refused(m, "sales") })
		f.accounts = []account{with("sales", "sales-secret")}
		f.restart(0)
		f.work(f.members[0], "sales", "sales")
		synctest.Wait()
		f.pass(time.Minute, func(m *member) { f.work(m, "sales", "sales") })
	})
}

// Another program behind the same address sends wrong secrets. The fleet keeps its
// tokens, asks now and then, and goes on when the block is over.
func TestABlockIsWaitedOut(t *testing.T) {
	inFleet(t, twoApps(), []account{with("sales", "sales-secret"), with("contacts", "contacts-secret")}, func(t *testing.T, f *fleet) {
		rogue := wecom.Config{CorpID: corpID, Secret: "rogue-secret", Transport: f.sandbox.TransportFrom(oneAddress)}
		both := func(m *member) {
			f.work(m, "sales", "sales")
			f.work(m, "contacts", "contacts")
		}
		f.pass(10*time.Minute, both)
		for range 5 {
			_ = failing(t, newSource(t, f.sandbox, rogue), coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
		}
		if _, blocked := f.sandbox.BlockedUntil(oneAddress); !blocked {
			t.Fatal("5 wrong secrets do not block the address")
		}
		before := f.calls(pathToken)
		f.pass(time.Hour, both)
		if n := f.calls(pathToken) - before; n < 2 || n > 2*3 {
			t.Errorf("%d calls in a block of an hour, want 3 at most for each of two accounts", n)
		}
		f.pass(6*time.Hour, both)
		if _, blocked := f.sandbox.BlockedUntil(oneAddress); blocked {
			t.Error("the address is still blocked")
		}
	})
}

// WeCom ends a token early, more than once: the services notice, one call replaces it.
func TestATokenThatEndsEarlyIsReplacedByOneCall(t *testing.T) {
	for _, code := range []int{42001, 40014} {
		config := twoApps()
		knobs := wecomtest.DefaultKnobs()
		knobs.ExpiredAs, knobs.AlwaysWhole = code, true
		config.Knobs = &knobs
		inFleet(t, config, []account{with("sales", "sales-secret")}, func(t *testing.T, f *fleet) {
			sales := func(m *member) { f.work(m, "sales", "sales") }
			f.pass(5*time.Minute, sales)
			for range 3 {
				before := f.calls(pathToken)
				if err := f.sandbox.EndToken(corpID, "sales"); err != nil {
					t.Fatal(err)
				}
				f.pass(10*time.Minute, sales)
				if n := f.calls(pathToken) - before; n != 1 {
					t.Errorf("%d calls for a token that ended early, want 1", n)
				}
			}
			f.pass(8*time.Hour, sales) // each end of a life, which WeCom states wrongly
			if n := f.calls(pathToken); n > 8*3+10 {
				t.Errorf("%d calls in 8 hours", n)
			}
		})
	}
}

// The issuer of a repeated token states the life that is left, so its end is known.
func TestATokenIsServedToItsEndWhileNoQuestionIsAnswered(t *testing.T) {
	inFleet(t, twoApps(), []account{with("sales", "sales-secret")}, func(t *testing.T, f *fleet) {
		sales := func(m *member) { f.work(m, "sales", "sales") }
		const asked = 80 * time.Minute // at 30 and at 60
		f.pass(asked, sales)
		f.sandbox.Inject(wecomtest.Fault{Path: pathToken, Code: -1, Times: 1000})
		f.pass(2*time.Hour-asked-time.Minute, sales)
	})
}
