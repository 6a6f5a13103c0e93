package page

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/events"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

// live is a record with an hour left of two.
func live(now time.Time) coordinator.Record {
	return coordinator.Record{
		Token: coordinator.NewToken("t"), Generation: 1, IssuedAt: now.Add(-time.Hour), ExpiresAt: now.Add(time.Hour), TTL: time.Hour - 30*time.Second,
	}
}

var (
	errAway   = fmt.Errorf("load: %w: dial tcp 10.0.0.5:6379: connect: connection refused", coordinator.ErrUnreachable)
	errWrong  = fmt.Errorf("load: %w: %w: WRONGPASS", coordinator.ErrUnreachable, coordinator.ErrDenied)
	errRights = fmt.Errorf("lock: %w: NOPERM", coordinator.ErrDenied)
	errSealed = fmt.Errorf("load: %w: kid 7", coordinator.ErrSealed)
	errData   = fmt.Errorf("load: %w", &redisstore.DataError{Key: "zhongkong:{wx}:state", Field: "fence", Problem: "is not a whole number"})
)

func TestStates(t *testing.T) {
	now := time.Now()
	record := live(now)
	ended := record
	ended.TTL = 0
	broken, recovered := &coordinator.Failure{InARow: 1}, &coordinator.Failure{InARow: 0}
	for name, c := range map[string]struct {
		status   coordinator.Status
		conflict time.Duration // ago; 0: none
		store    error
		want     state
	}{
		"fresh":                                {coordinator.Status{Record: record, NextRefresh: now.Add(time.Hour)}, 0, nil, fresh},
		"failed once, long ago":                {coordinator.Status{Record: record, Failure: recovered}, 0, nil, fresh},
		"a refresh that is a bit late":         {coordinator.Status{Record: record, NextRefresh: now.Add(-time.Minute)}, 0, nil, fresh},
		"a refresh that is late":               {coordinator.Status{Record: record, NextRefresh: now.Add(-time.Hour)}, 0, nil, late},
		"the store away":                       {coordinator.Status{Record: record, Stale: true}, 0, errAway, stale},
		"failing":                              {coordinator.Status{Record: record, Failure: broken}, 0, nil, failing},
		"failing with the store away":          {coordinator.Status{Record: record, Failure: broken, Stale: true}, 0, errAway, failing},
		"a refresher without the rights":       {coordinator.Status{Record: record, Role: coordinator.Refresher}, 0, errRights, failing},
		"a reader without all rights":          {coordinator.Status{Record: record, Role: coordinator.Reader}, 0, errRights, fresh},
		"a conflict this morning":              {coordinator.Status{Record: record, Conflicts: 1}, 3 * time.Hour, nil, conflict},
		"a conflict, and failing":              {coordinator.Status{Record: record, Conflicts: 1, Failure: broken}, time.Hour, nil, conflict},
		"a conflict last week":                 {coordinator.Status{Record: record, Conflicts: 1}, 25 * time.Hour, nil, fresh},
		"a conflict, and no token":             {coordinator.Status{Record: ended, Conflicts: 1}, time.Hour, nil, expired},
		"sealed with another key":              {coordinator.Status{Err: errSealed}, 0, nil, unreadable},
		"sealed, and an older token in memory": {coordinator.Status{Record: record, Err: errSealed}, 0, nil, unreadable},
		"expired":                              {coordinator.Status{Record: ended}, 0, nil, expired},
		"never had one, refused":               {coordinator.Status{Failure: broken}, 0, nil, expired},
		"never had one, nothing failed":        {coordinator.Status{}, 0, nil, waiting},
		"never reached the store":              {coordinator.Status{}, 0, errAway, down},
		"never let in by the store":            {coordinator.Status{}, 0, errWrong, down},
	} {
		var was past
		if c.conflict > 0 {
			was.lastConflict = now.Add(-c.conflict)
		}
		if got := newCard(c.status, was, c.store, now).State; got != c.want {
			t.Errorf("%s: %s, want %s", name, got.key(), c.want.key())
		}
	}
}

