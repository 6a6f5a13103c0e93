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
	soaks    []outcome
	figures  []figure
	mutants  []caught
	linear   *linearFigures
	recorded time.Time
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
	p.line("[README.md](README.md) says how the runs work. Every figure is of real processes on real servers of one machine with two")
	p.line("cores that did other work at the same time: times of tens of milliseconds are the machine's, not the product's.")
	p.line("")
}

func (p *page) runs() {
	p.line("## The soaks")
	p.line("")
	p.line("Seven processes (three `serve` with the secret, one without, a linked refresher, two linked readers) and callers over HTTP.")
	p.line("Calls: what reached the source, out of what the schedule and the stated extra of each fault allow.")
	p.line("")
	p.line("| run | seed | faults | minutes | tokens given, looked at | waits | calls / allowed | quiet after (worst) | broken promises |")
	p.line("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, o := range p.soaks {
		v := o.Verdict
		p.line("| %s | %d | %d | %.1f | %.0f | %.0f | %.0f / %d | %.1f s | %s |", o.Name, o.Seed, o.Faults, o.Took/60,
			v.Figures["observations"], v.Figures["waits"], v.Figures["calls"], o.Budget, quantile(o.Quiet, 1), count(len(v.Violations)))
	}
	p.line("")
	for _, o := range p.soaks {
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
	for _, f := range p.figures {
		if len(f.Theirs) > 0 {
			p.line("| %s | %s | servers' own + %.0f s | %.2f s (servers' own: %.2f s) | %.2f s above the servers' own | %d | %d |",
				f.Name, f.What, f.Bound, f.median(), quantile(f.Theirs, 0.5), f.over(), len(f.Values), f.Lost)
			continue
		}
		p.line("| %s | %s | %.0f s | %.2f s | %.2f s | %d | %d |", f.Name, f.What, f.Bound, f.median(), f.worst(), len(f.Values), f.Lost)
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
	all := slices.Concat(processFaults(), linkFaults(), serverFaults(), replicatedFaults(), clusterFaults(), clockFaults(), sourceFaults())
	for _, f := range all {
		row := fmt.Sprintf("| %s | %d | %s |", f.name, f.extra, f.cost)
		for _, o := range p.soaks {
			row += fmt.Sprintf(" %d |", o.ByFault[f.name])
		}
		p.line("%s", row)
	}
	p.line("")
}

// dead says for how long dead tokens were given out when something excused it,
// by the single things that did.
func (p *page) dead() {
	worst := make(map[string]float64)
	for _, o := range p.soaks {
		for cause, s := range o.Verdict.Dead {
			if !strings.Contains(cause, " + ") {
				worst[cause] = max(worst[cause], s)
			}
		}
	}
	p.line("## The longest that a dead token was given out, raw")
	p.line("")
	p.line("From its death at the source until somebody was last given it, with no allowance for anything, by what stood in the way; several")
	p.line("at once are left out. A process that is cut off or paused cannot know; a token that an outsider killed is reported by whoever tries it.")
	p.line("With WeChat's own overlap of 5 minutes instead of the %v of the runs, all of these would be nothing but the outsider's.", grace)
	p.line("")
	p.line("| in the way | worst |")
	p.line("| --- | --- |")
	for _, cause := range slices.Sorted(maps.Keys(worst)) {
		p.line("| %s | %.1f s |", cause, worst[cause])
	}
	p.line("")
}

func (p *page) broken() {
	p.line("## Builds that were broken on purpose")
	p.line("")
	p.line("A rule of the protocol is taken out, the rest stays. The simulation (`redisstore/mutants_test.go`) has to catch every one of its own")
	p.line("in CI; the soak is slower and tried with those that can be told from outside.")
	p.line("")
	p.line("| broken | soak, single Redis | runs until caught | seed | what gave it away |")
	p.line("| --- | --- | --- | --- | --- |")
	for _, m := range p.mutants {
		verdict := "caught"
		if !m.Caught {
			verdict = "**not caught**"
		}
		p.line("| %s | %s | %d | %d | %s |", m.Name, verdict, m.Runs, m.Seed, m.By)
	}
	p.line("")
	p.simulated()
}

// simulated lists what the simulation's own test breaks, by its source.
func (p *page) simulated() {
	text, err := os.ReadFile(filepath.Join("..", "..", "redisstore", "mutants_test.go"))
	if err != nil {
		return
	}
	_, table, _ := strings.Cut(string(text), "for name, broken := range")
	table, _, _ = strings.Cut(table, "t.Run(name")
	p.line("Caught by the simulation in each run of the tests (it fails if one is not):")
	p.line("")
	for line := range strings.Lines(table) {
		name, found := strings.CutPrefix(strings.TrimSpace(line), `"`)
		if end := strings.Index(name, `": {`); found && end > 0 {
			p.line("- %s", name[:end])
		}
	}
	p.line("")
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
	p.line("- Known and not mended yet: when the server's clock goes back by more than a lock's life while a lock is held or an attempt is open, its")
	p.line("  holder dead, nobody refreshes until the clock has caught up (`clockback_test.go`). Tokens are served until they end. The run with")
	p.line("  `clock` jumps at other moments.")
	p.line("- A store that loses its data while an attempt is under way, or when one has failed, is not given the old token back until a call")
	p.line("  succeeds: nobody knows whether it is still the newest. Processes that hold it serve it.")
}
