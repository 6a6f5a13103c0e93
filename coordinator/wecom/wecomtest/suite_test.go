package wecomtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/msgcrypt"
	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

const (
	suiteID  = "ww4asffe99e54c0f4c"
	customID = "dk4asffe99e54c0f4c"
	secret   = "suite-secret"
	tenant   = "wwtenant"
	word     = "QDG6eK"
	key      = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"
	newKey   = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
)

// receiver is a callback that notes what it is told, and answers success unless it is told
// otherwise.
type receiver struct {
	mu     sync.Mutex
	config msgcrypt.Config
	events []msgcrypt.Fields
	failed []error
	reply  string        // instead of success
	delay  time.Duration // before each answer
}

func newReceiver(id string) *receiver {
	return &receiver{config: msgcrypt.Config{Token: word, EncodingAESKey: key, Receivers: []string{id}}, reply: "success"}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	reply, delay := r.reply, r.delay
	codec, err := r.config.Codec()
	r.mu.Unlock()
	time.Sleep(delay)
	if err == nil && req.Method == http.MethodGet {
		reply, err = echo(codec, req)
	} else if err == nil {
		err = r.take(codec, req)
	}
	if err != nil {
		r.mu.Lock()
		r.failed = append(r.failed, err)
		r.mu.Unlock()
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	_, _ = io.WriteString(w, reply)
}

func echo(codec *msgcrypt.Codec, req *http.Request) (string, error) {
	p, err := msgcrypt.ParseEcho(req.URL.Query())
	if err != nil {
		return "", err
	}
	m, err := codec.Open(p)
	return string(m.Body), err
}

func (r *receiver) take(codec *msgcrypt.Codec, req *http.Request) error {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return err
	}
	p, _, err := msgcrypt.ParsePush(req.URL.Query(), body)
	if err != nil {
		return err
	}
	m, err := codec.Open(p)
	if err != nil {
		return err
	}
	event, err := msgcrypt.ParseXML(m.Body)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event)
	return nil
}

// got returns one element of the events with this InfoType.
func (r *receiver) got(infoType, element string) (values []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e["InfoType"] == infoType {
			values = append(values, e[element])
		}
	}
	return values
}

func (r *receiver) set(reply string, delay time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reply, r.delay = reply, delay
}

// inProvider runs test in a bubble with a third-party suite and a template of custom
// apps, whose events are pushed to the receivers.
func inProvider(t *testing.T, change func(*wecomtest.Knobs), test func(t *testing.T, s *wecomtest.Server, suite, custom *receiver)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		knobs := wecomtest.DefaultKnobs()
		if change != nil {
			change(&knobs)
		}
		suite, custom := newReceiver(suiteID), newReceiver(customID)
		s := wecomtest.New(wecomtest.Config{Seed: 1, Knobs: &knobs, Suites: []wecomtest.Suite{
			{SuiteID: suiteID, Secret: secret, Callback: wecomtest.Callback{Handler: suite, Token: word, AESKey: key}},
			{SuiteID: customID, Secret: secret, Custom: true, Callback: wecomtest.Callback{Handler: custom, Token: word, AESKey: key}},
		}})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		defer running.Wait()
		defer stop()
		running.Go(func() { s.Run(ctx) })
		synctest.Wait()
		test(t, s, suite, custom)
	})
}

type serviceAnswer struct {
	Code          *int   `json:"errcode"`
	SuiteToken    string `json:"suite_access_token"`
	PreAuthCode   string `json:"pre_auth_code"`
	PermanentCode string `json:"permanent_code"`
	Token         string `json:"access_token"`
	Life          int    `json:"expires_in"`
	Corp          struct {
		ID string `json:"corpid"`
	} `json:"auth_corp_info"`
}

func (a serviceAnswer) code() int {
	if a.Code == nil {
		return 0
	}
	return *a.Code
}

func (c client) post(path string, body map[string]string) (a serviceAnswer) {
	c.t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(c.do(http.MethodPost, path, string(encoded)).raw), &a); err != nil {
		c.t.Fatal(err)
	}
	return a
}

