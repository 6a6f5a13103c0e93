package page

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/coordinator/wecom"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

var english, chinese = languages()[0], languages()[1]

func TestBothLanguagesHaveTheSameTexts(t *testing.T) {
	for key, text := range english.Names {
		other, ok := chinese.Names[key]
		if !ok {
			t.Errorf("there is no Chinese for %s", key)
		}
		if strings.Count(text, "%") != strings.Count(other, "%") {
			t.Errorf("%s: %q and %q take different arguments", key, text, other)
		}
	}
	for key := range chinese.Names {
		if _, ok := english.Names[key]; !ok {
			t.Errorf("there is no English for %s", key)
		}
	}
	for code := range english.Codes {
		if chinese.Codes[code] == "" {
			t.Errorf("there is no Chinese advice for %d", code)
		}
	}
}

func TestEveryCodeHasAdviceAndIsNotToldTwice(t *testing.T) {
	for _, class := range wechat.Codes() {
		for _, w := range languages() {
			if w.Codes[class.Code] == "" {
				t.Errorf("%s: no advice for %d", w.Code, class.Code)
			}
		}
		if class.Hint == "" {
			continue
		}
		if got := issuersWords("", coordinator.NumericCode(class.Code), "invalid x rid: 1-2-3; "+class.Hint); got != "invalid x rid: 1-2-3" {
			t.Errorf("%d: the page says %q", class.Code, got)
		}
		if got := issuersWords("", coordinator.NumericCode(class.Code), class.Meaning+"; "+class.Hint); got != "" {
			t.Errorf("%d: our words for the issuer's: %q", class.Code, got)
		}
	}
	if english.advice("", coordinator.FailedRefused, "4711", "x") == "" || english.advice("", coordinator.FailedRefused, "", "x") != "" {
		t.Error("an unknown code has no advice, or what is not known has some")
	}
}

func TestTheAdviceIsThatOfTheAccountsIssuer(t *testing.T) {
	for _, class := range wecom.Codes() {
		for _, w := range languages() {
			if w.WeCom[class.Code] == "" {
				t.Errorf("%s: no advice for WeCom's %d", w.Code, class.Code)
			}
		}
	}
	for _, c := range []struct {
		source string
		kind   coordinator.FailureKind
		code   coordinator.Code
		want   string
	}{
		{sources.Token, coordinator.FailedRefused, "40001", english.Codes[40001]},
		{sources.WeCom, coordinator.FailedRefused, "40001", english.WeCom[40001]},
		{sources.WeComJSAPITicket, coordinator.FailedParent, "40014", english.Names["advice.parent"]},
		{sources.JSAPITicket, coordinator.FailedRefused, "48001", english.Codes[48001]},
		{sources.OAuth2, coordinator.FailedRefused, "invalid_client", oauth.Classify("invalid_client", 400).Hint},
		{sources.OAuth2, coordinator.FailedBusy, "-1", oauth.Classify("-1", 400).Hint},
		{sources.WeCom, coordinator.FailedBusy, "4711", wecom.Classify(4711).Hint},
		{sources.HTTP, coordinator.FailedRefused, "40001", ""},
	} {
		if got := english.advice(c.source, c.kind, c.code, "x"); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.source, c.code, got, c.want)
		}
	}
	hint := oauth.Classify("invalid_client", 400).Hint
	if got := issuersWords(sources.OAuth2, "invalid_client", "no; "+hint); got != "no" {
		t.Errorf("the issuer's words are %q", got)
	}
}

func TestACallThatBroughtNoCodeHasAdvice(t *testing.T) {
	for message, key := range map[string]string{
		"api.weixin.qq.com/cgi-bin/token: context deadline exceeded":                         "timeout",
		"h/cgi-bin/token: read tcp 127.0.0.1:1->127.0.0.1:2: i/o timeout":                    "timeout",
		"h/cgi-bin/token: read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer": "broken",
		"h/cgi-bin/token: EOF": "broken",
		"h/cgi-bin/token: dial tcp 127.0.0.1:1: connect: connection refused":                                "refused",
		"h/cgi-bin/token: dial tcp: lookup h: no such host":                                                 "dns",
		"h/cgi-bin/token: dial tcp 10.0.0.1:443: connect: network is unreachable":                           "route",
		"h/cgi-bin/token: tls: failed to verify certificate: x509: certificate signed by unknown authority": "tls",
		"h/cgi-bin/token answered a page instead of JSON":                                                   "relay",
		"h/cgi-bin/token answered HTTP status 502":                                                          "relay",
	} {
		for _, w := range languages() {
			if got := w.advice("", coordinator.FailedUnknown, "", message); got != w.Names["advice."+key] || got == "" {
				t.Errorf("%s: %s: %q, want the advice %s", w.Code, message, got, key)
			}
		}
	}
}

