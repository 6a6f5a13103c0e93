package coordinator_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// fullStore has a token of every account, and keeps nothing itself.
type fullStore struct{ coordinator.Store }

func (fullStore) Load(_ context.Context, accounts ...string) ([]coordinator.State, error) {
	now := time.Now()
	states := make([]coordinator.State, len(accounts))
	for i, account := range accounts {
		states[i] = coordinator.State{Account: account, Now: now, Fence: 7, Record: coordinator.Record{
			Token: coordinator.NewToken(strings.Repeat("t", 157)), Generation: 7, IssuedAt: now, ExpiresAt: now.Add(time.Hour),
			IssuedBy: "another", TTL: time.Hour / 2,
		}}
	}
	return states, nil
}

func (fullStore) Subscribe(w coordinator.Watcher) coordinator.Subscription { return &quiet{watcher: w} }

// quiet notifies of nothing.
type quiet struct {
	coordinator.Subscription
	watcher  coordinator.Watcher
	accounts []string
}

func (s *quiet) Add(_ coordinator.Role, accounts ...string) {
	s.accounts = append(s.accounts, accounts...)
}

func (s *quiet) Run(ctx context.Context) {
	s.watcher.Subscribed(s.accounts)
	s.accounts = nil
	<-ctx.Done()
}

// A process may have a million accounts.
func TestAnAccountTakesLittleMemory(t *testing.T) {
	// The 160 bytes of the token are in it. The name, and what a store keeps, are not.
	const accounts, most = 20_000, 600
	names := make([]string, accounts)
	for i := range accounts {
		names[i] = fmt.Sprintf("wx%016x", i)
	}
	before := liveHeap()
	c := newOf(t, names)
	stop := c.Start(t.Context())
	defer stop()
	for _, name := range names {
		if _, err := c.Token(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	each := (liveHeap() - before) / accounts
	t.Logf("%d bytes an account", each)
	if each > most {
		t.Errorf("an account takes %d bytes, want at most %d", each, most)
	}
	runtime.KeepAlive(c)
}

// newOf returns a coordinator of these accounts. The list of them is garbage afterwards.
func newOf(t *testing.T, names []string) *coordinator.Coordinator {
	t.Helper()
	cfg := coordinator.Config{Store: fullStore{}}
	source := coordinator.SourceFunc(func(context.Context, coordinator.FetchRequest) (r coordinator.FetchResult, err error) { return r, err })
	for _, name := range names {
		cfg.Accounts = append(cfg.Accounts, coordinator.AccountConfig{Name: name, Source: source})
	}
	c, err := coordinator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // also what finalizers and pools have released
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
