package wechat_test

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
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

const (
	appID  = wechattest.DefaultAppID
	secret = wechattest.DefaultSecret
)

// source returns a source of the sandbox, with two hosts.
func source(t *testing.T, sandbox *wechattest.Server, kind wechat.Kind) *wechat.Source {
	t.Helper()
	s, err := wechat.Config{
		AppID: appID, Secret: secret, Kind: kind,
		Fallbacks: []string{wechat.DisasterBaseURL},
		Transport: sandbox.Transport(),
	}.Source()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func inject(t *testing.T, sandbox *wechattest.Server, faults ...wechattest.Fault) {
	t.Helper()
	for _, f := range faults {
		if _, err := sandbox.Inject(f); err != nil {
			t.Fatal(err)
		}
	}
}

// fetch gets a token and fails the test if there is none.
func fetch(t *testing.T, s coordinator.Source, ask coordinator.FetchRequest) coordinator.FetchResult {
	t.Helper()
	issue, err := s.Fetch(t.Context(), ask)
	if err != nil {
		t.Fatalf("Fetch(%v) = %v", ask.Reason, err)
	}
	return issue
}

// failing fetches and returns the failure, which must be clean.
func failing(t *testing.T, s coordinator.Source, ask coordinator.FetchRequest) *coordinator.FetchError {
	t.Helper()
	return failingUnder(t.Context(), t, s, ask)
}

func failingUnder(ctx context.Context, t *testing.T, s coordinator.Source, ask coordinator.FetchRequest) *coordinator.FetchError {
	t.Helper()
	issue, err := s.Fetch(ctx, ask)
	var failure *coordinator.FetchError
	if !errors.As(err, &failure) {
		t.Fatalf("Fetch = %v, %v, want a *coordinator.FetchError", issue, err)
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		text := fmt.Sprintf("%v %+v %#v", e, e, e)
		if strings.Contains(text, secret) || strings.Contains(text, "90_") {
			t.Errorf("the error shows the secret or a token: %s", text)
		}
	}
	return failure
}

func TestEachCallOfTheClassicEndpointBringsAnotherToken(t *testing.T) {
	sandbox := wechattest.New(wechattest.Config{})
	s := source(t, sandbox, wechat.Classic)
	first := fetch(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
	second := fetch(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonSchedule, Current: first.Token})
	if first.Token.Equal(second.Token) {
		t.Error("two calls brought the same token")
	}
	if second.Lifetime != 2*time.Hour || second.RefreshIn != 0 || second.Calls != 1 {
		t.Errorf("Life, RefreshIn, Calls = %v, %v, %d, want 2h, 0, 1", second.Lifetime, second.RefreshIn, second.Calls)
	}
	if last, _ := sandbox.LastIssued(appID); last.Token != second.Token.Reveal() {
		t.Error("the source's token is not the one issued last")
	}
}

func TestStableTokenIsAskedForAgainWhenItRollsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sandbox := wechattest.New(wechattest.Config{})
		s := source(t, sandbox, wechat.Stable)
		first := fetch(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
		if want := 2*time.Hour - 295*time.Second; first.RefreshIn != want {
			t.Errorf("RefreshIn = %v, want %v", first.RefreshIn, want)
		}
		time.Sleep(time.Hour)
		second := fetch(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonOverdue, Current: first.Token})
		if !second.Token.Equal(first.Token) || second.Lifetime != time.Hour {
			t.Errorf("after an hour: the same token is %v, Life = %v", second.Token.Equal(first.Token), second.Lifetime)
		}
		time.Sleep(second.RefreshIn)
		third := fetch(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonSchedule, Current: first.Token})
		if third.Token.Equal(first.Token) {
			t.Error("asked when told to, the source brought the old token")
		}
	})
}