func (c client) suiteToken(suite, ticket string) serviceAnswer {
	c.t.Helper()
	return c.post("/cgi-bin/service/get_suite_token", map[string]string{"suite_id": suite, "suite_secret": secret, "suite_ticket": ticket})
}

// with makes a call with the token of a suite.
func (c client) with(suiteToken, call string, body map[string]string) serviceAnswer {
	c.t.Helper()
	return c.post("/cgi-bin/service/"+call+"?suite_access_token="+suiteToken, body)
}

func (c client) corpToken(suiteToken, corp, code string) serviceAnswer {
	c.t.Helper()
	return c.with(suiteToken, "get_corp_token", map[string]string{"auth_corpid": corp, "permanent_code": code})
}

func wantCode(t *testing.T, what string, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("%s is answered %d, want %d", what, got, want)
	}
}

func TestATicketIsPushedEveryTenMinutesAndAcceptedForThirty(t *testing.T) {
	inProvider(t, nil, func(t *testing.T, s *wecomtest.Server, suite, _ *receiver) {
		time.Sleep(40*time.Minute + time.Second)
		synctest.Wait()
		tickets := suite.got("suite_ticket", "SuiteTicket")
		if len(tickets) != 5 || len(slices.Compact(slices.Clone(tickets))) != 5 {
			t.Fatalf("%d tickets in 40 minutes, want 5 different ones", len(tickets))
		}
		c := from(t, s, "192.0.2.1")
		for i, want := range []int{40085, 40085, 0, 0, 0} { // the second is 30 minutes and a second old
			wantCode(t, fmt.Sprint("ticket ", i), c.suiteToken(suiteID, tickets[i]).code(), want)
		}
		wantCode(t, "the ticket of another suite", c.suiteToken(customID, tickets[4]).code(), 40085)
	})
}

func TestASuiteTokenIsTheSameForTwoHours(t *testing.T) {
	inProvider(t, nil, func(t *testing.T, s *wecomtest.Server, _, _ *receiver) {
		c := from(t, s, "192.0.2.1")
		ask := func() serviceAnswer {
			ticket, err := s.PushTicket(suiteID)
			if err != nil {
				t.Fatal(err)
			}
			return c.suiteToken(suiteID, ticket)
		}
		first := ask()
		if first.Code != nil || first.SuiteToken == "" || first.Life != 7200 {
			t.Fatalf("the answer is %+v, want a token for 7200 s without an errcode", first)
		}
		time.Sleep(time.Hour)
		if again := ask(); again.SuiteToken != first.SuiteToken || again.Life != 3600 {
			t.Errorf("an hour later the answer is %+v, want the same token for 3600 s", again)
		}
		time.Sleep(time.Hour)
		if next := ask(); next.SuiteToken == first.SuiteToken {
			t.Error("after two hours the token is the same")
		}
		wantCode(t, "the token before", c.with(first.SuiteToken, "get_corp_token", nil).code(), 42009)
		wantCode(t, "no token", c.with("", "get_corp_token", nil).code(), 41022)
		wantCode(t, "a wrong token", c.with("wrong", "get_corp_token", nil).code(), 40082)
	})
}

func TestWrongCallsForASuiteTokenAreToldApart(t *testing.T) {
	inProvider(t, nil, func(t *testing.T, s *wecomtest.Server, suite, _ *receiver) {
		c := from(t, s, "192.0.2.1")
		const path = "/cgi-bin/service/get_suite_token"
		ticket := suite.got("suite_ticket", "SuiteTicket")[0]
		good := func(change, to string) map[string]string {
			body := map[string]string{"suite_id": suiteID, "suite_secret": secret, "suite_ticket": ticket}
			body[change] = to
			return body
		}
		wantCode(t, "a GET", c.get(path).Code, 40083)
		wantCode(t, "a form", c.do(http.MethodPost, path, "suite_id=x").Code, 47001)
		wantCode(t, "no id", c.post(path, good("suite_id", "")).code(), 41021)
		wantCode(t, "no ticket", c.post(path, good("suite_ticket", "")).code(), 41023)
		wantCode(t, "no secret", c.post(path, good("suite_secret", "")).code(), 41024)
		wantCode(t, "an unknown id", c.post(path, good("suite_id", "ww0")).code(), 40083)
		wantCode(t, "a wrong secret", c.post(path, good("suite_secret", "x")).code(), 40080)
		wantCode(t, "a wrong ticket", c.post(path, good("suite_ticket", "x")).code(), 40085)
		if err := s.SetSuiteTrusted(suiteID, []string{"192.0.2.9"}); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "an address that is not trusted", c.post(path, good("", "")).code(), 60020)
	})
}

