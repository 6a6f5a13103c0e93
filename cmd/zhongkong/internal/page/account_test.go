package page

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

func (s *scene) renderRequest(t *testing.T, r Request) string {
	t.Helper()
	r.Viewer = everybody{}
	if r.Language == "" {
		r.Language = "en"
	}
	if r.Root == "" {
		r.Root = "./"
	}
	var b strings.Builder
	if err := s.page.Render(t.Context(), &b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// has fails the test unless the page has all of these.
func has(t *testing.T, html string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(html, text) {
			t.Errorf("the page lacks %q", text)
		}
	}
}

// oneAccount is a scene with an account that has a past.
func oneAccount(now time.Time) *scene {
	status := coordinator.Status{Name: "wx/1", Record: live(now), NextRefresh: now.Add(time.Minute), Holder: "host-3:1-CCCC"}
	status.Record.IssuedBy = "host-2:1-BBBB"
	s := newScene(status, coordinator.Status{Name: "wx2", Record: live(now)})
	s.page.cfg.Label = func(account string) string { return map[string]string{"wx/1": "Shop"}[account] }
	s.logs.entries["wx/1"] = []redisadmin.Entry{
		{At: now.Add(-time.Hour), Event: "refreshed", By: "host-2:1-BBBB", AskedBy: "ops (cli)", Reason: "forced", Life: 2 * time.Hour},
		{At: now.Add(-2 * time.Hour), Event: "failed", By: "host-1", AskedBy: "shop (drop-in)", Code: "45009", Error: "quota"},
		{At: now.Add(-150 * time.Minute), Event: "conflict", By: "host-4:1-DDDD", AskedBy: "someone"},
		{At: now.Add(-3 * time.Hour), Event: "refreshed", By: "host-2:1-BBBB", Reason: "missing", Life: 2 * time.Hour},
	}
	return s
}

func TestTheAccountsPageTellsItsPastAndWhoAsked(t *testing.T) {
	now := time.Now()
	s := oneAccount(now)
	html := s.renderRequest(t, Request{Account: "wx/1", Root: "../"})
	has(t, html, "<h2>wx/1", "Shop", `data-copy="1"`, "asked by ops (command line)", "asked by shop (as an SDK)", "asked by someone",
		`href="../page.css"`, `href="../?lang=en"`, `href="?lang=zh"`, "host-4:1-DDDD", "fetched the current token", "refreshes now", "this process",
		`<svg class="graph"`, `class="failed" x1=`, `class="conflict" x1=`)
	lacks(t, html, "wx2", `="/`, "Show the whole history")
	chinese := s.renderRequest(t, Request{Account: "wx/1", Root: "../", Language: "zh"})
	has(t, chinese, "请求者 ops（命令行）", "请求者 shop（SDK 接口）", "历史记录")

	has(t, s.renderRequest(t, Request{}), `href="./accounts/wx%2F1?lang=en"`, "asked by ops (command line)")
}

func TestALongHistoryIsCutUntilAllOfItIsWanted(t *testing.T) {
	now := time.Now()
	s := oneAccount(now)
	for n := range 150 {
		s.logs.entries["wx2"] = append(s.logs.entries["wx2"], redisadmin.Entry{At: now.Add(-time.Duration(n) * time.Hour), Event: "refreshed", By: "h", Life: 2 * time.Hour})
	}
	count := func(html string) int { return strings.Count(html, `<li class="refreshed">`) }
	if html := s.renderRequest(t, Request{Account: "wx2"}); count(html) != shownHistory || !strings.Contains(html, "Show the whole history") {
		t.Errorf("%d entries", count(html))
	}
	if html := s.renderRequest(t, Request{Account: "wx2", All: true}); count(html) != 150 || strings.Contains(html, "Show the whole history") {
		t.Errorf("%d entries of all", count(html))
	}
}

func TestAnAccountsPageWithoutALogShowsWhatWasHeard(t *testing.T) {
	s := oneAccount(time.Now())
	s.logs.err = errAway
	s.hub.Observe(coordinator.Observation{Kind: coordinator.Notified, Account: "wx/1", Event: &coordinator.Event{
		Kind: coordinator.EventFailed, Account: "wx/1", By: "host-9", Failure: &coordinator.Failure{Code: "45009", Message: "quota"},
	}})
	has(t, s.renderRequest(t, Request{Account: "wx/1"}), "The log cannot be read", "host-9", "45009")
}

func TestNothingFromRedisTurnsThePagesTextAround(t *testing.T) {
	const nasty = "ops\u202e\u2066\x1b[2J\x00"
	now := time.Now()
	status := coordinator.Status{
		Name: "wx", Record: live(now), Holder: nasty, Failure: &coordinator.Failure{InARow: 1, Message: nasty}, OpenAttempts: 1, Conflicts: 1,
	}
	status.Record.IssuedBy = nasty
	s := newScene(status)
	s.logs.entries["wx"] = []redisadmin.Entry{{At: now, Event: "conflict", By: nasty, AskedBy: nasty + " (api)", Error: nasty, Reason: "forced"}}
	for _, account := range []string{"", "wx"} {
		html := s.renderRequest(t, Request{Account: account})
		lacks(t, html, "\u202e", "\u2066", "\x1b", "\x00")
		has(t, html, "asked by ops\ufffd\ufffd\ufffd[2J\ufffd (API)")
	}
}

func TestManyAccountsAreLinesAndTheUrgentOnesCards(t *testing.T) {
	now := time.Now()
	var all []coordinator.Status
	for n := range 300 {
		one := coordinator.Status{Name: fmt.Sprintf("wx%03d", n), Record: live(now), NextRefresh: now.Add(time.Minute)}
		if n%10 == 0 {
			one.Failure = &coordinator.Failure{InARow: 1, Code: "40164", Message: "invalid ip"}
		}
		if n%100 == 1 {
			one.Record = coordinator.Record{}
			one.Failure = &coordinator.Failure{InARow: 1, Code: "40125", Message: "invalid appsecret"}
		}
		all = append(all, one)
	}
	s := newScene(all...)
	s.page.cfg.Label = func(account string) string { return "Shop " + strings.TrimPrefix(account, "wx") }
	html := s.renderRequest(t, Request{})
	if cards, lines := strings.Count(html, "<article"), strings.Count(html, "data-generation"); cards != maxCards || lines != maxCards+maxLines {
		t.Errorf("%d cards among %d accounts", cards, lines)
	}
	has(t, html, `href="./?lang=en&amp;state=expired">3 no token</a>`, `href="./?lang=en&amp;state=failing">30 refresh failing</a>`, `href="#events"`,
		fmt.Sprintf("%d more", 300-maxCards-maxLines), `href="./?lang=en&amp;all">Show all</a>`)
	if strings.Index(html, `data-account="wx201"`) > strings.Index(html, `data-account="wx000"`) {
		t.Error("one without a token is not before one that has one")
	}

	html = s.renderRequest(t, Request{State: "expired"})
	if strings.Count(html, "<article") != 3 || strings.Count(html, "data-generation") != 3 {
		t.Error("the filter does not show the three alone")
	}
	has(t, html, `aria-current="true">3 no token`, `href="./?lang=en">all 300</a>`, "No usable token for 3 of 300 accounts")
	if html = s.renderRequest(t, Request{Search: "shop 123"}); strings.Count(html, "data-generation") != 1 || !strings.Contains(html, "wx123") {
		t.Error("an account is not found by its label")
	}
	has(t, s.renderRequest(t, Request{State: "nonsense"}), "No account matches")
	if html = s.renderRequest(t, Request{All: true}); strings.Count(html, "data-generation") != 300 {
		t.Error("not all are shown")
	}
}

func TestThePageShowsNoTextFromItsAddress(t *testing.T) {
	s := newScene(coordinator.Status{Name: "wx", Record: live(time.Now())})
	html := s.renderRequest(t, Request{Done: "call 555-0100", Failed: "call 555-0100"})
	lacks(t, html, "555")
	has(t, html, "The refresh failed: the log says why")
	has(t, s.renderRequest(t, Request{Done: "wx", Failed: "throttled"}), "wx was refreshed.", "The refresh failed: too many calls")
}

func TestAGraphEndsEachTokenWhereTheNextBegins(t *testing.T) {
	now := time.Now()
	if g := newGraph(eventsOf(redisadmin.Entry{At: now, Event: "failed"}), now); g != nil {
		t.Error("a graph without a token")
	}
	g := newGraph(eventsOf([]redisadmin.Entry{
		{At: now.Add(-time.Hour), Event: "refreshed", Life: 2 * time.Hour},
		{At: now.Add(-2 * time.Hour), Event: "refreshed", Life: 2 * time.Hour},
		{At: now.Add(-10 * time.Hour), Event: "refreshed", Life: 2 * time.Hour}, // nothing for six hours
		{At: now.Add(-25 * time.Hour), Event: "refreshed", Life: 2 * time.Hour}, // cut off
		{At: now.Add(-48 * time.Hour), Event: "refreshed", Life: 2 * time.Hour},
	}...), now)
	want := "M958.3 100.0L958.3 0.0L1000.0 50.0L1000.0 100.0Z" +
		"M916.7 100.0L916.7 0.0L958.3 50.0L958.3 100.0Z" +
		"M583.3 100.0L583.3 0.0L666.7 100.0L666.7 100.0Z" +
		"M0.0 100.0L0.0 50.0L41.7 100.0L41.7 100.0Z"
	if g.Area != want {
		t.Errorf("the path is %s, want %s", g.Area, want)
	}
}

func eventsOf(entries ...redisadmin.Entry) []event {
	var all []event
	for _, e := range entries {
		all = append(all, event{Entry: e})
	}
	return all
}
