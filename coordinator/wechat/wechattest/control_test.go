package wechattest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// control makes one control request and decodes the answer into into.
func (c caller) control(method, path, body string, into any) int {
	c.t.Helper()
	status, raw := c.send(method, path, body)
	if strings.Contains(string(raw), secret) {
		c.t.Errorf("%s shows the secret", path)
	}
	if into != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			c.t.Fatalf("%s: %v in %s", path, err, raw)
		}
	}
	return status
}

// must makes a control request that has to succeed.
func (c caller) must(method, path, body string, into any) {
	c.t.Helper()
	if status := c.control(method, path, body, into); status != http.StatusOK {
		c.t.Fatalf("%s %s %s: status %d", method, path, body, status)
	}
}

func served(t *testing.T) (*wechattest.Server, caller) {
	t.Helper()
	s := wechattest.New(wechattest.Config{})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return s, caller{t, client, s.Start(t)}
}

func TestControlOfTheTruth(t *testing.T) {
	s, c := served(t)
	first, second := c.token(), c.token()
	type issue struct {
		Seq       int
		Token     string `json:"access_token"`
		SHA256    string
		Delivered bool
		Call      int
		DiesAt    time.Time `json:"dies_at"`
		Cause     string
	}
	var issued []issue
	c.must(http.MethodGet, "/sandbox/issued?appid="+appID, "", &issued)
	if len(issued) != 2 || issued[1].Token != second.Token || !issued[1].Delivered || issued[0].Cause != "superseded" {
		t.Errorf("issued = %+v", issued)
	}
	c.must(http.MethodGet, "/sandbox/issued?after=1", "", &issued)
	if len(issued) != 1 || issued[0].Seq != 2 {
		t.Errorf("issued after 1 = %+v", issued)
	}
	var calls []struct {
		ID, Seq   int
		Minted    bool
		UserAgent string `json:"user_agent"`
		From      string
	}
	c.must(http.MethodGet, "/sandbox/calls?after=1", "", &calls)
	if len(calls) != 1 || calls[0].ID != 2 || calls[0].From != "127.0.0.1" || calls[0].UserAgent == "" {
		t.Errorf("calls = %+v", calls)
	}
	var verdicts []struct {
		Asked                 string
		Known, Accepted, Last bool
		DiesAt                time.Time `json:"dies_at"`
	}
	judge := func(at time.Time) {
		t.Helper()
		c.must(http.MethodPost, "/sandbox/judge", fmt.Sprintf(`{"tokens":[%q,%q,"90_x"],"at":%q}`,
			first.Token, issued[0].SHA256, at.Format(time.RFC3339Nano)), &verdicts)
	}
	judge(s.Now())
	if v := verdicts; len(v) != 3 || !v[0].Accepted || v[0].Last || !v[1].Accepted || !v[1].Last || v[2].Known {
		t.Errorf("now: %+v", v)
	}
	dead, _ := s.DeadSince(first.Token)
	judge(dead)
	if v := verdicts; v[0].Accepted || !v[1].Accepted || v[0].DiesAt.Sub(dead).Abs() > time.Millisecond {
		t.Errorf("at the first's death: %+v", v)
	}
}

func TestControlOfAccounts(t *testing.T) {
	_, c := served(t)
	account := "/sandbox/accounts/" + appID
	c.token()

	c.must(http.MethodPost, account, `{"whitelist":["10.0.0.0/8"]}`, nil)
	if a := c.token(); a.Code != 40164 {
		t.Errorf("whitelisted elsewhere: %+v", a)
	}
	c.must(http.MethodPost, account, `{"whitelist":null,"frozen":true}`, nil)
	if a := c.token(); a.Code != 40243 {
		t.Errorf("frozen: %+v", a)
	}
	c.must(http.MethodPost, account, `{"frozen":false,"banned":50007}`, nil)
	if a := c.token(); a.Code != 50007 {
		t.Errorf("banned: %+v", a)
	}
	c.must(http.MethodPost, account, `{"banned":0,"risk":{"127.0.0.1":89507}}`, nil)
	if a := c.token(); a.Code != 89507 {
		t.Errorf("at risk: %+v", a)
	}
	c.must(http.MethodPost, account, `{"risk":{"127.0.0.1":0}}`, nil)

	var theirs struct {
		Token string `json:"access_token"`
	}
	c.must(http.MethodPost, account+"/rogue", `{"chain":"token"}`, &theirs)
	if code := c.code(theirs.Token); code != 0 {
		t.Errorf("the rogue's token: %d", code)
	}
	c.must(http.MethodPost, account+"/kill", "", nil)
	if code := c.code(theirs.Token); code != 40001 {
		t.Errorf("killed: %d", code)
	}
	if status := c.control(http.MethodPost, account+"/kill", `{"chain":"stable_token"}`, nil); status != http.StatusNotFound {
		t.Errorf("killing no token: %d", status)
	}
	var rotated struct{ Secret string }
	c.must(http.MethodPost, account+"/rotate", "", &rotated)
	if a := c.token(); a.Code != 40125 || len(rotated.Secret) != 32 {
		t.Errorf("rotated: %+v", a)
	}
	c.must(http.MethodPost, account+"/rotate", `{"secret":"`+secret+`"}`, nil)
	if a := c.token(); a.Code != 0 {
		t.Errorf("rotated back: %+v", a)
	}
	c.must(http.MethodPost, "/sandbox/accounts", `{"appid":"wxnew","secret":"s","product":"test"}`, nil)
	if a := c.do(http.MethodGet, "/cgi-bin/token?grant_type=client_credential&appid=wxnew&secret=s", ""); a.Code != 0 {
		t.Errorf("a new account: %+v", a)
	}
}

