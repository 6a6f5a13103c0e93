package httpapi

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// denying is a store that denies what a refresh needs as soon as it is told
// to.
type denying struct {
	coordinator.Store
	on atomic.Bool
}

// errDenied has words that no caller may read but one of everything.
var errDenied = fmt.Errorf("begin %q: %w: %w: WRONGPASS", wxa, coordinator.ErrUnreachable, coordinator.ErrDenied)

func (d *denying) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	if d.on.Load() {
		return nil, errDenied
	}
	return d.Store.Load(ctx, accounts...)
}

func (d *denying) Lock(ctx context.Context, account string, life time.Duration) (coordinator.Lock, error) {
	if d.on.Load() {
		return nil, errDenied
	}
	return d.Store.Lock(ctx, account, life)
}

// deniedStage never got anything from its store but a refusal.
func deniedStage(t *testing.T) *stage {
	t.Helper()
	store := memstore.New()
	d := &denying{Store: store}
	d.on.Store(true)
	return stageOver(t, d, store, map[string]*coordinatortest.Source{wxa: {Name: "token-of-a"}, wxb: {Name: "token-of-b"}})
}

// notReadyWith checks that a probe gets 503 with a code, and names of accounts
// only if it may.
func (s *stage) notReadyWith(who, path, code string, names ...string) {
	s.t.Helper()
	r := s.ask(who, "GET", path, "")
	if r.status != 503 || r.field("error") != code {
		s.t.Errorf("%s as %q: %d %s, want 503 %s", path, who, r.status, r.body, code)
	}
	for _, name := range []string{wxa, wxb} {
		want := false
		for _, one := range names {
			want = want || one == name
		}
		if strings.Contains(r.body, name) != want {
			s.t.Errorf("%s as %q: %s, want these names: %v", path, who, r.body, names)
		}
	}
}

func (s *stage) readyAt(who, path string) {
	s.t.Helper()
	if r := s.ask(who, "GET", path, ""); r.status != 200 || r.field("status") != "ready" {
		s.t.Errorf("%s as %q: %d %s, want 200", path, who, r.status, r.body)
	}
}

func TestOneAccountWithoutATokenDoesNotTakeTheProcessOut(t *testing.T) {
	s := newStage(t)
	broken := &coordinatortest.Source{}
	broken.Default(coordinatortest.FailsWith(coordinator.FailedRefused, "40125", "invalid appsecret"))
	if _, err := s.zk.Add(coordinator.AccountConfig{Name: "wxbroken", Source: broken}); err != nil {
		t.Fatal(err)
	}
	s.wait("the refusal", func() bool { return s.account("wxbroken").Status().Failure != nil })
	for _, path := range []string{"/readyz", "/readyz?account=" + wxa, "/readyz?account=" + wxa + "&account=" + wxb} {
		s.readyAt("", path)
		s.readyAt(reader, path)
	}
	for _, path := range []string{"/readyz?all", "/readyz?all=true", "/readyz?account=wxbroken", "/readyz?account=" + wxa + "&account=wxbroken"} {
		s.notReadyWith("", path, "not_ready")
		s.notReadyWith(reader, path, "not_ready")
		r := s.ask(admin, "GET", path, "")
		if r.status != 503 || !strings.Contains(r.body, `"wxbroken"`) || !strings.Contains(r.body, "40125") || strings.Contains(r.body, wxa) {
			t.Errorf("%s as a caller of everything: %d %s, want the account and why", path, r.status, r.body)
		}
		if r := s.ask(reader, "GET", path, ""); strings.Contains(r.body, "wxbroken") {
			t.Errorf("%s as a caller of another account: %s", path, r.body)
		}
	}
}

func TestAStrangerCannotTellAnAccountWithoutATokenFromNone(t *testing.T) {
	s := failingStage(t, coordinatortest.FailsWith(coordinator.FailedRefused, "40125", "invalid appsecret"))
	for _, who := range []string{"", neighbor} {
		without, none := s.ask(who, "GET", "/readyz?account="+wxa, ""), s.ask(who, "GET", "/readyz?account=wxnone", "")
		if without.status != 503 || without.status != none.status || without.body != none.body {
			t.Errorf("%q: %d %s, where there is none: %d %s", who, without.status, without.body, none.status, none.body)
		}
	}
	s.readyAt("", "/readyz") // Redis works: the accounts are the issuer's matter
}