// installed lets a corp install a suite, and exchanges the code that is pushed.
func installed(t *testing.T, s *wecomtest.Server, r *receiver, suite, corp string) (suiteToken string, a serviceAnswer) {
	t.Helper()
	code, err := s.Install(suite, corp)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	if pushed := r.got("create_auth", "AuthCode"); !slices.Contains(pushed, code) {
		t.Fatalf("%q was pushed, want %q", pushed, code)
	}
	c := from(t, s, "192.0.2.1")
	tickets := r.got("suite_ticket", "SuiteTicket")
	suiteToken = c.suiteToken(suite, tickets[len(tickets)-1]).SuiteToken
	a = c.with(suiteToken, "get_permanent_code", map[string]string{"auth_code": code})
	if a.PermanentCode == "" || a.Corp.ID != corp {
		t.Fatalf("get_permanent_code answers %+v", a)
	}
	wantCode(t, "the code again", c.with(suiteToken, "get_permanent_code", map[string]string{"auth_code": code}).code(), 40078)
	return suiteToken, a
}

func TestACorpInstallsASuiteAndRemovesIt(t *testing.T) {
	inProvider(t, nil, func(t *testing.T, s *wecomtest.Server, suite, _ *receiver) {
		suiteToken, a := installed(t, s, suite, suiteID, tenant)
		c := from(t, s, "192.0.2.1")
		if first := c.corpToken(suiteToken, tenant, a.PermanentCode); first.Token != a.Token || first.Token == "" {
			t.Errorf("get_corp_token answers %+v, want the token of the exchange", first)
		}
		wantCode(t, "a business call", c.get("/cgi-bin/user/get?userid=x&access_token="+a.Token).Code, 0)
		wantCode(t, "the corp's ticket", c.get("/cgi-bin/get_jsapi_ticket?access_token="+a.Token).Code, 0)
		wantCode(t, "the app's ticket", c.get("/cgi-bin/ticket/get?type=agent_config&access_token="+a.Token).Code, 0)
		wantCode(t, "gettoken with the permanent code", c.get("/cgi-bin/gettoken?corpid="+tenant+"&corpsecret="+a.PermanentCode).Code, 40001)
		wantCode(t, "another corp's", c.corpToken(suiteToken, "wwother", a.PermanentCode).code(), 40084)
		wantCode(t, "another code", c.corpToken(suiteToken, tenant, "wrong").code(), 40084)
		wantCode(t, "no code", c.corpToken(suiteToken, tenant, "").code(), 41025)
		if _, err := s.Install(suiteID, tenant); err == nil {
			t.Error("a corp that has the suite installs it again")
		}
		if err := s.Change(suiteID, tenant); err != nil {
			t.Fatal(err)
		}
		if err := s.Cancel(suiteID, tenant); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, infoType := range []string{"change_auth", "cancel_auth"} {
			if got := suite.got(infoType, "AuthCorpId"); !slices.Equal(got, []string{tenant}) {
				t.Errorf("%s of %q", infoType, got)
			}
		}
		wantCode(t, "the token of a corp without the suite", c.get("/cgi-bin/user/get?userid=x&access_token="+a.Token).Code, 40014)
		wantCode(t, "its permanent code", c.corpToken(suiteToken, tenant, a.PermanentCode).code(), 40084)
		if i, ok := s.Lookup(a.Token); !ok || i.DiesAt != i.IssuedAt {
			t.Errorf("its token is %+v, want one that died", i)
		}
		_, again := installed(t, s, suite, suiteID, tenant)
		wantCode(t, "the first permanent code", c.corpToken(suiteToken, tenant, a.PermanentCode).code(), 40084)
		wantCode(t, "the second", c.corpToken(suiteToken, tenant, again.PermanentCode).code(), 0)
	})
}

