package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// page is RESULTS.md while it is being written.
type page struct {
	strings.Builder
	soaks   []outcome
	figures []figure
	mutants []caught

	simulation []caught
	linear     *linearFigures
}

// reportAll makes RESULTS.md of the figures of former runs.
func reportAll(dir string) error {
	p := new(page)
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := p.read(filepath.Base(file), text); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	p.head()
	p.runs()
	p.bounds()
	p.measured()
	p.faults()
	p.dead()
	p.broken()
	p.linearizable()
	p.limits()
	return os.WriteFile("RESULTS.md", []byte(p.String()), 0o644)
}

func (p *page) read(name string, text []byte) error {
	switch {
	case strings.HasPrefix(name, "soak-"):
		var o outcome
		if err := json.Unmarshal(text, &o); err != nil {
			return err
		}
		p.soaks = append(p.soaks, o)
		return nil
	case strings.HasPrefix(name, "measure-"):
		var f []figure
		if err := json.Unmarshal(text, &f); err != nil {
			return err
		}
		p.figures = append(p.figures, f...)
		return nil
	case name == "mutants.json":
		return json.Unmarshal(text, &p.mutants)
	case name == "simulation.json":
		return json.Unmarshal(text, &p.simulation)
	case name == "linear.json":
		p.linear = new(linearFigures)
		return json.Unmarshal(text, p.linear)
	}
	return nil
}

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *page) head() {
	p.line("# What the faults did")
	p.line("")
	p.line("Made by `scripts/soak/run report` from `scripts/soak/results/*.json`; `scripts/soak/run --full` makes those anew, and")
	p.line("[README.md](README.md) says how the runs work. Every figure is of real processes on real servers, all on one machine with two")
	p.line("cores: times of tens of milliseconds are the machine's, not the product's.")
	p.line("")
}

func (p *page) runs() {
	p.line("## The soaks")
	p.line("")
	p.line("Seven processes (three `serve` with the secret, one without, a linked refresher, two linked readers) and callers over HTTP.")
	p.line("Calls: what reached the source / what the schedule makes / what the schedule and the stated extra of each fault allow; the last is")
	p.line("held against each leg of some 45 s by itself, and *fullest leg* is the part that the worst leg used.")
	p.line("")
	p.line("| run | build | seed | faults | minutes | tokens given, looked at | waits | calls / schedule / allowed | fullest leg | quiet after (worst) | broken promises |")
	p.line("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, o := range p.soaks {
		v := o.Verdict
		schedule, fullest := 0, 0.0
		for _, leg := range o.Legs {
			schedule += leg.Schedule
			fullest = max(fullest, float64(leg.Made)/float64(leg.Schedule+leg.Extra))
		}
		p.line("| %s | %s | %d | %d | %.1f | %.0f | %.0f | %.0f / %d / %d | %.0f %% | %.1f s | %s |", o.Name, o.Build, o.Seed, o.Faults, o.Took/60,
			v.Figures["observations"], v.Figures["waits"], v.Figures["calls"], schedule, o.Budget, 100*fullest, quantile(o.Quiet, 1), count(len(v.Violations)))
	}
	p.line("")
	for _, o := range p.soaks {
		if o.Helped > 0 {
			p.line("- In %s, seed %d, Sentinel found no master by itself (%d of its failovers): all servers had become replicas of each other. One", o.Name, o.Seed, o.Helped)
			p.line("  was promoted by hand, as an operator would; the fault lasted until then.")
		}
		for _, text := range o.Verdict.Violations {
			p.line("- **broken** in %s, seed %d: %s", o.Name, o.Seed, text)
		}
	}
	p.line("")
}

func count(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprintf("**%d**", n)
}

