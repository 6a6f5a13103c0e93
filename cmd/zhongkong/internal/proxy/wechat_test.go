package proxy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logtest"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

const users = "/cgi-bin/user/get"

// inBubble runs a test with one server on virtual time. call makes a business
// call with what an SDK sends.
func inBubble(t *testing.T, test func(t *testing.T, s *stage, sandbox *wechattest.Server, account *coordinator.Account)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sandbox := wechattest.New(wechattest.Config{Seed: 1})
		t.Cleanup(sandbox.Close)
		logged := &logtest.Buffer{}
		account := running(t, memstore.New(), "a", sandbox, slog.New(slog.NewTextHandler(logged, nil)))
		s := newStage(t, weChatRoute(t, ""), account, func(c *Config) { c.Base = sandbox.Transport() })
		s.ofCoordinator = logged
		test(t, s, sandbox, account)
	})
}

// callWith makes a call through a handler, without a socket.
func callWith(h http.Handler, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, target, strings.NewReader(body))
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

func mustToken(t *testing.T, a *coordinator.Account) coordinator.Token {
	t.Helper()
	token, err := a.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestACallGoesOnWithATokenThatDied(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stage, sandbox *wechattest.Server, account *coordinator.Account) {
		held := mustToken(t, account) // what the SDK keeps
		s.cfg.Tokens.Given(appID, "sdk", held)
		target := "/proxy/wx" + users + "?access_token=" + held.Reveal() + "&next_openid="
		try := func(when string) {
			t.Helper()
			if w := callWith(s, "GET", target, ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"total":2`) {
				t.Fatalf("%s: %d %s", when, w.Code, w.Body)
			}
		}
		try("at first")
		if _, err := account.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5*time.Minute + time.Second)
		try("after a forced refresh whose overlap is over")
		sandbox.KillEarly(appID, wechattest.ClassicChain)
		try("after a token that an outsider killed")
		if w := callWith(s, "POST", "/proxy/wx/cgi-bin/message/custom/send?access_token="+held.Reveal(), `{"touser":"x"}`); !strings.Contains(w.Body.String(), `"errcode":0`) {
			t.Errorf("a post: %s", w.Body)
		}
		got := s.Stats()[0]
		if got.Calls != 4 || got.Rejected != 1 || got.Repeated != 1 || got.Cured != 1 || s.slots.InUse() != 0 {
			t.Errorf("Stats() = %+v", got)
		}
		if strings.Contains(s.logged.String(), held.Reveal()) || strings.Contains(s.logged.String(), "access_token") {
			t.Error("the log shows a token")
		}
	})
}

func TestAFormerTokenOpensTheRouteAsLongAsItMayBeHeld(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stage, _ *wechattest.Server, account *coordinator.Account) {
		held := mustToken(t, account)
		s.cfg.Tokens.Given(appID, "sdk", held)
		target := "/proxy/wx" + users + "?access_token=" + held.Reveal()
		for range 3 {
			time.Sleep(time.Hour)
			s.cfg.Tokens.Seen(appID, mustToken(t, account))
			if w := callWith(s, "GET", target, ""); !strings.Contains(w.Body.String(), `"total":2`) {
				t.Fatalf("%v: %s", time.Now(), w.Body)
			}
		}
		time.Sleep(3 * time.Hour)
		if w := callWith(s, "GET", target, ""); !strings.Contains(w.Body.String(), "40001") {
			t.Errorf("after six hours: %s", w.Body)
		}
	})
}

func TestAHundredCallsWithOneDeadTokenThroughTwoServersCauseOneRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sandbox := wechattest.New(wechattest.Config{Seed: 1})
		t.Cleanup(sandbox.Close)
		store := memstore.New()
		var servers []*stage
		var accounts []*coordinator.Account
		for _, name := range []string{"a", "b"} {
			account := running(t, store, name, sandbox, nil)
			accounts = append(accounts, account)
			servers = append(servers, newStage(t, weChatRoute(t, ""), account, func(c *Config) { c.Base = sandbox.Transport() }))
		}
		dead := mustToken(t, accounts[0])
		mustToken(t, accounts[1])
		sandbox.KillEarly(appID, wechattest.ClassicChain)
		before := len(sandbox.Issued())
		var failures atomic.Int32
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				w := callWith(servers[i%2], "GET", "/proxy/wx"+users, "", "Authorization: "+basic)
				if !strings.Contains(w.Body.String(), `"total":2`) {
					failures.Add(1)
					t.Log(w.Body.String())
				}
			})
		}
		all.Wait()
		if n := len(sandbox.Issued()) - before; n != 1 || failures.Load() != 0 {
			t.Errorf("%d refreshes and %d failures, want 1 and 0", n, failures.Load())
		}
		if mustToken(t, accounts[1]).Equal(dead) {
			t.Error("the dead token is still current")
		}
	})
}

func TestCallersAreServedWhileAnOutsiderFetchesEveryMinute(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stage, sandbox *wechattest.Server, account *coordinator.Account) {
		held := mustToken(t, account)
		s.cfg.Tokens.Given(appID, "sdk", held)
		served, failed, start := 0, 0, len(sandbox.Issued())
		for range 60 {
			if _, err := sandbox.Rogue(appID, wechattest.ClassicChain); err != nil {
				t.Fatal(err)
			}
			for range 6 {
				w := callWith(s, "GET", "/proxy/wx"+users+"?access_token="+held.Reveal(), "")
				if strings.Contains(w.Body.String(), `"total":2`) {
					served++
				} else {
					failed++
				}
				time.Sleep(10 * time.Second)
			}
		}
		ours := len(sandbox.Issued()) - start - 60
		t.Logf("%d served, %d failed, %d refreshes of ours in an hour", served, failed, ours)
		if failed > 0 || ours > 60 {
			t.Errorf("%d of %d calls failed, %d refreshes", failed, served+failed, ours)
		}
		state := account.Status()
		if state.CallsToday != ours+1 || state.CallsToday > state.Limits.PerDay-state.Limits.Reserve {
			t.Errorf("%d calls of ours are counted, want %d, within the budget of %d", state.CallsToday, ours+1, state.Limits.PerDay)
		}
		if state.Conflicts == 0 || !strings.Contains(s.ofCoordinator.String(), "CONFLICT") {
			t.Errorf("the conflict is not said: %d in the state", state.Conflicts)
		}
	})
}

func TestOutagesAreSaidInWeChatsShape(t *testing.T) {
	empty := failingAccount{coordinator.ErrUnreachable}
	s := newStage(t, weChatRoute(t, "http://127.0.0.1:1"), empty, nil)
	if w := callWith(s, "GET", "/proxy/wx"+users, "", "Authorization: "+basic); w.Code != 200 || !strings.Contains(w.Body.String(), `"errcode":-1`) ||
		!strings.Contains(w.Body.String(), "Redis") || w.Header().Get("Retry-After") == "" {
		t.Errorf("without a token: %d %s", w.Code, w.Body)
	}
	s = newStage(t, weChatRoute(t, "http://127.0.0.1:1"), &fixed{}, nil)
	if w := callWith(s, "GET", "/proxy/wx"+users, "", "Authorization: "+basic); w.Code != 200 || !strings.Contains(w.Body.String(), `"errcode":-1`) {
		t.Errorf("an upstream that cannot be reached: %d %s", w.Code, w.Body)
	}
	sandbox := wechattest.New(wechattest.Config{})
	t.Cleanup(sandbox.Close)
	s = newStage(t, weChatRoute(t, ""), &fixed{}, func(c *Config) { c.Base = sandbox.Transport() })
	if _, err := sandbox.Inject(wechattest.Fault{Kind: wechattest.FaultReset, Path: users}); err != nil {
		t.Fatal(err)
	}
	// The call may have been carried out: -1 would have SDKs repeat it.
	if w := callWith(s, "GET", "/proxy/wx"+users, "", "Authorization: "+basic); w.Code != 502 || strings.Contains(w.Body.String(), "errcode") {
		t.Errorf("an upstream that breaks: %d %s", w.Code, w.Body)
	}
}

type failingAccount struct{ err error }

func (f failingAccount) Token(context.Context) (coordinator.Token, error) {
	return coordinator.Token{}, fmt.Errorf("load: %w", f.err)
}

func (f failingAccount) Peek() (coordinator.Snapshot, bool) { return coordinator.Snapshot{}, false }

func (f failingAccount) Invalidate(context.Context, coordinator.Token) (coordinator.Snapshot, error) {
	return coordinator.Snapshot{}, f.err
}

func TestTheRouteAnswersForTokens(t *testing.T) {
	var asked []string
	s := newStage(t, weChatRoute(t, "http://127.0.0.1:1"), &fixed{}, func(c *Config) {
		c.TokenEndpoint = func(w http.ResponseWriter, r *http.Request, account string) {
			asked = append(asked, r.Method+" "+r.URL.Path+"?"+r.URL.RawQuery+" of "+account)
			w.WriteHeader(http.StatusOK)
		}
	})
	own := s.Route("wx")
	for _, path := range []string{"/cgi-bin/token", "//cgi-bin/token", "/cgi-bin//token", "/CGI-BIN/Token", "/cgi-bin%2Ftoken", "/cgi%2dbin/token"} {
		callWith(s, "GET", "/proxy/wx"+path+"?appid=a&secret=sdk~k", "")
		callWith(own, "GET", path+"?appid=a&secret=sdk~k", "")
	}
	if len(asked) != 12 {
		t.Errorf("%d questions were answered, want 12", len(asked))
	}
	for _, a := range asked {
		if a != "GET /cgi-bin/token?appid=a&secret=sdk~k of "+appID {
			t.Errorf("asked %q", a)
		}
	}
	if s.Stats()[0].TokenAsked != 12 {
		t.Errorf("Stats() = %+v", s.Stats()[0])
	}
}

// TestARouteHasTheErrcodesOfItsAPI: to know a rejected token, and to refuse one.
func TestARouteHasTheErrcodesOfItsAPI(t *testing.T) {
	account := &fixed{}
	upstream := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("suite_access_token") != "T0KEN-of-the-account-1" {
			_, _ = io.WriteString(w, `{"errcode":42009,"errmsg":"suite_access_token expired"}`)
		}
	}))
	route := routeTo(t, upstream, "query suite_access_token")
	route.RejectsToken, route.UnknownToken = func(code int) bool { return code == 42009 }, 40082
	s := newStage(t, route, account, nil)
	if w := callWith(s, "GET", "/proxy/crm/x", "", "Authorization: "+basic); w.Body.String() != "" || account.reports != 1 {
		t.Errorf("%s, %d reports", w.Body, account.reports)
	}
	if w := callWith(s, "GET", "/proxy/crm/x?suite_access_token=unknown", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"errcode":40082`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := callWith(s, "POST", "/proxy/crm/cgi-bin/component/api_component_token", "{}", "Authorization: "+basic); w.Code != 404 && !strings.Contains(w.Body.String(), "40066") {
		t.Errorf("a question for a token is passed on: %d %s", w.Code, w.Body)
	}
}

// Each of many calls that WeChat refuses whatever their token is would cost a refresh,
// until the day's calls are used up.
func TestARejectionThatANewTokenDoesNotCureIsNotReportedForAWhile(t *testing.T) {
	for _, body := range []string{"", strings.Repeat("x", maxRepeatable+1)} {
		synctest.Test(t, func(t *testing.T) {
			account := &fixed{}
			s := newStage(t, weChatRoute(t, ""), account, func(c *Config) {
				c.Base = saying(func(*http.Request) string { return `{"errcode":40001}` })
			})
			calls := func(n int) {
				var all sync.WaitGroup
				for range n {
					all.Go(func() {
						if w := callWith(s, "POST", "/proxy/wx"+users, body, "Authorization: "+basic); !strings.Contains(w.Body.String(), "40001") {
							t.Errorf("%d %s", w.Code, w.Body)
						}
					})
				}
				all.Wait()
			}
			for range 20 {
				calls(1)
			}
			if account.reports != 1 {
				t.Errorf("%d bytes: %d reports, want 1", len(body), account.reports)
			}
			time.Sleep(shortestQuiet)
			calls(6) // of one moment make one time
			time.Sleep(2 * shortestQuiet)
			before := account.reports
			if calls(1); account.reports != before+1 {
				t.Errorf("%d bytes: %d reports after the second time, want 1", len(body), account.reports-before)
			}
		})
	}
}

// saying is an upstream of WeChat's errors.
func saying(answer func(*http.Request) string) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		return &http.Response{StatusCode: 200, ProtoMajor: 1, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(answer(r))), ContentLength: -1, Request: r}, nil
	}
}

