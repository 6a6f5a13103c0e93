package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logtest"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// issuerStage is a process with the secret, on the simulator and on virtual
// time. Its callers are sdk-0 to sdk-99.
type issuerStage struct {
	t      *testing.T
	issuer *wechattest.Server
	store  *memstore.Store
	zk     *coordinator.Coordinator
	api    *API
	gate   *auth.Authenticator
	log    *logtest.Buffer
	probes atomic.Int64
}

const (
	checkedAccount = wechattest.DefaultAppID
	probePath      = "/cgi-bin/get_api_domain_ip"
)

func sdkUsers(n int) []auth.User {
	var users []auth.User
	for i := range n {
		users = append(users, auth.User{Name: fmt.Sprint("sdk-", i), Password: "key-of-an-sdk", Accounts: []string{auth.AllAccounts}})
	}
	return users
}

// onIssuer runs test with a token that is a minute old.
func onIssuer(t *testing.T, test func(s *issuerStage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &issuerStage{t: t, issuer: wechattest.New(wechattest.Config{Seed: 1}), store: memstore.New(), log: &logtest.Buffer{}}
		defer s.issuer.Close()
		source, err := wechat.Config{AppID: checkedAccount, Secret: wechattest.DefaultSecret, Transport: s.issuer.Transport()}.Source()
		if err != nil {
			t.Fatal(err)
		}
		defer s.start(source)()
		if _, err := s.account().Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		test(s)
	})
}

// probed is a Directory whose accounts' issuer can be asked about tokens.
type probed struct {
	noDirectory
	s *issuerStage
}

func (p probed) Probe(string) Probe {
	return func(ctx context.Context, token coordinator.Token) error {
		p.s.probes.Add(1)
		err := wechat.Prober{Transport: p.s.issuer.Transport()}.Probe(ctx, token)
		if wechat.Rejected(err) {
			return fmt.Errorf("%w: %w", httpsource.ErrRejected, err)
		}
		return err
	}
}

