package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// In the legs the next scheduled refresh hides within 3 s what a missing rule of the protocol
// leaves behind. So at the end of a run the fleet is started with a schedule that makes no
// refresh for half a minute, and each of aloneFaults is injected while nothing else happens.

const (
	// aloneEvery is the schedule then. Half a token's life is less.
	aloneEvery = tokenLife
	// aloneBound limits the time until everything has settled after such a fault: the lock of a
	// process that was killed ends, another one refreshes, and all hear of it. It is less than
	// grace, after which callers report an old token.
	aloneBound = lockLife + minInterval + hearBound
)

// aloneForgeries are the forgeries of which each breaks another rule where that is missing.
var aloneForgeries = []string{
	"forged: begun, and over at once", "forged: refreshed, newer than any token can be", "forged: the last fence", "forged: a lock without an end",
}

func aloneFaults() []fault {
	alone := func(name string, extra int, cost string, inject func(tb *testbed, r *rand.Rand)) fault {
		return fault{name: "alone: " + name, lane: laneAlone, extra: extra, cost: cost, inject: inject}
	}
	var all []fault
	for _, f := range forgedFaults() {
		if slices.Contains(aloneForgeries, f.name) {
			all = append(all, alone(f.name, f.extra+1, strings.TrimSuffix("the forced refresh; "+f.cost, "; "), func(tb *testbed, r *rand.Rand) {
				f.inject(tb, r)
				tb.refreshed(tb.anyCaller(r))
			}))
		}
	}
	return append(all,
		alone("a token stored while readers are cut off", 1, "the forced refresh", func(tb *testbed, r *rand.Rand) {
			tb.storeUnseen(r, reset, true)
		}),
		alone("a token stored after the readers' connections became half-open", 1, "the forced refresh", func(tb *testbed, r *rand.Rand) {
			tb.storeUnseen(r, drop, false)
		}),
		alone("FLUSHALL", 1, "the forced refresh", (*testbed).loseData),
		alone("a refresh forced while Redis is unreachable", 3, "itself; late commands of several", (*testbed).forceWithoutRedis),
		alone("kill -9 of the holder, mid-call", 2, "the forced refresh, and its successor's", func(tb *testbed, r *rand.Rand) {
			if p := tb.midCall(r, 8*time.Second); p != nil {
				tb.restart(p, syscall.SIGKILL, func() {})
			}
		}),
		alone("a page of HTML, token issued", 2, "the forced refresh, and the one after it", (*testbed).loseAnswer),
		alone("the holder cut off mid-call until another process has refreshed", 3,
			"the forced refresh, its successor's, and the one after the superseded commit", (*testbed).commitLate),
		alone("the lock deleted mid-call, the holder killed, its request late", 3,
			"two forced refreshes at once, and the one for the late request", (*testbed).requestLate),
	)
}

// alone injects each fault that needs everything else to work, and checks that its effect has
// ended in time.
func (s *soak) alone() {
	tb := s.tb
	faults := slices.DeleteFunc(slices.Clone(s.all), func(f fault) bool { return f.lane != laneAlone })
	if len(faults) == 0 {
		return
	}
	tb.startAnew(aloneEvery, time.Millisecond)
	if !s.settles("the start with another schedule", quietWithin) {
		return
	}
	began, calls, extra := time.Now(), len(tb.calls()), s.extra
	for i, f := range faults {
		s.carryOut(f, rand.New(rand.NewPCG(s.plan.Seed, uint64(1000+i))))
		if !s.settles(f.name, aloneBound) {
			break
		}
	}
	s.budget(legCalls{Made: len(tb.calls()) - calls, Schedule: int(time.Since(began)/(tokenLife/2)) + 1, Extra: s.extra - extra})
}

// settles checks that the store and all processes settle in time. It reports whether they
// have settled, be it late.
func (s *soak) settles(after string, within time.Duration) bool {
	why := ""
	settled := func() bool { why = s.tb.unsettled(); return why == "" }
	if eventually(within, "quiet", settled) == nil {
		return true
	}
	s.tb.recorder.violation(fmt.Sprintf("%v after %q: %s", within, after, why))
	return eventually(quietWithin, "quiet", settled) == nil
}

// startAnew ends all processes and starts them with another schedule.
func (tb *testbed) startAnew(every, minInterval time.Duration) {
	config := filepath.Join(tb.dir, "alone.yaml") // the other file is watched by those that still run
	if err := writeConfig(config, minInterval); err != nil {
		tb.recorder.violation(err.Error())
	}
	var all sync.WaitGroup
	for _, p := range tb.fleet {
		all.Go(func() {
			tb.restart(p, syscall.SIGTERM, func() {
				p.env["ZHONGKONG_REFRESH_EVERY"] = every.String()
				if p.args[0] == "serve" {
					p.env["ZHONGKONG_CONFIG"] = config
				}
			})
		})
	}
	all.Wait()
}

