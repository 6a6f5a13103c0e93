package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// scaleRow is one row of the table of scale.
type scaleRow struct {
	work, what  string
	value       func(all results, version string) float64 // NaN: not measured
	text        func(all results, version string) string  // nil: the value
	limit, goal string                                    // limit: what is physically possible
	met         func(v float64) bool                      // nil: there is no goal
}

// most and least are goals.
func most(goal float64) func(float64) bool  { return func(v float64) bool { return v <= goal } }
func least(goal float64) func(float64) bool { return func(v float64) bool { return v >= goal } }

// medianOf is the value of a unit, the median of the rounds.
func medianOf(work, conditions, unit string) func(results, string) float64 {
	return func(all results, v string) float64 { return median(all.series(work, under(v, conditions), unit)) }
}

// sumOf is the value of a unit, all rounds together.
func sumOf(work, conditions, unit string) func(results, string) float64 {
	return func(all results, v string) float64 {
		series := all.series(work, under(v, conditions), unit)
		if len(series) == 0 {
			return math.NaN()
		}
		sum := 0.0
		for _, n := range series {
			sum += n
		}
		return sum
	}
}

// coldRuns is how many runs of the present version a goal for all of them is about.
const coldRuns = 20

// inAllRuns is sumOf, and not measured before there were coldRuns.
func inAllRuns(work, conditions, unit string) func(results, string) float64 {
	return func(all results, v string) float64 {
		if len(all.series(work, under(v, conditions), unit)) < coldRuns {
			return math.NaN()
		}
		return sumOf(work, conditions, unit)(all, v)
	}
}

// ratioOf compares a unit with a contender's, in the same round.
func ratioOf(work, conditions, unit, reference string) func(results, string) float64 {
	return func(all results, v string) float64 {
		return median(ratios(all.series(work, under(v, conditions), unit), all.series(work, reference, unit)))
	}
}

// under is a contender's name: a version, and its conditions.
func under(v, conditions string) string {
	if conditions == "" {
		return v
	}
	return v + ", " + conditions
}

// inRuns says in how many runs something happened so often.
func inRuns(work, conditions, unit string) func(results, string) string {
	return func(all results, v string) string {
		series := all.series(work, under(v, conditions), unit)
		if len(series) == 0 {
			return "–"
		}
		worst := ""
		if m := slices.Max(series); m > 0 {
			worst = fmt.Sprintf(", %s in the worst", number(m))
		}
		return fmt.Sprintf("%s in %d runs%s", number(sumOf(work, conditions, unit)(all, v)), len(series), worst)
	}
}

// withRange says the median, with the lowest and the highest.
func withRange(work, conditions, unit string) func(results, string) string {
	return func(all results, v string) string {
		if text := spread(all.series(work, under(v, conditions), unit)); text != "" {
			return text
		}
		return "–"
	}
}

// readyOrNot says when all tokens were there, or how many were not.
func readyOrNot(work, conditions string) func(results, string) string {
	return func(all results, v string) string {
		text := withRange(work, conditions, "ready-s")(all, v)
		if n := missing(all, work, under(v, conditions)); n > 0 {
			return fmt.Sprintf("%s missing after %s", number(n), text)
		}
		return text
	}
}

// missing returns how many tokens were missing at the end of the worst run.
func missing(all results, work, contender string) float64 {
	return slices.Max(append(all.series(work, contender, "missing"), 0))
}

// peakOfServe is the most memory of the daemon in any of the measurements.
func peakOfServe(all results, v string) float64 {
	series := all.series("flood", v, "peak-MB")
	for _, f := range getForms {
		series = append(series, all.series("get", under(v, f.name), "peak-MB")...)
	}
	if len(series) == 0 {
		return math.NaN()
	}
	return slices.Max(series)
}

func scaleRows() []scaleRow {
	return slices.Concat(coldRows(), redisRows(), tripRows(), serveRows(), manyRows())
}

