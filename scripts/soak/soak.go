package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// plan is what a soak is to do.
type plan struct {
	Topology string
	Seed     uint64
	Faults   int           // so many, or
	Duration time.Duration // for so long, if not 0
	Options  options
	only     string // faults with this in their names
	keep     string // directory for the logs of a run that fails
	setup    setup
}

// outcome is what is kept of a soak.
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
	Helped   int            `json:"servers_helped"`   // times the servers did not find a master by themselves
	Verdict  *verdict       `json:"verdict"`
}

// legCalls are the calls of a leg, its checkpoint included.
type legCalls struct {
	Made     int `json:"made"`
	Schedule int `json:"schedule"`
	Extra    int `json:"extra"` // what its faults may cost
}

// legLength is for how long there is trouble before everything is mended and
// looked at.
const legLength = 45 * time.Second

// soak is one run.
type soak struct {
	w    *world
	plan plan
	all  []fault

	mu    sync.Mutex
	out   outcome // guarded by mu
	extra int     // guarded by mu: calls that the faults so far may have cost
	drawn int     // guarded by mu
}

func (p plan) run() (*outcome, error) {
	began := time.Now()
	w, err := newWorld(p.setup)
	if err != nil {
		return nil, err
	}
	defer w.close()
	s := &soak{w: w, plan: p, all: faults(p.Options, p.Topology, p.only)}
	if len(s.all) == 0 {
		return nil, fmt.Errorf("no fault has %q in its name", p.only)
	}
	s.out = outcome{Build: p.setup.build, Name: p.name(), Topology: p.Topology, Seed: p.Seed, At: began, ByFault: make(map[string]int)}
	for leg := 0; !s.over(began); leg++ {
		legBegan, calls, extra := time.Now(), len(w.calls()), s.extra
		s.leg(leg)
		s.checkpoint()
		s.budget(legCalls{Made: len(w.calls()) - calls, Schedule: scheduled(legBegan), Extra: s.extra - extra})
		fmt.Fprintf(os.Stderr, "%s: %s: %d faults, %d calls, %d broken promises so far\n", time.Now().Format("15:04:05"), p.name(),
			s.out.Faults, len(w.wechat.Calls()), len(w.ledger.notes))
	}
	s.out.Took = time.Since(began).Seconds()
	s.out.Helped = w.servers.promoted
	s.out.Verdict = w.judge()
	if len(s.out.Verdict.Violations) > 0 && p.keep != "" {
		w.logs(p.keep)
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

// leg makes trouble in all lanes for a while.
func (s *soak) leg(leg int) {
	end := time.Now().Add(legLength)
	var all sync.WaitGroup
	for i, lane := range lanes {
		if !slices.ContainsFunc(s.all, func(f fault) bool { return f.lane == lane }) {
			continue
		}
		// Each lane has dice of its own, so that a seed means the same
		// faults whatever the times at which they strike.
		dice := rand.New(rand.NewPCG(s.plan.Seed, uint64(leg*10+i)))
		all.Go(func() {
			for time.Now().Before(end) && s.strike(lane, dice) {
				time.Sleep(pause(lane, dice))
			}
		})
	}
	all.Wait()
}

// pause is the time between two faults of a lane. What everybody depends on
// has to be well for longer than the bounds now and then, or nothing would ever
// be too late.
func pause(lane string, dice *rand.Rand) time.Duration {
	most := 2 * time.Second
	switch lane {
	case laneServers:
		most = 12 * time.Second
	case laneForged:
		most = 4 * time.Second
	}
	return time.Duration(dice.Float64() * float64(most))
}

// strike makes one fault, from its beginning to its end; false: enough.
func (s *soak) strike(lane string, dice *rand.Rand) bool {
	f := s.draw(lane, dice)
	own := rand.New(rand.NewPCG(dice.Uint64(), dice.Uint64()))
	s.mu.Lock()
	if s.plan.Duration == 0 && s.drawn >= s.plan.Faults {
		s.mu.Unlock()
		return false
	}
	s.drawn++
	s.mu.Unlock()
	if s.w.traced != nil {
		s.w.traced(f.name)
	}
	f.strike(s.w, own)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.Faults++
	s.out.ByFault[f.name]++
	s.extra += f.extra
	return true
}

func (s *soak) draw(lane string, dice *rand.Rand) fault {
	total := 0
	for _, f := range s.all {
		if f.lane == lane {
			total += f.weight
		}
	}
	n := dice.IntN(total)
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

// quietWithin is how long it may take until all is well when the faults have
// ended: the longest lock, deadline and minimum interval, twice, and the
// back-off, which a forced refresh passes over.
const quietWithin = 25 * time.Second

// checkpoint ends all trouble and looks at everything.
func (s *soak) checkpoint() {
	w := s.w
	w.wechat.Clear()
	w.wechat.Release()
	if err := w.servers.await(); err != nil {
		w.ledger.wrong("at a checkpoint: " + err.Error())
	}
	w.denied()
	for _, p := range w.fleet {
		if p.died() {
			w.ledger.wrong(p.name + " has ended by itself: " + lastLines(p.said()))
		}
	}
	began := time.Now()
	dice := rand.New(rand.NewPCG(s.plan.Seed, 99))
	demanded, reported := time.Now(), false
	why := ""
	err := eventually(quietWithin, "quiet", func() bool {
		if why = w.restless(); why == "" {
			return true
		}
		switch since := time.Since(began); {
		case strings.Contains(why, "attempts") && since > 5*time.Second && time.Since(demanded) > 5*time.Second:
			// Nobody asks on schedule before a back-off ends.
			demanded = time.Now()
			s.owe(1)
			w.demand(dice)
		case strings.Contains(why, "issued last") && since > 3*time.Second && !reported:
			// An outsider's, or a request that came late: the next report
			// heals it, and may have to wait until the token is dead.
			reported = true
			s.owe(2)
			if last, _ := w.wechat.LastIssued(account); last.From != outsider {
				w.ledger.wrong(fmt.Sprintf("the quiet store does not hold the token issued last: %+v", lateness(last)))
			}
			if stored, ok := w.value("hget", w.servers.key, "access_token").(string); ok {
				w.wechat.KillEarly(account, "classic")
				w.wg.Go(func() { w.anyCaller(dice).refresh(w.life, stored) })
			}
		}
		return false
	})
	if err != nil {
		w.ledger.wrong("not quiet: " + why)
	}
	if newest, stored := w.ledger.newest(), w.stored(); stored < newest {
		// It may be on its way right now.
		time.Sleep(time.Second)
		if stored = w.stored(); stored < newest {
			w.ledger.wrong(fmt.Sprintf("the store is quiet with generation %d, somebody was given %d", stored, newest))
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

// denied: users with the least privileges have never wanted more.
func (w *world) denied() {
	for _, server := range w.servers.data {
		answer, _ := server.do("acl", "log", "5")
		if list, _ := answer.([]any); len(list) > 0 {
			w.ledger.wrong(fmt.Sprintf("%s has denied something: %v", server.Name, list[0]))
			_, _ = server.do("acl", "log", "reset")
		}
	}
}

func (s *soak) owe(calls int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extra += calls
}

// outsider is the address from which the simulator's outsider fetches.
const outsider = "203.0.113.66"

// lateness is what may explain an issue that nobody stored; not the token.
func lateness(i wechattest.Issue) string {
	return fmt.Sprintf("issued at %s to a call from %s to %s, delivered: %v", clock(i.IssuedAt), clock(i.Started), clock(i.Finished), i.Delivered)
}

// restless says why the store is not as a quiet one has to be, "" if it is.
func (w *world) restless() string {
	last, _ := w.wechat.LastIssued(account)
	open, _ := w.value("zcard", keyOf("attempts")).(int64)
	token, _ := w.value("hget", w.servers.key, "access_token").(string)
	lock, _ := w.value("get", keyOf("lock")).(string)
	again, _ := w.wechat.LastIssued(account)
	switch {
	case last.Token != again.Token || lock != "":
		return "a refresh is under way"
	case open != 0:
		return fmt.Sprintf("%d attempts are open", open)
	case token != last.Token:
		return "the store does not hold the token issued last"
	case w.stored() == 0:
		return "the store's record is not one of ours"
	}
	for _, c := range w.callers {
		status, r, err := c.ask(w.life, "GET", c.path(), nil)
		if err != nil || status != 200 || r.Token != token || r.Stale {
			return fmt.Sprintf("%s does not serve it: %d %s (stale: %v, %v)", c.process.name, status, r.Error, r.Stale, err)
		}
	}
	return ""
}

// scheduled is how many calls the schedule makes from then until now.
func scheduled(from time.Time) int { return int(time.Since(from)/refreshEvery) + 1 }

// budget holds a leg's calls against the schedule and what its faults may cost.
func (s *soak) budget(leg legCalls) {
	s.out.Legs = append(s.out.Legs, leg)
	s.out.Budget += leg.Schedule + leg.Extra
	if leg.Made > leg.Schedule+leg.Extra {
		s.w.ledger.wrong(fmt.Sprintf("%d calls to the source in leg %d, %d by the schedule and %d for the faults are allowed",
			leg.Made, len(s.out.Legs), leg.Schedule, leg.Extra))
	}
}

// names returns the faults in the order of the table.
func names(all []fault) []string {
	var out []string
	for _, f := range all {
		if !slices.Contains(out, f.name) {
			out = append(out, f.name)
		}
	}
	return out
}

func runDir(base, name string) (string, error) {
	dir := filepath.Join(base, strings.ReplaceAll(name, "+", "-"))
	return dir, os.MkdirAll(dir, 0o700)
}
