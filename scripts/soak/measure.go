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

// figure is one thing that was measured, over several runs.
type figure struct {
	Name      string    `json:"name"`
	What      string    `json:"what"`
	Bound     float64   `json:"bound_s"`
	Values    []float64 `json:"values_s"`
	Theirs    []float64 `json:"servers_own_s,omitempty"` // what the servers themselves needed, run by run
	Refreshed []float64 `json:"refreshed_s,omitempty"`   // until a refresh that began afterwards had reached everybody
	Lost      int       `json:"tokens_lost"`
	At        time.Time `json:"at"`
	Build     string    `json:"build"` // the commit under test
	Load      string    `json:"load"`  // of the machine, at the end
}

func (f *figure) add(d time.Duration) { f.Values = append(f.Values, d.Seconds()) }

// median and worst are in seconds.
func (f *figure) median() float64 { return quantile(f.Values, 0.5) }
func (f *figure) worst() float64  { return quantile(f.Values, 1) }

// over is the worst run's time above what the servers needed themselves.
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

// measurement is a world for a measurement, and how to make one run in it.
type measurement struct {
	name, what string
	bound      time.Duration
	topology   string
	run        func(w *world, f *figure) error
}

func measurements() []measurement {
	return []measurement{
		{"take-over", "the holder is killed (kill -9) mid-call, when the source has issued a token that nobody has; until another's token is stored", 4 * time.Second, single, takeOver},
		{"hung Redis noticed", "Redis is paused (SIGSTOP); until a linked process knows that it hears nothing any more and marks its token as stale", 2 * time.Second, single, hungRedis},
		{"hung Redis is back", "Redis goes on (SIGCONT); until no process serves its token as stale", 2 * time.Second, single, hungRedisBack},
		{"Redis lost its data (FLUSHALL)", "until a token is in the store again: restored, or from a scheduled call that came first", time.Second, single, flushed},
		{"Redis restarted empty", "from the moment it accepts connections until the same", time.Second, single, restarted},
		{"Sentinel: planned failover", "from the command until what the new master publishes is heard everywhere, above what the servers needed themselves", 2 * time.Second, sentinel, failedOver((*world).plannedFailover)},
		{"Sentinel: master killed", "from the kill until the same, above what the servers needed themselves", 2 * time.Second, sentinel, failedOver(killMaster)},
		{"Cluster: planned failover", "from the command until the same, above what the servers needed themselves", 2 * time.Second, cluster, failedOver((*world).plannedFailover)},
		{"Cluster: master killed", "from the kill until the same, above what the servers needed themselves", 2 * time.Second, cluster, failedOver(killMaster)},
	}
}

// measureAll makes every measurement in a world of its topology.
func (f flags) measureAll() error {
	var all []*figure
	for _, topology := range f.topologies() {
		s, remove, err := f.stage()
		if err != nil {
			return err
		}
		s.topology, s.refresher, s.readers, s.workers, s.callers = topology, 3, 1, 2, true
		s.minInterval = 10 * time.Millisecond // so that a measurement does not measure it
		w, err := newWorld(s)
		if err != nil {
			remove()
			return err
		}
		for _, m := range measurements() {
			if m.topology != topology {
				continue
			}
			fig, err := f.measure(w, m)
			if err != nil {
				w.logs(f.keep)
				w.close()
				remove()
				return fmt.Errorf("%s: %w", m.name, err)
			}
			fig.Build = s.build
			all = append(all, fig)
			fmt.Printf("%s: median %.2f s, worst %.2f s, bound %.1f s, above the servers' own at most %.2f s, %d runs, %d tokens lost\n",
				fig.Name, fig.median(), fig.worst(), fig.Bound, fig.over(), len(fig.Values), fig.Lost)
			if len(fig.Refreshed) > 0 {
				fmt.Printf("  a refresh that began afterwards had reached everybody: median %.2f s, worst %.2f s\n", quantile(fig.Refreshed, 0.5), quantile(fig.Refreshed, 1))
			}
			if err := f.save("measure-"+topology, all); err != nil {
				return err
			}
		}
		w.close()
		remove()
		all = nil
	}
	return nil
}

