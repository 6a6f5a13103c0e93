package main

import (
	"math/rand/v2"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// slowAfter delays one answer after its token has been issued.
func slowAfter(d time.Duration) wechattest.Fault {
	return wechattest.Fault{Kind: wechattest.FaultSlow, Phase: wechattest.After, Delay: wechattest.Seconds(d), Times: 1}
}

func sourceFaults() []fault {
	answer := func(name string, f wechattest.Fault) fault {
		f.Times = 1
		return fault{
			name: "source: " + name, lane: laneSource, weight: 1, extra: 2,
			cost: "the call is made again; after an unknown outcome once more",
			inject: func(tb *testbed, r *rand.Rand) {
				tb.injectSource(f, r)
			},
		}
	}
	after, before := wechattest.After, wechattest.Before
	return []fault{
		answer("-1", wechattest.Fault{Kind: wechattest.FaultErrcode, Code: -1}),
		answer("a page of HTML, nothing issued", wechattest.Fault{Kind: wechattest.FaultHTML, Phase: before}),
		answer("a page of HTML, token issued", wechattest.Fault{Kind: wechattest.FaultHTML, Phase: after}),
		answer("an empty body, token issued", wechattest.Fault{Kind: wechattest.FaultEmpty, Phase: after}),
		answer("null, token issued", wechattest.Fault{Kind: wechattest.FaultNull, Phase: after}),
		answer("a negative life, token issued", wechattest.Fault{Kind: wechattest.FaultNegativeExpires, Phase: after}),
		answer("connection reset, nothing issued", wechattest.Fault{Kind: wechattest.FaultReset, Phase: before}),
		answer("connection reset, token issued", wechattest.Fault{Kind: wechattest.FaultReset, Phase: after}),
		answer("answer cut off, token issued", wechattest.Fault{Kind: wechattest.FaultTruncated, Phase: after}),
		answer("no answer, nothing issued", wechattest.Fault{Kind: wechattest.FaultHang, Phase: before}),
		answer("no answer, token issued", wechattest.Fault{Kind: wechattest.FaultHang, Phase: after}),
		answer("4 s until it answers", wechattest.Fault{Kind: wechattest.FaultSlow, Phase: after, Delay: wechattest.Seconds(4 * time.Second)}),
		answer("4 s until it issues", wechattest.Fault{Kind: wechattest.FaultSlow, Phase: before, Delay: wechattest.Seconds(4 * time.Second)}),
		{
			name: "an outsider fetches with the same secret", lane: laneSource, weight: 3, extra: 2,
			cost: "one for the reports, if it killed our token before the schedule replaced it; one if a report was late",
			inject: func(tb *testbed, _ *rand.Rand) {
				if _, err := tb.wechat.Rogue(account, wechattest.ClassicChain); err != nil {
					tb.recorder.violation(err.Error())
				}
			},
		},
		{
			name: "the source revokes the token", lane: laneSource, weight: 2, extra: 2,
			cost:   "one for the reports; one if a report was late",
			inject: func(tb *testbed, _ *rand.Rand) { tb.wechat.KillEarly(account, wechattest.ClassicChain) },
		},
		{
			name: "a forced refresh", lane: laneSource, weight: 3, extra: 1, cost: "itself",
			inject: func(tb *testbed, r *rand.Rand) { tb.demand(r) },
		},
		{
			name: "50 reports of one token at once, on all servers", lane: laneSource, weight: 2, extra: 2,
			cost:   "one; and one where a process did not hear of it in time",
			inject: func(tb *testbed, _ *rand.Rand) { tb.herd() },
		},
	}
}

// injectSource makes the next call to the source fail and waits for that call.
func (tb *testbed) injectSource(f wechattest.Fault, r *rand.Rand) {
	before := len(tb.wechat.Calls())
	id, err := tb.wechat.Inject(f)
	if err != nil {
		tb.recorder.violation(err.Error())
		return
	}
	defer tb.wechat.Clear(id)
	called := func() bool { return len(tb.wechat.Calls()) > before }
	if r.IntN(3) > 0 { // otherwise the schedule makes the call
		tb.demand(r)
	}
	if eventually(5*time.Second, "a call", called) != nil {
		tb.demand(r) // the back-off has become long
		_ = eventually(2*time.Second, "a call", called)
	}
}

// herd makes callers of all processes report the same token.
func (tb *testbed) herd() {
	issue, ok := tb.wechat.LastIssued(account)
	if !ok {
		return
	}
	for i := range 50 {
		c := tb.callers[i%len(tb.callers)]
		tb.wg.Go(func() { c.refresh(tb.ctx, issue.Token) }) // ends with tb.ctx, or by its own deadline
	}
}
