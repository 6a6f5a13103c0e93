package wechattest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
)

const (
	platformID     = "wxplatform00000001"
	platformSecret = "f1e2d3c4b5a697887766554433221100"
	platformToken  = "pamtest"
	firstKey       = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	secondKey      = "4Ma3YBrSBbX2aez8MJpXGBne5LSDwgGqHbhM9WPYIws"
)

func testComponent() Component {
	return Component{AppID: platformID, Secret: platformSecret, Token: platformToken, EncodingAESKey: firstKey}
}

// posted is the answer to a call of a platform's interface.
type posted struct {
	Code      int    `json:"errcode"`
	Message   string `json:"errmsg"`
	Component string `json:"component_access_token"`
	PreAuth   string `json:"pre_auth_code"`
	Access    string `json:"authorizer_access_token"`
	Refresh   string `json:"authorizer_refresh_token"`
	ExpiresIn int    `json:"expires_in"`
	Ticket    string `json:"ticket"`
	Info      struct {
		AppID   string `json:"authorizer_appid"`
		Access  string `json:"authorizer_access_token"`
		Refresh string `json:"authorizer_refresh_token"`
	} `json:"authorization_info"`
	Total int `json:"total_count"`
	List  []struct {
		AppID   string `json:"authorizer_appid"`
		Refresh string `json:"refresh_token"`
	} `json:"list"`
}

// platform calls the interfaces of a component.
type platform struct {
	*testing.T
	*Server
	from, token string
}

func newPlatform(t *testing.T) *platform {
	s := New(Config{Components: []Component{testComponent()}, Seed: 1})
	p := &platform{T: t, Server: s, from: "127.0.0.1"}
	p.token = p.componentToken().Component
	return p
}

func (p *platform) post(path string, body map[string]any) posted {
	p.Helper()
	body["component_appid"] = platformID
	data, _ := json.Marshal(body)
	address := "https://api.weixin.qq.com" + path + "?component_access_token=" + p.token
	client := http.Client{Transport: p.TransportFrom(p.from)}
	resp, err := client.Post(address, "application/json", bytes.NewReader(data))
	if err != nil {
		p.Fatal(err)
	}
	var out posted
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		p.Fatal(err)
	}
	return out
}

func (p *platform) componentToken() posted {
	p.Helper()
	ticket, err := p.IssueTicket(platformID)
	if err != nil {
		p.Fatal(err)
	}
	return p.post(pathComponentToken, map[string]any{"component_appsecret": platformSecret, "component_verify_ticket": ticket})
}

func (p *platform) authorize(appID string) string {
	p.Helper()
	a, err := p.Authorize(platformID, appID)
	if err != nil {
		p.Fatal(err)
	}
	return a.Code
}

func (p *platform) query(code string) posted {
	p.Helper()
	return p.post(pathQueryAuth, map[string]any{"authorization_code": code})
}

func (p *platform) refresh(appID, token string) posted {
	p.Helper()
	return p.post(pathAuthorizerToken, map[string]any{"authorizer_appid": appID, "authorizer_refresh_token": token})
}

func (p *platform) business(token string) int {
	p.Helper()
	resp, err := p.Client().Get("https://api.weixin.qq.com/cgi-bin/get_api_domain_ip?access_token=" + token)
	if err != nil {
		p.Fatal(err)
	}
	var out posted
	_ = json.NewDecoder(resp.Body).Decode(&out)
	return out.Code
}

func (p *platform) want(what string, got, want int) {
	p.Helper()
	if got != want {
		p.Errorf("%s: errcode %d, want %d", what, got, want)
	}
}

func TestAComponentTokenNeedsAVerifyTicketOfTheLast12Hours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		ask := func(secret, ticket string) posted {
			return p.post(pathComponentToken, map[string]any{"component_appsecret": secret, "component_verify_ticket": ticket})
		}
		old, _ := p.IssueTicket(platformID)
		p.Advance(12*time.Hour - time.Second)
		if got := ask(platformSecret, old); got.Component == "" || got.ExpiresIn != 7200 {
			t.Errorf("with a ticket just before its end = %+v", got)
		}
		p.Advance(time.Second)
		p.want("a ticket at its end", ask(platformSecret, old).Code, codeOldVerifyTicket)
		p.want("an unknown ticket", ask(platformSecret, "ticket@@@x").Code, codeBadVerifyTicket)
		p.want("no ticket", ask(platformSecret, "").Code, codeBadVerifyTicket)
		fresh, _ := p.IssueTicket(platformID)
		p.want("a wrong secret", ask("x", fresh).Code, codeNoComponent)
		p.want("no secret", ask("", fresh).Code, codeNoSecret)
		if err := p.SetWhitelist(platformID, []string{"10.0.0.1"}); err != nil {
			t.Fatal(err)
		}
		got := ask("x", "x")
		p.want("an address that is not listed", got.Code, codeComponentAddress)
		if !strings.Contains(got.Message, "requestIP: 127.0.0.1") {
			t.Errorf("errmsg = %q", got.Message)
		}
	})
}