func TestForcedRefreshesOfAStableToken(t *testing.T) {
	ask := func(reason coordinator.Reason, issue coordinator.FetchResult) coordinator.FetchRequest {
		return coordinator.FetchRequest{Reason: reason, Current: issue.Token}
	}
	t.Run("bring another token", func(t *testing.T) {
		sandbox := wechattest.New(wechattest.Config{})
		s := source(t, sandbox, wechat.Stable)
		first := fetch(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
		second := fetch(t, s, ask(coordinator.ReasonRejected, first))
		if second.Token.Equal(first.Token) {
			t.Error("a forced refresh brought the same token")
		}
	})
	t.Run("say so when they come too early", func(t *testing.T) {
		sandbox := wechattest.New(wechattest.Config{})
		s := source(t, sandbox, wechat.Stable)
		first := fetch(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonForced})
		failure := failing(t, s, ask(coordinator.ReasonForced, first))
		if failure.Kind != coordinator.FailedLater || failure.RetryIn != 30*time.Second || failure.Calls != 1 {
			t.Errorf("failure = %+v, want later, 30s, 1 call", failure)
		}
	})
	t.Run("hold nothing up for long when they are used up", func(t *testing.T) {
		_, s, current := forcesUsedUp(t)
		for _, reason := range []coordinator.Reason{coordinator.ReasonForced, coordinator.ReasonRejected} {
			failure := failing(t, s, ask(reason, current))
			if failure.Kind != coordinator.FailedLater || failure.Code != "45009" || failure.Calls != 2 || failure.RetryIn <= 0 || failure.RetryIn > 3*time.Minute {
				t.Errorf("%s: failure = %+v, want later, 45009, 2 calls, some minutes", reason, failure)
			}
		}
	})
	t.Run("wait for midnight when nothing else is answered either", func(t *testing.T) {
		sandbox, s, current := forcesUsedUp(t)
		if err := sandbox.Tune(func(k *wechattest.Knobs) { k.ForceQuotaBlocksNormal = true }); err != nil {
			t.Fatal(err)
		}
		failure := failing(t, s, ask(coordinator.ReasonForced, current))
		if failure.Kind != coordinator.FailedLater || failure.Code != "45009" || failure.Calls != 2 || failure.RetryIn <= 3*time.Minute {
			t.Errorf("failure = %+v, want later, 45009, 2 calls, until midnight", failure)
		}
	})
	t.Run("say what becomes of the second call", func(t *testing.T) {
		sandbox, s, current := forcesUsedUp(t)
		inject(t, sandbox, wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 40164, Skip: 1}) // the forced one gets 45009
		failure := failing(t, s, ask(coordinator.ReasonForced, current))
		if failure.Kind != coordinator.FailedRefused || failure.Code != "40164" || failure.Calls != 2 {
			t.Errorf("failure = %+v, want refused, 40164, 2 calls", failure)
		}
	})
	t.Run("take over what another has forced", func(t *testing.T) {
		sandbox, s, current := forcesUsedUp(t)
		theirs, err := sandbox.Rogue(appID, wechattest.StableChain)
		if err != nil {
			t.Fatal(err)
		}
		for _, reason := range []coordinator.Reason{coordinator.ReasonForced, coordinator.ReasonRejected} {
			issue := fetch(t, s, ask(reason, current))
			if issue.Token.Reveal() != theirs.Token || issue.Calls != 2 {
				t.Errorf("%s: the token in force was not brought; Calls = %d", reason, issue.Calls)
			}
		}
	})
	t.Run("take over the current token if none is held", func(t *testing.T) {
		_, s, current := forcesUsedUp(t)
		if issue := fetch(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonForced}); !issue.Token.Equal(current.Token) {
			t.Error("the token in force was not brought")
		}
	})
}

// forcesUsedUp returns a sandbox without a forced refresh left for the day.
func forcesUsedUp(t *testing.T) (*wechattest.Server, *wechat.Source, coordinator.FetchResult) {
	t.Helper()
	knobs := wechattest.DefaultKnobs()
	knobs.ForceDaily = 1
	sandbox := wechattest.New(wechattest.Config{Knobs: &knobs})
	s := source(t, sandbox, wechat.Stable)
	current := fetch(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonForced})
	sandbox.Advance(time.Minute)
	return sandbox, s, current
}

// The token was issued, and the one before is dying.
func TestATokenOfANegativeLifeIsUsedWithCare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sandbox := wechattest.New(wechattest.Config{})
		defer sandbox.Close()
		inject(t, sandbox, wechattest.Fault{Kind: wechattest.FaultNegativeExpires})
		issue := fetch(t, source(t, sandbox, wechat.Classic), coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
		if issue.Token.IsZero() || issue.Lifetime != 10*time.Minute || issue.Doubt == "" {
			t.Errorf("Fetch = life %v, doubt %q", issue.Lifetime, issue.Doubt)
		}
	})
}

