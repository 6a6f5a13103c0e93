package httpapi

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

func TestGetTokenAnswersTheRecord(t *testing.T) {
	s := newStage(t)
	for _, who := range []string{admin, reader} {
		r := s.ask(who, "GET", "/v1/tokens/"+wxa, "")
		record := s.store.Peek(wxa).Record
		want := map[string]any{
			"name": wxa, "access_token": record.Token.Reveal(), "generation": fmt.Sprint(record.Generation),
			"issued_at": wire.Time{Time: record.IssuedAt}.String(), "expires_at": wire.Time{Time: record.ExpiresAt}.String(), "stale": false,
		}
		for name, value := range want {
			if got := r.field(name); got != value {
				t.Errorf("%s: %s = %v, want %v", who, name, got, value)
			}
		}
		in, err := strconv.Atoi(fmt.Sprint(r.field("expires_in")))
		if err != nil || in < 7100 || in > 7200 {
			t.Errorf("expires_in = %v, want about two hours", r.field("expires_in"))
		}
		if got, want := r.header.Get("ETag"), fmt.Sprintf(`"%d"`, record.Generation); got != want {
			t.Errorf("ETag = %s, want %s", got, want)
		}
		if got := r.header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("Cache-Control = %q", got)
		}
	}
}

func TestCredentialsMayBeBearer(t *testing.T) {
	s := newStage(t)
	if r := s.ask("", "GET", "/v1/tokens/"+wxa, "", "Authorization", "Bearer "+reader); r.status != 200 {
		t.Errorf("status = %d, want 200: %s", r.status, r.body)
	}
}

func TestIfNoneMatchSparesTheBody(t *testing.T) {
	s := newStage(t)
	tag := s.ask(admin, "GET", "/v1/tokens/"+wxa, "").header.Get("ETag")
	for header, want := range map[string]int{
		tag: 304, "W/" + tag: 304, `"1", ` + tag: 304, "*": 304, `"1"`: 200, "": 200, strings.Trim(tag, `"`): 200,
	} {
		r := s.ask(admin, "GET", "/v1/tokens/"+wxa, "", "If-None-Match", header)
		if r.status != want {
			t.Errorf("If-None-Match: %s: status = %d, want %d", header, r.status, want)
		}
		if want == 304 && (r.body != "" || r.header.Get("ETag") != tag) {
			t.Errorf("304 with body %q and ETag %s", r.body, r.header.Get("ETag"))
		}
	}
}

func TestBadParametersAreNamed(t *testing.T) {
	s := newStage(t)
	for query, name := range map[string]string{
		"after=": "after", "after=-1": "after", "after=x": "after", "after=1&after=2": "after", "after=99999999999999999999": "after",
		"wait=": "wait", "wait=-1s": "wait", "wait=61s": "wait", "wait=soon": "wait", "wait=1s&wait=2s": "wait", "after=1&wait=1h": "wait",
		"%zz": "query",
	} {
		r := s.ask(admin, "GET", "/v1/tokens/"+wxa+"?"+query, "")
		message, _ := r.field("message").(string)
		if r.status != 400 || !strings.Contains(message, name) {
			t.Errorf("?%s: %d %s, want 400 that names %s", query, r.status, r.body, name)
		}
	}
}

func TestAnAnswerIsHeldForLessThanProxiesWait(t *testing.T) {
	for query, want := range map[string]time.Duration{"after=1&wait=60s": 55 * time.Second, "after=1&wait=60": 55 * time.Second, "after=1&wait=30s": 30 * time.Second} {
		if p, err := parseWaitParams(query); err != nil || p.wait != want {
			t.Errorf("parseWaitParams(%s) = %v, %v, want %v", query, p.wait, err, want)
		}
	}
}

