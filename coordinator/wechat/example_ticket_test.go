package wechat_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// The example of WeChat's documentation.
func ExampleJSSDKSignature() {
	ticket := coordinator.NewToken("sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg")
	fmt.Println(wechat.JSSDKSignature(ticket, "Wm3WZYTPz0wzccnW", 1414587457, "http://mp.weixin.qq.com?params=value"))
	// Output: 0f9de62fce790f9a083d5c99e95740ceb90c27ed
}

// A service that signs what pages send it: encodeURIComponent(location.href) in
// JavaScript, decoded once. The ticket would be that of an account.
func ExamplePages_Sign() {
	pages, err := wechat.ParsePages([]string{"m.example.com", "*.shop.example.com"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ticket := coordinator.NewToken("the jsapi_ticket")
	signed, err := pages.Sign("wx8acdb7df5beb68fd", ticket, "https://m.example.com/?from=timeline#top")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(signed.AppID, len(signed.Signature)) // json.Marshal(signed) is what wx.config takes
	_, err = pages.Sign("wx8acdb7df5beb68fd", ticket, "https://m.example.com@evil.example/")
	fmt.Println(err != nil)
	// Output:
	// wx8acdb7df5beb68fd 40
	// true
}

// A Go service with an account and its ticket. The Store would be a redisstore.Store,
// which the other processes share, and the sources would have no Transport.
func ExampleTicketConfig_Source() {
	sandbox := wechattest.New(wechattest.Config{})
	account, err := wechat.Config{
		AppID: wechattest.DefaultAppID, Secret: wechattest.DefaultSecret, Kind: wechat.Stable, Transport: sandbox.Transport(),
	}.Source()
	if err != nil {
		fmt.Println(err)
		return
	}
	ticket, err := wechat.TicketConfig{Type: wechat.JSAPI, Transport: sandbox.Transport()}.Source()
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := coordinator.New(coordinator.Config{
		Store: memstore.New(),
		Accounts: []coordinator.AccountConfig{
			{Name: "ours", Source: account},
			{Name: "ours.jsapi", Source: ticket, Parent: "ours"},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = c.Run(ctx) })
	defer running.Wait()
	defer stop()

	jsapi, err := c.Token(ctx, "ours.jsapi")
	if err != nil {
		fmt.Println(err)
		return
	}
	const page = "https://m.example.com/"
	signature := wechat.JSSDKSignature(jsapi, "a nonce", 1414587457, page)
	_, valid := sandbox.SignedWith(wechattest.Signed{Signature: signature, NonceStr: "a nonce", Timestamp: 1414587457, URL: page})
	fmt.Println(jsapi, valid)
	// Output: [token] true
}
