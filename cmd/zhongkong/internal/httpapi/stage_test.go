package httpapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/events"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logtest"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/requestid"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// The accounts and callers of every stage. The passwords would be found in
// any answer or log.
const (
	wxa, wxb = "wxaaaaaaaaaaaaaaaa", "wxbbbbbbbbbbbbbbbb"

	admin    = "admin:admin-password"       // everything
	reader   = "reader:reader-password"     // wxa, no refresh
	neighbor = "neighbor:neighbor-password" // wxb, refresh
	stranger = "reader:wrong-password"
)

// stage is one process with an API over a store in memory.
type stage struct {
	t       testing.TB
	store   *memstore.Store
	sources map[string]*coordinatortest.Source
	zk      *coordinator.Coordinator
	api     *API
	server  *httptest.Server
	log     *logtest.Buffer
	told    sync.Map // the accounts of whose first token the streams have been told
}

// newStage has both accounts with a token each, of which every stream that was there
// has been told: none that is opened later is.
func newStage(t testing.TB, change ...func(*Config)) *stage {
	t.Helper()
	s := emptyStage(t, change...)
	for _, a := range s.zk.Accounts() {
		if _, err := a.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.wait("hot tokens", func() bool {
		for _, a := range s.zk.Accounts() {
			_, told := s.told.Load(a.Name())
			if _, ok := a.Peek(); !ok || !told {
				return false
			}
		}
		return true
	})
	return s
}

// emptyStage has accounts whose source is as slow as the test wants it.
func emptyStage(t testing.TB, change ...func(*Config)) *stage {
	t.Helper()
	return stageOn(t, memstore.New(), map[string]*coordinatortest.Source{
		wxa: {Name: "token-of-a"}, wxb: {Name: "token-of-b"},
	}, change...)
}

// failingStage has accounts whose source never issued a token.
func failingStage(t testing.TB, o coordinatortest.Outcome, change ...func(*Config)) *stage {
	t.Helper()
	sources := map[string]*coordinatortest.Source{wxa: {}, wxb: {}}
	for _, source := range sources {
		source.Default(o)
	}
	store := memstore.New()
	return stageWith(t, store, store, sources, 500*time.Millisecond, change...).connected() // it may hang
}

func stageOn(t testing.TB, store *memstore.Store, sources map[string]*coordinatortest.Source, change ...func(*Config)) *stage {
	t.Helper()
	return stageOver(t, store, store, sources, change...).connected()
}

func (s *stage) connected() *stage {
	s.t.Helper()
	s.wait("the store", s.zk.Connected)
	return s
}

// stageOver has a store that stands in front of one in memory, or is it.
func stageOver(
	t testing.TB, front coordinator.Store, store *memstore.Store, sources map[string]*coordinatortest.Source, change ...func(*Config),
) *stage {
	t.Helper()
	return stageWith(t, front, store, sources, 0, change...)
}

func stageWith(
	t testing.TB, front coordinator.Store, store *memstore.Store, sources map[string]*coordinatortest.Source, fetchTimeout time.Duration, change ...func(*Config),
) *stage {
	t.Helper()
	s := &stage{t: t, store: store, sources: sources, log: &logtest.Buffer{}}
	hub := events.New()
	observe := func(o coordinator.Observation) {
		hub.Observe(o)
		if o.Kind == coordinator.Notified && o.Event.Kind == coordinator.EventRefreshed {
			s.told.Store(o.Event.Account, true)
		}
	}
	logger := slog.New(requestid.Handler{Handler: slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})})
	cfg := coordinator.Config{Store: front, Observe: observe, Logger: logger, FetchTimeout: fetchTimeout,
		Limits: coordinator.Limits{MinInterval: time.Nanosecond}}
	for name, source := range sources {
		cfg.Accounts = append(cfg.Accounts, coordinator.AccountConfig{Name: name, Source: source})
	}
	var err error
	if s.zk, err = coordinator.New(cfg); err != nil {
		t.Fatal(err)
	}
	config := Config{
		Coordinator: s.zk, Callers: newCallers(t), Directory: noDirectory{}, Events: hub, Metrics: http.NotFoundHandler(),
		Logger: logger,
	}
	for _, f := range change {
		f(&config)
	}
	s.api = New(config)
	s.server = httptest.NewServer(s.api)

	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.zk.Run(ctx) }) // ends in Cleanup
	t.Cleanup(func() {
		s.api.Stop()
		s.server.Close()
		cancel()
		wg.Wait()
	})
	return s
}

