package httpapi

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

// memHistory is the log of a store in memory as the page reads it.
type memHistory struct{ store *memstore.Store }

func (h memHistory) History(_ context.Context, account string, n int) ([]redisadmin.Entry, error) {
	log := h.store.Log(account)
	var all []redisadmin.Entry
	for i := len(log) - 1; i >= 0 && len(all) < n; i-- {
		e := log[i]
		one := redisadmin.Entry{
			At: e.At, Event: e.Event, By: e.By, AskedBy: e.AskedBy, Reason: e.Reason, Took: e.Took, Code: e.Code, Error: e.Message,
		}
		if e.Event == "refreshed" {
			one.Life = 2 * time.Hour
		}
		all = append(all, one)
	}
	return all, nil
}

// sealedStore has the records of these accounts sealed by a key that this
// process lacks.
type sealedStore struct {
	coordinator.Store
	accounts string
}

func (s sealedStore) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	states, err := s.Store.Load(ctx, accounts...)
	for i := range states {
		if strings.Contains(s.accounts, states[i].Account) {
			states[i].Err = fmt.Errorf("kid 7: %w", coordinator.ErrSealed)
			states[i].Record.Token, states[i].Record.TTL = coordinator.Token{}, 0
		}
	}
	return states, err
}

// shown is a stage with what the page shows of it.
func shown(t *testing.T, store *memstore.Store, front coordinator.Store, sources map[string]*coordinatortest.Source) *stage {
	t.Helper()
	return stageOver(t, front, store, sources, func(c *Config) {
		c.History = memHistory{store}
		c.Instance, c.Version = "host-1:4711-AAAA", "v1.2.3"
		c.Directory = labels{Directory: c.Directory, of: func(account string) string {
			if account == wxa || strings.HasSuffix(account, "3") {
				return "Shop 商城"
			}
			return ""
		}}
	})
}

// tokens waits until these accounts have one.
func (s *stage) tokens(accounts ...string) {
	s.t.Helper()
	for _, name := range accounts {
		s.wait("a token of "+name, func() bool { _, ok := s.account(name).Peek(); return ok })
	}
}

func twoSources() map[string]*coordinatortest.Source {
	return map[string]*coordinatortest.Source{wxa: {Name: "token-of-a"}, wxb: {Name: "token-of-b"}}
}

// mixedSources are thirty accounts, six of them in trouble.
func mixedSources() map[string]*coordinatortest.Source {
	all := make(map[string]*coordinatortest.Source)
	for n := range 30 {
		name := fmt.Sprintf("wx%08x5a6978%02d", uint32(n)*0x9e3779b1, n)
		source := &coordinatortest.Source{Name: fmt.Sprint("token-of-", n)}
		switch n {
		case 3, 11:
			source.Default(coordinatortest.FailsWith(coordinator.FailedRefused, "40164", "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 6aac005a-01bfdbee-79769285"))
		case 5:
			source.Default(coordinatortest.FailsWith(coordinator.FailedBusy, "", "api.weixin.qq.com/cgi-bin/token: context deadline exceeded"))
		case 7, 8, 9:
			source.Next(coordinatortest.Outcome{})
			source.Default(coordinatortest.FailsWith(coordinator.FailedBusy, "-1", "system error rid: 6aac005a-01bfdbee-79769285"))
		}
		all[name] = source
	}
	return all
}

