package wecomtest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

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
