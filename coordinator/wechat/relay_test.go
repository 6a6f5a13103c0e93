package wechat_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// relayed returns what relays do to answers, one by one and together.
func relayed() [][]wechattest.Recoding {
	around := []wechattest.Recoding{wechattest.RecodeTrailing, wechattest.RecodeBlanks, wechattest.RecodeBOM}
	together := [][]wechattest.Recoding{
		append(around, wechattest.RecodeOK, wechattest.RecodeQuoted, wechattest.RecodeMessage),
		append(around, wechattest.RecodeOK, wechattest.RecodeFraction, wechattest.RecodeQuoted, wechattest.RecodeDuplicates),
		append(around, wechattest.RecodeNulls, wechattest.RecodeExponent, wechattest.RecodeQuoted, wechattest.RecodeGzip),
	}
	for _, one := range []wechattest.Recoding{
		wechattest.RecodeOK, wechattest.RecodeSuccess, wechattest.RecodeNulls, wechattest.RecodeMessage, wechattest.RecodeFraction,
		wechattest.RecodeExponent, wechattest.RecodeQuoted, wechattest.RecodeDuplicates, wechattest.RecodeTrailing, wechattest.RecodeLeading,
		wechattest.RecodeBlanks, wechattest.RecodeBOM, wechattest.RecodeGzip, wechattest.RecodeUnzipped,
	} {
		together = append(together, []wechattest.Recoding{one})
	}
	return together
}

func behindRelay(recodings []wechattest.Recoding) *wechattest.Server {
	knobs := wechattest.DefaultKnobs()
	knobs.Relay = recodings
	knobs.ContentType = "text/plain"
	knobs.TokenLength = 512
	return wechattest.New(wechattest.Config{Knobs: &knobs})
}

func TestATokenIsTakenHoweverARelayWritesIt(t *testing.T) {
	for _, recodings := range relayed() {
		t.Run(fmt.Sprint(recodings), func(t *testing.T) {
			sandbox := behindRelay(recodings)
			base := sandbox.Start(t)
			for _, kind := range []wechat.Kind{wechat.Classic, wechat.Stable} {
				overSocket, err := wechat.Config{AppID: appID, Secret: secret, Kind: kind, BaseURL: base}.Source()
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range []*wechat.Source{source(t, sandbox, kind), overSocket} {
					issue := fetch(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonForced})
					last, _ := sandbox.LastIssued(appID)
					if issue.Token.Reveal() != last.Token || issue.Lifetime.Seconds() < 7100 || issue.Lifetime.Seconds() > 7200 || issue.Calls != 1 {
						t.Errorf("%s: the token issued last: %v; life %v, %d calls", kind, issue.Token.Reveal() == last.Token, issue.Lifetime, issue.Calls)
					}
				}
			}
		})
	}
}

func TestARefusalIsARefusalHoweverARelayWritesIt(t *testing.T) {
	for _, recodings := range relayed() {
		t.Run(fmt.Sprint(recodings), func(t *testing.T) {
			sandbox := behindRelay(recodings)
			inject(t, sandbox, wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 40125})
			for _, kind := range []wechat.Kind{wechat.Classic, wechat.Stable} {
				failure := failing(t, source(t, sandbox, kind), coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
				if failure.Kind != coordinator.FailedRefused || failure.Code != "40125" {
					t.Errorf("%s: %+v", kind, failure)
				}
			}
		})
	}
}

// A relay that repeats an errcode next to a token says two things. Which of
// them counts depends on whether the token is news.
func TestATokenBesideAnErrcodeIsTakenIfItIsNews(t *testing.T) {
	for _, kind := range []wechat.Kind{wechat.Classic, wechat.Stable} {
		sandbox := wechattest.New(wechattest.Config{})
		s := source(t, sandbox, kind)
		inject(t, sandbox, wechattest.Fault{Kind: wechattest.FaultBoth, Code: 45009, Message: "reach max api daily quota limit"})
		issue := fetch(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
		if last, _ := sandbox.LastIssued(appID); issue.Token.Reveal() != last.Token {
			t.Errorf("%s: it is not the token that was issued", kind)
		}
		sandbox.Clear()
		inject(t, sandbox, wechattest.Fault{
			Kind: wechattest.FaultBody, Body: fmt.Sprintf(`{"errcode":45009,"access_token":%q,"expires_in":7200}`, issue.Token.Reveal()),
		})
		failure := failing(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonSchedule, Current: issue.Token})
		if failure.Kind != coordinator.FailedLater || failure.Code != "45009" {
			t.Errorf("%s: the token that we hold, and 45009: %+v", kind, failure)
		}
	}
}

func TestATokenIsTakenWhateverTheStatus(t *testing.T) {
	for _, status := range []int{201, 203, 302, 401, 429, 500, 502} {
		sandbox := wechattest.New(wechattest.Config{})
		inject(t, sandbox, wechattest.Fault{Kind: wechattest.FaultBody, Status: status, Body: `{"access_token":"90_x","expires_in":7200}`})
		if issue := fetch(t, source(t, sandbox, wechat.Classic), coordinator.FetchRequest{}); issue.Token.Reveal() != "90_x" {
			t.Errorf("%d: another token", status)
		}
	}
}

func TestATokenThatCameBeforeTheConnectionBrokeIsTaken(t *testing.T) {
	sandbox := wechattest.New(wechattest.Config{})
	whole := `{"access_token":"90_x","expires_in":7200}`
	inject(t, sandbox, wechattest.Fault{Kind: wechattest.FaultBody, Body: whole + strings.Repeat(" ", len(whole))}, wechattest.Fault{Kind: wechattest.FaultTruncated})
	if issue := fetch(t, source(t, sandbox, wechat.Classic), coordinator.FetchRequest{}); issue.Calls != 1 {
		t.Errorf("%d calls", issue.Calls)
	}
}

func TestTransportAndProbeUnderstandARelay(t *testing.T) {
	for _, recodings := range relayed() {
		if slices.Contains(recodings, wechattest.RecodeSuccess) {
			continue // the relay's own code is no token's
		}
		t.Run(fmt.Sprint(recodings), func(t *testing.T) {
			sandbox := behindRelay(recodings)
			s := source(t, sandbox, wechat.Classic)
			prober := wechat.Prober{Transport: sandbox.Transport()}
			a := &account{source: s, token: fetch(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonMissing}).Token}
			if err := prober.Probe(t.Context(), a.token); (err != nil) != slices.Contains(recodings, wechattest.RecodeLeading) {
				t.Errorf("the probe of a live token: %v", err)
			}
			kill(t, sandbox)
			if err := prober.Probe(t.Context(), a.token); !wechat.Rejected(err) {
				t.Errorf("the probe of a dead token: %v", err)
			}
			client := &http.Client{Transport: &wechat.Transport{Account: a, Base: sandbox.Transport()}}
			call(t, client, request(t, http.MethodGet, apiBase+"/cgi-bin/user/get", nil))
			want := 1
			if slices.Contains(recodings, wechattest.RecodeLeading) {
				want = 0 // an answer that begins like a page is passed on as it is
			}
			if len(a.reports) != want {
				t.Errorf("%d reports of the dead token, want %d", len(a.reports), want)
			}
		})
	}
}
