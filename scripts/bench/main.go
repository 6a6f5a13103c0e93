// Command bench compares Zhongkong with its peers and with the bare machine. It writes
// the measurements as text for benchstat, as a page and as plots. ./run builds and
// starts it.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
)

// work is one benchmark, which several contenders run.
type work struct {
	name   string
	rounds int // each round runs every contender once
	round  func(e *env, r *record) error
}

func works() []work {
	return []work{
		{"hot", 5, hot},
		{"cores", 5, cores},
		{"herd", 5, herd},
		{"fanout", 3, fanout},
		{"holders", 3, holders},
		{"first", 3, first},
		{"show", 5, show},
		{"http", 5, serveHTTP},
		{"route", 7, passOn},
		{"accounts", 1, accounts},
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
	only := flags.String("only", "", "measure only these works (comma separated); the others' results are kept")
	rounds := flags.Int("rounds", 0, "rounds of each work; 0: its own number")
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
		if !slices.ContainsFunc(works(), func(w work) bool { return w.name == name }) {
			return fmt.Errorf("there is no work %q", name)
		}
	}
	for _, w := range works() {
		if len(chosen) > 0 && !slices.Contains(chosen, w.name) {
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
			fmt.Fprintf(os.Stderr, "bench: %s, round %d of %d\n", w.name, i+1, n)
			if err := w.round(e, r); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
		os.Stdout.WriteString(r.text())
		if e.quick {
			continue
		}
		if err := r.keep(out); err != nil {
			return err
		}
	}
	return nil
}
