package httpapi

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

func TestRefreshForcesANewToken(t *testing.T) {
	s := newStage(t)
	for _, body := range []string{"", "{}", "  "} {
		before := s.token(wxa)
		r := s.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", body)
		if r.status != 200 || r.field("access_token") != s.token(wxa) || s.token(wxa) == before {
			t.Errorf("body %q: %d %s, want a new token", body, r.status, r.body)
		}
	}
	if log := s.log.String(); !strings.Contains(log, "refresh asked for") || !strings.Contains(log, "caller=admin") ||
		!strings.Contains(log, "outcome=done") || !strings.Contains(log, "from=127.0.0.1:") {
		t.Errorf("the audit line is missing: %s", log)
	}
}

func TestRefreshWithATokenThatIsNotCurrentChangesNothing(t *testing.T) {
	s := newStage(t)
	before := s.token(wxa)
	r := s.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", `{"if_token":"an-old-one"}`)
	if r.status != 200 || r.field("access_token") != before || s.token(wxa) != before {
		t.Errorf("%d %s, want the current token", r.status, r.body)
	}
	r = s.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", fmt.Sprintf(`{"if_token":%q}`, before))
	if r.status != 200 || r.field("access_token") == before || r.field("access_token") != s.token(wxa) {
		t.Errorf("%d %s, want a new token", r.status, r.body)
	}
}

func TestABodyThatMayBeAMistakeRefreshesNothing(t *testing.T) {
	s := newStage(t)
	before := s.token(wxa)
	for _, body := range []string{
		`{"if-token":"x"}`, `{"if_token":""}`, `{"if_token":null}`, `{"if_token":1}`, `{"if_token":"x"} {}`, `{"if_token":"x","b":"y"}`,
		`[]`, `"x"`, `if_token=x`, `{`, "\x00",
	} {
		if r := s.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", body); r.status != 400 {
			t.Errorf("body %s: %d %s, want 400", body, r.status, r.body)
		}
	}
	if r := s.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", strings.Repeat(" ", 17<<10)); r.status != 413 {
		t.Errorf("a large body: %d, want 413", r.status)
	}
	if s.token(wxa) != before {
		t.Error("there was a refresh")
	}
}

func TestManyReportsOfOneDeadTokenOverTwoServersAreOneCall(t *testing.T) {
	store := memstore.New()
	sources := map[string]*coordinatortest.Source{wxa: {Name: "token-of-a", Latency: 20 * time.Millisecond}, wxb: {}}
	servers := []*stage{stageOn(t, store, sources), stageOn(t, store, sources)}
	for _, s := range servers {
		s.ask(admin, "GET", "/v1/tokens/"+wxa, "")
	}
	dead, calls := sources[wxa].Current().Reveal(), len(sources[wxa].Calls())
	var wg sync.WaitGroup
	for n := range 400 {
		s := servers[n%2]
		wg.Go(func() {
			r, err := s.try(s.request(admin, "POST", "/v1/tokens/"+wxa+"/refresh", fmt.Sprintf(`{"if_token":%q}`, dead)))
			if err != nil || r.status != 200 || r.field("access_token") != dead[:len(dead)-1]+"2" {
				t.Errorf("%v %d %s, want the second token", err, r.status, r.body)
			}
		})
	}
	wg.Wait()
	if got := len(sources[wxa].Calls()) - calls; got != 1 {
		t.Errorf("%d calls to the source, want 1", got)
	}
}

func TestErrorsOfARefresh(t *testing.T) {
	for _, c := range []struct {
		name    string
		outcome coordinatortest.Outcome
		status  int
		code    string
	}{
		{"refused for good", coordinatortest.FailsWith(coordinator.FailedRefused, "40125", "invalid appsecret"), 502, "refused"},
		{"over the issuer's quota", coordinatortest.FailsWith(coordinator.FailedLater, "45009", "reach max api daily quota limit"), 429, "throttled"},
		{"busy", coordinatortest.FailsWith(coordinator.FailedBusy, "-1", "system error"), 502, "issuer_failed"},
		{"garbage", coordinatortest.Garbage(), 502, "issuer_failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			s.sources[wxa].Default(c.outcome)
			r := s.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", "")
			if r.status != c.status || r.field("error") != c.code {
				t.Errorf("%d %s, want %d %s", r.status, r.body, c.status, c.code)
			}
			if r := s.ask(admin, "GET", "/v1/tokens/"+wxa, ""); r.status != 200 {
				t.Errorf("the current token: %d, want 200", r.status)
			}
			if log := s.log.String(); !strings.Contains(log, "outcome="+c.code) {
				t.Errorf("the audit line does not say how it ended: %s", log)
			}
		})
	}
	t.Run("the budget is used up", func(t *testing.T) {
		s := newStage(t)
		_, _ = s.zk.Add(coordinator.AccountConfig{
			Name: "small", Source: &coordinatortest.Source{}, Limits: coordinator.Limits{PerDay: 2, Reserve: 1},
		})
		s.ask(admin, "GET", "/v1/tokens/small", "")
		r := s.ask(admin, "POST", "/v1/tokens/small/refresh", "")
		if r.status != 429 || r.field("error") != "throttled" || r.header.Get("Retry-After") == "" {
			t.Errorf("%d %s, want 429 with Retry-After", r.status, r.body)
		}
	})
	t.Run("the store is away", func(t *testing.T) {
		s := newStage(t)
		s.store.SetDown(true)
		s.wait("the loss", func() bool { return !s.zk.Connected() })
		r := s.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", "")
		if r.status != 503 || r.field("error") != "store_unreachable" {
			t.Errorf("%d %s, want 503 store_unreachable", r.status, r.body)
		}
	})
}

func TestTheLogOfTheAccountNamesWhoAskedAndHow(t *testing.T) {
	s := newStage(t)
	s.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", "")
	s.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", fmt.Sprintf(`{"if_token":%q}`, s.token(wxa)))
	s.ask(admin, "POST", "/", "account="+wxa, "Content-Type", formType)
	var got []string
	for _, e := range s.store.Log(wxa) {
		got = append(got, e.Event+" "+e.AskedBy)
	}
	want := []string{
		"refreshed ", "refreshed admin (api)", "reported admin (api)", "conflict admin (api)", "refreshed admin (api)", "refreshed admin (page)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the log is %q, want %q", got, want)
	}
}