func TestEveryCallForAComponentTokenIssuesOneAndIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		first := p.token
		if p.token = p.componentToken().Component; p.token == first {
			t.Fatal("the second call answered the same token")
		}
		list := func(token string) int {
			p.token = token
			return p.post(pathAuthorizerList, map[string]any{"offset": 0, "count": 500}).Code
		}
		second := p.token
		time.Sleep(299 * time.Second)
		p.want("the former token, in its grace", list(first), 0)
		time.Sleep(time.Second)
		p.want("the former token, after it", list(first), codeBadCredential)
		p.want("the current token", list(second), 0)
		p.want("a component token for the interface of an account", p.business(second), codeNeedAccountToken)
		if err := p.Tune(func(k *Knobs) { k.DailyComponent = 3 }); err != nil {
			t.Fatal(err)
		}
		p.componentToken()
		p.want("the fourth of three calls a day", p.componentToken().Code, codeDailyQuota)
		day := dayOf(p.Now())
		if got := p.DailyCalls(platformID, pathComponentToken)[day]; got != 4 {
			t.Errorf("DailyCalls() = %d, want 4", got)
		}
		if got := p.post(pathComponentClear, map[string]any{"appid": platformID, "appsecret": platformSecret}); got.Code != 0 {
			t.Errorf("clear_quota/v2 = %+v", got)
		}
		p.want("after the reset", p.componentToken().Code, 0)
	})
}

func TestAnAuthorizationIsExchangedOnceAndListedWithItsTokenOnlyThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		if got := p.post(pathPreAuthCode, map[string]any{}); got.PreAuth == "" || got.ExpiresIn != 600 {
			t.Errorf("api_create_preauthcode = %+v", got)
		}
		code := p.authorize("wxa")
		list := func() posted { return p.post(pathAuthorizerList, map[string]any{"offset": 0, "count": 500}) }
		if got := list(); got.Total != 1 || got.List[0].Refresh != "" {
			t.Errorf("the list before the exchange = %+v", got)
		}
		p.want("an unknown code", p.query("x").Code, codeBadAuthCode)
		info := p.query(code).Info
		if info.AppID != "wxa" || info.Access == "" || info.Refresh == "" {
			t.Fatalf("api_query_auth = %+v", info)
		}
		p.want("the code again", p.query(code).Code, codeBadAuthCode)
		if got := list(); got.List[0].Refresh != info.Refresh {
			t.Errorf("the list after the exchange = %+v", got)
		}
		p.want("a list of 501", p.post(pathAuthorizerList, map[string]any{"count": 501}).Code, codeBadType)
		p.want("the token", p.business(info.Access), 0)
		got := p.refresh("wxa", info.Refresh)
		if got.Refresh != info.Refresh || got.Access == info.Access || got.ExpiresIn != 7200 {
			t.Errorf("api_authorizer_token = %+v", got)
		}
		p.want("a wrong refresh token", p.refresh("wxa", "x").Code, codeBadRefreshToken)
		p.want("another account", p.refresh("wxb", "x").Code, codeNotAuthorized)
		if ticket := p.ticket(got.Access); ticket.Ticket == "" {
			t.Errorf("getticket with the authorizer's token = %+v", ticket)
		}
		time.Sleep(300 * time.Second)
		p.want("the former token, after its grace", p.business(info.Access), codeBadCredential)
		late := p.authorize("wxc")
		time.Sleep(time.Hour)
		p.token = p.componentToken().Component
		p.want("a code after an hour", p.query(late).Code, codeOldAuthCode)
		account := p.token
		p.token = got.Access
		p.want("an account's token for the interface of a platform", p.query("x").Code, codeNeedComponentToken)
		p.token = account
	})
}

func (p *platform) ticket(token string) posted {
	resp, err := p.Client().Get("https://api.weixin.qq.com/cgi-bin/ticket/getticket?type=jsapi&access_token=" + token)
	if err != nil {
		p.Fatal(err)
	}
	var out posted
	_ = json.NewDecoder(resp.Body).Decode(&out)
	return out
}

