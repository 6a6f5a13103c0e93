package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// figure is one measurement, over several runs.
type figure struct {
	Name      string    `json:"name"`
	What      string    `json:"what"`
	Bound     float64   `json:"bound_s"`
	Values    []float64 `json:"values_s"`
	Theirs    []float64 `json:"servers_own_s,omitempty"` // the part that the servers needed, for each run
	Refreshed []float64 `json:"refreshed_s,omitempty"`   // until a refresh that began afterwards had reached all processes
	Lost      int       `json:"tokens_lost"`
	At        time.Time `json:"at"`
	Build     string    `json:"build"` // the commit under test
	Load      string    `json:"load"`  // of the machine, at the end
}

func (f *figure) add(d time.Duration) { f.Values = append(f.Values, d.Seconds()) }

// median and worst are in seconds.
func (f *figure) median() float64 { return quantile(f.Values, 0.5) }
func (f *figure) worst() float64  { return quantile(f.Values, 1) }

// over is the longest time of a run after deducting what the servers needed.
func (f *figure) over() float64 {
	worst := 0.0
	for i, v := range f.Values {
		if i < len(f.Theirs) {
			v -= f.Theirs[i]
		}
		worst = max(worst, v)
	}
	return worst
}

func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1))]
}

// measurement describes a measurement and makes one run of it.
type measurement struct {
	name, what string
	bound      time.Duration
	topology   string
	run        func(tb *testbed, f *figure) error
}

func measurements() []measurement {
	return []measurement{
		{"take-over", "from kill -9 of the lock's holder, when its token has been issued but not delivered, until another process has stored a token", 4 * time.Second, single, takeOver},
		{"hung Redis noticed", "from SIGSTOP of Redis until every linked process has marked its token as stale", 2 * time.Second, single, hungRedis},
		{"hung Redis is back", "from SIGCONT of Redis until no process serves its token as stale", 2 * time.Second, single, hungRedisBack},
		{"Redis lost its data (FLUSHALL)", "until the store has a token again, restored or from an earlier scheduled call", time.Second, single, flushed},
		{"Redis restarted empty", "from the moment when it accepts connections until the store has a token again", time.Second, single, restarted},
		{"Sentinel: planned failover", "from the command until every linked process receives what the new master publishes, less the time that the servers needed", 2 * time.Second, sentinel, failedOver((*testbed).plannedFailover)},
		{"Sentinel: master killed", "from kill -9 until the same, less the time that the servers needed", 2 * time.Second, sentinel, failedOver(killMaster)},
		{"Cluster: planned failover", "from the command until the same, less the time that the servers needed", 2 * time.Second, cluster, failedOver((*testbed).plannedFailover)},
		{"Cluster: master killed", "from kill -9 until the same, less the time that the servers needed", 2 * time.Second, cluster, failedOver(killMaster)},
	}
}

// measureAll makes all measurements, those of a topology in one testbed.
func (f flags) measureAll() error {
	var all []*figure
	for _, topology := range f.topologies() {
		s, remove, err := f.stage()
		if err != nil {
			return err
		}
		s.topology, s.refresher, s.readers, s.workers, s.callers = topology, 3, 1, 2, true
		s.minInterval = 10 * time.Millisecond // too short to affect the measurements
		tb, err := newTestbed(s)
		if err != nil {
			remove()
			return err
		}
		for _, m := range measurements() {
			if m.topology != topology {
				continue
			}
			fig, err := f.measure(tb, m)
			if err != nil {
				tb.logs(f.keep)
				tb.close()
				remove()
				return fmt.Errorf("%s: %w", m.name, err)
			}
			fig.Build = s.build
			all = append(all, fig)
			fmt.Printf("%s: median %.2f s, worst %.2f s, bound %.1f s, at most %.2f s after the servers, %d runs, %d tokens lost\n",
				fig.Name, fig.median(), fig.worst(), fig.Bound, fig.over(), len(fig.Values), fig.Lost)
			if len(fig.Refreshed) > 0 {
				fmt.Printf("  a refresh that began afterwards had reached all processes: median %.2f s, worst %.2f s\n", quantile(fig.Refreshed, 0.5), quantile(fig.Refreshed, 1))
			}
			if err := f.save("measure-"+topology, all); err != nil {
				return err
			}
		}
		tb.close()
		remove()
		all = nil
	}
	return nil
}

