package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// childSource issues a child's tokens to those who come with a token of the parent that
// its issuer accepts.
type childSource struct {
	*coordinatortest.Source
	parent *coordinatortest.Source
	deaf   bool // it rejects every parent's token

	mu       sync.Mutex
	rejected int
}

func (s *childSource) Fetch(ctx context.Context, ask coordinator.FetchRequest) (coordinator.FetchResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deaf || !s.parent.Valid(ask.Parent.Token) || ask.Parent.TTL <= 0 {
		s.rejected++
		return coordinator.FetchResult{}, &coordinator.FetchError{
			Kind: coordinator.FailedParent, Code: "40001", Message: "invalid access_token", Calls: 1,
		}
	}
	return s.Source.Fetch(ctx, ask)
}

// family is a fleet whose account is the parent of others.
type family struct {
	*fleet
	child *childSource
}

func families(t *testing.T, test func(t *testing.T, f *family)) {
	t.Helper()
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Attributes = map[string]string{"api_domain": "example.com"}
		test(t, &family{f, &childSource{Source: &coordinatortest.Source{Name: "child"}, parent: f.source}})
	})
}

// process starts a process with the parent and its children, and returns these.
func (f *family) process(cfg coordinator.Config, parent coordinator.Source, names ...string) (*process, []*coordinator.Account) {
	f.t.Helper()
	return f.withChildren(f.start(cfg, parent), names...)
}

func (f *family) withChildren(p *process, names ...string) (*process, []*coordinator.Account) {
	f.t.Helper()
	var children []*coordinator.Account
	for _, name := range names {
		a, err := p.c.Add(coordinator.AccountConfig{Name: name, Source: f.child, Parent: account})
		if err != nil {
			f.t.Fatalf("Add() = %v", err)
		}
		children = append(children, a)
	}
	return p, children
}

func (f *family) tokenOf(a *coordinator.Account, within time.Duration) coordinator.Token {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), within)
	defer cancel()
	token, err := a.Token(ctx)
	if err != nil {
		f.t.Fatalf("Token() = %v, want a token within %v", err, within)
	}
	return token
}

func TestAChildIsAskedWithTheParentsToken(t *testing.T) {
	families(t, func(t *testing.T, f *family) {
		var children []*coordinator.Account
		for range 5 {
			_, c := f.process(f.config(), f.source, "child")
			children = append(children, c...)
		}
		for _, c := range children {
			f.tokenOf(c, 2*time.Second)
		}
		f.wantCalls(1)
		calls := f.child.Calls()
		if len(calls) != 1 {
			t.Fatalf("%d calls of the child, want 1", len(calls))
		}
		if p := calls[0].Ask.Parent; !p.Token.Equal(f.source.Current()) || p.Attributes["api_domain"] != "example.com" || !p.Usable() {
			t.Errorf("it was asked with the parent %+v", p)
		}
		if got := children[0].Status(); got.Parent != account || got.Blocked != nil {
			t.Errorf("Status() = %+v", got)
		}
	})
}