func TestAuthorizingAgainEndsTheTokensOfBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		before := p.query(p.authorize("wxa")).Info
		code := p.authorize("wxa")
		p.want("the token of before", p.business(before.Access), codeBadCredential)
		p.want("the refresh token of before", p.refresh("wxa", before.Refresh).Code, codeBadRefreshToken)
		after := p.query(code).Info
		if after.Refresh == before.Refresh {
			t.Error("the refresh token is the same")
		}
		if live := p.Authorizers(platformID)[0].Live; len(live) != 1 || live[0].Token != after.Access {
			t.Errorf("live tokens: %+v", live)
		}
		if err := p.Unauthorize(platformID, "wxa"); err != nil {
			t.Fatal(err)
		}
		p.want("the token after unauthorized", p.business(after.Access), codeBadCredential)
		p.want("the refresh token after unauthorized", p.refresh("wxa", after.Refresh).Code, codeNotAuthorized)
		if got := p.post(pathAuthorizerList, map[string]any{"count": 1}); got.Total != 0 {
			t.Errorf("the list = %+v", got)
		}
		var types []string
		for _, push := range p.Pushes() {
			types = append(types, push.InfoType)
		}
		if want := []string{"authorized", "updateauthorized", "unauthorized"}; !slices.Equal(types, want) {
			t.Errorf("pushed: %q, want %q", types, want)
		}
	})
}

func TestARefreshTokenRotatesIfAskedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		if err := p.Tune(func(k *Knobs) { k.RefreshTokenRotates = true }); err != nil {
			t.Fatal(err)
		}
		first := p.query(p.authorize("wxa")).Info.Refresh
		second := p.refresh("wxa", first).Refresh
		if second == first {
			t.Fatal("the refresh token is the same")
		}
		p.want("the former one, in its grace", p.refresh("wxa", first).Code, 0)
		time.Sleep(300 * time.Second)
		p.want("the former one, after it", p.refresh("wxa", first).Code, codeBadRefreshToken)
		p.want("the current one", p.refresh("wxa", second).Code, 0)
	})
}

// receiver is a platform's URL.
type receiver struct {
	*testing.T
	config msgcrypt.Config

	mu     sync.Mutex // guards what follows
	answer string     // "": what is right
	wait   time.Duration
	got    []msgcrypt.Fields
	errors []error
}

// set changes the receiver.
func (r *receiver) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

func newReceiver(t *testing.T) *receiver {
	return &receiver{T: t, config: msgcrypt.Config{
		Token: platformToken, EncodingAESKey: secondKey, PreviousKey: firstKey, Receivers: []string{platformID},
	}}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var wait time.Duration
	r.set(func() { wait = r.wait })
	time.Sleep(wait)
	body, _ := io.ReadAll(req.Body)
	codec, err := r.config.Codec()
	if err != nil {
		r.Error(err)
	}
	var fields msgcrypt.Fields
	p, _, err := msgcrypt.ParsePush(req.URL.Query(), body)
	if err == nil {
		var m msgcrypt.Message
		if m, err = codec.Open(p); err == nil {
			fields, err = msgcrypt.ParseXML(m.Body)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		r.errors = append(r.errors, err)
		w.WriteHeader(http.StatusForbidden)
		return
	case r.answer != "":
		_, _ = io.WriteString(w, r.answer)
		return
	}
	r.got = append(r.got, fields)
	_, _ = io.WriteString(w, "success")
}

// met returns the errors of pushes.
func (r *receiver) met() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.errors)
}

// events returns what arrived, each as its InfoType and its account.
func (r *receiver) events() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, f := range r.got {
		out = append(out, strings.TrimSuffix(f["InfoType"]+" "+f["AuthorizerAppid"], " "))
	}
	return out
}

// pushing runs do while the server pushes to a receiver in process.
func pushing(t *testing.T, do func(*platform, *receiver)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p, r := newPlatform(t), newReceiver(t)
		if err := p.SetURL(platformID, "", r); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { p.RunPushes(ctx, nil) })
		do(p, r)
		cancel()
		running.Wait()
	})
}