func TestACardCountsByTheStoresDurations(t *testing.T) {
	now := time.Now()
	store := now.Add(24 * time.Hour) // its clock is a day ahead
	c := newCard(coordinator.Status{
		Record: coordinator.Record{
			Token: coordinator.NewToken("t"), Generation: 1, TTL: 90 * time.Minute,
			IssuedAt: store.Add(-29*time.Minute - 30*time.Second), ExpiresAt: store.Add(90*time.Minute + 30*time.Second),
		},
		NextRefresh: now.Add(30 * time.Minute), RetryAt: now.Add(time.Minute), CallsToday: 1900, Limits: coordinator.DefaultLimits(),
		Failure: &coordinator.Failure{InARow: 2, At: store, RetryAt: store.Add(time.Minute)},
	}, past{}, nil, now)
	if want := 2*time.Hour - 30*time.Second - 90*time.Minute; c.Age != want {
		t.Errorf("age %v, want %v", c.Age, want)
	}
	if c.LeftShare < 75 || c.LeftShare > 76 || c.NextShare < 50 || c.NextShare > 51 {
		t.Errorf("left %.1f%%, next at %.1f%%", c.LeftShare, c.NextShare)
	}
	if c.CallsState != "high" {
		t.Errorf("calls are %q, want high", c.CallsState)
	}
	if c.Failure.Retry != time.Minute {
		t.Errorf("next try in %v, want 1m", c.Failure.Retry)
	}
}

func TestARefreshAfterTheEndOfTheTokenIsMarked(t *testing.T) {
	now := time.Now()
	s := coordinator.Status{Record: live(now), NextRefresh: now.Add(11 * time.Hour), Failure: &coordinator.Failure{InARow: 1}}
	if c := newCard(s, past{}, nil, now); !c.NextTooLate {
		t.Errorf("left %v, next %v: not marked", c.Left, c.Next)
	}
}

// everybody sees and may everything.
type everybody struct{}

func (everybody) Name() string           { return "ops" }
func (everybody) May(string) bool        { return true }
func (everybody) MayRefresh(string) bool { return true }

// logs are logs of accounts, the newest entry first.
type logs struct {
	entries map[string][]redisadmin.Entry
	reads   int
	err     error
}

func (l *logs) History(_ context.Context, account string, n int) ([]redisadmin.Entry, error) {
	l.reads++
	all := l.entries[account]
	return all[:min(n, len(all))], l.err
}

// scene is a page over accounts as a test wants them.
type scene struct {
	statuses []coordinator.Status
	store    error
	away     bool
	logs     *logs
	hub      *events.Hub
	page     *Page
}

func newScene(statuses ...coordinator.Status) *scene {
	s := &scene{statuses: statuses, logs: &logs{entries: map[string][]redisadmin.Entry{}}, hub: events.New()}
	s.page = newPage(Config{Events: s.hub, History: s.logs, Instance: "host-1", Version: "v1"}, storeView{
		connected: func() bool { return !s.away },
		err:       func() error { return s.store },
		statuses:  func() []coordinator.Status { return s.statuses },
	})
	return s
}

func (s *scene) render(t *testing.T, language string) string {
	t.Helper()
	var b strings.Builder
	if err := s.page.Render(t.Context(), &b, Request{Viewer: everybody{}, Language: language}); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"%!", "{sum.", "{state.", "{store.", "{record.", "ZgotmplZ"} {
		if strings.Contains(b.String(), wrong) {
			t.Errorf("%s: %s on the page", language, wrong)
		}
	}
	return b.String()
}

// shows fails the test unless the page has all of these, in English.
func (s *scene) shows(t *testing.T, texts ...string) string {
	t.Helper()
	html := s.render(t, "en")
	for _, text := range texts {
		if !strings.Contains(html, text) {
			t.Errorf("the page lacks %q", text)
		}
	}
	return html
}

func lacks(t *testing.T, html string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(html, text) {
			t.Errorf("the page has %q", text)
		}
	}
}

func TestAConflictIsABannerForADayAndSmallPrintAfterwards(t *testing.T) {
	now := time.Now()
	healthy := coordinator.Status{Name: "wx-a", Record: live(now), NextRefresh: now.Add(time.Minute)}
	rogue := healthy
	rogue.Name, rogue.Conflicts = "wx-z", 3
	s := newScene(healthy, rogue)
	s.logs.entries["wx-z"] = []redisadmin.Entry{{At: now, Event: "refreshed"}, {At: now.Add(-7 * time.Minute), Event: "conflict"}, {At: now.Add(-time.Hour), Event: "conflict"}}
	html := s.shows(t, `data-state="conflict"`, "An outside program fetches tokens of 1 of 2 accounts", "3 times", "let it ask here",
		now.Add(-7*time.Minute).UTC().Format(time.RFC3339))
	if strings.Index(html, `data-account="wx-z"`) > strings.Index(html, `data-account="wx-a"`) {
		t.Error("it is not before the healthy one")
	}

	s.statuses[1].Conflicts = 4 // and one more
	s.logs.entries["wx-z"] = []redisadmin.Entry{{At: now, Event: "conflict"}}
	s.shows(t, now.UTC().Format(time.RFC3339))

	old := newScene(healthy, rogue)
	old.logs.entries["wx-z"] = []redisadmin.Entry{{At: now.Add(-25 * time.Hour), Event: "conflict"}}
	html = old.shows(t, `data-state="fresh"`, "<small>3 times", now.Add(-25*time.Hour).UTC().Format(time.RFC3339))
	lacks(t, html, "let it ask here")
}

