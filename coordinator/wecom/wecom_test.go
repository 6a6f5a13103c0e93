package wecom_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/coordinator/wecom"
	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

const (
	corpID         = wecomtest.DefaultCorpID
	app            = wecomtest.DefaultApp
	secret         = wecomtest.DefaultSecret
	providerSecret = wecomtest.DefaultProviderSecret

	pathToken    = "/cgi-bin/gettoken"
	pathProvider = "/cgi-bin/service/get_provider_token"
	pathCorp     = "/cgi-bin/get_jsapi_ticket"
	pathAgent    = "/cgi-bin/ticket/get"
)

// newSource returns the source of c, whose calls go to the sandbox.
func newSource(t *testing.T, sandbox *wecomtest.Server, c wecom.Config) *wecom.Source {
	t.Helper()
	if c.Transport == nil {
		c.Transport = sandbox.Transport()
	}
	s, err := c.Source()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// allKinds are a Config of each kind and the path that it asks.
func allKinds() map[string]wecom.Config {
	return map[string]wecom.Config{
		pathToken:    {CorpID: corpID, Secret: secret},
		pathProvider: {Kind: wecom.Provider, CorpID: corpID, Secret: providerSecret},
		pathCorp:     {Kind: wecom.JSAPITicket},
		pathAgent:    {Kind: wecom.AgentTicket},
	}
}

func record(token string) coordinator.Record {
	return coordinator.Record{Token: coordinator.NewToken(token)}
}

// appToken returns the current token of the sandbox's app.
func appToken(t *testing.T, sandbox *wecomtest.Server) coordinator.Record {
	t.Helper()
	return coordinator.Record{Token: fetch(t, newSource(t, sandbox, wecom.Config{CorpID: corpID, Secret: secret}), coordinator.FetchRequest{}).Token}
}

func fetch(t *testing.T, s coordinator.Source, ask coordinator.FetchRequest) coordinator.FetchResult {
	t.Helper()
	result, err := s.Fetch(t.Context(), ask)
	if err != nil {
		t.Fatalf("Fetch = %v", err)
	}
	return result
}

// failing fetches and returns the failure, which must hold no secret and no token.
func failing(t *testing.T, s coordinator.Source, ask coordinator.FetchRequest) *coordinator.FetchError {
	t.Helper()
	result, err := s.Fetch(t.Context(), ask)
	var failure *coordinator.FetchError
	if !errors.As(err, &failure) {
		t.Fatalf("Fetch = %v, %v, want a FetchError", result, err)
	}
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v", failure), fmt.Sprint(failure.Err)} {
		for _, private := range []string{secret, providerSecret, ask.Current.Reveal(), ask.Parent.Token.Reveal()} {
			if private != "" && strings.Contains(text, private) {
				t.Errorf("the error shows %q: %s", private, text)
			}
		}
	}
	return failure
}

func TestEachKindBringsItsValueAndTheSameAgain(t *testing.T) {
	for path, c := range allKinds() {
		synctest.Test(t, func(t *testing.T) {
			sandbox := wecomtest.New(wecomtest.Config{})
			ask := coordinator.FetchRequest{Parent: appToken(t, sandbox)}
			s := newSource(t, sandbox, c)
			first := fetch(t, s, ask)
			if first.Lifetime != 2*time.Hour || first.Calls != 1 || first.Doubt != "" || !sandbox.Valid(first.Token.Reveal()) {
				t.Errorf("%s: %+v", path, first)
			}
			time.Sleep(30 * time.Minute)
			if again := fetch(t, s, ask); !again.Token.Equal(first.Token) || again.Lifetime != 90*time.Minute {
				t.Errorf("%s again: another value, or a life of %v", path, again.Lifetime)
			}
			time.Sleep(85 * time.Minute)
			if last := fetch(t, s, ask); last.RefreshIn != 5*time.Minute-30*time.Second {
				t.Errorf("%s, seen first 5 minutes before its end: asked again in %v", path, last.RefreshIn)
			}
			ask.Current = first.Token
			if last := fetch(t, s, ask); last.RefreshIn != 5*time.Minute+time.Second {
				t.Errorf("%s, known, 5 minutes before its end: asked again in %v", path, last.RefreshIn)
			}
			if calls := sandbox.Calls(); calls[len(calls)-1].Path != path {
				t.Errorf("%v asked %s", s, calls[len(calls)-1].Path)
			}
			d := s.Description()
			if d.Repeat != coordinator.RepeatSame || d.Limits.MinInterval < 30*time.Second || d.RefreshEvery > 30*time.Minute {
				t.Errorf("%v: %+v", s, d)
			}
		})
	}
}