func TestAfterAnswersAtOnceWhenThereIsANewerOne(t *testing.T) {
	s := newStage(t)
	generation := uint64(s.store.Peek(wxa).Record.Generation)
	if r := s.ask(admin, "GET", fmt.Sprintf("/v1/tokens/%s?after=%d&wait=30s", wxa, generation-1), ""); r.status != 200 {
		t.Errorf("an older one: %d, want 200", r.status)
	}
	if r := s.ask(admin, "GET", fmt.Sprintf("/v1/tokens/%s?after=%d", wxa, generation), ""); r.status != 304 {
		t.Errorf("the current one without a wait: %d, want 304", r.status)
	}
	if r := s.ask(admin, "GET", fmt.Sprintf("/v1/tokens/%s?after=%d&wait=20ms", wxa, generation), ""); r.status != 304 {
		t.Errorf("the current one, none in time: %d, want 304", r.status)
	}
	if n := s.api.Holding(); n != 0 {
		t.Errorf("%d still hold", n)
	}
}

func TestARefreshReachesHoldersOnAnotherServer(t *testing.T) {
	store := memstore.New()
	sources := map[string]*coordinatortest.Source{wxa: {Name: "token-of-a"}, wxb: {}}
	one, two := stageOn(t, store, sources), stageOn(t, store, sources)
	one.ask(admin, "GET", "/v1/tokens/"+wxa, "")
	two.wait("a token", func() bool { _, ok := two.account(wxa).Peek(); return ok })
	generation := store.Peek(wxa).Record.Generation

	const holders = 20
	type answer struct {
		reply
		at time.Time
	}
	answers := make(chan answer, holders)
	for range holders {
		go func() {
			r, err := two.try(two.request(admin, "GET", fmt.Sprintf("/v1/tokens/%s?after=%d&wait=30s", wxa, generation), ""))
			if err != nil {
				t.Error(err)
			}
			answers <- answer{r, time.Now()}
		}()
	}
	two.wait("holders", func() bool { return two.api.Holding() == holders })
	forced := one.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", "")
	committed := time.Now() // and a little
	for range holders {
		r := <-answers
		if r.status != 200 || r.field("generation") != forced.field("generation") {
			t.Fatalf("a holder got %d %s, want generation %v", r.status, r.body, forced.field("generation"))
		}
		if late := r.at.Sub(committed); late > 50*time.Millisecond {
			t.Errorf("a holder was answered %v after the refresh, want within 50ms", late)
		}
	}
}

func (s *stage) account(name string) *coordinator.Account {
	a, ok := s.zk.Account(name)
	if !ok {
		s.t.Fatalf("no account %q", name)
	}
	return a
}

func TestHoldersAreLimitedInAllAndEach(t *testing.T) {
	s := newStage(t, func(c *Config) { c.Limits = Limits{Holding: 3, HoldingEach: 2} })
	path := fmt.Sprintf("/v1/tokens/%s?after=%d&wait=30s", wxa, s.store.Peek(wxa).Record.Generation)
	var wg sync.WaitGroup
	hold := func(who string) {
		wg.Go(func() { _, _ = s.try(s.request(who, "GET", path, "")) })
	}
	hold(admin)
	hold(admin)
	s.wait("two holders", func() bool { return s.api.Holding() == 2 })
	if r := s.ask(admin, "GET", path, ""); r.status != 429 || r.header.Get("Retry-After") == "" {
		t.Errorf("a caller's third: %d, want 429 with Retry-After", r.status)
	}
	hold(reader)
	s.wait("three holders", func() bool { return s.api.Holding() == 3 })
	if r := s.ask(reader, "GET", path, ""); r.status != 429 {
		t.Errorf("the fourth in all: %d, want 429", r.status)
	}
	if r := s.ask(admin, "GET", "/v1/tokens/"+wxa, ""); r.status != 200 {
		t.Errorf("who does not hold gets %d, want 200", r.status)
	}
	s.api.Stop()
	wg.Wait()
}

func TestStopAnswersHoldersAtOnce(t *testing.T) {
	s := newStage(t)
	path := fmt.Sprintf("/v1/tokens/%s?after=%d&wait=30s", wxa, s.store.Peek(wxa).Record.Generation)
	got := make(chan int)
	go func() {
		r, _ := s.try(s.request(admin, "GET", path, ""))
		got <- r.status
	}()
	s.wait("a holder", func() bool { return s.api.Holding() == 1 })
	s.api.Stop()
	if status := <-got; status != 304 {
		t.Errorf("status = %d, want 304", status)
	}
	if r := s.ask(admin, "GET", path, ""); r.status != 304 {
		t.Errorf("after Stop no request is held: %d, want 304", r.status)
	}
}