// start runs a process with the source (nil: a reader), which stop ends.
func (s *issuerStage) start(source coordinator.Source) (stop func()) {
	s.t.Helper()
	var err error
	if s.gate, err = auth.New(sdkUsers(100)); err != nil {
		s.t.Fatal(err)
	}
	s.zk, err = coordinator.New(coordinator.Config{
		Store: s.store, Accounts: []coordinator.AccountConfig{{Name: checkedAccount, Source: source}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.api = New(Config{
		Coordinator: s.zk, Callers: s.gate, Directory: probed{s: s}, Logger: slog.New(slog.NewTextHandler(s.log, nil)),
	})
	api := s.api
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.zk.Run(ctx) }) // ends with ctx
	synctest.Wait()
	return func() {
		api.Stop()
		cancel()
		wg.Wait()
	}
}

func (s *issuerStage) account() *coordinator.Account {
	account, _ := s.zk.Account(checkedAccount)
	return account
}

// ask asks the drop-in as one of the callers.
func (s *issuerStage) ask(caller int) (token string, expiresIn time.Duration) {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.api.ServeHTTP(w, httptest.NewRequest("GET", tokenQuery(checkedAccount, fmt.Sprintf("sdk-%d:key-of-an-sdk", caller)), nil))
	var body struct {
		Token     string `json:"access_token"`
		ExpiresIn int    `json:"expires_in"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Token == "" {
		s.t.Errorf("sdk-%d was answered %s", caller, w.Body)
	}
	return body.Token, time.Duration(body.ExpiresIn) * time.Second
}

// kill ends the current token at the issuer.
func (s *issuerStage) kill() {
	s.t.Helper()
	if _, was := s.issuer.KillEarly(checkedAccount, wechattest.ClassicChain); !was {
		s.t.Fatal("there was no token to kill")
	}
}

// want checks how many probes and tokens there were.
func (s *issuerStage) want(probes, tokens int) {
	s.t.Helper()
	if got := int(s.probes.Load()); got != probes {
		s.t.Errorf("%d probes, want %d", got, probes)
	}
	if got := len(s.issuer.Issued()); got != tokens {
		s.t.Errorf("%d tokens, want %d", got, tokens)
	}
}

func (s *issuerStage) accepts(token string) bool { return s.issuer.Accepts(token, s.issuer.Now()) }

func (s *issuerStage) counts() string {
	var text string
	s.api.Checks(func(result string, n uint64) { text += fmt.Sprint(result, "=", n, " ") })
	return strings.TrimSpace(text)
}

func TestAskingAgainForADeadTokenBringsALiveOne(t *testing.T) {
	onIssuer(t, func(s *issuerStage) {
		dead, _ := s.ask(0)
		s.kill()
		live, _ := s.ask(0)
		if live == dead || !s.accepts(live) {
			t.Error("the second request was answered with a dead token")
		}
		s.want(1, 2)
		if got := s.counts(); got != "good=0 rejected=1 failed=0 limited=0" {
			t.Errorf("counted %s", got)
		}
		log := s.log.String()
		for _, part := range []string{"level=WARN", "the issuer rejects the current token", "account=" + checkedAccount, "caller=sdk-0", "generation="} {
			if strings.Count(log, part) != 1 {
				t.Errorf("the log lacks %q: %s", part, log)
			}
		}
		if strings.Contains(log, dead) || strings.Contains(log, live) {
			t.Error("the log has a token")
		}
		entries := s.store.Log(checkedAccount)
		if last := entries[len(entries)-1]; last.AskedBy != "sdk-0 (asked again)" || last.Reason != coordinator.ReasonRejected {
			t.Errorf("the history's last entry: %+v", last)
		}
	})
}

func TestAnOAuthClientThatAsksAgainReportsItsToken(t *testing.T) {
	onIssuer(t, func(s *issuerStage) {
		ask := func() string {
			w := httptest.NewRecorder()
			r := httptest.NewRequest("POST", "/oauth2/token", strings.NewReader(grantOnly))
			r.Header.Set("Content-Type", formType)
			r.SetBasicAuth("sdk-0", "key-of-an-sdk")
			s.api.ServeHTTP(w, r)
			var body struct {
				Token string `json:"access_token"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Token == "" {
				t.Errorf("answered %s", w.Body)
			}
			return body.Token
		}
		dead := ask()
		s.kill()
		if live := ask(); live == dead || !s.accepts(live) {
			t.Error("the second request was answered with a dead token")
		}
		s.want(1, 2)
	})
}

func TestAHundredCallersOfADeadTokenCostOneProbeAndOneRefresh(t *testing.T) {
	onIssuer(t, func(s *issuerStage) {
		for i := range 100 {
			s.ask(i)
		}
		if err := s.issuer.Tune(func(k *wechattest.Knobs) { k.Latency = 300 * time.Millisecond }); err != nil {
			t.Fatal(err)
		}
		s.kill()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				if token, _ := s.ask(i); !s.accepts(token) {
					t.Errorf("sdk-%d was answered with a dead token", i)
				}
			})
		}
		wg.Wait()
		s.want(1, 2)
	})
}

func TestAnAliveTokenIsProbedAtMostOnceInTenSeconds(t *testing.T) {
	onIssuer(t, func(s *issuerStage) {
		first, _ := s.ask(0)
		for range 60 { // a client that keeps no token, for a minute
			if token, _ := s.ask(0); token != first {
				t.Fatal("a good token was replaced")
			}
			time.Sleep(time.Second)
		}
		s.want(6, 1)
		if got := s.counts(); got != "good=6 rejected=0 failed=0 limited=54" {
			t.Errorf("counted %s", got)
		}
	})
}