func TestLifeIsWhatIsStated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sandbox := wecomtest.New(wecomtest.Config{})
		if err := sandbox.Tune(func(k *wecomtest.Knobs) { k.AlwaysWhole = true }); err != nil {
			t.Fatal(err)
		}
		s := newSource(t, sandbox, wecom.Config{CorpID: corpID, Secret: secret})
		fetch(t, s, coordinator.FetchRequest{})
		time.Sleep(time.Hour)
		if again := fetch(t, s, coordinator.FetchRequest{}); again.Lifetime != 2*time.Hour {
			t.Errorf("Lifetime = %v, want what WeCom said: the coordinator judges it", again.Lifetime)
		}
	})
}

// Answers are judged by the value they hold. Those that hold none are a code, or prove
// nothing.
func TestAnswers(t *testing.T) {
	const token = `"access_token":"t-0123456789"`
	for _, tt := range []struct {
		body   string
		status int
		kind   coordinator.FailureKind // "": a token
		life   time.Duration
	}{
		{`{` + token + `,"expires_in":7200}`, 200, "", 2 * time.Hour},
		{`{"errcode":0,"errmsg":"ok",` + token + `,"expires_in":7200}`, 200, "", 2 * time.Hour},
		{"\xef\xbb\xbf {\"errcode\":\"0\"," + token + `,"expires_in":"7200"} <!-- -->`, 200, "", 2 * time.Hour},
		{`{` + token + `}`, 200, "", 10 * time.Minute},
		{`{` + token + `,"expires_in":null}`, 200, "", 10 * time.Minute},
		{`{` + token + `,"expires_in":""}`, 200, "", 10 * time.Minute},
		{`{` + token + `,"expires_in":"soon"}`, 200, "", 10 * time.Minute},
		{`{` + token + `,"expires_in":-1}`, 200, "", 10 * time.Minute},
		{`{` + token + `,"expires_in":1e300}`, 200, "", 10 * time.Minute},
		{`{` + token + `,"expires_in":0}`, 200, "", time.Second},
		{`{` + token + `,"expires_in":7200}`, 201, "", 2 * time.Hour},
		{`{"access_token":"` + strings.Repeat("x", 8192) + `","expires_in":7200}`, 200, "", 2 * time.Hour},
		{`{"errcode":40013,"errmsg":"invalid corpid","access_token":"","expires_in":0}`, 200, coordinator.FailedRefused, 0},
		{`{"errcode":40013}`, 400, coordinator.FailedRefused, 0},
		{`{"errcode":99}`, 200, coordinator.FailedBusy, 0},
		{`{"errcode":-1}`, 200, coordinator.FailedBusy, 0},
		{`{"errcode":40001}`, 502, coordinator.FailedUnknown, 0},
		{`{"errcode":40001}`, 408, coordinator.FailedUnknown, 0},
		{`{"errcode":4.5}`, 200, coordinator.FailedUnknown, 0},
		{`{"errcode":0}`, 200, coordinator.FailedUnknown, 0},
		{`{"errcode":0,"access_token":7}`, 200, coordinator.FailedUnknown, 0},
		{`{"access_token":"a b","expires_in":7200}`, 200, coordinator.FailedUnknown, 0},
		{`{` + token, 200, coordinator.FailedUnknown, 0},
		{`{` + token + `,"x":"` + strings.Repeat("y", 70_000) + `"}`, 200, coordinator.FailedUnknown, 0},
		{`null`, 200, coordinator.FailedUnknown, 0},
		{``, 200, coordinator.FailedUnknown, 0},
		{`<html>`, 200, coordinator.FailedUnknown, 0},
		{`<html>`, 302, coordinator.FailedBusy, 0},
		{`<html>`, 404, coordinator.FailedBusy, 0},
		{`<html>`, 429, coordinator.FailedLater, 0},
		{`<html>`, 503, coordinator.FailedUnknown, 0},
	} {
		sandbox := wecomtest.New(wecomtest.Config{})
		sandbox.Inject(wecomtest.Fault{Body: tt.body, Status: tt.status})
		s := newSource(t, sandbox, wecom.Config{CorpID: corpID, Secret: secret})
		if tt.kind != "" {
			if failure := failing(t, s, coordinator.FetchRequest{}); failure.Kind != tt.kind || failure.Calls != 1 {
				t.Errorf("%d %.60q: %+v, want %s", tt.status, tt.body, failure, tt.kind)
			}
			continue
		}
		if got := fetch(t, s, coordinator.FetchRequest{}); got.Lifetime != tt.life || (got.Doubt != "") != (tt.life == 10*time.Minute) {
			t.Errorf("%d %.60q: %v, %q, want %v", tt.status, tt.body, got.Lifetime, got.Doubt, tt.life)
		}
	}
}

