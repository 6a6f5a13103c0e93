package redisstore_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

func TestOperationsReloadForgottenScripts(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	r := refreshed(t, store, "a", "token")
	for name, ask := range map[string]func() error{
		"Load one":  func() error { _, err := store.Load(t.Context(), "a"); return err },
		"Load many": func() error { _, err := store.Load(t.Context(), "a", "b", "c"); return err },
		"Begin": func() error {
			_, err := store.Begin(t.Context(), "a", coordinator.BeginRequest{Seen: r.Generation, TTL: time.Minute})
			return err
		},
		"Restore": func() error { _, err := store.Restore(t.Context(), "a", r); return err },
		"Lock": func() error {
			lock, err := store.Lock(t.Context(), "a", time.Minute)
			if err != nil {
				return err
			}
			server.MustDo(t, "script", "flush")
			if err := lock.Extend(t.Context(), 0); err != nil {
				return err
			}
			server.MustDo(t, "script", "flush")
			return lock.Unlock(t.Context())
		},
	} {
		server.MustDo(t, "script", "flush")
		if err := ask(); err != nil {
			t.Errorf("%s after SCRIPT FLUSH = %v", name, err)
		}
	}
}

func TestLostRecordIsRestored(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	for name, lose := range map[string]func(){
		"FLUSHALL":    func() { server.FlushAll(t) },
		"the restart": func() { server.Restart(t) },
	} {
		r := refreshed(t, store, "a", "token")
		lose()
		if got := loaded(t, store, "a").Record; got.Generation != 0 {
			t.Fatalf("after %s there is still a record", name)
		}
		restored, err := store.Restore(t.Context(), "a", r)
		if err != nil || restored.Generation != r.Generation || !restored.Token.Equal(r.Token) {
			t.Errorf("Restore() after %s = generation %d, %v; want %d", name, restored.Generation, err, r.Generation)
		}
		if next := begun(t, store, "a", r.Generation); next.Fence <= r.Generation {
			t.Errorf("after %s fence %d follows generation %d", name, next.Fence, r.Generation)
		}
		server.FlushAll(t)
	}
}

func TestKeysEndByThemselves(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	r := refreshed(t, store, "a", "token")
	if _, err := store.Lock(t.Context(), "a", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	day := r.IssuedAt.In(time.FixedZone("UTC+8", 8*3600)).Format("20060102")
	for key, want := range map[string]time.Duration{
		"zhongkong:{a}:token":        2*time.Hour - 30*time.Second,
		"zhongkong:{a}:lock":         10 * time.Second,
		"zhongkong:{a}:calls:" + day: 3 * 24 * time.Hour,
	} {
		ms, _ := server.MustDo(t, "pttl", key).(int64)
		if got := time.Duration(ms) * time.Millisecond; got > want || got < want-5*time.Second {
			t.Errorf("the TTL of %s = %v, want about %v", key, got, want)
		}
	}
}

func TestRecordIsReadableWithRedisCLI(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{Instance: "host:1"})
	r := refreshed(t, store, "a", "token")
	client := server.Client()
	defer client.Close()
	got, err := client.HGetAll(t.Context(), "zhongkong:{a}:token").Result()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"access_token": "token",
		"generation":   got["generation"],
		"issued_at":    r.IssuedAt.Format("2006-01-02T15:04:05.000Z"),
		"expires_at":   r.ExpiresAt.Format("2006-01-02T15:04:05.000Z"),
		"issued_by":    "host:1",
	}
	if len(got) != len(want) {
		t.Errorf("the hash has the fields %v, want %v", got, want)
	}
	for field, value := range want {
		if got[field] != value {
			t.Errorf("%s = %q, want %q", field, got[field], value)
		}
	}
	if _, err := store.Lock(t.Context(), "a", time.Second); err != nil {
		t.Fatal(err)
	}
	if lock := server.MustDo(t, "get", "zhongkong:{a}:lock").(string); !strings.HasPrefix(lock, "host:1/") {
		t.Errorf("the lock is %q, want it to begin with the instance", lock)
	}
}

