package wechattest_test

import (
	"context"
	"fmt"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// The worst that can happen to a classic call: the token is issued, the one
// before it is about to die, and the answer is lost.
func ExampleServer_Inject() {
	sandbox := wechattest.New(wechattest.Config{})
	source, err := wechat.Config{
		AppID: wechattest.DefaultAppID, Secret: wechattest.DefaultSecret, Transport: sandbox.Transport(),
	}.Source()
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := sandbox.Inject(wechattest.Fault{Kind: wechattest.FaultReset, Times: 2}); err != nil {
		fmt.Println(err)
		return
	}
	_, err = source.Fetch(context.Background(), coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
	fmt.Println(err)
	for _, issue := range sandbox.Issued() {
		fmt.Println("token", issue.Seq, "delivered:", issue.Delivered)
	}
	// Output:
	// api.weixin.qq.com/cgi-bin/token: read tcp: connection reset by peer
	// token 1 delivered: false
	// token 2 delivered: false
}

// Afterwards the server can be asked what was true when.
func ExampleServer_DeadSince() {
	sandbox := wechattest.New(wechattest.Config{})
	ours, _ := sandbox.Rogue(wechattest.DefaultAppID, wechattest.ClassicChain)
	theirs, _ := sandbox.Rogue(wechattest.DefaultAppID, wechattest.ClassicChain)
	dead, known := sandbox.DeadSince(ours.Token)
	fmt.Println(known, dead.Sub(theirs.IssuedAt))
	fmt.Println(sandbox.Accepts(ours.Token, theirs.IssuedAt), sandbox.Accepts(ours.Token, dead))
	// Output:
	// true 5m0s
	// true false
}