// newCallers knows the callers above.
func newCallers(t testing.TB) *auth.Authenticator {
	t.Helper()
	gate, err := auth.New(testUsers())
	if err != nil {
		t.Fatal(err)
	}
	return gate
}

// testUsers are the callers above. Wrong passwords cost little here.
func testUsers() []auth.User {
	return []auth.User{
		{Name: "admin", Password: "admin-password", Accounts: []string{auth.AllAccounts}, Refresh: true},
		{Name: "reader", PasswordHashes: []string{hashOf("reader-password")}, Accounts: []string{wxa}},
		{Name: "neighbor", Password: "neighbor-password", Accounts: []string{wxb}, Refresh: true},
	}
}

// hashOf is a hash that costs little.
func hashOf(password string) string {
	salt := []byte("a salt for tests")
	sum := argon2.IDKey([]byte(password), salt, 1, 8, 1, 32)
	return fmt.Sprintf("$argon2id$v=19$m=8,t=1,p=1$%s$%s",
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum))
}

// wait polls until ok.
func (s *stage) wait(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// patience is for what must happen soon and is not measured.
const patience = 20 * time.Second

// token is the account's current token as its issuer knows it.
func (s *stage) token(account string) string { return s.sources[account].Current().Reveal() }

// reply is an answer that was read.
type reply struct {
	status int
	header http.Header
	body   string
}

// ask sends a request as a caller ("": without credentials). fields are pairs of header
// names and values.
func (s *stage) ask(who, method, path, body string, fields ...string) reply {
	s.t.Helper()
	r, err := s.try(s.request(who, method, path, body, fields...))
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *stage) request(who, method, path, body string, fields ...string) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.server.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if who != "" {
		name, password, _ := strings.Cut(who, ":")
		r.SetBasicAuth(name, password)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	return r
}

func (s *stage) try(r *http.Request) (reply, error) {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	return reply{answer.StatusCode, answer.Header, string(content)}, err
}

// field returns a field of a JSON answer.
func (r reply) field(name string) any {
	var fields map[string]any
	d := json.NewDecoder(strings.NewReader(r.body))
	d.UseNumber()
	if d.Decode(&fields) != nil {
		return nil
	}
	if n, ok := fields[name].(json.Number); ok {
		return n.String()
	}
	return fields[name]
}

const formType = "application/x-www-form-urlencoded"

// overlap is how long WeChat accepts a token that was replaced.
const overlap = 5 * time.Minute

// noDirectory is a Directory that knows no more of an account than that its issuer is
// WeChat. Others are made of it.
type noDirectory struct{}

func (noDirectory) Label(string) string                  { return "" }
func (noDirectory) PageLabel(string) string              { return "" }
func (noDirectory) Source(string) string                 { return "" }
func (noDirectory) Overlap(string) time.Duration         { return overlap }
func (noDirectory) GrantIdle(string) time.Duration       { return 0 }
func (noDirectory) Probe(string) Probe                   { return nil }
func (noDirectory) Callback(string) (Callback, bool)     { return nil, false }
func (noDirectory) AuthCodes(string) (AuthCodes, bool)   { return nil, false }
func (noDirectory) Ticket(string, string) string         { return "" }
func (noDirectory) WeChat(string) []string               { return nil }
func (noDirectory) Corp(string) []string                 { return nil }
func (noDirectory) Platform(string, string) string       { return "" }
func (noDirectory) Member(string, string, string) string { return "" }
func (noDirectory) Signer(string) (Signer, bool)         { return Signer{}, false }
func (noDirectory) Holder(*http.Request, string) (string, auth.Caller, bool) {
	return "", auth.Caller{}, false
}

// labels are the labels of accounts.
type labels struct {
	Directory
	of     func(account string) string
	onPage string // what follows them on the page
}

func (l labels) Label(account string) string     { return l.of(account) }
func (l labels) PageLabel(account string) string { return l.of(account) + l.onPage }

// refusal is an issuer that refuses for good.
func refusal() coordinatortest.Outcome {
	return coordinatortest.FailsWith(coordinator.FailedRefused, "40125", "invalid appsecret")
}