func TestAPermanentCodeOfACustomAppIsItsSecret(t *testing.T) {
	inProvider(t, nil, func(t *testing.T, s *wecomtest.Server, _, custom *receiver) {
		suiteToken, a := installed(t, s, custom, customID, tenant)
		c := from(t, s, "192.0.2.1")
		if a.Token != "" {
			t.Error("the exchange answers a token")
		}
		wantCode(t, "get_corp_token", c.corpToken(suiteToken, tenant, a.PermanentCode).code(), 48002)
		gettoken := func(code string) answer { return c.get("/cgi-bin/gettoken?corpid=" + tenant + "&corpsecret=" + code) }
		before := gettoken(a.PermanentCode)
		wantCode(t, "gettoken", before.Code, 0)

		code, err := s.ResetPermanentCode(customID, tenant)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := custom.got("reset_permanent_code", "AuthCode"); !slices.Equal(got, []string{code}) {
			t.Fatalf("reset_permanent_code of %q, want %q", got, code)
		}
		wantCode(t, "the old code before the exchange", gettoken(a.PermanentCode).Code, 0)
		next := c.with(suiteToken, "v2/get_permanent_code", map[string]string{"auth_code": code})
		wantCode(t, "the old code after it", gettoken(a.PermanentCode).Code, 40001)
		wantCode(t, "the new code", gettoken(next.PermanentCode).Code, 0)
		wantCode(t, "the old token", c.get("/cgi-bin/user/get?userid=x&access_token="+before.Token).Code, 40014)
	})
}

func TestAnAuthCodeLivesTenMinutes(t *testing.T) {
	inProvider(t, nil, func(t *testing.T, s *wecomtest.Server, suite, _ *receiver) {
		c := from(t, s, "192.0.2.1")
		suiteToken := c.suiteToken(suiteID, suite.got("suite_ticket", "SuiteTicket")[0]).SuiteToken
		preAuth := func() string {
			var a serviceAnswer
			if err := json.Unmarshal([]byte(c.get("/cgi-bin/service/get_pre_auth_code?suite_access_token="+suiteToken).raw), &a); err != nil {
				t.Fatal(err)
			}
			return a.PreAuthCode
		}
		code := preAuth()
		given, err := s.Redirect(suiteID, tenant, code)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Redirect(suiteID, "wwother", code); err == nil {
			t.Error("a pre_auth_code is taken twice")
		}
		time.Sleep(10 * time.Minute)
		wantCode(t, "a code after 10 minutes", c.with(suiteToken, "get_permanent_code", map[string]string{"auth_code": given}).code(), 40078)
		if in := s.Installs(suiteID); len(in) != 1 || in[0].PermanentCode != "" {
			t.Errorf("the installs are %+v, want one without a permanent code", in)
		}
		if events := suite.got("create_auth", "AuthCode"); len(events) != 0 {
			t.Errorf("a redirect pushed %q", events)
		}
		if given, err = s.Redirect(suiteID, tenant, preAuth()); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "a fresh code", c.with(suiteToken, "get_permanent_code", map[string]string{"auth_code": given}).code(), 0)
	})
}

// times returns when the tries of the pushes with this InfoType were made, from the first.
func times(s *wecomtest.Server, infoType string) (after []time.Duration) {
	var first time.Time
	for _, p := range s.Pushes() {
		if p.InfoType != infoType || p.SuiteID != suiteID {
			continue
		}
		if first.IsZero() {
			first = p.At
		}
		after = append(after, p.At.Sub(first))
	}
	return after
}