// storeUnseen breaks the readers' connections and has a token stored: while no new ones are
// possible, or right after the old ones were broken.
func (tb *testbed) storeUnseen(r *rand.Rand, m mode, meanwhile bool) {
	var lifts, ends []func()
	for _, p := range tb.fleet {
		if !p.refresh {
			ends = append(ends, tb.recorder.begin(p.name, "link "+string(m)))
			lifts = append(lifts, tb.network.add(rule{from: p.name, mode: m}))
		}
	}
	again := func() {
		for _, f := range slices.Concat(lifts, ends) {
			f()
		}
	}
	if !meanwhile {
		again()
	}
	stored := tb.refreshed(tb.anyCaller(r))
	again()
	if stored {
		time.Sleep(hearBound + 500*time.Millisecond) // hearing judges what each reader returned
	}
}

// loseData deletes the store's data. Every process has the token, so the source need not be
// called.
func (tb *testbed) loseData(r *rand.Rand) {
	if !tb.refreshed(tb.anyCaller(r)) || eventually(aloneBound, "quiet", func() bool { return tb.unsettled() == "" }) != nil {
		return
	}
	calls := len(tb.calls())
	tb.onMaster("flushall", func(m *server) { _, _ = m.do("flushall") })
	if err := eventually(aloneBound, "a restored token", func() bool { return tb.stored() != 0 }); err != nil || len(tb.calls()) > calls {
		tb.recorder.violation("after FLUSHALL the store was not given back what every process had")
	}
}

// forceWithoutRedis forces a refresh that cannot be announced, so the source must not be called.
func (tb *testbed) forceWithoutRedis(r *rand.Rand) {
	tb.cutAll(rule{mode: hold}, func() {
		calls := len(tb.calls())
		tb.demand(r)
		time.Sleep(callBound + time.Second)
		if len(tb.calls()) > calls {
			tb.recorder.violation("the source was called while Redis was unreachable")
		}
	})
}

// loseAnswer has the source issue a token in an answer that cannot be read.
func (tb *testbed) loseAnswer(r *rand.Rand) {
	before := len(tb.wechat.Issued())
	id, err := tb.wechat.Inject(wechattest.Fault{Kind: wechattest.FaultHTML, Phase: wechattest.After, Times: 1})
	if err != nil {
		tb.recorder.violation(err.Error())
		return
	}
	defer tb.wechat.Clear(id)
	tb.demand(r)
	_ = eventually(aloneBound, "a token", func() bool { return len(tb.wechat.Issued()) > before })
}

// commitLate has a process store its token after a newer one was stored.
func (tb *testbed) commitLate(r *rand.Rand) {
	p := tb.midCall(r, time.Second)
	if p == nil {
		return
	}
	before := tb.stored()
	end := tb.recorder.begin(p.name, "link hold")
	lift := tb.network.add(rule{from: p.name, mode: hold})
	_ = eventually(2*aloneBound, "a newer token in the store", func() bool { return tb.stored() > before })
	lift()
	end()
	time.Sleep(minInterval) // what was held arrives
}

// requestLate has two processes refresh at once. The first one's request reaches the source
// after the second one's token was stored, and nothing hears of its token: the second attempt
// cannot settle the first, which was not overdue when it began.
func (tb *testbed) requestLate(r *rand.Rand) {
	able := slices.DeleteFunc(slices.Clone(tb.callers), func(c *caller) bool { return !c.process.refresh })
	r.Shuffle(len(able), func(i, k int) { able[i], able[k] = able[k], able[i] })
	first, second := able[0], able[1]
	id, err := tb.wechat.Inject(wechattest.Fault{Kind: wechattest.FaultSlow, Phase: wechattest.Before, Delay: wechattest.Seconds(2 * time.Second), Times: 1})
	if err != nil {
		tb.recorder.violation(err.Error())
		return
	}
	defer tb.wechat.Clear(id)
	before, calls := tb.stored(), len(tb.calls())
	lift := tb.network.add(rule{from: second.process.name, mode: hold})
	defer lift()
	end := tb.recorder.begin(second.process.name, "link hold")
	tb.wg.Go(func() { second.refresh(tb.ctx, "") }) // its request for the lock is under way
	time.Sleep(100 * time.Millisecond)
	tb.wg.Go(func() { first.refresh(tb.ctx, "") })
	if eventually(time.Second, "a call", func() bool { return len(tb.calls()) > calls }) == nil {
		tb.restart(first.process, syscall.SIGKILL, func() {
			tb.value("del", keyOf("lock"))
			lift()
			end()
			_ = eventually(time.Second, "the second token", func() bool { return tb.stored() > before })
		})
	}
	end()
	time.Sleep(2 * time.Second) // the late request
}

// refreshed forces a refresh and reports whether a new token was stored.
func (tb *testbed) refreshed(c *caller) bool {
	before := tb.stored()
	tb.wg.Go(func() { c.refresh(tb.ctx, "") }) // ends with tb.ctx, or by its own deadline
	return eventually(aloneBound, "a new token in the store", func() bool { return tb.stored() > before }) == nil
}
