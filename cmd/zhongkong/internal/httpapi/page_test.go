package httpapi

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

// manyStates has an account in each state.
func manyStates(t *testing.T) *stage {
	t.Helper()
	s := newStage(t)
	add := func(name string, source *coordinatortest.Source, limits coordinator.Limits) {
		if _, err := s.zk.Add(coordinator.AccountConfig{Name: name, Source: source, Limits: limits}); err != nil {
			t.Fatal(err)
		}
	}
	refused := &coordinatortest.Source{}
	refused.Default(coordinatortest.FailsWith(coordinator.FailedRefused, "40164",
		"invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 6aac005a-01bfdbee-79769285"))
	add("wx0f1e2d3c4b5a6978", refused, coordinator.Limits{})
	failing := &coordinatortest.Source{Name: "token-of-c"}
	failing.Next(coordinatortest.Outcome{})
	failing.Default(coordinatortest.FailsWith(coordinator.FailedBusy, "-1", "system error rid: 6aac005a-01bfdbee-79769285"))
	add("wx77c1d20e9b8f4a35", failing, coordinator.Limits{PerDay: 5, Reserve: 2})
	s.wait("a token", func() bool { _, ok := s.account("wx77c1d20e9b8f4a35").Peek(); return ok })
	s.ask(admin, "POST", "/v1/tokens/wx77c1d20e9b8f4a35/refresh", "")
	s.ask(admin, "POST", "/v1/tokens/wx77c1d20e9b8f4a35/refresh", "")
	s.ask(admin, "POST", "/v1/tokens/"+wxb+"/refresh", "")
	s.wait("a refusal", func() bool { return s.account("wx0f1e2d3c4b5a6978").Status().Failure != nil })
	return s
}

func TestThePageInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	s := newStage(t)
	b := newBrowser(t)
	b.look("light", 1200)
	b.open(s, admin, "/")
	b.until("document.getElementById('link').dataset.state", "on")
	b.until("document.querySelectorAll('.card.fresh').length", "2")
	card := fmt.Sprintf("document.querySelector('[data-account=%s]')", wxa)
	generation := func() string { return fmt.Sprint(s.store.Peek(wxa).Record.Generation) }
	b.until(card+".dataset.generation", generation())

	// The seconds run.
	b.run("window.kept = 1; window.before = " + card + ".querySelector('[data-age]').textContent")
	b.until(card+".querySelector('[data-age]').textContent !== window.before", "true")

	// A refresh anywhere shows without a reload.
	s.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", "")
	b.until(card+".dataset.generation", generation())
	b.until("document.querySelector('.timeline li.refreshed .who').textContent", wxa)

	// The button asks first, and can be thought better of.
	before := s.token(wxa)
	button := "[data-refresh=" + wxa + "]"
	b.click(button)
	b.until("document.getElementById('confirm').open", "true")
	b.until("document.getElementById('confirm-title').textContent", "Refresh "+wxa+" now?")
	b.click("dialog button[value=no]")
	b.until("document.getElementById('confirm').open", "false")
	b.click(button)
	b.click("dialog button[value=yes]")
	b.until("document.getElementById('toast').textContent", wxa+" was refreshed.")
	b.until(card+".dataset.generation", generation())
	if n := s.sources[wxa].Issued(); n != 3 || s.token(wxa) == before {
		t.Errorf("%d tokens were issued, want 3", n)
	}

	// Redis goes and comes back.
	s.store.SetDown(true)
	b.until("document.querySelector('.banner').dataset.state", "stale")
	s.store.SetDown(false)
	b.until("document.querySelector('.banner').dataset.state", "fresh")

	// A refresh that fails says why.
	s.sources[wxb].Default(coordinatortest.FailsWith(coordinator.FailedRefused, "40125", "invalid appsecret"))
	b.click("[data-refresh=" + wxb + "]")
	b.click("dialog button[value=yes]")
	b.until("document.getElementById('toast').textContent.includes('40125')", "true")
	b.until("document.querySelector('.card').dataset.account", wxb) // the most urgent first
	b.until("document.querySelector('.card .advice') !== null", "true")

	if got := b.run("return window.kept"); got != "1" {
		t.Error("the page was loaded again")
	}
	for _, line := range b.complaints() {
		if !strings.Contains(line, "status of 502") { // the refusal above
			t.Errorf("the console says: %s", line)
		}
	}
	s.nothingIn("the page", b.run("return document.documentElement.outerHTML"))

	// The connection goes: it says so.
	s.api.Stop()
	s.server.CloseClientConnections()
	_ = s.server.Listener.Close()
	b.until("document.getElementById('link').dataset.state", "off")
}