func TestAHolderWhoLeavesIsForgotten(t *testing.T) {
	s := newStage(t)
	path := fmt.Sprintf("/v1/tokens/%s?after=%d&wait=30s", wxa, s.store.Peek(wxa).Record.Generation)
	r := s.request(admin, "GET", path, "")
	client := &http.Client{Timeout: 50 * time.Millisecond}
	if _, err := client.Do(r); err == nil {
		t.Fatal("there was an answer")
	}
	s.wait("no request to be held", func() bool { return s.api.Holding() == 0 && s.zk.Stats().Waiters == 0 })
}

func TestWithoutATokenARequestWaitsForTheFirst(t *testing.T) {
	s := emptyStage(t)
	if r := s.ask(admin, "GET", "/v1/tokens/"+wxa, ""); r.status != 200 || r.field("access_token") != s.token(wxa) {
		t.Errorf("%d %s, want the first token", r.status, r.body)
	}
}

func TestErrorsOfTheIssuerAndTheStore(t *testing.T) {
	t.Run("refused for good", func(t *testing.T) {
		s := failingStage(t, coordinatortest.FailsWith(coordinator.FailedRefused, "40164", "invalid ip 192.0.2.1"))
		r := s.ask(admin, "GET", "/v1/tokens/"+wxa, "")
		if r.status != 502 || r.field("error") != "refused" || !strings.Contains(r.body, "40164") {
			t.Errorf("%d %s, want 502 refused with the code", r.status, r.body)
		}
	})
	t.Run("no token in time", func(t *testing.T) {
		s := failingStage(t, coordinatortest.Hangs())
		r := s.ask(admin, "GET", "/v1/tokens/"+wxa+"?wait=100ms", "")
		if r.status != 503 || r.field("error") != "no_token" || r.header.Get("Retry-After") == "" {
			t.Errorf("%d %s, want 503 no_token with Retry-After", r.status, r.body)
		}
	})
	t.Run("the store away, a token in memory", func(t *testing.T) {
		s := newStage(t)
		calls := len(s.sources[wxa].Calls())
		s.store.SetDown(true)
		s.wait("the loss", func() bool { return !s.zk.Connected() })
		r := s.ask(admin, "GET", "/v1/tokens/"+wxa, "")
		if r.status != 200 || r.field("stale") != true {
			t.Errorf("%d %s, want 200 and stale", r.status, r.body)
		}
		if got := s.ask(admin, "GET", "/readyz", ""); got.status != 200 {
			t.Errorf("readyz = %d, want 200: a stale token is usable", got.status)
		}
		s.store.SetDown(false)
		s.wait("an answer that is not stale", func() bool {
			return s.ask(admin, "GET", "/v1/tokens/"+wxa, "").field("stale") == false
		})
		if got := len(s.sources[wxa].Calls()); got != calls {
			t.Errorf("%d calls to the source, want none", got-calls)
		}
		if s.api.StaleServed() == 0 {
			t.Error("the stale answer was not counted")
		}
	})
	t.Run("the store away, no token", func(t *testing.T) {
		s := newStage(t)
		s.store.SetDown(true)
		s.wait("the loss", func() bool { return !s.zk.Connected() })
		_, _ = s.zk.Add(coordinator.AccountConfig{Name: "late"})
		r := s.ask(admin, "GET", "/v1/tokens/late?wait=1s", "")
		if r.status != 503 || r.field("error") != "store_unreachable" {
			t.Errorf("%d %s, want 503 store_unreachable", r.status, r.body)
		}
	})
	t.Run("an account removed while a request waits", func(t *testing.T) {
		s := newStage(t)
		path := fmt.Sprintf("/v1/tokens/%s?after=%d&wait=30s", wxa, s.store.Peek(wxa).Record.Generation)
		got := make(chan reply)
		go func() {
			r, _ := s.try(s.request(admin, "GET", path, ""))
			got <- r
		}()
		s.wait("a holder", func() bool { return s.api.Holding() == 1 })
		_ = s.zk.Remove(wxa)
		if r := <-got; r.status != 404 || r.field("error") != "unknown_account" {
			t.Errorf("%d %s, want 404", r.status, r.body)
		}
	})
}
