package wechat_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

func ticketSource(t *testing.T, transport http.RoundTripper, kind wechat.TicketType) *wechat.TicketSource {
	t.Helper()
	s, err := wechat.TicketConfig{Type: kind, Fallbacks: []string{wechat.DisasterBaseURL}, Transport: transport}.Source()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// parentOf returns a live access_token of the sandbox's account.
func parentOf(t *testing.T, sandbox *wechattest.Server) coordinator.Record {
	t.Helper()
	issue, err := sandbox.Rogue(appID, wechattest.ClassicChain)
	if err != nil {
		t.Fatal(err)
	}
	return coordinator.Record{Token: coordinator.NewToken(issue.Token)}
}

func onTicket(f wechattest.Fault) wechattest.Fault {
	f.Path = "/cgi-bin/ticket/getticket"
	return f
}

func TestATicketIsWhatWeChatAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sandbox := wechattest.New(wechattest.Config{})
		parent := parentOf(t, sandbox)
		for kind, chain := range map[wechat.TicketType]wechattest.Chain{"": wechattest.JSAPIChain, wechat.JSAPI: wechattest.JSAPIChain, wechat.WXCard: wechattest.CardChain} {
			s := ticketSource(t, sandbox.Transport(), kind)
			first := fetch(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonMissing, Parent: parent})
			issued, _ := sandbox.LastIssuedOn(appID, chain)
			if first.Token.Reveal() != issued.Token || first.Lifetime != 2*time.Hour || first.RefreshIn != 0 || first.Calls != 1 || first.Doubt != "" {
				t.Errorf("%s: %+v, want the ticket %d", kind, first, issued.Seq)
			}
			time.Sleep(time.Minute)
			again := fetch(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonForced, Current: first.Token, Parent: parent})
			if !again.Token.Equal(first.Token) || again.Lifetime != 2*time.Hour {
				t.Errorf("%s: asked again: %+v", kind, again)
			}
		}
	})
}

func TestATicketNeedsATokenThatWeChatAccepts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sandbox := wechattest.New(wechattest.Config{})
		s := ticketSource(t, sandbox.Transport(), wechat.JSAPI)
		old := parentOf(t, sandbox)
		time.Sleep(time.Hour)
		current := parentOf(t, sandbox)
		time.Sleep(10 * time.Minute)
		for name, tt := range map[string]struct {
			parent coordinator.Record
			kind   coordinator.FailureKind
			code   coordinator.Code
			calls  int
		}{
			"no token":         {coordinator.Record{}, coordinator.FailedRefused, "", 0},
			"garbage":          {coordinator.Record{Token: coordinator.NewToken("90_x")}, coordinator.FailedParent, "40001", 1},
			"superseded token": {old, coordinator.FailedParent, "40001", 1},
		} {
			failure := failing(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonMissing, Parent: tt.parent})
			if failure.Kind != tt.kind || failure.Code != tt.code || failure.Calls != tt.calls {
				t.Errorf("%s: %+v", name, failure)
			}
		}
		fetch(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonMissing, Parent: current})
		time.Sleep(2 * time.Hour)
		if failure := failing(t, s, coordinator.FetchRequest{Parent: current}); failure.Kind != coordinator.FailedParent || failure.Code != "42001" {
			t.Errorf("an expired token: %+v", failure)
		}
	})
}

func TestEveryErrcodeOfTicketsIsClassified(t *testing.T) {
	parents := 0
	for _, class := range append(wechat.TicketCodes(), wechat.ClassifyTicket(12345)) {
		sandbox := wechattest.New(wechattest.Config{})
		ask := coordinator.FetchRequest{Reason: coordinator.ReasonMissing, Parent: parentOf(t, sandbox)}
		inject(t, sandbox, onTicket(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: class.Code}))
		failure := failing(t, ticketSource(t, sandbox.Transport(), wechat.JSAPI), ask)
		if failure.Kind != class.Kind || failure.Code != coordinator.NumericCode(class.Code) || failure.Calls != 1 {
			t.Errorf("%d: failure = %+v, want %+v", class.Code, failure, class)
		}
		if !class.UntilMidnight && failure.RetryIn != class.RetryIn || class.UntilMidnight && (failure.RetryIn <= 0 || failure.RetryIn > 24*time.Hour) {
			t.Errorf("%d: RetryIn = %v, want %v", class.Code, failure.RetryIn, class.RetryIn)
		}
		if class.Kind == coordinator.FailedRefused && class.Hint == "" {
			t.Errorf("%d: a refusal for good says nothing about what to do", class.Code)
		}
		if class.Kind == coordinator.FailedParent {
			parents++
			if !wechat.IsTokenRejected(class.Code) {
				t.Errorf("%d is said to reject the access_token, but not by IsTokenRejected", class.Code)
			}
		}
	}
	if parents != 3 {
		t.Errorf("%d errcodes reject the access_token, want 3", parents)
	}
}