func TestControlOfFaultsKnobsAndClock(t *testing.T) {
	s, c := served(t)
	var injected struct{ ID int }
	c.must(http.MethodPost, "/sandbox/faults", `{"kind":"errcode","code":-1,"times":5}`, &injected)
	if a := c.token(); a.Code != -1 {
		t.Errorf("faulty: %+v", a)
	}
	var faults []struct{ ID, Struck, Times int }
	c.must(http.MethodGet, "/sandbox/faults", "", &faults)
	if len(faults) != 1 || faults[0].Struck != 1 || faults[0].Times != 5 {
		t.Errorf("faults = %+v", faults)
	}
	c.must(http.MethodDelete, fmt.Sprintf("/sandbox/faults/%d", injected.ID), "", nil)
	first := c.token()
	if first.Code != 0 {
		t.Errorf("cleared: %+v", first)
	}
	c.must(http.MethodPost, "/sandbox/faults", `{"kind":"slow","delay":"1ms"}`, nil)
	c.must(http.MethodDelete, "/sandbox/faults", "", nil)

	var knobs wechattest.Knobs
	c.must(http.MethodPost, "/sandbox/knobs", `{"token_ttl":60,"grace":"10s"}`, &knobs)
	if knobs.TokenTTL != time.Minute || knobs.Grace != 10*time.Second || knobs.ForceDaily != 20 {
		t.Errorf("knobs = %+v", knobs)
	}
	if a := c.token(); a.ExpiresIn != 60 {
		t.Errorf("expires_in %d", a.ExpiresIn)
	}
	c.must(http.MethodPost, "/sandbox/clock", `{"advance":"10s"}`, nil)
	if code := c.code(first.Token); code != 40001 {
		t.Errorf("after the clock moved: %d", code)
	}
	c.must(http.MethodPost, "/sandbox/hosts", `{"`+strings.TrimPrefix(c.base, "http://")+`":"down"}`, nil)
	if _, err := c.client.Get(c.base + "/cgi-bin/token"); err == nil { //nolint:bodyclose // there is none
		t.Error("a host that is down answered")
	}
	var state struct {
		Accounts []struct {
			AppID     string         `json:"appid"`
			UsedToday map[string]int `json:"used_today"`
		}
		HostsDown []string `json:"hosts_down"`
		Issued    int
	}
	c.must(http.MethodGet, "/sandbox/state", "", &state)
	if len(state.Accounts) != 1 || state.Accounts[0].UsedToday["/cgi-bin/token"] != 2 || len(state.HostsDown) != 1 || state.Issued != 2 {
		t.Errorf("state = %+v", state)
	}
	c.must(http.MethodPost, "/sandbox/reset", "", nil)
	if a := c.token(); a.Code != 0 || len(s.Issued()) != 1 {
		t.Errorf("reset: %+v", a)
	}
}

func TestControlListsWhatCanBeAsked(t *testing.T) {
	_, c := served(t)
	var list struct{ Requests []string }
	c.must(http.MethodGet, "/sandbox/", "", &list)
	if !slices.Contains(list.Requests, "GET /sandbox/state") {
		t.Errorf("GET /sandbox/ = %v", list.Requests)
	}
}

