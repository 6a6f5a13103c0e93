//go:build unix

package e2e_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
)

// describedSource is a source that is not like WeChat's.
type describedSource struct {
	coordinator.SourceFunc
	repeat coordinator.Repeat
}

func (s describedSource) Description() coordinator.Description {
	return coordinator.Description{Repeat: s.repeat, Limits: coordinator.Limits{PerDay: 1000, Window: time.Hour}}
}

// accountsOfNewKinds have what the version before does not know: attributes, a code in
// text, a token that comes again, and windows of calls that are no days.
func accountsOfNewKinds() []coordinator.AccountConfig {
	issue := func(token string) coordinator.SourceFunc {
		return func(context.Context, coordinator.FetchRequest) (coordinator.FetchResult, error) {
			return coordinator.FetchResult{
				Token: coordinator.NewToken(token), Lifetime: time.Hour,
				Attributes: map[string]string{"instance_url": "https://crm.example.com", "scope": "a b"},
			}, nil
		}
	}
	var mu sync.Mutex
	calls := 0
	refuse := func(ctx context.Context, ask coordinator.FetchRequest) (coordinator.FetchResult, error) {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls == 1 {
			return issue("token-before-the-refusal")(ctx, ask)
		}
		return coordinator.FetchResult{}, &coordinator.FetchError{
			Kind: coordinator.FailedRefused, Code: "invalid_client", Message: "the client is unknown", Calls: 1,
		}
	}
	return []coordinator.AccountConfig{
		{Name: "crm", Source: describedSource{issue("token-of-crm"), coordinator.RepeatKeeps}},
		{Name: "ticket", Source: describedSource{issue("ticket-that-comes-again"), coordinator.RepeatSame}},
		{Name: "refused", Source: describedSource{refuse, coordinator.RepeatKeeps}},
	}
}

// Processes of this version keep tokens of new kinds in the Redis of a fleet of an older
// version. It goes on, and its commands read what they know of those accounts.
func TestAnOlderVersionSharesRedisWithSourcesThatItDoesNotKnow(t *testing.T) {
	f := newFleet(t)
	f.binary = theVersionOf(t, versionOfWeChat).binary
	daemon := f.serve(1)[0]
	f.eventually(5*time.Second, "the daemon to serve a token", func() bool { return daemon.generation() != 0 })

	store, err := redisstore.Open(f.redis.URL(), redisstore.Options{Prefix: f.env["ZHONGKONG_PREFIX"]})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	c, err := coordinator.New(coordinator.Config{
		Store: store, Accounts: accountsOfNewKinds(), Limits: coordinator.Limits{MinInterval: time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	reader := f.with("ZHONGKONG_SECRET", "", "ZHONGKONG_APPID", "", "ZHONGKONG_API_BASE", "")
	watching := reader.start("watch", "--json", appID, "crm", "ticket", "refused")
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { _ = c.Run(ctx) }) // ends with ctx
	for _, name := range []string{"crm", "ticket", "refused"} {
		if _, err := c.Token(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	var refusal *coordinator.RefusedError
	account, _ := c.Account("refused")
	if _, err := account.Refresh(ctx); !errors.As(err, &refusal) || refusal.Code != "invalid_client" {
		t.Fatalf("Refresh() = %v, want it refused", err)
	}

	// The watcher may have begun late; so there are events until it has shown each.
	shown := func(event, account string) bool {
		for line := range strings.Lines(watching.stdout.String()) {
			if strings.Contains(line, `"`+event+`"`) && strings.Contains(line, `"`+account+`"`) {
				return true
			}
		}
		return false
	}
	f.eventually(20*time.Second, "watch of the version before to show the events", func() bool {
		for _, account := range []string{"crm", "ticket", "refused"} {
			a, _ := c.Account(account)
			_, _ = a.Refresh(ctx) // of refused, it fails
		}
		_ = daemon.post("/v1/tokens/" + appID + "/refresh") // or there is an answer soon
		return shown("refreshed", "crm") && shown("refreshed", "ticket") && shown("refreshed", appID)
	})

	for _, account := range []string{"crm", "ticket", "refused", appID} {
		if p := reader.run("history", account); p.code() != 0 || p.stdout.String() == "" {
			t.Errorf("history %s = %d\n%s", account, p.code(), p.stderr.String())
		}
		if p := reader.run("status", account); p.code() != 0 || !strings.Contains(p.stdout.String(), account) {
			t.Errorf("status %s = %d\n%s%s", account, p.code(), p.stdout.String(), p.stderr.String())
		}
	}
	for account, token := range map[string]string{"crm": "token-of-crm", "ticket": "ticket-that-comes-again", "refused": "token-before-the-refusal", appID: f.lastIssued()} {
		if p := reader.run("show", account); p.token() != token {
			t.Errorf("show %s = %d\n%s", account, p.code(), p.stderr.String())
		}
	}
	if p := reader.run("status"); p.code() != 0 || !strings.Contains(p.stdout.String(), "crm") || !strings.Contains(p.stdout.String(), appID) {
		t.Errorf("status = %d\n%s%s", p.code(), p.stdout.String(), p.stderr.String())
	}
	if watching.ended() || daemon.ended() {
		t.Error("a process of the version before has ended")
	}
}
