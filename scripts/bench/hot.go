package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/silenceper/wechat/v2/cache"
	"github.com/silenceper/wechat/v2/credential"
	"golang.org/x/oauth2"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
)

const appID = "wx8acdb7df5beb68fd"

// hot measures further requests for a token by a process that has it.
func hot(e *env, r *record) error {
	server, kill, err := e.redis()
	if err != nil {
		return err
	}
	defer kill()
	testing.Init()
	if err := flag.Set("test.benchtime", map[bool]string{true: "5ms", false: "700ms"}[e.quick]); err != nil {
		return err
	}
	ctx := context.Background()
	for _, c := range []struct {
		name string
		make func(context.Context, string) (func(*testing.B), func(), error)
	}{
		{"atomic load", hotAtomic},
		{"zhongkong", hotZhongkong},
		{"zhongkong, by name", hotByName},
		{"oauth2 ReuseTokenSource", hotOAuth2},
		{"rueidis DoCache", hotRueidis},
		{"go-redis GET", hotGoRedis},
		{"silenceper, Redis cache", hotSilenceper},
	} {
		bench, stop, err := c.make(ctx, server.Addr())
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		result := testing.Benchmark(bench)
		r.add(c.name, of("ns/op", nanoseconds(result)), of("allocs/op", float64(result.AllocsPerOp())))
		stop()
	}
	return nil
}

func nanoseconds(r testing.BenchmarkResult) float64 {
	return float64(r.T.Nanoseconds()) / float64(r.N)
}

// What is measured is stored in these, so that the compiler keeps the calls.
//
//nolint:unused // nothing reads them
var (
	sinkPointer *string
	sinkToken   coordinator.Token
	sinkString  string
	sinkOAuth2  *oauth2.Token
)

// hotAtomic is the floor: an atomic load and a check.
func hotAtomic(context.Context, string) (func(*testing.B), func(), error) {
	var p atomic.Pointer[string]
	p.Store(new(string))
	return func(b *testing.B) {
		for b.Loop() {
			if s := p.Load(); s != nil {
				sinkPointer = s
			}
		}
	}, func() {}, nil
}

// followed is an account of a running coordinator.
func followed(ctx context.Context, addr string) (*coordinator.Account, func(), error) {
	store, err := redisstore.Open("redis://"+addr, redisstore.Options{})
	if err != nil {
		return nil, nil, err
	}
	c, err := coordinator.New(coordinator.Config{Store: store})
	if err != nil {
		return nil, nil, err
	}
	source := coordinator.SourceFunc(func(context.Context, coordinator.FetchRequest) (coordinator.FetchResult, error) {
		return coordinator.FetchResult{Token: coordinator.NewToken(tokenText(1)), Lifetime: 2 * time.Hour}, nil
	})
	a, err := c.Add(coordinator.AccountConfig{Name: appID, Source: source})
	if err != nil {
		return nil, nil, err
	}
	running, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(running) }() // ended by stop
	_, err = a.Token(ctx)
	return a, func() { cancel(); <-done; _ = store.Close() }, err
}

func hotZhongkong(ctx context.Context, addr string) (func(*testing.B), func(), error) {
	a, stop, err := followed(ctx, addr)
	return func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sinkToken, _ = a.Token(ctx)
		}
	}, stop, err
}

// hotByName looks up the account by its name each time.
func hotByName(ctx context.Context, addr string) (func(*testing.B), func(), error) {
	store, err := redisstore.Open("redis://"+addr, redisstore.Options{})
	if err != nil {
		return nil, nil, err
	}
	c, err := coordinator.New(coordinator.Config{Store: store, Accounts: []coordinator.AccountConfig{{Name: appID}}})
	if err != nil {
		return nil, nil, err
	}
	running, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(running) }() // ended by stop
	_, err = c.Token(ctx, appID)
	return func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sinkToken, _ = c.Token(ctx, appID)
		}
	}, func() { cancel(); <-done; _ = store.Close() }, err
}

// oauth2Source issues tokens with a long lifetime.
type oauth2Source struct{}

func (oauth2Source) Token() (*oauth2.Token, error) {
	return &oauth2.Token{AccessToken: tokenText(1), Expiry: time.Now().Add(2 * time.Hour)}, nil
}

func hotOAuth2(context.Context, string) (func(*testing.B), func(), error) {
	tokens := oauth2.ReuseTokenSource(nil, oauth2Source{})
	return func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sinkOAuth2, _ = tokens.Token()
		}
	}, func() {}, nil
}

func hotRueidis(ctx context.Context, addr string) (func(*testing.B), func(), error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}})
	if err != nil {
		return nil, nil, err
	}
	err = client.Do(ctx, client.B().Set().Key("token").Value(tokenText(1)).Build()).Error()
	return func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var err error
			if sinkString, err = client.DoCache(ctx, client.B().Get().Key("token").Cache(), time.Hour).ToString(); err != nil {
				b.Fatal(err)
			}
		}
	}, client.Close, err
}

func hotGoRedis(ctx context.Context, addr string) (func(*testing.B), func(), error) {
	client := redis.NewClient(&redis.Options{Addr: addr})
	err := client.Set(ctx, "token", tokenText(1), 0).Err()
	return func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var err error
			if sinkString, err = client.Get(ctx, "token").Result(); err != nil {
				b.Fatal(err)
			}
		}
	}, func() { _ = client.Close() }, err
}

func hotSilenceper(ctx context.Context, addr string) (func(*testing.B), func(), error) {
	kept := cache.NewRedis(ctx, &cache.RedisOpts{Host: addr})
	token := credential.NewDefaultAccessToken(appID, "secret", credential.CacheKeyOfficialAccountPrefix, kept)
	key := fmt.Sprintf("%s_access_token_%s", credential.CacheKeyOfficialAccountPrefix, appID)
	if err := kept.Set(key, tokenText(1), time.Hour); err != nil {
		return nil, nil, err
	}
	if got, err := token.GetAccessToken(); err != nil || got != tokenText(1) {
		return nil, nil, errors.New("its cache does not have the token")
	}
	return func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var err error
			if sinkString, err = token.GetAccessToken(); err != nil {
				b.Fatal(err)
			}
		}
	}, func() {}, nil
}