func TestOnlyTheTokenKeyHoldsTheToken(t *testing.T) {
	const secret = "SECRET-TOKEN-0123456789"
	var log bytes.Buffer
	server := redistest.Start(t, "--rdbcompression no") // of DUMP
	store := open(t, server.URL(), redisstore.Options{
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	r := refreshed(t, store, "a", secret)
	late := begun(t, store, "a", r.Generation)
	r, err := store.Commit(t.Context(), "a", of(begun(t, store, "a", r.Generation), secret))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Commit(t.Context(), "a", of(late, secret)); !errors.Is(err, coordinator.ErrSuperseded) {
		t.Fatalf("a late Commit() = %v, want %v", err, coordinator.ErrSuperseded)
	}
	server.MustDo(t, "del", "zhongkong:{a}:token", "zhongkong:{a}:state")
	if _, err := store.Restore(t.Context(), "a", r); err != nil {
		t.Fatal(err)
	}
	attempt := begun(t, store, "a", r.Generation)
	if err := store.Fail(t.Context(), "a", coordinator.FailRequest{
		Attempt: attempt, Failure: coordinator.Failure{Kind: coordinator.FailedBusy, Message: "busy"}, Calls: 1,
	}); err != nil {
		t.Fatal(err)
	}
	client := server.Client()
	defer client.Close()
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) < 4 {
		t.Fatalf("KEYS = %v, %v", keys, err)
	}
	for _, key := range keys {
		dump, err := client.Dump(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if holds := strings.Contains(dump, secret); holds != strings.HasSuffix(key, ":token") {
			t.Errorf("the key %s holds the token: %v", key, holds)
		}
	}
	if strings.Contains(log.String(), secret) {
		t.Error("the log holds the token")
	}
}

func TestBadContentsAreNamed(t *testing.T) {
	const secret = "SECRET-TOKEN"
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	token, state := "zhongkong:{a}:token", "zhongkong:{a}:state"
	for name, test := range map[string]struct {
		spoil      []any
		key, field string
	}{
		"a token that is a string":      {[]any{"set", token, secret}, token, ""},
		"a state that is a list":        {[]any{"lpush", state, secret}, state, ""},
		"attempts that are a string":    {[]any{"set", "zhongkong:{a}:attempts", "x"}, "zhongkong:{a}:attempts", ""},
		"a fence that is no number":     {[]any{"hset", state, "fence", secret}, state, "fence"},
		"a failure count below nothing": {[]any{"hset", state, "failures", "-1", "last_error_at", "1"}, state, "failures"},
	} {
		t.Run(name, func(t *testing.T) {
			server.FlushAll(t)
			server.MustDo(t, test.spoil...)
			states, err := store.Load(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			loadErr := states[0].Err
			_, beginErr := store.Begin(t.Context(), "a", coordinator.BeginRequest{TTL: time.Minute})
			for op, err := range map[string]error{"Load": loadErr, "Begin": beginErr} {
				var data *redisstore.DataError
				if !errors.As(err, &data) {
					t.Fatalf("%s() = %v, want a *DataError", op, err)
				}
				if data.Key != test.key || data.Field != test.field {
					t.Errorf("%s() blames %q, %q; want %q, %q", op, data.Key, data.Field, test.key, test.field)
				}
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%s() quotes the contents: %v", op, err)
				}
				if errors.Is(err, coordinator.ErrUnreachable) {
					t.Errorf("%s() = %v, which says that the store is unreachable", op, err)
				}
			}
		})
	}
}

// A record that cannot be used is replaced without an operator.
func TestBadRecordIsNamedAndReplaced(t *testing.T) {
	const secret = "SECRET-TOKEN"
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	now := time.Now()
	written := func(generation any, life time.Duration) []any {
		return []any{"hset", "zhongkong:{a}:token", "access_token", secret, "generation", generation, "issued_by", "x",
			"issued_at", now.UTC().Format(time.RFC3339), "expires_at", now.UTC().Add(life).Format(time.RFC3339)}
	}
	for name, test := range map[string]struct {
		spoil      []any
		field      string
		generation coordinator.Fence
	}{
		"no generation":                  {[]any{"hset", "zhongkong:{a}:token", "access_token", secret}, "generation", 0},
		"a generation that is no number": {written(secret, time.Hour), "generation", 0},
		"a generation that is negative":  {written("-5", time.Hour), "generation", 0},
		"a generation in hexadecimal":    {written("0x10", time.Hour), "generation", 0},
		"a generation of two days hence": {written(now.Add(48*time.Hour).UnixMicro(), time.Hour), "generation", 0},
		"the greatest generation":        {written(int64(1<<53-1), time.Hour), "generation", 0},
		"a life of a thousand years":     {written(now.UnixMicro(), 200*366*24*time.Hour), "expires_at", coordinator.Fence(now.UnixMicro())},
		"an end before the beginning":    {written(now.UnixMicro(), -time.Hour), "expires_at", coordinator.Fence(now.UnixMicro())},
		"a beginning that is no instant": {append(written(now.UnixMicro(), time.Hour), "issued_at", "today"), "issued_at", coordinator.Fence(now.UnixMicro())},
		"a token that is empty":          {append(written(now.UnixMicro(), time.Hour), "access_token", ""), "access_token", coordinator.Fence(now.UnixMicro())},
	} {
		t.Run(name, func(t *testing.T) {
			server.FlushAll(t)
			server.MustDo(t, test.spoil...)
			server.MustDo(t, "pexpire", "zhongkong:{a}:token", 3600000)
			states, err := store.Load(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			var data *redisstore.DataError
			if err := states[0].Err; !errors.As(err, &data) || data.Field != test.field || strings.Contains(err.Error(), secret) {
				t.Errorf("Load() blames %v, want the field %q", err, test.field)
			}
			if r := states[0].Record; r.Generation != test.generation || r.Usable() {
				t.Errorf("Load() = %+v, want the generation %d alone", r, test.generation)
			}
			if r := refreshed(t, store, "a", "new"); !r.Usable() || r.Generation > coordinator.Fence(now.Add(time.Hour).UnixMicro()) {
				t.Errorf("the record after a refresh: %+v", r)
			}
			if s := loaded(t, store, "a"); s.Err != nil || s.Record.Token.Reveal() != "new" {
				t.Errorf("after a refresh Load() = %+v", s)
			}
		})
	}
}

func TestARefreshIsStoredThoughTheLogCannotBeWritten(t *testing.T) {
	for name, spoil := range map[string][]any{
		"not a stream":    {"set", "zhongkong:{}:log", "x"},
		"the greatest ID": {"xadd", "zhongkong:{}:log", "18446744073709551615-18446744073709551615", "event", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			var log bytes.Buffer
			store := open(t, server.URL(), redisstore.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			attempt := begun(t, store, "a", 0)
			server.MustDo(t, spoil...)
			if _, err := store.Commit(t.Context(), "a", of(attempt, "token")); err != nil {
				t.Fatalf("Commit() = %v", err)
			}
			if s := loaded(t, store, "a"); s.Record.Generation != attempt.Fence || len(s.Open) != 0 {
				t.Errorf("Load() = %+v, want the token", s)
			}
			if !strings.Contains(log.String(), "zhongkong:{}:log") {
				t.Errorf("the log does not name the key: %s", log.String())
			}
		})
	}
}

func TestUnreachableServerIsSaid(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{Timeout: 300 * time.Millisecond})
	lock, err := store.Lock(t.Context(), "a", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	attempt := begun(t, store, "a", 0)
	operations := map[string]func(ctx context.Context) error{
		"Ping":      store.Ping,
		"Load":      func(ctx context.Context) error { _, err := store.Load(ctx, "a"); return err },
		"Load many": func(ctx context.Context) error { _, err := store.Load(ctx, "a", "b"); return err },
		"Lock":      func(ctx context.Context) error { _, err := store.Lock(ctx, "b", time.Second); return err },
		"Extend":    func(ctx context.Context) error { return lock.Extend(ctx, attempt.Fence) },
		"Unlock":    lock.Unlock,
		"Begin": func(ctx context.Context) error {
			_, err := store.Begin(ctx, "a", coordinator.BeginRequest{TTL: 1})
			return err
		},
		"Commit": func(ctx context.Context) error { _, err := store.Commit(ctx, "a", of(attempt, "t")); return err },
		"Fail": func(ctx context.Context) error {
			return store.Fail(ctx, "a", coordinator.FailRequest{Attempt: attempt})
		},
		"Want":     func(ctx context.Context) error { return store.Want(ctx, "a", coordinator.WantRequest{}) },
		"History":  func(ctx context.Context) error { _, err := redisadmin.New(store).History(ctx, "a", 1); return err },
		"Accounts": func(ctx context.Context) error { _, err := redisadmin.New(store).Accounts(ctx); return err },
		"Diagnose": func(ctx context.Context) error { _, err := redisadmin.New(store).Diagnose(ctx); return err },
	}
	check := func(t *testing.T, within time.Duration) {
		for name, ask := range operations {
			start := time.Now()
			err := ask(t.Context())
			if !errors.Is(err, coordinator.ErrUnreachable) {
				t.Errorf("%s() = %v, want %v", name, err, coordinator.ErrUnreachable)
			}
			if took := time.Since(start); took > within {
				t.Errorf("%s() took %v", name, took)
			}
		}
	}
	t.Run("hung", func(t *testing.T) {
		server.Pause()
		defer server.Resume()
		check(t, 2*time.Second)
	})
	t.Run("gone", func(t *testing.T) {
		server.Kill()
		check(t, time.Second)
	})
}

func TestServerThatIsBackIsAskedAtOnce(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	for range 5 {
		refreshed(t, store, "a", "token")
		server.Restart(t)
		loaded(t, store, "a")
		begun(t, store, "a", 0) // without a retry of its own
	}
}

func TestServerThatWasAwayForLongIsAskedAtOnce(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	server.Kill()
	for range 50 { // more than a pool of go-redis puts up with
		if _, err := store.Load(t.Context(), "a"); !errors.Is(err, coordinator.ErrUnreachable) ||
			!strings.Contains(err.Error(), "refused") {
			t.Fatalf("Load() = %v, want %v and why", err, coordinator.ErrUnreachable)
		}
		if _, err := store.Lock(t.Context(), "a", time.Millisecond); !errors.Is(err, coordinator.ErrUnreachable) {
			t.Fatalf("Lock() = %v, want %v", err, coordinator.ErrUnreachable)
		}
	}
	server.Restart(t)
	refreshed(t, store, "a", "token")
	if _, err := store.Load(t.Context(), "a", "b"); err != nil {
		t.Error(err)
	}
}

func TestNamesAreChecked(t *testing.T) {
	store := open(t, "redis://127.0.0.1:1", redisstore.Options{})
	for _, name := range []string{"", "a{b}", "a\nb", strings.Repeat("a", 129), "a\xff", "a:b", "a b"} {
		if _, err := store.Load(t.Context(), name); err == nil || errors.Is(err, coordinator.ErrUnreachable) {
			t.Errorf("Load(%q) = %v, want an error about the name", name, err)
		}
		if _, err := store.Load(t.Context(), "fine", name); err == nil || errors.Is(err, coordinator.ErrUnreachable) {
			t.Errorf("Load(fine, %q) = %v, want an error about the name", name, err)
		}
		if _, err := store.Lock(t.Context(), name, time.Second); err == nil || errors.Is(err, coordinator.ErrUnreachable) {
			t.Errorf("Lock(%q) = %v, want an error about the name", name, err)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]redisstore.Options{
		"a prefix with a pattern":       {Prefix: "a*"},
		"an instance with a line break": {Instance: "a\nb"},
		"negative replicas":             {Replicas: -1},
		"a wait beyond the timeout":     {Replicas: 1, WaitTimeout: 2 * time.Second},
		"a negative timeout":            {Timeout: -1},
	} {
		if _, err := redisstore.Open("redis://127.0.0.1:1", o); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	shards := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	defer func() { _ = shards.Close() }()
	if _, err := redisstore.New(shards, redisstore.Options{}); err == nil || !strings.Contains(err.Error(), "ClusterClient") {
		t.Errorf("New() of a Ring = %v", err)
	}
	if _, err := redisstore.New(nil, redisstore.Options{}); err == nil {
		t.Error("New(nil) is accepted")
	}
}

func TestURLErrorsDoNotShowThePassword(t *testing.T) {
	for _, url := range []string{
		"redis://user:SECRET@host:port",
		"redis://user:SECRET@host:6379/\x7f",
		"redis://user:SECRET@host:6379/x",
		"redis://user:SECRET@host:6379?password=SECRET&what=1",
		"redis://user:SECRET@host:6379?addr=a",
		"redis://user:SECRET@host:6379?master_name=m&addr=a",
		"http://user:SECRET@host:6379",
		"SECRET",
	} {
		_, err := redisstore.Open(url, redisstore.Options{})
		if err == nil {
			t.Errorf("Open(%q) succeeded", url)
		} else if strings.Contains(err.Error(), "SECRET") {
			t.Errorf("Open() = %v", err)
		}
	}
}

func TestCallersClientIsUsedAndLeftOpen(t *testing.T) {
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
	defer client.Close()
	store, err := redisstore.New(client, redisstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	refreshed(t, store, "a", "token")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the client after Close: %v", err)
	}
}