// The codes of the endpoints, each as WeCom answers it.
func TestCodesOfTokens(t *testing.T) {
	for _, path := range []string{pathToken, pathProvider} {
		for code, want := range map[int]struct {
			kind    coordinator.FailureKind
			retryIn time.Duration
		}{
			-1:     {coordinator.FailedBusy, 0},
			40001:  {coordinator.FailedRefused, 2 * time.Hour},
			40013:  {coordinator.FailedRefused, 2 * time.Hour},
			40091:  {coordinator.FailedRefused, 2 * time.Hour},
			45009:  {coordinator.FailedLater, 20 * time.Minute},
			45033:  {coordinator.FailedBusy, 0},
			50003:  {coordinator.FailedRefused, 0},
			60020:  {coordinator.FailedRefused, 0},
			301007: {coordinator.FailedRefused, 0},
			12345:  {coordinator.FailedBusy, 0},
		} {
			sandbox := wecomtest.New(wecomtest.Config{})
			sandbox.Inject(wecomtest.Fault{Code: code})
			failure := failing(t, newSource(t, sandbox, allKinds()[path]), coordinator.FetchRequest{})
			if failure.Kind != want.kind || failure.RetryIn != want.retryIn || failure.Code != coordinator.NumericCode(code) || failure.Calls != 1 || failure.Here != (code == 60020) {
				t.Errorf("%s, %d: %+v, want %v", path, code, failure, want)
			}
			var said *wecom.Error
			if !errors.As(failure, &said) || said.Code != code || said.Address != "127.0.0.1" || len(said.Hint) != 25 {
				t.Errorf("%s, %d: said %+v", path, code, said)
			}
			if class := wecom.Classify(code); class.Kind != want.kind || class.Meaning == "" || class.Hint == "" && class.Kind == coordinator.FailedRefused {
				t.Errorf("%d: %+v", code, class)
			}
		}
	}
}

func TestCodesAreSorted(t *testing.T) {
	last := -1 << 31
	for _, c := range wecom.Codes() {
		if c.Code <= last || wecom.Classify(c.Code) != c {
			t.Errorf("%d is not in its place", c.Code)
		}
		last = c.Code
	}
}

// A block lasts as long as the quota's window, which not every text names.
func TestHowLongABlockLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // at midnight UTC, 8:00 in China
		for text, want := range map[string]time.Duration{
			"api freq out of limit per minute, hint: []": time.Minute,
			"api freq out of limit per hour":             time.Hour,
			"api freq out of limit per day":              16 * time.Hour,
			"api freq out of limit, hint: [1], from ip: 1.2.3.4, more info at https://open.work.weixin.qq.com/devtool/query?e=45009": 20 * time.Minute,
		} {
			sandbox := wecomtest.New(wecomtest.Config{})
			sandbox.Inject(wecomtest.Fault{Code: 45009, Message: text})
			failure := failing(t, newSource(t, sandbox, wecom.Config{CorpID: corpID, Secret: secret}), coordinator.FetchRequest{})
			if failure.Kind != coordinator.FailedLater || failure.RetryIn != want {
				t.Errorf("%s: %s, %v, want %v", text, failure.Kind, failure.RetryIn, want)
			}
		}
	})
}

