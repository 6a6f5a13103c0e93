package main

import (
	"fmt"
	"slices"
	"strings"
)

// verdict is one row of the table of goals.
type verdict struct {
	work, goal string
	got        func(all results) (text string, reached bool)
}

var verdicts = []verdict{
	{"hot", "`Token` at most 2x an atomic load, 0 allocations", func(all results) (string, bool) {
		r := median(ratios(all.series("hot", "zhongkong", "ns/op"), all.series("hot", "atomic load", "ns/op")))
		allocs := median(all.series("hot", "zhongkong", "allocs/op"))
		return fmt.Sprintf("%sx, %s allocations", number(r), number(allocs)), r <= 2 && allocs == 0
	}},
	{"cores", "grows with the cores, as an atomic load does", func(all results) (string, bool) {
		grows := func(who string) float64 { return median(all.series("cores", who, "growth")) }
		return fmt.Sprintf("%sx the calls on all cores; an atomic load %sx", number(grows("zhongkong")), number(grows("atomic load"))),
			grows("zhongkong") >= 0.9*grows("atomic load")
	}},
	{"herd", "1 call", func(all results) (string, bool) {
		n := slices.Max(all.series("herd", "zhongkong", "calls"))
		return number(n) + " at most", n == 1
	}},
	{"herd", "p99 at most 20 ms above the source's 50 ms", func(all results) (string, bool) {
		p99 := median(all.series("herd", "zhongkong", "p99-ms"))
		floor := median(all.series("herd", "one bare HTTP call a process", "p99-ms"))
		return fmt.Sprintf("%s ms above; bare calls %s", number(p99-50), number(floor-50)), p99 <= 70
	}},
	{"herd", "at most 10 Redis commands a process", func(all results) (string, bool) {
		n := median(all.series("herd", "zhongkong", "sent/process"))
		inside := median(all.series("herd", "zhongkong", "commands/process"))
		return fmt.Sprintf("%s sent; %s with those that scripts call", number(n), number(inside)), n <= 10
	}},
	fanoutVerdict(1), fanoutVerdict(100), fanoutVerdict(1000),
	commitVerdict(1), commitVerdict(100), commitVerdict(1000),
	{"holders", "10,000 holding requests within 1 s", func(all results) (string, bool) {
		last := slices.Max(all.series("holders", "zhongkong serve", "last-ms"))
		return number(last) + " ms for the last one, worst round", last <= 1000
	}},
	{"accounts", "below 1 KB of live heap an account", func(all results) (string, bool) {
		n := median(all.series("accounts", "zhongkong, empty Redis", "B/account"))
		return number(n) + " B", n < 1024
	}},
	{"accounts", "cold load of 100,000 within 10 s", func(all results) (string, bool) {
		n := median(all.series("accounts", "zhongkong, cold load", "load-s"))
		return number(n) + " s", n <= 10
	}},
	{"accounts", "refreshes spread evenly over the hour", func(all results) (string, bool) {
		n := median(all.series("accounts", "zhongkong, empty Redis", "fullest-minute/mean"))
		return number(n) + "x the mean in the fullest minute", n <= 1.5
	}},
	{"accounts", "below 10 % of a core in the steady state", func(all results) (string, bool) {
		n := median(all.series("accounts", "zhongkong, empty Redis", "cpu-%"))
		return number(n) + " %", n < 10
	}},
	{"first", "100,000 first tokens at 0.5 of pipelined fenced commits", func(all results) (string, bool) {
		own := all.series("first", "zhongkong", "tokens/s")
		least := median(ratios(own, all.series("first", "pipelined fenced commits, least script", "tokens/s")))
		ours := median(ratios(own, all.series("first", "pipelined fenced commits, our script", "tokens/s")))
		return fmt.Sprintf("%s of our own script's; %s of the least script's", number(ours), number(least)), least >= 0.5
	}},
	{"show", "`zhongkong show` at most 2x `redis-cli hget`", func(all results) (string, bool) {
		r := median(ratios(all.series("show", "zhongkong show", "p50-ms"), all.series("show", "redis-cli hget", "p50-ms")))
		return number(r) + "x", r <= 2
	}},
	{"http", "`GET /v1/tokens/{name}` 0.9 of a bare handler", func(all results) (string, bool) {
		clock := median(ratios(all.series("http", "zhongkong serve", "requests/s"), all.series("http", "bare net/http handler", "requests/s")))
		cpu := median(ratios(all.series("http", "zhongkong serve", "requests/cpu-s"), all.series("http", "bare net/http handler", "requests/cpu-s")))
		return fmt.Sprintf("%s by the clock, %s by the server's CPU", number(clock), number(cpu)), clock >= 0.9
	}},
	{"route", "a route at 0.9 of a bare ReverseProxy, by CPU", func(all results) (string, bool) {
		of := func(who string) float64 {
			return median(ratios(all.series("route", who, "calls/cpu-s"), all.series("route", "bare httputil.ReverseProxy", "calls/cpu-s")))
		}
		return fmt.Sprintf("%s; for a phantom %s", number(of("zhongkong, a route")), number(of("zhongkong, a route for a phantom"))), of("zhongkong, a route") >= 0.9
	}},
	{"route", "p99 below 0.3 ms more", func(all results) (string, bool) {
		more := median(all.series("route", "zhongkong, a route", "p99-more-ms"))
		return number(more) + " ms more", more < 0.3
	}},
	{"route", "1 GB up and down in constant memory", func(all results) (string, bool) {
		mb := slices.Max(all.series("route", "zhongkong, 1 GB up and down", "MB-more"))
		return number(mb) + " MB more, worst round", mb < 16
	}},
}

