package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// plan describes a soak.
type plan struct {
	Topology string
	Seed     uint64
	Faults   int           // how many, or
	Duration time.Duration // how long, if not 0
	Options  options
	only     string // only faults with this in their names
	keep     string // directory for the logs of a run that fails
	setup    setup
}

// outcome is the result of a soak.
type outcome struct {
	Name     string         `json:"name"`
	Topology string         `json:"topology"`
	Seed     uint64         `json:"seed"`
	Build    string         `json:"build"` // the commit under test
	At       time.Time      `json:"at"`
	Took     float64        `json:"took_s"`
	Faults   int            `json:"faults"`
	ByFault  map[string]int `json:"by_fault"`
	Checks   int            `json:"checkpoints"`
	Budget   int            `json:"calls_allowed"`
	Legs     []legCalls     `json:"legs"`
	Quiet    []float64      `json:"quiet_after_s"`
	Healed   int            `json:"healed_by_report"` // checkpoints at which a report had to heal the store
	Helped   int            `json:"servers_helped"`   // how often the Sentinels found no master and one was promoted
	Verdict  *verdict       `json:"verdict"`
}

// legCalls counts the calls to the source in a leg, its checkpoint included.
type legCalls struct {
	Made     int `json:"made"`
	Schedule int `json:"schedule"`
	Extra    int `json:"extra"` // what its faults may cause
}

// legLength is how long faults are injected until all are ended and everything is
// checked.
const legLength = 45 * time.Second

// soak is one run.
type soak struct {
	tb   *testbed
	plan plan
	all  []fault

	mu    sync.Mutex
	out   outcome // guarded by mu
	extra int     // guarded by mu: calls that the faults so far may have caused
	drawn int     // guarded by mu
}

func (p plan) run() (*outcome, error) {
	began := time.Now()
	tb, err := newTestbed(p.setup)
	if err != nil {
		return nil, err
	}
	defer tb.close()
	s := &soak{tb: tb, plan: p, all: faults(p.Options, p.Topology, p.only)}
	if len(s.all) == 0 {
		return nil, fmt.Errorf("no fault has %q in its name", p.only)
	}
	s.out = outcome{Build: p.setup.build, Name: p.name(), Topology: p.Topology, Seed: p.Seed, At: began, ByFault: make(map[string]int)}
	overlap := slices.ContainsFunc(s.all, func(f fault) bool { return f.lane != laneAlone })
	for leg := 0; overlap && !s.over(began); leg++ {
		legBegan, calls, extra := time.Now(), len(tb.calls()), s.extra
		s.leg(leg)
		s.checkpoint()
		s.budget(legCalls{Made: len(tb.calls()) - calls, Schedule: scheduled(legBegan), Extra: s.extra - extra})
		fmt.Fprintf(os.Stderr, "%s: %s: %d faults, %d calls, %d broken promises so far\n", time.Now().Format("15:04:05"), p.name(),
			s.out.Faults, len(tb.wechat.Calls()), len(tb.recorder.violations))
	}
	s.alone()
	s.out.Took = time.Since(began).Seconds()
	s.out.Helped = tb.servers.promoted
	s.out.Verdict = tb.check()
	if len(s.out.Verdict.Violations) > 0 && p.keep != "" {
		tb.logs(p.keep)
		fmt.Fprintln(os.Stderr, "the logs are in", p.keep)
	}
	return &s.out, nil
}

func (p plan) name() string {
	name := p.Topology
	if p.Options.acl {
		name += "+acl"
	}
	if p.Options.tls {
		name += "+tls"
	}
	if p.Options.fake {
		name += "+clock"
	}
	return name
}

func (s *soak) over(began time.Time) bool {
	if s.plan.Duration > 0 {
		return time.Since(began) >= s.plan.Duration
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Faults >= s.plan.Faults
}

// leg injects faults in all lanes for a while.
func (s *soak) leg(leg int) {
	end := time.Now().Add(legLength)
	var all sync.WaitGroup
	for i, lane := range lanes {
		if !slices.ContainsFunc(s.all, func(f fault) bool { return f.lane == lane }) {
			continue
		}
		// Each lane has its own random numbers, so that a seed means the same
		// faults whatever their times.
		rng := rand.New(rand.NewPCG(s.plan.Seed, uint64(leg*10+i)))
		all.Go(func() {
			for time.Now().Before(end) && s.inject(lane, rng) {
				time.Sleep(pause(lane, rng))
			}
		})
	}
	all.Wait()
}

// pause returns the time between two faults of a lane. The servers must sometimes work
// for longer than the bounds, or no bound would ever be tested.
func pause(lane string, rng *rand.Rand) time.Duration {
	most := 2 * time.Second
	switch lane {
	case laneServers:
		most = 12 * time.Second
	case laneForged:
		most = 4 * time.Second
	}
	return time.Duration(rng.Float64() * float64(most))
}

// inject injects one fault and waits for its end; false means that there were enough.
func (s *soak) inject(lane string, rng *rand.Rand) bool {
	f := s.choose(lane, rng)
	own := rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))
	s.mu.Lock()
	if s.plan.Duration == 0 && s.drawn >= s.plan.Faults {
		s.mu.Unlock()
		return false
	}
	s.drawn++
	s.mu.Unlock()
	s.carryOut(f, own)
	return true
}

// carryOut injects a fault and waits for its end.
func (s *soak) carryOut(f fault, rng *rand.Rand) {
	if s.tb.onFault != nil {
		s.tb.onFault(f.name)
	}
	f.inject(s.tb, rng)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.Faults++
	s.out.ByFault[f.name]++
	s.extra += f.extra
}