func TestWhoMayNotRefreshHasNoButton(t *testing.T) {
	s := newStage(t)
	r := s.ask(reader, "GET", "/?refresh="+wxa, "")
	if strings.Contains(r.body, "data-refresh") || strings.Contains(r.body, `method="post"`) {
		t.Error("there is a button")
	}
	r = s.ask(admin, "GET", "/?refresh="+wxa, "")
	if !strings.Contains(r.body, "data-refresh") || !strings.Contains(r.body, `method="post"`) {
		t.Error("there is no button, or no form for those without the script")
	}
}

func TestThePageWithoutItsScript(t *testing.T) {
	s := newStage(t)
	before := s.token(wxa)
	r := s.ask(admin, "POST", "/", "account="+wxa+"&lang=zh", "Content-Type", formType)
	if r.status != 303 || !strings.HasPrefix(r.header.Get("Location"), "?done="+wxa) || s.token(wxa) == before {
		t.Errorf("%d to %s", r.status, r.header.Get("Location"))
	}
	if r := s.ask(admin, "GET", "/"+r.header.Get("Location"), ""); !strings.Contains(r.body, wxa+" 已刷新") {
		t.Error("the page does not say that it was done")
	}
}

func TestThePageSpeaksTheBrowsersLanguage(t *testing.T) {
	s := newStage(t)
	for accept, want := range map[string]string{
		"": "All 2 tokens are fresh", "de,en;q=0.5": "All 2 tokens are fresh", "zh-CN,zh;q=0.9,en;q=0.8": "全部 2 个 token 正常", "fr,zh-TW": "全部 2 个 token 正常",
	} {
		if r := s.ask(reader+"", "GET", "/", "", "Accept-Language", accept); !strings.Contains(r.body, strings.ReplaceAll(strings.ReplaceAll(want, "All 2 tokens are fresh", "The token is fresh"), "全部 2 个 token 正常", "token 正常")) {
			t.Errorf("%q: the reader's page lacks its sentence", accept)
		}
		if r := s.ask(admin, "GET", "/", "", "Accept-Language", accept); !strings.Contains(r.body, want) {
			t.Errorf("%q: the page lacks %q", accept, want)
		}
	}
}

func TestEveryStateHasItsWords(t *testing.T) {
	s := manyStates(t)
	for _, lang := range []string{"en", "zh"} {
		r := s.ask(admin, "GET", "/?lang="+lang, "")
		if strings.Contains(r.body, "{sum.") || strings.Contains(r.body, "{state.") || strings.Contains(r.body, "%!") {
			t.Errorf("%s: a text is missing", lang)
		}
		for _, state := range []string{"expired", "failing", "fresh"} {
			if !strings.Contains(r.body, `<article class="card `+state) {
				t.Errorf("%s: no account is %s", lang, state)
			}
		}
	}
}

func TestAPageOfManyAccountsIsShortAndQuick(t *testing.T) {
	s := newStage(t)
	for n := range 1000 {
		if _, err := s.zk.Add(coordinator.AccountConfig{Name: fmt.Sprintf("other-%04d", n)}); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	r := s.ask(admin, "GET", "/", "")
	if cards, lines := strings.Count(r.body, "<article"), strings.Count(r.body, `data-generation`); cards != 0 || lines != 40 || !strings.Contains(r.body, "962 more") {
		t.Errorf("%d accounts on the page, %d of them cards", lines, cards)
	}
	if took := time.Since(began); took > time.Second && !raceEnabled {
		t.Errorf("it took %v", took)
	}
	if r := s.ask(admin, "GET", "/?q=OTHER-0999", ""); strings.Count(r.body, "<article") != 1 {
		t.Error("the search does not find the one")
	}
	if r := s.ask(admin, "GET", "/?all", ""); strings.Count(r.body, "data-generation") != 1000 || !strings.Contains(r.body, "2 more") {
		t.Error("not as many as possible are shown")
	}
	if r := s.ask(admin, "GET", "/?state=fresh", ""); strings.Count(r.body, "<article") != 2 || !strings.Contains(r.body, wxa) {
		t.Error("the two fresh ones are not shown alone")
	}
}
