package metrics

import (
	"math"
	"os"
	"strconv"
	"strings"
)

// clockTicks is how many of the kernel's units of time a second has, on every Linux.
const clockTicks = 100

// readUsage reads /proc.
func readUsage() usage {
	u := unknownUsage()
	// The name of the program, in parentheses, may have spaces and parentheses.
	if stat := proc("self/stat"); strings.Contains(stat, ")") {
		fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) // from the third one of proc(5)
		field := func(n int) float64 {
			if n-3 >= len(fields) {
				return -1
			}
			return parse(fields[n-3])
		}
		u.cpuSeconds = (field(14) + field(15)) / clockTicks
		u.virtualBytes = field(23)
		u.residentBytes = field(24) * float64(os.Getpagesize())
		if booted := word(proc("stat"), "btime", 1); booted >= 0 {
			u.startSeconds = booted + field(22)/clockTicks
		}
	}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		u.openFDs = float64(len(open) - 1) // without that of the directory
	}
	limits := proc("self/limits")
	u.maxFDs = word(limits, "Max open files", 3)
	u.maxVirtualBytes = word(limits, "Max address space", 3)
	u.receivedBytes, u.transmittedBytes = network(proc("self/net/netstat"))
	return u
}

func proc(name string) string {
	text, _ := os.ReadFile("/proc/" + name) // "" where there is none
	return string(text)
}

// word returns the n-th word of the first line that begins in a way.
func word(text, begin string, n int) float64 {
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); strings.HasPrefix(line, begin+" ") && n < len(words) {
			return parse(words[n])
		}
	}
	return -1
}

// network returns the octets in and out of netstat's lines IpExt, of which the first one
// has the names.
func network(text string) (in, out float64) {
	in, out = -1, -1
	var names []string
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if !strings.HasPrefix(line, "IpExt:") {
			continue
		}
		if names == nil {
			names = words
			continue
		}
		for i := range min(len(names), len(words)) {
			switch names[i] {
			case "InOctets":
				in = parse(words[i])
			case "OutOctets":
				out = parse(words[i])
			}
		}
	}
	return in, out
}

func parse(s string) float64 {
	if s == "unlimited" {
		return math.MaxUint64
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return -1
	}
	return v
}
