package sdktest

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// way is how an SDK reaches WeChat.
type way struct {
	name, short string
	route       bool
	path        bool // the route is below /proxy/, not at an address of its own
	caller      string
}

func ways() []way {
	return []way{
		{"Through a route at an address of its own", "r", true, false, caller},
		{"Through a route below /proxy/, by a caller that gets phantoms", "p", true, true, veiled},
		{"Without a route: only requests for tokens and logins go to Zhongkong", "a", false, false, caller},
	}
}

// scenarios are the columns of the results, in the order in which they happen.
func scenarios() []string {
	return []string{"token", "call", "killed", "forced refresh", "login", "Redis away", "wrong key"}
}

// subject is an SDK that reaches WeChat in one way. It has an account to itself, so
// that no other heals its token.
type subject struct {
	sdk
	way
	account
	number  int
	driver  *driver
	results map[string]string
}

// calls is how many calls are made after each thing that happens to a token.
const calls = 3

// TestUnmodifiedSDKs has each SDK go through everything that happens to a token. All
// do so side by side, in steps.
func TestUnmodifiedSDKs(t *testing.T) {
	var subjects []*subject
	var accounts []account
	for i, w := range ways() {
		for j, one := range sdks() {
			a := account{appID: fmt.Sprintf("wx%016x", i<<8|j)}
			if w.route {
				a.route = fmt.Sprintf("%s%d", w.short, j)
			}
			accounts = append(accounts, a)
			subjects = append(subjects, &subject{
				sdk: one, way: w, account: a, number: len(subjects) + 1, results: map[string]string{},
			})
		}
	}
	s := newStack(t, accounts)
	groups := startDrivers(t, subjects)
	each := func(do func(*subject)) {
		var all sync.WaitGroup
		for _, group := range groups {
			all.Go(func() {
				for _, one := range group {
					do(one)
				}
			})
		}
		all.Wait()
	}

	each(func(u *subject) {
		u.open(s, "first")
		u.results["token"] = outcome(u.do("token", "first"))
		u.results["call"] = outcome(u.do("call", "first"))
	})
	// A check is made of tokens that are 5 s old, and one in 10 s.
	next := time.Now().Add(10 * time.Second)
	s.eventually("the next checks", func() bool { return time.Now().After(next) })
	for _, a := range accounts {
		s.kill(a.appID)
	}
	each(func(u *subject) { u.results["killed"] = u.repeatedly("first") })

	for _, a := range accounts { // whatever state they were left in
		s.refresh(a.appID)
	}
	each(func(u *subject) {
		u.open(s, "second")
		if err := u.do("call", "second"); err != nil {
			t.Errorf("%s, %s: before the forced refresh: %v", u.way.name, u.sdk.name, err)
		}
	})
	s.forceAll(accounts)
	s.advance("5m1s")
	each(func(u *subject) {
		u.results["forced refresh"] = u.repeatedly("second")
		u.results["login"] = "none"
		if !u.noLogin {
			u.results["login"] = outcome(u.driver.do(request{Op: "login", Session: u.session("second"), Code: "c0de"}))
		}
		u.open(s, "third")
		if err := u.do("call", "third"); err != nil {
			t.Errorf("%s, %s: before Redis is away: %v", u.way.name, u.sdk.name, err)
		}
	})

	s.stopRedis()
	s.eventually("zhongkong to notice", func() bool { return s.record(accounts[0].appID).Stale })
	each(func(u *subject) {
		u.results["Redis away"] = u.repeatedly("third")
		u.open(s, "fourth") // a process that starts now
		if got := outcome(u.do("call", "fourth")); got != "ok" {
			u.results["Redis away"] = "a new process: " + got
		}
		u.results["wrong key"] = u.withWrongKey(s)
	})

	for _, u := range subjects {
		u.judge(t)
		if n := s.issued(u.appID); n > 4 { // the first, after the kill, before and at the forced refresh
			t.Errorf("%s: %s: %d tokens were issued, want 4", u.way.name, u.sdk.name, n)
		}
	}
	compare(t, render(t, subjects))
}

// startDrivers starts the drivers. It returns the subjects of each.
func startDrivers(t *testing.T, subjects []*subject) (groups [][]*subject) {
	t.Helper()
	shared := map[string]int{}
	for _, u := range subjects {
		name := u.runtime()
		at, known := shared[name]
		if u.own || !known {
			u.driver = startDriver(t, name)
			groups = append(groups, []*subject{u})
			if !u.own {
				shared[name] = len(groups) - 1
			}
			continue
		}
		u.driver = groups[at][0].driver
		groups[at] = append(groups[at], u)
	}
	return groups
}

