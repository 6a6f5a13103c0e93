package wecomtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
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
	m, err := codec.OpenEcho(p)
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
