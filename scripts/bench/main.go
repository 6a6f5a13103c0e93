// Command bench compares Zhongkong with its peers and with the bare machine. It writes
// the measurements as text for benchstat, as a page and as plots. ./run builds and
// starts it.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

// work is one benchmark, which several contenders run.
type work struct {
	name   string
	rounds int // each round runs every contender once
	round  func(e *env, r *record) error
	scale  bool // part of the table of scale
}

// scaleWorks names all works of the table of scale.
const scaleWorks = "scale"

func works() []work {
	return []work{
		{name: "hot", rounds: 5, round: hot},
		{name: "cores", rounds: 5, round: cores},
		{name: "herd", rounds: 5, round: herd},
		{name: "fanout", rounds: 3, round: fanout},
		{name: "holders", rounds: 3, round: holders},
		{name: "first", rounds: 3, round: first},
		{name: "show", rounds: 5, round: show},
		{name: "http", rounds: 5, round: serveHTTP},
		{name: "route", rounds: 7, round: passOn},
		{name: "accounts", rounds: 1, round: accounts},

		{name: "cold", rounds: coldRuns, round: coldFleets, scale: true},
		{name: "idle", rounds: 1, round: idleFleets, scale: true},
		{name: "million", rounds: 1, round: million, scale: true},
		{name: "refresh", rounds: 1, round: refreshes, scale: true},
		{name: "scripts", rounds: 7, round: storeAlone, scale: true},
		{name: "trips", rounds: 3, round: trips, scale: true},
		{name: "flood", rounds: 1, round: floods, scale: true},
		{name: "get", rounds: 3, round: gets, scale: true},
		{name: "start", rounds: 3, round: starts, scale: true},
	}
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == childArg {
		exitOn(childMain(os.Args[2]))
		return
	}
	exitOn(run(os.Args[1:]))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "a small round of everything, only to see that it runs; writes no page")
	only := flags.String("only", "", "measure only these works (comma separated; scale: those of that table); the others' results are kept")
	rounds := flags.Int("rounds", 0, "rounds of each work; 0: its own number")
	busy := flags.Int("busy", runtime.NumCPU(), "processes that only use CPU time while fleets start cold")
	zhongkong := flags.String("zhongkong", "", "the zhongkong binary")
	out := flags.String("out", ".", "the directory of results.txt, RESULTS.md and the plots")
	page := flags.Bool("page", false, "measure nothing: write the page anew from results.txt")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *page {
		return writePage(*out)
	}
	e, err := newEnv(*zhongkong, *quick)
	if err != nil {
		return err
	}
	defer e.close()
	e.busy = *busy
	if err := measure(e, *only, *rounds, *out); err != nil {
		return err
	}
	if *quick {
		fmt.Fprintln(os.Stderr, "bench: everything runs")
		return nil
	}
	return writePage(*out)
}

// measure runs the benchmarks and saves the results of each when it has ended.
func measure(e *env, only string, rounds int, out string) error {
	chosen := strings.FieldsFunc(only, func(r rune) bool { return r == ',' })
	for _, name := range chosen {
		if name != scaleWorks && !slices.ContainsFunc(works(), func(w work) bool { return w.name == name }) {
			return fmt.Errorf("there is no work %q", name)
		}
	}
	for _, w := range works() {
		if len(chosen) > 0 && !slices.Contains(chosen, w.name) && (!w.scale || !slices.Contains(chosen, scaleWorks)) {
			continue
		}
		r := &record{work: w.name}
		n := w.rounds
		switch {
		case e.quick:
			n = 1
		case rounds > 0:
			n = rounds
		}
		for i := range n {
			r.round = i
			fmt.Fprintf(os.Stderr, "bench: %s, round %d of %d\n", w.name, i+1, n)
			if err := w.round(e, r); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
		fmt.Print(r.text())
		if e.quick {
			continue
		}
		if err := r.keep(out); err != nil {
			return err
		}
	}
	return nil
}