// session names a client of the subject in its driver.
func (u *subject) session(name string) string { return fmt.Sprintf("%s-%s", u.appID, name) }

// base is where the subject's requests go.
func (u *subject) base(s *stack) string {
	switch {
	case u.way.path:
		return s.zhongkong + "/proxy/" + u.account.route
	case u.way.route:
		return s.routes[u.account.route]
	}
	return s.nginx
}

func (u *subject) open(s *stack, session string) { u.openWith(s.t, session, u.base(s), key) }

func (u *subject) openWith(t *testing.T, session, base, password string) {
	t.Helper()
	err := u.driver.do(request{
		Op: "open", Session: u.session(session), SDK: u.sdk.name, Wire: u.wire,
		Base: base, AppID: u.appID, Secret: u.caller + "~" + password,
	})
	if err != nil {
		t.Errorf("%s: open: %v", u.sdk.name, err)
	}
}

func (u *subject) do(op, session string) error {
	return u.driver.do(request{Op: op, Session: u.session(session)})
}

// repeatedly makes calls and returns how many fail.
func (u *subject) repeatedly(session string) string {
	failed := 0
	for range calls {
		if u.do("call", session) != nil {
			failed++
		}
	}
	switch failed {
	case 0:
		return "ok"
	case calls:
		return "fails until it asks"
	}
	return fmt.Sprintf("%d failed", failed)
}

// oneWrongKey has wrong keys come one by one: verifying many at once takes longer than
// some SDKs wait.
var oneWrongKey sync.Mutex

// withWrongKey asks for a token with a wrong key.
func (u *subject) withWrongKey(s *stack) string {
	oneWrongKey.Lock()
	defer oneWrongKey.Unlock()
	base := s.zhongkong
	if u.way.route {
		base = s.routes[u.account.route]
	}
	u.openWith(s.t, "wrong", s.from(u.number, base), "wr0ng-Kq8vXw2nRt5yBz7mH")
	return outcome(u.do("token", "wrong"))
}

var errcode = regexp.MustCompile(`\b(-1|4\d{4})\b`)

// outcome is what an SDK's user gets: ok, an errcode or the error.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	if code := errcode.FindString(err.Error()); code != "" {
		return code
	}
	return err.Error()
}

// judge fails the test where a promise is not kept.
func (u *subject) judge(t *testing.T) {
	t.Helper()
	for scenario, got := range u.results {
		want := got == "ok" || got == "none"
		switch scenario {
		case "wrong key":
			want = got == "40125"
		case "killed", "forced refresh":
			want = want || !u.way.route && (!u.asks || got == "1 failed")
		}
		if !want {
			t.Errorf("%s: %s: %s: %s", u.way.name, u.sdk.name, scenario, got)
		}
	}
}

// render is RESULTS.md.
func render(t *testing.T, subjects []*subject) string {
	t.Helper()
	text, err := os.ReadFile("preface.md")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.Write(text)
	for _, w := range ways() {
		fmt.Fprintf(&b, "\n## %s\n\n| SDK | version | language | asks again | %s |\n", w.name, strings.Join(scenarios(), " | "))
		b.WriteString("|" + strings.Repeat(" --- |", 4+len(scenarios())) + "\n")
		for _, u := range subjects {
			if u.way != w {
				continue
			}
			asks := "no"
			if u.asks {
				asks = "yes"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |", u.sdk.name, u.version(t), u.language, asks)
			for _, scenario := range scenarios() {
				fmt.Fprintf(&b, " %s |", u.results[scenario])
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// compare compares a run with RESULTS.md, or writes it.
func compare(t *testing.T, got string) {
	t.Helper()
	const file = "RESULTS.md"
	if *table {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, have := strings.Split(string(text), "\n"), strings.Split(got, "\n")
	for i := range max(len(want), len(have)) {
		switch {
		case i >= len(want):
			t.Errorf("%s lacks\n%s", file, have[i])
		case i >= len(have):
			t.Errorf("%s has, and the run has not\n%s", file, want[i])
		case want[i] != have[i]:
			t.Errorf("%s has\n%s\nthe run has\n%s", file, want[i], have[i])
		}
	}
	if t.Failed() {
		t.Log("scripts/sdktest/run --table writes it")
	}
}
