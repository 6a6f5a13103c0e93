// Soak runs a fleet of real zhongkong processes on real Redis servers through
// hundreds of faults, and compares everything that happened with the record of the
// simulated WeChat. See README.md.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		if err := runWorker(); err != nil {
			fatal(err)
		}
		return
	}
	if err := command(os.Args[1:]); err != nil {
		fatal(err)
	}
}

// errBroken is the error of a run that found a violation.
var errBroken = errors.New("promises were broken")

// flags are the flags of all commands.
type flags struct {
	topology, module, results, keep, only string
	seed                                  uint64
	faults, runs                          int
	duration                              time.Duration
	acl, tls, fake, trace                 bool
}

func command(args []string) error {
	name := "run"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	var f flags
	set := flag.NewFlagSet("soak "+name, flag.ExitOnError)
	set.StringVar(&f.topology, "topology", "all", "single, sentinel, cluster, or all")
	set.StringVar(&f.module, "module", "../..", "the directory of the module under test")
	set.StringVar(&f.results, "results", "", "`directory` for the figures, as JSON")
	set.StringVar(&f.keep, "logs", "", "`directory` for the logs of a run that fails")
	set.StringVar(&f.only, "only", "", "only faults, or mutants, with this `text` in their names")
	set.Uint64Var(&f.seed, "seed", 0, "determines the faults (0: a random seed)")
	set.IntVar(&f.faults, "faults", 150, "`number` of faults")
	set.IntVar(&f.runs, "runs", 10, "measure, linear, mutants: `number` of runs")
	set.DurationVar(&f.duration, "duration", 0, "run for this long, whatever the number of faults")
	set.BoolVar(&f.acl, "acl", false, "give the fleet's Redis users only the rights that they need")
	set.BoolVar(&f.tls, "tls", false, "TLS to Redis (single)")
	set.BoolVar(&f.fake, "clock", false, "make the server's clock jump (single; needs gcc)")
	set.BoolVar(&f.trace, "v", false, "print each fault when it is injected")
	if err := set.Parse(args); err != nil {
		return err
	}
	if f.seed == 0 {
		f.seed = uint64(time.Now().UnixNano())
	}
	switch name {
	case "run":
		return f.soakAll()
	case "measure":
		return f.measureAll()
	case "mutants":
		return f.mutantsAll()
	case "simulation":
		return f.simulation()
	case "linear":
		return f.linear()
	case "grants":
		return f.grants()
	case "report":
		return reportAll("results")
	}
	return fmt.Errorf("unknown command %q; want run, grants, measure, mutants, simulation, linear or report", name)
}

// topologies returns the topologies to run.
func (f flags) topologies() []string {
	if f.topology == "all" {
		return []string{single, sentinel, cluster}
	}
	return strings.Split(f.topology, ",")
}

// stage creates a directory for a run and builds zhongkong into it.
func (f flags) stage() (s setup, remove func(), err error) {
	if s.dir, err = os.MkdirTemp("", "zksoak"); err != nil {
		return s, nil, err
	}
	remove = func() { _ = os.RemoveAll(s.dir) }
	s.binary, s.build = filepath.Join(s.dir, "zhongkong"), commitOf(f.module)
	if s.worker, err = os.Executable(); err == nil {
		err = buildProduct(f.module, s.binary)
	}
	if err != nil {
		remove()
	}
	return s, remove, err
}

func (f flags) soakAll() error {
	var broken bool
	for _, topology := range f.topologies() {
		s, remove, err := f.stage()
		if err != nil {
			return err
		}
		s.topology, s.opts = topology, options{acl: f.acl, tls: f.tls, fake: f.fake}
		s.refresher, s.readers, s.linked, s.workers, s.callers = 3, 1, 1, 2, true
		// With an even seed callers report an invalid token at once, as they
		// should; with an odd one they give the fleet time to detect it.
		s.reportDelay = time.Duration(f.seed%2) * 5 * time.Second
		p := plan{Topology: topology, Seed: f.seed, Faults: f.faults, Duration: f.duration, Options: s.opts, setup: s, only: f.only, keep: f.keep}
		fmt.Fprintf(os.Stderr, "%s: %s: seed %d\n", time.Now().Format("15:04:05"), p.name(), f.seed)
		if f.trace {
			p.setup.onFault = func(what string) { fmt.Fprintln(os.Stderr, time.Now().Format("15:04:05.000"), what) }
		}
		out, err := p.run()
		remove()
		if err != nil {
			return err
		}
		f.show(out)
		broken = broken || len(out.Verdict.Violations) > 0
		if err := f.save(fmt.Sprintf("soak-%s-%d", out.Name, out.Seed), out); err != nil {
			return err
		}
	}
	if broken {
		return fmt.Errorf("%w (replay: -seed %d)", errBroken, f.seed)
	}
	return nil
}

// show prints the result of a run.
func (f flags) show(o *outcome) {
	v := o.Verdict
	fmt.Printf("%s, seed %d: %d faults in %.0f s, %d checkpoints, %d observations, %.0f calls of %d allowed, %d broken promises\n",
		o.Name, o.Seed, o.Faults, o.Took, o.Checks, int(v.Figures["observations"]), v.Figures["calls"], o.Budget, len(v.Violations))
	for _, text := range v.Violations {
		fmt.Println("  BROKEN:", text)
	}
}

// save writes figures to a file in the results directory, if there is one.
func (f flags) save(name string, v any) error {
	if f.results == "" {
		return nil
	}
	if err := os.MkdirAll(f.results, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(f.results, name+".json"), append(text, '\n'), 0o644)
}