func TestVerifyTicketsArePushedEveryTenMinutesUntilTheyStop(t *testing.T) {
	pushing(t, func(p *platform, r *receiver) {
		time.Sleep(time.Hour + time.Second)
		if got := r.events(); len(got) != 7 || got[0] != VerifyTicket {
			t.Fatalf("in an hour: %q", got)
		}
		start := func() posted { return p.post(pathStartPush, map[string]any{"component_secret": platformSecret}) }
		if got := start(); got.Code != 0 || got.Message != "in a normal state" {
			t.Errorf("api_start_push_ticket = %+v", got)
		}
		if err := p.StopPushes(platformID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if got := r.events(); len(got) != 7 {
			t.Fatalf("after they stopped: %q", got)
		}
		p.want("the other name of the secret", p.post(pathStartPush, map[string]any{"component_appsecret": platformSecret}).Code, codeNoSecret)
		if got := start(); got.Code != 0 || got.Message != "ok" {
			t.Errorf("api_start_push_ticket = %+v", got)
		}
		synctest.Wait()
		if got := r.events(); len(got) != 8 {
			t.Errorf("after api_start_push_ticket: %q", got)
		}
	})
}

func TestAPushIsRepeatedUntilItIsAnswered(t *testing.T) {
	pushing(t, func(p *platform, r *receiver) {
		time.Sleep(time.Minute) // after the first ticket
		r.set(func() { r.answer = "no" })
		p.authorize("wxa")
		time.Sleep(6 * time.Second)
		r.set(func() { r.answer = "" })
		time.Sleep(time.Minute)
		last := p.Pushes()[len(p.Pushes())-1]
		if last.Attempts != 3 || last.Lost || last.Answered.IsZero() {
			t.Errorf("answered wrongly twice: %+v", last)
		}
		r.set(func() { r.wait = 6 * time.Second })
		p.authorize("wxb")
		time.Sleep(time.Minute)
		last = p.Pushes()[len(p.Pushes())-1]
		if last.Attempts != 4 || !last.Lost || !last.Answered.IsZero() {
			t.Errorf("answered too late: %+v", last)
		}
		r.set(func() { r.wait = 0 })
	})
}

func TestFaultsOfPushes(t *testing.T) {
	for _, tt := range []struct {
		fault PushFault
		want  []string
		err   error
	}{
		{PushFault{Kind: PushDrop, Times: 1}, []string{"unauthorized wxa", "authorized wxa"}, nil},
		{PushFault{Kind: PushDuplicate, Times: 1}, []string{"authorized wxa", "authorized wxa", "unauthorized wxa"}, nil},
		{PushFault{Kind: PushDelay, Delay: Seconds(time.Minute), InfoType: "authorized"}, []string{"unauthorized wxa", "authorized wxa"}, nil},
		{PushFault{Kind: PushReorder, Times: 1}, []string{"unauthorized wxa", "authorized wxa"}, nil},
		{PushFault{Kind: PushSignature, Times: 1}, []string{"unauthorized wxa", "authorized wxa"}, msgcrypt.ErrSignature},
		{PushFault{Kind: PushReceiver, Skip: 1, Times: 1}, []string{"authorized wxa", "unauthorized wxa"}, msgcrypt.ErrReceiver},
		{PushFault{Kind: PushPreviousKey, Component: platformID}, []string{"authorized wxa", "unauthorized wxa"}, nil},
		{PushFault{Kind: PushDrop, Component: "wxother"}, []string{"authorized wxa", "unauthorized wxa"}, nil},
	} {
		t.Run(string(tt.fault.Kind), func(t *testing.T) {
			pushing(t, func(p *platform, r *receiver) {
				if err := p.ChangeKey(platformID, secondKey); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second) // after the first ticket
				r.set(func() { r.got = nil })
				if _, err := p.InjectPush(tt.fault); err != nil {
					t.Fatal(err)
				}
				p.authorize("wxa")
				synctest.Wait()
				if err := p.Unauthorize(platformID, "wxa"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				if got := r.events(); !slices.Equal(got, tt.want) {
					t.Errorf("arrived: %q, want %q", got, tt.want)
				}
				if met := r.met(); tt.err != nil && !slices.Equal(met, []error{tt.err}) {
					t.Errorf("errors: %v, want %v", met, tt.err)
				}
				p.ClearPush()
			})
		})
	}
}

func TestPushesGoOverHTTPAndTwoComponentsMayHaveOneURL(t *testing.T) {
	p, r := newPlatform(t), newReceiver(t)
	server := httptest.NewServer(r)
	defer server.Close()
	other := testComponent()
	other.AppID, other.URL = "wxplatform00000002", server.URL+"/callback?x=1"
	if err := p.AddComponent(other); err != nil {
		t.Fatal(err)
	}
	if err := p.SetURL(platformID, server.URL+"/callback", nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.RunPushes(ctx, nil) })
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if pushes := p.Pushes(); len(pushes) == 2 && pushes[0].Attempts+pushes[1].Attempts > 1 {
			break
		}
	}
	cancel()
	running.Wait()
	if got, met := r.events(), r.met(); len(got) != 1 || len(met) == 0 || !errors.Is(met[0], msgcrypt.ErrReceiver) {
		t.Errorf("arrived: %q, errors: %v", got, met)
	}
}
