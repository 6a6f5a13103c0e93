package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// section describes the section of one benchmark on the page.
type section struct {
	work, title, about string
	columns            []column
	reference          string // the contender to which the ratios refer
	plot               string // the unit of the plot
	unitText           string
}

type column struct{ unit, title string }

var sections = []section{
	{"hot", "The current token, asked for again", "One goroutine, in process, the token valid and cached.",
		[]column{{"ns/op", "ns"}, {"allocs/op", "allocations"}}, "atomic load", "ns/op", "ns a call"},
	{"cores", "The same from one core and from all", "A goroutine for each core, all calls counted together, in turns. *arithmetic in registers* is what the machine gives.",
		[]column{{"one-core-Mcalls/s", "one core, million calls/s"}, {"all-cores-Mcalls/s", "all cores"}, {"growth", "growth"}}, "", "", ""},
	{"herd", "Cold herd", "20 processes with 100 goroutines each want the token at the same moment; Redis is empty, the source needs 50 ms and kills the token before. " +
		"*sent*: commands that arrive at Redis; *commands*: those that scripts call counted too; *dead ends*: processes left with a token that is not the one alive.",
		[]column{{"p50-ms", "p50 ms"}, {"p99-ms", "p99 ms"}, {"calls", "calls"}, {"sent/process", "sent a process"}, {"commands/process", "commands a process"}, {"dead-ends", "dead ends"}},
		"one bare HTTP call a process", "p99-ms", "p99, ms"},
	{"fanout", "A new token reaches its followers", "Each follower is a connection of its own, in 4 processes. To the moment at which the follower's goroutine has the token, from the moment before the PUBLISH of the same bytes, or before the Commit, which stores the token and then publishes it. *least commit*: a script that does no more than that, to raw subscriptions.",
		[]column{{"p50-ms", "p50 ms"}, {"p99-ms", "p99 ms"}, {"last-ms", "last one, ms"}}, "raw PUBLISH", "p50-ms", "p50, ms"},
	{"holders", "The same to 10,000 holding HTTP requests", "One `zhongkong serve`, 10,000 connections with `?after=&wait=`; from the announcement in Redis to the answer at the caller. The callers run on the same two cores.",
		[]column{{"p50-ms", "p50 ms"}, {"p99-ms", "p99 ms"}, {"last-ms", "last one, ms"}, {"MB", "resident MB more"}}, "", "", ""},
	{"accounts", "100,000 accounts in one process", "Real Redis. Live heap after a collection, token included. *fullest minute*: next refreshes in the fullest minute of the hour, to the mean.",
		[]column{{"load-s", "all have a token, s"}, {"B/account", "B an account"}, {"cpu-%", "% of a core, steady"}, {"fullest-minute/mean", "fullest minute"}, {"deviation-%", "deviation %"}, {"redis-cpu-s", "Redis' CPU, s"}},
		"", "B/account", "B of live heap an account"},
	{"first", "100,000 first tokens on an empty Redis", "Source 5 ms, at most 256 calls at a time. Zhongkong reads, locks, begins, calls, commits and unlocks; the floors only commit, by 100 in a pipeline on 4 connections.",
		[]column{{"tokens/s", "tokens/s"}, {"redis-us/token", "Redis' CPU, µs a token"}, {"own-us/token", "own CPU, µs a token"}},
		"pipelined fenced commits, our script", "tokens/s", "tokens a second"},
	{"show", "The token on a shell's command line", "Whole processes, from fork to exit.",
		[]column{{"p50-ms", "p50 ms"}, {"p99-ms", "p99 ms"}}, "redis-cli hget", "p50-ms", "p50, ms"},
	{"http", "GET /v1/tokens/{name}, authenticated", "64 connections over loopback, taking turns with a handler that writes the same bytes. The load generator runs on the same two cores; *a CPU second* counts the server's alone.",
		[]column{{"requests/s", "requests/s"}, {"requests/cpu-s", "requests a CPU second"}}, "bare net/http handler", "requests/s", "requests a second"},
	{"route", "A call through a route", "64 connections over loopback through `zhongkong serve` and through a bare `httputil.ReverseProxy`, in turns, to an upstream that answers 500 bytes; *a CPU second* counts the proxy's alone. p50 and p99 are of one call after the other, 200 in a turn: medians of the turns. The gigabyte is one body there and one back.",
		[]column{{"calls/s", "calls/s"}, {"calls/cpu-s", "calls a CPU second"}, {"p50-ms", "p50 ms"}, {"p99-ms", "p99 ms"}, {"MB-more", "resident MB more"}, {"MB/s", "MB/s"}},
		"bare httputil.ReverseProxy", "calls/cpu-s", "calls a CPU second"},

	{"cold", "Fleets that start cold", "*30 x 1000*: 30 processes with the same 1000 accounts, on an empty Redis, as coordinators in one Go process, while other processes use all CPU time that they get. " +
		"The source takes 20 ms, and revokes the token before. *more calls*: than accounts; *revoked*: tokens held at the end that are not the one alive. The version before takes part in every fourth round.",
		[]column{{"ready-s", "all have all tokens, s"}, {"missing", "missing"}, {"extra-calls", "more calls"}, {"revoked", "revoked"}, {"superseded", "superseded"}, {"restores", "put back"},
			{"loads/account", "readings an account"}, {"scripts/account", "scripts an account"}, {"lock-tries/account", "tries to lock an account"},
			{"unreachable", "unreachable"}, {"disconnects", "disconnects"}, {"redis-cpu-s", "Redis' CPU, s"}, {"own-cpu-s", "own CPU, s"}}, "", "", ""},
	{"idle", "Fleets in which no token changes", "Tokens are in Redis, and none is due for weeks; all are to be there within 5 minutes. Measured for a minute after ten seconds. *commands*: those that scripts call counted too.",
		[]column{{"ready-s", "all have all tokens, s"}, {"missing", "missing"}, {"heap-B/account", "heap, B an account"}, {"rss-MB", "resident MB"}, {"loads/s", "readings/s"}, {"commands/s", "commands/s"},
			{"redis-cpu-%", "Redis' CPU, %"}, {"own-cpu-%", "own CPU a process, %"}, {"refreshes", "refreshes"}}, "", "", ""},
	{"million", "One million accounts in one process", "Tokens are in Redis, issued within the last 40 minutes, so some become due meanwhile. It ends after 3 minutes.",
		[]column{{"ready-s", "all have a token, s"}, {"missing", "missing"}, {"heap-B/account", "heap, B an account"}, {"rss-MB", "peak, resident MB"}, {"loads/account", "readings an account"},
			{"disconnects", "disconnects"}, {"unreachable", "unreachable"}, {"redis-cpu-s", "Redis' CPU, s"}, {"own-cpu-s", "own CPU, s"}, {"redis-MB", "Redis' memory before, MB"}}, "", "", ""},
	{"refresh", "What a refresh costs", "3000 accounts in one process, 64 forced refreshes at once, 49 of each account after the first. Redis' memory is what it has more than when it was empty, when the process has ended, without the log that all accounts share.",
		[]column{{"B/account-after-1", "B an account after 1"}, {"B/account-after-50", "B after 50"}, {"shared-log-MB", "shared log, MB"}, {"redis-us/refresh", "Redis' CPU, µs"}, {"own-us/refresh", "own CPU, µs"}, {"commands/refresh", "commands"}, {"failed", "failed and repeated"}}, "", "", ""},
	{"scripts", "What the scripts of a refresh cost", "Lock, begin, commit and unlock by a store alone, 16 at once, of 4000 accounts in turn; no coordinator runs, so Redis does nothing else. *in scripts*: the time that Redis itself counts for them (`INFO commandstats`), without reading the commands and writing the answers.",
		[]column{{"redis-us/refresh", "Redis' CPU, µs"}, {"scripts-us/refresh", "in scripts, µs"}, {"own-us/refresh", "own CPU, µs"}, {"commands/refresh", "commands"}}, "", "", ""},
	{"trips", "Round trips", "*round trips*: how much longer it takes when Redis is 100 ms away, in round trips, so those that pass side by side count once. *turns*: dials, and writes after an answer, on all connections. *cold*: Redis is empty and knows no script.",
		[]column{{"trips", "round trips"}, {"turns", "turns"}, {"connections", "connections"}, {"near-ms", "at no distance, ms"}}, "", "", ""},
	{"flood", "Wrong passwords", "1000 a second from 10,000 addresses of loopback, each on a connection of its own, for a person's name. Programs have a key where the version has keys, else a password. *locked out*: no token within 5 s, of 20 programs and 5 people that come one after the other from an address each. *regular*: a program that asks 100 times a second and has asked before. The wrong passwords come from a process of their own. The *bare handler* answers the regular caller and refuses all others at once.",
		[]column{{"wrong", "sent"}, {"calm-p50-ms", "regular, before the flood: p50 ms"}, {"calm-p99-ms", "p99 ms"}, {"p50-ms", "in it: p50 ms"}, {"p99-ms", "p99 ms"}, {"programs-locked-out", "programs locked out"}, {"slowest-program-ms", "slowest, ms"},
			{"people-locked-out", "people locked out"}, {"slowest-person-ms", "slowest, ms"}, {"peak-MB", "peak, resident MB"}}, "", "", ""},
	{"get", "GET of a token by the server's CPU", "64 connections that stay open, in turns of half a second, and the like; *to bare*: the median of the turns' ratios. The daemon answers a plain request without net/http; one with *a condition* is not plain. *peak*: of the process until then.",
		[]column{{"requests/cpu-s", "requests a CPU second"}, {"to-bare", "to bare"}, {"peak-MB", "peak, resident MB"}}, "", "", ""},
	{"start", "The start of the program", "Whole processes, from fork to exit, in turns; built as a release.",
		[]column{{"p50-ms", "p50 ms"}, {"cpu-ms", "CPU, ms"}, {"binary-MB", "program, MB"}}, "redis-cli hget", "p50-ms", "p50, ms"},
}