func (s *soak) choose(lane string, rng *rand.Rand) fault {
	total := 0
	for _, f := range s.all {
		if f.lane == lane {
			total += f.weight
		}
	}
	n := rng.IntN(total)
	for _, f := range s.all {
		if f.lane != lane {
			continue
		}
		if n -= f.weight; n < 0 {
			return f
		}
	}
	panic("unreachable")
}

// quietWithin limits the time until everything works after the faults have ended: twice
// the longest lock, deadline and minimum interval, and the back-off, which a forced
// refresh ignores.
const quietWithin = 25 * time.Second

// checkpoint ends all faults and checks everything.
func (s *soak) checkpoint() {
	tb := s.tb
	tb.wechat.Clear()
	tb.wechat.Release()
	if err := tb.servers.await(); err != nil {
		tb.recorder.violation("at a checkpoint: " + err.Error())
	}
	tb.denied()
	for _, p := range tb.fleet {
		if p.died() {
			tb.recorder.violation(p.name + " has ended by itself: " + lastLines(p.output()))
		}
	}
	began := time.Now()
	rng := rand.New(rand.NewPCG(s.plan.Seed, 99))
	demanded, reported := time.Now(), false
	why := ""
	err := eventually(quietWithin, "quiet", func() bool {
		if why = tb.unsettled(); why == "" {
			return true
		}
		switch since := time.Since(began); {
		case strings.Contains(why, "attempts") && since > 5*time.Second && time.Since(demanded) > 5*time.Second:
			// No scheduled refresh is made before a back-off ends.
			demanded = time.Now()
			s.allow(1)
			tb.demand(rng)
		case strings.Contains(why, "issued last") && since > 3*time.Second && !reported:
			// It is an outsider's, or a request was late: the next report
			// corrects it, and may have to wait until the token is invalid.
			reported = true
			s.allow(2)
			if last, _ := tb.wechat.LastIssued(account); last.From != outsider {
				tb.recorder.violation(fmt.Sprintf("the quiet store does not hold the token issued last: %+v", lateness(last)))
			}
			if stored, ok := tb.value("hget", tb.servers.key, "access_token").(string); ok {
				tb.wechat.KillEarly(account, "classic")
				tb.wg.Go(func() { tb.anyCaller(rng).refresh(tb.ctx, stored) })
			}
		}
		return false
	})
	if err != nil {
		tb.recorder.violation("not quiet: " + why)
	}
	if newest, stored := tb.recorder.newest(), tb.stored(); stored < newest {
		// It may be about to be stored.
		time.Sleep(time.Second)
		if stored = tb.stored(); stored < newest {
			tb.recorder.violation(fmt.Sprintf("the store is quiet with generation %d, a process returned %d", stored, newest))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.Checks++
	if reported {
		s.out.Healed++
	}
	s.out.Quiet = append(s.out.Quiet, time.Since(began).Seconds())
}

// denied checks that the servers have denied the fleet's users nothing.
func (tb *testbed) denied() {
	for _, server := range tb.servers.data {
		answer, _ := server.do("acl", "log", "5")
		if list, _ := answer.([]any); len(list) > 0 {
			tb.recorder.violation(fmt.Sprintf("%s has denied something: %v", server.Name, list[0]))
			_, _ = server.do("acl", "log", "reset")
		}
	}
}

func (s *soak) allow(calls int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extra += calls
}

// outsider is the address of the party that fetches tokens by Rogue.
const outsider = "203.0.113.66"

// lateness describes the call of a token that was not stored, without the token.
func lateness(i wechattest.Issue) string {
	return fmt.Sprintf("issued at %s to a call from %s to %s, delivered: %v", clock(i.IssuedAt), clock(i.Started), clock(i.Finished), i.Delivered)
}

// unsettled describes why the store or a process has not settled, "" if all have.
func (tb *testbed) unsettled() string {
	last, _ := tb.wechat.LastIssued(account)
	open, _ := tb.value("zcard", keyOf("attempts")).(int64)
	token, _ := tb.value("hget", tb.servers.key, "access_token").(string)
	lock, _ := tb.value("get", keyOf("lock")).(string)
	again, _ := tb.wechat.LastIssued(account)
	switch {
	case last.Token != again.Token || lock != "":
		return "a refresh is under way"
	case open != 0:
		return fmt.Sprintf("%d attempts are open", open)
	case token != last.Token:
		return "the store does not hold the token issued last"
	case tb.stored() == 0:
		return "the store's record is not one of ours"
	}
	for _, c := range tb.callers {
		status, r, err := c.ask(tb.ctx, "GET", c.path(), nil)
		if err != nil || status != 200 || r.Token != token || r.Stale {
			return fmt.Sprintf("%s does not serve it: %d %s (stale: %v, %v)", c.process.name, status, r.Error, r.Stale, err)
		}
	}
	return ""
}

// scheduled returns how many calls the schedule makes from then until now.
func scheduled(from time.Time) int { return int(time.Since(from)/refreshEvery) + 1 }

// budget compares a leg's calls with those of the schedule and of its faults.
func (s *soak) budget(leg legCalls) {
	s.out.Legs = append(s.out.Legs, leg)
	s.out.Budget += leg.Schedule + leg.Extra
	if leg.Made > leg.Schedule+leg.Extra {
		s.tb.recorder.violation(fmt.Sprintf("%d calls to the source in leg %d, %d by the schedule and %d for the faults are allowed",
			leg.Made, len(s.out.Legs), leg.Schedule, leg.Extra))
	}
}