// scenes are what people see on good and on bad days.
func scenes(t *testing.T) map[string]*stage {
	all := make(map[string]*stage)
	two := func() (*memstore.Store, map[string]*coordinatortest.Source) {
		return memstore.New(), twoSources()
	}

	store, sources := two()
	healthy := shown(t, store, store, sources)
	healthy.tokens(wxa, wxb)
	healthy.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", "")
	all["healthy"] = healthy

	store, sources = memstore.New(), mixedSources()
	mixed := shown(t, store, store, sources)
	for name := range sources {
		mixed.wait("an outcome of "+name, func() bool {
			status := mixed.account(name).Status()
			return status.Record.Usable() || status.Failure != nil
		})
		if sources[name].Issued() == 1 {
			mixed.ask(admin, "POST", "/v1/tokens/"+name+"/refresh", "")
		}
	}
	all["mixed"] = mixed

	store, sources = two()
	for _, source := range sources {
		source.Default(coordinatortest.FailsWith(coordinator.FailedRefused, "40125", "invalid appsecret, rid: 6aac005a-01bfdbee-79769285"))
	}
	refused := shown(t, store, store, sources)
	refused.wait("a refusal", func() bool {
		return refused.account(wxa).Status().Failure != nil && refused.account(wxb).Status().Failure != nil
	})
	all["refused"] = refused

	store, sources = two()
	store.SetDown(true)
	all["never-connected"] = shown(t, store, store, sources)

	store, sources = two()
	other := stageOn(t, store, sources)
	other.tokens(wxa, wxb)
	sealed := shown(t, store, sealedStore{store, wxa + wxb}, nil)
	for _, name := range []string{wxa, wxb} {
		if _, err := sealed.zk.Add(coordinator.AccountConfig{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	sealed.wait("a record that cannot be opened", func() bool { return sealed.account(wxa).Status().Err != nil })
	all["sealed"] = sealed

	store, sources = two()
	rogue := shown(t, store, store, sources)
	rogue.tokens(wxa, wxb)
	rogue.ask(admin, "POST", "/v1/tokens/"+wxb+"/refresh", fmt.Sprintf(`{"if_token":%q}`, rogue.token(wxb)))
	rogue.wait("the conflict", func() bool { return rogue.account(wxb).Status().Conflicts > 0 })
	all["conflict"] = rogue
	return all
}

func TestThePageOnEveryDay(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	b := newBrowser(t)
	for name, s := range scenes(t) {
		paths := []string{"/", "/accounts/" + urgent(s)}
		if name == "never-connected" {
			s.wait("the outage", func() bool { return s.zk.StoreError() != nil })
		}
		for i, path := range paths {
			for _, l := range looks() {
				b.look(l.scheme, l.width)
				b.open(s, admin, path+"?lang="+l.language)
				b.until("document.getElementById('link').dataset.state", "on")
				b.fits(strings.Join([]string{name, []string{"list", "account"}[i], l.String()}, "-"))
			}
		}
		if all := b.complaints(); len(all) > 0 {
			t.Errorf("%s: the console says: %v", name, all)
		}
	}
}

func TestThePageOfAServerThatIsGoneAndOfNoAccount(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	store := memstore.New()
	s := shown(t, store, store, twoSources())
	s.tokens(wxa, wxb)
	shut := s.behindDoor()
	b := newBrowser(t)
	for _, l := range looks() {
		b.look(l.scheme, l.width)
		b.open(s, admin, "/?lang="+l.language)
		b.until("document.getElementById('link').dataset.state", "on")
		shut(true)
		b.until("document.getElementById('lost').hidden", "false")
		b.fits("gone-" + l.String())
		shut(false)
		b.open(s, admin, "/accounts/none?lang="+l.language)
		b.until("document.querySelector('h1') !== null", "true")
		b.fits("notice-" + l.String())
	}
}

// look is one way to see a page.
type look struct {
	language, scheme string
	width            int
}

func (l look) String() string {
	device := "desktop"
	if l.width < 600 {
		device = "phone"
	}
	return strings.Join([]string{l.language, l.scheme, device}, "-")
}

// looks are all ways to look at a page. What is too wide is so in
// any colour.
func looks() []look {
	all := []look{{"en", "light", 390}, {"zh", "light", 390}}
	if os.Getenv(envScreenshots) == "" && os.Getenv(envAxe) == "" {
		return all
	}
	return append(all, look{"en", "dark", 390}, look{"zh", "dark", 390}, look{"en", "light", 1280},
		look{"zh", "light", 1280}, look{"en", "dark", 1280}, look{"zh", "dark", 1280})
}

// urgent is the account that the page shows first.
func urgent(s *stage) string {
	_, rest, _ := strings.Cut(s.ask(admin, "GET", "/", "").body, `data-account="`)
	name, _, _ := strings.Cut(rest, `"`)
	return name
}

// fits looks at the page: it is not wider than the screen, and people can
// use it.
func (b *browser) fits(name string) {
	b.t.Helper()
	if got := b.run("return document.documentElement.scrollWidth > document.documentElement.clientWidth"); got != "false" {
		b.t.Errorf("%s: the page is wider than the screen", name)
	}
	if text := b.run("return document.body.innerText"); strings.Contains(text, "{") || strings.Contains(text, "%!") {
		b.t.Errorf("%s: a text is missing:\n%s", name, text)
	}
	b.photograph(name)
	b.audit(name)
}

// envAxe names the axe.min.js of axe-core (npm install axe-core).
const envAxe = "ZHONGKONG_TEST_AXE"

// audit has axe-core look for what keeps people from using the page, if there
// is one.
func (b *browser) audit(name string) {
	b.t.Helper()
	path := os.Getenv(envAxe)
	if path == "" {
		return
	}
	axe, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	b.do("POST", "/execute/sync", node{"script": string(axe), "args": []any{}}, nil)
	var found []string
	b.do("POST", "/execute/async", node{"args": []any{}, "script": `
		const done = arguments[0];
		axe.run().then((result) => done(result.violations.map((v) =>
			v.impact + " " + v.id + ": " + v.nodes.map((n) => n.html.slice(0, 120) + " " + n.failureSummary).slice(0, 3).join(" | "))),
			(error) => done(["axe: " + error]));`}, &found)
	for _, violation := range found {
		b.t.Errorf("%s: %s", name, violation)
	}
}