func (f flags) measure(tb *testbed, m measurement) (*figure, error) {
	fig := &figure{Name: m.name, What: m.what, Bound: m.bound.Seconds(), At: time.Now()}
	for range f.runs {
		if err := tb.calm(); err != nil {
			return nil, err
		}
		if err := m.run(tb, fig); err != nil {
			return nil, err
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fig.Load = string(load[:min(len(load), 14)])
	return fig, nil
}

// calm ends all faults and waits until the servers and all processes have settled.
func (tb *testbed) calm() error {
	tb.wechat.Clear()
	tb.wechat.Release()
	if err := tb.servers.await(); err != nil {
		return err
	}
	why := ""
	if err := eventually(20*time.Second, "quiet", func() bool { why = tb.unsettled(); return why == "" }); err != nil {
		return fmt.Errorf("%w: %s", err, why)
	}
	return nil
}

func takeOver(tb *testbed, f *figure) error {
	r := rand.New(rand.NewPCG(uint64(len(f.Values)), 5))
	p := tb.midCall(r, 8*time.Second)
	if p == nil {
		return errors.New("no process held the lock during the call")
	}
	before := tb.stored()
	began := time.Now()
	p.kill(syscall.SIGKILL)
	if err := eventually(15*time.Second, "another's token", func() bool { return tb.stored() > before }); err != nil {
		return err
	}
	f.add(time.Since(began))
	if err := p.start(); err != nil {
		return err
	}
	tb.up(p)
	return nil
}

// linkedAre reports whether the last change of every worker's subscription came after a
// moment and left it up, or down.
func (tb *testbed) linkedAre(up bool, since time.Time) bool {
	tb.recorder.mu.Lock()
	defer tb.recorder.mu.Unlock()
	last := make(map[string]linkChange)
	for _, l := range tb.recorder.links {
		last[l.who] = l
	}
	n := 0
	for _, l := range last {
		if l.up == up && l.at.After(since) {
			n++
		}
	}
	return n == len(last)
}

func hungRedis(tb *testbed, f *figure) error {
	began := time.Now()
	tb.servers.data[0].Pause()
	defer tb.servers.data[0].Resume()
	err := eventually(10*time.Second, "the workers to notice", func() bool { return tb.linkedAre(false, began) })
	f.add(time.Since(began))
	return err
}

func hungRedisBack(tb *testbed, f *figure) error {
	tb.servers.data[0].Pause()
	err := eventually(10*time.Second, "the workers to notice", func() bool { return tb.linkedAre(false, time.Now().Add(-8*time.Second)) })
	began := time.Now()
	tb.servers.data[0].Resume()
	if err == nil {
		err = eventually(10*time.Second, "the workers to notice", func() bool { return tb.linkedAre(true, began) && tb.noneStale() })
	}
	f.add(time.Since(began))
	return err
}

func (tb *testbed) noneStale() bool {
	for _, c := range tb.callers {
		if status, r, err := c.ask(tb.ctx, "GET", c.path(), nil); err != nil || status != 200 || r.Stale {
			return false
		}
	}
	return true
}

func flushed(tb *testbed, f *figure) error {
	return lost(tb, f, func(m *server) error {
		_, err := m.do("flushall")
		return err
	})
}

func restarted(tb *testbed, f *figure) error {
	return lost(tb, f, func(m *server) error {
		m.kill()
		time.Sleep(time.Second)
		return m.start()
	})
}

// lost measures how long the store lacks a token that it lost.
func lost(tb *testbed, f *figure, lose func(*server) error) error {
	calls, before := len(tb.wechat.Calls()), tb.stored()
	if err := lose(tb.servers.data[0]); err != nil {
		return err
	}
	began := time.Now()
	if err := eventually(10*time.Second, "the token", func() bool { return tb.stored() != 0 }); err != nil {
		return err
	}
	f.add(time.Since(began))
	if tb.stored() != before && len(tb.wechat.Calls()) > calls+1 {
		f.Lost++
	}
	return nil
}

func killMaster(tb *testbed, m *server) { m.kill() }

// failedOver measures the time until every linked process receives what the new master
// publishes, while refreshes are forced continuously.
func failedOver(do func(*testbed, *server)) func(*testbed, *figure) error {
	return func(tb *testbed, f *figure) error {
		ctx, cancel := context.WithCancel(tb.ctx)
		var forcing sync.WaitGroup
		defer forcing.Wait()
		defer cancel()
		old := tb.servers.master()
		var mu sync.Mutex
		var acknowledged uint64 // guarded by mu
		for _, c := range tb.callers {
			if c.process.refresh {
				forcing.Go(func() { // ends with ctx
					for sleep(ctx, 50*time.Millisecond) {
						g := c.refresh(ctx, "")
						mu.Lock()
						acknowledged = max(acknowledged, g)
						mu.Unlock()
					}
				})
			}
		}
		time.Sleep(300 * time.Millisecond)
		began := time.Now()
		forcing.Go(func() { do(tb, old) }) // ends by itself, within settleWithin
		if err := eventually(settleWithin, "the servers' failover", func() bool {
			m := tb.servers.master()
			return m != nil && m != old && tb.servers.writable()
		}); err != nil {
			return err
		}
		over := time.Now()
		if err := eventually(settleWithin, "notifications", tb.allHear); err != nil {
			return err
		}
		f.Theirs = append(f.Theirs, over.Sub(began).Seconds())
		f.add(time.Since(began))
		if err := eventually(settleWithin, "a refresh", func() bool { return tb.allHave(uint64(over.UnixMicro())) }); err != nil {
			return err
		}
		f.Refreshed = append(f.Refreshed, time.Since(began).Seconds())
		mu.Lock()
		defer mu.Unlock()
		if tb.stored() < acknowledged {
			f.Lost++
		}
		if !old.alive() {
			return old.start()
		}
		return nil
	}
}

// allHear publishes a probe on the master and reports whether every worker has received
// one that this master published.
func (tb *testbed) allHear() bool {
	m := tb.servers.master()
	if m == nil {
		return false
	}
	if tb.probes.master != m {
		tb.probes.master, tb.probes.first = m, tb.probes.last+1
	}
	tb.probes.last++
	_, _ = m.do("publish", keyOf("refreshed"), fmt.Sprintf(
		`{"event":"throttled","limit":%q,"reason":"schedule","retry_ms":1,"by":"soak","fence":%d}`, probeLimit, tb.probes.last))
	tb.recorder.mu.Lock()
	defer tb.recorder.mu.Unlock()
	heard := 0
	for _, p := range tb.fleet {
		if p.args[0] == "worker" && tb.recorder.probed[p.name] >= tb.probes.first {
			heard++
		} else if p.args[0] == "worker" {
			return false
		}
	}
	return heard > 0
}

// allHave reports whether every process has returned a token whose refresh began after
// a moment. Generations are times in microseconds.
func (tb *testbed) allHave(after uint64) bool {
	tb.recorder.mu.Lock()
	defer tb.recorder.mu.Unlock()
	newest := make(map[string]uint64)
	for _, o := range tb.recorder.seen[max(0, len(tb.recorder.seen)-300):] {
		newest[o.who] = max(newest[o.who], o.gen)
	}
	n := 0
	for _, p := range tb.fleet {
		if newest[p.name] > after {
			n++
		}
	}
	return n == len(tb.fleet)
}