func (f flags) measure(w *world, m measurement) (*figure, error) {
	fig := &figure{Name: m.name, What: m.what, Bound: m.bound.Seconds(), At: time.Now()}
	for range f.runs {
		if err := w.calm(); err != nil {
			return nil, err
		}
		if err := m.run(w, fig); err != nil {
			return nil, err
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fig.Load = string(load[:min(len(load), 14)])
	return fig, nil
}

// calm waits until all is well and every worker says that it is linked.
func (w *world) calm() error {
	w.wechat.Clear()
	w.wechat.Release()
	if err := w.servers.await(); err != nil {
		return err
	}
	why := ""
	if err := eventually(20*time.Second, "quiet", func() bool { why = w.restless(); return why == "" }); err != nil {
		return fmt.Errorf("%w: %s", err, why)
	}
	return nil
}

func takeOver(w *world, f *figure) error {
	r := rand.New(rand.NewPCG(uint64(len(f.Values)), 5))
	p := w.midCall(r, 8*time.Second)
	if p == nil {
		return errors.New("nobody came to hold the lock")
	}
	before := w.stored()
	began := time.Now()
	p.kill(syscall.SIGKILL)
	if err := eventually(15*time.Second, "another's token", func() bool { return w.stored() > before }); err != nil {
		return err
	}
	f.add(time.Since(began))
	if err := p.start(); err != nil {
		return err
	}
	w.up(p)
	return nil
}

// linkedAre reports whether the last word of every worker since a moment is
// that it is connected, or is not.
func (w *world) linkedAre(up bool, since time.Time) bool {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	last := make(map[string]linkChange)
	for _, l := range w.ledger.links {
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

func hungRedis(w *world, f *figure) error {
	began := time.Now()
	w.servers.data[0].Pause()
	defer w.servers.data[0].Resume()
	err := eventually(10*time.Second, "the workers to notice", func() bool { return w.linkedAre(false, began) })
	f.add(time.Since(began))
	return err
}

func hungRedisBack(w *world, f *figure) error {
	w.servers.data[0].Pause()
	err := eventually(10*time.Second, "the workers to notice", func() bool { return w.linkedAre(false, time.Now().Add(-8*time.Second)) })
	began := time.Now()
	w.servers.data[0].Resume()
	if err == nil {
		err = eventually(10*time.Second, "the workers to notice", func() bool { return w.linkedAre(true, began) && w.nobodyStale() })
	}
	f.add(time.Since(began))
	return err
}

func (w *world) nobodyStale() bool {
	for _, c := range w.callers {
		if status, r, err := c.ask(w.life, "GET", c.path(), nil); err != nil || status != 200 || r.Stale {
			return false
		}
	}
	return true
}

func flushed(w *world, f *figure) error {
	return lost(w, f, func(m *server) error {
		_, err := m.do("flushall")
		return err
	})
}

func restarted(w *world, f *figure) error {
	return lost(w, f, func(m *server) error {
		m.kill()
		time.Sleep(time.Second)
		return m.start()
	})
}

// lost measures how long a token that the store lost is away.
func lost(w *world, f *figure, lose func(*server) error) error {
	calls, before := len(w.wechat.Calls()), w.stored()
	if err := lose(w.servers.data[0]); err != nil {
		return err
	}
	began := time.Now()
	if err := eventually(10*time.Second, "the token", func() bool { return w.stored() != 0 }); err != nil {
		return err
	}
	f.add(time.Since(began))
	if w.stored() != before && len(w.wechat.Calls()) > calls+1 {
		f.Lost++
	}
	return nil
}

func killMaster(w *world, m *server) { m.kill() }

// failedOver measures the time until what the new master publishes is heard by
// every linked process, while refreshes are forced all the time.
func failedOver(do func(*world, *server)) func(*world, *figure) error {
	return func(w *world, f *figure) error {
		ctx, cancel := context.WithCancel(w.life)
		var forcing sync.WaitGroup
		defer forcing.Wait()
		defer cancel()
		old := w.servers.master()
		var mu sync.Mutex
		var acknowledged uint64 // guarded by mu
		for _, c := range w.callers {
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
		forcing.Go(func() { do(w, old) }) // ends by itself, within settleWithin
		if err := eventually(settleWithin, "the servers' failover", func() bool {
			m := w.servers.master()
			return m != nil && m != old && w.servers.writable()
		}); err != nil {
			return err
		}
		over := time.Now()
		if err := eventually(settleWithin, "notifications", w.allHear); err != nil {
			return err
		}
		f.Theirs = append(f.Theirs, over.Sub(began).Seconds())
		f.add(time.Since(began))
		if err := eventually(settleWithin, "a refresh", func() bool { return w.allHave(uint64(over.UnixMicro())) }); err != nil {
			return err
		}
		f.Refreshed = append(f.Refreshed, time.Since(began).Seconds())
		mu.Lock()
		defer mu.Unlock()
		if w.stored() < acknowledged {
			f.Lost++
		}
		if !old.alive() {
			return old.start()
		}
		return nil
	}
}

// allHear publishes a probe on the master and reports whether every worker has
// heard one that the present master published.
func (w *world) allHear() bool {
	m := w.servers.master()
	if m == nil {
		return false
	}
	if w.probes.master != m {
		w.probes.master, w.probes.first = m, w.probes.last+1
	}
	w.probes.last++
	_, _ = m.do("publish", keyOf("refreshed"), fmt.Sprintf(
		`{"event":"throttled","limit":%q,"reason":"schedule","retry_ms":1,"by":"soak","fence":%d}`, probeLimit, w.probes.last))
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	heard := 0
	for _, p := range w.fleet {
		if p.args[0] == "worker" && w.ledger.probed[p.name] >= w.probes.first {
			heard++
		} else if p.args[0] == "worker" {
			return false
		}
	}
	return heard > 0
}

// allHave reports whether every process has handed out a token whose refresh
// began after a moment: generations are microseconds.
func (w *world) allHave(after uint64) bool {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	newest := make(map[string]uint64)
	for _, o := range w.ledger.seen[max(0, len(w.ledger.seen)-300):] {
		newest[o.who] = max(newest[o.who], o.gen)
	}
	n := 0
	for _, p := range w.fleet {
		if newest[p.name] > after {
			n++
		}
	}
	return n == len(w.fleet)
}