func TestTheTimeOfAConflictIsLookedForOnce(t *testing.T) {
	now := time.Now()
	var all []coordinator.Status
	for n := range 2*historyFor + 5 {
		all = append(all, coordinator.Status{Name: fmt.Sprint("wx", n), Record: live(now), Conflicts: 1})
	}
	s := newScene(all...)
	for _, a := range all {
		s.logs.entries[a.Name] = []redisadmin.Entry{{At: now, Event: "conflict"}}
	}
	for range 3 { // one rendering looks for a part of them
		s.render(t, "en")
	}
	s.shows(t, "An outside program fetches tokens of every account")
	if s.logs.reads != len(all) {
		t.Errorf("%d reads for %d accounts", s.logs.reads, len(all))
	}
}

func TestAConflictWhoseTimeIsNotKnownIsStillToldOf(t *testing.T) {
	s := newScene(coordinator.Status{Name: "wx", Record: live(time.Now()), Conflicts: 2})
	s.logs.err = errAway
	s.shows(t, `<span class="warn">2 times</span>`)
}

func TestAnOutageIsRedAndSaysItsCause(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		says []string
	}{
		"unreachable":    {errAway, []string{"Redis cannot be reached.", "dial tcp 10.0.0.5:6379: connect: connection refused"}},
		"wrong password": {errWrong, []string{"Redis refuses the user or the password."}},
		"few rights":     {errRights, []string{"The Redis user lacks rights.", "zhongkong doctor"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(coordinator.Status{Name: "wx1"}, coordinator.Status{Name: "wx2"})
			s.store, s.away = c.err, true
			html := s.shows(t, append(c.says, `data-state="down"`, "Redis cannot be used: there are no tokens", "What to do")...)
			lacks(t, html, "data-refresh", "Waiting", "tokens in memory are served")
		})
	}
}

func TestAnOutageWithTokensInMemorySaysSinceWhen(t *testing.T) {
	now := time.Now()
	s := newScene(coordinator.Status{Name: "wx", Record: live(now), NextRefresh: now.Add(time.Minute), Stale: true})
	s.hub.Observe(coordinator.Observation{Kind: coordinator.Connected})
	s.hub.Observe(coordinator.Observation{Kind: coordinator.Disconnected, Err: errAway})
	s.away, s.store = true, errAway
	html := s.shows(t, `data-state="stale"`, "Since <time", "tokens in memory are served")
	lacks(t, html, "Next refresh", "data-refresh")
	if n := strings.Count(html, "Redis is unreachable"); n > 3 { // the title, the banner, the event
		t.Errorf("it says so %d times", n)
	}
}

func TestWhileThePageConnectsNothingIsWrongYet(t *testing.T) {
	s := newScene(coordinator.Status{Name: "wx"})
	s.away = true
	s.shows(t, `data-state="waiting"`, "Connecting to Redis.")
}

func TestARecordThatCannotBeReadIsRedAndSaysWhy(t *testing.T) {
	s := newScene(coordinator.Status{Name: "wx1", Err: errSealed}, coordinator.Status{Name: "wx2", Err: errData}, coordinator.Status{Name: "wx3", Err: errors.New("odd")})
	s.shows(t, `data-state="unreadable"`, "The data of all accounts in Redis cannot be read", "cannot be opened with the seal keys", "zhongkong:{wx}:state fence", "odd")
}

func TestAFailingCardSaysSinceWhenAndWhenItIsTriedAgain(t *testing.T) {
	now := time.Now()
	at := func(ago time.Duration) string { return now.Add(-ago).UTC().Format(time.RFC3339) }
	s := newScene(coordinator.Status{Name: "wx", Record: live(now), NextRefresh: now.Add(4 * time.Minute), RetryAt: now.Add(4 * time.Minute), Failure: &coordinator.Failure{
		Kind: coordinator.FailedBusy, Message: "api.weixin.qq.com/cgi-bin/token: context deadline exceeded",
		InARow: 3, At: now.Add(-time.Minute),
	}})
	s.logs.entries["wx"] = []redisadmin.Entry{
		{At: now.Add(-time.Minute), Event: "failed"}, {At: now.Add(-2 * time.Minute), Event: "reported"},
		{At: now.Add(-5 * time.Minute), Event: "failed"}, {At: now.Add(-9 * time.Minute), Event: "failed"}, {At: now.Add(-time.Hour), Event: "refreshed"},
		{At: now.Add(-2 * time.Hour), Event: "failed"},
	}
	s.shows(t, "3 failed in a row", "failing since <time datetime=\""+at(9*time.Minute), "at <time datetime=\""+at(time.Minute), "next try in", "WeChat did not answer in time")
}