func (p *page) bounds() {
	worst := func(figure string) (w float64) {
		for _, o := range p.soaks {
			w = max(w, o.Verdict.Figures[figure])
		}
		return w
	}
	sum := func(figure string) (s float64) {
		for _, o := range p.soaks {
			s += o.Verdict.Figures[figure]
		}
		return s
	}
	p.line("## What was promised, and the worst that was seen in any soak")
	p.line("")
	p.line("A bound begins when the process, its links and what it depends on are well again.")
	p.line("")
	p.line("| promise | bound | worst | looked at |")
	p.line("| --- | --- | --- | --- |")
	p.line("| a process that is well hands out what the store has, or newer | %v | %.2f s | %.0f tokens given |", hearBound, worst("hearing_worst_s"), sum("hearing_checked"))
	p.line("| nobody is given a token dead at the source for longer (5 s more where the callers of a seed report late on purpose) | %v | %.2f s | %.0f tokens given, of which %.0f were alive |",
		deadBound, worst("dead_unexcused_worst_s"), sum("observations"), sum("tokens_alive_when_given"))
	p.line("| every call that waits ends, with a token or an error that is one | %v after its wait | %.2f s after | %.0f calls |", endBound, max(0, worst("waits_late_worst_s")), sum("waits"))
	p.line("| a generation never goes back in one life of a process | never | never, unless listed above | %.0f lives |", sum("lives"))
	p.line("| the store's generation goes back only when the servers lose data | never | as above | %.0f looks |", sum("samples"))
	p.line("| what the store lost is restored | %v | %.2f s | %.0f losses with a refresher that was well and no call under way |", restoreBound, worst("restore_worst_s"), sum("restores_measured"))
	p.line("| whatever is forged, a new token is stored again | %v | %.1f s | %.0f forged messages and values |", forgedBound, worst("forged_worst_s"), sum("forged"))
	p.line("| no call to the source while nobody reaches Redis | %v after it went | none later | %.0f s beyond that |", callBound, sum("away_checked_s"))
	p.line("| the quiet store holds the token issued last, and every process serves it | %v after the last fault | %.1f s | %d checkpoints, %d of which after an outsider's token was reported |",
		quietWithin, p.quiet(), p.checks(), p.healed())
	p.line("| no token and no secret in any log, at debug level | never | as above | every line |")
	p.line("")
}

func (p *page) quiet() (w float64) {
	for _, o := range p.soaks {
		w = max(w, quantile(o.Quiet, 1))
	}
	return w
}

func (p *page) checks() (n int) {
	for _, o := range p.soaks {
		n += o.Checks
	}
	return n
}

func (p *page) healed() (n int) {
	for _, o := range p.soaks {
		n += o.Healed
	}
	return n
}

func (p *page) measured() {
	p.line("## Measured one by one")
	p.line("")
	p.line("| what | from where to where | bound | median | worst | runs | tokens lost |")
	p.line("| --- | --- | --- | --- | --- | --- | --- |")
	for i := range p.figures {
		f := &p.figures[i]
		for _, m := range measurements() {
			if m.name == f.Name {
				f.What = m.what
			}
		}
		if len(f.Theirs) > 0 {
			p.line("| %s | %s | servers' own + %.0f s | %.2f s (servers' own: %.2f s) | %.2f s above the servers' own | %d | %d |",
				f.Name, f.What, f.Bound, f.median(), quantile(f.Theirs, 0.5), f.over(), len(f.Values), f.Lost)
			continue
		}
		p.line("| %s | %s | %.0f s | %.2f s | %.2f s | %d | - |", f.Name, f.What, f.Bound, f.median(), f.worst(), len(f.Values))
	}
	p.line("")
	p.line("While refreshes are forced without a pause, a failover nearly always strikes in the middle of one. How long until a refresh that")
	p.line("began after it had reached every process (the lock that went down with the old master lasts %v):", lockLife)
	p.line("")
	for _, f := range p.figures {
		if len(f.Refreshed) > 0 {
			p.line("- %s: median %.2f s, worst %.2f s, from the beginning of the fault", f.Name, quantile(f.Refreshed, 0.5), quantile(f.Refreshed, 1))
		}
	}
	p.line("")
}

func (p *page) faults() {
	p.line("## Fault by fault")
	p.line("")
	p.line("How often each struck, by run, and how many calls to the source it may cost at most.")
	p.line("")
	head, rule := "| fault | may cost | why |", "| --- | --- | --- |"
	for _, o := range p.soaks {
		head += " " + o.Name + " |"
		rule += " --- |"
	}
	p.line("%s", head)
	p.line("%s", rule)
	all := slices.Concat(processFaults(), linkFaults(), serverFaults(), replicatedFaults(), clusterFaults(), clockFaults(), sourceFaults(), forgedFaults())
	for _, f := range all {
		row := fmt.Sprintf("| %s | %d | %s |", f.name, f.extra, f.cost)
		for _, o := range p.soaks {
			row += fmt.Sprintf(" %d |", o.ByFault[f.name])
		}
		p.line("%s", row)
	}
	p.line("")
}