func coldRows() (rows []scaleRow) {
	for _, size := range coldSizes {
		c := size.String()
		processes := float64(size.processes)
		rows = append(rows,
			scaleRow{work: "cold", what: "1. cold start of " + c + ", loaded machine: more calls to the issuer than accounts",
				value: inAllRuns("cold", c, "extra-calls"), text: inRuns("cold", c, "extra-calls"), limit: "0", goal: fmt.Sprintf("0 in %d runs", coldRuns), met: most(0)},
			scaleRow{work: "cold", what: "the same: readings an account", value: medianOf("cold", c, "loads/account"),
				text: withRange("cold", c, "loads/account"), limit: number(processes), goal: "at most " + number(1.1*processes), met: most(1.1 * processes)},
			scaleRow{work: "cold", what: "the same: scripts an account", value: medianOf("cold", c, "scripts/account"),
				text: withRange("cold", c, "scripts/account"), limit: "3"},
			scaleRow{work: "cold", what: "the same: all have all tokens, s", value: medianOf("cold", c, "ready-s"), text: readyOrNot("cold", c)},
			scaleRow{work: "cold", what: "the same: times that Redis counted as unreachable", value: sumOf("cold", c, "unreachable"),
				text: inRuns("cold", c, "unreachable"), limit: "0"},
			scaleRow{work: "cold", what: "2. the same: tokens put back though nothing was lost", value: inAllRuns("cold", c, "restores"),
				text: inRuns("cold", c, "restores"), limit: "0", goal: fmt.Sprintf("0 in %d runs", coldRuns), met: most(0)})
	}
	return rows
}

func redisRows() []scaleRow {
	const loads, commands = "loads/s", "commands/s"
	grows := func(all results, v string) float64 {
		return median(all.series("idle", under(v, "1 x 100000"), commands)) / median(all.series("idle", under(v, "1 x 1000"), commands))
	}
	ofBefore := func(all results, v string) float64 {
		return median(all.series("idle", under(v, "1 x 100000"), loads)) / median(all.series("idle", under(theBefore, "1 x 100000"), loads))
	}
	return []scaleRow{
		{work: "refresh", what: "3. Redis' memory for an account after 1 refresh, B", value: medianOf("refresh", "1 x 3000", "B/account-after-1"), limit: "800", goal: "at most 1,500", met: most(1500)},
		{work: "refresh", what: "the same after 50", value: medianOf("refresh", "1 x 3000", "B/account-after-50"), limit: "800", goal: "at most 1,500", met: most(1500)},
		{work: "refresh", what: "the log that all accounts share, MB", value: medianOf("refresh", "1 x 3000", "shared-log-MB")},
		{work: "idle", what: "4. commands a second of an idle process: of 100,000 accounts to that of 1,000", value: grows, limit: "1", goal: "at most 1.1x", met: most(1.1)},
		{work: "idle", what: "readings a second of an idle process with 100,000 accounts", value: medianOf("idle", "1 x 100000", loads)},
		{work: "idle", what: "the same, as a part of those before", value: ofBefore, limit: "0", goal: "at most 0.01", met: most(0.01)},
		{work: "idle", what: "Redis' CPU for it, % of a core", value: medianOf("idle", "1 x 100000", "redis-cpu-%")},
	}
}

func tripRows() (rows []scaleRow) {
	for _, path := range []struct {
		what, conditions, limit string
		goal                    float64
	}{
		{"5. round trips of `show`, cold", "show, cold", "4", 6},
		{"`show`, warm", "show, warm", "2", 2},
		{"`serve` until it is ready, cold", "serve, cold", "4", 6},
		{"`refresh`", "refresh", "4", 6},
	} {
		rows = append(rows, scaleRow{work: "trips", what: path.what, limit: path.limit, goal: "at most " + number(path.goal), met: most(path.goal),
			value: func(all results, v string) float64 {
				return math.Round(medianOf("trips", path.conditions, "trips")(all, v))
			}})
	}
	return append(rows,
		scaleRow{work: "scripts", what: "Redis' CPU for the scripts of a refresh, µs", value: medianOf("scripts", "refresh", "redis-us/refresh"),
			limit: "18", goal: "at most 80", met: most(80)},
		scaleRow{work: "scripts", what: "of it in the scripts, as Redis itself counts, µs",
			value: medianOf("scripts", "refresh", "scripts-us/refresh")},
		scaleRow{work: "refresh", what: "the same with all else that it does for a fleet of one process", value: medianOf("refresh", "1 x 3000", "redis-us/refresh")})
}