func TestAPushIsRepeatedUntilItIsAcknowledgedInTime(t *testing.T) {
	for name, c := range map[string]struct {
		reply string
		delay time.Duration
		want  []time.Duration
	}{
		"success":       {"success", 900 * time.Millisecond, []time.Duration{0}},
		"another word":  {"ok", 0, []time.Duration{0, 5 * time.Second, 10 * time.Second, 15 * time.Second}},
		"not only that": {"success\n", 0, []time.Duration{0, 5 * time.Second, 10 * time.Second, 15 * time.Second}},
		"late":          {"success", 1100 * time.Millisecond, []time.Duration{0, 6 * time.Second, 12 * time.Second, 18 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			inProvider(t, nil, func(t *testing.T, s *wecomtest.Server, suite, _ *receiver) {
				suite.set(c.reply, c.delay)
				if _, err := s.Install(suiteID, tenant); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				if got := times(s, "create_auth"); !slices.Equal(got, c.want) {
					t.Errorf("tries after %v, want %v", got, c.want)
				}
				last := s.Pushes()[len(s.Pushes())-1]
				if last.Acknowledged != (len(c.want) == 1) {
					t.Errorf("the last try is %+v", last)
				}
			})
		})
	}
}

func TestPushesGoWrongAsTheFaultsSay(t *testing.T) {
	fault := func(t *testing.T, s *wecomtest.Server, f wecomtest.PushFault) {
		t.Helper()
		if err := s.FaultPushes(suiteID, f); err != nil {
			t.Fatal(err)
		}
	}
	inProvider(t, nil, func(t *testing.T, s *wecomtest.Server, suite, _ *receiver) {
		fault(t, s, wecomtest.PushFault{InfoType: "suite_ticket", Drop: true, For: 45 * time.Minute})
		time.Sleep(45 * time.Minute)
		if got := len(suite.got("suite_ticket", "SuiteTicket")); got != 1 {
			t.Errorf("%d tickets arrive, want the one before the fault", got)
		}
		time.Sleep(10 * time.Minute)
		if got := len(suite.got("suite_ticket", "SuiteTicket")); got != 2 {
			t.Errorf("%d tickets arrive after it, want 2", got)
		}

		fault(t, s, wecomtest.PushFault{InfoType: "create_auth", Reorder: true})
		fault(t, s, wecomtest.PushFault{InfoType: "create_auth", Duplicate: true})
		a, _ := s.Install(suiteID, "wwa")
		b, _ := s.Install(suiteID, "wwb")
		time.Sleep(10 * time.Second)
		if got := suite.got("create_auth", "AuthCode"); !slices.Equal(got, []string{b, a, b}) {
			t.Errorf("the codes arrive as %q, want the second, the first, the second", got)
		}

		fault(t, s, wecomtest.PushFault{InfoType: "suite_ticket", Reorder: true, Times: 4})
		var tickets []string
		for range 4 {
			ticket, err := s.PushTicket(suiteID)
			if err != nil {
				t.Fatal(err)
			}
			tickets = append(tickets, ticket)
			time.Sleep(5 * time.Second)
		}
		got := suite.got("suite_ticket", "SuiteTicket")
		if want := []string{tickets[1], tickets[0], tickets[3], tickets[2]}; !slices.Equal(got[len(got)-4:], want) {
			t.Errorf("the tickets arrive as %q, want %q", got[len(got)-4:], want)
		}

		fault(t, s, wecomtest.PushFault{Delay: 7 * time.Minute})
		late, _ := s.Install(suiteID, "wwc")
		time.Sleep(6 * time.Minute)
		if slices.Contains(suite.got("create_auth", "AuthCode"), late) {
			t.Error("a push is early")
		}
		time.Sleep(2 * time.Minute)
		if !slices.Contains(suite.got("create_auth", "AuthCode"), late) {
			t.Error("a push was not delayed but lost")
		}
		for _, f := range []wecomtest.PushFault{{WrongSignature: true}, {WrongReceiver: true}} {
			fault(t, s, f)
			if _, err := s.PushTicket(suiteID); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			forged := s.Pushes()[len(s.Pushes())-1]
			if !forged.Forged || forged.Acknowledged {
				t.Errorf("%+v: the push is %+v", f, forged)
			}
			time.Sleep(6 * time.Second)
			if next := s.Pushes()[len(s.Pushes())-1]; next.Forged || !next.Acknowledged {
				t.Errorf("%+v: the push after it is %+v", f, next)
			}
		}
	})
}