func TestEveryFaultIsTakenForWhatItIs(t *testing.T) {
	const (
		busy    = coordinator.FailedBusy
		unknown = coordinator.FailedUnknown
	)
	for _, tt := range []struct {
		fault wechattest.Fault
		kind  coordinator.FailureKind
		calls int
	}{
		{wechattest.Fault{Kind: wechattest.FaultDial}, busy, 0},
		{wechattest.Fault{Kind: wechattest.FaultReset}, unknown, 2},
		{wechattest.Fault{Kind: wechattest.FaultReset, Phase: wechattest.Before}, unknown, 2},
		{wechattest.Fault{Kind: wechattest.FaultHang}, unknown, 1},
		{wechattest.Fault{Kind: wechattest.FaultSlow, Delay: wechattest.Seconds(time.Minute)}, unknown, 1},
		{wechattest.Fault{Kind: wechattest.FaultTruncated}, unknown, 2},
		{wechattest.Fault{Kind: wechattest.FaultErrcode, Code: -1}, busy, 1},
		{wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 12345}, busy, 1},
		{wechattest.Fault{Kind: wechattest.FaultStatus, Status: 301}, busy, 1},
		{wechattest.Fault{Kind: wechattest.FaultStatus, Status: 404}, busy, 1},
		{wechattest.Fault{Kind: wechattest.FaultStatus, Status: 412}, busy, 1},
		{wechattest.Fault{Kind: wechattest.FaultStatus, Status: 429}, coordinator.FailedLater, 1},
		{wechattest.Fault{Kind: wechattest.FaultStatus, Status: 204}, unknown, 1},
		{wechattest.Fault{Kind: wechattest.FaultStatus, Status: 408}, unknown, 1},
		{wechattest.Fault{Kind: wechattest.FaultStatus, Status: 500}, unknown, 1},
		{wechattest.Fault{Kind: wechattest.FaultStatus, Status: 503, Phase: wechattest.After}, unknown, 1},
		{wechattest.Fault{Kind: wechattest.FaultHTML}, unknown, 1},
		{wechattest.Fault{Kind: wechattest.FaultHTML, Status: 502}, unknown, 1},
		{wechattest.Fault{Kind: wechattest.FaultEmpty}, unknown, 1},
		{wechattest.Fault{Kind: wechattest.FaultNull}, unknown, 1},
		{wechattest.Fault{Kind: wechattest.FaultArray}, unknown, 1},
		{wechattest.Fault{Kind: wechattest.FaultCut}, unknown, 1},
		{wechattest.Fault{Kind: wechattest.FaultNoToken}, unknown, 1},
		{wechattest.Fault{Kind: wechattest.FaultOversize}, unknown, 1},
		{wechattest.Fault{Kind: wechattest.FaultBody, Body: `{"errcode":-1}`, Status: 502}, unknown, 1},
		{wechattest.Fault{Kind: wechattest.FaultBody, Body: `{"errcode":40013}`, Status: 408}, unknown, 1},
		{wechattest.Fault{Kind: wechattest.FaultBody, Body: `{"errcode":-1}`, Status: 400}, busy, 1},
	} {
		name := fmt.Sprintf("%s %s %d %s", tt.fault.Kind, tt.fault.Phase, tt.fault.Status, tt.fault.Body)
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sandbox := wechattest.New(wechattest.Config{})
				defer sandbox.Close()
				s := source(t, sandbox, wechat.Classic)
				current := fetch(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
				inject(t, sandbox, tt.fault)
				failure := failing(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonSchedule, Current: current.Token})
				if failure.Kind != tt.kind || failure.Calls != tt.calls {
					t.Errorf("failure = %s, %d calls (%v), want %s, %d", failure.Kind, failure.Calls, failure, tt.kind, tt.calls)
				}
				if got := len(sandbox.Calls()) - 1; got != tt.calls {
					t.Errorf("the sandbox saw %d calls, want %d", got, tt.calls)
				}
			})
		})
	}
}