// writePage writes the page and its plots from the results.
func writePage(dir string) error {
	all, err := readResults(dir)
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Side by side\n\nWritten by `scripts/bench/run` (%s, %s, %d cores); all measurements are in [%s](%s), in benchstat's format. "+
		"Medians of the rounds, with the lowest and the highest; ratios are made within each round, then their median is taken. [NOTES.md](NOTES.md) has what the profiles showed.\n\n",
		time.Now().UTC().Format(time.DateOnly), runtime.Version(), runtime.NumCPU(), resultsFile, resultsFile)
	writeVerdicts(&b, all)
	writeScale(&b, all)
	for _, s := range sections {
		if len(all[s.work]) == 0 {
			continue
		}
		if err := s.write(&b, all, dir); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "RESULTS.md"), []byte(b.String()), 0o644)
}

func (s section) write(b *strings.Builder, all results, dir string) error {
	fmt.Fprintf(b, "## %s\n\n%s\n\n`scripts/bench/run --only %s`\n\n|", s.title, s.about, s.work)
	for _, c := range s.columns {
		fmt.Fprintf(b, " | %s", c.title)
	}
	if s.reference != "" {
		fmt.Fprintf(b, " | to %s", s.reference)
	}
	fmt.Fprintf(b, " |\n|---|%s\n", strings.Repeat("---:|", len(s.columns)+min(len(s.reference), 1)))
	for _, contender := range all.contenders(s.work) {
		fmt.Fprintf(b, "| %s", contender)
		for _, c := range s.columns {
			fmt.Fprintf(b, " | %s", spread(all.series(s.work, contender, c.unit)))
		}
		if s.reference != "" {
			ref := all.series(s.work, s.referenceFor(contender), s.plot)
			fmt.Fprintf(b, " | %s", times(ratios(all.series(s.work, contender, s.plot), ref)))
		}
		fmt.Fprintf(b, " |\n")
	}
	b.WriteByte('\n')
	if s.plot == "" {
		return nil
	}
	name := "plot-" + s.work + ".svg"
	fmt.Fprintf(b, "![%s](%s)\n\n", s.title, name)
	return os.WriteFile(filepath.Join(dir, name), []byte(barChart(s, all)), 0o644)
}

// referenceFor returns the reference with the same conditions, which are the end of a
// name, as in ", 100 followers".
func (s section) referenceFor(contender string) string {
	if s.work == "fanout" {
		return s.reference + contender[strings.LastIndex(contender, ","):]
	}
	return s.reference
}

// spread returns the median with the lowest and the highest value.
func spread(series []float64) string {
	if len(series) == 0 {
		return ""
	}
	m := median(series)
	if slices.Min(series) == slices.Max(series) {
		return number(m)
	}
	return fmt.Sprintf("%s (%s-%s)", number(m), number(slices.Min(series)), number(slices.Max(series)))
}

func times(r []float64) string {
	if len(r) == 0 {
		return ""
	}
	return number(median(r)) + "x"
}

// number formats a value with three significant digits.
func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "-"
	case v == math.Trunc(v) && math.Abs(v) < 1000:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 1000:
		digits := fmt.Sprintf("%.0f", v)
		for i := len(digits) - 3; i > 0; i -= 3 {
			digits = digits[:i] + "," + digits[i:]
		}
		return digits
	case math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