// A token that was replaced while a call was under way costs no refresh.
func TestACallIsRepeatedInAQuietTimeIfTheTokenWasReplacedMeanwhile(t *testing.T) {
	account := &fixed{}
	s := newStage(t, weChatRoute(t, ""), account, func(c *Config) {
		c.Base = saying(func(r *http.Request) string {
			if strings.HasSuffix(r.URL.Query().Get("access_token"), "-0") {
				account.mu.Lock()
				account.n = 1
				account.mu.Unlock()
				return `{"errcode":40001}`
			}
			return `{"errcode":0}`
		})
	})
	s.routes["wx"].quiets[rejected].begin()
	if w := callWith(s, "GET", "/proxy/wx"+users, "", "Authorization: "+basic); !strings.Contains(w.Body.String(), `"errcode":0`) || account.reports != 0 {
		t.Errorf("%s, %d reports", w.Body, account.reports)
	}
}

// WeChat may have rejected the token that the client put into the call by itself.
func TestARejectionIsNotReportedIfTheCallHasATokenOfTheClients(t *testing.T) {
	for _, c := range []struct {
		put, query string
		reports    int
	}{
		{"access_token", "component_access_token=junk", 0},
		{"access_token", "component%5Faccess_token=junk", 0},
		{"access_token", "suite_access_token=junk", 0},
		{"access_token", "provider_access_token=junk", 0},
		{"access_token", "component_access_token=&access_token=junk", 1},
		{"component_access_token", "component_access_token=junk", 1},
		{"suite_access_token", "access_token=junk", 0},
	} {
		account := &fixed{}
		route := weChatRoute(t, "")
		route.Put.name = c.put
		s := newStage(t, route, account, func(cfg *Config) {
			cfg.Base = saying(func(*http.Request) string { return `{"errcode":40001}` })
		})
		callWith(s, "GET", "/proxy/wx/sns/component/jscode2session?"+c.query, "", "Authorization: "+basic)
		if account.reports != c.reports {
			t.Errorf("%s in the place %s: %d reports, want %d", c.query, c.put, account.reports, c.reports)
		}
	}
}