func TestAReaderWithoutARefresherSaysSo(t *testing.T) {
	now := time.Now()
	for name, status := range map[string]coordinator.Status{
		"waiting": {Name: "wx", Role: coordinator.Reader, LastRead: true},
		"late":    {Name: "wx", Role: coordinator.Reader, LastRead: true, Record: live(now), NextRefresh: now.Add(-time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			lacks(t, newScene(status).shows(t, "No process with the AppSecret answers"), "data-refresh")
		})
	}
	status := coordinator.Status{Name: "wx", Role: coordinator.Reader} // was started a moment ago
	lacks(t, newScene(status).render(t, "en"), "No process with the AppSecret answers")
}

func TestAChildShowsWhatItNeeds(t *testing.T) {
	now := time.Now()
	refused := &coordinator.ParentError{Account: "wx1.jsapi", Parent: "wx1", Cause: errors.New("refused: 40125: invalid appsecret")}
	s := newScene(coordinator.Status{Name: "wx1.jsapi", LastRead: true, Parent: "wx1", Blocked: refused})
	s.shows(t, "This account needs the token of wx1, which has none.", "refused: 40125: invalid appsecret", "See wx1.", `href="accounts/wx1?lang=en"`, `card expired`)
	refused.Cause = coordinator.ErrNoToken
	lacks(t, s.shows(t, "which has none", "card waiting"), "coordinator:")
	record := live(now)
	record.Attributes, record.Repeated = map[string]string{"instance_url": "https://eu.example.com"}, true
	s = newScene(coordinator.Status{Name: "wx1.jsapi", LastRead: true, Parent: "wx1", Record: record, NextRefresh: now.Add(time.Hour)})
	lacks(t, s.shows(t, "the issuer repeated the token", "Needs the token of"), "which has none", "instance_url")
	var b strings.Builder
	if err := s.page.Render(t.Context(), &b, Request{Viewer: everybody{}, Language: "en", Account: "wx1.jsapi"}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "instance_url") || !strings.Contains(b.String(), "https://eu.example.com") {
		t.Error("the account's page lacks the token's attributes")
	}
}

func TestOnlyTheParentIsShownAsUnattended(t *testing.T) {
	now := time.Now()
	reader := func(name, parent string, record coordinator.Record) coordinator.Status {
		return coordinator.Status{Name: name, Role: coordinator.Reader, LastRead: true, Parent: parent, Record: record, NextRefresh: now.Add(-time.Hour)}
	}
	missed := func(statuses ...coordinator.Status) int {
		return strings.Count(newScene(statuses...).render(t, "en"), "start one, better two")
	}
	if n := missed(reader("wx1", "", coordinator.Record{}), reader("wx1.jsapi", "wx1", live(now))); n != 1 {
		t.Errorf("a process is missed for %d accounts, want 1: the parent", n)
	}
	if n := missed(reader("wx1", "", live(now)), reader("wx1.jsapi", "wx1", live(now))); n != 2 {
		t.Errorf("a process is missed for %d accounts, want 2: the parent has a token", n)
	}
}

func TestAReaderShowsNoLimitOfCalls(t *testing.T) {
	s := coordinator.Status{Name: "wx1", Role: coordinator.Reader, LastRead: true, Limits: coordinator.DefaultLimits(), CallsToday: 2000}
	lacks(t, newScene(s).shows(t, "Calls today", ">2000</b>"), "of 2000", "used up", "bar thin")
	s.Role = coordinator.Refresher
	newScene(s).shows(t, "of 2000", "used up", "bar thin")
}

func TestCallsAreCountedInTheIssuersWindows(t *testing.T) {
	status := func(limits coordinator.Limits) coordinator.Status {
		return coordinator.Status{Name: "push", LastRead: true, Limits: limits, CallsToday: 100}
	}
	lacks(t, newScene(status(coordinator.Limits{PerDay: 100, Window: time.Minute})).shows(t, "Calls in 1m", "before the next period of 1m"), "today</dt>", "UTC+8")
	lacks(t, newScene(status(coordinator.Limits{PerDay: 100, DayBegins: 8 * time.Hour})).shows(t, "Calls today", "no call before the issuer"), "UTC+8")
}