// The same ticket comes again, so that a call may be repeated whatever became of it.
func TestACallForATicketIsRepeated(t *testing.T) {
	for name, tt := range map[string]struct {
		fault wechattest.Fault
		calls int // 0: it fails
	}{
		"one host is down":     {wechattest.Fault{Kind: wechattest.FaultDial, Host: "api.weixin.qq.com"}, 1},
		"one host hangs":       {wechattest.Fault{Kind: wechattest.FaultHang, Host: "api.weixin.qq.com"}, 2},
		"the answer is lost":   {wechattest.Fault{Kind: wechattest.FaultReset, Times: 1}, 2},
		"half an answer":       {wechattest.Fault{Kind: wechattest.FaultTruncated, Times: 1}, 2},
		"every host is down":   {wechattest.Fault{Kind: wechattest.FaultDial}, 0},
		"every answer is lost": {wechattest.Fault{Kind: wechattest.FaultReset}, 0},
		"every host hangs":     {wechattest.Fault{Kind: wechattest.FaultHang}, 0},
		"pages":                {wechattest.Fault{Kind: wechattest.FaultHTML}, 0},
		"no ticket":            {wechattest.Fault{Kind: wechattest.FaultNoToken}, 0},
		"a long answer":        {wechattest.Fault{Kind: wechattest.FaultOversize}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sandbox := wechattest.New(wechattest.Config{})
				defer sandbox.Close()
				s := ticketSource(t, sandbox.Transport(), wechat.JSAPI)
				ask := coordinator.FetchRequest{Reason: coordinator.ReasonMissing, Parent: parentOf(t, sandbox)}
				inject(t, sandbox, onTicket(tt.fault))
				if tt.calls > 0 {
					if issue := fetch(t, s, ask); issue.Calls != tt.calls {
						t.Errorf("%d calls, want %d", issue.Calls, tt.calls)
					}
					return
				}
				failure := failing(t, s, ask)
				if failure.Kind != coordinator.FailedUnknown && tt.fault.Kind != wechattest.FaultDial || failure.Calls > 2 {
					t.Errorf("%+v", failure)
				}
				if issued, ok := sandbox.LastIssuedOn(appID, wechattest.JSAPIChain); ok && strings.Contains(failure.Error(), issued.Token) {
					t.Errorf("the error holds the ticket: %v", failure)
				}
			})
		})
	}
}

// What became of the first call does not matter then: the access_token is to be replaced.
func TestALostAnswerDoesNotHideThatTheAccessTokenIsRejected(t *testing.T) {
	sandbox := wechattest.New(wechattest.Config{})
	inject(t, sandbox, onTicket(wechattest.Fault{Kind: wechattest.FaultReset, Times: 1}))
	failure := failing(t, ticketSource(t, sandbox.Transport(), wechat.JSAPI), coordinator.FetchRequest{
		Parent: coordinator.Record{Token: coordinator.NewToken("90_x")},
	})
	if failure.Kind != coordinator.FailedParent || failure.Calls != 2 {
		t.Errorf("%+v", failure)
	}
}

func TestATicketIsTakenHoweverARelayWritesIt(t *testing.T) {
	for _, recodings := range relayed() {
		sandbox := behindRelay(recodings)
		s := ticketSource(t, sandbox.Transport(), wechat.JSAPI)
		ask := coordinator.FetchRequest{Reason: coordinator.ReasonSchedule, Parent: parentOf(t, sandbox)}
		for range 2 { // the second time it is the current one
			issue := fetch(t, s, ask)
			if last, _ := sandbox.LastIssuedOn(appID, wechattest.JSAPIChain); issue.Token.Reveal() != last.Token || issue.Lifetime != 2*time.Hour {
				t.Errorf("%v: %+v", recodings, issue)
			}
			ask.Current = issue.Token
		}
		inject(t, sandbox, onTicket(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 40001}))
		if failure := failing(t, s, ask); failure.Kind != coordinator.FailedParent {
			t.Errorf("%v: %+v", recodings, failure)
		}
	}
}