func TestAProcessThatNeverReachedTheStoreIsNotReady(t *testing.T) {
	store := memstore.New()
	store.SetDown(true)
	s := stageOver(t, store, store, map[string]*coordinatortest.Source{wxa: {}, wxb: {}})
	s.notReadyWith("", "/readyz", "store_unreachable")
	s.notReadyWith("", "/readyz?all", "store_unreachable")
	s.notReadyWith("", "/readyz?account="+wxa, "store_unreachable")
	s.notReadyWith(reader, "/readyz", "store_unreachable", wxa)
	s.notReadyWith(admin, "/readyz", "store_unreachable", wxa, wxb)
	if r := s.ask("", "GET", "/healthz", ""); r.status != 200 {
		t.Errorf("/healthz = %d, want 200", r.status)
	}
	store.SetDown(false)
	s.wait("to be ready", func() bool { return s.ask("", "GET", "/readyz", "").status == 200 })
}

func TestAProcessThatTheStoreDeniesItsRightsIsNotReady(t *testing.T) {
	s := deniedStage(t)
	s.wait("the refusal", func() bool { return s.zk.StoreError() != nil })
	s.notReadyWith("", "/readyz", "store_denied")
	s.notReadyWith(reader, "/readyz", "store_denied", wxa)
	if r := s.ask(admin, "GET", "/readyz", ""); !strings.Contains(r.body, "WRONGPASS") {
		t.Errorf("as a caller of everything: %s, want the cause", r.body)
	}
	for _, who := range []string{"", reader} {
		if r := s.ask(who, "GET", "/readyz", ""); strings.Contains(r.body, "WRONGPASS") {
			t.Errorf("as %q: %s", who, r.body)
		}
	}
}

func TestATokenInMemoryIsEnoughToBeReady(t *testing.T) {
	s := newStage(t)
	s.store.SetDown(true)
	s.wait("the loss", func() bool { return !s.zk.Connected() })
	for _, path := range []string{"/readyz", "/readyz?all", "/readyz?account=" + wxb} {
		s.readyAt("", path)
	}
	s.notReadyWith("", "/readyz?account=wxnone", "store_unreachable")
}

func TestAProcessThatIsAboutToEndIsNotReady(t *testing.T) {
	s := newStage(t)
	s.api.Stop()
	for _, path := range []string{"/readyz", "/readyz?all", "/readyz?account=" + wxa} {
		s.notReadyWith("", path, "draining")
		s.notReadyWith(admin, path, "draining")
	}
	if r := s.ask("", "GET", "/healthz", ""); r.status != 200 {
		t.Errorf("/healthz = %d, want 200", r.status)
	}
}

func TestAProbeThatCannotBeMeantIsRefused(t *testing.T) {
	s := newStage(t)
	if r := s.ask("", "GET", "/readyz?account=%zz", ""); r.status != 400 {
		t.Errorf("%d %s, want 400", r.status, r.body)
	}
	if r := s.ask(stranger, "GET", "/readyz", ""); r.status != 401 {
		t.Errorf("a wrong password: %d %s, want 401", r.status, r.body)
	}
	s.notReadyWith("", "/readyz?account=", "not_ready")
}

func TestWhileItDrainsOnlyReadyzSaysSo(t *testing.T) {
	s := newStage(t)
	s.api.Drain()
	for path, want := range map[string]int{"/readyz": 503, "/readyz?account=" + wxa: 503, "/healthz": 200, "/v1/tokens/" + wxa: 200} {
		if r := s.ask(admin, "GET", path, ""); r.status != want || want == 503 && r.field("error") != "draining" {
			t.Errorf("%s: %d %s, want %d", path, r.status, r.body, want)
		}
	}
	generation := uint64(s.store.Peek(wxa).Record.Generation)
	got := make(chan int)
	go func() {
		r, _ := s.try(s.request(admin, "GET", fmt.Sprintf("/v1/tokens/%s?after=%d&wait=30s", wxa, generation), ""))
		got <- r.status
	}()
	s.wait("a holder", func() bool { return s.api.Holding() == 1 })
	s.api.Stop()
	if status := <-got; status != 304 {
		t.Errorf("who was held while it drained got %d, want 304", status)
	}
}