// fanoutVerdict compares the product's followers with those of go-redis and raw ones, for
// the same PUBLISH.
func fanoutVerdict(followers int) verdict {
	return verdict{"fanout", fmt.Sprintf("a PUBLISH reaches %d followers within 1.05x of go-redis' own PubSub and 1.2x of raw subscriptions, median and p99", followers), func(all results) (string, bool) {
		p50, p99 := fanoutRatios(all, followers, "zhongkong, from the PUBLISH", "go-redis PubSub")
		raw50, raw99 := fanoutRatios(all, followers, "zhongkong, from the PUBLISH", "raw PUBLISH")
		return fmt.Sprintf("%sx, p99 %sx; of raw %sx, p99 %sx", number(p50), number(p99), number(raw50), number(raw99)),
			p50 <= 1.05 && p99 <= 1.05 && raw50 <= 1.2 && raw99 <= 1.2
	}}
}

// commitVerdict measures from the Commit, which stores before it publishes.
func commitVerdict(followers int) verdict {
	return verdict{"fanout", fmt.Sprintf("the same from the Commit, which stores first, %d followers", followers), func(all results) (string, bool) {
		p50, p99 := fanoutRatios(all, followers, "zhongkong, from the Commit", "go-redis PubSub")
		raw50, raw99 := fanoutRatios(all, followers, "zhongkong, from the Commit", "raw PUBLISH")
		least50, least99 := fanoutRatios(all, followers, "zhongkong, from the Commit", "least commit, raw followers")
		return fmt.Sprintf("%sx, p99 %sx; of raw %sx, p99 %sx; of the least script that stores and publishes %sx, p99 %sx",
				number(p50), number(p99), number(raw50), number(raw99), number(least50), number(least99)),
			p50 <= 1.05 && p99 <= 1.05 && raw50 <= 1.2 && raw99 <= 1.2
	}}
}

func fanoutRatios(all results, followers int, who, floor string) (p50, p99 float64) {
	r := func(unit string) float64 {
		name := func(who string) string { return fmt.Sprintf("%s, %d followers", who, followers) }
		return median(ratios(all.series("fanout", name(who), unit), all.series("fanout", name(floor), unit)))
	}
	return r("p50-ms"), r("p99-ms")
}

// writeVerdicts writes the table of goals.
func writeVerdicts(b *strings.Builder, all results) {
	b.WriteString("| to be reached | measured | |\n|---|---|---|\n")
	for _, v := range verdicts {
		if len(all[v.work]) == 0 {
			continue
		}
		text, reached := v.got(all)
		fmt.Fprintf(b, "| %s | %s | %s |\n", v.goal, text, map[bool]string{true: "yes", false: "**no**"}[reached])
	}
	b.WriteByte('\n')
}
