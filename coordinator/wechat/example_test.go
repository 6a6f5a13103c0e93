package wechat_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

func ExampleNewSource() {
	source := wechat.NewSource("wx8acdb7df5beb68fd", "the AppSecret")
	fmt.Println(source)
	// Output: wechat.Source(wx8acdb7df5beb68fd token)
}

// Config is for tests, other hosts and timeouts.
func ExampleConfig_Source() {
	sandbox := wechattest.New(wechattest.Config{})
	source, err := wechat.Config{
		AppID:     wechattest.DefaultAppID,
		Secret:    wechattest.DefaultSecret,
		Kind:      wechat.Stable,
		Fallbacks: []string{wechat.DisasterBaseURL},
		Transport: sandbox.Transport(),
	}.Source()
	if err != nil {
		fmt.Println(err)
		return
	}
	issue, err := source.Fetch(context.Background(), coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
	fmt.Println(issue.Token, issue.Lifetime, issue.RefreshIn, err)
	// Output: [token] 2h0m0s 1h55m5s <nil>
}

// What WeChat refuses is told apart from what may have gone wrong on the way.
func ExampleSource_Fetch() {
	sandbox := wechattest.New(wechattest.Config{})
	if err := sandbox.SetWhitelist(wechattest.DefaultAppID, []string{"10.0.0.0/8"}); err != nil {
		fmt.Println(err)
		return
	}
	source, err := wechat.Config{
		AppID: wechattest.DefaultAppID, Secret: wechattest.DefaultSecret,
		Transport: sandbox.TransportFrom("203.0.113.7"),
	}.Source()
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = source.Fetch(context.Background(), coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
	var failure *coordinator.FetchError
	if errors.As(err, &failure) {
		fmt.Println(failure.Kind, failure.Code)
	}
	if address, ok := wechat.SeenAddress(err); ok {
		fmt.Println("put on the whitelist:", address)
	}
	// Output:
	// refused 40164
	// put on the whitelist: 203.0.113.7
}

func ExampleClassify() {
	class := wechat.Classify(45011)
	fmt.Println(class.Kind, class.RetryIn, class.Meaning)
	// Output: later 1m0s the quota of this minute is used up
}

// A business call whose token was superseded by another party: the transport
// reports the token and repeats the call. The account would be a
// *coordinator.Account.
func ExampleTransport() {
	sandbox := wechattest.New(wechattest.Config{})
	source, err := wechat.Config{
		AppID: wechattest.DefaultAppID, Secret: wechattest.DefaultSecret, Transport: sandbox.Transport(),
	}.Source()
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{Transport: &wechat.Transport{
		Account: &account{source: source, token: coordinator.NewToken("one that is dead")},
		Base:    sandbox.Transport(),
	}}
	resp, err := client.Get("https://api.weixin.qq.com/cgi-bin/menu/get")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)
	// Output: {"menu":{"button":[]}} <nil>
}