func TestWhatIsNoReportIsNotProbed(t *testing.T) {
	for name, test := range map[string]func(s *issuerStage){
		"first requests": func(s *issuerStage) {
			s.kill()
			for i := range 50 {
				s.ask(i)
			}
			s.want(0, 1)
		},
		"a young token": func(s *issuerStage) {
			if _, err := s.account().Refresh(s.t.Context()); err != nil {
				s.t.Fatal(err)
			}
			for range 4 {
				s.ask(0)
				time.Sleep(time.Second)
			}
			s.want(0, 2)
			time.Sleep(2 * time.Second)
			s.ask(0)
			s.want(1, 2)
		},
		"a generation that the caller does not have": func(s *issuerStage) {
			s.ask(0)
			if _, err := s.account().Refresh(s.t.Context()); err != nil {
				s.t.Fatal(err)
			}
			time.Sleep(time.Minute)
			s.ask(0)
			s.want(0, 2)
		},
		"what was told is over, or nearly": func(s *issuerStage) {
			users := sdkUsers(1)
			users[0].Told.Max = 10 * time.Minute
			if err := s.gate.SetUsers(users); err != nil {
				s.t.Fatal(err)
			}
			for range 5 { // of the hour that the token is the current one
				_, life := s.ask(0)
				if life != 10*time.Minute {
					s.t.Errorf("told %v", life)
				}
				time.Sleep(life - 30*time.Second)
			}
			s.want(0, 1)
		},
	} {
		t.Run(name, func(t *testing.T) { onIssuer(t, test) })
	}
}

func TestWithoutTheIssuersWordNothingIsReplaced(t *testing.T) {
	for name, fault := range map[string]wechattest.Fault{
		"out of reach": {Kind: wechattest.FaultDial, Path: probePath},
		"no answer":    {Kind: wechattest.FaultHang, Path: probePath},
		"a page":       {Kind: wechattest.FaultHTML, Path: probePath},
		"busy":         {Kind: wechattest.FaultErrcode, Code: -1, Path: probePath},
		"a quota":      {Kind: wechattest.FaultErrcode, Code: 45009, Path: probePath},
	} {
		t.Run(name, func(t *testing.T) {
			onIssuer(t, func(s *issuerStage) {
				if _, err := s.issuer.Inject(fault); err != nil {
					t.Fatal(err)
				}
				current, _ := s.ask(0)
				began := time.Now()
				if token, _ := s.ask(0); token != current {
					t.Error("the token was replaced")
				}
				if took := time.Since(began); took > sdkWait {
					t.Errorf("answered after %v", took)
				}
				time.Sleep(checkTimeout) // the check ends
				s.want(1, 1)
				if got := s.counts(); got != "good=0 rejected=0 failed=1 limited=0" {
					t.Errorf("counted %s", got)
				}
			})
		})
	}
}

func TestAReadersReportIsPassedOn(t *testing.T) {
	onIssuer(t, func(s *issuerStage) {
		defer s.start(nil)() // another process on the same store
		if _, err := s.account().Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.ask(0)
		s.kill()
		if token, _ := s.ask(0); !s.accepts(token) {
			t.Error("the second request was answered with a dead token")
		}
		s.want(1, 2)
	})
}

func TestWithoutAProbeNothingIsChecked(t *testing.T) {
	onIssuer(t, func(s *issuerStage) {
		s.api.directory = noDirectory{}
		s.ask(0)
		s.kill()
		s.ask(0)
		s.want(0, 1)
	})
}

func TestAStaleTokenIsNotChecked(t *testing.T) {
	onIssuer(t, func(s *issuerStage) {
		s.ask(0)
		s.store.SetDown(true)
		time.Sleep(2 * time.Minute)
		s.ask(0)
		s.want(0, 1)
	})
}

func TestRemovedCallersAreForgotten(t *testing.T) {
	onIssuer(t, func(s *issuerStage) {
		c := &s.api.accounts.of(s.account()).checker
		for round := range 100 {
			if err := s.gate.SetUsers([]auth.User{{Name: fmt.Sprint("sdk-", round), Password: "key-of-an-sdk", Accounts: []string{"*"}}}); err != nil {
				t.Fatal(err)
			}
			s.ask(round)
		}
		if len(c.told) > 20 {
			t.Errorf("%d callers are remembered, one is left", len(c.told))
		}
	})
}
