package main

import (
	"math/rand/v2"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// slowAfter is an answer that comes long after the token was issued.
func slowAfter(d time.Duration) wechattest.Fault {
	return wechattest.Fault{Kind: wechattest.FaultSlow, Phase: wechattest.After, Delay: wechattest.Seconds(d), Times: 1}
}

func sourceFaults() []fault {
	answer := func(name string, f wechattest.Fault) fault {
		f.Times = 1
		return fault{
			name: "source: " + name, lane: laneSource, weight: 1, extra: 2,
			cost: "the call is made again; after an unknown outcome once more",
			strike: func(w *world, r *rand.Rand) {
				w.struck(f, r)
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
			strike: func(w *world, _ *rand.Rand) {
				if _, err := w.wechat.Rogue(account, wechattest.ClassicChain); err != nil {
					w.ledger.wrong(err.Error())
				}
			},
		},
		{
			name: "the source revokes the token", lane: laneSource, weight: 2, extra: 2,
			cost:   "one for the reports; one if a report was late",
			strike: func(w *world, _ *rand.Rand) { w.wechat.KillEarly(account, wechattest.ClassicChain) },
		},
		{
			name: "a forced refresh", lane: laneSource, weight: 3, extra: 1, cost: "itself",
			strike: func(w *world, r *rand.Rand) { w.demand(r) },
		},
		{
			name: "50 reports of one token at once, on all servers", lane: laneSource, weight: 2, extra: 2,
			cost:   "one; and one where a process did not hear of it in time",
			strike: func(w *world, _ *rand.Rand) { w.herd() },
		},
	}
}

// struck has the next call go wrong, and waits until there was one.
func (w *world) struck(f wechattest.Fault, r *rand.Rand) {
	before := len(w.wechat.Calls())
	id, err := w.wechat.Inject(f)
	if err != nil {
		w.ledger.wrong(err.Error())
		return
	}
	defer w.wechat.Clear(id)
	called := func() bool { return len(w.wechat.Calls()) > before }
	if r.IntN(3) > 0 { // else wait for what the schedule brings
		w.demand(r)
	}
	if eventually(5*time.Second, "a call", called) != nil {
		w.demand(r) // the back-off is long by now
		_ = eventually(2*time.Second, "a call", called)
	}
}

// herd has callers of all processes report the same token.
func (w *world) herd() {
	issue, ok := w.wechat.LastIssued(account)
	if !ok {
		return
	}
	for i := range 50 {
		c := w.callers[i%len(w.callers)]
		w.wg.Go(func() { c.refresh(w.life, issue.Token) }) // ends with the world, or by its own deadline
	}
}