func TestOneIsNotMany(t *testing.T) {
	for n, want := range map[int]string{1: "once", 2: "2 times"} {
		if got := english.many("conflicts.some", n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for counts, want := range map[[2]int]string{
		{1, 1}: "There is no usable token", {1, 3}: "No usable token for 1 of 3 accounts", {2, 2}: "No usable token for any account",
	} {
		v := &view{Worst: expired, Total: counts[1]}
		v.Counts[expired] = counts[0]
		if got := english.summary(v); got != want {
			t.Errorf("%v: %q, want %q", counts, got, want)
		}
	}
}

// TestTheChinesePageIsChinese looks at a page on which everything is wrong.
func TestTheChinesePageIsChinese(t *testing.T) {
	now := time.Now()
	failed := func(code coordinator.Code, message string) *coordinator.Failure {
		return &coordinator.Failure{Code: code, Message: message, At: now, InARow: 2, RetryAt: now.Add(time.Hour)}
	}
	hint := wechat.Classify(40164).Hint
	s := newScene(
		coordinator.Status{Name: "wx1", Failure: failed("40164", "invalid ip; "+hint), OpenAttempts: 1},
		coordinator.Status{Name: "wx2", Err: errSealed},
		coordinator.Status{Name: "wx3", Record: live(now), Conflicts: 1, NextRefresh: now.Add(time.Minute)},
		coordinator.Status{Name: "wx4", Record: live(now), Failure: failed("45009", "quota; "+wechat.Classify(45009).Hint), NextRefresh: now, CallsToday: 5, Limits: coordinator.Limits{PerDay: 5}},
		coordinator.Status{Name: "wx5", Record: live(now), NextRefresh: now.Add(-time.Hour), Role: coordinator.Reader, LastRead: true},
		coordinator.Status{Name: "wx6", Record: live(now), NextRefresh: now.Add(time.Minute), Failure: &coordinator.Failure{Code: "40125", Message: "x", At: now}},
		coordinator.Status{Name: "wx7"},
	)
	s.logs.entries["wx3"] = []redisadmin.Entry{
		{At: now, Event: "conflict"}, {At: now, Event: "refreshed", Reason: "missing"}, {At: now, Event: "reported", Reason: "rejected"},
		{At: now, Event: "superseded", Reason: "overdue"}, {At: now, Event: "restored"}, {At: now, Event: "failed", Reason: "forced", Code: "40164", Error: "invalid ip; " + hint},
	}
	for _, store := range []error{nil, errAway, errWrong, errRights} {
		s.store = store
		html := s.render(t, "zh")
		html = regexp.MustCompile(`(?s)<(p|span|dd) class="(message|host|who|old)">.*?</(p|span|dd)>|<h2>.*?</h2>|<footer>.*?</footer>|<nav.*?</nav>`).ReplaceAllString(html, "")
		text := regexp.MustCompile(`(?s)<[^>]*>`).ReplaceAllString(html, "\n")
		for _, name := range []string{"zhongkong doctor", "AppSecret", "AppID", "Redis URL", "Redis", "token", "UTC", "API", "SDK", "ACL", "IP", "api_base"} {
			text = strings.ReplaceAll(text, name, "")
		}
		if found := regexp.MustCompile(`[A-Za-z][A-Za-z ]{2,}`).FindAllString(text, -1); len(found) > 0 {
			t.Errorf("with %v: %q", store, found)
		}
	}
}

func TestEveryStateHasASentence(t *testing.T) {
	for s := range stateCount {
		for _, w := range languages() {
			for _, key := range []string{"state." + s.key(), "sum." + s.key() + ".one", "sum." + s.key() + ".all"} {
				if w.Names[key] == "" {
					t.Errorf("%s: no %s", w.Code, key)
				}
			}
		}
	}
}

func TestDurationsAreTheTwoLargestUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 999 * time.Millisecond: "0s", 59 * time.Second: "59s", time.Minute: "1m", 61 * time.Second: "1m 1s",
		time.Hour: "1h", time.Hour + 5*time.Second: "1h", 90 * time.Minute: "1h 30m", 49 * time.Hour: "2d 1h", -time.Minute: "1m",
	} {
		if got := english.duration(d); got != want {
			t.Errorf("%v = %q, want %q", d, got, want)
		}
	}
	if got := chinese.duration(90 * time.Second); got != "1 分 30 秒" {
		t.Errorf("in Chinese: %q", got)
	}
}

func TestLanguage(t *testing.T) {
	for _, c := range []struct{ asked, accept, want string }{
		{"zh", "en", "zh"}, {"en", "zh", "en"}, {"xx", "zh-CN,en", "zh"}, {"", "de, zh;q=0.5", "zh"}, {"", "", "en"}, {"", "de", "en"}, {"", ",;", "en"},
	} {
		if got := Language(c.asked, c.accept); got != c.want {
			t.Errorf("Language(%q, %q) = %s, want %s", c.asked, c.accept, got, c.want)
		}
	}
}

// TestNothingThatIsWellReadsLikeATrouble is about words that stood for one: a first
// token, and the beginning of every process.
func TestNothingThatIsWellReadsLikeATrouble(t *testing.T) {
	for key, want := range map[string][2]string{
		"reason.missing":  {"there was none", "此前无 token"},
		"event.connected": {"connected to Redis", "已连接 Redis"},
		"event.reported":  {"reported", "上报失效"},
		"state.late":      {"", "刷新逾期"}, // 超时 would be a call that took too long
		"age":             {"", "已签发"},
		"sum.none":        {"", "没有可查看的账号"},
	} {
		for i, w := range []words{english, chinese} {
			if got := w.Names[key]; want[i] != "" && got != want[i] {
				t.Errorf("%s: %s is %q, want %q", w.Code, key, got, want[i])
			}
		}
	}
	for key, text := range chinese.Names {
		if strings.Contains(text, "令牌") || strings.Contains(text, "您") {
			t.Errorf("%s: %q: it is called token, and nobody is addressed", key, text)
		}
	}
}