func TestAParentsRenewalDoesNotCascade(t *testing.T) {
	families(t, func(t *testing.T, f *family) {
		f.child.Life = 48 * time.Hour
		cfg := f.longConfig()
		p, _ := f.withChildren(f.start(cfg, f.source))
		c, err := p.c.Add(coordinator.AccountConfig{Name: "child", Source: f.child, Parent: account, RefreshEvery: 20 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		f.tokenOf(c, time.Second)
		time.Sleep(19 * time.Hour)
		if _, err := p.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := len(f.child.Calls()); n != 1 {
			t.Errorf("%d calls of the child after %d of the parent, want 1", n, len(f.source.Calls()))
		}
	})
}

func TestAParentsTokenThatTheIssuerRejectsIsReplacedOnce(t *testing.T) {
	families(t, func(t *testing.T, f *family) {
		names := make([]string, 300)
		for i := range names {
			names[i] = fmt.Sprintf("child-%d", i)
		}
		cfg := f.config()
		cfg.MaxFetches = 3 // the parent's call needs one of them
		f.child.Latency = 0
		_, children := f.process(cfg, f.source, names...)
		for _, c := range children {
			f.tokenOf(c, 20*time.Second)
		}
		time.Sleep(time.Minute)
		f.source.IssueOutside()
		f.source.IssueOutside()
		before := len(f.child.Calls())
		var wg sync.WaitGroup
		for _, c := range children {
			wg.Go(func() {
				if _, err := c.Refresh(t.Context()); err != nil {
					t.Errorf("Refresh() = %v", err)
				}
			})
		}
		wg.Wait()
		f.wantCalls(2)
		if n := len(f.child.Calls()) - before; n != len(children) || f.child.rejected > 3 {
			t.Errorf("%d tokens of children were issued, %d calls rejected, want %d and at most 3", n, f.child.rejected, len(children))
		}
		calls := 0
		for _, name := range names {
			calls += f.store.Peek(name).CallsToday
		}
		if want := 2*len(children) + f.child.rejected; calls != want {
			t.Errorf("%d calls of children are counted, want %d: both of an attempt count", calls, want)
		}
		f.wantAskedBy("child-", "reported")
	})
}

func (f *family) wantAskedBy(prefix, event string) {
	f.t.Helper()
	for _, e := range f.store.Log(account) {
		if e.Event == event && strings.HasPrefix(e.AskedBy, prefix) {
			return
		}
	}
	f.t.Errorf("the parent's log does not say that %s… %s its token", prefix, event)
}

func TestAParentsTokenIsReplacedThroughAnotherProcess(t *testing.T) {
	families(t, func(t *testing.T, f *family) {
		f.refresher()
		p, children := f.process(f.config(), nil, "child") // it only reads the parent
		f.tokenOf(children[0], 2*time.Second)
		time.Sleep(time.Minute)
		f.source.IssueOutside()
		f.source.IssueOutside()
		if _, err := children[0].Refresh(t.Context()); err != nil {
			t.Errorf("Refresh() = %v", err)
		}
		f.wantCalls(2)
		if f.child.rejected != 1 || p.Role() != coordinator.Reader {
			t.Errorf("%d calls were rejected, want 1", f.child.rejected)
		}
	})
}

func TestARejectedParentIsReportedOnceInAnAttempt(t *testing.T) {
	for name, c := range map[string]struct {
		parent   coordinatortest.Outcome
		rejected int
	}{
		"the new one is rejected as well": {coordinatortest.Outcome{}, 2},
		"it cannot be replaced":           {coordinatortest.FailsWith(coordinator.FailedRefused, "40125", "invalid appsecret"), 1},
		"its issuer does not answer":      {coordinatortest.Hangs(), 1},
	} {
		t.Run(name, func(t *testing.T) {
			families(t, func(t *testing.T, f *family) {
				_, children := f.process(f.config(), f.source, "child")
				f.tokenOf(children[0], time.Second)
				time.Sleep(time.Minute)
				f.child.deaf = true
				f.source.Next(c.parent)
				start := time.Now()
				_, err := children[0].Refresh(t.Context())
				var failed *coordinator.FetchError
				if !errors.As(err, &failed) || failed.Kind != coordinator.FailedParent || failed.Code != "40001" {
					t.Errorf("Refresh() = %v, want that the issuer rejects the parent's token", err)
				}
				if took := time.Since(start); took > 11*time.Second || f.child.rejected != c.rejected {
					t.Errorf("after %v %d calls of the child, want %d within the attempt", took, f.child.rejected, c.rejected)
				}
				s := f.store.Peek("child")
				if s.Failure == nil || s.Failure.Kind != coordinator.FailedParent || len(s.Open) != 0 || s.CallsToday != 1+c.rejected ||
					s.Failure.RetryAt.Sub(s.Now) > 30*time.Minute {
					t.Errorf("the state is %+v, %+v", s, s.Failure)
				}
				f.tokenOf(children[0], time.Second) // goes on
			})
		})
	}
}

func TestAParentWithoutATokenMeansNoCallOfTheChild(t *testing.T) {
	families(t, func(t *testing.T, f *family) {
		f.source.Latency = 0 // the Refresh below would share the failure of a call that is under way
		f.source.Default(coordinatortest.FailsWith(coordinator.FailedRefused, "40125", "invalid appsecret"))
		p, children := f.process(f.config(), f.source, "child")
		_, err := children[0].Token(t.Context())
		var parent *coordinator.ParentError
		var refused *coordinator.RefusedError
		if !errors.As(err, &parent) || parent.Account != "child" || parent.Parent != account || !errors.As(err, &refused) || refused.Code != "40125" {
			t.Errorf("Token() = %v, want the parent's refusal", err)
		}
		if _, err := children[0].Refresh(t.Context()); !errors.As(err, &refused) {
			t.Errorf("Refresh() = %v, want the parent's refusal", err)
		}
		time.Sleep(time.Hour)
		if s := children[0].Status(); s.Blocked == nil || s.Parent != account || !errors.As(error(s.Blocked), &refused) {
			t.Errorf("Status() = %+v, want it to say that the parent has no token", s)
		}
		if s := f.store.Peek("child"); s.Fence != 0 || s.CallsToday != 0 || p.link.Calls(memstore.OpLock) == 0 {
			t.Errorf("the child's state is %+v, want nothing", s)
		}
		f.source.Default(coordinatortest.Outcome{})
		if _, err := p.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // no caller waits, and the next poll is far
		if _, ok := children[0].Peek(); !ok || len(f.child.Calls()) != 1 {
			t.Errorf("%d calls of the child a second after the parent got its token, want 1", len(f.child.Calls()))
		}
	})
}

func TestAChildWaitsForItsParent(t *testing.T) {
	families(t, func(t *testing.T, f *family) {
		f.source.Latency = 0 // the Refresh below would share the failure of a call that is under way
		f.source.Default(coordinatortest.FailsWith(coordinator.FailedBusy, "-1", "system busy"))
		p, children := f.process(f.config(), f.source, "child", "other")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var parent *coordinator.ParentError
		_, err := children[0].Token(ctx)
		if !errors.Is(err, coordinator.ErrNoToken) || !errors.As(err, &parent) || !strings.Contains(err.Error(), "system busy") {
			t.Errorf("Token() = %v, want it to say what the parent lacks", err)
		}
		got := make(chan error, 1) // it is not read after a Fatal
		go func() { _, err := children[0].Token(t.Context()); got <- err }()
		time.Sleep(20 * time.Second)
		f.source.Default(coordinatortest.Outcome{})
		if _, err := p.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := <-got; err != nil || time.Since(start) > time.Second {
			t.Errorf("Token() = %v, %v after the parent got its token", err, time.Since(start))
		}
		f.tokenOf(children[1], time.Second)
	})
}

// Thousands of children are woken by their parent's token, and by nothing before.
func TestAChildOfAReadParentHasARefresherCalled(t *testing.T) {
	families(t, func(t *testing.T, f *family) {
		p, children := f.process(f.config(), nil, "child")
		time.Sleep(10 * time.Second)
		if n := p.link.Calls(memstore.OpWant); n < 5 || n > 12 {
			t.Errorf("a refresher of the parent was called %d times in 10 s, want once a second", n)
		}
		if n := p.link.Calls(memstore.OpLock); n != 0 {
			t.Errorf("%d locks were taken, want none", n)
		}
		f.refresher()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, ok := children[0].Peek(); !ok {
			t.Error("the child has no token though the parent has one")
		}
		calls := p.link.Calls(memstore.OpWant)
		time.Sleep(time.Minute)
		if n := p.link.Calls(memstore.OpWant) - calls; n != 0 {
			t.Errorf("%d calls for a refresher though nothing lacks", n)
		}
	})
}

func TestAChildsTokenWithoutRun(t *testing.T) {
	families(t, func(t *testing.T, f *family) {
		_, children := f.withChildren(f.idle(f.config(), f.source), "child")
		f.tokenOf(children[0], 2*time.Second)
		f.wantCalls(1)

		f.store.Flush()
		f.source.Default(coordinatortest.FailsWith(coordinator.FailedRefused, "40125", "invalid appsecret"))
		_, children = f.withChildren(f.idle(f.config(), f.source), "child")
		var parent *coordinator.ParentError
		var refused *coordinator.RefusedError
		if _, err := children[0].Token(t.Context()); !errors.As(err, &parent) || !errors.As(err, &refused) {
			t.Errorf("Token() = %v, want the parent's refusal", err)
		}
		f.store.Flush()
		p, children := f.withChildren(f.idle(f.config(), nil), "child") // no process refreshes the parent
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		start := time.Now()
		if _, err := children[0].Token(ctx); !errors.Is(err, coordinator.ErrNoToken) || time.Since(start) < 20*time.Second {
			t.Errorf("Token() = %v after %v, want it to wait for the parent", err, time.Since(start))
		}
		if n := len(f.child.Calls()); n != 1 {
			t.Errorf("%d calls of the child, want 1", n)
		}
		if err := p.c.Drain(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAParentComesFirstAndGoesLast(t *testing.T) {
	families(t, func(t *testing.T, f *family) {
		for _, accounts := range [][]coordinator.AccountConfig{
			{{Name: "child", Parent: "parent"}, {Name: "parent"}}, {{Name: "child", Parent: "child"}}, {{Name: "child", Parent: "nobody"}},
		} {
			_, err := coordinator.New(coordinator.Config{Store: f.store, Accounts: accounts})
			if err == nil || !strings.Contains(err.Error(), "Parent") {
				t.Errorf("New(%v) = %v, want an error that names Parent", accounts, err)
			}
		}
		p := f.refresher()
		if _, err := p.c.Add(coordinator.AccountConfig{Name: "child", Parent: "nobody"}); err == nil {
			t.Error("Add() = nil with a parent that is not there")
		}
		f.withChildren(p, "child", "other")
		if err := p.c.Remove(account); err == nil || !strings.Contains(err.Error(), "2 others") {
			t.Errorf("Remove() = %v of a parent", err)
		}
		for _, name := range []string{"child", "other", account} {
			if err := p.c.Remove(name); err != nil {
				t.Errorf("Remove(%q) = %v", name, err)
			}
		}
	})
}

func TestAGrandchildHasWhatItsParentGetsFromItsOwn(t *testing.T) {
	families(t, func(t *testing.T, f *family) {
		cfg := f.config()
		cfg.MaxFetches = 1
		f.source.Default(coordinatortest.FailsWith(coordinator.FailedRefused, "40125", "invalid appsecret"))
		p, _ := f.process(cfg, f.source, "child")
		grandchild := &childSource{Source: &coordinatortest.Source{Name: "grandchild"}, parent: f.child.Source}
		a, err := p.c.Add(coordinator.AccountConfig{Name: "grandchild", Source: grandchild, Parent: "child"})
		if err != nil {
			t.Fatal(err)
		}
		var refused *coordinator.RefusedError
		if _, err := a.Token(t.Context()); !errors.As(err, &refused) || refused.Account != account {
			t.Errorf("Token() = %v, want the refusal of the first parent", err)
		}
		f.source.Default(coordinatortest.Outcome{})
		if _, err := p.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.tokenOf(a, time.Second)
		time.Sleep(time.Minute)
		for _, s := range []*coordinatortest.Source{f.source, f.child.Source} { // both die
			s.IssueOutside()
			s.IssueOutside()
		}
		if _, err := a.Refresh(t.Context()); err != nil {
			t.Errorf("Refresh() = %v", err)
		}
		if !f.child.Valid(grandchild.Calls()[1].Ask.Parent.Token) || f.child.rejected != 1 || grandchild.rejected != 1 {
			t.Errorf("%d and %d calls were rejected, want one each", f.child.rejected, grandchild.rejected)
		}
	})
}
