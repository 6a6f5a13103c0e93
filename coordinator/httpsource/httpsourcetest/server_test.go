package httpsourcetest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource/httpsourcetest"
)

// play runs a test with the simulator of a preset whose knobs are changed.
func play(t *testing.T, preset string, change func(k *httpsourcetest.Knobs), test func(t *testing.T, s *httpsourcetest.Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		wire, ok := httpsourcetest.WireOf(preset)
		if !ok {
			t.Fatalf("no wire for %s", preset)
		}
		s := httpsourcetest.New(httpsourcetest.Config{Wire: wire})
		s.Tune(change)
		test(t, s)
	})
}

// send sends a request as text and returns the status and the body of the answer.
func send(t *testing.T, s *httpsourcetest.Server, method, url, body string) (int, string) {
	t.Helper()
	req := httptest.NewRequest(method, url, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.Transport().RoundTrip(req)
	if err != nil {
		return 0, err.Error()
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

const (
	feishuURL  = "https://open.feishu.cn/open-apis/auth/v3/tenant_access_token/internal"
	feishuBody = `{"app_id":"cli_9f5343c580712544","app_secret":"dskLLdkasdjlasdKK-feishu"}`
)

// fetch makes a good call to the simulator of feishu_tenant and returns the token.
func fetch(t *testing.T, s *httpsourcetest.Server) string {
	t.Helper()
	status, body := send(t, s, http.MethodPost, feishuURL, feishuBody)
	found := regexp.MustCompile(`"tenant_access_token":"([^"]+)"`).FindStringSubmatch(body)
	if status != http.StatusOK || found == nil {
		t.Fatalf("%d %s", status, body)
	}
	return found[1]
}

func TestWhatDiffersFromTheDocumentationIsAComplaint(t *testing.T) {
	for _, c := range []struct{ method, body, want string }{
		{http.MethodGet, feishuBody, "the method is GET, want POST"},
		{http.MethodPost, `{"app_id":"cli_9f5343c580712544"}`, "the body has no app_secret"},
		{http.MethodPost, `{"app_id":"cli_9f5343c580712544","app_secret":"dskLLdkasdjlasdKK-feishu","x":"1"}`, "the body has x, which is not documented"},
		{http.MethodPost, `{"app_id":17,"app_secret":"dskLLdkasdjlasdKK-feishu"}`, "body app_id must be a number if"},
		{http.MethodPost, `app_id=cli_9f5343c580712544`, "the body has no app_id"},
	} {
		play(t, "feishu_tenant", func(*httpsourcetest.Knobs) {}, func(t *testing.T, s *httpsourcetest.Server) {
			status, body := send(t, s, c.method, feishuURL, c.body)
			if status != http.StatusBadRequest || len(s.Complaints()) != 1 || !strings.Contains(s.Complaints()[0], c.want) {
				t.Errorf("%s %s: %d %s, complaints %v, want %s", c.method, c.body, status, body, s.Complaints(), c.want)
			}
		})
	}
}

func TestAWrongSecretIsRefusedWithoutAComplaint(t *testing.T) {
	play(t, "feishu_tenant", func(*httpsourcetest.Knobs) {}, func(t *testing.T, s *httpsourcetest.Server) {
		status, body := send(t, s, http.MethodPost, feishuURL, `{"app_id":"cli_9f5343c580712544","app_secret":"wrong"}`)
		if status != http.StatusOK || !strings.Contains(body, "10014") || len(s.Complaints()) != 0 || len(s.Issued()) != 0 {
			t.Errorf("%d %s, complaints %v", status, body, s.Complaints())
		}
	})
}

func TestACallDoesWhatTheKnobsSay(t *testing.T) {
	for name, c := range map[string]struct {
		knobs   httpsourcetest.Knobs
		after   time.Duration // from the first call to the second
		same    bool
		lives   bool          // the first token, after the second call
		survive time.Duration // how long after it the first token ends
	}{
		"same":                {httpsourcetest.Knobs{Repeat: coordinator.RepeatSame}, time.Hour, true, true, time.Hour},
		"same, extended":      {httpsourcetest.Knobs{Repeat: coordinator.RepeatSame, Extends: true}, time.Hour, true, true, 2 * time.Hour},
		"same, at its end":    {httpsourcetest.Knobs{Repeat: coordinator.RepeatSame}, 2 * time.Hour, false, false, 0},
		"same, rolled over":   {httpsourcetest.Knobs{Repeat: coordinator.RepeatSame, Rollover: 30 * time.Minute}, 91 * time.Minute, false, true, 29 * time.Minute},
		"keeps":               {httpsourcetest.Knobs{Repeat: coordinator.RepeatKeeps}, time.Hour, false, true, time.Hour},
		"keeps, one at most":  {httpsourcetest.Knobs{Repeat: coordinator.RepeatKeeps, Latest: 1}, time.Hour, false, false, 0},
		"kills":               {httpsourcetest.Knobs{Repeat: coordinator.RepeatKills}, time.Hour, false, false, 0},
		"kills after a while": {httpsourcetest.Knobs{Repeat: coordinator.RepeatKills, Overlap: 5 * time.Minute}, time.Hour, false, true, 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			c.knobs.Life = 2 * time.Hour
			play(t, "feishu_tenant", func(k *httpsourcetest.Knobs) { *k = c.knobs }, func(t *testing.T, s *httpsourcetest.Server) {
				first := fetch(t, s)
				time.Sleep(c.after)
				if second := fetch(t, s); (second == first) != c.same || !s.Valid(second) {
					t.Errorf("the second call brought the same token: %t", second == first)
				}
				if s.Valid(first) != c.lives {
					t.Errorf("the first token lives: %t", s.Valid(first))
				}
				time.Sleep(max(c.survive-time.Second, 0))
				if s.Valid(first) != c.lives {
					t.Error("the first token ended too early")
				}
				if time.Sleep(2 * time.Second); s.Valid(first) {
					t.Error("the first token outlived its end")
				}
			})
		})
	}
}

func TestTooManyCallsAreHeldBack(t *testing.T) {
	limit := func(k *httpsourcetest.Knobs) {
		k.Calls, k.Window, k.Limited = 2, time.Minute, httpsourcetest.Reply{Status: 200, Body: "<html>later</html>"}
	}
	play(t, "feishu_tenant", limit, func(t *testing.T, s *httpsourcetest.Server) {
		fetch(t, s)
		fetch(t, s)
		if status, body := send(t, s, http.MethodPost, feishuURL, feishuBody); status != 200 || body != "<html>later</html>" {
			t.Errorf("the third call: %d %s", status, body)
		}
		time.Sleep(time.Minute)
		fetch(t, s)
		if n := s.Calls(); n != 4 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestFaultsHappenOnceAndInOrder(t *testing.T) {
	play(t, "feishu_tenant", func(*httpsourcetest.Knobs) {}, func(t *testing.T, s *httpsourcetest.Server) {
		s.Inject(
			httpsourcetest.Fault{Reply: httpsourcetest.Reply{Status: 502, Body: "down"}},
			httpsourcetest.Fault{Cut: true, Issue: true},
			httpsourcetest.Fault{Transform: func(body string) string { return strings.ToUpper(body) }},
		)
		for n, want := range []string{"502 down, 0 issued", "0 read tcp: connection reset by peer, 1 issued", `200 {"CODE":0`} {
			status, body := send(t, s, http.MethodPost, feishuURL, feishuBody)
			if got := fmt.Sprintf("%d %s, %d issued", status, body, len(s.Issued())); !strings.HasPrefix(got, want) {
				t.Errorf("call %d: %s, want %s", n+1, got, want)
			}
		}
		fetch(t, s)
	})
}

func TestATimeThatIsFarOffIsRefused(t *testing.T) {
	play(t, "vivo_push", func(*httpsourcetest.Knobs) {}, func(t *testing.T, s *httpsourcetest.Server) {
		old := fmt.Sprint(time.Now().Add(-11 * time.Minute).UnixMilli())
		body := `{"appId":"10004","appKey":"25509283-3767-4b9e-83fe-b6e55ac6243e","timestamp":` + old + `,"sign":"x"}`
		status, answer := send(t, s, http.MethodPost, "https://api-push.vivo.com.cn/message/auth", body)
		if status != 200 || !strings.Contains(answer, "10206") || len(s.Complaints()) != 0 {
			t.Errorf("%d %s, complaints %v", status, answer, s.Complaints())
		}
	})
}