// waiting is an account whose token does not come.
type waiting struct{ failingAccount }

func (waiting) Token(ctx context.Context) (coordinator.Token, error) {
	<-ctx.Done()
	return coordinator.Token{}, ctx.Err()
}

func TestAnSDKDoesNotWaitLongForAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, weChatRoute(t, "http://127.0.0.1:1"), waiting{}, nil)
		began := time.Now()
		w := callWith(s, "GET", "/proxy/wx"+users, "", "Authorization: "+basic)
		if took := time.Since(began); took != tokenWithin || !strings.Contains(w.Body.String(), `"errcode":-1`) {
			t.Errorf("after %v: %s", took, w.Body)
		}
	})
}

func TestAnUpstreamThatDoesNotAnswerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := transport()
		silent.DialContext = func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, theirs) }() // ends when ours is closed
			return ours, nil
		}
		s := newStage(t, weChatRoute(t, "http://api.test"), &fixed{}, func(c *Config) { c.Base = silent })
		began := time.Now()
		w := callWith(s, "POST", "/proxy/wx"+users, "{}", "Authorization: "+basic)
		// The call may have been carried out: an errcode of -1 would have SDKs repeat it.
		if took := time.Since(began); took != answerWithin || w.Code != http.StatusGatewayTimeout || strings.Contains(w.Body.String(), "errcode") {
			t.Errorf("after %v: %d %s", took, w.Code, w.Body)
		}
		if got := s.Stats()[0]; got.Failed != 1 || s.slots.InUse() != 0 {
			t.Errorf("%d under way, %+v", s.slots.InUse(), got)
		}
	})
}