func TestATicketBesideAnErrcode(t *testing.T) {
	for code, want := range map[int]coordinator.FailureKind{200: "", 45009: "", 40001: coordinator.FailedParent, 42001: coordinator.FailedParent} {
		sandbox := wechattest.New(wechattest.Config{})
		s := ticketSource(t, sandbox.Transport(), wechat.JSAPI)
		ask := coordinator.FetchRequest{Parent: parentOf(t, sandbox)}
		ask.Current = fetch(t, s, ask).Token
		inject(t, sandbox, onTicket(wechattest.Fault{Kind: wechattest.FaultBoth, Code: code}))
		issue, err := s.Fetch(t.Context(), ask)
		var failure *coordinator.FetchError
		if errors.As(err, &failure); want == "" && (err != nil || !issue.Token.Equal(ask.Current)) || want != "" && (failure == nil || failure.Kind != want) {
			t.Errorf("%d: %+v, %v", code, issue, err)
		}
	}
}

func TestTheAccessTokenOfATicketIsNotShown(t *testing.T) {
	parent := coordinator.Record{Token: coordinator.NewToken("90_" + strings.Repeat("a/+", 3000))}
	s := ticketSource(t, leakyTransport{errors.New("broken")}, wechat.JSAPI)
	_ = failing(t, s, coordinator.FetchRequest{Parent: parent}) // checks it
	sandbox := wechattest.New(wechattest.Config{})
	inject(t, sandbox, onTicket(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 40001, Message: "no good: " + parent.Token.Reveal()}))
	_ = failing(t, ticketSource(t, sandbox.Transport(), wechat.JSAPI), coordinator.FetchRequest{Parent: parent})
	if text := fmt.Sprintf("%v %+v %#v", s, s, s); text != strings.Repeat("wechat.TicketSource(jsapi) ", 3)[:len(text)] {
		t.Errorf("it prints %s", text)
	}
}

func TestAWrongConfigurationOfTicketsIsSaid(t *testing.T) {
	for _, c := range []wechat.TicketConfig{
		{Type: "JSAPI"}, {Type: "2"}, {Type: "jsapi_ticket"}, {BaseURL: "http://api.weixin.qq.com"}, {Fallbacks: []string{"x"}},
	} {
		if s, err := c.Source(); err == nil || s != nil {
			t.Errorf("%+v.Source() = %v, %v, want an error", c, s, err)
		}
	}
}

func TestTicketsAreAskedForOftenEnough(t *testing.T) {
	d := ticketSource(t, nil, wechat.JSAPI).Description()
	if perDay := int(24 * time.Hour / d.RefreshEvery); d.Repeat != coordinator.RepeatSame || d.RefreshEvery > 10*time.Minute ||
		perDay > d.Limits.Reserve || d.Limits.PerDay > wechattest.DefaultKnobs().DailyTicket || d.Limits.MinInterval < 30*time.Second {
		t.Errorf("%+v", d)
	}
}

func TestProbeOfATicket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sandbox := wechattest.New(wechattest.Config{})
		prober := wechat.Prober{Transport: sandbox.Transport()}
		parent := parentOf(t, sandbox)
		s := ticketSource(t, sandbox.Transport(), wechat.WXCard)
		ticket := fetch(t, s, coordinator.FetchRequest{Parent: parent}).Token
		if err := prober.ProbeTicket(t.Context(), wechat.WXCard, parent.Token, ticket); err != nil {
			t.Error(err)
		}
		sandbox.KillEarly(appID, wechattest.CardChain)
		if err := prober.ProbeTicket(t.Context(), wechat.WXCard, parent.Token, ticket); !errors.Is(err, wechat.ErrTicketReplaced) || wechat.Rejected(err) {
			t.Errorf("replaced: %v", err)
		}
		inject(t, sandbox, onTicket(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 48001, Times: 1, Message: "no " + parent.Token.Reveal() + ticket.Reveal()}))
		var refused *wechat.Error
		if err := prober.ProbeTicket(t.Context(), wechat.WXCard, parent.Token, ticket); !errors.As(err, &refused) || refused.Code != 48001 ||
			strings.Contains(err.Error(), ticket.Reveal()) || strings.Contains(err.Error(), parent.Token.Reveal()) {
			t.Errorf("refused: %v", err)
		}
		inject(t, sandbox, onTicket(wechattest.Fault{Kind: wechattest.FaultNoToken, Times: 1}))
		if err := prober.ProbeTicket(t.Context(), wechat.WXCard, parent.Token, ticket); err == nil {
			t.Error("no ticket, no error")
		}
		time.Sleep(3 * time.Hour)
		if err := prober.ProbeTicket(t.Context(), wechat.WXCard, parent.Token, ticket); !wechat.Rejected(err) {
			t.Errorf("with an expired access_token: %v", err)
		}
	})
}