func TestATicketBlamesItsParent(t *testing.T) {
	for _, kind := range []wecom.Kind{wecom.JSAPITicket, wecom.AgentTicket} {
		for _, code := range []int{40001, 40014, 42001} {
			sandbox := wecomtest.New(wecomtest.Config{})
			sandbox.Inject(wecomtest.Fault{Code: code})
			failure := failing(t, newSource(t, sandbox, wecom.Config{Kind: kind}), coordinator.FetchRequest{Parent: record("parent-0123456789")})
			if failure.Kind != coordinator.FailedParent || failure.RetryIn != 0 || failure.Code != coordinator.NumericCode(code) || failure.Calls != 1 {
				t.Errorf("%s, %d: %+v, want parent", kind, code, failure)
			}
		}
		for code, want := range map[int]coordinator.FailureKind{
			-1: coordinator.FailedBusy, 45009: coordinator.FailedLater, 60020: coordinator.FailedRefused,
			301002: coordinator.FailedRefused, 41001: coordinator.FailedRefused, 40093: coordinator.FailedRefused,
		} {
			sandbox := wecomtest.New(wecomtest.Config{})
			sandbox.Inject(wecomtest.Fault{Code: code})
			if failure := failing(t, newSource(t, sandbox, wecom.Config{Kind: kind}), coordinator.FetchRequest{Parent: record("parent-0123456789")}); failure.Kind != want {
				t.Errorf("%s, %d: %s, want %s", kind, code, failure.Kind, want)
			}
		}
		sandbox := wecomtest.New(wecomtest.Config{})
		if failure := failing(t, newSource(t, sandbox, wecom.Config{Kind: kind}), coordinator.FetchRequest{}); failure.Kind != coordinator.FailedRefused || failure.Calls != 0 || len(sandbox.Calls()) != 0 {
			t.Errorf("%s without a parent: %+v, %d calls", kind, failure, len(sandbox.Calls()))
		}
	}
}

func TestWhetherTheRequestWasSent(t *testing.T) {
	for path, c := range allKinds() {
		for fault, want := range map[wecomtest.Fault]coordinator.FailureKind{
			{Dial: true, Path: path}:  coordinator.FailedBusy,
			{Reset: true, Path: path}: coordinator.FailedUnknown,
		} {
			sandbox := wecomtest.New(wecomtest.Config{})
			parent := appToken(t, sandbox)
			sandbox.Inject(fault)
			failure := failing(t, newSource(t, sandbox, c), coordinator.FetchRequest{Parent: parent})
			if failure.Kind != want || failure.Calls != map[coordinator.FailureKind]int{coordinator.FailedUnknown: 1}[want] {
				t.Errorf("%s, %+v: %+v, want %s", path, fault, failure, want)
			}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		sandbox := wecomtest.New(wecomtest.Config{})
		_, err := newSource(t, sandbox, c).Fetch(ended, coordinator.FetchRequest{Parent: record("parent-0123456789")})
		var failure *coordinator.FetchError
		if !errors.As(err, &failure) || failure.Calls != 0 || len(sandbox.Calls()) != 0 {
			t.Errorf("%s, after the context's end: %v, %d calls", path, err, len(sandbox.Calls()))
		}
	}
}

// A process remembers a refusal by itself, besides the store.
func TestARefusedSecretIsNotSentAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sandbox := wecomtest.New(wecomtest.Config{})
		s := newSource(t, sandbox, wecom.Config{CorpID: corpID, Secret: "wrong-0123456789"})
		first := failing(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
		time.Sleep(time.Hour)
		again := failing(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
		if again.Calls != 0 || again.RetryIn != time.Hour || again.Code != first.Code || len(sandbox.Calls()) != 1 {
			t.Errorf("an hour later: %+v, %d calls", again, len(sandbox.Calls()))
		}
		if forced := failing(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonForced}); forced.Calls != 0 {
			t.Errorf("forced: %+v, want no call", forced)
		}
		time.Sleep(time.Hour)
		if later := failing(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonMissing}); later.Calls != 1 {
			t.Errorf("2 hours later: %+v, want a call", later)
		}
	})
}

func TestWhatRejectsAToken(t *testing.T) {
	for code, want := range map[int]struct{ token, provider bool }{
		40001: {true, false}, 40014: {true, true}, 42001: {true, true}, 40082: {false, true}, 42009: {false, true},
		301002: {}, 48002: {}, 60020: {}, 45009: {}, 0: {}, -1: {},
	} {
		if got := wecom.IsTokenRejected(code); got != want.token || wechat.IsTokenRejected(code) != want.token {
			t.Errorf("IsTokenRejected(%d) = %v, want as in package wechat, whose Transport relies on it", code, got)
		}
		if got := wecom.IsProviderTokenRejected(code); got != want.provider {
			t.Errorf("IsProviderTokenRejected(%d) = %v", code, got)
		}
	}
}
