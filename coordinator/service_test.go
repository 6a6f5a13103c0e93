package coordinator_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// A service that calls WeChat through an http.Client. The sandbox and the store in
// memory are in the places of WeChat and of a redisstore.
func ExampleCoordinator_Start() {
	ctx, cancel := context.WithCancel(context.Background()) // signal.NotifyContext
	defer cancel()
	sandbox := wechattest.New(wechattest.Config{})
	source, err := wechat.Config{
		AppID: wechattest.DefaultAppID, Secret: wechattest.DefaultSecret, Transport: sandbox.Transport(),
	}.Source()
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := coordinator.New(coordinator.Config{Store: memstore.New()})
	if err != nil {
		fmt.Println(err)
		return
	}
	account, err := c.Add(coordinator.AccountConfig{Name: wechattest.DefaultAppID, Source: source})
	if err != nil {
		fmt.Println(err)
		return
	}
	stop := c.Start(ctx)
	defer stop()

	client := &http.Client{Transport: &wechat.Transport{Account: account, Base: sandbox.Transport()}}
	resp, err := client.Get("https://api.weixin.qq.com/cgi-bin/menu/get")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	fmt.Println(resp.StatusCode)
	// Output: 200
}

// slowAnswers is WeChat whose answers, once it is slow, take until they are let go.
type slowAnswers struct {
	http.RoundTripper
	slow   chan struct{} // closed: answers take their time
	issued chan struct{} // gets one for each answer that is on its way
	let    chan struct{} // closed: they arrive
}

func (s *slowAnswers) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.RoundTripper.RoundTrip(req)
	select {
	case <-s.slow:
		s.issued <- struct{}{}
		<-s.let
	default:
	}
	return resp, err
}

func TestAServiceThatStopsInMidRefreshLosesNothing(t *testing.T) {
	sandbox := wechattest.New(wechattest.Config{})
	issuer := &slowAnswers{sandbox.Transport(), make(chan struct{}), make(chan struct{}, 1), make(chan struct{})}
	source, err := wechat.Config{
		AppID: wechattest.DefaultAppID, Secret: wechattest.DefaultSecret, Transport: issuer,
	}.Source()
	if err != nil {
		t.Fatal(err)
	}
	store := memstore.New()
	c, err := coordinator.New(coordinator.Config{
		Store: store, Accounts: []coordinator.AccountConfig{{Name: wechattest.DefaultAppID, Source: source}},
	})
	if err != nil {
		t.Fatal(err)
	}
	account, _ := c.Account(wechattest.DefaultAppID)
	stop := c.Start(t.Context())
	client := &http.Client{Transport: &wechat.Transport{Account: account, Base: sandbox.Transport()}}
	works := func() {
		t.Helper()
		resp, err := client.Get("https://api.weixin.qq.com/cgi-bin/menu/get")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("the call is answered %s", resp.Status)
		}
	}
	works()
	before := store.Peek(wechattest.DefaultAppID).Record

	close(issuer.slow)
	ctx, cancel := context.WithCancel(t.Context())
	var caller sync.WaitGroup
	caller.Go(func() { _, _ = account.Refresh(ctx) })
	<-issuer.issued // WeChat has issued a token, and its answer is on its way
	cancel()        // whoever wanted it has gone
	caller.Wait()
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	select {
	case <-stopped:
		t.Error("stop() returned while the answer was on its way")
	default:
	}
	close(issuer.let)
	<-stopped

	after := store.Peek(wechattest.DefaultAppID)
	if after.Record.Generation <= before.Generation || len(after.Open) != 0 {
		t.Fatalf("the store has generation %d and %d open attempts, before it had %d", after.Record.Generation, len(after.Open), before.Generation)
	}
	if err := (wechat.Prober{Transport: sandbox.Transport()}).Probe(t.Context(), after.Record.Token); err != nil {
		t.Errorf("WeChat does not accept what is stored: %v", err)
	}
	works() // without Run, from the store
	stop()  // once more
}

func TestStartOfARunningCoordinatorIsLogged(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		cfg, log := f.logged()
		p := f.start(cfg, f.source)
		f.wantCurrent(p)
		p.c.Start(t.Context())()
		if log.count("level=ERROR", "already running") != 1 {
			t.Error("the log does not say so")
		}
		f.wantCurrent(p)
	})
}
