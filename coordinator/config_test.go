package coordinator_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

func TestBadConfigurationIsRefusedByName(t *testing.T) {
	tests := []struct {
		name   string
		change func(*coordinator.Config)
		want   []string // in the message: the fields, and what to do
	}{
		{"no store", func(c *coordinator.Config) { c.Store = nil }, []string{"Store", "pass"}},
		{"a lock life that no extension can keep", func(c *coordinator.Config) { c.LockTTL = time.Millisecond }, []string{"LockTTL", "1s to 1m"}},
		{"a lock life that delays every take-over", func(c *coordinator.Config) { c.LockTTL = time.Hour }, []string{"LockTTL", "1s to 1m"}},
		{"a fetch time-out of a day", func(c *coordinator.Config) { c.FetchTimeout = 24 * time.Hour }, []string{"FetchTimeout"}},
		{"a lock life far below the fetch deadline", func(c *coordinator.Config) { c.LockTTL, c.FetchTimeout = time.Second, time.Minute }, []string{"LockTTL", "FetchTimeout", "6s", "10s"}},
		{"a poll slower than the overlap", func(c *coordinator.Config) { c.PollEvery = time.Hour }, []string{"PollEvery", "5 minutes"}},
		{"a probe slower than the poll", func(c *coordinator.Config) { c.ProbeEvery = 2 * time.Minute }, []string{"ProbeEvery", "PollEvery"}},
		{"no fetches", func(c *coordinator.Config) { c.MaxFetches = -1 }, []string{"MaxFetches"}},
		{"a negative interval", func(c *coordinator.Config) { c.RefreshEvery = -time.Hour }, []string{"RefreshEvery"}},
		{"a reserve of all", func(c *coordinator.Config) { c.Limits = coordinator.Limits{PerDay: 10, Reserve: 10} }, []string{"Reserve", "PerDay"}},
		{"a negative budget", func(c *coordinator.Config) { c.Limits.PerDay = -1 }, []string{"PerDay"}},
		{"a window of no length", func(c *coordinator.Config) { c.Limits.Window = time.Millisecond }, []string{"Limits.Window", "1s"}},
		{"a day that begins on the next", func(c *coordinator.Config) { c.Limits.DayBegins = 24 * time.Hour }, []string{"DayBegins", "24h"}},
		{"a negative minimum", func(c *coordinator.Config) { c.Limits.MinInterval = -1 }, []string{"MinInterval"}},
		{"an account without a name", accounts(""), []string{"Name", "AppID"}},
		{"a name with a brace", accounts("wx{1}"), []string{"wx{1}", "Name"}},
		{"a name with a line break", accounts("wx\n1"), []string{"Name"}},
		{"a name beyond all measure", accounts(strings.Repeat("x", 200)), []string{"200 bytes"}},
		{"an account twice", accounts("wx1", "wx1"), []string{"wx1", "twice"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := coordinator.Config{Store: memstore.New()}
			tt.change(&cfg)
			_, err := coordinator.New(cfg)
			if err == nil {
				t.Fatal("New() = nil, want an error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("New() = %q, want it to name %q", err, want)
				}
			}
		})
	}
}

func TestABudgetWithoutAReserveHasATenthAtMost(t *testing.T) {
	described := func(d coordinator.Limits) coordinator.Source {
		return &coordinatortest.Source{Describes: coordinator.Description{Repeat: coordinator.RepeatKills, Limits: d}}
	}
	type limits = coordinator.Limits
	for name, c := range map[string]struct {
		account, all, source limits
		reserve              int
	}{
		"nothing is said":                      {reserve: 200},
		"a small budget":                       {account: limits{PerDay: 100}, reserve: 10},
		"a small budget of all accounts":       {all: limits{PerDay: 100}, reserve: 10},
		"a smaller one of an account":          {account: limits{PerDay: 50}, all: limits{PerDay: 100}, reserve: 5},
		"a smaller one than the reserve is":    {account: limits{PerDay: 100}, all: limits{PerDay: 1000, Reserve: 300}, reserve: 10},
		"a large one":                          {account: limits{PerDay: 10_000}, reserve: 200},
		"few calls":                            {account: limits{PerDay: 5}, reserve: 1},
		"two calls":                            {account: limits{PerDay: 2}, reserve: 1},
		"one call":                             {account: limits{PerDay: 1}, reserve: 0},
		"a reserve":                            {account: limits{PerDay: 100, Reserve: 70}, reserve: 70},
		"the budget of the source":             {source: limits{PerDay: 50}, reserve: 5},
		"a few calls that the source allows":   {source: limits{PerDay: 5}, reserve: 1},
		"a large budget of the source":         {source: limits{PerDay: 10_000}, reserve: 1000},
		"a smaller one than that":              {all: limits{PerDay: 100}, source: limits{PerDay: 10_000}, reserve: 10},
		"a smaller one than what it reserves":  {all: limits{PerDay: 100}, source: limits{PerDay: 10_000, Reserve: 500}, reserve: 10},
		"a reserve that is given for the rest": {all: limits{Reserve: 50}, source: limits{PerDay: 10_000}, reserve: 50},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := coordinator.Config{Store: memstore.New(), Limits: c.all}
			cfg.Accounts = []coordinator.AccountConfig{{Name: account, Source: described(c.source), Limits: c.account}}
			co, err := coordinator.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			a, _ := co.Account(account)
			if got := a.Status().Limits.Reserve; got != c.reserve {
				t.Errorf("Reserve = %d, want %d", got, c.reserve)
			}
		})
	}
}

func TestNamesThatKeysAndURLsCannotCarryAreRefused(t *testing.T) {
	for name, good := range map[string]bool{
		"wx0123456789abcdef": true, "a.b-c_d@e": true, "账号": true, "a+b=c~d!": true, strings.Repeat("x", 128): true,
		"": false, "a b": false, "a:b": false, "a/b": false, `a\b`: false, "a{b}": false, "a*": false, "a[b]": false, "a,b": false,
		"a'b": false, "a`b": false, `a"b`: false, "\xff": false, "a\u0085b": false, "a\x7fb": false, strings.Repeat("x", 129): false,
	} {
		if err := coordinator.ValidateName(name); (err == nil) != good {
			t.Errorf("ValidateName(%q) = %v", name, err)
		}
		_, err := coordinator.New(coordinator.Config{
			Store: memstore.New(), Accounts: []coordinator.AccountConfig{{Name: name}},
		})
		if (err == nil) != good {
			t.Errorf("New() with the account %q = %v", name, err)
		}
	}
}

func accounts(names ...string) func(*coordinator.Config) {
	return func(c *coordinator.Config) {
		for _, name := range names {
			c.Accounts = append(c.Accounts, coordinator.AccountConfig{Name: name})
		}
	}
}

func TestRunTwiceAtOnceIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.refresher()
		f.token(p, time.Second)
		if err := p.c.Run(t.Context()); !errors.Is(err, coordinator.ErrRunning) {
			t.Errorf("Run() = %v, want ErrRunning", err)
		}
	})
}

func TestRunIsRefusedUntilTheOneBeforeHasReturned(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Latency = 5 * time.Second
		p := f.idle(f.config(), f.source)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- p.c.Run(ctx) }()
		time.Sleep(time.Second)
		cancel() // it finishes the call that is under way
		synctest.Wait()
		again, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.c.Run(again); !errors.Is(err, coordinator.ErrRunning) {
			t.Errorf("Run() = %v, want ErrRunning", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
}
