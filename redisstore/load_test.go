package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

func TestLoadOfManyKeepsTheOrder(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	accounts := make([]string, 1777)
	for i := range accounts {
		accounts[i] = fmt.Sprintf("a%d", i)
	}
	for _, i := range []int{0, 250, 1776} {
		refreshed(t, store, accounts[i], accounts[i])
	}
	states, err := store.Load(t.Context(), accounts...)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range states {
		if s.Account != accounts[i] {
			t.Fatalf("state %d is of %q, want %q", i, s.Account, accounts[i])
		}
		if has, want := s.Record.Generation > 0, i == 0 || i == 250 || i == 1776; has != want {
			t.Errorf("state %d has a record: %v, want %v", i, has, want)
		}
	}
}

func TestLoadReadsTheOthersWhenOneIsBad(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	refreshed(t, store, "good", "token")
	server.MustDo(t, "set", "zhongkong:{bad}:token", "x")
	server.MustDo(t, "hset", "zhongkong:{sealed}:token", "access_token", "eyJ.a.b.c.d", "generation", 7, "issued_by", "x",
		"issued_at", "2026-01-02T03:04:05.000Z", "expires_at", "2026-01-02T05:04:05.000Z")
	states, err := store.Load(t.Context(), "bad", "good", "sealed")
	if err != nil || len(states) != 3 {
		t.Fatalf("Load() = %d states, %v, want three", len(states), err)
	}
	for i, name := range []string{"bad", "good", "sealed"} {
		if states[i].Account != name {
			t.Errorf("state %d is of %q, want %q", i, states[i].Account, name)
		}
	}
	var data *redisstore.DataError
	if err := states[0].Err; !errors.As(err, &data) || data.Key != "zhongkong:{bad}:token" || errors.Is(err, coordinator.ErrUnreachable) {
		t.Errorf("the bad account's error = %v, want a *DataError", err)
	}
	if err := states[2].Err; !errors.Is(err, coordinator.ErrSealed) || !strings.Contains(err.Error(), `"sealed"`) {
		t.Errorf("the sealed account's error = %v, want %v", err, coordinator.ErrSealed)
	}
	if states[1].Err != nil || !states[1].Record.Usable() {
		t.Errorf("the good account has no usable record: %v", states[1].Err)
	}
}

func TestLoadOfManyOverAServerThatForgets(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	accounts := make([]string, 2000)
	for i := range accounts {
		accounts[i] = fmt.Sprintf("a%d", i)
	}
	for range 3 {
		server.MustDo(t, "script", "flush")
		if _, err := store.Load(t.Context(), accounts...); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkLoadMany(b *testing.B) {
	server := redistest.Start(b)
	store := open(b, server.URL(), redisstore.Options{})
	accounts := make([]string, 10000)
	for i := range accounts {
		accounts[i] = fmt.Sprintf("a%d", i)
	}
	for b.Loop() {
		if _, err := store.Load(b.Context(), accounts...); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRefresh(b *testing.B) {
	server := redistest.Start(b)
	store := open(b, server.URL(), redisstore.Options{})
	b.RunParallel(func(p *testing.PB) {
		var seen coordinator.Fence
		for p.Next() {
			attempt, err := store.Begin(b.Context(), "a", coordinator.BeginRequest{Seen: seen, TTL: 1e9})
			if err != nil {
				b.Fatal(err)
			}
			seen = max(attempt.Fence, attempt.Record.Generation)
			_, _ = store.Commit(b.Context(), "a", of(attempt, "token"))
		}
	})
}

// latePipelines is a hook for which the pipelines from the second on fail, so many of them.
type latePipelines struct{ sent, fail atomic.Int64 }

func (*latePipelines) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (*latePipelines) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (l *latePipelines) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if l.sent.Add(1) == 1 || l.fail.Add(-1) < 0 {
			return next(ctx, cmds)
		}
		for _, cmd := range cmds {
			cmd.SetErr(context.DeadlineExceeded)
		}
		return context.DeadlineExceeded
	}
}

func TestLoadRepeatsOnlyWhatWasNotAnswered(t *testing.T) {
	server := redistest.Start(t)
	accounts := make([]string, 600)
	for i := range accounts {
		accounts[i] = fmt.Sprintf("a%d", i)
	}
	for fail, want := range map[int64]error{2: nil, 3: coordinator.ErrUnreachable} {
		client, late := server.Client(), new(latePipelines)
		t.Cleanup(func() { _ = client.Close() })
		late.fail.Store(fail)
		client.AddHook(late)
		store, err := redisstore.New(client, redisstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		states, err := store.Load(t.Context(), accounts...)
		if !errors.Is(err, want) || err == nil && (len(states) != len(accounts) || states[599].Account != "a599") {
			t.Errorf("with %d answers that are late Load() = %d states, %v, want %v", fail, len(states), err, want)
		}
	}
}