// dead tells of the dead tokens that were given out longest.
func (p *page) dead() {
	p.line("## The longest that a dead token was given out, raw")
	p.line("")
	p.line("From its death at the source until somebody was last given it, with no allowance for anything. A process that is cut off or paused")
	p.line("cannot know; a token that an outsider killed is reported by whoever tries it; a source that fails makes all wait. Faults follow one")
	p.line("another closely: *well* is how much of the time nothing at all was in the way, and the longest stretch of it, which the bound above")
	p.line("(%v, %v with late callers) is held against.", deadBound, deadBound+5*time.Second)
	p.line("")
	p.line("| run | given out for | of it well (longest stretch) | by | died as | in the way, s after its death |")
	p.line("| --- | --- | --- | --- | --- | --- |")
	for _, o := range p.soaks {
		for _, s := range o.Verdict.Longest[:min(len(o.Verdict.Longest), 2)] {
			p.line("| %s, seed %d | %.1f s | %.1f s (%.1f s) | %s | %s | %s |", o.Name, o.Seed, s.Seconds, s.Well, s.Piece, s.Who, s.Cause, s.InTheWay)
		}
	}
	p.line("")
}

func (p *page) broken() {
	p.line("## Builds that were broken on purpose")
	p.line("")
	p.line("A rule of the protocol is taken out, the rest stays. The simulation (`redisstore/mutants_test.go`) has to catch every one of its own")
	p.line("whenever the tests run. The soak is slower and looks from outside; it is tried with fewer faults than a real run has, so \"not caught\"")
	p.line("means: not in so many short runs. Its schedule of %v hides for at most as long that nothing was restored, and that an attempt was", refreshEvery)
	p.line("forgotten; the simulation does not have it.")
	p.line("")
	p.line("| broken | caught by the simulation | caught by the soak (single Redis) |")
	p.line("| --- | --- | --- |")
	rows := make(map[string][2]string)
	for _, m := range p.simulation {
		rows[m.Name] = [2]string{fmt.Sprintf("seed %d, %s", m.Seed, m.By), "not tried"}
	}
	for _, m := range p.mutants {
		name := m.Name
		if same, ok := sameMutant[name]; ok {
			name = same
		}
		row := rows[name]
		if row[0] == "" {
			row[0] = "not tried"
		}
		build := m.Build
		if build == "" {
			build = "an earlier build, " + m.At.Format("2 January 15:04")
		}
		row[1] = fmt.Sprintf("not in %d runs (%s)", m.Runs, build)
		if m.Caught {
			row[1] = fmt.Sprintf("run %d, seed %d: %s (%s)", m.Runs, m.Seed, m.By, build)
		}
		rows[name] = row
	}
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		p.line("| %s | %s | %s |", name, rows[name][0], rows[name][1])
	}
	p.line("")
}

// sameMutant has the simulation's names of what the soak breaks, too.
var sameMutant = map[string]string{
	"what the store lost is not restored":                       "restore is never made",
	"the source is called without the lock while Redis is away": "the source is called while Redis is away",
}

func (p *page) linearizable() {
	if p.linear == nil {
		return
	}
	l := p.linear
	p.line("## Linearizability")
	p.line("")
	p.line("%d clients over broken links use begin, commit and load of one account as a register with fences; porcupine looks for an order in", linearClients)
	p.line("which every answer is right. %d histories, %d operations, %d of them without an answer, %d faults: %d not linearizable, %d undecided.",
		l.Histories, l.Operations, l.Unknown, l.Faults, l.Wrong, l.Undecided)
	p.line("")
}

func (p *page) limits() {
	p.line("## What this does not show")
	p.line("")
	p.line("- All is on one machine: loopback has no lost packets and no latency but what the proxy makes.")
	p.line("- The clocks of the processes are one; that of a Redis server jumps in the run with `clock`. Clocks that differ between processes are")
	p.line("  in the simulation.")
	p.line("- A seed fixes which faults strike, in which order and how long they last, not the interleaving of the processes.")
	p.line("- Times of the schedule are shortened (a refresh each %v, tokens of %v, an overlap of %v); locks, beats, back-off and time-outs are", refreshEvery, tokenLife, grace)
	p.line("  those of production.")
	p.line("- A store that loses its data while an attempt is under way, or when one has failed, is not given the old token back until a call")
	p.line("  succeeds: nobody knows whether it is still the newest. Processes that hold it serve it.")
}
