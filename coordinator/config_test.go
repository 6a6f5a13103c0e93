package coordinator_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
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
		{"a default reserve above the budget", func(c *coordinator.Config) { c.Limits.PerDay = 100 }, []string{"Reserve", "PerDay"}},
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
