package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidisaside"
	"github.com/silenceper/wechat/v2/cache"
	"github.com/silenceper/wechat/v2/credential"
	"github.com/silenceper/wechat/v2/util"
	"golang.org/x/oauth2"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/redisstore"
)

// herdSleep is the floor: the time the machine takes to wake so many goroutines.
func herdSleep(context.Context, order) (fetcher, func(), error) {
	sleep := func(context.Context) (string, error) { time.Sleep(sourceTook); return "", nil }
	return sleep, func() {}, nil
}

// herdBare is a floor, too: each process makes one call, without any caching.
func herdBare(_ context.Context, o order) (fetcher, func(), error) {
	var once sync.Once
	var token string
	var err error
	get := func(ctx context.Context) (string, error) {
		once.Do(func() { token, err = ask(ctx, o.Source) })
		return token, err
	}
	return get, func() {}, nil
}

// ask calls the issuer without any library.
func ask(ctx context.Context, source string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		source+"/cgi-bin/token?grant_type=client_credential&appid="+appID+"&secret=secret", nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", err
	}
	return answer.AccessToken, nil
}

func herdZhongkong(ctx context.Context, o order) (fetcher, func(), error) {
	store, err := redisstore.Open("redis://"+o.Redis, redisstore.Options{})
	if err != nil {
		return nil, nil, err
	}
	source, err := wechat.Config{AppID: appID, Secret: "secret", BaseURL: o.Source}.Source()
	if err != nil {
		return nil, nil, err
	}
	c, err := coordinator.New(coordinator.Config{
		Store:    store,
		Accounts: []coordinator.AccountConfig{{Name: appID, Source: source}},
	})
	if err != nil {
		return nil, nil, err
	}
	if err := store.Ping(ctx); err != nil {
		return nil, nil, err
	}
	running, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	var run sync.Once
	a, _ := c.Account(appID)
	get := func(ctx context.Context) (string, error) {
		run.Do(func() { go func() { defer close(done); _ = c.Run(running) }() })
		t, err := a.Token(ctx)
		return t.Reveal(), err
	}
	return get, func() { cancel(); <-done; _ = store.Close() }, nil
}

// herdNaive is a common design: read, lock, read again, fetch, and wait by polling.
func herdNaive(ctx context.Context, o order) (fetcher, func(), error) {
	client := redis.NewClient(&redis.Options{Addr: o.Redis})
	locks := redsync.New(goredis.NewPool(client))
	get := func(ctx context.Context) (string, error) { return lookLockFetch(ctx, client, locks, o) }
	return get, func() { _ = client.Close() }, client.Ping(ctx).Err()
}

func herdNaiveFlight(ctx context.Context, o order) (fetcher, func(), error) {
	client := redis.NewClient(&redis.Options{Addr: o.Redis})
	locks := redsync.New(goredis.NewPool(client))
	var mu sync.Mutex
	var token string
	get := func(ctx context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if token != "" {
			return token, nil
		}
		var err error
		token, err = lookLockFetch(ctx, client, locks, o)
		return token, err
	}
	return get, func() { _ = client.Close() }, client.Ping(ctx).Err()
}

func lookLockFetch(ctx context.Context, client *redis.Client, locks *redsync.Redsync, o order) (string, error) {
	lock := locks.NewMutex("lock:"+appID, redsync.WithTries(1))
	for {
		token, err := client.Get(ctx, "token:"+appID).Result()
		if err == nil {
			return token, nil
		}
		if !errors.Is(err, redis.Nil) {
			return "", err
		}
		if lock.LockContext(ctx) != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		defer func() { _, _ = lock.UnlockContext(ctx) }()
		if token, err := client.Get(ctx, "token:"+appID).Result(); err == nil {
			return token, nil
		}
		if token, err = ask(ctx, o.Source); err != nil {
			return "", err
		}
		return token, client.Set(ctx, "token:"+appID, token, 7000*time.Second).Err()
	}
}

// herdRueidis keeps the token in rueidis' client-side cache, which has no lock.
func herdRueidis(ctx context.Context, o order) (fetcher, func(), error) {
	cached, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{o.Redis}})
	if err != nil {
		return nil, nil, err
	}
	client := redis.NewClient(&redis.Options{Addr: o.Redis})
	locks := redsync.New(goredis.NewPool(client))
	get := func(ctx context.Context) (string, error) {
		token, err := cached.DoCache(ctx, cached.B().Get().Key("token:"+appID).Cache(), time.Hour).ToString()
		if err == nil {
			return token, nil
		}
		return lookLockFetch(ctx, client, locks, o)
	}
	return get, func() { cached.Close(); _ = client.Close() }, client.Ping(ctx).Err()
}

// herdAside uses rueidis' cache-aside client, which caches the token, locks with a
// placeholder, and learns of the value by invalidation.
func herdAside(ctx context.Context, o order) (fetcher, func(), error) {
	aside, err := rueidisaside.NewClient(rueidisaside.ClientOption{
		ClientOption: rueidis.ClientOption{InitAddress: []string{o.Redis}},
	})
	if err != nil {
		return nil, nil, err
	}
	get := func(ctx context.Context) (string, error) {
		return aside.Get(ctx, 7000*time.Second, "token:"+appID, func(ctx context.Context, _ string) (string, error) {
			return ask(ctx, o.Source)
		})
	}
	client := aside.Client()
	return get, aside.Close, client.Do(ctx, client.B().Ping().Build()).Error()
}

// herdSilenceper uses an SDK whose calls to WeChat go to the fake.
func herdSilenceper(ctx context.Context, o order) (fetcher, func(), error) {
	target, err := url.Parse(o.Source)
	if err != nil {
		return nil, nil, err
	}
	util.DefaultHTTPClient = &http.Client{Transport: redirect{target}}
	kept := cache.NewRedis(ctx, &cache.RedisOpts{Host: o.Redis})
	kept.Get("warm")
	token := credential.NewDefaultAccessToken(appID, "secret", credential.CacheKeyOfficialAccountPrefix, kept)
	return token.GetAccessTokenContext, func() {}, nil
}

// redirect sends every request to one server.
type redirect struct{ target *url.URL }

func (t redirect) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Scheme, req.URL.Host = t.target.Scheme, t.target.Host
	return http.DefaultTransport.RoundTrip(req)
}

// herdOAuth2 shares nothing between processes.
func herdOAuth2(_ context.Context, o order) (fetcher, func(), error) {
	tokens := oauth2.ReuseTokenSource(nil, bareOAuth2{o.Source})
	get := func(context.Context) (string, error) {
		t, err := tokens.Token()
		if err != nil {
			return "", err
		}
		return t.AccessToken, nil
	}
	return get, func() {}, nil
}

type bareOAuth2 struct{ source string }

func (s bareOAuth2) Token() (*oauth2.Token, error) {
	token, err := ask(context.Background(), s.source)
	return &oauth2.Token{AccessToken: token, Expiry: time.Now().Add(2 * time.Hour)}, err
}