func TestEveryErrcodeIsClassified(t *testing.T) {
	for _, class := range wechat.Codes() {
		t.Run(fmt.Sprint(class.Code), func(t *testing.T) {
			sandbox := wechattest.New(wechattest.Config{})
			inject(t, sandbox, wechattest.Fault{Kind: wechattest.FaultErrcode, Code: class.Code})
			for _, kind := range []wechat.Kind{wechat.Classic, wechat.Stable} {
				failure := failing(t, source(t, sandbox, kind), coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
				if failure.Kind != class.Kind || failure.Code != coordinator.NumericCode(class.Code) || failure.Calls != 1 {
					t.Errorf("%s: failure = %+v, want %+v", kind, failure, class)
				}
				if !class.UntilMidnight && failure.RetryIn != class.RetryIn {
					t.Errorf("%s: RetryIn = %v, want %v", kind, failure.RetryIn, class.RetryIn)
				}
				if class.UntilMidnight && (failure.RetryIn <= 0 || failure.RetryIn > 24*time.Hour) {
					t.Errorf("%s: RetryIn = %v", kind, failure.RetryIn)
				}
				var e *wechat.Error
				if !errors.As(failure, &e) || e.RID == "" {
					t.Errorf("%s: no *wechat.Error with a rid in %v", kind, failure)
				}
				if class.Kind == coordinator.FailedRefused && class.Hint == "" {
					t.Error("a refusal for good says nothing about what to do")
				}
			}
		})
	}
}

// Another host need not wait for what only this one is refused.
func TestACodeThatIsAboutTheAddressIsMarked(t *testing.T) {
	for name, codes := range map[string][]wechat.Class{
		"tokens": wechat.Codes(), "tickets": wechat.TicketCodes(), "components": wechat.ComponentCodes(), "authorizers": wechat.AuthorizerCodes(),
	} {
		marked := 0
		for _, class := range codes {
			if about := strings.Contains(class.Meaning, "this address"); class.Here != about || about && class.Kind != coordinator.FailedRefused {
				t.Errorf("%s: %d, %q: marked %v, %s", name, class.Code, class.Meaning, class.Here, class.Kind)
			}
			if class.Here {
				marked++
			}
		}
		if marked == 0 {
			t.Errorf("%s: no code is about the address", name)
		}
	}
}

func TestTheSandboxIsRefusedForWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*wechattest.Server) error
		code int
	}{
		{"secret", func(s *wechattest.Server) error { _, err := s.RotateSecret(appID); return err }, 40125},
		{"frozen", func(s *wechattest.Server) error { return s.Freeze(appID) }, 40243},
		{"banned", func(s *wechattest.Server) error { return s.Ban(appID, 50007) }, 50007},
		{"whitelist", func(s *wechattest.Server) error { return s.SetWhitelist(appID, []string{"10.0.0.0/8"}) }, 40164},
		{"risk", func(s *wechattest.Server) error { return s.SetRisk(appID, "127.0.0.1", 89507) }, 89507},
		{"quota", func(s *wechattest.Server) error {
			return s.Tune(func(k *wechattest.Knobs) { k.DailyToken, k.DailyStable = 0, 0 })
		}, 45009},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sandbox := wechattest.New(wechattest.Config{})
			if err := tt.do(sandbox); err != nil {
				t.Fatal(err)
			}
			for _, kind := range []wechat.Kind{wechat.Classic, wechat.Stable} {
				failure := failing(t, source(t, sandbox, kind), coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
				if failure.Code != coordinator.NumericCode(tt.code) {
					t.Errorf("%s: code %s, want %d", kind, failure.Code, tt.code)
				}
				if here := tt.code == 40164 || tt.code == 89507; failure.Here != here {
					t.Errorf("%s: it is the address that is refused: %v, want %v", kind, failure.Here, here)
				}
				if address, ok := wechat.SeenAddress(failure); ok != (tt.code == 40164) || ok && address != "127.0.0.1" {
					t.Errorf("%s: SeenAddress = %q, %v", kind, address, ok)
				}
			}
		})
	}
}