// TestAnAnswerThatStallsIsEnded: one that is passed on, and one that is still looked at for
// an errcode; of a caller with a name, and of one that a token proved.
func TestAnAnswerThatStallsIsEnded(t *testing.T) {
	account := &fixed{}
	for _, c := range []struct{ kind, begin, passed, query, authorization string }{
		{"image/png", "begun", "begun", "", basic},
		{"application/json", `{"errcode"`, `{"errcode"`, "", basic},
		{"application/json", `{"errcode"`, `{"errcode"`, "?access_token=" + account.text(), ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			reader, writer := io.Pipe()
			stalling := roundTripper(func(r *http.Request) (*http.Response, error) {
				time.Sleep(answerWithin / 2)
				context.AfterFunc(r.Context(), func() { _ = reader.CloseWithError(r.Context().Err()) }) // as a transport's
				return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {c.kind}}, Body: reader, ContentLength: -1, Request: r}, nil
			})
			s := newStage(t, weChatRoute(t, ""), account, func(c *Config) { c.Base = stalling })
			s.cfg.Tokens.Seen(appID, account.token())
			go func() {
				time.Sleep(time.Minute)
				_, _ = writer.Write([]byte(c.begin))
			}()
			began := time.Now()
			w := callWith(s, "GET", "/proxy/wx"+users+c.query, "", "Authorization: "+c.authorization)
			last := answerWithin / 2 // an errcode is to come within one time
			if c.kind == "image/png" {
				last = time.Minute
			}
			if took := time.Since(began); took != last+answerStall || w.Body.String() != c.passed || s.slots.InUse() != 0 {
				t.Errorf("%s%s: after %v: %d %s", c.kind, c.query, took, w.Code, w.Body)
			}
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