func serveRows() []scaleRow {
	slower := func(all results, v string) float64 {
		return median(ratios(all.series("flood", v, "p99-ms"), all.series("flood", v, "calm-p99-ms")))
	}
	slowerBare := func(all results, v string) float64 {
		if v == theBefore {
			return math.NaN() // there is one for both
		}
		return slower(all, bareRefusal)
	}
	return []scaleRow{
		{work: "flood", what: fmt.Sprintf("6. %s wrong passwords a second from %s addresses: programs locked out, of %d that have not asked before", number(floodRate), number(floodSources), floodPrograms),
			value: sumOf("flood", "", "programs-locked-out"), limit: "0", goal: "0", met: most(0)},
		{work: "flood", what: fmt.Sprintf("the same: people with a password, of %d", floodPeople), value: sumOf("flood", "", "people-locked-out"), limit: "0", goal: "0", met: most(0)},
		{work: "flood", what: "the same: the slowest of these people, ms", value: medianOf("flood", "", "slowest-person-ms")},
		{work: "flood", what: "the same: p50 of a caller that has asked before, ms", value: medianOf("flood", "", "p50-ms")},
		{work: "flood", what: "the same: its p99 to that without wrong passwords", value: slower, limit: "1", goal: "at most 1.5x", met: most(1.5)},
		{work: "flood", what: "the same of a bare handler that only refuses, which is what the flood takes from the machine", value: slowerBare},
		{work: "get", what: "7. GET of a token, requests a CPU second, to a bare handler", value: medianOf("get", "HTTP", "to-bare"), goal: "at least 1x", met: least(1)},
		{work: "get", what: "the same with a header that it does not know", value: medianOf("get", "HTTP, another header", "to-bare")},
		{work: "get", what: "the same with a condition, which is left to net/http", value: medianOf("get", "HTTP, a condition", "to-bare")},
		{work: "get", what: "the same with TLS", value: medianOf("get", "TLS", "to-bare"), goal: "at least 0.95x", met: least(0.95)},
		{work: "get", what: "most resident memory of `serve` in these, MB", value: peakOfServe, limit: "20", goal: "at most 60", met: most(60)},
		{work: "start", what: "8. the released program, MB", value: medianOf("start", "show", "binary-MB"), limit: "9.9", goal: "at most 16", met: most(16)},
		{work: "start", what: "`show` to `redis-cli hget`, whole processes", value: ratioOf("start", "show", "p50-ms", "redis-cli hget"), limit: "1", goal: "at most 1.2x", met: most(1.2)},
	}
}

func manyRows() []scaleRow {
	const m = "1 x 1000000"
	ready := func(all results, v string) float64 {
		if missing(all, "million", under(v, m)) > 0 {
			return math.Inf(1)
		}
		return medianOf("million", m, "ready-s")(all, v)
	}
	forty := func(all results, v string) float64 {
		if missing(all, "idle", under(v, "4 x 100000")) > 0 {
			return math.Inf(1) // not idle yet
		}
		return 10 * medianOf("idle", "4 x 100000", "redis-cpu-%")(all, v)
	}
	return []scaleRow{
		{work: "million", what: "9. 1,000,000 accounts in one process: ready, s", value: ready, text: readyOrNot("million", m), limit: "15", goal: "at most 60", met: most(60)},
		{work: "million", what: "the same: heap for an account, B", value: medianOf("million", m, "heap-B/account"), goal: "at most 700", met: most(700)},
		{work: "idle", what: "100,000 accounts: heap for an account, B", value: medianOf("idle", "1 x 100000", "heap-B/account")},
		{work: "idle", what: "Redis' CPU for 40 idle processes with 100,000 accounts each, % of a core (ten times that of 4)", value: forty, limit: "0", goal: "at most 20", met: most(20)},
	}
}

// writeScale writes the table of scale.
func writeScale(b *strings.Builder, all results) {
	rows := slices.DeleteFunc(scaleRows(), func(r scaleRow) bool { return len(all[r.work]) == 0 })
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "## Scale\n\n*before* is commit %.7s, built and measured in the same run, the two in turns. *limit* is what the machine allows, by measurement or by counting. "+
		"The rows are those of the works below.\n\n`scripts/bench/run --only %s`\n\n| | before | now | limit | goal | |\n|---|---:|---:|---:|---:|---|\n", commitBefore, scaleWorks)
	for _, r := range rows {
		said := r.text
		if said == nil {
			said = func(all results, v string) string {
				switch n := r.value(all, v); {
				case math.IsNaN(n):
					return "–"
				case math.IsInf(n, 1):
					return "not ready"
				default:
					return number(n)
				}
			}
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", r.what, said(all, theBefore), said(all, theNow), r.limit, r.goal, r.verdict(all))
	}
	b.WriteByte('\n')
}

// verdict says whether the present version has reached the goal.
func (r scaleRow) verdict(all results) string {
	v := r.value(all, theNow)
	switch {
	case r.met == nil || math.IsNaN(v):
		return ""
	case r.met(v):
		return "met"
	}
	return "**missed**"
}