func TestABrokenCallIsRepeatedOnce(t *testing.T) {
	for _, kind := range []wechat.Kind{wechat.Classic, wechat.Stable} {
		t.Run(string(kind), func(t *testing.T) {
			sandbox := wechattest.New(wechattest.Config{})
			inject(t, sandbox, wechattest.Fault{Kind: wechattest.FaultReset, Times: 1})
			issue := fetch(t, source(t, sandbox, kind), coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
			if issue.Calls != 2 {
				t.Errorf("Calls = %d, want 2", issue.Calls)
			}
			if last, _ := sandbox.LastIssued(appID); last.Token != issue.Token.Reveal() {
				t.Error("the token is not the one issued last")
			}
			wantHost := map[wechat.Kind]string{wechat.Classic: "api.weixin.qq.com", wechat.Stable: "api2.weixin.qq.com"}[kind]
			if calls := sandbox.Calls(); calls[1].Host != wantHost {
				t.Errorf("repeated on %s, want %s", calls[1].Host, wantHost)
			}
		})
	}
}

func TestWhatFollowsABrokenCallDoesNotHideIt(t *testing.T) {
	for _, tt := range []struct {
		code int
		kind coordinator.FailureKind
	}{
		{-1, coordinator.FailedUnknown},
		{45009, coordinator.FailedUnknown},
		{40125, coordinator.FailedRefused},
	} {
		sandbox := wechattest.New(wechattest.Config{})
		inject(t, sandbox,
			wechattest.Fault{Kind: wechattest.FaultReset, Times: 1},
			wechattest.Fault{Kind: wechattest.FaultErrcode, Code: tt.code, Skip: 1},
		)
		failure := failing(t, source(t, sandbox, wechat.Classic), coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
		if failure.Kind != tt.kind || failure.Code != coordinator.NumericCode(tt.code) || failure.Calls != 2 {
			t.Errorf("a reset, then %d: %+v, want %s after 2 calls", tt.code, failure, tt.kind)
		}
	}
}

func TestAnotherHostIsAskedOnlyWhereThatIsSafe(t *testing.T) {
	const main = "api.weixin.qq.com"
	t.Run("no connection", func(t *testing.T) {
		sandbox := wechattest.New(wechattest.Config{})
		sandbox.TakeDown(main)
		for _, kind := range []wechat.Kind{wechat.Classic, wechat.Stable} {
			if issue := fetch(t, source(t, sandbox, kind), coordinator.FetchRequest{}); issue.Calls != 1 {
				t.Errorf("%s: Calls = %d, want 1", kind, issue.Calls)
			}
		}
	})
	t.Run("a classic call broke and the host is gone", func(t *testing.T) {
		sandbox := wechattest.New(wechattest.Config{})
		inject(t, sandbox,
			wechattest.Fault{Kind: wechattest.FaultReset, Times: 1},
			wechattest.Fault{Kind: wechattest.FaultDial, Host: main, Skip: 1},
		)
		failure := failing(t, source(t, sandbox, wechat.Classic), coordinator.FetchRequest{})
		if failure.Kind != coordinator.FailedUnknown || failure.Calls != 1 {
			t.Errorf("failure = %+v, want unknown after 1 call", failure)
		}
	})
	t.Run("a stable call timed out", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			sandbox := wechattest.New(wechattest.Config{})
			inject(t, sandbox, wechattest.Fault{Kind: wechattest.FaultHang, Host: main})
			if issue := fetch(t, source(t, sandbox, wechat.Stable), coordinator.FetchRequest{}); issue.Calls != 2 {
				t.Errorf("Calls = %d, want 2", issue.Calls)
			}
		})
	})
	t.Run("an errcode", func(t *testing.T) {
		sandbox := wechattest.New(wechattest.Config{})
		inject(t, sandbox, wechattest.Fault{Kind: wechattest.FaultErrcode, Code: -1, Host: main})
		for _, kind := range []wechat.Kind{wechat.Classic, wechat.Stable} {
			_ = failing(t, source(t, sandbox, kind), coordinator.FetchRequest{})
		}
	})
}

func TestNothingIsRepeatedOnceTheContextHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sandbox := wechattest.New(wechattest.Config{})
		inject(t, sandbox, wechattest.Fault{Kind: wechattest.FaultHang})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, kind := range []wechat.Kind{wechat.Classic, wechat.Stable} {
			failure := failingUnder(ctx, t, source(t, sandbox, kind), coordinator.FetchRequest{})
			if !errors.Is(failure, context.DeadlineExceeded) {
				t.Errorf("%s: %v does not wrap the deadline", kind, failure)
			}
		}
		// The second source came with a dead context: nothing was sent.
		if n := len(sandbox.Calls()); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
	})
}