func TestTheKeyIsChangedInTheConsole(t *testing.T) {
	inProvider(t, nil, func(t *testing.T, s *wecomtest.Server, suite, _ *receiver) {
		next := wecomtest.Callback{Handler: suite, Token: word, AESKey: newKey}
		if err := s.CheckURL(t.Context(), suiteID); err != nil {
			t.Error(err)
		}
		if err := s.SetCallback(t.Context(), suiteID, next); err == nil {
			t.Fatal("a key is accepted that the callback does not have")
		}
		suite.mu.Lock()
		suite.config.EncodingAESKey, suite.config.PreviousKey = newKey, key
		suite.mu.Unlock()
		if err := s.SetCallback(t.Context(), suiteID, next); err != nil {
			t.Fatal(err)
		}
		if err := s.FaultPushes(suiteID, wecomtest.PushFault{PreviousKey: true}); err != nil {
			t.Fatal(err)
		}
		for range 2 { // with the old key, with the new one
			if _, err := s.PushTicket(suiteID); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if p := s.Pushes()[len(s.Pushes())-1]; !p.Acknowledged {
				t.Errorf("the push is %+v", p)
			}
		}
	})
}

func TestPushesGoOverHTTP(t *testing.T) {
	suite := newReceiver(suiteID)
	callback := httptest.NewServer(suite)
	defer callback.Close()
	s := wecomtest.New(wecomtest.Config{Suites: []wecomtest.Suite{{
		SuiteID: suiteID, Secret: secret, Callback: wecomtest.Callback{URL: callback.URL + "/callback/suite", Token: word, AESKey: key},
	}}})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { s.Run(ctx) })
	if err := s.CheckURL(t.Context(), suiteID); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if pushes := s.Pushes(); len(pushes) > 0 && pushes[len(pushes)-1].Acknowledged {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no push is acknowledged: %+v", s.Pushes())
		}
	}
}

func TestKnobsOfSuites(t *testing.T) {
	differs := func(k *wecomtest.Knobs) { k.ExchangeTokenDiffers, k.SuiteErrcode = true, true }
	inProvider(t, differs, func(t *testing.T, s *wecomtest.Server, suite, _ *receiver) {
		suiteToken, a := installed(t, s, suite, suiteID, tenant)
		first := from(t, s, "192.0.2.1").corpToken(suiteToken, tenant, a.PermanentCode)
		if first.Token == a.Token || !s.Valid(a.Token) || !s.Valid(first.Token) {
			t.Error("the first token is that of the exchange, or one of the two is dead")
		}
		if first.Code == nil || a.Code == nil {
			t.Error("an answer has no errcode")
		}
	})
}

func TestASuiteIsControlledOverHTTP(t *testing.T) {
	inProvider(t, nil, func(t *testing.T, s *wecomtest.Server, suite, _ *receiver) {
		c := from(t, s, "192.0.2.1")
		control := func(what, body string) string {
			t.Helper()
			return c.do(http.MethodPost, "/sandbox/suites/"+suiteID+"/"+what, body).raw
		}
		control("faults", `{"info_type": "create_auth", "duplicate": true}`)
		control("install", `{"corpid": "`+tenant+`"}`)
		time.Sleep(5 * time.Second)
		if got := suite.got("create_auth", "AuthCode"); len(got) != 2 {
			t.Errorf("%d events, want one and its duplicate", len(got))
		}
		pushes := c.do(http.MethodGet, "/sandbox/suites/"+suiteID+"/pushes", "").raw
		if strings.Contains(pushes, suite.got("create_auth", "AuthCode")[0]) || !strings.Contains(pushes, `"acknowledged": true`) {
			t.Errorf("the pushes are %s", pushes)
		}
		if corps := c.do(http.MethodGet, "/sandbox/suites/"+suiteID+"/corps", "").raw; !strings.Contains(corps, tenant) {
			t.Errorf("the corps are %s", corps)
		}
		if list := c.do(http.MethodGet, "/sandbox/", "").raw; !strings.Contains(list, "/install") {
			t.Errorf("the list of requests is %s", list)
		}
	})
}
