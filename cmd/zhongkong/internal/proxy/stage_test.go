package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logtest"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/phantom"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

const (
	appID   = wechattest.DefaultAppID
	basic   = "Basic c2RrOnMzY3JldC1rZXk=" // sdk:s3cret-key
	userKey = "s3cret-key"
	fleetK  = "0123456789abcdef0123456789abcdef"
)

// stage is a route with everything around it.
type stage struct {
	*Proxy
	callers *auth.Authenticator
	account Account
	sealer  *phantom.Sealer
	logged  *logtest.Buffer

	ofCoordinator *logtest.Buffer // its log, in a bubble
}

// usersWithout returns the callers of the tests, without those of some names.
func usersWithout(names ...string) []auth.User {
	return slices.DeleteFunc([]auth.User{
		{Name: "sdk", Password: userKey, Accounts: []string{"*"}, Refresh: true},
		{Name: "veil", Password: userKey, Accounts: []string{appID}, Phantom: true},
		{Name: "stranger", Password: userKey, Accounts: []string{"another"}},
	}, func(u auth.User) bool { return slices.Contains(names, u.Name) })
}

func (s *stage) remove(name string) {
	if err := s.callers.SetUsers(usersWithout(name)); err != nil {
		panic(err)
	}
}

// phantom is one of a caller for the stage's account.
func (s *stage) phantom(t testing.TB, name string, life time.Duration) string {
	t.Helper()
	token, err := s.sealer.Make(name, s.verifier(t, name), time.Now().Add(life))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (s *stage) verifier(t testing.TB, name string) []byte {
	t.Helper()
	c, err := s.callers.Authenticate(context.Background(), netip.MustParseAddr("192.0.2.9"), auth.Credentials{Name: name, Password: userKey})
	if err != nil {
		t.Fatal(err)
	}
	return c.Verifier()
}

// newStage makes a proxy with one route.
func newStage(t testing.TB, route Route, account Account, change func(*Config)) *stage {
	t.Helper()
	s := &stage{account: account, logged: &logtest.Buffer{}}
	var err error
	if s.callers, err = auth.New(usersWithout()); err != nil {
		t.Fatal(err)
	}
	if s.sealer, err = phantom.New(route.Account, []byte(fleetK)); err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Routes:   []Route{route},
		Callers:  s.callers,
		Tokens:   NewTokens([]Route{route}, nil),
		Account:  func(string) (Account, bool) { return account, account != nil },
		Phantoms: func(string) *phantom.Sealer { return s.sealer },
		Secret:   func(string) (string, string, bool) { return appID, wechattest.DefaultSecret, true },
		Logger:   slog.New(slog.NewTextHandler(s.logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg)
	}
	if s.Proxy, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return s
}

func weChatRoute(t testing.TB, base string) Route {
	t.Helper()
	r, err := WeChatRoute("wx", appID, base)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func routeTo(t testing.TB, base, put string) Route {
	t.Helper()
	to, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	place, err := ParsePlace(put)
	if err != nil {
		t.Fatal(err)
	}
	return Route{Name: "crm", Account: appID, To: to, Put: place}
}

// fixed is an account that always has the same token, and another when that is
// reported.
type fixed struct {
	mu      sync.Mutex
	n       int
	made    [64]coordinator.Token // each made once, as a coordinator does
	reports int
	stuck   bool // a report brings no other
	failing bool // no report succeeds
}

func (f *fixed) token() coordinator.Token {
	if f.made[f.n].IsZero() {
		f.made[f.n] = coordinator.NewToken(f.text())
	}
	return f.made[f.n]
}

func (f *fixed) text() string { return fmt.Sprintf("T0KEN-of-the-account-%d", f.n) }

func (f *fixed) Token(context.Context) (coordinator.Token, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.token(), nil
}

func (f *fixed) Peek() (coordinator.Snapshot, bool) { return coordinator.Snapshot{}, false }

func (f *fixed) Invalidate(_ context.Context, rejected coordinator.Token) (coordinator.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reports++
	if f.failing {
		return coordinator.Snapshot{}, errors.New("the issuer is away")
	}
	if rejected.Equal(f.token()) && !f.stuck {
		f.n++
	}
	return coordinator.Snapshot{Record: coordinator.Record{Token: f.token()}}, nil
}

func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// serveRaw starts a server of which f answers each request, on its bare connection.
func serveRaw(t testing.TB, f func(conn net.Conn)) string {
	t.Helper()
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		f(conn)
	}))
}

// ask makes a request with headers "Name: value" and returns the answer, read.
func ask(t testing.TB, method, target, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: 20 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// running is a coordinator on a sandbox, as one server has it.
func running(t testing.TB, store *memstore.Store, name string, sandbox *wechattest.Server, log *slog.Logger) *coordinator.Account {
	t.Helper()
	source, err := wechat.Config{AppID: appID, Secret: wechattest.DefaultSecret, Transport: sandbox.Transport()}.Source()
	if err != nil {
		t.Fatal(err)
	}
	c, err := coordinator.New(coordinator.Config{Store: store.Instance(name), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	account, err := c.Add(coordinator.AccountConfig{Name: appID, Source: source})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = c.Run(ctx) })
	t.Cleanup(func() { cancel(); done.Wait() })
	return account
}