func TestControlRefusesWhatItDoesNotKnow(t *testing.T) {
	_, c := served(t)
	for _, tt := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{http.MethodPost, "/sandbox/knobs", `{"token_tll":"1s"}`, 400, "token_ttl"},
		{http.MethodPost, "/sandbox/knobs", `{"token_ttl":"1"}`, 400, "token_ttl"},
		{http.MethodPost, "/sandbox/knobs", `{"token_ttl":true}`, 400, "token_ttl"},
		{http.MethodPost, "/sandbox/knobs", `{"minus_one_rate":2}`, 400, "minus_one_rate"},
		{http.MethodPost, "/sandbox/knobs", `{"force_daily":-1}`, 400, "force_daily"},
		{http.MethodPost, "/sandbox/knobs", `{"chunked_post_412":"no"}`, 400, "chunked_post_412"},
		{http.MethodPost, "/sandbox/knobs", `{"errmsg_era":"1999"}`, 400, "hint-2017"},
		{http.MethodPost, "/sandbox/knobs", `{"relay":"bom"}`, 400, "relay"},
		{http.MethodPost, "/sandbox/knobs", `{"relay":["bomb"]}`, 400, "unzipped"},
		{http.MethodPost, "/sandbox/knobs", `[]`, 400, "object"},
		{http.MethodPost, "/sandbox/faults", `{"kind":"html","time":1}`, 400, "time"},
		{http.MethodPost, "/sandbox/faults", `{"kind":"nonsense"}`, 400, "truncated"},
		{http.MethodPost, "/sandbox/faults", `{"kind":"html"} {}`, 400, "follows"},
		{http.MethodDelete, "/sandbox/faults/7", ``, 404, "7"},
		{http.MethodPost, "/sandbox/accounts/wxother", `{}`, 404, "wxother"},
		{http.MethodPost, "/sandbox/accounts/wxother/kill", `{}`, 404, "wxother"},
		{http.MethodPost, "/sandbox/accounts/wxother/rotate", `{}`, 404, "wxother"},
		{http.MethodPost, "/sandbox/accounts/" + appID, `{"frozen":"yes"}`, 400, "frozen"},
		{http.MethodPost, "/sandbox/accounts/" + appID, `{"whitelist":["*"]}`, 400, "*"},
		{http.MethodPost, "/sandbox/accounts/" + appID + "/rogue", `{"chain":"x"}`, 400, "stable_token"},
		{http.MethodPost, "/sandbox/accounts", `{"appid":"wx"}`, 400, "Secret"},
		{http.MethodPost, "/sandbox/hosts", `{"a":"sideways"}`, 400, "sideways"},
		{http.MethodGet, "/sandbox/issued?after=x", ``, 400, "after"},
		{http.MethodGet, "/sandbox/calls?after=x", ``, 400, "after"},
		{http.MethodPost, "/sandbox/judge", `{"token":"x"}`, 400, "token"},
		{http.MethodGet, "/sandbox/nonsense", ``, 404, "/sandbox/state"},
		{http.MethodPut, "/sandbox/knobs", `{}`, 404, "PATCH /sandbox/knobs"},
	} {
		var answer struct{ Error string }
		status := c.control(tt.method, tt.path, tt.body, &answer)
		if status != tt.status || !strings.Contains(answer.Error, tt.says) {
			t.Errorf("%s %s %s: %d %q, want %d and %q", tt.method, tt.path, tt.body, status, answer.Error, tt.status, tt.says)
		}
	}
}

func TestControlIsClosedToPagesOfOthers(t *testing.T) {
	s, c := served(t)
	c.token()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.base+"/sandbox/reset", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := c.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden || len(s.Issued()) != 1 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestFaultsOverSockets(t *testing.T) {
	s, c := served(t)
	get := func() (string, error) {
		resp, err := c.client.Get(c.base + "/cgi-bin/token?" + good(secret))
		if err != nil {
			return "", err
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	inject := func(f wechattest.Fault) {
		t.Helper()
		s.Clear()
		if _, err := s.Inject(f); err != nil {
			t.Fatal(err)
		}
	}
	inject(wechattest.Fault{Kind: wechattest.FaultReset})
	if body, err := get(); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("reset: %q, %v", body, err)
	}
	inject(wechattest.Fault{Kind: wechattest.FaultTruncated})
	if body, err := get(); err == nil || !strings.HasPrefix(body, `{"access_token"`) {
		t.Errorf("truncated: %q, %v", body, err)
	}
	inject(wechattest.Fault{Kind: wechattest.FaultHang})
	answered := make(chan error)
	go func() { _, err := get(); answered <- err }() // ends when released below
	for len(s.Issued()) < 3 {
		time.Sleep(time.Millisecond)
	}
	c.must(http.MethodPost, "/sandbox/release", "", nil)
	if err := <-answered; err == nil {
		t.Error("a hanging call was answered when it was freed")
	}
	inject(wechattest.Fault{Kind: wechattest.FaultBody, Body: "x", Status: 418, ContentType: "text/x"})
	if body, err := get(); body != "x" || err != nil {
		t.Errorf("body: %q, %v", body, err)
	}
}
