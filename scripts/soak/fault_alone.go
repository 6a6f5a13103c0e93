package main

import (
	"math/rand/v2"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// lostFresh is a loss of data that nothing but a restore can repair within restoreBound.
const lostFresh = "flushall, of a token just stored"

// aloneFaults are injected one after the other at the end of each leg, when all other faults
// have ended. The schedule's next refresh repairs within 3 s what they break, as do other
// faults' refreshes; so each keeps that from happening until its bound has passed.
func aloneFaults() []fault {
	return []fault{
		{
			name: "a token stored while the readers were cut off, the next one late", lane: laneAlone, extra: 1, cost: "the forced refresh",
			inject: func(tb *testbed, r *rand.Rand) { tb.storeUnseen(r) },
		},
		{
			name: "FLUSHALL right after a refresh", lane: laneAlone, extra: 1, cost: "the forced refresh",
			inject: func(tb *testbed, r *rand.Rand) { tb.loseFresh(r) },
		},
	}
}

// storeUnseen has a token stored while the readers' links are broken. The source does not
// answer the next call until hearBound has passed, so no later notification tells them of a
// token: they have to read the store when they connect again.
func (tb *testbed) storeUnseen(r *rand.Rand) {
	var ends []func()
	for _, p := range tb.fleet {
		if !p.refresh {
			ends = append(ends, tb.recorder.begin(p.name, "link reset"))
			ends = append(ends, tb.network.add(rule{from: p.name, mode: reset}))
		}
	}
	stored := tb.refreshed(r)
	late := wechattest.Fault{Kind: wechattest.FaultSlow, Phase: wechattest.Before, Delay: wechattest.Seconds(fetchTimeout / 2), Times: 1}
	id, err := tb.wechat.Inject(late)
	if err != nil {
		tb.recorder.violation(err.Error())
	}
	for i := range ends {
		ends[len(ends)-1-i]()
	}
	if stored {
		time.Sleep(hearBound + time.Second)
	}
	tb.wechat.Clear(id)
	tb.wechat.Release()
}

// loseFresh deletes the store's data as soon as every process has a new token, so that the
// schedule's next call to the source comes after restoreBound.
func (tb *testbed) loseFresh(r *rand.Rand) {
	settled := func() bool { return tb.unsettled() == "" }
	if !tb.refreshed(r) || eventually(refreshEvery, "the new token everywhere", settled) != nil {
		return
	}
	tb.onMaster(lostFresh, func(m *server) { _, _ = m.do("flushall") })
	time.Sleep(restoreBound + time.Second) // as calmAround wants
}

// refreshed forces a refresh and reports whether a new token was stored.
func (tb *testbed) refreshed(r *rand.Rand) bool {
	before := tb.stored()
	tb.demand(r)
	return eventually(lockLife+minInterval+time.Second, "a new token in the store", func() bool { return tb.stored() > before }) == nil
}
